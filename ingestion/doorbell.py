"""The doorbell: wakes the workers. It carries no data and may be lost; the minute sweep makes up for it."""

import logging
from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from ingestion.models import Doorbell

DRAIN_TASK = "enrichment.tasks.drain"
ALIVE = timedelta(minutes=3)
"""A cluster that has run no task for so long is not alive: the sweep enqueues one every minute."""
RING_TIMEOUT = timedelta(seconds=10)
"""After this time an unanswered ring may be repeated."""

# By the database's clock, which has written it.
IS_RUNG = {
    "postgresql": "SELECT 1 FROM ingestion_doorbell WHERE id = 1 AND rung_at > now() - make_interval(secs => %s)",
    "sqlite": "SELECT 1 FROM ingestion_doorbell WHERE id = 1"
    " AND rung_at > strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now', -%s || ' seconds')",
}

logger = logging.getLogger(__name__)


def ring() -> None:
    """Wakes the workers unless they are already rung. Call it after the commit; it never raises."""
    try:
        if is_rung():  # as nearly always when many post at once: they need not queue up for the row
            return
        silent = Doorbell.objects.filter(Q(rung_at=None) | Q(rung_at__lt=Now() - RING_TIMEOUT), pk=1)
        with transaction.atomic():
            if silent.update(rung_at=Now()) or (hang() and silent.update(rung_at=Now())):
                enqueue_drain()
    except Exception:
        logger.warning("Ringing the doorbell failed; the next sweep will wake the workers.", exc_info=True)


def hang(using: str = DEFAULT_DB_ALIAS) -> bool:
    """Creates the doorbell's row if it is missing, and says whether it was: without it nobody would ever be woken."""
    doorbells = Doorbell.objects.using(using)
    if doorbells.filter(pk=1).exists():
        return False
    doorbells.bulk_create([Doorbell(pk=1)], ignore_conflicts=True)
    return True


def wake_now() -> None:
    """Wakes the workers even if they are already rung, because a person wants it. It never raises."""
    try:
        enqueue_drain()
    except Exception:
        logger.warning("Waking the workers failed; the next sweep will wake them.", exc_info=True)


def is_rung() -> bool:
    """Runs for each post, so in plain SQL: the ORM takes ten times as long to build the statement."""
    with connection.cursor() as cursor:
        cursor.execute(IS_RUNG[connection.vendor], [RING_TIMEOUT.total_seconds()])
        return cursor.fetchone() is not None


def enqueue_drain() -> None:
    """Queues a drain, even if one is queued already. Raises what the broker raises."""
    async_task(DRAIN_TASK, q_options={"save": False})


def acknowledge() -> None:
    """A worker has started: silences the doorbell, and records the heartbeat."""
    if not Doorbell.objects.filter(pk=1).update(rung_at=None, answered_at=Now()):
        Doorbell.objects.bulk_create([Doorbell(pk=1, answered_at=Now())], ignore_conflicts=True)


def heartbeat() -> datetime | None:
    """When a task last ran on any cluster, by this process's clock: only its age is taken from the database's, so that
    no process has to agree with another about the time.
    """
    row = Doorbell.objects.filter(pk=1).values_list("answered_at", Now()).first()
    if row is None or row[0] is None:
        return None
    answered, now = row
    age: timedelta = now - answered
    return timezone.now() - age


def is_alive(heartbeat: datetime | None) -> bool:
    """Whether a cluster that ran its last task then is still there."""
    return heartbeat is not None and timezone.now() - heartbeat < ALIVE

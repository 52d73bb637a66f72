"""The doorbell: wakes the workers. It carries no data and may be lost; the minute sweep makes up for it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from ingestion.models import Doorbell

DRAIN_TASK = "enrichment.tasks.work"
ALIVE = timedelta(minutes=3)
"""A cluster that has run no task for so long is not alive: the sweep enqueues one every minute."""
RING_TIMEOUT = timedelta(seconds=10)
"""After this time an unanswered ring may be repeated. What is further ahead was said before the clock was put back."""
UNHEARD = timedelta(seconds=3)
"""After this time a ring has probably been lost on its way through Redis, or did not get there."""

WATCH_TIME = timedelta(seconds=1)
"""For so long a worker is believed to look for records by itself after it has said so."""

LAST_LOOK = 0.04
"""Seconds after which a worker that has silenced the doorbell, or ended its watch, looks once more: who has read of it
in the statement that stores a record may only now commit. Who takes half of it or longer reads again.
"""

# By the database's clock, which has written it.
STATE = {
    "postgresql": """
        SELECT rung_at BETWEEN now() - around AND now() + around, watched_until BETWEEN now() AND now() + around
        FROM ingestion_doorbell, make_interval(secs => %(seconds)s) AS around WHERE id = 1
    """,
    "sqlite": """
        SELECT abs(julianday(rung_at) - julianday('now')) * 86400.0 < %(seconds)s,
            (julianday(watched_until) - julianday('now')) * 86400.0 BETWEEN 0 AND %(seconds)s
        FROM ingestion_doorbell WHERE id = 1
    """,
}

logger = logging.getLogger(__name__)


def ring() -> None:
    """Wakes the workers unless they are already rung. Call it after the commit; it never raises."""
    _ring(even_if_watched=True)


def ring_for_records() -> None:
    """Like ring(), but for nothing if a worker is looking for pending records by itself just now."""
    _ring(even_if_watched=False)


def _ring(*, even_if_watched: bool) -> None:
    with _never_raising():
        rung, watched = state()
        if rung or (watched and not even_if_watched):  # as nearly always when many post: none waits for the row
            return
        silent = Doorbell.objects.filter(pk=1).exclude(rung_at__range=(Now() - RING_TIMEOUT, Now() + RING_TIMEOUT))
        with transaction.atomic():
            is_first = silent.update(rung_at=Now()) or (hang() and silent.update(rung_at=Now()))
            if is_first and not settings.REDIS_URL:
                enqueue_drain()
        if is_first and settings.REDIS_URL:  # with the row locked others would wait for Redis, too
            enqueue_drain()


@contextmanager
def _never_raising() -> Iterator[None]:
    try:
        yield
    except ConnectionError as error:  # of the broker
        logger.warning("The workers were not woken, and look for work by themselves meanwhile. %s", error)
    except Exception:
        logger.warning("The workers were not woken; the next sweep wakes them.", exc_info=True)


def hang(using: str = DEFAULT_DB_ALIAS) -> bool:
    """Creates the doorbell's row if it is missing, and says whether it was: without it nobody would ever be woken."""
    doorbells = Doorbell.objects.using(using)
    if doorbells.filter(pk=1).exists():
        return False
    doorbells.bulk_create([Doorbell(pk=1)], ignore_conflicts=True)
    return True


def is_unheard() -> bool:
    """Whether no worker has come although somebody has rung."""
    return Doorbell.objects.filter(pk=1, rung_at__lt=Now() - UNHEARD).exists()


def wake_now() -> None:
    """Wakes the workers even if they are already rung, because a person wants it. It never raises."""
    with _never_raising():
        enqueue_drain()


def state() -> tuple[bool, bool]:
    """(rung, watched). For each post, so in plain SQL: the ORM takes ten times as long to build the statement."""
    with connection.cursor() as cursor:
        cursor.execute(STATE[connection.vendor], {"seconds": RING_TIMEOUT.total_seconds()})
        rung, watched = cursor.fetchone() or (False, False)
    return bool(rung), bool(watched)


def watch(*, is_mine: bool) -> bool:
    """Says for WATCH_TIME that this worker looks for pending records by itself; to be said again in time. False, if
    another does already. Who is killed meanwhile is missed after that time.
    """
    doorbells = Doorbell.objects.filter(pk=1)
    free = doorbells if is_mine else doorbells.exclude(watched_until__range=(Now(), Now() + RING_TIMEOUT))
    return bool(free.update(watched_until=Now() + WATCH_TIME))


def stop_watching() -> None:
    """From now on records are rung for. Who stops looks once more afterwards: some may have come before."""
    Doorbell.objects.filter(pk=1).update(watched_until=None)


def enqueue_drain(**options: object) -> None:
    """Queues a drain, even if one is queued already. Raises what the broker raises."""
    async_task(DRAIN_TASK, q_options={"save": False, **options})


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

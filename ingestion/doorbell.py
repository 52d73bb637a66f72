"""The doorbell: wakes the workers. It carries no data and may be lost; the minute sweep makes up for it."""

import logging
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django_q.tasks import async_task

from ingestion.models import Doorbell

DRAIN_TASK = "enrichment.tasks.drain"
RING_TIMEOUT = timedelta(seconds=10)
"""After this time an unanswered ring may be repeated."""

logger = logging.getLogger(__name__)


def ring() -> None:
    """Wakes the workers unless they are already rung. Call it after the commit; it never raises."""
    try:
        if is_rung():  # as nearly always when many post at once: they need not queue up for the row
            return
        with transaction.atomic():
            silent = Q(rung_at=None) | Q(rung_at__lt=Now() - RING_TIMEOUT)
            if Doorbell.objects.filter(silent, pk=1).update(rung_at=Now()):
                enqueue_drain()
    except Exception:
        logger.warning("Ringing the doorbell failed; the next sweep will wake the workers.", exc_info=True)


def wake_now() -> None:
    """Wakes the workers even if they are already rung, because a person wants it. It never raises."""
    try:
        enqueue_drain()
    except Exception:
        logger.warning("Waking the workers failed; the next sweep will wake them.", exc_info=True)


def is_rung() -> bool:
    """Runs for each post, so in plain SQL: the ORM takes ten times as long to build the statement."""
    since = connection.ops.adapt_datetimefield_value(timezone.now() - RING_TIMEOUT)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM ingestion_doorbell WHERE id = 1 AND rung_at > %s", [since])
        return cursor.fetchone() is not None


def enqueue_drain() -> None:
    """Queues a drain, even if one is queued already. Raises what the broker raises."""
    async_task(DRAIN_TASK, q_options={"save": False})


def acknowledge() -> None:
    """A worker has started: silences the doorbell, and records the heartbeat."""
    Doorbell.objects.filter(pk=1).update(rung_at=None, answered_at=Now())


def heartbeat() -> datetime | None:
    """When a task last ran on any cluster."""
    return Doorbell.objects.filter(pk=1).values_list("answered_at", flat=True).first()

"""The doorbell: wakes the workers. It carries no data and may be lost; the minute sweep makes up for it."""

import logging
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now
from django_q.tasks import async_task

from ingestion.models import Doorbell

DRAIN_TASK = "enrichment.tasks.drain"
PATIENCE = timedelta(seconds=10)
"""A ring that nobody answered for so long may be repeated."""

logger = logging.getLogger(__name__)


def ring() -> None:
    """Wakes the workers unless they are rung already. Call it after the commit; it never raises."""
    try:
        silent = Doorbell.objects.filter(Q(rung_at=None) | Q(rung_at__lt=Now() - PATIENCE), pk=1)
        if not silent.exists():  # as nearly always when many post at once: they need not queue up for the row
            return
        with transaction.atomic():
            if silent.update(rung_at=Now()):
                call_workers()
    except Exception:
        logger.warning("The doorbell could not be rung; the next sweep will.", exc_info=True)


def call_workers() -> None:
    """Queues a drain whether or not one is queued already. Raises what the broker raises."""
    async_task(DRAIN_TASK, q_options={"save": False})


def answer() -> None:
    """A worker is here: the next ring is heard again, and the cluster is known to be alive."""
    Doorbell.objects.filter(pk=1).update(rung_at=None, answered_at=Now())


def heartbeat() -> datetime | None:
    """When a task last ran on any cluster."""
    return Doorbell.objects.filter(pk=1).values_list("answered_at", flat=True).first()

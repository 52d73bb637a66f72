"""What django-q2 calls. Tasks carry no data, so that one lost or run twice does no harm."""

import logging
import time
from collections.abc import Callable
from functools import partial

from django.conf import settings

from enrichment import retention
from enrichment.held import bulk_actions
from enrichment.models import BulkAction
from enrichment.pipeline.batch import process_batch
from ingestion import doorbell
from ingestion.streams import all_streams

DRAIN_SECONDS = 2.0

logger = logging.getLogger(__name__)


def drain() -> None:
    """Works for about two seconds; rings again when it leaves work behind, so that others join and a stop is quick."""
    doorbell.acknowledge()
    end = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < end:
        acted = _step_of("a bulk action", lambda: bulk_actions.run_next_step(BulkAction.objects.all()))
        batches = [process_batch(stream) for stream in all_streams()]  # streams take turns
        is_busy = acted or any(batches)
        pruned = _step_of("retention", partial(retention.run_next_step, rest=not is_busy))
        if not is_busy and not pruned:
            return
    doorbell.ring()


def _step_of(what: str, carry_on: Callable[[], bool]) -> bool:
    """A step that fails must not keep the records from their work."""
    try:
        return carry_on()
    except Exception:
        logger.exception("A step of %s failed; the next ring will try it again.", what)
        return False


def prune() -> None:
    """Begins a run of retention: what the daily schedule calls. Drains do it."""
    if settings.RETENTION:
        retention.create_run(by="schedule")
        doorbell.ring()

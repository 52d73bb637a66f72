"""What django-q2 calls. Tasks carry no data, so that one lost or run twice does no harm."""

import logging
import time
from collections.abc import Callable
from functools import partial

from django.conf import settings

from enrichment import completion, previews, retention
from enrichment.held import bulk_actions
from enrichment.models import BulkAction, Erasure
from enrichment.pipeline.batch import process_batch
from enrichment.subjects import erasure
from ingestion import doorbell
from ingestion.models import Delivery
from ingestion.streams import Stream, all_streams

DRAIN_SECONDS = 2.0

logger = logging.getLogger(__name__)


def drain(seconds: float = DRAIN_SECONDS) -> None:
    """Works for about two seconds; rings again if it leaves work behind, so that other workers join in and a stop takes
    seconds.
    """
    doorbell.acknowledge()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        erased = _attempt("an erasure", lambda: erasure.run_next_step(Erasure.objects.all()))
        acted = _attempt("a bulk action", lambda: bulk_actions.run_next_step(BulkAction.objects.all()))
        batches = [process_batch(stream) for stream in _pending_streams()]  # streams take turns
        completed = _attempt("the completion of an upload", completion.run_next_step)
        checked = _attempt("a preview", previews.run_next_step)
        is_busy = erased or acted or completed or checked or any(batches)
        pruned = _attempt("retention", partial(retention.run_next_step, rest=not is_busy))
        if not is_busy and not pruned:
            return
    doorbell.ring()


def _pending_streams() -> list[Stream]:
    """To claim of one that has nothing takes longer than to process a record."""
    pending = Delivery.objects.pending_among(stream.name for stream in all_streams())
    return [stream for stream in all_streams() if stream.name in pending]


def _attempt(what: str, run_next_step: Callable[[], bool]) -> bool:
    """A step that fails must not keep the records from being processed."""
    try:
        return run_next_step()
    except Exception:
        logger.exception("A step of %s failed; it is tried again when the workers are called next.", what)
        return False


def prune() -> None:
    """Starts a run of retention: called by the daily schedule, which `migrate` creates
    (tutormax/installation.py). Drains do its steps."""
    if settings.RETENTION:
        retention.create_run(by="schedule")
        retention.discard_old_dead_letters(by="schedule")
        doorbell.ring()

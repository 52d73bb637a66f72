"""What django-q2 calls. Tasks carry no data, so that one lost or run twice does no harm."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from django.conf import settings
from django.db import Error, InterfaceError, OperationalError, connection

from enrichment import completion, previews, retention
from enrichment.held import bulk_actions
from enrichment.models import BulkAction, Erasure
from enrichment.pipeline.batch import process_batch
from enrichment.subjects import erasure
from ingestion import doorbell
from ingestion.models import Delivery
from ingestion.streams import Stream, all_streams

DRAIN_SECONDS = 2.0
LOOK_EVERY = 0.04
"""Seconds. Records that come one by one are processed together, and each waits for half of it on average."""
QUIET_SECONDS = 1.0
"""A watch ends when no record has come for so long."""
RENEW_SECONDS = 0.3
FEW = 100
"""Records in a round that one worker processes by itself, with a pause before the next; unless it takes LONG_ROUND."""
LONG_ROUND = 0.25
PAUSE = 0.5
"""Seconds after an error of the database, which may last."""

logger = logging.getLogger(__name__)


def work(seconds: float = DRAIN_SECONDS) -> None:
    """The task that a ring starts: a drain, and where it has found records, a watch for more, so that not each of those
    that come one by one needs a task of its own.
    """
    end = time.monotonic() + seconds
    try:
        found = drain(seconds, few=FEW)
        if found == 0:
            time.sleep(doorbell.LAST_LOOK)
            found = _process_pending()
        if found:
            watch(end)
    except (OperationalError, InterfaceError):
        hand_over()
        raise


def hand_over() -> None:
    """After a connection was cut: somebody may count on this worker."""
    connection.close()
    time.sleep(PAUSE)
    with suppress(Error):  # with the database away nobody is told anything, and the sweep makes up for it
        doorbell.stop_watching()
    doorbell.ring()


def drain(seconds: float = DRAIN_SECONDS, *, few: int = 0) -> int | None:
    """Works for about two seconds, or until a round has no more than `few` records; rings again if it leaves more
    behind, so that other workers join in and a stop takes seconds. Returns how many records there were; None if it has
    left more.
    """
    doorbell.acknowledge()
    end = time.monotonic() + seconds
    found = 0
    while time.monotonic() < end:
        erased = _attempt("an erasure", lambda: erasure.run_next_step(Erasure.objects.all()))
        acted = _attempt("a bulk action", lambda: bulk_actions.run_next_step(BulkAction.objects.all()))
        processed = _process_pending()
        completed = _attempt("the completion of an upload", completion.run_next_step)
        checked = _attempt("a preview", previews.run_next_step)
        is_busy = erased or acted or completed or checked or processed > few
        pruned = _attempt("retention", partial(retention.run_next_step, rest=not is_busy))
        found += processed
        if not is_busy and not pruned:
            return found
    doorbell.ring()
    return None


def watch(end: float) -> None:
    """Looks for records every LOOK_EVERY seconds, which ring nobody meanwhile, until none have come for QUIET_SECONDS.
    One worker of all does so. At `end`, or when there is much to do, it rings for whoever goes on. Killed, it is missed
    by the next record after doorbell.WATCH_TIME, and by the sweep.
    """
    is_mine, much, took = False, False, 0.0
    renewed = active = time.monotonic()
    while (now := time.monotonic()) < min(end, active + QUIET_SECONDS) and not much:
        if not is_mine or now >= renewed + RENEW_SECONDS:
            if not doorbell.watch(is_mine=is_mine):
                return
            is_mine, renewed = True, now
        time.sleep(max(LOOK_EVERY - took, LOOK_EVERY / 4))
        began = time.monotonic()
        processed = _process_pending()
        took = time.monotonic() - began
        if processed:
            active = began + took
            much = processed > FEW or took > LONG_ROUND
    doorbell.stop_watching()
    if now < active + QUIET_SECONDS:
        doorbell.ring()
    else:
        time.sleep(doorbell.LAST_LOOK)
        drain()


def _process_pending() -> int:
    """How many records there were; one at least where a batch was released to be retried. The streams take turns."""
    batches = [process_batch(stream) for stream in _pending_streams()]
    return sum(batch.outcomes.total() or 1 for batch in batches if batch)


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

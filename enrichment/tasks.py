"""What django-q2 calls. Tasks carry no data, so that one lost or run twice does no harm."""

import logging
import time

from django.conf import settings

from enrichment import redrives, retention
from enrichment.models import Redrive
from enrichment.pipeline import process_batch
from ingestion import bell
from ingestion.streams import all_streams

DRAIN_SECONDS = 2.0

logger = logging.getLogger(__name__)


def drain() -> None:
    """Works for about two seconds; rings again when it leaves work behind, so that others join and a stop is quick."""
    bell.answer()
    end = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < end:
        acted = _carry_on()
        batches = [process_batch(stream) for stream in all_streams()]  # streams take turns
        if not acted and not any(batches):
            return
    bell.ring()


def _carry_on() -> bool:
    """A step of a redrive; one that fails must not keep the records from their work."""
    try:
        return redrives.carry_on(Redrive.objects.all())
    except Exception:
        logger.exception("A step of a redrive failed; the next ring will try it again.")
        return False


def prune() -> None:
    """Begins a run of retention: what the daily schedule calls."""
    if settings.RETENTION:
        retention.begin(by="schedule")
        go_on_pruning()


def go_on_pruning() -> None:
    """As long as a drain, so that records get their turn and a stop is quick; calls itself again while work is left."""
    end = time.monotonic() + DRAIN_SECONDS
    try:
        while retention.carry_on():
            if time.monotonic() > end:
                retention.call_workers()
                return
    except Exception:
        logger.exception("A step of retention failed; it will be tried again.")

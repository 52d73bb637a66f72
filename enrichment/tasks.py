"""What django-q2 calls. Tasks carry no data, so that one lost or run twice does no harm."""

import time

from enrichment.pipeline import process_batch
from ingestion import bell
from ingestion.streams import all_streams

DRAIN_SECONDS = 2.0


def drain() -> None:
    """Works for about two seconds; rings again when it leaves work behind, so that others join and a stop is quick."""
    bell.answer()
    end = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < end:
        batches = [process_batch(stream) for stream in all_streams()]  # streams take turns
        if not any(batches):
            return
    bell.ring()

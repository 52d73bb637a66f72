"""Back-pressure: while too many records of a stream are pending, no more of that stream are accepted."""

import threading
import time
from collections import Counter
from collections.abc import Iterable

from django.conf import settings

from ingestion.models import Delivery
from ingestion.text import thousands

COUNT_TTL = 1.0
"""Minimum number of seconds between two counts by the database."""
RECOUNT_SHARE = 20
"""Counting takes longer the deeper the backlog is: at most one part in so many of this process's time."""


class BacklogFull(Exception):
    """No more records of the stream are accepted until the workers have caught up."""


_counting = threading.Lock()
_records: Counter[str] = Counter()
"""By stream."""
_due = 0.0


def raise_if_full(streams: Iterable[str]) -> None:
    """Raises BacklogFull while MAX_PENDING_RECORDS or more of one of these streams are pending."""
    for stream in streams:
        if is_full(stream):
            raise BacklogFull(
                f"{thousands(_records[stream])} records of {stream} are pending; the limit is"
                f" {thousands(settings.MAX_PENDING_RECORDS)} for each stream. Try again later."
            )


def is_full(stream: str) -> bool:
    """Whether MAX_PENDING_RECORDS or more of the stream are pending, by this process's last count (seconds ago)."""
    _count_if_due()
    return _records[stream] >= settings.MAX_PENDING_RECORDS


def full_streams() -> list[str]:
    """Those of which no more records are accepted."""
    _count_if_due()
    return sorted(stream for stream, records in _records.items() if records >= settings.MAX_PENDING_RECORDS)


def note_accepted(stream: str, records: int) -> None:
    """Adds what this process has accepted since the last count (roughly: threads may overwrite each other)."""
    _records[stream] += records


def reset_cache() -> None:
    """Makes the next question count anew."""
    global _due  # noqa: PLW0603
    _due = 0.0


def _count_if_due() -> None:
    global _records, _due  # noqa: PLW0603
    if time.monotonic() >= _due and _counting.acquire(blocking=False):
        try:
            started = time.monotonic()
            _records = Counter(Delivery.objects.pending_by_stream())
            now = time.monotonic()
            _due = now + max(COUNT_TTL, RECOUNT_SHARE * (now - started))
        finally:
            _counting.release()

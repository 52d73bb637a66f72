"""Back-pressure: while too many records are pending, no more are accepted."""

import threading
import time

from django.conf import settings

from ingestion.models import Delivery

COUNT_TTL = 1.0
"""Minimum number of seconds between two counts by the database."""
RECOUNT_SHARE = 20
"""Counting takes longer the deeper the backlog is: at most one part in so many of this process's time."""


class BacklogFull(Exception):
    """Nothing more is accepted until the workers have caught up."""


_counting = threading.Lock()
_records = 0
_due = 0.0


def raise_if_full() -> None:
    """Raises BacklogFull while MAX_PENDING_RECORDS or more are pending."""
    if is_full():
        raise BacklogFull(
            f"{_records} records are pending; the limit is {settings.MAX_PENDING_RECORDS}. Try again later."
        )


def is_full() -> bool:
    """Whether MAX_PENDING_RECORDS or more are pending, by this process's last count (seconds ago)."""
    global _records, _due  # noqa: PLW0603
    if time.monotonic() >= _due and _counting.acquire(blocking=False):
        try:
            started = time.monotonic()
            _records = Delivery.objects.pending_records()
            now = time.monotonic()
            _due = now + max(COUNT_TTL, RECOUNT_SHARE * (now - started))
        finally:
            _counting.release()
    return _records >= settings.MAX_PENDING_RECORDS


def note_accepted(records: int) -> None:
    """Adds what this process has accepted since the last count (roughly: threads may overwrite each other)."""
    global _records  # noqa: PLW0603
    _records += records


def reset_cache() -> None:
    """Makes the next question count anew."""
    global _due  # noqa: PLW0603
    _due = 0.0

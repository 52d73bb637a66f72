"""Back-pressure: how much is pending, and whether that is too much to accept more."""

import threading
import time

from django.conf import settings

from ingestion.models import Delivery

COUNT_TTL = 1.0
"""Seconds between two questions to the database, at least."""
RECOUNT_SHARE = 20
"""Asking takes as long as the backlog is deep: it may take one part in so many of this process's time."""


class BacklogFull(Exception):
    """Nothing more is accepted until the workers have caught up."""


_asking = threading.Lock()
_records = 0
_due = 0.0


def raise_if_full() -> None:
    """Raises BacklogFull while it is."""
    if is_full():
        raise BacklogFull(f"{_records} records are pending, as many as may be. Try again when some are worked off.")


def is_full() -> bool:
    """Whether MAX_PENDING_RECORDS or more are pending, as far as this process has last seen (seconds ago)."""
    global _records, _due  # noqa: PLW0603
    if time.monotonic() >= _due and _asking.acquire(blocking=False):
        try:
            began = time.monotonic()
            _records = Delivery.objects.pending_records()
            now = time.monotonic()
            _due = now + max(COUNT_TTL, RECOUNT_SHARE * (now - began))
        finally:
            _asking.release()
    return _records >= settings.MAX_PENDING_RECORDS


def note_accepted(records: int) -> None:
    """Counts what this process has accepted since it last asked (about: threads may overwrite each other)."""
    global _records  # noqa: PLW0603
    _records += records


def reset_cache() -> None:
    """The next question is put to the database."""
    global _due  # noqa: PLW0603
    _due = 0.0

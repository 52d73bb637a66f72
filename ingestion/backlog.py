"""Back-pressure: while too much is pending or failed, no more is accepted, of a stream or from one client."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from django.conf import settings

from ingestion import doorbell
from ingestion.models import Delivery, PausedStream
from ingestion.text import thousands

COMMAND = "command"
"""The client of files that somebody imports on the server itself: no limit of one client holds for it."""
COUNT_TTL = 1.0
"""Minimum number of seconds between two counts of pending records by the database."""
HELD_TTL = 10.0
"""Likewise of held records, which grow no faster than records are processed."""
RECOUNT_SHARE = 20
"""Counting takes longer the more there is: at most one part in so many of this process's time."""
RETRY_AFTER = 30
"""Seconds until a client should try again when too much is pending."""
RETRY_AFTER_REVIEW = 600
"""Likewise when a person has to do something first."""

Counted = TypeVar("Counted")


class BacklogFull(Exception):
    """No more records of the stream are accepted until the workers have caught up."""

    retry_after = RETRY_AFTER


class ClientLimitReached(BacklogFull):
    """No more is accepted from one client, who has caused it; the others are not affected."""

    def __init__(self, message: str, retry_after: int = RETRY_AFTER) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass
class Pending:
    """What is pending, of which limits are known."""

    by_stream: Counter[str] = field(default_factory=Counter)
    """Stream → records, of each client at most as many as it may have: what one has sent beyond that (a single large
    file) does not shut out the others.
    """
    by_client: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(stream, client) → records."""
    sizes: Counter[str] = field(default_factory=Counter)
    """Client → bytes."""

    def add(self, stream: str, client: str, records: int, size: int) -> None:
        """Of what a client sent. (Roughly: threads may overwrite each other.)"""
        before = self.by_client[stream, client]
        self.by_client[stream, client] = before + records
        self.sizes[client] += size
        limit = None if client == COMMAND else settings.MAX_CLIENT_PENDING_RECORDS
        self.by_stream[stream] += records if limit is None else min(before + records, limit) - min(before, limit)

    def full_streams(self) -> list[str]:
        """Those of which no more records are accepted from anybody."""
        return sorted(stream for stream, records in self.by_stream.items() if records >= settings.MAX_PENDING_RECORDS)


def count_pending(of: str = "") -> Pending:
    """Of one client or of all; one query."""
    pending = Pending()
    deliveries = Delivery.objects.filter(client=of) if of else Delivery.objects.all()
    for stream, client, source, records, size in deliveries.pending_by_client():
        if source == Delivery.Source.CLIENT:
            pending.add(stream, client, records, size)
        else:
            pending.by_stream[stream] += records
    return pending


@dataclass
class Held:
    """Open held records, of which limits are known: each counts towards one of them."""

    without_reference: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(stream, client) → records that wait for another record, or have waited too long. They refuse no other stream:
    what they lack is sent there.
    """
    dead_letters: Counter[str] = field(default_factory=Counter)
    """Client → the other dead letters."""


CountHeld = Callable[[str], Iterable[tuple[str, str, bool, int]]]
"""Of a client, or of all (""): stream, client, whether they lack a reference, how many."""
_counts_of_held: list[CountHeld] = []


def register_held(count: CountHeld) -> None:
    """How many open held records each client has is known to the app that keeps them."""
    _counts_of_held.append(count)


def count_held(of: str = "") -> Held:
    """Of one client or of all; one query."""
    held = Held()
    for count in _counts_of_held:
        for stream, client, lacks_reference, number in count(of):
            if lacks_reference:
                held.without_reference[stream, client] += number
            else:
                held.dead_letters[client] += number
    return held


class Recounted(Generic[Counted]):
    """What a count by the database found some seconds ago: it is repeated when it is due, by one thread at a time."""

    def __init__(self, count: Callable[[], Counted], nothing: Counted, ttl: float) -> None:
        self._count, self._value, self._ttl = count, nothing, ttl
        self._due = 0.0
        self._counting = threading.Lock()

    def get(self) -> Counted:
        if time.monotonic() >= self._due and self._counting.acquire(blocking=False):
            try:
                started = time.monotonic()
                self._value = self._count()
                now = time.monotonic()
                self._due = now + max(self._ttl, RECOUNT_SHARE * (now - started))
            finally:
                self._counting.release()
        return self._value

    def forget(self) -> None:
        self._due = 0.0


_pending = Recounted(count_pending, Pending(), COUNT_TTL)
_held = Recounted(count_held, Held(), HELD_TTL)


def raise_if_full(streams: Iterable[str], client: str) -> None:
    """Raises BacklogFull while no more records of one of these streams are accepted from this client."""
    for stream in streams:
        if refusal := find_refusal(stream, client):
            raise refusal


def find_refusal(stream: str, client: str) -> BacklogFull | None:
    """Why no more records of the stream are accepted from this client, by this process's last counts (seconds ago);
    None: they are.
    """
    if client != COMMAND and (refusal := _find_own(stream, client)):
        return refusal
    if not is_full(stream):
        return None
    return BacklogFull(
        f"{thousands(_pending.get().by_stream[stream])} records of {stream} are pending; the limit is"
        f" {thousands(settings.MAX_PENDING_RECORDS)} for each stream. Try again later."
    )


def _find_own(stream: str, client: str) -> BacklogFull | None:
    """The limit of this client that is reached."""
    pending = _pending.get()
    if (records := pending.by_client[stream, client]) >= settings.MAX_CLIENT_PENDING_RECORDS:
        limit = f"{thousands(settings.MAX_CLIENT_PENDING_RECORDS)} for each client and stream"
        return _own(f"{thousands(records)} of your records of {stream} are pending; the limit is {limit}.", stream)
    if (size := pending.sizes[client]) >= settings.MAX_CLIENT_PENDING_BYTES:
        limit = f"{thousands(settings.MAX_CLIENT_PENDING_BYTES)} for each client"
        return _own(f"{thousands(size)} bytes of your records are pending; the limit is {limit}.", "")
    held = _held.get()
    if (number := held.without_reference[stream, client]) >= settings.MAX_CLIENT_WAITING_RECORDS:
        return ClientLimitReached(
            f"{thousands(number)} of your records of {stream} lack a record that they refer to; the limit is"
            f" {thousands(settings.MAX_CLIENT_WAITING_RECORDS)} for each client and stream. Send those records first:"
            f" GET /api/dead-letters?status=waiting&stream={stream} names them."
        )
    if (number := held.dead_letters[client]) >= settings.MAX_CLIENT_DEAD_LETTERS:
        return ClientLimitReached(
            f"{thousands(number)} of your records are dead letters; the limit is"
            f" {thousands(settings.MAX_CLIENT_DEAD_LETTERS)} for each client. See what is wrong with them at"
            " GET /api/dead-letters, correct it at the source, and ask an operator to discard them or fix them.",
            RETRY_AFTER_REVIEW,
        )
    return None


def _own(message: str, stream: str) -> BacklogFull:
    """Of the client, unless nobody processes what it has sent: the stream, or any without one, is paused, or no workers
    are running.
    """
    paused = PausedStream.objects.filter(stream=stream) if stream else PausedStream.objects.all()
    if paused.exists() or not doorbell.is_alive(doorbell.heartbeat()):
        return BacklogFull(f"{message} They are not being processed at the moment. Try again later.")
    return ClientLimitReached(f"{message} Wait until they are processed, and send more slowly.")


def is_full(stream: str) -> bool:
    """Whether MAX_PENDING_RECORDS or more of the stream are pending, by this process's last count (seconds ago)."""
    return _pending.get().by_stream[stream] >= settings.MAX_PENDING_RECORDS


def full_streams() -> list[str]:
    """Those of which no more records are accepted, by the last count."""
    return _pending.get().full_streams()


@dataclass(frozen=True, kw_only=True)
class Share:
    """How much of one of its limits a client has used."""

    client: str
    setting: str
    """The limit's name."""
    number: int
    stream: str = ""
    """Of a limit by stream."""

    @property
    def limit(self) -> int:
        found: int = getattr(settings, self.setting)
        return found

    @property
    def is_reached(self) -> bool:
        return self.number >= self.limit

    @property
    def text(self) -> str:
        """For people who look after the system."""
        what = LIMITS[self.setting].format(self.stream)
        return f"{thousands(self.number)} {what} (limit: {thousands(self.limit)}, {self.setting})"


LIMITS = {
    "MAX_CLIENT_PENDING_RECORDS": "pending records of {}",
    "MAX_CLIENT_PENDING_BYTES": "pending bytes",
    "MAX_CLIENT_WAITING_RECORDS": "records of {} that lack a reference",
    "MAX_CLIENT_DEAD_LETTERS": "open dead letters",
}
"""Setting → what it limits; of one client."""


def shares(pending: Pending, held: Held) -> list[Share]:
    """Of all clients that have limits."""
    records, size, waiting, dead = LIMITS
    found = [
        *(
            Share(client=client, setting=records, number=number, stream=stream)
            for (stream, client), number in pending.by_client.items()
        ),
        *(Share(client=client, setting=size, number=number) for client, number in pending.sizes.items()),
        *(
            Share(client=client, setting=waiting, number=number, stream=stream)
            for (stream, client), number in held.without_reference.items()
        ),
        *(Share(client=client, setting=dead, number=number) for client, number in held.dead_letters.items()),
    ]
    return [share for share in found if share.client != COMMAND]


def reached() -> list[Share]:
    """The limits that clients have reached, by the last counts."""
    return [share for share in shares(_pending.get(), _held.get()) if share.is_reached]


def note_accepted(stream: str, client: str, records: int, size: int) -> None:
    """Adds what this process has accepted since the last count."""
    _pending.get().add(stream, client, records, size)


def reset_cache() -> None:
    """Makes the next question count anew."""
    _pending.forget()
    _held.forget()

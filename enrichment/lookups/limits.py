"""The limit of a provider, shared by all processes: requests are sent in slots, evenly spaced by the database's clock.

Slots are booked in one statement on the provider's row. A window as long as the limit's never holds more of them than
allowed, even if some are used MAX_LATENESS late; a slot missed by more is given up, and another one taken.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from enrichment.lookups import providers
from enrichment.lookups.errors import RunnerStopped, Throttled
from enrichment.lookups.models import ProviderState
from enrichment.lookups.providers import Provider
from ingestion.text import duration

MAX_LATENESS = 0.05
"""Seconds by which a slot may be missed."""
JITTER = 0.12
"""Seconds by which two requests may arrive closer to each other than their slots are: MAX_LATENESS, and the way."""
MAX_CLOCK_ERROR = MAX_LATENESS / 5
"""Seconds by which the database's clock may be misjudged; where a booking took too long to tell, it is read alone."""
READINGS = 3
"""As often at most for one booking: then the best of them has to do."""
SPACING = 1.05
"""Slots are so many times further apart than the limit asks for."""
AHEAD = 0.5
"""Seconds: slots are booked no further ahead, so that little is lost with a process, or used after a 429."""
MIN_RETRY_AFTER = 1.0
FIRST_PAUSE = 1.0
MAX_PAUSE = 60.0
"""Seconds: pauses after errors double from the one up to the other."""
MAX_WAIT = 10.0
"""Seconds that a thread waits, in the middle of a question, for the end of a Retry-After."""
POLL = 0.1
"""Seconds until booking is tried again, when all slots are taken for the time being."""

WANTS_PEACE = "{} asks to be left alone for a while (429)."

CLOCKS = {
    "postgresql": "extract(epoch FROM clock_timestamp())::float8",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}
# A next slot further ahead than anything that is believed was set by a clock that was put back: it begins anew.
BOOK = """
    UPDATE enrichment_providerstate
    SET next_slot = %(length)s
        + CASE WHEN next_slot BETWEEN {clock} AND {clock} + %(longest)s THEN next_slot ELSE {clock} END
    WHERE provider = %(provider)s AND next_slot NOT BETWEEN {clock} + %(ahead)s AND {clock} + %(longest)s
    RETURNING next_slot - %(length)s, {clock}
"""
BLOCK = """
    UPDATE enrichment_providerstate
    SET next_slot = CASE WHEN next_slot BETWEEN {clock} + %(seconds)s AND {clock} + %(longest)s THEN next_slot
        ELSE {clock} + %(seconds)s END
    WHERE provider = %(provider)s
"""


def pause(errors: int, longest: float = MAX_PAUSE) -> float:
    """Seconds until something is tried again that has had so many errors in a row before this one."""
    return min(longest, FIRST_PAUSE * 2.0 ** min(errors, 20))


def spacing(provider: Provider) -> float:
    """Seconds between two slots."""
    requests, seconds = provider.limit
    return max(SPACING * seconds, seconds + JITTER) / requests


def book(provider: Provider, number: int) -> list[float]:
    """Books up to so many slots, in the order of time by this process's monotonic clock; none if those of the near
    future are taken. Outside of any transaction, or others wait for its end.
    """
    step = spacing(provider)
    number = max(1, min(number, int(AHEAD / step)))
    before = time.monotonic()
    booked = _execute(BOOK, provider, length=number * step, ahead=max(AHEAD, step))
    if booked is None:
        return []
    first, clock = booked
    ahead = _database_clock.ahead_of_ours(before, time.monotonic(), clock)
    for _ in range(READINGS):
        if _database_clock.error <= MAX_CLOCK_ERROR:
            break
        before = time.monotonic()
        ahead = _database_clock.ahead_of_ours(before, *_read_clock())
    return [first - ahead + count * step for count in range(number)]


def _read_clock() -> tuple[float, float]:
    """When it was read at the latest, by our clock; what it said."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {CLOCKS[connection.vendor]}")
        clock = float(cursor.fetchone()[0])
        return time.monotonic(), clock


def block(provider: Provider, seconds: float) -> None:
    """Nobody, in whatever process, gets a slot for so long; those booked already, by others, are of the next second."""
    error: dict[str, Any] = {}
    if seconds > MAX_WAIT:
        message = f"{provider} asked to be left alone for {duration(seconds)} (Retry-After)."
        error = {"last_error": message, "last_error_at": Now()}
    with transaction.atomic():
        _execute(BLOCK, provider, seconds=seconds)
        state = ProviderState.objects.filter(provider=provider.name)
        until = Now() + timedelta(seconds=seconds)
        state.exclude(blocked_until__gte=until).update(blocked_until=until, **error)


class DatabaseClock:
    """How far the database's clock is ahead of this process's monotonic one.

    It was read at some moment of a statement, which may have waited for a lock or for the disk: so it goes by the
    quickest of the last statements, unless the clock has been set since.
    """

    VALID = 60.0
    """Seconds, in which clocks do not drift apart by much."""

    def __init__(self) -> None:
        self.ahead, self.error, self.at = 0.0, math.inf, 0.0

    def ahead_of_ours(self, before: float, after: float, clock: float) -> float:
        """With one more reading of it, by a statement that lasted from `before` to `after`."""
        ahead, error = clock - (before + after) / 2, (after - before) / 2
        is_set = abs(ahead - self.ahead) > error + self.error + MAX_LATENESS
        if error <= self.error or after - self.at > self.VALID or is_set:
            self.ahead, self.error, self.at = ahead, error, after
        return self.ahead


_database_clock = DatabaseClock()


def _execute(statement: str, provider: Provider, **values: float) -> tuple[float, ...] | None:
    longest = provider.max_retry_after + MAX_PAUSE
    text = statement.format(clock=CLOCKS[connection.vendor])
    with connection.cursor() as cursor:
        cursor.execute(text, {"provider": provider.name, "longest": longest, **values})
        row = cursor.fetchone() if cursor.description else None
        return None if row is None else tuple(map(float, row))


def retry_after(header: str | None, date: str | None, longest: float) -> float | None:
    """The seconds for which the provider wants to be left alone, from 1 to `longest`; None if it does not say, or not
    so that it can be believed. `date` is the answer's own header of that name, by whose clock a date is meant.
    """
    if header is None:
        return None
    if re.fullmatch(r"\s*[0-9]{1,300}(\.[0-9]{0,30})?\s*", header):
        seconds = float(header)
    else:
        try:
            until = parsedate_to_datetime(header)
            now = parsedate_to_datetime(date) if date else timezone.now()
            # Without a zone it is UTC, as all dates of HTTP are.
            seconds = (_aware(until) - _aware(now)).total_seconds()
        except (ValueError, TypeError, OverflowError):
            return None
        if seconds <= 0:
            return None
    return min(max(seconds, MIN_RETRY_AFTER), max(longest, MIN_RETRY_AFTER))


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)


class Slots:
    """Hands the slots of one provider to the threads that ask it.

    Threads call `take`, and `block` after a 429; a single other thread, which alone speaks to the database, calls
    `serve` whenever `wake` has been called.
    """

    def __init__(self, provider: Provider, wake: Callable[[], None]) -> None:
        self.provider = provider
        self.counts: Counter[str] = Counter()
        """By name in LookupMinute.COUNTS; whoever takes them replaces them by an empty one, under `changed`."""
        self.waiting = 0
        """Threads that wait for a slot to be booked, or for theirs to come."""
        self.changed = threading.Condition()
        self._wake = wake
        self._booked: deque[float] = deque()
        self._unbooked = 0
        self._blocked_until = 0.0
        self._to_block = 0.0
        self._refusals = 0
        self._closing = threading.Event()

    def take(self) -> None:
        """Returns when a slot has come. Raises Throttled, RunnerStopped."""
        with self.changed:
            self.waiting += 1
        try:
            while not self._await(self._next()):
                pass
        finally:
            with self.changed:
                self.waiting -= 1
        self.count("requests")

    def count(self, name: str) -> None:
        with self.changed:
            self.counts[name] += 1

    def succeeded(self) -> None:
        with self.changed:
            self._refusals = 0

    def block(self, seconds: float | None) -> None:
        """A 429: nobody gets a slot for so long; None: the provider did not say how long, and pauses grow."""
        with self.changed:
            if seconds is None:
                seconds = min(pause(self._refusals), self.provider.max_retry_after)
                self._refusals += 1
            self._to_block = max(self._to_block, seconds)
            self._blocked_until = max(self._blocked_until, time.monotonic() + seconds)
            self.counts["throttled"] += 1
            self.changed.notify_all()
        self._wake()

    def serve(self) -> bool:
        """Books what threads wait for, and tells the other processes of a 429. False: to be called again, shortly."""
        with self.changed:
            seconds, self._to_block = self._to_block, 0.0
            wanted = self._unbooked - len(self._booked)
        if seconds:
            block(self.provider, seconds)
        if wanted <= 0 or time.monotonic() < self._blocked_until:
            return True
        slots = book(self.provider, wanted)
        with self.changed:
            self._booked.extend(slots)
            self.changed.notify_all()
        return len(slots) >= wanted

    def take_counts(self) -> Counter[str]:
        with self.changed:
            counts, self.counts = self.counts, Counter()
        return counts

    def close(self) -> None:
        self._closing.set()
        with self.changed:
            self.changed.notify_all()

    def _next(self) -> float:
        """The moment of the next slot, which is booked for this thread."""
        with self.changed:
            self._unbooked += 1
            try:
                self._wake()
                while not self._booked:
                    self._check()
                    self.changed.wait(1)
                return self._booked.popleft()
            finally:
                self._unbooked -= 1

    def _await(self, slot: float) -> bool:
        """Whether the slot may be used when it has come: it is missed when this process was not given the time."""
        self._closing.wait(max(0.0, slot - time.monotonic()))
        self._check()
        return self._blocked_until <= slot and time.monotonic() <= slot + MAX_LATENESS

    def _check(self) -> None:
        if self._closing.is_set():
            raise RunnerStopped("The process is ending.")
        if self._blocked_until - time.monotonic() > MAX_WAIT:
            raise Throttled(WANTS_PEACE.format(self.provider))


class _OfThread(threading.local):
    slots: Slots | None = None


of_thread = _OfThread()
"""`slots`: where this thread takes its slots."""


def slots_for(name: str) -> Slots:
    """Of the provider that this thread asks; a thread of no runner, such as a shell's, books its slots itself."""
    if of_thread.slots and of_thread.slots.provider.name == name:
        return of_thread.slots
    return _OwnSlots(providers.get(name), lambda: None)


class _OwnSlots(Slots):
    """For a thread that may speak to the database."""

    def _next(self) -> float:
        while not (slots := book(self.provider, 1)):
            state, _ = ProviderState.objects.get_or_create(provider=self.provider.name)
            if state.blocked_until and state.blocked_until - timezone.now() > timedelta(seconds=MAX_WAIT):
                raise Throttled(WANTS_PEACE.format(self.provider))
            time.sleep(POLL)
        return slots[0]

    def block(self, seconds: float | None) -> None:
        super().block(seconds)
        self.serve()

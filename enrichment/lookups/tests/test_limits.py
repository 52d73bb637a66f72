from __future__ import annotations

import threading
import time
from datetime import timedelta
from email.utils import format_datetime

import psycopg
import pytest
from django.utils import timezone

from enrichment.lookups import limits
from enrichment.lookups.errors import RunnerStopped, Throttled
from enrichment.lookups.models import ProviderState
from enrichment.lookups.providers import Provider, Rate
from enrichment.lookups.tests.conftest import Declare
from standins.server import busiest
from tests.workers import database_url

NOW = "Sat, 28 Nov 2026 12:00:00 GMT"


@pytest.fixture
def state(db: None) -> ProviderState:
    return ProviderState.objects.create(provider="oracle")


@pytest.mark.parametrize("rate", [Rate(40, 10), Rate(50, 1), Rate(1, 1), Rate(2, 1), Rate(1000, 3600)])
def test_no_window_holds_more_slots_than_the_limit(declare: Declare, rate: Rate) -> None:
    step = limits.spacing(declare(rate=rate))
    slots = [number * step for number in range(3 * rate.requests + 3)]
    late = [slot + (limits.MAX_LATENESS if number % 7 == 0 else 0) for number, slot in enumerate(slots)]
    assert busiest(slots, rate.seconds) <= rate.requests
    assert busiest(late, rate.seconds) <= rate.requests
    assert 1 / step > 0.89 * rate.requests / rate.seconds


def test_slots_are_booked_one_after_another(declare: Declare, state: ProviderState) -> None:
    provider = declare(rate=Rate(40, 10))
    first = limits.book(provider, 100)  # no further ahead than half a second
    assert len(first) == 1
    second = limits.book(provider, 1)
    assert second[0] - first[0] == pytest.approx(limits.spacing(provider), abs=0.05)
    assert limits.book(provider, 1) == [] or limits.book(provider, 1) == []


def test_slots_in_the_past_are_lost(declare: Declare, state: ProviderState) -> None:
    provider = declare(rate=Rate(40, 10))
    ProviderState.objects.update(next_slot=time.time() - 1000)
    slots = limits.book(provider, 10) + limits.book(provider, 10)
    assert slots[0] == pytest.approx(time.monotonic(), abs=0.5)
    assert slots[1] > slots[0] + 0.2


def test_a_clock_that_was_put_back_does_not_stop_everything(declare: Declare, state: ProviderState) -> None:
    provider = declare(max_retry_after=600)
    ProviderState.objects.update(next_slot=time.time() + 3600)
    assert limits.book(provider, 1)


def test_the_database_s_clock_is_that_of_the_quickest_statement() -> None:
    clock = limits.DatabaseClock()
    assert clock.ahead_of_ours(10.0, 10.4, 1010.35) == pytest.approx(1000.15)  # it waited before it read the clock
    assert clock.ahead_of_ours(11.0, 11.002, 1011.001) == pytest.approx(1000)
    assert clock.ahead_of_ours(12.0, 12.4, 1012.35) == pytest.approx(1000)
    assert clock.ahead_of_ours(13.0, 13.002, 1013.003) == pytest.approx(1000.002)
    assert clock.ahead_of_ours(14.0, 14.4, 914.2) == pytest.approx(900)  # it was put back
    assert clock.ahead_of_ours(15.0, 15.1, 915.1) == pytest.approx(900.05)
    assert clock.ahead_of_ours(99.0, 99.2, 999.2) == pytest.approx(900.1)  # long since


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_booking_that_was_slow_does_not_put_slots_off(declare: Declare, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the first of a process is while the database is frozen or its row locked."""
    ProviderState.objects.create(provider="oracle")
    provider = declare(rate=Rate(40, 10))
    monkeypatch.setattr(limits, "_database_clock", limits.DatabaseClock())
    with psycopg.connect(database_url()) as other:
        other.execute("SELECT 1 FROM enrichment_providerstate FOR UPDATE")
        timer = threading.Timer(1.0, other.commit)
        timer.start()
        (slot,) = limits.book(provider, 1)
        timer.join()
        row = other.execute("SELECT next_slot, extract(epoch FROM clock_timestamp()) FROM enrichment_providerstate")
        next_slot, clock = map(float, row.fetchone() or ())
    ahead = clock - time.monotonic()
    assert slot == pytest.approx(next_slot - limits.spacing(provider) - ahead, abs=limits.MAX_LATENESS)


def test_after_a_429_nobody_gets_a_slot(declare: Declare, state: ProviderState) -> None:
    provider = declare(max_retry_after=600)
    limits.block(provider, 100)
    limits.block(provider, 5)  # the longer one stays
    assert limits.book(provider, 1) == []
    state.refresh_from_db()
    assert state.blocked_until is not None
    assert 90 < (state.blocked_until - timezone.now()).total_seconds() <= 100
    assert 90 < state.next_slot - time.time() <= 101


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("3", 3),
        (" 3 ", 3),
        ("2.5", 2.5),
        ("0", 1),
        ("86400", 600),
        ("9" * 200, 600),
        ("-1526834166", None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("١", None),
        ("Sat, 28 Nov 2026 12:00:07 GMT", 7),
        ("Sat, 28 Nov 2026 12:00:07 -0000", 7),
        ("Sat, 28 Nov 2026 11:59:07 GMT", None),
        ("Sat, 28 Nov 2099 12:00:00 GMT", 600),
        ("Sat, 99 Nov 2026 12:00:00 GMT", None),
        ("Sat, 28 Nov 99999 12:00:00 GMT", None),
    ],
)
def test_retry_after_may_be_anything(header: str | None, seconds: float | None) -> None:
    assert limits.retry_after(header, NOW, 600) == seconds


def test_without_its_own_date_an_answer_is_of_now() -> None:
    in_a_minute = format_datetime(timezone.now() + timedelta(seconds=60))
    assert limits.retry_after(in_a_minute, None, 600) == pytest.approx(60, abs=5)
    assert limits.retry_after(in_a_minute, "nonsense", 600) is None


class TestSlots:
    def taken(self, slots: limits.Slots, seconds: float = 5) -> list[BaseException | None]:
        """What a thread gets that takes a slot, while this one serves."""
        result: list[BaseException | None] = []

        def take() -> None:
            try:
                slots.take()
                result.append(None)
            except BaseException as error:
                result.append(error)

        thread = threading.Thread(target=take)
        thread.start()
        end = time.monotonic() + seconds
        while thread.is_alive() and time.monotonic() < end:
            slots.serve()
            thread.join(0.02)
        return result

    def slots(self, provider: Provider) -> limits.Slots:
        return limits.Slots(provider, lambda: None)

    def test_a_thread_gets_one_when_its_time_has_come(self, declare: Declare, state: ProviderState) -> None:
        slots = self.slots(declare(rate=Rate(10, 1)))
        started = time.monotonic()
        assert [self.taken(slots) for _ in range(4)] == [[None]] * 4
        assert time.monotonic() - started > 0.3
        assert slots.take_counts() == {"requests": 4}
        assert slots.take_counts() == {}

    def test_one_that_was_missed_is_given_up(self, declare: Declare, state: ProviderState) -> None:
        slots = self.slots(declare())
        slots._booked.append(time.monotonic() - 1)
        assert self.taken(slots) == [None]
        assert not slots._booked  # the old one is gone, and one more was booked

    def test_after_a_short_429_it_waits(self, declare: Declare, state: ProviderState) -> None:
        slots = self.slots(declare())
        slots.block(1)
        started = time.monotonic()
        assert self.taken(slots) == [None]
        assert 1 <= time.monotonic() - started < 4

    def test_after_a_long_429_it_gives_up(self, declare: Declare, state: ProviderState) -> None:
        slots = self.slots(declare())
        slots.block(60)
        assert isinstance(self.taken(slots)[0], Throttled)
        slots.serve()
        state.refresh_from_db()
        assert state.blocked_until is not None

    def test_who_does_not_say_how_long_is_asked_ever_more_rarely(self, declare: Declare, state: ProviderState) -> None:
        slots = self.slots(declare(max_retry_after=5))
        pauses = []
        for _ in range(5):
            slots.block(None)
            pauses.append(slots._to_block)
        assert pauses == [1, 2, 4, 5, 5]
        slots.succeeded()
        slots._to_block = 0
        slots.block(None)
        assert slots._to_block == 1

    def test_at_the_end_nobody_waits(self, declare: Declare, state: ProviderState) -> None:
        slots = self.slots(declare())
        slots.block(5)
        threading.Timer(0.2, slots.close).start()
        started = time.monotonic()
        assert isinstance(self.taken(slots)[0], RunnerStopped)
        assert time.monotonic() - started < 3

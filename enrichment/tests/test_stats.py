from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from enrichment import stats
from enrichment.models import HeldRecord, MinuteStat
from ingestion.models import Delivery, Doorbell
from ingestion.streams import names
from tests.held import hold, reprocess, valid, wait
from tests.records import deliver, send

pytestmark = pytest.mark.django_db


def of(stream: str) -> stats.StreamNumbers:
    return stats.snapshot()[stream]


def test_it_counts_the_records_of_pending_deliveries() -> None:
    send("students", valid("students"))
    deliver("tutors", valid(tutor_id="T-1"), valid(tutor_id="T-2"))
    old = deliver("tutors", valid(tutor_id="T-3"))
    Delivery.objects.filter(pk=old.pk).update(received_at=timezone.now() - timedelta(hours=1))
    Delivery.objects.filter(stream="students").update(received_at=timezone.now() - timedelta(hours=2))
    queues = stats.queues()
    assert {name: queue.pending for name, queue in queues.items()} == dict.fromkeys(names(), 0) | {"tutors": 3}
    assert queues["tutors"].oldest_age_seconds == pytest.approx(3600, abs=30)
    assert queues["students"].oldest_age_seconds is None


def test_what_is_done_of_a_pending_delivery_is_not_pending() -> None:
    delivery = deliver("tutors", *[valid(tutor_id=f"T-{n}") for n in range(10)])
    Delivery.objects.filter(pk=delivery.pk).update(inserted=3, updated=1, stale=1, held=2, skipped=1)
    assert of("tutors").pending == 2


def test_it_counts_outcomes() -> None:
    send("tutors", valid(tutor_id="T-1"))
    send("tutors", valid(tutor_id="T-1", updated_at="2025-03-02T00:00:00Z"))
    send("tutors", valid(tutor_id="T-1", updated_at="2025-03-01T00:00:00Z"), valid(tutor_id="T-2"))
    numbers = of("tutors")
    assert (numbers.inserted, numbers.updated, numbers.stale, numbers.processed) == (2, 1, 1, 4)
    send("tutors", valid(tutor_id="T-3", age=1), keep_invalid=True)
    assert (of("tutors").accepted, of("tutors").pending, of("tutors").processed) == (5, 0, 5)
    MinuteStat.objects.create(minute=timezone.now() - timedelta(days=9), stream="tutors", inserted=5)
    assert of("tutors").inserted == 7


def test_it_counts_held_records_by_what_they_are_now() -> None:
    hold()
    hold(code="conflict")
    hold(stream="students")
    wait()
    hold(status=HeldRecord.Status.RESOLVED)
    hold(status=HeldRecord.Status.DISCARDED)
    queues = stats.queues()
    assert sum(queue.dead for queue in queues.values()) == 3
    assert {name: queue.waiting for name, queue in queues.items()} == dict.fromkeys(names(), 0) | {"sessions": 1}
    assert stats.open_held() == {
        ("dead", "invalid", "tutors"): 1,
        ("dead", "conflict", "tutors"): 1,
        ("dead", "invalid", "students"): 1,
        ("waiting", "missing_reference", "sessions"): 1,
    }


def test_a_stream_that_is_no_longer_registered_is_not_forgotten() -> None:
    hold({"id": 1}, stream="planets")
    assert [*stats.snapshot()] == [*names(), "planets"]
    assert of("planets").dead == 1


def test_the_total_is_the_sum(django_assert_num_queries: Any) -> None:
    deliver("tutors", valid())
    hold(stream="students")
    wait()
    with django_assert_num_queries(3):
        total = stats.total(stats.snapshot().values())
    assert (total.pending, total.dead, total.waiting, total.processed) == (1, 1, 1, 0)
    assert total.oldest == Delivery.objects.pending().get().received_at


def test_what_came_of_bulk_actions_is_summed_over_their_deliveries() -> None:
    for _ in range(3):
        hold()
    first = reprocess({}, by="command")
    nothing = reprocess({}, by="command")
    more = Delivery.objects.create(
        stream="tutors", client="system", format="held", body=b"[]", count=4, stale=1, held=2
    )
    first.deliveries.add(more)
    Delivery.objects.filter(bulkaction=first).exclude(pk=more.pk).update(inserted=1, updated=1, skipped=1)
    assert stats.outcomes_of_bulk_actions([first.pk, nothing.pk]) == {
        first.pk: {"inserted": 1, "updated": 1, "stale": 1, "skipped": 1, "failed again": 2, "pending": 1}
    }


@pytest.mark.parametrize(("minutes", "alive"), [(None, False), (4, False), (1, True)])
def test_a_cluster_is_alive_while_its_tasks_run(minutes: int | None, alive: bool) -> None:
    answered = None if minutes is None else timezone.now() - timedelta(minutes=minutes)
    Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": answered})
    assert stats.cluster_alive() is alive


def worked(at: datetime, stream: str = "tutors", **numbers: int) -> None:
    MinuteStat.objects.create(minute=at, stream=stream, **numbers)


@pytest.fixture
def clock_stands_still() -> Iterator[None]:
    """So that the minute does not end in between."""
    with time_machine.travel(timezone.now(), tick=False):
        yield


def this_minute() -> datetime:
    return timezone.now().replace(second=0, microsecond=0)


@pytest.mark.usefixtures("clock_stands_still")
def test_rates_are_of_the_last_full_minutes_and_latency_of_the_last_hour() -> None:
    minute = timedelta(minutes=1)
    now = this_minute()
    assert stats.last_hour().by_stream == {}
    assert stats.last_hour().total == stats.Throughput()
    worked(now, inserted=100, dead=100, within_1s=3)
    worked(now - minute, inserted=10, updated=4, stale=1, dead=2, waiting=100, within_1s=3)
    worked(now - 5 * minute, inserted=5, within_1s=10)
    worked(now - 6 * minute, inserted=100, dead=100, within_30s=4)
    worked(now - 60 * minute, within_1s=3, over_1h=1)
    worked(now - 62 * minute, over_1h=100)
    worked(now - minute, stream="students", dead=1)
    hour = stats.last_hour()
    tutors, students = hour.by_stream["tutors"], hour.by_stream["students"]
    assert (tutors.done, tutors.dead) == (4, 0.4)
    assert tutors.records_per_second == pytest.approx(122 / 300)
    assert tutors.latency_p95 == pytest.approx(29)
    assert (students.done, students.dead, students.latency_p95) == (0, 0.2, None)
    assert hour.total.done == 4
    assert hour.total.dead == pytest.approx(0.6)
    assert hour.total.latency_p95 == tutors.latency_p95
    assert {minute: records for minute, records in hour.per_minute.items() if records} == {
        now - minute: 118,
        now - 5 * minute: 5,
        now - 6 * minute: 200,
    }
    assert stats.last_hour({"students"}).by_stream == {"students": students}


def test_what_was_done_is_summed_by_minute_and_in_steps() -> None:
    start = this_minute() - timedelta(minutes=30)
    for minutes, numbers in [(-1, {"dead": 9}), (0, {"inserted": 1}), (9, {"stale": 2}), (10, {"dead": 4})]:
        for stream in ("tutors", "students"):
            worked(start + timedelta(minutes=minutes), stream, **numbers)
    by_minute = stats.by_minute(start)
    assert {at: {name: number for name, number in of.items() if number} for at, of in by_minute.items()} == {
        start: {"inserted": 2},
        start + timedelta(minutes=9): {"stale": 4},
        start + timedelta(minutes=10): {"dead": 8},
    }
    steps = stats.bucketed(by_minute, start, timedelta(minutes=10), 3)
    assert [+step for step in steps] == [{"inserted": 2, "stale": 4}, {"dead": 8}, {}]
    late = stats.bucketed(by_minute, start + timedelta(minutes=5), timedelta(minutes=5), 1)
    assert [+step for step in late] == [{"stale": 4}]


def test_open_held_records_are_counted_by_age() -> None:
    now = timezone.now()
    for minutes in (1, 59, 61, 9999):
        hold(held_at=now - timedelta(minutes=minutes))
    hold(status=HeldRecord.Status.DISCARDED)
    wait()
    spans = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
    assert stats.open_held_within(spans) == {
        ("dead", "invalid", "tutors"): {"": 4, "hour": 2, "day": 3},
        ("waiting", "missing_reference", "sessions"): {"": 1, "hour": 1, "day": 1},
    }


@pytest.mark.usefixtures("clock_stands_still")
def test_what_is_missed_most_comes_first_and_of_equals_the_longest_missed() -> None:
    now = timezone.now()
    for key, hours in [("T-1", 1), ("T-2", 3), ("T-3", 2), ("T-3", 4)]:
        wait(missing_key=key, waiting_since=now - timedelta(hours=hours))
    wait(missing_key="T-1", status=HeldRecord.Status.DEAD)
    wait(missing_key="T-1", status=HeldRecord.Status.RESOLVED)
    found = [(missed.stream, missed.key, missed.records, now - missed.since) for missed in stats.top_missing(9)]
    hour = timedelta(hours=1)
    assert found == [("tutors", "T-3", 2, 4 * hour), ("tutors", "T-2", 1, 3 * hour), ("tutors", "T-1", 1, hour)]
    assert [missed.key for missed in stats.top_missing(1)] == ["T-3"]


def test_who_sends_dead_letters_now_comes_before_who_did() -> None:
    old = timezone.now() - timedelta(days=8)
    for client, held_at in [("key:a", old), ("key:a", old), ("key:b", None), ("key:c", None), ("key:c", None)]:
        hold(client=client, held_at=held_at or timezone.now())
    wait(client="key:d")
    hold(client="key:e", status=HeldRecord.Status.RESOLVED)
    found = [(sender.client, sender.recent, sender.dead) for sender in stats.top_senders(timedelta(days=7), 9)]
    assert found == [("key:c", 2, 2), ("key:b", 1, 1), ("key:a", 0, 2)]
    assert len(stats.top_senders(timedelta(days=7), 2)) == 2


def test_old_minutes_become_days_and_the_sums_stay() -> None:
    now = timezone.now().astimezone(UTC).replace(second=0, microsecond=0)
    midnight = now.replace(hour=0, minute=0)
    for minutes in (0, 1, 600, 1439):
        for stream in ("tutors", "students"):
            for days in (1, 5, 6):
                minute = midnight - timedelta(days=days) + timedelta(minutes=minutes)
                MinuteStat.objects.create(minute=minute, stream=stream, inserted=minutes + 1, within_1s=2, seconds=0.5)
    before = stats.totals()
    for _ in range(2):
        MinuteStat.objects.merge_days()
        assert stats.totals() == before
        assert sorted(MinuteStat.objects.filter(stream="tutors").values_list("minute", "inserted")) == [
            (midnight - timedelta(days=6), 2044),
            (midnight - timedelta(days=5), 2044),
            *[(midnight - timedelta(days=1) + timedelta(minutes=n), n + 1) for n in (0, 1, 600, 1439)],
        ]
    MinuteStat.objects.add("tutors", midnight - timedelta(days=5, minutes=-3), {"inserted": 1})  # a worker that slept
    MinuteStat.objects.merge_days()
    assert MinuteStat.objects.get(stream="tutors", minute=midnight - timedelta(days=5)).inserted == 2045

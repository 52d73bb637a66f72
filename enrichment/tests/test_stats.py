from datetime import UTC, timedelta
from typing import Any

import pytest
from django.utils import timezone

from enrichment import redrives, stats
from enrichment.models import HeldRecord, MinuteStat
from enrichment.tests.held import hold, valid, wait
from ingestion.models import Delivery, Doorbell
from ingestion.streams import names
from tests.records import deliver, send

pytestmark = pytest.mark.django_db


def of(stream: str) -> stats.StreamNumbers:
    return next(numbers for numbers in stats.by_stream() if numbers.stream == stream)


def test_it_counts_the_records_of_pending_deliveries() -> None:
    send("students", valid("students"))
    deliver("tutors", valid(tutor_id="T-1"), valid(tutor_id="T-2"))
    old = deliver("tutors", valid(tutor_id="T-3"))
    Delivery.objects.filter(pk=old.pk).update(received_at=timezone.now() - timedelta(hours=1))
    Delivery.objects.filter(stream="students").update(received_at=timezone.now() - timedelta(hours=2))
    answer = stats.queue_stats()
    assert answer["queues"] == dict.fromkeys(names(), 0) | {"tutors": 3}
    assert answer["oldest_age_seconds"]["tutors"] == pytest.approx(3600, abs=30)
    assert answer["oldest_age_seconds"]["students"] is None


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
    answer = stats.queue_stats()
    assert answer["dead_letters"] == 3
    assert answer["waiting"] == dict.fromkeys(names(), 0) | {"sessions": 1}
    assert stats.open_held() == {
        ("dead", "invalid", "tutors"): 1,
        ("dead", "conflict", "tutors"): 1,
        ("dead", "invalid", "students"): 1,
        ("waiting", "missing_reference", "sessions"): 1,
    }


def test_a_stream_that_is_no_longer_registered_is_not_forgotten() -> None:
    hold({"id": 1}, stream="planets")
    assert [numbers.stream for numbers in stats.by_stream()] == [*names(), "planets"]
    assert of("planets").dead == 1


def test_the_total_is_the_sum(django_assert_num_queries: Any) -> None:
    deliver("tutors", valid())
    hold(stream="students")
    wait()
    with django_assert_num_queries(3):
        total = stats.total(stats.by_stream())
    assert (total.pending, total.dead, total.waiting, total.processed) == (1, 1, 1, 0)
    assert total.oldest == Delivery.objects.pending().get().received_at


def test_what_came_of_redrives_is_summed_over_their_deliveries() -> None:
    for _ in range(3):
        hold()
    first = redrives.reprocess({}, by="command")
    nothing = redrives.reprocess({}, by="command")
    more = Delivery.objects.create(
        stream="tutors", client="system", format="held", body=b"[]", count=4, stale=1, held=2
    )
    first.deliveries.add(more)
    Delivery.objects.filter(redrive=first).exclude(pk=more.pk).update(inserted=1, updated=1, skipped=1)
    assert stats.came_of([first.pk, nothing.pk]) == {
        first.pk: {"inserted": 1, "updated": 1, "stale": 1, "skipped": 1, "held again": 2, "pending": 1}
    }


@pytest.mark.parametrize(("minutes", "alive"), [(None, False), (4, False), (1, True)])
def test_a_cluster_is_alive_while_its_tasks_run(minutes: int | None, alive: bool) -> None:
    answered = None if minutes is None else timezone.now() - timedelta(minutes=minutes)
    Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": answered})
    assert stats.cluster_alive() is alive


def test_old_minutes_become_days_and_the_sums_stay() -> None:
    now = timezone.now().astimezone(UTC).replace(second=0, microsecond=0)
    midnight = now.replace(hour=0, minute=0)
    for minutes in (0, 1, 600, 1439):
        for stream in ("tutors", "students"):
            for days in (1, 5, 6):
                minute = midnight - timedelta(days=days) + timedelta(minutes=minutes)
                MinuteStat.objects.create(minute=minute, stream=stream, inserted=minutes + 1, within_1s=2, seconds=0.5)
    before = stats.sums()
    for _ in range(2):
        MinuteStat.objects.merge_days()
        assert stats.sums() == before
        assert sorted(MinuteStat.objects.filter(stream="tutors").values_list("minute", "inserted")) == [
            (midnight - timedelta(days=6), 2044),
            (midnight - timedelta(days=5), 2044),
            *[(midnight - timedelta(days=1) + timedelta(minutes=n), n + 1) for n in (0, 1, 600, 1439)],
        ]
    MinuteStat.objects.add("tutors", midnight - timedelta(days=5, minutes=-3), {"inserted": 1})  # a worker that slept
    MinuteStat.objects.merge_days()
    assert MinuteStat.objects.get(stream="tutors", minute=midnight - timedelta(days=5)).inserted == 2045

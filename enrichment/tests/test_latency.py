from datetime import timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from enrichment.latency import BOUNDS, COLUMNS, quantile
from enrichment.models import HeldRecord, MinuteStat
from ingestion.models import Delivery
from tests.held import reprocess, valid
from tests.records import deliver, send, work_off


def spread(**numbers: int) -> list[int]:
    return [numbers.get(column, 0) for column in COLUMNS]


def counted() -> dict[str, int]:
    """The buckets that are not empty, summed over all minutes."""
    rows = MinuteStat.objects.values(*COLUMNS)
    return {name: total for name in COLUMNS if (total := sum(row[name] for row in rows))}


def arrived(delivery: Delivery, seconds: float) -> None:
    Delivery.objects.filter(pk=delivery.pk).update(received_at=Now() - timedelta(seconds=seconds))


def test_every_bucket_has_a_column() -> None:
    assert len(COLUMNS) == len(BOUNDS) + 1
    assert list(BOUNDS) == sorted(BOUNDS)
    others = {"id", "minute", "stream", *MinuteStat.OUTCOMES, "seconds"}
    assert [field.name for field in MinuteStat._meta.fields if field.name not in others] == list(COLUMNS)


@pytest.mark.django_db
class TestCount:
    def test_records_are_counted_by_their_delivery_s_age(self) -> None:
        arrived(deliver("tutors", valid(tutor_id="a"), valid(tutor_id="b")), 100)
        arrived(deliver("tutors", valid(tutor_id="c")), 5000)
        work_off()
        assert counted() == {"within_5m": 2, "over_1h": 1}
        total = sum(row.seconds for row in MinuteStat.objects.all())
        assert 5200 <= total < 5300

    def test_a_clock_that_was_set_back_counts_as_no_time_at_all(self) -> None:
        arrived(deliver("tutors", valid()), -3600)
        work_off()
        assert counted() == {"within_250ms": 1}
        assert MinuteStat.objects.get().seconds == 0

    def test_a_held_record_is_counted_when_it_is_held_and_not_again(self) -> None:
        send("tutors", valid(tutor_id="a"), valid(tutor_id="b", age=1), keep_invalid=True)
        before = counted()
        assert sum(before.values()) == 2
        reprocess({}, by="command")
        work_off()
        assert HeldRecord.objects.get().attempts == 2
        assert counted() == before

    def test_a_delivery_taken_in_parts_is_counted_once(self) -> None:
        delivery = deliver("tutors", *[valid(tutor_id=f"t{n}") for n in range(7)])
        Delivery.objects.filter(pk=delivery.pk).update(part=2)
        work_off()
        assert sum(counted().values()) == 7


class TestQuantile:
    def test_without_records_there_is_none(self) -> None:
        assert quantile(spread(), 0.5) is None

    @pytest.mark.parametrize(
        ("numbers", "share", "seconds"),
        [
            ({"within_250ms": 10}, 0.5, 0.125),
            ({"within_1s": 10}, 0.95, 0.975),
            ({"within_250ms": 90, "within_2s": 10}, 0.5, 0.25 * 50 / 90),
            ({"within_250ms": 90, "within_2s": 10}, 0.95, 1.5),
            ({"within_1h": 1, "over_1h": 9}, 0.95, 3600),
        ],
    )
    def test_it_is_read_off_its_bucket(self, numbers: dict[str, int], share: float, seconds: float) -> None:
        assert quantile(spread(**numbers), share) == pytest.approx(seconds)

    def test_it_never_leaves_its_bucket(self) -> None:
        below: Any = 0.0
        for bound, column in zip(BOUNDS, COLUMNS, strict=False):
            for share in (0.01, 0.5, 0.99):
                estimate = quantile(spread(**{column: 3}), share)
                assert estimate is not None
                assert below < estimate <= bound
            below = bound

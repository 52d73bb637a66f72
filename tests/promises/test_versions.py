"""P4: of two records with one key the newer is stored, in whatever order they come."""

import itertools
from typing import Any

import pytest

from tests.records import assert_nothing_vanished, counts, deliver, send, stored, work_off
from tutoring.tests.factories import student, tutor

pytestmark = pytest.mark.django_db(transaction=True)

OLDER, NEWER = "2025-03-01T10:00:00Z", "2025-03-01T10:00:01Z"


def test_it_keeps_the_newer_by_time_when_the_older_comes_later() -> None:
    send("tutors", tutor(name="newer", updated_at=NEWER))
    late = send("tutors", tutor(name="older", updated_at=OLDER))
    assert counts(late) == {"stale": 1}
    assert stored("tutors", tutor()["tutor_id"]).name == "newer"


def test_it_keeps_the_newer_by_arrival_when_records_carry_no_time() -> None:
    bare = {name: value for name, value in student().items() if name not in ("created_at", "updated_at")}
    send("students", {**bare, "name": "first"})
    second = send("students", {**bare, "name": "second"})
    assert counts(second) == {"updated": 1}
    assert stored("students", bare["student_id"]).name == "second"


def test_it_orders_by_delivery_then_position_when_times_are_equal() -> None:
    send("tutors", tutor(name="first", updated_at=OLDER))
    send("tutors", tutor(name="second", updated_at=OLDER), tutor(name="third", updated_at=OLDER))
    row = stored("tutors", tutor()["tutor_id"])
    assert (row.name, row.position) == ("third", 1)


def test_it_does_not_write_the_same_delivery_order_backwards() -> None:
    """BatchResult on in the other order, the first arrival still does not displace the second."""
    first = deliver("tutors", tutor(name="first", updated_at=OLDER))
    type(first).objects.filter(pk=first.pk).update(started_at="2999-01-01T00:00:00Z")  # in hand elsewhere
    send("tutors", tutor(name="second", updated_at=OLDER))
    type(first).objects.filter(pk=first.pk).update(started_at=None)
    work_off()
    assert counts(first) == {"stale": 1}
    assert stored("tutors", tutor()["tutor_id"]).name == "second"


@pytest.mark.parametrize("order", list(itertools.permutations([OLDER, NEWER, "2025-02-01T00:00:00Z"])))
def test_it_keeps_the_newest_of_one_delivery(order: tuple[str, ...]) -> None:
    delivery = send("tutors", *(tutor(name=time, updated_at=time) for time in order))
    assert counts(delivery) == {"inserted": 1, "stale": 2}
    assert stored("tutors", tutor()["tutor_id"]).name == NEWER


def test_a_bad_newer_record_does_not_displace_a_good_older_one() -> None:
    bad: dict[str, Any] = tutor(updated_at=NEWER, email="nobody")
    delivery = send("tutors", tutor(name="good", updated_at=OLDER), bad, keep_invalid=True)
    assert counts(delivery) == {"inserted": 1, "held": 1}
    assert stored("tutors", tutor()["tutor_id"]).name == "good"
    assert_nothing_vanished()


def test_a_record_replaces_the_whole_row() -> None:
    send("tutors", tutor(location="Berlin", updated_at=OLDER))
    newer = tutor(updated_at=NEWER)
    newer.pop("location", None)
    send("tutors", newer)
    assert not stored("tutors", newer["tutor_id"]).location


@pytest.mark.parametrize("size", [1, 49, 50, 300])
def test_the_statement_is_the_same_for_few_and_many(size: int) -> None:
    """Arrays below 50 rows, COPY from there: both insert, update and leave alone what is newer."""
    ids = [f"tutor_{i:04}" for i in range(size)]
    assert counts(send("tutors", *(tutor(tutor_id=key, updated_at=OLDER) for key in ids))) == {"inserted": size}
    assert counts(send("tutors", *(tutor(tutor_id=key, updated_at=NEWER) for key in ids))) == {"updated": size}
    assert counts(send("tutors", *(tutor(tutor_id=key, updated_at=OLDER) for key in ids))) == {"stale": size}
    assert_nothing_vanished()

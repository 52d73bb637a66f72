"""P4: of two records with one key the newer is stored, in whatever order they come."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.db import transaction

from enrichment.held import fixing
from enrichment.models import HeldRecord
from enrichment.pipeline import upsert as persist
from ingestion.payloads import ascii_json
from ingestion.streams import get
from tests.held import reprocess
from tests.promises.helpers import row_of
from tests.records import assert_nothing_vanished, counts, deliver, send, stored, work_off
from tutoring.models import Student
from tutoring.tests.factories import feedback, session, student, tutor

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


def test_of_two_with_one_time_the_later_delivery_is_newer() -> None:
    send("tutors", tutor(name="first", updated_at=OLDER))
    assert counts(send("tutors", tutor(name="second", updated_at=OLDER))) == {"updated": 1}
    assert stored("tutors", tutor()["tutor_id"]).name == "second"


def test_of_two_of_one_delivery_the_later_position_is_newer_even_when_it_was_fixed() -> None:
    send("tutors", tutor(name="first"), tutor(name="second", email="nobody"), keep_invalid=True)
    dead = HeldRecord.objects.get()
    fixing.fix(dead, ascii_json(tutor(name="second")), 0)
    bulk_action = reprocess({}, by="test")
    work_off()
    assert counts(bulk_action.deliveries.get()) == {"updated": 1}
    row = stored("tutors", tutor()["tutor_id"])
    assert (row.name, row.position) == ("second", 1)


@pytest.mark.parametrize("newer", [(1, 2), (2, 0)], ids=["position", "delivery"])
@pytest.mark.parametrize("newer_first", [True, False])
def test_the_order_in_which_rows_are_handed_over_does_not_matter(newer: tuple[int, int], newer_first: bool) -> None:
    versions = [newer, (1, 1)] if newer_first else [(1, 1), newer]
    rows = [row_of("students", student(), delivery=version[0], position=version[1]) for version in versions]
    with transaction.atomic():
        results = persist.store(get("students"), rows)
    assert dict(zip(versions, results, strict=True)) == {(1, 1): "stale", newer: "inserted"}
    row = Student.objects.get()
    assert (row.delivery, row.position) == newer


def test_the_same_version_again_is_stale() -> None:
    rows = [row_of("students", student())]
    with transaction.atomic():
        assert persist.store(get("students"), rows) == ["inserted"]
        assert persist.store(get("students"), rows) == ["stale"]


def test_a_revived_record_without_a_time_is_as_old_as_its_first_arrival() -> None:
    delivery = send("feedback", feedback())
    for stream, record in (("tutors", tutor()), ("students", student()), ("sessions", session())):
        send(stream, record)
    delivery.refresh_from_db()
    row = stored("feedback", feedback()["feedback_id"])
    assert row.version == (delivery.received_at, delivery.pk, 0)

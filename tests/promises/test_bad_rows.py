"""P5: one bad row harms no other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from enrichment.models import HeldRecord
from enrichment.pipeline import upsert as persist
from ingestion import streams
from ingestion.messages import general_message
from ingestion.payloads import parse_json
from ingestion.streams import Context, StoredRow, get
from ingestion.validation import validate
from tests.promises.helpers import one_student_of_each, tutors
from tests.records import assert_nothing_vanished, counts, send, stored
from tutoring.models import Student, Tutor
from tutoring.tests.factories import student, tutor

pytestmark = pytest.mark.django_db(transaction=True)

OLDER, NEWER = "2025-03-01T10:00:00Z", "2025-03-01T10:00:01Z"
Status, Stage, Code = HeldRecord.Status, HeldRecord.Stage, HeldRecord.Code


@pytest.fixture
def forbidden_name() -> Iterator[str]:
    """A name that the schema allows and the database refuses."""
    if connection.vendor == "postgresql":
        on = ["ALTER TABLE tutoring_tutor ADD CONSTRAINT forbidden CHECK (name <> 'poison')"]
        off = ["ALTER TABLE tutoring_tutor DROP CONSTRAINT forbidden"]
    else:
        when = "ON tutoring_tutor WHEN NEW.name = 'poison' BEGIN SELECT RAISE(ABORT, 'forbidden'); END"
        on = [f"CREATE TRIGGER forbidden_{verb} BEFORE {verb} {when}" for verb in ("INSERT", "UPDATE")]
        off = [f"DROP TRIGGER forbidden_{verb}" for verb in ("INSERT", "UPDATE")]
    _execute(on)
    yield "poison"
    _execute(off)


def _execute(statements: list[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def faulty_enrich() -> Iterator[None]:
    """Tutors named "faulty" make enrich fail, as a mistake in a domain would."""
    real = get("tutors")

    def enrich(record: Any, context: Context) -> dict[str, Any]:
        if record.name == "faulty":
            raise ZeroDivisionError("a mistake")
        return real.enrich(record, context)

    streams._streams["tutors"] = dataclasses.replace(real, enrich=enrich)
    yield
    streams._streams["tutors"] = real


@pytest.mark.parametrize("where", [0, 250, 499])
def test_500_with_one_poison_row(forbidden_name: str, where: int) -> None:
    records = tutors(500)
    records[where]["name"] = forbidden_name
    delivery = send("tutors", *records)
    assert counts(delivery) == {"inserted": 499, "held": 1}
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.stage, dead.code) == (Status.DEAD, Stage.UPSERT, Code.CONSTRAINT)
    assert (dead.position, dead.key) == (where, f"tutor_{where:04}")
    assert dead.message.startswith("cannot be stored (")  # whatever the database quotes
    assert_nothing_vanished()


def test_an_older_good_version_is_stored_when_the_newer_is_refused(forbidden_name: str) -> None:
    good, bad = tutor(updated_at=OLDER), tutor(updated_at=NEWER, name=forbidden_name)
    assert counts(send("tutors", bad, good)) == {"inserted": 1, "held": 1}
    assert stored("tutors", tutor()["tutor_id"]).name == good["name"]
    assert HeldRecord.objects.get().status == Status.DEAD


@pytest.mark.parametrize(
    ("fault", "field"),
    [({"age": 200}, "record"), pytest.param({"name": "x" * 300}, "name", marks=pytest.mark.postgresql)],
)
def test_a_refused_row_names_its_field(fault: dict[str, Any], field: str) -> None:
    """What the model's own checks find at fault is said by field."""
    record = vars(validate(get("students"), student(), timezone.now()))
    version = {"version_at": timezone.now(), "delivery": 1, "position": 0}
    row = {**persist.defaults(get("students")), **record, **version, **fault}
    with transaction.atomic():
        (result,) = persist.store(get("students"), [row])
    assert isinstance(result, persist.BadRow)
    assert next(iter(fault)) in str(result.messages)
    assert list(result.messages) == [field]
    assert "300" not in general_message(result.messages)


def test_an_error_in_enrich_is_the_records(faulty_enrich: None) -> None:
    delivery = send("tutors", tutor(tutor_id="good"), tutor(tutor_id="bad", name="faulty"))
    assert counts(delivery) == {"inserted": 1, "held": 1}
    dead = HeldRecord.objects.get()
    assert (dead.stage, dead.code) == (Stage.ENRICH, Code.ENRICH_ERROR)
    assert "a mistake" in dead.failures.get().traceback
    assert "a mistake" in dead.messages["record"][0]
    assert dead.message == "ZeroDivisionError in the enrichment"  # values that errors quote would make groups of one


def test_invalid_records_are_kept_as_sent() -> None:
    bad = tutor(email="nobody", name="\ud800\0")
    assert counts(send("tutors", tutor(), bad, keep_invalid=True)) == {"inserted": 1, "held": 1}
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.stage, dead.code, dead.position) == (Status.DEAD, Stage.VALIDATE, Code.INVALID, 1)
    assert set(dead.messages) == {"email", "name"}
    assert parse_json(dead.payload.encode()) == bad


@pytest.mark.parametrize("payload", [None, 5, [], "text", {"tutor_id": "\0\udfff" * 40}, {"tutor_id": 7}])
def test_items_that_are_no_records_are_held_all_the_same(payload: Any) -> None:
    assert counts(send("tutors", payload, keep_invalid=True)) == {"held": 1}
    assert parse_json(HeldRecord.objects.get().payload.encode()) == payload


@pytest.mark.parametrize("where", [0, 7, 9])
def test_what_follows_from_a_bad_row_harms_no_other(monkeypatch: pytest.MonkeyPatch, where: int) -> None:
    """The row itself could be stored; what its domain computes of it cannot."""

    def compute(rows: Sequence[StoredRow], context: Context) -> None:
        one_student_of_each(rows, context)
        for row in rows:
            if row.columns["name"] == "poison":
                raise OverflowError("a number too large")

    monkeypatch.setitem(streams._streams, "tutors", dataclasses.replace(get("tutors"), stored=compute))
    records = tutors(10)
    records[where]["name"] = "poison"
    delivery = send("tutors", *records)
    assert counts(delivery) == {"inserted": 9, "held": 1}
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.stage, dead.position) == (Status.DEAD, Stage.UPSERT, where)
    assert "What follows from it cannot be stored: a number too large" in str(dead.messages)
    assert dead.message == "What follows from it cannot be stored"
    assert Student.objects.count() == Tutor.objects.count() == 9
    assert_nothing_vanished()

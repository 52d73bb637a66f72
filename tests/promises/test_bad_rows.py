"""P5, P10, P11: one bad row harms no other, errors have four classes, dead letters close."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django_q.exceptions import TimeoutException

from enrichment.held import fixing, revival
from enrichment.models import HeldRecord
from enrichment.pipeline import batch, faults
from enrichment.pipeline import upsert as persist
from enrichment.pipeline.faults import Fault
from enrichment.tests.held import reprocess
from ingestion import streams
from ingestion.models import Delivery
from ingestion.payloads import ascii_json, parse_json
from ingestion.streams import Context, get
from ingestion.validation import validate
from tests.records import assert_nothing_vanished, counts, deliver, send, stored, work_off
from tutoring.tests.factories import student, tutor

pytestmark = pytest.mark.django_db(transaction=True)

Status, Stage, Code = HeldRecord.Status, HeldRecord.Stage, HeldRecord.Code
OLDER, NEWER = "2025-03-01T10:00:00Z", "2025-03-01T10:00:01Z"


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


def tutors(number: int) -> list[dict[str, Any]]:
    return [tutor(tutor_id=f"tutor_{i:04}") for i in range(number)]


@pytest.mark.parametrize("where", [0, 250, 499])
def test_500_with_one_poison_row(forbidden_name: str, where: int) -> None:
    records = tutors(500)
    records[where]["name"] = forbidden_name
    delivery = send("tutors", *records)
    assert counts(delivery) == {"inserted": 499, "held": 1}
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.stage, dead.code) == (Status.DEAD, Stage.UPSERT, Code.CONSTRAINT)
    assert (dead.position, dead.key) == (where, f"tutor_{where:04}")
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


def test_an_error_in_enrich_is_the_records(faulty_enrich: None) -> None:
    delivery = send("tutors", tutor(tutor_id="good"), tutor(tutor_id="bad", name="faulty"))
    assert counts(delivery) == {"inserted": 1, "held": 1}
    dead = HeldRecord.objects.get()
    assert (dead.stage, dead.code) == (Stage.ENRICH, Code.ENRICH_ERROR)
    assert "a mistake" in dead.failures.get().traceback


def test_invalid_records_are_kept_as_sent() -> None:
    bad = tutor(email="nobody", name="\ud800\0")
    assert counts(send("tutors", tutor(), bad, keep_invalid=True)) == {"inserted": 1, "held": 1}
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.stage, dead.code, dead.position) == (Status.DEAD, Stage.VALIDATE, Code.INVALID, 1)
    assert set(dead.messages) == {"email", "name"}
    assert parse_json(dead.payload.encode()) == bad


@pytest.mark.parametrize("payload", [None, 5, [], "text", {"tutor_id": "\0\udfff" * 40}, {"tutor_id": 7}])
def test_what_is_no_record_is_held_all_the_same(payload: Any) -> None:
    assert counts(send("tutors", payload, keep_invalid=True)) == {"held": 1}
    assert parse_json(HeldRecord.objects.get().payload.encode()) == payload


# P10: an error that is not a record's gives the batch back.


@pytest.fixture
def failing_upsert(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """The exceptions put into this list are raised, one by one, where the rows are written."""
    planned: list[Exception] = []
    real = persist.upsert

    def upsert(*args: Any) -> Any:
        if planned:
            raise planned.pop(0)
        return real(*args)

    monkeypatch.setattr(persist, "upsert", upsert)
    return planned


def sql_error(kind: str, state: str) -> Exception:
    import django.db
    import psycopg

    error: Exception = getattr(django.db, kind)(f"planted {state}")
    error.__cause__ = psycopg.errors.lookup(state)("planted")
    return error


STORE = [
    ("OperationalError", "08006"),
    ("OperationalError", "40001"),
    ("OperationalError", "40P01"),
    ("OperationalError", "53100"),
    ("OperationalError", "55P03"),
    ("OperationalError", "57014"),
    ("OperationalError", "57P01"),
]


@pytest.mark.parametrize(("kind", "state"), STORE)
def test_an_error_of_the_store_is_never_a_dead_letter(failing_upsert: list[Exception], kind: str, state: str) -> None:
    delivery = deliver("tutors", *tutors(3))
    failing_upsert.append(sql_error(kind, state))
    worked = batch.process_batch(get("tutors"))
    assert worked and worked.fault is Fault.STORE
    delivery.refresh_from_db()
    assert (delivery.started_at, delivery.failure_count, delivery.pending, delivery.crash_count) == (None, 1, 3, 0)
    assert delivery.retry_at and delivery.last_error.startswith("store:")
    assert batch.process_batch(get("tutors")) is None  # in its pause
    work_off()
    assert counts(delivery) == {"inserted": 3}
    assert not HeldRecord.objects.exists()


def test_pauses_grow_up_to_a_minute(failing_upsert: list[Exception]) -> None:
    delivery = deliver("tutors", tutor())
    seconds = []
    for _ in range(9):
        failing_upsert.append(sql_error("OperationalError", "53100"))
        batch.process_batch(get("tutors"), respect_backoff=False)
        seconds.append(round(_pause(delivery)))
    assert seconds == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def _pause(delivery: Delivery) -> float:
    """Seconds, by the database's clock."""
    pauses = Delivery.objects.filter(pk=delivery.pk).values_list(F("retry_at") - Now(), flat=True)
    return float(pauses[0].total_seconds())


def test_a_batch_that_timed_out_comes_back_alone_and_in_parts(failing_upsert: list[Exception]) -> None:
    delivery, other = deliver("tutors", *tutors(100)), deliver("tutors", tutor(tutor_id="other"))
    failing_upsert.append(sql_error("OperationalError", "57014"))
    batch.process_batch(get("tutors"))
    delivery.refresh_from_db()
    assert delivery.part == 100
    failing_upsert.append(sql_error("OperationalError", "57014"))
    batch.process_batch(get("tutors"), respect_backoff=False)
    delivery.refresh_from_db()
    assert delivery.part == 100 // 32
    work_off()
    assert (counts(delivery), counts(other)) == ({"inserted": 100}, {"inserted": 1})


def test_an_error_of_the_code_is_never_a_dead_letter(failing_upsert: list[Exception]) -> None:
    delivery = deliver("tutors", *tutors(3))
    failing_upsert.append(sql_error("ProgrammingError", "42P01"))
    worked = batch.process_batch(get("tutors"))
    assert worked and worked.fault is Fault.CODE
    delivery.refresh_from_db()
    assert delivery.last_error.startswith("code:") and delivery.pending == 3
    work_off()
    assert counts(delivery) == {"inserted": 3}
    assert delivery.last_error == ""


@pytest.mark.parametrize("state", ["57014", "55P03", "25P03", "25P04"])
def test_a_batch_that_ran_out_of_time_comes_alone(failing_upsert: list[Exception], state: str) -> None:
    delivery = deliver("tutors", *tutors(100))
    failing_upsert.append(sql_error("OperationalError", state))
    batch.process_batch(get("tutors"))
    delivery.refresh_from_db()
    assert delivery.part == 100


def test_a_stop_stays_a_stop_when_the_database_is_away(
    failing_upsert: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver("tutors", tutor())
    failing_upsert.append(KeyboardInterrupt())

    def away(*args: Any, **kwargs: Any) -> int:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr("ingestion.models.DeliveryQuerySet.release", away)
    with pytest.raises(KeyboardInterrupt):
        batch.process_batch(get("tutors"))


def test_a_stop_is_nobodys_fault(failing_upsert: list[Any]) -> None:
    delivery = deliver("tutors", tutor())
    failing_upsert.append(SystemExit())
    with pytest.raises(SystemExit):
        batch.process_batch(get("tutors"))
    delivery.refresh_from_db()
    assert (delivery.started_at, delivery.failure_count, delivery.part, delivery.last_error) == (None, 0, None, "")


@pytest.mark.parametrize(
    ("kind", "state", "fault"),
    [
        ("DataError", "22003", Fault.RECORD),
        ("DataError", "22P05", Fault.RECORD),
        ("IntegrityError", "23505", Fault.RECORD),
        ("IntegrityError", "23514", Fault.RECORD),
        ("IntegrityError", "23503", Fault.REFERENCE),
        *((kind, state, Fault.STORE) for kind, state in STORE),
        ("ProgrammingError", "42601", Fault.CODE),
        ("ProgrammingError", "42703", Fault.CODE),
        ("InternalError", "XX000", Fault.CODE),
    ],
)
def test_the_class_of_every_error(kind: str, state: str, fault: Fault) -> None:
    assert faults.classify(sql_error(kind, state)) is fault


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("x"), RuntimeError("x")])
def test_an_exception_of_ours_is_the_codes(error: Exception) -> None:
    assert faults.classify(error) is Fault.CODE


# P11: dead letters close.


def test_a_dead_letter_closes_when_its_key_is_stored_anew() -> None:
    send("tutors", tutor(email="nobody"), keep_invalid=True)
    good = send("tutors", tutor())
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.resolved_by, dead.outcome) == (Status.RESOLVED, good.pk, "superseded")
    assert_nothing_vanished()


def test_a_dead_letter_stays_when_what_is_stored_is_older() -> None:
    send("tutors", tutor(email="nobody", updated_at=NEWER), keep_invalid=True)
    send("tutors", tutor(updated_at=OLDER))
    assert HeldRecord.objects.get().status == Status.DEAD


def test_a_dead_letter_closes_when_a_newer_one_was_stored_before_it_came() -> None:
    good = send("tutors", tutor(updated_at=NEWER))
    send("tutors", tutor(email="nobody", updated_at=OLDER), keep_invalid=True)
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.resolved_by) == (Status.RESOLVED, good.pk)


def test_a_fixed_record_that_is_older_than_the_stored_one_says_so() -> None:
    send("tutors", tutor(email="nobody", updated_at=OLDER, name="fixed"), keep_invalid=True)
    dead = HeldRecord.objects.get()
    fixing.fix(dead, ascii_json(tutor(updated_at=OLDER, name="fixed")), dead.payload_version)
    reprocess({}, by="test")
    deliver("tutors", tutor(updated_at=NEWER, name="newer"))
    work_off()
    dead.refresh_from_db()
    assert dead.status == Status.RESOLVED
    assert dead.outcome == "stale"
    assert stored("tutors", tutor()["tutor_id"]).name == "newer"
    assert_nothing_vanished()


def test_a_dead_record_reprocessed_after_a_newer_version_was_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(revival, "reconcile", lambda *args: None)  # the workers die after their commits
        send("tutors", tutor(email="nobody", updated_at=OLDER, name="old"), keep_invalid=True)
        send("tutors", tutor(updated_at=NEWER, name="new"))
    dead = HeldRecord.objects.get()
    fixing.fix(dead, ascii_json(tutor(updated_at=OLDER, name="old")), 0)
    bulk_action = reprocess({}, by="test")
    work_off()
    dead.refresh_from_db()
    assert (dead.status, dead.outcome) == (Status.RESOLVED, "stale")
    assert counts(bulk_action.deliveries.get()) == {"stale": 1}
    assert stored("tutors", tutor()["tutor_id"]).name == "new"
    assert_nothing_vanished()


@pytest.mark.parametrize(
    ("sent", "other"),
    [("K" * 65, "K" * 64), ("nul\0x", "nul\ufffdx"), ("sur\ud800x", "sur?x")],
    ids=["long", "nul", "half"],
)
def test_a_key_that_cannot_be_is_never_taken_for_another(sent: str, other: str) -> None:
    send("tutors", tutor(tutor_id=sent), keep_invalid=True)
    send("tutors", tutor(tutor_id=other))
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.key) == (Status.DEAD, "")


def test_a_task_that_takes_too_long_is_given_back_in_parts(failing_upsert: list[Any]) -> None:
    """Else the next task would take the same and end the same way, for ever and unseen."""
    delivery = deliver("tutors", *tutors(100))
    for part in (100, 100 // 32):
        failing_upsert.append(TimeoutException("too long"))
        with pytest.raises(TimeoutException):
            batch.process_batch(get("tutors"), respect_backoff=False)
        delivery.refresh_from_db()
        assert (delivery.started_at, delivery.part, delivery.crash_count) == (None, part, 0)
        assert delivery.last_error.startswith("store: TimeoutException")
        assert delivery.retry_at
    work_off()
    assert counts(delivery) == {"inserted": 100}


def test_neighbours_of_a_delivery_that_waits_for_a_lock_come_alone(failing_upsert: list[Exception]) -> None:
    deliveries = [deliver("tutors", tutor(tutor_id=f"t{i}")) for i in range(3)]
    failing_upsert.append(sql_error("OperationalError", "55P03"))
    batch.process_batch(get("tutors"))
    assert [len(Delivery.objects.claim("tutors", 10, respect_backoff=False)) for _ in deliveries] == [1, 1, 1]


def test_large_deliveries_are_not_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    one = deliver("tutors", tutor())
    monkeypatch.setattr("ingestion.models.MAX_BATCH_BYTES", one.size * 2)
    for i in range(4):
        deliver("tutors", tutor(tutor_id=f"t{i}"))
    assert [len(Delivery.objects.claim("tutors", 10)) for _ in range(4)] == [2, 2, 1, 0]

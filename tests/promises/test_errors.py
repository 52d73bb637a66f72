"""P10: errors have four classes; what is not the record's fault gives the batch back."""

from __future__ import annotations

from typing import Any

import django.db
import pytest
from django.db import OperationalError
from django.db.models import F
from django.db.models.functions import Now
from django_q.exceptions import TimeoutException

from enrichment.models import HeldRecord
from enrichment.pipeline import batch, faults, retry
from enrichment.pipeline.faults import Fault
from ingestion.models import Delivery, DeliveryQuerySet
from ingestion.streams import get
from tests.promises.helpers import sql_error, sqlite_error, tutors
from tests.records import counts, deliver, work_off
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.django_db(transaction=True)

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


@pytest.mark.parametrize(
    ("states", "fault"),
    [
        ("22000 22001 22003 22007 22021 22P02 22P05", Fault.RECORD),
        ("23000 23502 23505 23514 23P01 54000", Fault.RECORD),
        ("23503", Fault.REFERENCE),
        ("08000 08003 08006 25P03 25P04 40001 40P01 53000 53100 53200 53300 55P03", Fault.STORE),
        ("57000 57014 57P01 57P02 57P03 57P05 58000 58030", Fault.STORE),
        ("25P02 25006 40000 42501 42601 42703 42P01 0A000 54001 55000 P0001 XX000 XX001", Fault.CODE),
    ],
)
def test_the_class_of_an_error_of_postgresql(states: str, fault: Fault) -> None:
    for state in states.split():
        assert faults.classify(sql_error("DatabaseError", state)) is fault, state


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        ("CONSTRAINT CONSTRAINT_CHECK CONSTRAINT_NOTNULL CONSTRAINT_UNIQUE CONSTRAINT_TRIGGER", Fault.RECORD),
        ("MISMATCH TOOBIG", Fault.RECORD),
        ("CONSTRAINT_FOREIGNKEY", Fault.REFERENCE),
        ("BUSY BUSY_SNAPSHOT BUSY_TIMEOUT LOCKED LOCKED_SHAREDCACHE FULL", Fault.STORE),
        ("IOERR IOERR_WRITE CANTOPEN NOMEM INTERRUPT", Fault.STORE),
        ("ERROR CORRUPT SCHEMA MISUSE READONLY RANGE", Fault.CODE),
    ],
)
def test_the_class_of_an_error_of_sqlite(names: str, fault: Fault) -> None:
    for name in names.split():
        assert faults.classify(sqlite_error("OperationalError", f"SQLITE_{name}")) is fault, name


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"), Fault.RECORD),
        (OverflowError("int too big to convert"), Fault.RECORD),
        (ValueError("A string literal cannot contain NUL (0x00) characters."), Fault.RECORD),
        (ValueError("another"), Fault.CODE),
        (django.db.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), Fault.RECORD),
        (django.db.IntegrityError("of the driver"), Fault.RECORD),
        (django.db.OperationalError("server closed the connection unexpectedly"), Fault.STORE),
        (django.db.InterfaceError("connection already closed"), Fault.STORE),
        (django.db.ProgrammingError("the connection cannot be used"), Fault.CODE),
    ],
)
def test_the_class_of_an_error_without_a_code(error: Exception, fault: Fault) -> None:
    assert faults.classify(error) is fault


def test_the_code_of_a_record_that_the_database_refuses() -> None:
    codes = {state: faults.code_of(sql_error("DatabaseError", state)) for state in ("23505", "23514", "22003", "54000")}
    assert codes == {"23505": "conflict", "23514": "constraint", "22003": "unstorable", "54000": "unstorable"}
    names = ("CONSTRAINT_UNIQUE", "CONSTRAINT_PRIMARYKEY", "CONSTRAINT_CHECK", "TOOBIG")
    assert [faults.code_of(sqlite_error("DatabaseError", f"SQLITE_{name}")) for name in names] == [
        *("conflict", "conflict", "constraint", "unstorable")
    ]


def test_pauses_are_forgotten_when_a_part_goes_through(failing_upsert: list[Exception]) -> None:
    delivery = deliver("tutors", *(tutor(tutor_id=f"t{i}") for i in range(3)))
    Delivery.objects.update(part=2)
    for _ in range(3):
        failing_upsert.append(sql_error("OperationalError", "53100"))
        batch.process_batch(get("tutors"), respect_backoff=False)
    batch.process_batch(get("tutors"), respect_backoff=False)
    delivery.refresh_from_db()
    assert (delivery.done, delivery.failure_count, delivery.retry_at, delivery.last_error) == (2, 0, None, "")


def test_a_batch_that_raises_an_error_of_the_code_comes_back_alone_and_in_parts(
    failing_upsert: list[Exception],
) -> None:
    delivery = deliver("tutors", *(tutor(tutor_id=f"t{i}") for i in range(100)))
    parts = []
    for _ in range(4):
        failing_upsert.append(KeyError("a mistake"))
        batch.process_batch(get("tutors"), respect_backoff=False)
        parts.append(Delivery.objects.get().part)
    assert parts == [100, 3, 1, 1]
    work_off()
    assert counts(delivery) == {"inserted": 100}


def test_a_batch_that_failed_by_the_store_stays_together(failing_upsert: list[Exception]) -> None:
    deliver("tutors", tutor())
    failing_upsert.append(sql_error("OperationalError", "40P01"))
    batch.process_batch(get("tutors"))
    assert Delivery.objects.get().part is None


def test_a_claim_is_released_as_soon_as_the_database_is_back(
    failing_upsert: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = deliver("tutors", tutor())
    release, attempts = DeliveryQuerySet.release, iter([True, True])

    def away_at_first(self: DeliveryQuerySet, *args: Any, **changes: Any) -> int:
        if next(attempts, False):
            raise OperationalError("the database is away")
        return release(self, *args, **changes)

    failing_upsert.append(sql_error("OperationalError", "57P01"))
    monkeypatch.setattr(retry, "RELEASE_DELAYS", (0.0,) * len(retry.RELEASE_DELAYS))
    monkeypatch.setattr(DeliveryQuerySet, "release", away_at_first)
    batch.process_batch(get("tutors"))
    delivery.refresh_from_db()
    assert (delivery.started_at, delivery.failure_count, delivery.crash_count) == (None, 1, 0)

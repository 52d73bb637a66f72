"""Each mechanism of the promises by itself: what the tests beside this one would not miss if it were gone."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import django.db
import psycopg
import pytest
import time_machine
from django.db import OperationalError, connection, models, transaction
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from enrichment import sweep, tasks
from enrichment.held import fixing, requeue, revival
from enrichment.models import HeldRecord
from enrichment.pipeline import batch, faults, outcomes, references
from enrichment.pipeline import upsert as persist
from enrichment.pipeline.faults import Fault
from enrichment.refresh import refresh, refresh_daily
from enrichment.tests.held import discard, reprocess
from ingestion import doorbell
from ingestion.models import Delivery, DeliveryQuerySet, Doorbell
from ingestion.payloads import ascii_json
from ingestion.streams import Context, all_streams, get
from ingestion.validation import validate
from tests.records import assert_nothing_vanished, counts, deliver, send, stored, work_off
from tests.servers import wait_until
from tutoring.models import Feedback, Student, Tutor, TutoringSession
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")
Status, Code = HeldRecord.Status, HeldRecord.Code
OLDER, NEWER = "2025-03-01T10:00:00Z", "2025-03-01T10:00:01Z"
LONG_AGO = "2020-01-01T00:00:00Z"


def beside(act: Callable[[], T], lock_timeout: str = "20s") -> Future[T]:
    """Runs `act` in a thread, on a connection of its own, where it waits for no lock longer than that."""

    def run() -> T:
        try:
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, false)", [lock_timeout])
            return act()
        finally:
            connection.close()

    pool = ThreadPoolExecutor(1)
    answer = pool.submit(run)
    pool.shutdown(wait=False)
    return answer


def elsewhere(act: Callable[[], T]) -> T:
    """What `act` answers in another transaction than ours."""
    return beside(act, "3s").result(30)


def is_free(rows: models.QuerySet[Any], *, no_key: bool = False) -> bool:
    """Whether another transaction could change these rows now; with `no_key`, all of them but their keys."""

    def ask() -> bool:
        try:
            with transaction.atomic():
                return bool(list(rows.all().select_for_update(nowait=True, no_key=no_key)))
        except OperationalError:
            return False

    return elsewhere(ask)


def wait_until_blocked() -> None:
    """Waits until another transaction waits for ours."""
    query = "SELECT pid FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"

    def blocked() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return bool(cursor.fetchall())

    wait_until(blocked, "the other waits for a lock", timeout=10)


def record_of(stream: str, item: dict[str, Any]) -> Any:
    return validate(get(stream), item, timezone.now())


def row_of(stream: str, item: dict[str, Any], **version: Any) -> dict[str, Any]:
    """A row as the pipeline hands it to persist.store, without derived fields."""
    first = {"version_at": datetime(2025, 1, 1, tzinfo=UTC), "delivery": 1, "position": 0}
    derived = get(stream).enrich(record_of(stream, item), Context(now=timezone.now()))
    return {**persist.defaults(get(stream)), **vars(record_of(stream, item)), **derived, **first, **version}


# P1, P7: the bell.


@pytest.fixture
def silent_bell() -> None:
    OrmQ.objects.all().delete()
    Doorbell.objects.update(rung_at=None, answered_at=None)


def rings() -> int:
    return int(OrmQ.objects.count())


def test_it_rings_when_others_can_see_the_delivery(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(doorbell, "enqueue_drain", lambda: seen.append(elsewhere(Delivery.objects.count)))
    deliver("tutors", tutor())
    assert seen == [1]


def test_what_is_accepted_is_accepted_without_a_bell(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any, **options: Any) -> None:
        raise ConnectionError("the broker is away")

    with monkeypatch.context() as patch:
        patch.setattr(doorbell, "async_task", away)
        assert counts(deliver("tutors", tutor())) == {"pending": 1}
    doorbell.ring()  # heard, since the one before was not
    assert rings() == 1


def test_a_drain_rings_again_when_it_leaves_work_behind(silent_bell: None) -> None:
    delivery = deliver("tutors", tutor())
    OrmQ.objects.all().delete()
    tasks.drain(0)  # over before it begins, however fast the machine is
    assert (counts(delivery), rings()) == ({"pending": 1}, 1)


def test_a_drain_that_leaves_nothing_rings_nobody(silent_bell: None) -> None:
    delivery = deliver("tutors", tutor())
    OrmQ.objects.all().delete()
    tasks.drain(60)
    assert (counts(delivery), rings()) == ({"inserted": 1}, 0)


def test_a_drain_silences_the_bell_before_its_first_claim(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a delivery that came after the last claim would not be rung for."""
    heard: list[bool] = []
    deliver("tutors", tutor())

    def look_at_bell(*args: Any) -> Any:
        heard.append(Doorbell.objects.get().rung_at is None)
        return batch.process_batch(*args)

    monkeypatch.setattr(tasks, "process_batch", look_at_bell)
    tasks.drain(60)
    assert heard and all(heard)
    assert doorbell.heartbeat()


def test_a_step_of_the_sweep_that_fails_stops_no_other(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise OperationalError("deadlock detected")

    monkeypatch.setattr(revival, "expire_waiting", fails)
    sweep.sweep()
    assert rings() == 1


# P2: the mark.


def test_who_was_taken_for_dead_finds_the_mark_of_another() -> None:
    deliver("tutors", tutor())
    (first,) = Delivery.objects.claim("tutors", 10)
    Delivery.objects.update(started_at=LONG_AGO)
    (second,) = Delivery.objects.claim("tutors", 10)
    with transaction.atomic():
        assert Delivery.objects.lock_claimed([first]) == set()
        assert Delivery.objects.lock_claimed([second]) == {second.pk}
    assert Delivery.objects.release([first]) == 0
    assert Delivery.objects.get().started_at == second.started_at
    assert Delivery.objects.release([second]) == 1


def test_what_one_has_marked_another_does_not_find() -> None:
    deliver("tutors", tutor())
    (claimed,) = Delivery.objects.claim("tutors", 10)
    assert claimed.started_at == Delivery.objects.get().started_at is not None
    assert Delivery.objects.claim("tutors", 10) == []


@pytest.mark.postgresql
def test_what_is_being_worked_on_is_nobody_elses_however_old_its_mark() -> None:
    deliver("tutors", tutor())
    Delivery.objects.update(started_at=LONG_AGO)
    claimed = list(Delivery.objects.all())

    def lock() -> set[int]:
        with transaction.atomic():
            return Delivery.objects.lock_claimed(claimed)

    with transaction.atomic():
        assert lock() == {claimed[0].pk}
        assert elsewhere(lock) == set()
        assert elsewhere(lambda: Delivery.objects.claim("tutors", 10)) == []
    assert Delivery.objects.get().part is None


def test_it_marks_as_many_as_make_a_batch_lowest_first() -> None:
    pks = [deliver("tutors", *(tutor(tutor_id=f"{i}_{j}") for j in range(4))).pk for i in range(5)]
    assert [delivery.pk for delivery in Delivery.objects.claim("tutors", 8)] == pks[:2]
    assert [delivery.pk for delivery in Delivery.objects.claim("tutors", 1)] == pks[2:3]
    assert [delivery.pk for delivery in Delivery.objects.claim("tutors", 1000)] == pks[3:]


def test_a_mark_is_committed_at_once() -> None:
    deliver("tutors", tutor())
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        Delivery.objects.claim("tutors", 10)


def test_what_saw_crashes_is_taken_alone_whole_then_in_parts_then_one_record_three_times() -> None:
    delivery = deliver("tutors", *(tutor(tutor_id=f"t{i}") for i in range(500)))
    other = deliver("tutors", tutor(tutor_id="other"))
    seen = []
    for _ in range(7):
        claimed = Delivery.objects.claim("tutors", 1000)
        seen.append((len(claimed), claimed[0].part, claimed[0].crash_count))
        Delivery.objects.filter(pk__in=[found.pk for found in claimed]).update(started_at=LONG_AGO)
        Delivery.objects.filter(pk=other.pk).update(started_at=None)
    assert seen == [(2, None, 0), (1, 500, 0), (1, 15, 0), (1, 1, 0), (1, 1, 1), (1, 1, 2), (1, 1, 3)]
    Delivery.objects.filter(pk=delivery.pk).update(started_at=None)
    batch.process_batch(get("tutors"))
    delivery.refresh_from_db()
    assert (counts(delivery), delivery.position, delivery.crash_count) == ({"held": 1, "pending": 499}, 1, 0)
    assert delivery.part == 499
    assert HeldRecord.objects.get().code == Code.CRASHED_WORKER
    work_off()
    assert (counts(delivery), counts(other)) == ({"inserted": 499, "held": 1}, {"inserted": 1})


def test_what_one_record_survived_does_not_count_against_the_next() -> None:
    delivery = deliver("tutors", *(tutor(tutor_id=f"t{i}") for i in range(3)))
    Delivery.objects.update(part=1, crash_count=2)
    for position in (1, 2):
        batch.process_batch(get("tutors"))
        delivery.refresh_from_db()
        assert (counts(delivery)["inserted"], delivery.position, delivery.crash_count) == (position, position, 0)


def test_a_worker_whose_mark_was_taken_over_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = deliver("tutors", tutor())
    work = batch._work

    def slow(*args: Any) -> Any:
        Delivery.objects.update(started_at=LONG_AGO)
        Delivery.objects.claim("tutors", 10)
        return work(*args)

    with monkeypatch.context() as patch:
        patch.setattr(batch, "_work", slow)
        worked = batch.process_batch(get("tutors"))
    assert worked and not worked.outcomes and not Tutor.objects.exists()
    delivery.refresh_from_db()
    assert (counts(delivery), delivery.part, delivery.started_at is None) == ({"pending": 1}, 1, False)


# P3: guards.


def lose_looks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(revival, "reconcile", lambda *args: None)  # the workers die after their commits


def test_what_is_discarded_stays_so_when_its_key_is_stored() -> None:
    send("tutors", tutor(email="nobody"), keep_invalid=True)
    discard({}, by="test", reason="no")
    send("tutors", tutor())
    sweep.sweep()
    assert HeldRecord.objects.get().status == Status.DISCARDED


@pytest.mark.postgresql
def test_what_is_discarded_while_it_is_being_closed_stays_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        lose_looks(patch)
        send("tutors", tutor(email="nobody"), keep_invalid=True)
        send("tutors", tutor())
    with transaction.atomic():
        HeldRecord.objects.update(status=Status.DISCARDED)
        closed = beside(lambda: revival.close_superseded(get("tutors"), HeldRecord.objects.all()))
        wait_until_blocked()
    assert closed.result(30) == 0
    assert HeldRecord.objects.get().status == Status.DISCARDED


@pytest.mark.postgresql
def test_of_two_who_send_a_record_on_at_once_one_does() -> None:
    send("tutors", tutor(email="nobody"), keep_invalid=True)
    pks = list(HeldRecord.objects.values_list("pk", flat=True))
    with transaction.atomic():
        (delivery,) = requeue.queue("tutors", pks, Delivery.Source.BULK_ACTION)
        second = beside(lambda: requeue.queue("tutors", pks, Delivery.Source.BULK_ACTION))
        wait_until_blocked()
    assert second.result(30) == []
    assert HeldRecord.objects.get().queued_in == delivery.pk


# P4: the version.


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


def test_arrivals_and_marks_are_told_by_the_databases_clock() -> None:
    now = timezone.now()
    with time_machine.travel(now + timedelta(days=1)):
        delivery = deliver("tutors", tutor())
        (claimed,) = Delivery.objects.claim("tutors", 10)
    delivery.refresh_from_db()
    assert abs(delivery.received_at - now) < timedelta(minutes=5)
    assert claimed.started_at and abs(claimed.started_at - now) < timedelta(minutes=5)


# P6, P11: looks.


def test_it_looks_after_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    inside: list[bool] = []
    look = revival.reconcile

    def note(*args: Any) -> None:
        inside.append(connection.in_atomic_block)
        look(*args)

    monkeypatch.setattr(revival, "reconcile", note)
    send("tutors", tutor())
    assert inside == [False]


@pytest.mark.postgresql
def test_a_reference_that_comes_while_its_record_is_being_held_revives_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who stores the tutor cannot see the held session yet: who holds the session must look too."""
    send("students", student())
    deliver("sessions", session())
    deliver("tutors", tutor())
    record = outcomes.record

    def slow(*args: Any) -> None:
        elsewhere(lambda: batch.process_batch(get("tutors")))
        record(*args)

    with monkeypatch.context() as patch:
        patch.setattr(outcomes, "record", lambda *args: slow(*args) if args[0].name == "sessions" else record(*args))
        batch.process_batch(get("sessions"))
    work_off()
    assert stored("sessions", session()["session_id"])
    assert HeldRecord.objects.get().status == Status.RESOLVED


def test_revived_records_go_before_what_clients_sent() -> None:
    send("students", student())
    send("sessions", session())
    later = deliver("sessions", session(session_id="later"))
    deliver("tutors", tutor())
    batch.process_batch(get("tutors"))
    (revived,) = Delivery.objects.claim("sessions", 1)
    assert (revived.source, revived.pk > later.pk) == (Delivery.Source.REVIVAL, True)
    assert Delivery.objects.claim("sessions", 1) == [later]


def test_a_record_waits_no_longer_because_one_of_its_references_came(settings: Settings) -> None:
    send("sessions", session())
    since = HeldRecord.objects.get().waiting_since
    with time_machine.travel(timezone.now() + timedelta(seconds=settings.REFERENCE_WAIT + 60)):
        send("tutors", tutor(updated_at=None))
    waited = HeldRecord.objects.get()
    assert (waited.missing_stream, waited.attempts, waited.waiting_since) == ("students", 2, since)
    assert (waited.status, waited.code) == (Status.DEAD, Code.MISSING_REFERENCE)


@pytest.mark.postgresql
def test_a_foreign_key_violation_is_a_missing_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """At its statement, not at COMMIT: the record beside it is stored."""
    send("tutors", tutor())
    send("students", student())
    with monkeypatch.context() as patch:
        patch.setattr(references, "first_missing", lambda *args: None)
        delivery = send("sessions", session(), session(session_id="bad", tutor_id="nobody"))
    assert counts(delivery) == {"inserted": 1, "held": 1}
    waiting = HeldRecord.objects.get()
    assert (waiting.status, waiting.code) == (Status.WAITING, Code.MISSING_REFERENCE)
    assert (waiting.missing_stream, waiting.missing_key) == ("tutors", "nobody")


@pytest.mark.postgresql
def test_referenced_rows_stay_and_where_they_are_read_stay_as_they_are() -> None:
    for stream, record in (("tutors", tutor()), ("students", student()), ("sessions", session())):
        send(stream, record)
    with transaction.atomic():
        references.lock(get("sessions"), [record_of("sessions", session())])
        for model in (Tutor, Student):
            assert not is_free(model._default_manager.all())
            assert is_free(model._default_manager.all(), no_key=True)
    with transaction.atomic():
        references.lock(get("feedback"), [record_of("feedback", feedback())])
        assert not is_free(TutoringSession.objects.all(), no_key=True)
        assert is_free(Tutor.objects.all(), no_key=True)


@pytest.mark.parametrize("bad_first", [True, False])
def test_a_dead_letter_closes_only_for_what_came_after_it_in_its_delivery(bad_first: bool) -> None:
    records = [tutor(email="nobody"), tutor()]
    delivery = send("tutors", *(records if bad_first else reversed(records)), keep_invalid=True)
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.resolved_by) == ((Status.RESOLVED, delivery.pk) if bad_first else (Status.DEAD, None))
    assert_nothing_vanished()


@pytest.mark.parametrize("late", [True, False])
def test_of_one_time_a_dead_letter_closes_for_the_later_delivery_alone(late: bool) -> None:
    good = send("tutors", tutor()) if not late else None
    send("tutors", tutor(email="nobody"), keep_invalid=True)
    good = good or send("tutors", tutor())
    assert HeldRecord.objects.get().resolved_by == (good.pk if late else None)


def test_the_sweep_closes_what_a_crash_before_the_look_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        lose_looks(patch)
        send("tutors", tutor(email="nobody"), keep_invalid=True)
        good = send("tutors", tutor())
    assert HeldRecord.objects.get().status == Status.DEAD
    sweep.sweep()
    assert (HeldRecord.objects.get().status, HeldRecord.objects.get().resolved_by) == (Status.RESOLVED, good.pk)


# P8: enrichment is pure.


def test_enriching_asks_neither_the_clock_nor_the_database() -> None:
    def forbidden(*args: Any) -> None:
        raise AssertionError("enrich asked the database")

    now = timezone.now()
    row = {"scheduled_start": now, "tutor_id": "T-1001", "student_id": "ST-2001"}
    for stream in all_streams():
        record = record_of(stream.name, dict(stream.example))
        context = Context(now=now, facts=stream.facts(), rows={("sessions", "S-3001"): row})
        expected = stream.enrich(record, context), stream.warn(record, context)
        with time_machine.travel(now + timedelta(days=4000)), connection.execute_wrapper(forbidden):
            assert (stream.enrich(record, context), stream.warn(record, context)) == expected


# P9: time passes.


def test_what_is_of_today_is_left_alone() -> None:
    send("tutors", *(tutor(tutor_id=f"t{i}") for i in range(3)))
    with CaptureQueriesContext(connection) as queries:
        assert refresh_daily() == 0
    assert len([query for query in queries if '"tutoring_tutor"' in query["sql"]]) == 1


@pytest.mark.postgresql
def test_rows_that_are_brought_up_to_date_are_locked() -> None:
    send("tutors", tutor())
    real, free = get("tutors"), []

    def enrich(record: Any, context: Context) -> dict[str, Any]:
        free.append(is_free(Tutor.objects.all(), no_key=True))
        return real.enrich(record, context)

    refresh(dataclasses.replace(real, enrich=enrich), Q())
    assert free == [False]


@pytest.mark.postgresql
def test_a_row_stored_anew_while_it_is_brought_up_to_date_is_left_as_stored() -> None:
    moved = "2025-03-01T21:00:00Z"
    for stream, record in (("tutors", tutor()), ("students", student()), ("sessions", session())):
        send(stream, record)
    plain: dict[str, Any] = {"actual_start": None, "actual_end": None, "no_show": True, "engagement_score": None}
    send("sessions", session(session_id="other", scheduled_start=moved, **plain))
    send("feedback", feedback())
    anew = [feedback(session_id="other")]

    def facts() -> dict[str, Any]:
        while anew:
            elsewhere(lambda: send("feedback", anew.pop()))
        return {}

    refresh(dataclasses.replace(get("feedback"), facts=facts), Q())
    row = Feedback.objects.get()
    assert (row.session_id, row.feedback_delay_hours) == ("other", 1.0)


# P10: whose fault an error is.


def sql_error(kind: str, state: str) -> Exception:
    error: Exception = getattr(django.db, kind)(f"planted {state}")
    error.__cause__ = psycopg.Error()
    error.__cause__.sqlstate = state
    return error


def sqlite_error(kind: str, name: str) -> Exception:
    error: Exception = getattr(django.db, kind)(f"planted {name}")
    error.__cause__ = sqlite3.Error()
    error.__cause__.sqlite_errorname = name
    return error


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
def test_whose_fault_an_error_of_postgresql_is(states: str, fault: Fault) -> None:
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
def test_whose_fault_an_error_of_sqlite_is(names: str, fault: Fault) -> None:
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
def test_whose_fault_an_error_without_a_number_is(error: Exception, fault: Fault) -> None:
    assert faults.classify(error) is fault


def test_the_code_of_a_record_that_the_database_refuses() -> None:
    codes = {state: faults.code_of(sql_error("DatabaseError", state)) for state in ("23505", "23514", "22003", "54000")}
    assert codes == {"23505": "conflict", "23514": "constraint", "22003": "unstorable", "54000": "unstorable"}
    names = ("CONSTRAINT_UNIQUE", "CONSTRAINT_PRIMARYKEY", "CONSTRAINT_CHECK", "TOOBIG")
    assert [faults.code_of(sqlite_error("DatabaseError", f"SQLITE_{name}")) for name in names] == [
        *("conflict", "conflict", "constraint", "unstorable")
    ]


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


def test_pauses_are_forgotten_when_a_part_goes_through(failing_upsert: list[Exception]) -> None:
    delivery = deliver("tutors", *(tutor(tutor_id=f"t{i}") for i in range(3)))
    Delivery.objects.update(part=2)
    for _ in range(3):
        failing_upsert.append(sql_error("OperationalError", "53100"))
        batch.process_batch(get("tutors"), respect_backoff=False)
    batch.process_batch(get("tutors"), respect_backoff=False)
    delivery.refresh_from_db()
    assert (delivery.done, delivery.failure_count, delivery.retry_at, delivery.last_error) == (2, 0, None, "")


def test_what_the_code_stumbles_over_comes_back_alone_and_in_parts(failing_upsert: list[Exception]) -> None:
    delivery = deliver("tutors", *(tutor(tutor_id=f"t{i}") for i in range(100)))
    parts = []
    for _ in range(4):
        failing_upsert.append(KeyError("a mistake"))
        batch.process_batch(get("tutors"), respect_backoff=False)
        parts.append(Delivery.objects.get().part)
    assert parts == [100, 3, 1, 1]
    work_off()
    assert counts(delivery) == {"inserted": 100}


def test_what_failed_for_lack_of_the_store_stays_together(failing_upsert: list[Exception]) -> None:
    deliver("tutors", tutor())
    failing_upsert.append(sql_error("OperationalError", "40P01"))
    batch.process_batch(get("tutors"))
    assert Delivery.objects.get().part is None


def test_a_mark_is_taken_back_as_soon_as_the_database_is_there_again(
    failing_upsert: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery = deliver("tutors", tutor())
    release, attempts = DeliveryQuerySet.release, iter([True, True])

    def away_at_first(self: DeliveryQuerySet, *args: Any, **changes: Any) -> int:
        if next(attempts, False):
            raise OperationalError("the database is away")
        return release(self, *args, **changes)

    failing_upsert.append(sql_error("OperationalError", "57P01"))
    monkeypatch.setattr(batch, "RELEASE_RETRY_DELAYS", (0.0,) * len(batch.RELEASE_RETRY_DELAYS))
    monkeypatch.setattr(DeliveryQuerySet, "release", away_at_first)
    batch.process_batch(get("tutors"))
    delivery.refresh_from_db()
    assert (delivery.started_at, delivery.failure_count, delivery.crash_count) == (None, 1, 0)


@pytest.mark.postgresql
def test_the_work_waits_for_nothing_for_long() -> None:
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")

    def limits() -> dict[str, str]:
        with connection.cursor() as cursor:
            found = {}
            for name in names:
                cursor.execute(f"SHOW {name}")
                found[name] = cursor.fetchone()[0]
        return found

    seen: list[dict[str, str]] = []

    def facts() -> dict[str, Any]:
        seen.append(limits())
        return dict(get("tutors").facts())

    deliver("tutors", tutor())
    before = limits()
    batch.process_batch(dataclasses.replace(get("tutors"), facts=facts))
    assert seen == [dict(zip(names, ("5s", "30s", "1min"), strict=True))]
    assert limits() == before


# The order of locks. One row is held back: who takes the rows in order waits for it before touching those behind it.


@pytest.mark.postgresql
def test_stored_rows_are_locked_in_order_of_their_keys() -> None:
    keys = ("b", "a")
    send("students", *(student(student_id=key) for key in keys))
    rows = [row_of("students", student(student_id=key), version_at=timezone.now()) for key in keys]

    def store() -> list[Any]:
        with transaction.atomic():
            return list(persist.store(get("students"), rows))

    first, second = Student.objects.filter(pk="a"), Student.objects.filter(pk="b")
    assert _waits_before(store, first, second) == ["updated", "updated"]


@pytest.mark.postgresql
def test_referenced_rows_are_locked_in_order_of_their_keys() -> None:
    for key in ("b", "a"):
        send("tutors", tutor(tutor_id=key))
    send("students", student())
    records = [record_of("sessions", session(session_id=key, tutor_id=key)) for key in ("b", "a")]
    first, second = Tutor.objects.filter(pk="a"), Tutor.objects.filter(pk="b")
    assert len(_waits_before(lambda: _lock_references("sessions", records), first, second)) == 3


@pytest.mark.postgresql
def test_referenced_rows_are_locked_in_order_of_their_streams() -> None:
    for stream, record in (("tutors", tutor()), ("students", student()), ("sessions", session())):
        send(stream, record)
    records = [record_of("feedback", feedback())]
    for first, second in ((Tutor, Student), (Student, TutoringSession)):
        rows = first._default_manager.all(), second._default_manager.all()
        assert len(_waits_before(lambda: _lock_references("feedback", records), *rows)) == 3


@pytest.mark.postgresql
def test_held_records_are_locked_in_order_of_their_ids() -> None:
    send("tutors", *(tutor(tutor_id=key, email="nobody") for key in "abc"), keep_invalid=True)
    found = list(HeldRecord.objects.order_by("pk"))
    HeldRecord.objects.filter(pk=found[0].pk).update(attempts=1)  # now the last in the table
    again = reprocess({}, by="test").deliveries.get()
    items = batch._next_part(again)[::-1]

    def lock() -> list[str]:
        with transaction.atomic():
            outcomes.lock(items)
        return [item.outcome for item in items]

    first, second = (HeldRecord.objects.filter(pk=record.pk) for record in found[:2])
    assert _waits_before(lock, first, second) == ["", "", ""]


def _lock_references(stream: str, records: list[Any]) -> references.Rows:
    """By a plan that reads the table as it lies: an index would give its order by itself."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off")
        return references.lock(get(stream), records)


def _waits_before(act: Callable[[], T], first: models.QuerySet[Any], second: models.QuerySet[Any]) -> T:
    """What `act` answers, once it has been seen to wait for the first rows without having locked the second."""
    with transaction.atomic():
        assert list(first.select_for_update())
        answer = beside(act)
        wait_until_blocked()
        in_order = is_free(second)
    assert answer.result(30) is not None
    assert in_order
    return answer.result()

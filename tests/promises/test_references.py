"""P6: references may arrive late, in any order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.db.models import ProtectedError
from django.utils import timezone
from pytest_django import Settings

from enrichment import sweep
from enrichment.held import revival
from enrichment.models import HeldRecord
from enrichment.pipeline import batch, outcomes, references
from ingestion.models import Delivery
from ingestion.streams import get
from tests.promises.helpers import elsewhere, is_free, record_of
from tests.records import assert_nothing_vanished, counts, deliver, send, stored, work_off
from tutoring.models import Student, Tutor, TutoringSession
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db(transaction=True)

Status, Code = HeldRecord.Status, HeldRecord.Code


def only_held() -> HeldRecord:
    return HeldRecord.objects.get()


def test_feedback_before_its_session_before_its_tutor() -> None:
    first = send("feedback", feedback())
    second = send("sessions", session())
    assert [held.status for held in HeldRecord.objects.all()] == [Status.WAITING, Status.WAITING]
    send("students", student())
    send("tutors", tutor())
    assert stored("sessions", session()["session_id"]) and stored("feedback", feedback()["feedback_id"])
    assert {held.status for held in HeldRecord.objects.all()} == {Status.RESOLVED}
    assert counts(first) == counts(second) == {"held": 1}
    assert_nothing_vanished()


def test_it_says_what_is_missing() -> None:
    send("tutors", tutor())
    send("sessions", session(student_id="nobody"))
    record = only_held()
    assert (record.missing_stream, record.missing_key, record.code) == ("students", "nobody", Code.MISSING_REFERENCE)
    assert record.messages == {"student_id": ["student nobody does not exist (yet)"]}


def test_a_revived_record_keeps_the_version_of_its_first_arrival() -> None:
    delivery = send("sessions", session())
    send("students", student())
    send("tutors", tutor())
    row = stored("sessions", session()["session_id"])
    assert (row.delivery, row.position) == (delivery.pk, 0)


def test_a_record_that_waited_too_long_is_dead_until_its_reference_comes(settings: Settings) -> None:
    send("students", student())
    send("sessions", session())
    with time_machine.travel(timezone.now() + timedelta(seconds=settings.REFERENCE_WAIT + 60)):
        sweep.sweep()
        assert (only_held().status, only_held().code) == (Status.DEAD, Code.MISSING_REFERENCE)
        send("tutors", tutor(updated_at=None))
    assert only_held().status == Status.RESOLVED
    assert stored("sessions", session()["session_id"])


def test_the_sweep_makes_up_for_a_crash_between_commit_and_reconciling(monkeypatch: pytest.MonkeyPatch) -> None:
    send("students", student())
    send("sessions", session())
    with monkeypatch.context() as patch:
        patch.setattr(revival, "reconcile", lambda *args: None)  # the worker dies after its commit
        send("tutors", tutor())
    assert only_held().status == Status.WAITING
    sweep.sweep()
    work_off()
    assert only_held().status == Status.RESOLVED
    assert_nothing_vanished()


def test_a_record_that_others_refer_to_cannot_be_deleted() -> None:
    send("tutors", tutor())
    send("students", student())
    send("sessions", session())
    with pytest.raises(ProtectedError):
        stored("tutors", tutor()["tutor_id"]).delete()


def test_a_stub_stands_in_for_a_student_that_never_comes(settings: Settings) -> None:
    settings.CREATE_MISSING_STUDENTS = True
    send("tutors", tutor())
    assert counts(send("sessions", session())) == {"inserted": 1}
    assert stored("students", student()["student_id"]).is_stub
    assert counts(send("students", student())) == {"updated": 1}
    assert not stored("students", student()["student_id"]).is_stub


def test_it_reconciles_after_its_commit(monkeypatch: pytest.MonkeyPatch) -> None:
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
    real, seen = references.first_missing, []

    def overlooks_both(*args: Any) -> Any:
        """As if the tutor had gone just after it was looked for."""
        seen.append(args)
        return real(*args) if len(seen) > 2 else None

    with monkeypatch.context() as patch:
        patch.setattr(references, "first_missing", overlooks_both)
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

"""P6: references may arrive late, in any order."""

from datetime import timedelta

import pytest
import time_machine
from django.db.models import ProtectedError
from django.utils import timezone
from pytest_django import Settings

from enrichment import sweep
from enrichment.held import revival
from enrichment.models import HeldRecord
from tests.records import assert_nothing_vanished, counts, send, stored, work_off
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


def test_the_sweep_makes_up_for_a_crash_between_commit_and_look(monkeypatch: pytest.MonkeyPatch) -> None:
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

"""What is stored, and brought up to date from what is stored."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction
from django.db.models import ProtectedError, Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from enrichment.models import StoredRecord
from enrichment.refresh import refresh, refresh_daily
from ingestion.streams import Context, all_streams, get
from ingestion.validation import validate
from tests.records import counts, send, stored
from tutoring import catalogue
from tutoring.models import Feedback, Student, Subject, Tutor, TutoringSession
from tutoring.streams import refresh_feedback_on
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db
committing = pytest.mark.django_db(transaction=True)

START = "2025-03-01T20:00:00Z"


def send_all(**changes: Any) -> None:
    for name, record in (("tutors", tutor()), ("students", student()), ("sessions", session(**changes))):
        send(name, record)
    send("feedback", feedback())


def the_feedback() -> Feedback:
    return Feedback.objects.get(pk="F-4001")


def ours(row: StoredRecord) -> dict[str, Any]:
    """The columns that enrich answers for, and the warnings."""
    stream = next(stream for stream in all_streams() if stream.model is type(row))
    rows = {}
    if isinstance(row, Feedback):
        read = {name: getattr(row.session, name) for name in ("scheduled_start", "tutor_id", "student_id")}
        rows = {("sessions", row.session_id): read}
    context = Context(now=timezone.now(), facts=stream.facts(), rows=rows)
    record = row.as_record(stream.schema)
    return {**stream.enrich(record, context), "warnings": stream.warn(record, context)}


SESSIONS = {
    "example": session(),
    "saturday there, sunday in utc": session(scheduled_start="2025-03-08T20:00:00-08:00"),
    "year's end": session(scheduled_start="2021-01-01T05:15:00+05:45", actual_start=None, actual_end=None),
    "naive": session(scheduled_start="2024-02-29T23:59:59.999999"),
    "no-show": session(no_show=True, actual_start=None, actual_end=None, late_start_minutes=None, engagement_score=1),
    "bare": {name: session()[name] for name in list(session())[:6]},
}


@pytest.mark.parametrize("record", SESSIONS.values(), ids=SESSIONS)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_enriching_the_stored_row_gives_what_enriching_the_record_gave(
    record: dict[str, Any], zone: str, settings: Settings
) -> None:
    settings.TIME_ZONE = zone
    send("tutors", tutor(), tutor(tutor_id="bare", subjects=["Alchemy"], age=None, updated_at=None))
    send("students", student(), {"student_id": "bare", "name": "Bare"})
    send("sessions", record)
    bare = {"would_recommend": None, "is_first_session": False, "free_text_feedback": " ", "improvement_areas": None}
    override = {"session_scheduled_start": "2025-03-01T18:30:00+01:00", "student_id": "bare"}
    send("feedback", feedback(), feedback(feedback_id="bare", **bare), feedback(feedback_id="override", **override))
    settings.TIME_ZONE = "UTC"  # the offset that was meant is kept with the row
    rows: list[StoredRecord] = [row for stream in all_streams() for row in stream.model._default_manager.all()]  # type: ignore[misc]
    assert len(rows) == 8
    for row in rows:
        expected = ours(row)
        expected.pop("derived_on", None)
        assert {name: getattr(row, name) for name in expected} == expected


def test_the_record_reads_as_it_was_sent() -> None:
    send_all()
    for name, record in (
        ("tutors", tutor()),
        ("students", student()),
        ("sessions", session()),
        ("feedback", feedback()),
    ):
        stream = get(name)
        sent = validate(stream, record, timezone.now())
        again = stored(name, record[stream.key]).as_record(stream.schema)
        assert vars(again) == vars(sent)
    assert TutoringSession.objects.get().scheduled_start_as_sent.isoformat() == "2025-03-01T15:00:00-05:00"


# A session that moves takes its feedback along.


def test_feedback_follows_its_session() -> None:
    send_all()
    assert (the_feedback().feedback_delay_hours, the_feedback().warnings) == (2.0, [])
    before = the_feedback().stored_at
    send("sessions", session(scheduled_start="2025-03-01T22:30:00Z", updated_at="2025-03-02T00:00:00Z"))
    row = the_feedback()
    assert row.feedback_delay_hours == -0.5
    assert row.session_start_used == datetime(2025, 3, 1, 22, 30, tzinfo=UTC)
    assert row.warnings == ["submitted_at is before the start of the session"]
    assert row.stored_at > before
    send("sessions", session(updated_at="2025-03-02T00:00:01Z"))
    assert (the_feedback().feedback_delay_hours, the_feedback().warnings) == (2.0, [])


def test_feedback_stays_when_an_older_version_of_its_session_arrives() -> None:
    send_all()
    send("sessions", session(scheduled_start="2025-03-01T22:30:00Z", updated_at="2025-03-01T00:00:00Z"))
    assert the_feedback().feedback_delay_hours == 2.0


def test_feedback_with_a_start_of_its_own_stays() -> None:
    send_all()
    send("feedback", feedback(session_scheduled_start="2025-03-01T21:00:00Z"))
    before = the_feedback().stored_at
    send("sessions", session(scheduled_start="2025-03-01T22:30:00Z", updated_at="2025-03-02T00:00:00Z"))
    assert (the_feedback().feedback_delay_hours, the_feedback().stored_at) == (1.0, before)


def test_the_warning_comes_and_goes_with_the_sessions_tutor_and_student() -> None:
    send_all()
    send("feedback", feedback(session_scheduled_start="2025-03-01T21:00:00Z"))
    send("tutors", tutor(tutor_id="T-2"))
    send("students", student(student_id="ST-2"))
    send("sessions", session(tutor_id="T-2", updated_at="2025-03-02T00:00:00Z"))
    assert the_feedback().warnings == ["tutor_id differs from that of the session"]
    send("sessions", session(student_id="ST-2", updated_at="2025-03-02T00:00:01Z"))
    assert the_feedback().warnings == ["student_id differs from that of the session"]
    send("sessions", session(updated_at="2025-03-02T00:00:02Z"))
    assert the_feedback().warnings == []


def test_sessions_without_feedback_cost_one_query() -> None:
    with (
        transaction.atomic(),
        CaptureQueriesContext(
            connection,
        ) as queries,
    ):
        refresh_feedback_on(["S-1", "S-2"], Context(now=timezone.now()))
    assert len([query for query in queries if "tutoring_feedback" in query["sql"]]) == 1
    assert not [query for query in queries if "UPDATE" in query["sql"].replace("FOR UPDATE", "")]


def test_only_feedback_that_is_behind_is_locked() -> None:
    send_all()
    send("feedback", feedback(feedback_id="F-2", session_scheduled_start="2025-03-01T21:00:00Z"))
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        refresh_feedback_on(["S-3001"], Context(now=timezone.now()))
    assert len([query for query in queries if "tutoring_" in query["sql"]]) == 1


# A day passes.


def test_tutors_are_brought_up_to_date_every_day() -> None:
    now = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)
    with time_machine.travel(now, tick=False):
        send(
            "tutors", tutor(onboarding_date="2025-05-17T12:00:00Z", created_at=None, updated_at="2025-06-15T08:00:00Z")
        )
    row = Tutor.objects.get()
    assert (row.tenure_days, row.is_new_tutor, row.is_active_today) == (29, True, True)
    with time_machine.travel(now + timedelta(days=1), tick=False):
        assert refresh_daily() == 1
        assert refresh_daily() == 0
    row = Tutor.objects.get()
    assert (row.tenure_days, row.is_new_tutor, row.is_active_today) == (30, False, False)
    assert row.derived_on.isoformat() == "2025-06-16"


# Stubs.


def test_a_stub_is_older_than_any_record(settings: Settings) -> None:
    settings.CREATE_MISSING_STUDENTS = True
    send("tutors", tutor())
    assert counts(send("sessions", session())) == {"inserted": 1}
    stub = Student.objects.get()
    assert (stub.is_stub, stub.name, stub.delivery, stub.position) == (True, "", 0, 0)
    refresh(get("students"), Q())
    assert Student.objects.get().is_stub
    send("students", student(updated_at="1970-01-01T00:00:00Z"))
    assert (Student.objects.get().is_stub, Student.objects.get().name) == (False, "Charles Babbage")


def test_without_the_setting_there_are_no_stubs() -> None:
    send("tutors", tutor())
    assert counts(send("sessions", session())) == {"held": 1}
    assert not Student.objects.exists()


# The catalogue.


@committing
def test_the_catalogue_comes_with_the_database_and_can_be_edited() -> None:
    assert catalogue.facts()["subjects"] == frozenset(catalogue.SUBJECTS)
    alchemy = Subject.objects.create(name="Alchemy")
    assert "Alchemy" in catalogue.facts()["subjects"]
    alchemy.delete()
    assert "Alchemy" not in catalogue.facts()["subjects"]


@committing
@pytest.mark.parametrize(("seconds", "reads"), [(30, 0), (-1, 1)])
def test_the_catalogue_is_read_again_after_a_while(seconds: int, reads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue.clear_cache()
    monkeypatch.setattr(catalogue, "CACHE_SECONDS", seconds)
    catalogue.facts()
    Subject.objects.filter(name="Algebra").update(name="Al-jabr")  # as another process would: no signal is sent here
    with CaptureQueriesContext(connection) as queries:
        assert ("Al-jabr" in catalogue.facts()["subjects"]) is bool(reads)
    assert len(queries) == reads


@committing
def test_the_catalogue_of_a_transaction_that_is_rolled_back_is_not_kept() -> None:
    with transaction.atomic():
        Subject.objects.create(name="Alchemy")
        assert "Alchemy" in catalogue.facts()["subjects"]
        transaction.set_rollback(True)
    assert "Alchemy" not in catalogue.facts()["subjects"]


@committing
def test_migrate_leaves_an_edited_catalogue_alone() -> None:
    Subject.objects.exclude(name="Algebra").delete()
    catalogue.fill_if_empty(using="default")
    assert catalogue.facts()["subjects"] == {"Algebra"}


# The database refuses what the schemas refuse.


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        (Tutor, {"status": "gone"}),
        (Tutor, {"subject_type": "Sports"}),
        (Tutor, {"behavioral_archetype": "hero"}),
        (Tutor, {"age": 17}),
        (Tutor, {"age": 101}),
        (Tutor, {"baseline_sessions_per_week": -1}),
        (Tutor, {"baseline_sessions_per_week": 51}),
        (Student, {"age": 2}),
        (Student, {"age": 121}),
        (TutoringSession, {"duration_minutes": -1, "late_start_minutes": None}),
        (TutoringSession, {"duration_minutes": 301}),
        (TutoringSession, {"duration_minutes": 1}),  # 2 minutes late
        (TutoringSession, {"late_start_minutes": -1}),
        (TutoringSession, {"late_start_minutes": 61, "duration_minutes": 90}),
        (TutoringSession, {"engagement_score": 1.01}),
        (TutoringSession, {"engagement_score": -0.01}),
        (TutoringSession, {"session_number": 0}),
        (TutoringSession, {"session_type": "lecture"}),
        (TutoringSession, {"no_show": True}),
        (TutoringSession, {"actual_end": datetime(2025, 3, 1, 20, 2, tzinfo=UTC)}),
        (Feedback, {"overall_rating": 0}),
        (Feedback, {"overall_rating": 6}),
        (Feedback, {"subject_knowledge_rating": 6}),
        (Feedback, {"communication_rating": 0}),
        (Feedback, {"patience_rating": 6}),
        (Feedback, {"engagement_rating": 0}),
        (Feedback, {"helpfulness_rating": 6}),
        (Feedback, {"would_recommend": None}),
    ],
)
def test_the_database_refuses_what_the_schemas_refuse(model: type[StoredRecord], changes: dict[str, Any]) -> None:
    send_all()
    rows = model._default_manager.all()
    rows.update()  # as it is it may stay
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.update(**changes)


@pytest.mark.parametrize("model", [Tutor, Student, TutoringSession])
def test_a_record_that_others_refer_to_stays(model: type[StoredRecord]) -> None:
    send_all()
    with pytest.raises(ProtectedError):
        model._default_manager.get().delete()


@pytest.mark.postgresql
def test_the_indexes_are_those_we_want() -> None:
    """Every index is paid for by each record that is stored."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexname FROM pg_indexes WHERE tablename = 'tutoring_tutoringsession'")
        names = {name for (name,) in cursor.fetchall()}
    ours = {name for name in names if name.startswith("session_")}
    assert ours == {"session_tutor", "session_student", "session_start", "session_late", "session_no_show"}
    assert len(names - ours) == 3, names  # the key, the key for LIKE, stored_at

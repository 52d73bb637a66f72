"""The four streams of the domain, in order of reference."""

from collections.abc import Sequence
from dataclasses import replace

from django.conf import settings
from django.db.models import F, Q

from enrichment.refresh import CHUNK, refresh_rows
from ingestion.fields import MIN_TIME
from ingestion.streams import Context, Reference, StoredRow, Stream, Subject, register
from tutoring import catalogue, enrich, schemas
from tutoring.models import Feedback, Student, Tutor, TutoringSession

SESSION_FIELDS = ("scheduled_start", "tutor_id", "student_id")
"""What feedback reads of its session."""


def stub_student(key: str) -> Student | None:
    """A student of the oldest possible version, so that the real one is newer whenever it arrives."""
    if not settings.CREATE_MISSING_STUDENTS:
        return None
    return Student(student_id=key, is_stub=True, version_at=MIN_TIME, delivery=0, position=0)


def refresh_feedback(sessions: Sequence[StoredRow], context: Context) -> None:
    """Feedback may have been computed from what an updated session was before."""
    refresh_feedback_on([row.columns["session_id"] for row in sessions], context)


def refresh_feedback_on(session_ids: Sequence[str], context: Context) -> None:
    """Enriches again the feedback of these sessions that was computed from a start, tutor or student they had before.

    The caller has written the sessions in the present transaction, so no feedback on them can be stored meanwhile.
    """
    moved = Q(session_scheduled_start=None) & ~Q(session_start_used=F("session__scheduled_start"))
    mismatched = ~Q(tutor=F("session__tutor")) | ~Q(student=F("session__student"))
    outdated = Feedback.objects.filter(moved | mismatched | ~Q(warnings=[]), session__in=session_ids)
    rows_in_order, last = outdated.order_by("pk").select_for_update(of=("self",)), ""
    while rows := list(rows_in_order.filter(pk__gt=last)[:CHUNK]):
        last = rows[-1].pk
        found = TutoringSession.objects.filter(pk__in={row.session_id for row in rows}).values("pk", *SESSION_FIELDS)
        sessions = {("sessions", session["pk"]): session for session in found}
        refresh_rows(FEEDBACK, rows, replace(context, rows=sessions))


TUTORS = Stream(
    name="tutors",
    schema=schemas.TutorRecord,
    model=Tutor,
    key="tutor_id",
    enrich=enrich.enrich_tutor,
    warn=enrich.warn_tutor,
    facts=catalogue.facts,
    known_items={"subjects": catalogue.subjects},
    daily=True,
    time="onboarding_date",
    search=("tutor_id", "name", "email"),
    hidden=("derived_on",),
    personal=("name", "email"),
    subject=Subject(kind="tutor", field="tutor_id", names=("name", "email")),
    example={
        "tutor_id": "T-1001",
        "name": "Ada Lovelace",
        "email": "ada@example.com",
        "subjects": ["Mathematics", "Algebra"],
        "onboarding_date": "2024-09-02T09:00:00Z",
        "status": "active",
        "age": 36,
        "location": "London",
        "education_level": "Master",
        "subject_type": "STEM",
        "behavioral_archetype": "steady",
        "baseline_sessions_per_week": 18,
        "created_at": "2024-09-02T09:05:00Z",
        "updated_at": "2025-02-28T18:00:00Z",
    },
)
STUDENTS = Stream(
    name="students",
    schema=schemas.StudentRecord,
    model=Student,
    key="student_id",
    enrich=enrich.enrich_student,
    subject=Subject(kind="student", field="student_id", names=("name",)),
    search=("student_id", "name"),
    personal=("name",),
    example={
        "student_id": "ST-2001",
        "name": "Charles Babbage",
        "age": 15,
        "grade_level": "10",
        "subjects_interested": ["Algebra", "Physics"],
        "created_at": "2024-10-01T12:00:00Z",
        "updated_at": "2025-02-28T18:00:00Z",
    },
)
SESSIONS = Stream(
    name="sessions",
    schema=schemas.SessionRecord,
    model=TutoringSession,
    key="session_id",
    references=(
        Reference(field="tutor_id", stream="tutors"),
        Reference(field="student_id", stream="students", stub=stub_student),
    ),
    enrich=enrich.enrich_session,
    warn=enrich.warn_session,
    facts=catalogue.facts,
    stored=refresh_feedback,
    stored_after=("updated",),
    time="scheduled_start",
    search=("session_id", "tutor_id", "student_id", "subject"),
    hidden=("scheduled_offset",),
    example={
        "session_id": "S-3001",
        "tutor_id": "T-1001",
        "student_id": "ST-2001",
        "scheduled_start": "2025-03-01T15:00:00-05:00",
        "duration_minutes": 60,
        "subject": "Algebra",
        "session_number": 1,
        "is_first_session": True,
        "no_show": False,
        "actual_start": "2025-03-01T15:02:00-05:00",
        "actual_end": "2025-03-01T16:01:00-05:00",
        "session_type": "1-on-1",
        "tutor_initiated_reschedule": False,
        "late_start_minutes": 2,
        "engagement_score": 0.85,
        "learning_objectives_met": True,
        "technical_issues": False,
        "created_at": "2025-02-20T10:00:00Z",
        "updated_at": "2025-03-01T21:05:00Z",
    },
)
FEEDBACK = Stream(
    name="feedback",
    earlier_name="feedbacks",
    schema=schemas.FeedbackRecord,
    model=Feedback,
    key="feedback_id",
    references=(
        Reference(field="session_id", stream="sessions", reads=SESSION_FIELDS),
        Reference(field="student_id", stream="students", stub=stub_student),
        Reference(field="tutor_id", stream="tutors"),
    ),
    enrich=enrich.enrich_feedback,
    warn=enrich.warn_feedback,
    time="submitted_at",
    search=("feedback_id", "session_id", "tutor_id", "student_id", "free_text_feedback"),
    hidden=("session_start_used",),
    personal=("free_text_feedback", "improvement_areas"),
    example={
        "feedback_id": "F-4001",
        "session_id": "S-3001",
        "student_id": "ST-2001",
        "tutor_id": "T-1001",
        "overall_rating": 5,
        "submitted_at": "2025-03-01T22:00:00Z",
        "subject_knowledge_rating": 5,
        "communication_rating": 5,
        "patience_rating": 4,
        "engagement_rating": 5,
        "helpfulness_rating": 4,
        "is_first_session": True,
        "free_text_feedback": "Clear explanations, and patient with my questions.",
        "would_recommend": True,
        "improvement_areas": ["pace"],
        "created_at": "2025-03-01T22:00:00Z",
    },
)

for stream in (TUTORS, STUDENTS, SESSIONS, FEEDBACK):
    register(stream)

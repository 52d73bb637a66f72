"""The four kinds of record as clients send them, and the rules that make one invalid."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ingestion.fields import (
    Email,
    Flag,
    Identifier,
    PastTime,
    Record,
    StorableText,
    Stripped,
    Text50,
    Text100,
    Text255,
    Tidy,
    Time,
    WholeNumber,
    default_for_null,
    not_after,
)

MAX_BOOKING_LEAD = timedelta(days=30)


Name = Annotated[str, Field(min_length=1, max_length=255), StorableText, Tidy]
SubjectName = Annotated[str, Field(min_length=1, max_length=100), StorableText, Tidy]
Rating = Annotated[int, Field(ge=1, le=5), WholeNumber]


class TutorRecord(Record):
    """A tutor. `tenure_days` is derived: a value sent for it is ignored."""

    tutor_id: Identifier
    """Unique ID of the tutor (the key)."""
    name: Name
    """Full name."""
    email: Email
    """E-mail address."""
    subjects: Annotated[list[SubjectName], Field(min_length=1, max_length=10)]
    """Subjects taught; one that is not in the catalogue causes a warning."""
    onboarding_date: PastTime
    """When the tutor started; tenure is counted from here."""
    status: Annotated[Literal["active", "inactive", "suspended", "churned"] | None, default_for_null("active")] = (
        "active"
    )
    """Default: active."""
    age: Annotated[int, Field(ge=18, le=100), WholeNumber] | None = None
    """In years; a value outside 22 to 65 causes a warning."""
    location: Text255 | None = None
    """Where the tutor works."""
    education_level: Text100 | None = None
    """Highest degree."""
    subject_type: Literal["STEM", "Language", "TestPrep"] | None = None
    """Group that the subjects belong to."""
    behavioral_archetype: Literal["high_performer", "at_risk", "new_tutor", "steady", "churner"] | None = None
    """How the tutor behaves over time."""
    baseline_sessions_per_week: Annotated[int, Field(ge=0, le=50), WholeNumber] | None = None
    """Usual number of sessions per week; a value outside 5 to 30 causes a warning."""
    created_at: PastTime | None = None
    """When the record was created in the source system."""
    updated_at: PastTime | None = None
    """When the record last changed in the source system; of two records with the same key the later one wins."""


class StudentRecord(Record):
    """A student."""

    student_id: Identifier
    """Unique ID of the student (the key)."""
    name: Name
    """Full name; empty in a placeholder for a student whose record has not arrived yet."""
    age: Annotated[int, Field(ge=3, le=120), WholeNumber] | None = None
    """In years."""
    grade_level: Text50 | None = None
    """Class or year at school."""
    subjects_interested: Annotated[list[Text100], Field(max_length=50)] | None = None
    """Subjects the student wants to learn."""
    created_at: PastTime | None = None
    """When the record was created in the source system."""
    updated_at: PastTime | None = None
    """When the record last changed in the source system; of two records with the same key the later one wins."""


class SessionRecord(Record):
    """A tutoring session, scheduled or past."""

    # A field that a rule compares with others stands after them.
    session_id: Identifier
    """Unique ID of the session (the key)."""
    tutor_id: Identifier
    """The tutor; the session waits until a tutor with this key exists."""
    student_id: Identifier
    """The student; the session waits until a student with this key exists."""
    scheduled_start: Time
    """Scheduled start, at most 30 days in the future; stored with the offset it was sent with."""
    duration_minutes: Annotated[int, Field(ge=0, le=300), WholeNumber]
    """Scheduled duration; a value other than 30, 45, 60 or 90 causes a warning."""
    subject: SubjectName
    """Subject taught; one that is not in the catalogue causes a warning."""
    session_number: Annotated[int, Field(ge=1, le=2**31 - 1), WholeNumber] | None = None
    """Number of the session among those of this tutor with this student, from 1."""
    is_first_session: Flag = False
    """First session of this tutor with this student; default: false."""
    no_show: Flag = False
    """The student did not come and the session did not start; default: false."""
    actual_start: PastTime | None = None
    """Actual start; must be absent if `no_show` is true."""
    actual_end: PastTime | None = None
    """Actual end; after `actual_start`."""
    session_type: Annotated[Literal["1-on-1", "group", "workshop"] | None, default_for_null("1-on-1")] = "1-on-1"
    """Default: 1-on-1."""
    tutor_initiated_reschedule: Flag = False
    """The tutor rescheduled it; default: false."""
    late_start_minutes: Annotated[int, Field(ge=0, le=60), WholeNumber] | None = None
    """Minutes it started late; at most `duration_minutes`."""
    engagement_score: Annotated[float, Field(ge=0, le=1)] | None = None
    """Participation of the student, from 0 (none) to 1 (full)."""
    learning_objectives_met: bool | None = None
    """Whether the learning objectives were met."""
    technical_issues: Flag = False
    """Whether there were technical problems; default: false."""
    created_at: PastTime | None = None
    """When the record was created in the source system."""
    updated_at: PastTime | None = None
    """When the record last changed in the source system; of two records with the same key the later one wins."""

    @field_validator("scheduled_start")
    @classmethod
    def _bookable(cls, start: datetime, info: ValidationInfo) -> datetime:
        return not_after(start, MAX_BOOKING_LEAD, info, "must not be more than 30 days in the future")

    @field_validator("actual_start")
    @classmethod
    def _no_start_when_no_show(cls, start: datetime | None, info: ValidationInfo) -> datetime | None:
        if start is not None and info.data.get("no_show"):
            raise PydanticCustomError("no_show", "must be absent when no_show is true")
        return start

    @field_validator("actual_end")
    @classmethod
    def _ends_after_start(cls, end: datetime | None, info: ValidationInfo) -> datetime | None:
        start = info.data.get("actual_start")
        if end is not None and start is not None and end <= start:
            raise PydanticCustomError("order", "must be after actual_start")
        return end

    @field_validator("late_start_minutes")
    @classmethod
    def _late_within_duration(cls, late: int | None, info: ValidationInfo) -> int | None:
        if late is not None and late > info.data.get("duration_minutes", late):
            raise PydanticCustomError("late", "must not exceed duration_minutes")
        return late


class FeedbackRecord(Record):
    """A student's feedback on a session."""

    feedback_id: Identifier
    """Unique ID of the feedback (the key)."""
    session_id: Identifier
    """The session; the feedback waits until a session with this key exists."""
    student_id: Identifier
    """The student; a student other than that of the session causes a warning."""
    tutor_id: Identifier
    """The tutor; a tutor other than that of the session causes a warning."""
    overall_rating: Rating
    """From 1 (poor) to 5 (excellent)."""
    submitted_at: PastTime
    """When the feedback was submitted."""
    session_scheduled_start: Time | None = None
    """Scheduled start of the session, if it differs from that of the session record."""
    subject_knowledge_rating: Rating | None = None
    """Knowledge of the subject, from 1 to 5."""
    communication_rating: Rating | None = None
    """Clarity of communication, from 1 to 5."""
    patience_rating: Rating | None = None
    """Patience, from 1 to 5."""
    engagement_rating: Rating | None = None
    """How engaging the session was, from 1 to 5."""
    helpfulness_rating: Rating | None = None
    """How helpful the session was, from 1 to 5."""
    is_first_session: Flag = False
    """Feedback on the first session with this tutor; default: false."""
    free_text_feedback: Annotated[str, Field(max_length=5000), StorableText, Stripped] | None = None
    """Comment in the student's own words."""
    would_recommend: Annotated[bool | None, Field(validate_default=True)] = None
    """Whether the student would recommend the tutor; required if `is_first_session` is true."""
    improvement_areas: Annotated[list[Text100], Field(max_length=10)] | None = None
    """Suggested improvements."""
    created_at: PastTime | None = None
    """When the record was created in the source system."""

    @field_validator("would_recommend")
    @classmethod
    def _required_after_the_first_session(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        if value is None and info.data.get("is_first_session"):
            raise PydanticCustomError("required", "is required when is_first_session is true")
        return value

"""The four kinds of record as clients send them, and what is an error in them."""

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
    Text50,
    Text100,
    Text255,
    Time,
    WholeNumber,
    default_for_null,
    not_after,
)

MAX_BOOKING_LEAD = timedelta(days=30)


Name = Annotated[str, Field(min_length=1, max_length=255), StorableText]
SubjectName = Annotated[str, Field(min_length=1, max_length=100), StorableText]
Rating = Annotated[int, Field(ge=1, le=5), WholeNumber]


class TutorRecord(Record):
    """A tutor. `tenure_days` is derived: what is sent as it is ignored."""

    tutor_id: Identifier
    """Names the tutor: the key."""
    name: Name
    """Full name."""
    email: Email
    """An e-mail address."""
    subjects: Annotated[list[SubjectName], Field(min_length=1, max_length=10)]
    """What the tutor teaches; a subject that is not in the catalogue is a warning."""
    onboarding_date: PastTime
    """When the tutor began: tenure is counted from here."""
    status: Annotated[Literal["active", "inactive", "suspended", "churned"] | None, default_for_null("active")] = (
        "active"
    )
    """Absent is active."""
    age: Annotated[int, Field(ge=18, le=100), WholeNumber] | None = None
    """In years; outside 22 to 65 is a warning."""
    location: Text255 | None = None
    """Where the tutor works."""
    education_level: Text100 | None = None
    """The highest degree."""
    subject_type: Literal["STEM", "Language", "TestPrep"] | None = None
    """The group that the subjects belong to."""
    behavioral_archetype: Literal["high_performer", "at_risk", "new_tutor", "steady", "churner"] | None = None
    """What the tutor is like over time."""
    baseline_sessions_per_week: Annotated[int, Field(ge=0, le=50), WholeNumber] | None = None
    """What is usual for the tutor; outside 5 to 30 is a warning."""
    created_at: PastTime | None = None
    """When the record was made in the system it comes from."""
    updated_at: PastTime | None = None
    """When the record last changed there: of two records with one key the one with the later time stays."""


class StudentRecord(Record):
    """A student."""

    student_id: Identifier
    """Names the student: the key."""
    name: Name
    """Full name; empty in a row that stands in for a student whose record has not arrived."""
    age: Annotated[int, Field(ge=3, le=120), WholeNumber] | None = None
    """In years."""
    grade_level: Text50 | None = None
    """The class or year at school."""
    subjects_interested: Annotated[list[Text100], Field(max_length=50)] | None = None
    """What the student wants to learn."""
    created_at: PastTime | None = None
    """When the record was made in the system it comes from."""
    updated_at: PastTime | None = None
    """When the record last changed there: of two records with one key the one with the later time stays."""


class SessionRecord(Record):
    """A tutoring session, scheduled or held."""

    # A field that a rule compares with others stands after them.
    session_id: Identifier
    """Names the session: the key."""
    tutor_id: Identifier
    """The tutor; the session waits until there is one with this key."""
    student_id: Identifier
    """The student; the session waits until there is one with this key."""
    scheduled_start: Time
    """When it is to begin, at most 30 days ahead; rows keep the offset it was sent with."""
    duration_minutes: Annotated[int, Field(ge=0, le=300), WholeNumber]
    """How long it is to last; other than 30, 45, 60 or 90 is a warning."""
    subject: SubjectName
    """What is taught; a subject that is not in the catalogue is a warning."""
    session_number: Annotated[int, Field(ge=1, le=2**31 - 1), WholeNumber] | None = None
    """Which of the sessions of this tutor with this student it is, from 1."""
    is_first_session: Flag = False
    """The first of this tutor with this student; absent is false."""
    no_show: Flag = False
    """The student did not come, so that nothing began; absent is false."""
    actual_start: PastTime | None = None
    """When it began; absent when `no_show`."""
    actual_end: PastTime | None = None
    """When it ended: after `actual_start`."""
    session_type: Annotated[Literal["1-on-1", "group", "workshop"] | None, default_for_null("1-on-1")] = "1-on-1"
    """Absent is 1-on-1."""
    tutor_initiated_reschedule: Flag = False
    """The tutor moved it; absent is false."""
    late_start_minutes: Annotated[int, Field(ge=0, le=60), WholeNumber] | None = None
    """How late it began; not more than `duration_minutes`."""
    engagement_score: Annotated[float, Field(ge=0, le=1)] | None = None
    """How much the student took part: 0 not at all, 1 fully."""
    learning_objectives_met: bool | None = None
    """Whether what was planned was learnt."""
    technical_issues: Flag = False
    """Whether technology got in the way; absent is false."""
    created_at: PastTime | None = None
    """When the record was made in the system it comes from."""
    updated_at: PastTime | None = None
    """When the record last changed there: of two records with one key the one with the later time stays."""

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
    """What a student says of a session."""

    feedback_id: Identifier
    """Names the feedback: the key."""
    session_id: Identifier
    """What it is about; the feedback waits until there is a session with this key."""
    student_id: Identifier
    """Who gives it; not the session's student is a warning."""
    tutor_id: Identifier
    """Whom it is about; not the session's tutor is a warning."""
    overall_rating: Rating
    """From 1 (poor) to 5 (excellent)."""
    submitted_at: PastTime
    """When it was given."""
    session_scheduled_start: Time | None = None
    """When the session was to begin, where this is not what the session itself says."""
    subject_knowledge_rating: Rating | None = None
    """Of the tutor's knowledge, from 1 to 5."""
    communication_rating: Rating | None = None
    """Of how things were explained, from 1 to 5."""
    patience_rating: Rating | None = None
    """Of the tutor's patience, from 1 to 5."""
    engagement_rating: Rating | None = None
    """Of how engaging it was, from 1 to 5."""
    helpfulness_rating: Rating | None = None
    """Of how much it helped, from 1 to 5."""
    is_first_session: Flag = False
    """About the first session with this tutor; absent is false."""
    free_text_feedback: Annotated[str, Field(max_length=5000), StorableText] | None = None
    """In the student's own words."""
    would_recommend: Annotated[bool | None, Field(validate_default=True)] = None
    """Whether the student would recommend the tutor; required when `is_first_session`."""
    improvement_areas: Annotated[list[Text100], Field(max_length=10)] | None = None
    """What could be better."""
    created_at: PastTime | None = None
    """When the record was made in the system it comes from."""

    @field_validator("would_recommend")
    @classmethod
    def _required_after_the_first_session(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        if value is None and info.data.get("is_first_session"):
            raise PydanticCustomError("required", "is required when is_first_session is true")
        return value

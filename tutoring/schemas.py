"""The four kinds of record as clients send them, and what is an error in them."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from ingestion.fields import Identifier, PastTime, Plain, Record, Time, Whole, not_after

BOOKABLE_AHEAD = timedelta(days=30)


def _email(value: str) -> str:
    try:
        validate_email(value)
    except ValidationError:
        raise PydanticCustomError("email", "must be a valid e-mail address") from None
    return value


def _or_false(value: bool | None) -> bool:
    return value is True


def _or(default: str) -> AfterValidator:
    return AfterValidator(lambda value: default if value is None else value)


Text50 = Annotated[str, Field(max_length=50), Plain]
Text100 = Annotated[str, Field(max_length=100), Plain]
Text255 = Annotated[str, Field(max_length=255), Plain]
Name = Annotated[str, Field(min_length=1, max_length=255), Plain]
SubjectName = Annotated[str, Field(min_length=1, max_length=100), Plain]
Flag = Annotated[bool | None, AfterValidator(_or_false)]
"""True or false; absent and null are false."""
Rating = Annotated[int, Field(ge=1, le=5), Whole]


class TutorRecord(Record):
    """A tutor. `tenure_days` may be sent and is ignored: it is derived."""

    tutor_id: Identifier
    name: Name
    email: Annotated[str, Field(max_length=254), AfterValidator(_email)]
    subjects: Annotated[list[SubjectName], Field(min_length=1, max_length=10)]
    onboarding_date: PastTime
    status: Annotated[Literal["active", "inactive", "suspended", "churned"] | None, _or("active")] = "active"
    age: Annotated[int, Field(ge=18, le=100), Whole] | None = None
    location: Text255 | None = None
    education_level: Text100 | None = None
    subject_type: Literal["STEM", "Language", "TestPrep"] | None = None
    behavioral_archetype: Literal["high_performer", "at_risk", "new_tutor", "steady", "churner"] | None = None
    baseline_sessions_per_week: Annotated[int, Field(ge=0, le=50), Whole] | None = None
    created_at: PastTime | None = None
    updated_at: PastTime | None = None


class StudentRecord(Record):
    """A student."""

    student_id: Identifier
    name: Name
    age: Annotated[int, Field(ge=3, le=120), Whole] | None = None
    grade_level: Text50 | None = None
    subjects_interested: Annotated[list[Text100], Field(max_length=50)] | None = None
    created_at: PastTime | None = None
    updated_at: PastTime | None = None


class SessionRecord(Record):
    """A tutoring session, scheduled or held. A field that a rule compares with others stands after them."""

    session_id: Identifier
    tutor_id: Identifier
    student_id: Identifier
    scheduled_start: Time
    duration_minutes: Annotated[int, Field(ge=0, le=300), Whole]
    subject: SubjectName
    session_number: Annotated[int, Field(ge=1, le=2**31 - 1), Whole] | None = None
    is_first_session: Flag = False
    no_show: Flag = False
    actual_start: PastTime | None = None
    actual_end: PastTime | None = None
    session_type: Annotated[Literal["1-on-1", "group", "workshop"] | None, _or("1-on-1")] = "1-on-1"
    tutor_initiated_reschedule: Flag = False
    late_start_minutes: Annotated[int, Field(ge=0, le=60), Whole] | None = None
    engagement_score: Annotated[float, Field(ge=0, le=1)] | None = None
    learning_objectives_met: bool | None = None
    technical_issues: Flag = False
    created_at: PastTime | None = None
    updated_at: PastTime | None = None

    @field_validator("scheduled_start")
    @classmethod
    def _bookable(cls, start: datetime, info: ValidationInfo) -> datetime:
        return not_after(start, BOOKABLE_AHEAD, info, "must not lie more than 30 days ahead")

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
    session_id: Identifier
    student_id: Identifier
    tutor_id: Identifier
    overall_rating: Rating
    submitted_at: PastTime
    session_scheduled_start: Time | None = None
    subject_knowledge_rating: Rating | None = None
    communication_rating: Rating | None = None
    patience_rating: Rating | None = None
    engagement_rating: Rating | None = None
    helpfulness_rating: Rating | None = None
    is_first_session: Flag = False
    free_text_feedback: Annotated[str, Field(max_length=5000), Plain] | None = None
    would_recommend: Annotated[bool | None, Field(validate_default=True)] = None
    improvement_areas: Annotated[list[Text100], Field(max_length=10)] | None = None
    created_at: PastTime | None = None

    @field_validator("would_recommend")
    @classmethod
    def _required_after_the_first_session(cls, value: bool | None, info: ValidationInfo) -> bool | None:
        if value is None and info.data.get("is_first_session"):
            raise PydanticCustomError("missing", "is required when is_first_session is true")
        return value

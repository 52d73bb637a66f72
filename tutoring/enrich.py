"""The 17 derived fields and the warnings, as pure functions of a record and its context.

Where an input is missing the derived field is None. Plain strings, not members of TextChoices: psycopg would write the
names of those.
"""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from operator import attrgetter
from typing import Any

from django.utils import timezone

from ingestion.streams import Context
from tutoring.models import RATINGS, Experience, TimeOfDay
from tutoring.schemas import FeedbackRecord, SessionRecord, StudentRecord, TutorRecord

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
USUAL_DURATIONS = (30, 45, 60, 90)


def enrich_tutor(tutor: TutorRecord, context: Context) -> dict[str, Any]:
    tenure = max(0, (context.now - tutor.onboarding_date).days)
    today = context.today
    return {
        "tenure_days": tenure,
        "is_new_tutor": tenure < 30,
        "experience_level": experience_level(tenure),
        "subject_count": len(tutor.subjects),
        "is_active_today": tutor.updated_at and is_on(today, tutor.updated_at),
        "derived_on": today,
    }


def is_on(day: date, moment: datetime) -> bool:
    """By the clock of TIME_ZONE, which is asked only where the day is near."""
    return abs(moment.toordinal() - day.toordinal()) <= 2 and timezone.localdate(moment) == day


def experience_level(tenure_days: int) -> str:
    if tenure_days < 90:
        return Experience.JUNIOR.value
    return Experience.MID.value if tenure_days <= 365 else Experience.SENIOR.value


def enrich_student(student: StudentRecord, context: Context) -> dict[str, Any]:
    return {"is_stub": not student.name}  # so that a stub that is enriched again stays one; no record has an empty name


def enrich_session(session: SessionRecord, context: Context) -> dict[str, Any]:
    start = session.scheduled_start  # in its own offset: the wall clock of those who met
    late = session.late_start_minutes
    return {
        "scheduled_offset": (start.utcoffset() or timedelta(0)) // MINUTE,
        "is_weekend": start.isoweekday() >= 6,
        "time_of_day": time_of_day(start.hour),
        "is_late_start": None if late is None else late > 5,
        "actual_duration_minutes": actual_duration_minutes(session),
        "week_of_year": start.isocalendar().week,
        "month_of_year": start.month,
    }


MORNING, AFTERNOON, EVENING, NIGHT = (str(part.value) for part in TimeOfDay)
"""As plain strings, at once: the value of a member takes as long as the rest of the function."""


def time_of_day(hour: int) -> str:
    if 5 <= hour <= 11:
        return MORNING
    if 12 <= hour <= 16:
        return AFTERNOON
    return EVENING if 17 <= hour <= 21 else NIGHT


def actual_duration_minutes(session: SessionRecord) -> int | None:
    if session.actual_start is None:
        return None
    if session.actual_end is None:
        return session.duration_minutes
    return (session.actual_end - session.actual_start) // MINUTE


def enrich_feedback(feedback: FeedbackRecord, context: Context) -> dict[str, Any]:
    ratings = category_ratings(feedback)
    start = session_start(feedback, context)
    return {
        "is_positive": feedback.overall_rating >= 4,
        "is_poor": feedback.overall_rating < 3,
        "avg_category_rating": round(sum(ratings) / len(ratings), 2) if ratings else None,
        "category_variance": round(variance(ratings), 2) if ratings else None,
        "has_text_feedback": bool(text_of(feedback)),
        "feedback_delay_hours": start and round((feedback.submitted_at - start) / HOUR, 2),
        "session_start_used": start,
    }


_ratings = attrgetter(*RATINGS)


def category_ratings(feedback: FeedbackRecord) -> list[int]:
    return [rating for rating in _ratings(feedback) if rating is not None]


def variance(values: list[int]) -> float:
    """Of the population; in whole numbers up to the one division, so that rounding is exact."""
    n = len(values)
    return (n * sum([value * value for value in values]) - sum(values) ** 2) / (n * n)


def text_of(feedback: FeedbackRecord) -> str:
    return (feedback.free_text_feedback or "").strip()


def session_of(feedback: FeedbackRecord, context: Context) -> Mapping[str, Any] | None:
    return context.rows.get(("sessions", feedback.session_id))


def session_start(feedback: FeedbackRecord, context: Context) -> datetime | None:
    """The start sent with the feedback, or else that of the session's row."""
    if feedback.session_scheduled_start is not None:
        return feedback.session_scheduled_start
    session = session_of(feedback, context)
    return None if session is None else session["scheduled_start"]


# Warnings: the record is stored nevertheless. Each begins with the name of its field.


def warn_tutor(tutor: TutorRecord, context: Context) -> list[str]:
    return list(_tutor_warnings(tutor, context))


def _tutor_warnings(tutor: TutorRecord, context: Context) -> Iterator[str]:
    if tutor.age is not None and not 22 <= tutor.age <= 65:
        yield f"age {tutor.age} is outside the usual range of 22 to 65"
    baseline = tutor.baseline_sessions_per_week
    if baseline is not None and not 5 <= baseline <= 30:
        yield f"baseline_sessions_per_week {baseline} is outside the usual range of 5 to 30"
    for subject in tutor.subjects:
        if subject not in context.facts["subjects"]:
            yield f"subjects contains {subject!r}, which is not in the catalogue"
    if tutor.created_at is not None and tutor.created_at < tutor.onboarding_date:
        yield "created_at is before onboarding_date"


def warn_session(session: SessionRecord, context: Context) -> list[str]:
    found = []
    if session.duration_minutes not in USUAL_DURATIONS:
        found.append(f"duration_minutes {session.duration_minutes} is unusual (usual: 30, 45, 60, 90)")
    if session.subject not in context.facts["subjects"]:
        found.append(f"subject {session.subject!r} is not in the catalogue")
    if session.is_first_session and session.session_number not in (None, 1):
        found.append(f"session_number is {session.session_number} although is_first_session is true")
    return found + _attendance_warnings(session, context)


def _attendance_warnings(session: SessionRecord, context: Context) -> list[str]:
    start, planned = session.actual_start, session.scheduled_start
    if session.no_show:
        if session.engagement_score is not None and session.engagement_score > 0.1:
            return [f"engagement_score is {session.engagement_score} although no_show is true"]
    elif start is None:
        if planned <= context.now:  # a session in the future has not taken place yet
            return ["actual_start is missing for a session that took place"]
    elif abs(start - planned) > ((session.late_start_minutes or 0) + 5) * MINUTE:
        return ["actual_start differs from scheduled_start by more than late_start_minutes plus 5 minutes"]
    return []


def warn_feedback(feedback: FeedbackRecord, context: Context) -> list[str]:
    found = _rating_warnings(feedback)
    start = session_start(feedback, context)
    if start is not None and feedback.submitted_at < start:
        found.append("submitted_at is before the start of the session")
    session = session_of(feedback, context)
    if session is not None:
        if feedback.tutor_id != session["tutor_id"]:
            found.append("tutor_id differs from that of the session")
        if feedback.student_id != session["student_id"]:
            found.append("student_id differs from that of the session")
    return found


def _rating_warnings(feedback: FeedbackRecord) -> list[str]:
    found = []
    overall, ratings = feedback.overall_rating, category_ratings(feedback)
    if ratings and 2 * abs(overall * len(ratings) - sum(ratings)) > 3 * len(ratings):  # more than 1.5, in whole numbers
        found.append("overall_rating differs by more than 1.5 from the mean of the category ratings")
    if overall <= 2 and len(text_of(feedback)) < 10:
        found.append(f"free_text_feedback has fewer than 10 characters for a rating of {overall}")
    if feedback.is_first_session and overall <= 3 and not feedback.improvement_areas:
        found.append(f"improvement_areas is missing for a first session rated {overall}")
    if (feedback.would_recommend is True and overall < 3) or (feedback.would_recommend is False and overall >= 4):
        found.append(f"would_recommend contradicts a rating of {overall}")
    return found

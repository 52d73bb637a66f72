"""Numbers over time, of a tutor or a student: each a constant number of queries over their own rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django.db.models import Avg, Count, Max, Q, QuerySet, Sum
from django.db.models.functions import TruncWeek
from django.utils import timezone

from console.stored.page import latest
from tutoring.models import Feedback, Student, Tutor, TutoringSession

WEEKS = 26
MOST_LISTED = 10
MOST_TEXTS = 5
WEEK = timedelta(weeks=1)


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Of a time that has passed. Minutes are those that were held; late is counted where it is known."""

    all: int = 0
    late: int = 0
    timed: int = 0
    no_show: int = 0
    rescheduled: int = 0
    minutes: int = 0

    @property
    def hours(self) -> float:
        return round(self.minutes / 60, 1)

    @property
    def late_percent(self) -> float | None:
        return percent(self.late, self.timed)

    @property
    def no_show_percent(self) -> float | None:
        return percent(self.no_show, self.all)


@dataclass(frozen=True, kw_only=True)
class Ratings:
    all: int = 0
    stars: int = 0
    positive: int = 0
    poor: int = 0

    @property
    def mean(self) -> float | None:
        return round(self.stars / self.all, 2) if self.all else None


@dataclass(frozen=True, kw_only=True)
class OfTutor:
    sessions: Sessions
    upcoming: int
    ratings: Ratings
    weeks: list[date]
    """Mondays, in TIME_ZONE: the last ones up to the last with a session or feedback."""
    by_week: list[Sessions]
    ratings_by_week: list[Ratings]
    texts: Sequence[Feedback]


def percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def of_tutor(tutor: Tutor) -> OfTutor:
    """In four queries."""
    sessions = sessions_by_week(tutor.sessions.filter(scheduled_start__lte=timezone.now()))
    ratings = ratings_by_week(tutor.feedback.all())
    weeks = last_weeks([*sessions, *ratings])
    return OfTutor(
        sessions=summed(Sessions, list(sessions.values())),
        upcoming=tutor.sessions.filter(scheduled_start__gt=timezone.now()).count(),
        ratings=summed(Ratings, list(ratings.values())),
        weeks=weeks,
        by_week=[sessions.get(week, Sessions()) for week in weeks],
        ratings_by_week=[ratings.get(week, Ratings()) for week in weeks],
        texts=latest(tutor.feedback.filter(has_text_feedback=True), "submitted_at", MOST_TEXTS),
    )


COUNTED = {
    "all": Count("pk"),
    "late": Count("pk", filter=Q(is_late_start=True)),
    "timed": Count("pk", filter=Q(is_late_start__isnull=False)),
    "no_show": Count("pk", filter=Q(no_show=True)),
    "rescheduled": Count("pk", filter=Q(tutor_initiated_reschedule=True)),
    "minutes": Sum("actual_duration_minutes", default=0),
}


def sessions_by_week(rows: QuerySet[TutoringSession]) -> dict[date, Sessions]:
    """The week's Monday → its numbers."""
    return {week: Sessions(**numbers) for week, numbers in by_week(rows, "scheduled_start", COUNTED).items()}


RATED = {
    "all": Count("pk"),
    "stars": Sum("overall_rating"),
    "positive": Count("pk", filter=Q(is_positive=True)),
    "poor": Count("pk", filter=Q(is_poor=True)),
}


def ratings_by_week(rows: QuerySet[Feedback]) -> dict[date, Ratings]:
    return {week: Ratings(**numbers) for week, numbers in by_week(rows, "submitted_at", RATED).items()}


def by_week(rows: QuerySet[Any], time: str, numbers: Mapping[str, Any]) -> dict[date, dict[str, int]]:
    """In one query, however many weeks."""
    weeks = rows.order_by().values(week=TruncWeek(time)).annotate(**_prefixed(numbers))
    found = weeks.values_list("week", *_prefixed(numbers))
    return {monday.date(): dict(zip(numbers, counted, strict=True)) for monday, *counted in found}


def _prefixed(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Under names that are no fields."""
    return {f"n_{name}": number for name, number in numbers.items()}


def last_weeks(found: Sequence[date]) -> list[date]:
    """The Mondays up to the last of these, without a gap; none where there are none."""
    if not found:
        return []
    first = max(min(found), max(found) - (WEEKS - 1) * WEEK)
    return [first + number * WEEK for number in range((max(found) - first) // WEEK + 1)]


def summed(kind: Any, numbers: Sequence[Any]) -> Any:
    names = kind.__dataclass_fields__
    return kind(**{name: sum(getattr(each, name) for each in numbers) for name in names})


@dataclass(frozen=True, kw_only=True)
class TutorOf:
    """A tutor that a student had."""

    tutor_id: str
    name: str
    sessions: int
    last: Any


@dataclass(frozen=True, kw_only=True)
class OfStudent:
    sessions: Sessions
    upcoming: int
    last_sessions: Sequence[TutoringSession]
    tutors: list[TutorOf]
    feedback: int
    mean_rating: float | None
    last_feedback: Sequence[Feedback]


def of_student(student: Student) -> OfStudent:
    """In six queries."""
    past = student.sessions.filter(scheduled_start__lte=timezone.now())
    given = student.feedback.aggregate(number=Count("pk"), mean=Avg("overall_rating"))
    return OfStudent(
        sessions=Sessions(**past.aggregate(**COUNTED)),
        upcoming=student.sessions.filter(scheduled_start__gt=timezone.now()).count(),
        last_sessions=latest(student.sessions.select_related("tutor"), "scheduled_start", MOST_LISTED),
        tutors=tutors_of(student),
        feedback=given["number"],
        mean_rating=given["mean"] and round(given["mean"], 2),
        last_feedback=latest(student.feedback.all(), "submitted_at", MOST_TEXTS),
    )


def tutors_of(student: Student) -> list[TutorOf]:
    """Those with most sessions, first."""
    rows = student.sessions.order_by().values("tutor_id", "tutor__name")
    rows = rows.annotate(number=Count("pk"), last=Max("scheduled_start")).order_by("-number", "tutor_id")
    return [
        TutorOf(tutor_id=row["tutor_id"], name=row["tutor__name"], sessions=row["number"], last=row["last"])
        for row in rows[:MOST_LISTED]
    ]

"""Numbers of a tutor or a student: each in a constant number of queries over their own rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from django.db.models import Avg, Count, Max, Q, QuerySet, Sum
from django.utils import timezone

from console.stored.page import latest
from console.stored.weekly import by_week, last_weeks, percent, total
from tutoring.models import Feedback, Student, Tutor, TutoringSession

MAX_ROWS = 10
MAX_COMMENTS = 5


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Numbers of past sessions. `minutes` are those taught; `late` is out of `timed`, where the start is known."""

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
class TutorStats:
    sessions: Sessions
    upcoming: int
    ratings: Ratings
    weeks: list[date]
    """Mondays, in TIME_ZONE, up to the last week with a session or feedback."""
    by_week: list[Sessions]
    ratings_by_week: list[Ratings]
    comments: Sequence[Feedback]


def tutor_stats(tutor: Tutor) -> TutorStats:
    """In four queries."""
    sessions = sessions_by_week(tutor.sessions.filter(scheduled_start__lte=timezone.now()))
    ratings = ratings_by_week(tutor.feedback.all())
    weeks = last_weeks([*sessions, *ratings])
    return TutorStats(
        sessions=total(Sessions, list(sessions.values())),
        upcoming=tutor.sessions.filter(scheduled_start__gt=timezone.now()).count(),
        ratings=total(Ratings, list(ratings.values())),
        weeks=weeks,
        by_week=[sessions.get(week, Sessions()) for week in weeks],
        ratings_by_week=[ratings.get(week, Ratings()) for week in weeks],
        comments=latest(tutor.feedback.filter(has_text_feedback=True), "submitted_at", MAX_COMMENTS),
    )


SESSION_COUNTS = {
    "all": Count("pk"),
    "late": Count("pk", filter=Q(is_late_start=True)),
    "timed": Count("pk", filter=Q(is_late_start__isnull=False)),
    "no_show": Count("pk", filter=Q(no_show=True)),
    "rescheduled": Count("pk", filter=Q(tutor_initiated_reschedule=True)),
    "minutes": Sum("actual_duration_minutes", default=0),
}


def sessions_by_week(rows: QuerySet[TutoringSession]) -> dict[date, Sessions]:
    """The week's Monday → its numbers."""
    return {week: Sessions(**numbers) for week, numbers in by_week(rows, "scheduled_start", SESSION_COUNTS).items()}


RATING_COUNTS = {
    "all": Count("pk"),
    "stars": Sum("overall_rating"),
    "positive": Count("pk", filter=Q(is_positive=True)),
    "poor": Count("pk", filter=Q(is_poor=True)),
}


def ratings_by_week(rows: QuerySet[Feedback]) -> dict[date, Ratings]:
    return {week: Ratings(**numbers) for week, numbers in by_week(rows, "submitted_at", RATING_COUNTS).items()}


@dataclass(frozen=True, kw_only=True)
class StudentTutor:
    """A tutor of a student."""

    tutor_id: str
    name: str
    sessions: int
    last: datetime


@dataclass(frozen=True, kw_only=True)
class StudentStats:
    sessions: Sessions
    upcoming: int
    last_sessions: Sequence[TutoringSession]
    tutors: list[StudentTutor]
    feedback: int
    mean_rating: float | None
    last_feedback: Sequence[Feedback]


def student_stats(student: Student) -> StudentStats:
    """In six queries."""
    past = student.sessions.filter(scheduled_start__lte=timezone.now())
    given = student.feedback.aggregate(number=Count("pk"), mean=Avg("overall_rating"))
    return StudentStats(
        sessions=Sessions(**past.aggregate(**SESSION_COUNTS)),
        upcoming=student.sessions.filter(scheduled_start__gt=timezone.now()).count(),
        last_sessions=latest(student.sessions.select_related("tutor"), "scheduled_start", MAX_ROWS),
        tutors=student_tutors(student),
        feedback=given["number"],
        mean_rating=given["mean"] and round(given["mean"], 2),
        last_feedback=latest(student.feedback.all(), "submitted_at", MAX_COMMENTS),
    )


def student_tutors(student: Student) -> list[StudentTutor]:
    """Those with the most sessions first."""
    rows = student.sessions.order_by().values("tutor_id", "tutor__name")
    rows = rows.annotate(number=Count("pk"), last=Max("scheduled_start")).order_by("-number", "tutor_id")
    return [
        StudentTutor(tutor_id=row["tutor_id"], name=row["tutor__name"], sessions=row["number"], last=row["last"])
        for row in rows[:MAX_ROWS]
    ]

"""A tutor's numbers as tiles, each a link to its rows, and as charts by week; a student's tiles."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString

from console.charts import Series, bars, line, number, stacked_bars
from console.stored.page import Tile, list_page
from ingestion.text import thousands
from tutoring.models import Feedback, Student, Tutor, TutoringSession
from tutoring.statistics import Sessions, StudentStats, TutorStats


def tiles(request: HttpRequest, tutor: Tutor, numbers: TutorStats) -> list[Tile]:
    def sessions(**filters: Any) -> str:
        return list_page(request, TutoringSession, tutor_id=tutor.pk, **filters)

    past, ratings = numbers.sessions, numbers.ratings
    feedback = list_page(request, Feedback, tutor_id=tutor.pk)
    return [
        Tile(thousands(past.all), "sessions", sessions(), f"{numbers.upcoming:,} upcoming"),
        Tile(number(past.hours), "hours taught", sessions(no_show__exact=0)),
        Tile(
            number(past.late_percent, " %"),
            "late",
            sessions(is_late_start__exact=1),
            f"{past.late:,} of {past.timed:,}",
        ),
        Tile(
            number(past.no_show_percent, " %"),
            "no-show",
            sessions(no_show__exact=1),
            f"{past.no_show:,} of {past.all:,}",
        ),
        Tile(
            thousands(past.rescheduled),
            "rescheduled by the tutor",
            sessions(tutor_initiated_reschedule__exact=1),
            number(_share(past), " % of sessions") if past.all else "",
        ),
        Tile(number(ratings.mean), "average rating", feedback, f"{_entries(ratings.all)}, {ratings.poor:,} poor"),
    ]


def student_tiles(request: HttpRequest, student: Student, numbers: StudentStats) -> list[Tile]:
    def sessions(**filters: Any) -> str:
        return list_page(request, TutoringSession, student_id=student.pk, **filters)

    return [
        Tile(thousands(numbers.sessions.all), "sessions", sessions(), f"{numbers.upcoming:,} upcoming"),
        Tile(number(numbers.sessions.hours), "hours taught", sessions(no_show__exact=0)),
        Tile(thousands(numbers.sessions.no_show), "no-show", sessions(no_show__exact=1)),
        Tile(
            number(numbers.mean_rating),
            "average rating given",
            list_page(request, Feedback, student_id=student.pk),
            _entries(numbers.feedback),
        ),
    ]


def _entries(count: int) -> str:
    return f"{count:,} {'entry' if count == 1 else 'entries'}"


def _share(sessions: Sessions) -> float | None:
    return round(100 * sessions.rescheduled / sessions.all, 1) if sessions.all else None


def charts(numbers: TutorStats) -> list[SafeString]:
    """Of the last weeks; each is labelled with its Monday."""
    labels = [week.isoformat() for week in numbers.weeks]
    weeks, ratings = numbers.by_week, numbers.ratings_by_week
    on_time = Series("on time", "inserted", [week.all - week.late - week.no_show for week in weeks])
    late = Series("late", "waiting", [week.late for week in weeks])
    no_show = Series("no-show", "dead", [week.no_show for week in weeks])
    return [
        stacked_bars(labels, [on_time, late, no_show], title="Sessions per week", empty="No sessions yet."),
        bars(labels, [week.hours for week in weeks], title="Hours per week", unit=" h", empty="No sessions yet."),
        line(
            labels,
            [
                Series("late", "waiting", [week.late_percent for week in weeks]),
                Series("no-show", "dead", [week.no_show_percent for week in weeks]),
            ],
            title="Late and no-show",
            note="% of sessions per week",
            unit=" %",
            empty="No sessions yet.",
        ),
        bars(
            labels,
            [week.rescheduled for week in weeks],
            title="Rescheduled by the tutor",
            kind="waiting",
            note="sessions per week",
            empty="None rescheduled.",
        ),
        line(
            labels,
            [Series("average rating", "good", [week.mean for week in ratings])],
            title="Average rating",
            note="per week, 1 to 5",
            minimum=1,
            maximum=5,
            empty="No feedback yet.",
        ),
        stacked_bars(
            labels,
            [
                Series("positive", "good", [week.positive for week in ratings]),
                Series("neutral", "stale", [week.all - week.positive - week.poor for week in ratings]),
                Series("poor", "dead", [week.poor for week in ratings]),
            ],
            title="Feedback per week",
            empty="No feedback yet.",
        ),
    ]

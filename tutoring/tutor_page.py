"""A tutor's numbers as tiles, each a link to its rows, and as charts by week."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.safestring import SafeString

from console.charts import Series, bars, line, number, stacked_bars
from console.stored.page import Tile, list_page
from ingestion.text import thousands
from tutoring.models import Feedback, Tutor, TutoringSession
from tutoring.statistics import OfTutor, Sessions


def tiles(request: HttpRequest, tutor: Tutor, numbers: OfTutor) -> list[Tile]:
    def sessions(**filters: Any) -> str:
        return list_page(request, TutoringSession, tutor_id=tutor.pk, **filters)

    past, ratings = numbers.sessions, numbers.ratings
    feedback = list_page(request, Feedback, tutor_id=tutor.pk)
    return [
        Tile(thousands(past.all), "sessions", sessions(), f"{numbers.upcoming:,} upcoming"),
        Tile(number(past.hours), "hours held", sessions(no_show__exact=0)),
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
            number(_share(past), " % of the sessions") if past.all else "",
        ),
        Tile(number(ratings.mean), "mean rating", feedback, f"{ratings.all:,} feedback, {ratings.poor:,} poor"),
    ]


def _share(sessions: Sessions) -> float | None:
    return round(100 * sessions.rescheduled / sessions.all, 1) if sessions.all else None


def charts(numbers: OfTutor) -> list[SafeString]:
    """Of the last weeks; each is named by its Monday."""
    labels = [week.isoformat() for week in numbers.weeks]
    weeks, ratings = numbers.by_week, numbers.ratings_by_week
    in_time = Series("in time", "inserted", [week.all - week.late - week.no_show for week in weeks])
    late = Series("late", "waiting", [week.late for week in weeks])
    no_show = Series("no-show", "dead", [week.no_show for week in weeks])
    return [
        stacked_bars(labels, [in_time, late, no_show], title="Sessions a week", empty="No session yet."),
        bars(labels, [week.hours for week in weeks], title="Hours held a week", unit=" h", empty="No session yet."),
        line(
            labels,
            [
                Series("late", "waiting", [week.late_percent for week in weeks]),
                Series("no-show", "dead", [week.no_show_percent for week in weeks]),
            ],
            title="Late and no-show",
            told="% of a week's sessions",
            unit=" %",
            empty="No session yet.",
        ),
        bars(
            labels,
            [week.rescheduled for week in weeks],
            title="Rescheduled by the tutor",
            kind="waiting",
            told="sessions a week",
            empty="None was rescheduled.",
        ),
        line(
            labels,
            [Series("mean rating", "good", [week.mean for week in ratings])],
            title="Mean rating",
            told="of the week's feedback, 1 to 5",
            least=1,
            most=5,
            empty="No feedback yet.",
        ),
        stacked_bars(
            labels,
            [
                Series("positive", "good", [week.positive for week in ratings]),
                Series("neither", "stale", [week.all - week.positive - week.poor for week in ratings]),
                Series("poor", "dead", [week.poor for week in ratings]),
            ],
            title="Feedback a week",
            empty="No feedback yet.",
        ),
    ]

"""Filters of the lists of stored records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from console.filters import FieldFilter, HiddenFilter, TimeFilter


class MonthFilter(FieldFilter):
    title = "month of year"
    parameter_name = "month_of_year"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(month), str(month)) for month in range(1, 13)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Starts where the latest of these months ends: else the list would read everything newer first."""
        filtered = super().queryset(request, queryset)
        known = any(self.value() == month for month, _ in self.lookup_choices)
        return filtered.filter(scheduled_start__lt=_end_of_latest(int(self.value() or 0))) if known else filtered


def _end_of_latest(month: int) -> datetime:
    """The end of the latest such month in which a session may be scheduled, in any time zone."""
    furthest = timezone.now() + timedelta(days=32)
    first = datetime(furthest.year - (furthest.month < month), month, 1, tzinfo=UTC)
    return first + timedelta(days=33)


class RatingFilter(FieldFilter):
    title = "overall rating"
    parameter_name = "overall_rating"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(rating), str(rating)) for rating in range(1, 6)]


class ScheduledFilter(TimeFilter):
    title = parameter_name = "scheduled"
    field = "scheduled_start"
    periods: ClassVar[dict[str, tuple[str, int | None, int | None]]] = {
        "upcoming": ("upcoming", None, 366),
        **TimeFilter.periods,
    }


class SubmittedFilter(TimeFilter):
    title = parameter_name = "submitted"
    field = "submitted_at"


class TutorFilter(HiddenFilter):
    title = "tutor"
    parameter_name = "tutor_id"


class StudentFilter(HiddenFilter):
    title = "student"
    parameter_name = "student_id"


class SessionFilter(HiddenFilter):
    title = "session"
    parameter_name = "session_id"

"""Filters of the lists of stored records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from ingestion.admin import FieldFilter, LinkFilter


class WarningsFilter(FieldFilter):
    title = parameter_name = "warnings"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("some", "some"), ("none", "none")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "some":
                return queryset.exclude(warnings=[])
            case "none":
                return queryset.filter(warnings=[])
            case unknown:
                return queryset.none() if unknown else queryset


def flag(field: str, title: str) -> type[FieldFilter]:
    """Yes or no, under a title that says what is meant; links say it as Django's own filter does."""

    def lookups(self: FieldFilter, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "yes"), ("0", "no")]

    return type("FlagFilter", (FieldFilter,), {"title": title, "parameter_name": f"{field}__exact", "lookups": lookups})


class MonthFilter(FieldFilter):
    title = "month of year"
    parameter_name = "month_of_year"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(month), str(month)) for month in range(1, 13)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Begins where the latest of these months ends: the list would come to it through all that is newer."""
        chosen = super().queryset(request, queryset)
        known = any(self.value() == month for month, _ in self.lookup_choices)
        return chosen.filter(scheduled_start__lt=_end_of_latest(int(self.value() or 0))) if known else chosen


def _end_of_latest(month: int) -> datetime:
    """When the latest such month is over that a session may be scheduled in, wherever it is."""
    furthest = timezone.now() + timedelta(days=32)
    first = datetime(furthest.year - (furthest.month < month), month, 1, tzinfo=UTC)
    return first + timedelta(days=33)


class RatingFilter(FieldFilter):
    title = "overall rating"
    parameter_name = "overall_rating"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(rating), str(rating)) for rating in range(1, 6)]


class TimeFilter(FieldFilter):
    """By days of TIME_ZONE: the last ones end now, and count today."""

    field: ClassVar[str]
    choices_of_days: ClassVar[dict[str, tuple[str, int | None, int | None]]] = {
        "today": ("today", 0, 1),
        "7d": ("last 7 days", -6, None),
        "30d": ("last 30 days", -29, None),
        "90d": ("last 90 days", -89, None),
    }
    """value: (title, from, up to: days from today; None is now)"""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, title) for value, (title, _, _) in self.choices_of_days.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        if value not in self.choices_of_days:
            return queryset.none()
        _, first, end = self.choices_of_days[value]
        return queryset.filter(**{f"{self.field}__gte": _day(first), f"{self.field}__lt": _day(end)})


def _day(number: int | None) -> datetime:
    """Its midnight in TIME_ZONE, so many days after today's."""
    now = timezone.localtime()
    if number is None:
        return now
    day = now.date() + timedelta(days=number)
    return timezone.make_aware(datetime(day.year, day.month, day.day))  # noqa: DTZ001 (made aware here)


class ScheduledFilter(TimeFilter):
    title = parameter_name = "scheduled"
    field = "scheduled_start"
    choices_of_days: ClassVar[dict[str, tuple[str, int | None, int | None]]] = {
        "upcoming": ("upcoming", None, 366),
        **TimeFilter.choices_of_days,
    }


class SubmittedFilter(TimeFilter):
    title = parameter_name = "submitted"
    field = "submitted_at"


class TutorFilter(LinkFilter):
    title = "tutor"
    parameter_name = "tutor_id"


class StudentFilter(LinkFilter):
    title = "student"
    parameter_name = "student_id"


class SessionFilter(LinkFilter):
    title = "session"
    parameter_name = "session_id"

"""The kinds of filters of the admin's lists."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from console import senders
from ingestion import streams
from ingestion.models import Delivery, Upload
from ingestion.text import plain

MAX_FILTER_TEXT = 80
"""Characters of a value in the list of filters."""


class FieldFilter(admin.SimpleListFilter):
    """Filters a field by a fixed list of values: Django's own filters read them from the table.

    Any other value matches nothing: an action on all matches must not do more than was asked for.
    """

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        known = any(value == choice for choice, _ in self.lookup_choices)
        return queryset.filter(**{str(self.parameter_name): value}) if known else queryset.none()


class StreamFilter(FieldFilter):
    title = parameter_name = "stream"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in streams.names()]


class HiddenNumberFilter(FieldFilter):
    """A number; shown only where a link has set it."""

    field = ""
    """The column, if its name is not that of the parameter."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = request.GET.get(str(self.parameter_name), "")
        return [(value, f"{self.parameter_name} {value}")] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value() or ""
        return queryset.filter(**self.criteria(value)) if re.fullmatch(r"[0-9]{1,18}", value) else queryset.none()

    def criteria(self, value: str) -> dict[str, Any]:
        return {self.field or str(self.parameter_name): value}


class UploadFilter(HiddenNumberFilter):
    """Also of the parts of a set."""

    title = parameter_name = "upload"

    def criteria(self, value: str) -> dict[str, Any]:
        return {f"{self.field or self.parameter_name}__in": Upload.with_parts(value)}


class StoredByUploadFilter(UploadFilter):
    """Of stored records: those last written by a delivery of the upload."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        deliveries = super().queryset(request, Delivery.objects.all())
        return queryset.filter(delivery__in=deliveries.values("pk"))


class HiddenFilter(admin.SimpleListFilter):
    """A text, shown only where a link has set it."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = request.GET.get(str(self.parameter_name), "")
        return [(value, plain(value)[:MAX_FILTER_TEXT])] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{str(self.parameter_name): self.value()}) if self.value() else queryset


class ClientFilter(HiddenFilter):
    """By name; clients without an API key only where a link has set them."""

    title = "source"
    parameter_name = "client"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        offered = [(client, name[:MAX_FILTER_TEXT]) for client, name in self.offered()]
        value = request.GET.get(str(self.parameter_name), "")
        if not value or any(value == client for client, _ in offered):
            return offered
        return [*offered, (value, senders.key_names([value]).get(value, plain(value))[:MAX_FILTER_TEXT])]

    def offered(self) -> list[tuple[str, str]]:
        return senders.key_choices()


class WarningsFilter(FieldFilter):
    title = parameter_name = "warnings"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("some", "with"), ("none", "without")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "some":
                return queryset.exclude(warnings=[])
            case "none":
                return queryset.filter(warnings=[])
            case unknown:
                return queryset.none() if unknown else queryset


def flag_filter(field: str, title: str) -> type[FieldFilter]:
    """Yes or no, with a title of its own; its links are those of Django's own filter."""

    def lookups(self: FieldFilter, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "yes"), ("0", "no")]

    return type("FlagFilter", (FieldFilter,), {"title": title, "parameter_name": f"{field}__exact", "lookups": lookups})


class TimeFilter(FieldFilter):
    """By days of TIME_ZONE; the last days include today and end now."""

    field: ClassVar[str]
    periods: ClassVar[dict[str, tuple[str, int | None, int | None]]] = {
        "today": ("today", 0, 1),
        "7d": ("last 7 days", -6, None),
        "30d": ("last 30 days", -29, None),
        "90d": ("last 90 days", -89, None),
    }
    """value → (title, first day, end): days from today; None is now"""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(value, title) for value, (title, _, _) in self.periods.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        if value not in self.periods:
            return queryset.none()
        _, first, end = self.periods[value]
        return queryset.filter(**{f"{self.field}__gte": _day(first), f"{self.field}__lt": _day(end)})


def _day(number: int | None) -> datetime:
    """The midnight in TIME_ZONE so many days from today; for None, now."""
    now = timezone.localtime()
    if number is None:
        return now
    day = now.date() + timedelta(days=number)
    return timezone.make_aware(datetime(day.year, day.month, day.day))  # noqa: DTZ001 (made aware here)

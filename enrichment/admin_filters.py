"""The filters of the lists of held records and redrives."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from enrichment.models import HeldRecord, Redrive
from ingestion.admin import FieldFilter, NumberFilter, UploadFilter


class StatusFilter(FieldFilter):
    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(HeldRecord.Status.choices)


class StageFilter(FieldFilter):
    title = parameter_name = "stage"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(HeldRecord.Stage.choices)


class CodeFilter(FieldFilter):
    title = parameter_name = "code"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(HeldRecord.Code.choices)


class AgeFilter(admin.SimpleListFilter):
    title = "held within"
    parameter_name = "age"
    spans = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1h", "the last hour"), ("24h", "the last 24 hours"), ("7d", "the last 7 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        known = str(self.value()) in self.spans
        # An unknown span must not mean all: acts go by the filter.
        return queryset.filter(held_at__gte=held_since(str(self.value()))) if known else queryset.none()


def held_since(span: str) -> str:
    """The time from which on that span counts, in ISO 8601. Raises KeyError for a span that is none of AgeFilter's."""
    return (timezone.now() - AgeFilter.spans[span]).isoformat(timespec="seconds")


class DeliveryFilter(NumberFilter):
    title = parameter_name = "delivery"


class OfUploadFilter(UploadFilter):
    field = "delivery__upload"


class ActFilter(FieldFilter):
    title = parameter_name = "act"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Redrive.Act.choices)

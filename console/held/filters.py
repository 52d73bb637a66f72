"""The filters of the lists of failed records."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from console import senders
from console.filters import ClientFilter, FieldFilter, HiddenFilter, HiddenNumberFilter, UploadFilter
from enrichment.models import HeldRecord


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
    title = "age"
    parameter_name = "age"
    spans = {"1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7)}

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1h", "Last hour"), ("24h", "Last 24 hours"), ("7d", "Last 7 days")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        known = str(self.value()) in self.spans
        # An unknown span must not mean all: bulk actions use the same filter.
        return queryset.filter(held_at__gte=held_since(str(self.value()))) if known else queryset.none()


def held_since(span: str) -> str:
    """The start of one of AgeFilter's spans, in ISO 8601."""
    return (timezone.now() - AgeFilter.spans[span]).isoformat(timespec="seconds")


class DeliveryFilter(HiddenNumberFilter):
    title = parameter_name = "delivery"


class OfUploadFilter(UploadFilter):
    field = "delivery__upload"


class MessageFilter(HiddenFilter):
    title = parameter_name = "message"


class MissingStreamFilter(HiddenFilter):
    title = "stream of the missing record"
    parameter_name = "missing_stream"


class MissingKeyFilter(HiddenFilter):
    title = "missing record"
    parameter_name = "missing_key"


class SenderFilter(ClientFilter):
    """Also users with open records."""

    def offered(self) -> list[tuple[str, str]]:
        return senders.sender_choices()

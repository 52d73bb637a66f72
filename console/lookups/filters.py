"""The filters of the lists of lookups."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from console.filters import FieldFilter, HiddenFilter, UploadFilter
from console.held.filters import AgeFilter, held_since
from enrichment.lookups import providers
from enrichment.lookups.models import Lookup
from ingestion.text import plain


class ProviderFilter(FieldFilter):
    title = parameter_name = "provider"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(provider.name, str(provider)) for provider in providers.all_providers()]


class KindFilter(HiddenFilter):
    """The kinds that providers name; others only where a link has set them."""

    title = parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        asked = request.GET.get("provider", "")
        of = [provider for provider in providers.all_providers() if asked in ("", provider.name)]
        kinds = dict.fromkeys(kind for provider in of for kind in provider.kinds)
        return [(kind, plain(kind)) for kind in kinds] or super().lookups(request, model_admin)


class StatusFilter(FieldFilter):
    title = parameter_name = "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(Lookup.Status.choices)


class HowFilter(HiddenFilter):
    title = "rule"
    parameter_name = "how"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        words: dict[str, str] = {}
        for provider in providers.all_providers():
            if request.GET.get("provider", "") in ("", provider.name):
                words |= provider.rules
        return [(how, words.get(how, text)) for how, text in super().lookups(request, model_admin)]


class TriesFilter(FieldFilter):
    """Failures in a row that were the question's own."""

    title = "failed tries"
    parameter_name = "tries"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(number), f"{number} or more") for number in TRIES]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        known = any(value == str(number) for number in TRIES)
        return queryset.filter(tries__gte=int(value)) if known else queryset.none()


TRIES = (1, 3, 5)


class AskedFilter(AgeFilter):
    """When it was first asked."""

    title = "asked"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = str(self.value() or "")
        if not value:
            return queryset
        return queryset.filter(created_at__gte=held_since(value)) if value in self.spans else queryset.none()


class OfUploadFilter(UploadFilter):
    field = "lookupupload__upload"

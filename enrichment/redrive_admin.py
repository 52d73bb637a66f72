from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from enrichment import stats
from enrichment.admin_filters import ActFilter
from enrichment.models import Redrive
from ingestion.admin import ReadOnlyAdmin
from ingestion.templatetags.shown import age, badge, moment, thousands

MOST_LINKS = 100
"""To deliveries or held records, on the page of a redrive."""


class RedriveAdmin(ReadOnlyAdmin):
    """Who did what to which held records, and what came of it."""

    list_display = ["id", "act_", "by_", "chosen", "records", "came_to", "at_"]
    list_filter = [ActFilter]
    fieldsets = [
        (None, {"fields": ["act_", "by_", "done_at", "which", "reason_", "records"]}),
        ("What came of it", {"fields": ["outcome", "deliveries_"]}),
    ]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        came_of = stats.came_of([redrive.pk for redrive in changes.result_list])
        for redrive in changes.result_list:
            redrive.came_of = came_of.get(redrive.pk)
        return changes

    @admin.display(description="act")
    def act_(self, redrive: Redrive) -> SafeString:
        return badge(redrive.act, redrive.act)

    @admin.display(description="by")
    def by_(self, redrive: Redrive) -> str:
        return redrive.by

    @admin.display(description="which")
    def chosen(self, redrive: Redrive) -> str:
        return describe(redrive.filter)

    @admin.display(description="which")
    def which(self, redrive: Redrive) -> SafeString | str:
        pks = redrive.filter.get("ids", [])[:MOST_LINKS]
        return _links("enrichment_heldrecord", pks) or describe(redrive.filter)

    @admin.display(description="records")
    def records(self, redrive: Redrive) -> str:
        return thousands(redrive.count)

    @admin.display(description="came to")
    def came_to(self, redrive: Any) -> str:
        return _came_to(redrive, redrive.came_of)

    @admin.display(description="when")
    def at_(self, redrive: Redrive) -> SafeString | str:
        return age(redrive.at)

    @admin.display(description="when")
    def done_at(self, redrive: Redrive) -> SafeString | str:
        return moment(redrive.at)

    @admin.display(description="reason")
    def reason_(self, redrive: Redrive) -> str:
        return redrive.reason or "–"

    @admin.display(description="outcome")
    def outcome(self, redrive: Redrive) -> str:
        return _came_to(redrive, stats.came_of([redrive.pk]).get(redrive.pk))

    @admin.display(description="deliveries")
    def deliveries_(self, redrive: Redrive) -> SafeString | str:
        pks = redrive.deliveries.order_by("-pk").values_list("pk", flat=True)[:MOST_LINKS]
        return _links("ingestion_delivery", pks) or "none"


def _links(model: str, pks: Iterable[int]) -> SafeString:
    links = [(reverse(f"admin:{model}_change", args=[pk]), pk) for pk in pks]
    return format_html_join(" · ", '<a href="{}">{}</a>', links)


def _came_to(redrive: Redrive, counts: dict[str, int] | None) -> str:
    if redrive.act == Redrive.Act.DISCARD:
        return "discarded"
    told = [f"{number:,} {name}" for name, number in (counts or {}).items() if number]
    return " · ".join(told) or "nothing was left to do"


def describe(chosen: dict[str, Any]) -> str:
    """The filter of a redrive, in a line."""
    told = [f"{len(value)} selected" if name == "ids" else f"{name} {value}" for name, value in chosen.items()]
    return ", ".join(told) or "all"

"""Bulk actions in the admin: who did what to which failed records, progress and result."""

from __future__ import annotations

from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console.base import NewestPaginator, ReadOnlyAdmin
from console.bulk_actions import page as bulk_action_page
from console.filters import FieldFilter
from console.templatetags.formatting import age, badge
from enrichment import stats
from enrichment.held import bulk_actions
from enrichment.models import BulkAction, HeldRecord
from ingestion.text import thousands


class KindFilter(FieldFilter):
    title, parameter_name = "action", "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return list(BulkAction.Kind.choices)


LISTS = {
    "dead": ("dead letters", "admin:enrichment_deadletter_changelist"),
    "waiting": ("waiting records", "admin:enrichment_waitingrecord_changelist"),
}
ALL_WAITING = {"code": str(HeldRecord.Code.MISSING_REFERENCE), "stage": str(HeldRecord.Stage.VALIDATE)}
"""Every waiting record has these, so that their list has no filter for them."""
NOT_IN_LISTS = {"ids", "status", "held_after"}
"""Names of SELECTABLE_BY that are not parameters of the lists of failed records."""


class BulkActionAdmin(ReadOnlyAdmin):
    list_display = ("id", "kind_", "by_", "selection", "records", "result")
    list_filter = (KindFilter,)
    paginator = NewestPaginator

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        progress = bulk_action_page.progress_by_id(changes.result_list)
        pks = [bulk_action.filter["ids"][0] for bulk_action in changes.result_list if bulk_action.filter.get("ids")]
        known = HeldRecord.objects.defer("payload", "original_payload").in_bulk(pks)
        for bulk_action in changes.result_list:
            bulk_action.progress = progress[bulk_action.pk]
            bulk_action.described = bulk_actions.describe_filter(bulk_action.filter, known)
        return changes

    @admin.display(description="action")
    def kind_(self, bulk_action: Any) -> SafeString:
        kind, progress = badge(bulk_action.kind, bulk_action.kind), bulk_action.progress
        needs_a_look = progress.is_running or progress.failed_again
        return format_html("{}<br>{}", kind, badge(progress.badge, progress.status)) if needs_a_look else kind

    @admin.display(description="by")
    def by_(self, bulk_action: BulkAction) -> SafeString:
        return format_html('{}<br><span class="quiet">{} ago</span>', bulk_action.by, age(bulk_action.at))

    @admin.display(description="selection")
    def selection(self, bulk_action: Any) -> SafeString | str:
        described: str = bulk_action.described
        if not bulk_action.change:
            return described
        return format_html('{}<br><span class="quiet">{}</span>', described, bulk_actions.change_of(bulk_action))

    @admin.display(description="records")
    def records(self, bulk_action: BulkAction) -> str:
        done = thousands(bulk_action.count)
        return done if bulk_action.finished_at else f"{done} of {thousands(bulk_action.total)}"

    @admin.display(description="result")
    def result(self, bulk_action: Any) -> str:
        return cast("str", bulk_action.progress.result)

    # One bulk action.

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_safe_method(request)
        if not self.has_view_permission(request):
            raise PermissionDenied
        bulk_action: BulkAction | None = self.get_object(request, unquote(object_id))
        if bulk_action is None:
            raise Http404("No such bulk action.")
        progress = bulk_action_page.progress_by_id([bulk_action])[bulk_action.pk]
        pks = bulk_action.filter.get("ids", [])[: bulk_action_page.MAX_LINKS]
        selected = HeldRecord.objects.filter(pk__in=pks).order_by("pk").defer("payload", "original_payload")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Bulk action {bulk_action.pk}",
            "opts": self.opts,
            "bulk_action": bulk_action,
            "selection": bulk_actions.describe_filter(bulk_action.filter, {held.pk: held for held in selected}),
            "selected": selected,
            "lists": list_pages(bulk_action.filter),
            "change": bulk_action.change and bulk_actions.change_of(bulk_action),
            "progress": progress,
            "cluster_alive": not progress.is_running or stats.cluster_alive(),
            "now": bulk_action_page.records_now(bulk_action, request.user) if progress.reprocesses else None,
        }
        return TemplateResponse(request, "admin/enrichment/bulk_action.html", context)


def list_pages(selection: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, address) of the lists with the records of a selection that are still open; none where it names single
    records.
    """
    if "ids" in selection:
        return []
    statuses = [selection["status"]] if "status" in selection else [*LISTS]
    pages = []
    for status in statuses:
        common = ALL_WAITING if status == HeldRecord.Status.WAITING else {}
        if status not in LISTS or any(selection.get(name, value) != value for name, value in common.items()):
            continue
        filters = {name: value for name, value in selection.items() if name not in {*NOT_IN_LISTS, *common}}
        query = urlencode({"q" if name == "key" else name: value for name, value in filters.items()})
        name, page = LISTS[status]
        name = f"{name}, also older ones" if "held_after" in selection else f"matching {name}"
        pages.append((name, f"{reverse(page)}?{query}" if query else reverse(page)))
    return pages

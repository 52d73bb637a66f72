"""The lists of failed records: all of them, dead letters, waiting records."""

from __future__ import annotations

import re
from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import IGNORED_PARAMS, SEARCH_VAR, ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from console import senders
from console.base import NewestPaginator
from console.filters import StreamFilter
from console.held import export, missing_references, page
from console.held.actions import confirm_discard, confirm_reprocess
from console.held.base import HeldListAdmin
from console.held.bulk_fix import fix_all
from console.held.filters import (
    AgeFilter,
    CodeFilter,
    DeliveryFilter,
    MessageFilter,
    MissingKeyFilter,
    MissingStreamFilter,
    OfUploadFilter,
    SenderFilter,
    StageFilter,
    StatusFilter,
)
from console.held.fix import fix_page
from console.held.record import record_page
from console.held.selection import filter_of
from console.history import user_of
from console.personal import for_user
from console.templatetags.formatting import age, badge
from console.templatetags.names import display_key, error_of
from enrichment.models import HeldRecord, HeldRecordQuerySet
from enrichment.rows.access import Export
from ingestion.text import plain

MAX_ERROR = 240
"""Characters in the list; the page of the record shows the rest."""
KINDS = ("reprocess", "fix", "discard")
EXPORTS = {"csv": export.csv, "ndjson": export.ndjson}
SET_BY_LINKS = [MessageFilter, DeliveryFilter, OfUploadFilter, MissingStreamFilter, MissingKeyFilter]


class HeldPaginator(NewestPaginator):
    """Counts further than it pages: actions and exports apply to all matches, and counting is cheap."""

    max_counted = 100_000

    @cached_property
    def counted(self) -> int:
        return cast("QuerySet[Any]", self.object_list).order_by()[: self.max_counted + 1].count()

    @cached_property
    def num_pages(self) -> int:
        return max(1, -(-min(self.count, self.max_rows) // self.per_page))


class HeldRecordAdmin(HeldListAdmin):
    """All failed records, also those resolved or discarded; its subclasses list those of one status.

    Every action is confirmed on a page that shows its count, and recorded: a bulk action, and entries in the history.
    """

    empty_text = "No failed records: everything received is stored or in progress."
    actions = KINDS
    list_display = ["record", "stream", "status_", "error", "source", "failed"]
    list_filter = [StatusFilter, StreamFilter, StageFilter, CodeFilter, AgeFilter, SenderFilter, *SET_BY_LINKS]
    search_fields = ("key",)
    search_help_text = "Exact record ID"
    change_list_template = "admin/enrichment/held_list.html"
    paginator = HeldPaginator

    # Permissions and actions.

    def has_reprocess_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "reprocess")

    def has_fix_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "fix")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "discard")

    # Django's own queryset of the selected is not used: a bulk action stores a filter, which selection_of() reads.

    @admin.action(description="Reprocess", permissions=["reprocess"])
    def reprocess(self, request: HttpRequest, queryset: HeldRecordQuerySet) -> HttpResponseBase:
        return confirm_reprocess(self, request)

    @admin.action(description="Fix", permissions=["fix"])
    def fix(self, request: HttpRequest, queryset: HeldRecordQuerySet) -> HttpResponseBase:
        return fix_all(self, request)

    @admin.action(description="Discard", permissions=["discard"])
    def discard(self, request: HttpRequest, queryset: HeldRecordQuerySet) -> HttpResponseBase:
        return confirm_discard(self, request)

    # The list.

    def get_queryset(self, request: HttpRequest) -> HeldRecordQuerySet:
        records: HeldRecordQuerySet = self.model._default_manager.all()
        records = for_user(request.user, records)
        return records.filter(status=self.status) if self.status else records

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return (queryset.filter(key=search_term.strip()) if search_term.strip() else queryset), False

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list.defer("payload", "original_payload"))
        names = senders.key_names(held.client for held in changes.result_list)
        for held in changes.result_list:
            held.sender = names.get(held.client, plain(held.client))
            held.of_sender = changes.get_query_string({"client": held.client})
            missing = {"missing_stream": held.missing_stream, "missing_key": held.missing_key}
            held.of_missing = changes.get_query_string(missing)
        # Called by the template if it offers actions on all matches: those are for open records only.
        changes.open_count = lambda: self._open_count(changes)  # type: ignore[attr-defined]
        return changes

    def _open_count(self, changes: ChangeList) -> int:
        """Of all matches; counted up to max_counted."""
        if self.status:
            return changes.result_count
        return cast("HeldRecordQuerySet", changes.queryset).open().order_by()[: HeldPaginator.max_counted].count()

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        kind = request.POST.get("action")
        if kind in KINDS and not self.may(request, kind):
            raise PermissionDenied  # Django would only say that there is no such action
        if not all(re.fullmatch("[0-9]{1,18}", pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise BadRequest("Invalid selection of failed records.")
        context = {
            "empty_text": self.empty_text,
            "max_counted": HeldPaginator.max_counted,
            "exports": list(EXPORTS),
            "actions_on_all": [kind for kind in KINDS if self.may(request, kind)],
        }
        return super().changelist_view(request, context | (extra_context or {}))

    @admin.display(description="record")
    def record(self, held: HeldRecord) -> str:
        return display_key(held)

    @admin.display(description="status")
    def status_(self, held: HeldRecord) -> SafeString:
        status = badge(held.status, "queued" if held.queued_in and held.status in HeldRecord.OPEN else held.status)
        return format_html("{}<br>{}", status, self.code_(held))

    @admin.display(description="code")
    def code_(self, held: HeldRecord) -> SafeString:
        return badge("code", held.code)

    @admin.display(description="error")
    def error(self, held: HeldRecord) -> str:
        return Truncator(error_of(held)).chars(MAX_ERROR)

    @admin.display(description="source")
    def source(self, held: Any) -> SafeString:
        """Adds itself to the filters that are set."""
        return format_html('<a href="{}">{}</a>', held.of_sender, held.sender)

    @admin.display(description="waiting for")
    def waiting_for(self, held: Any) -> SafeString:
        return format_html('{} <a href="{}">{}</a>', held.missing_stream, held.of_missing, plain(held.missing_key))

    @admin.display(description="failed")
    def failed(self, held: HeldRecord) -> SafeString | str:
        ago = format_html("{} ago", age(held.held_at))
        return (
            format_html('{}<br><span class="quiet">{} attempts</span>', ago, held.attempts)
            if held.attempts > 1
            else ago
        )

    # Other pages.

    def get_urls(self) -> list[URLPattern]:
        name, view = f"{self.opts.app_label}_{self.opts.model_name}", self.admin_site.admin_view
        return [
            path("export/", view(self.export_view), name=f"{name}_export"),
            path("export/<str:form>/", view(self.export_view), name=f"{name}_export"),
            path("<path:object_id>/fix/", view(self.fix_view), name=f"{name}_fix"),
            *super().get_urls(),
        ]

    def export_view(self, request: HttpRequest, form: str = "csv") -> HttpResponseBase:
        """All matches: the records that an action on all of them would be for."""
        if not self.has_view_permission(request) or request.method != "GET":
            raise PermissionDenied
        filters = {name for name in request.GET if name not in (*IGNORED_PARAMS, SEARCH_VAR)}
        if form not in EXPORTS or not all(self.lookup_allowed(name, "", request) for name in filters):
            raise BadRequest("Unknown format or filter.")
        name = str(self.opts.verbose_name_plural).replace(" ", "-")
        criteria = filter_of(request.GET, self.status)
        asked = {each: str(value) for each, value in criteria.items()}
        taken = Export(by=user_of(request), what=str(self.opts.verbose_name_plural), form=form, query=asked)
        return EXPORTS[form](for_user(request.user, HeldRecord.objects.all()).matching(criteria), name, taken)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        self.require_safe_method(request)
        return record_page(self, request, object_id)

    def fix_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        return fix_page(self, request, object_id)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Part of the record's page, whatever list it was reached from."""
        page = self.url("change", unquote(object_id), query=self.get_preserved_filters(request))
        return HttpResponseRedirect(f"{page}#history")


class DeadLetterAdmin(HeldRecordAdmin):
    status = HeldRecord.Status.DEAD
    empty_text = "No dead letters: everything received is stored, in progress, or waiting for a referenced record."
    list_display = ["record", "stream", "code_", "error", "source", "failed"]
    list_filter = [StreamFilter, CodeFilter, StageFilter, AgeFilter, SenderFilter, *SET_BY_LINKS]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """With the top errors of all matches above the list."""
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if "cl" in context and not request.GET.get("message"):
            context["message_counts"] = page.message_counts(context["cl"])
        return response


class WaitingRecordAdmin(HeldRecordAdmin):
    status = HeldRecord.Status.WAITING
    empty_text = "No waiting records: every record received has found the records it refers to."
    list_display = ["record", "stream", "waiting_for", "source", "failed"]
    list_filter = [StreamFilter, AgeFilter, SenderFilter, *SET_BY_LINKS]
    change_list_template = "admin/enrichment/waiting_list.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.missing_view)
        return [path("missing/", view, name="enrichment_waitingrecord_missing"), *super().get_urls()]

    def missing_view(self, request: HttpRequest) -> HttpResponse:
        """The references that waiting records miss, with the number of records that wait for each."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        number, order = missing_references.read_page(request.GET)
        groups, has_more = missing_references.page(number, order)
        references, records = missing_references.totals()
        context = {
            **self.admin_site.each_context(request),
            "title": "Missing references",
            "opts": self.opts,
            "groups": groups,
            "references": references,
            "records": records,
            "order": order,
            "per_page": missing_references.PER_PAGE,
            "previous": number - 1,
            "next": number + 1 if has_more else 0,
            "kinds": [kind for kind in ("reprocess", "discard") if self.may(request, kind)],
        }
        return TemplateResponse(request, "admin/enrichment/waiting_missing.html", context)

from __future__ import annotations

from copy import copy
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import IGNORED_PARAMS, SEARCH_VAR, ChangeList
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console import senders
from console.base import NewestPaginator
from console.filters import StreamFilter
from console.held import export as held_export
from console.held import missing_references
from console.held import page as held_page
from console.held.filters import (
    AgeFilter,
    ClientFilter,
    CodeFilter,
    DeliveryFilter,
    MessageFilter,
    MissingKeyFilter,
    MissingStreamFilter,
    OfUploadFilter,
    StageFilter,
    StatusFilter,
)
from console.held.fix import FixAdmin
from console.templatetags.formatting import age, badge
from enrichment.held import fixing
from enrichment.models import HeldRecord, HeldRecordQuerySet
from ingestion.text import plain

EXPORTS = {"csv": held_export.csv, "ndjson": held_export.ndjson}
SET_BY_LINKS = [MessageFilter, DeliveryFilter, OfUploadFilter, MissingStreamFilter, MissingKeyFilter]


class HeldPaginator(NewestPaginator):
    """Counts more than it turns pages of: acts and export are for all that match, and counting is cheaper."""

    max_counted = 100_000

    @cached_property
    def counted(self) -> int:
        return cast("QuerySet[Any]", self.object_list).order_by()[: self.max_counted + 1].count()

    @cached_property
    def num_pages(self) -> int:
        return max(1, -(-min(self.count, self.max_rows) // self.per_page))


class HeldRecordAdmin(FixAdmin):
    """All held records, also those resolved or discarded; its subclasses show those of one status."""

    empty_text = "No record has been held yet: whatever has arrived is stored or on its way."
    list_display = ["record", "stream", "status_", "code_", "message", "sent_by", "held_ago", "attempts"]
    list_filter = [StatusFilter, StreamFilter, StageFilter, CodeFilter, AgeFilter, ClientFilter, *SET_BY_LINKS]
    search_fields = ("key",)
    search_help_text = "The whole key of a record."
    change_list_template = "admin/enrichment/held_list.html"
    paginator = HeldPaginator

    def get_queryset(self, request: HttpRequest) -> HeldRecordQuerySet:
        records: HeldRecordQuerySet = self.model._default_manager.all()
        return records.filter(status=self.status) if self.status else records

    def filter_of(self, request: HttpRequest) -> dict[str, Any]:
        if any("\0" in value for value in request.GET.values()):  # in the filters of a list that a page came from
            raise BadRequest("No value has a NUL character.")
        return super().filter_of(request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return (queryset.filter(key=search_term.strip()) if search_term.strip() else queryset), False

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list.defer("payload", "original_payload"))
        names = senders.key_names(held.client for held in changes.result_list)
        for held in changes.result_list:
            held.sent_by = names.get(held.client, plain(held.client))
        # Called by the page if it offers acts on all: those are for open ones only.
        changes.open_count = lambda: self.open_count(changes)  # type: ignore[attr-defined]
        return changes

    def open_count(self, changes: ChangeList) -> int:
        """Of all that match; counted up to max_counted."""
        if self.status:
            return changes.result_count
        return cast("HeldRecordQuerySet", changes.queryset).open().order_by()[: HeldPaginator.max_counted].count()

    @admin.display(description="status")
    def status_(self, held: HeldRecord) -> SafeString:
        return badge(held.status, "on its way" if held.queued_in and held.status in HeldRecord.OPEN else held.status)

    @admin.display(description="code")
    def code_(self, held: HeldRecord) -> SafeString:
        return badge("code", held.code)

    @admin.display(description="sent by")
    def sent_by(self, held: Any) -> SafeString:
        return format_html('<a href="?{}">{}</a>', urlencode({"client": held.client}), held.sent_by)

    @admin.display(description="waits for")
    def waits_for(self, held: HeldRecord) -> SafeString:
        query = urlencode({"missing_stream": held.missing_stream, "missing_key": held.missing_key})
        return format_html('{} <a href="?{}">{}</a>', held.missing_stream, query, plain(held.missing_key))

    @admin.display(description="held")
    def held_ago(self, held: HeldRecord) -> SafeString | str:
        return age(held.held_at)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        told = {"empty_text": self.empty_text, "max_counted": HeldPaginator.max_counted, "exports": list(EXPORTS)}
        return super().changelist_view(request, told | (extra_context or {}))

    def get_urls(self) -> list[URLPattern]:
        export = self.admin_site.admin_view(self.export_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        return [path("export/", export, name=name), path("export/<str:form>/", export, name=name), *super().get_urls()]

    def export_view(self, request: HttpRequest, form: str = "csv") -> HttpResponseBase:
        """All that the list's filters choose: the rows on which an action on all that match would act."""
        if not self.has_view_permission(request) or request.method != "GET":
            raise PermissionDenied
        filters = {name for name in request.GET if name not in (*IGNORED_PARAMS, SEARCH_VAR)}
        if form not in EXPORTS or not all(self.lookup_allowed(name, "", request) for name in filters):
            raise BadRequest("There is no such format or filter.")
        name = str(self.opts.verbose_name_plural).replace(" ", "-")
        return EXPORTS[form](HeldRecord.objects.matching(self.filter_of(request)), name)

    # One record.

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            raise PermissionDenied  # it only shows; acts have their own ways
        held = self.find(request, unquote(object_id))
        if isinstance(held, HttpResponse):
            return held
        context = {
            **self.context(request, held),
            **self.found_about(request, held),
            **self.possible(request, held),
            **dict(zip(("newer", "older"), self.neighbours(request, held), strict=True)),
        }
        return TemplateResponse(request, "admin/enrichment/held_record.html", context)

    def found_about(self, request: HttpRequest, held: Any) -> dict[str, Any]:
        payload, original = held_page.payloads(held)
        row = held_page.stored_row(held)
        reference, client = (held.missing_stream, held.missing_key), plain(held.client)
        return {
            "field_errors": held_page.field_errors(held.messages),
            "payload": payload,
            "original": original,
            "attempts": held_page.attempts(held),
            "history": held_page.history(held),
            "row": row,
            "row_page": row and self.page_of_row(request, row),
            "is_older": row is not None and held_page.is_older(held, row),
            "client": client,
            "sender": senders.key_names([held.client]).get(held.client, client),
            "sender_page": self.page_of_sender(request, held),
            "upload": held_page.upload_row(held),
            "reference": missing_references.statuses([reference])[reference] if held.missing_key else None,
            "related": held_page.related_records(held),
        }

    def possible(self, request: HttpRequest, held: Any) -> dict[str, Any]:
        """What may be done with it, by this person."""
        is_open = held.status in HeldRecord.OPEN
        free = is_open and fixing.stream_of(held) and not held.queued_in
        return {
            "is_open": is_open,
            "may_fix": held_page.fixable(held) and self.may(request, "fix"),
            "may_reprocess": free and self.may(request, "reprocess"),
            "may_discard": is_open and self.may(request, "discard"),
            "too_large_to_edit": is_open and held.size > fixing.MAX_EDITABLE,
        }

    def neighbours(self, request: HttpRequest, held: HeldRecord) -> list[str]:
        """The pages of the records before and after this one in the list that the person came from; else empty."""
        listed = copy(request)
        listed.GET = QueryDict(request.GET.get("_changelist_filters", ""))
        try:
            among = HeldRecord.objects.matching(self.filter_of(listed))
        except BadRequest:
            return ["", ""]
        sides = (among.filter(pk__gt=held.pk).order_by("pk"), among.filter(pk__lt=held.pk).order_by("-pk"))
        pks = [side.values_list("pk", flat=True).first() for side in sides]
        preserved = self.get_preserved_filters(request)
        return [self.page("change", pk, query=preserved) if pk else "" for pk in pks]

    def page_of_row(self, request: HttpRequest, row: Model) -> str:
        """The stored row's page in the admin; empty where the person may not see it."""
        model = type(row)
        if not self.admin_site.is_registered(model):
            return ""
        if not self.admin_site.get_model_admin(model).has_view_permission(request):
            return ""
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[quote(row.pk)])

    def page_of_sender(self, request: HttpRequest, held: HeldRecord) -> str:
        """Of the API key by which it came; empty where it came by none, or the person may not see it."""
        if not held.client.startswith(senders.BY_KEY) or not request.user.has_perm("ingestion.view_apikey"):
            return ""
        return reverse("admin:ingestion_apikey_change", args=[quote(held.client.removeprefix(senders.BY_KEY))])

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page itself tells the history, whatever list it was reached from."""
        return HttpResponseRedirect(f"{self.page('change', unquote(object_id))}#history")


class DeadLetterAdmin(HeldRecordAdmin):
    status = HeldRecord.Status.DEAD
    empty_text = "No dead letters: whatever has arrived is stored, on its way, or waits for a record it refers to."
    list_display = ["record", "stream", "code_", "message", "sent_by", "held_ago", "attempts"]
    list_filter = [StreamFilter, CodeFilter, StageFilter, AgeFilter, ClientFilter, *SET_BY_LINKS]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Above the list, why they are dead: the most frequent messages of all that match."""
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        if "cl" in context and not request.GET.get("message"):
            context["message_counts"] = held_page.message_counts(context["cl"])
        return response


class WaitingRecordAdmin(HeldRecordAdmin):
    status = HeldRecord.Status.WAITING
    empty_text = "Nothing waits: every record that has arrived has found the records it refers to."
    list_display = ["record", "stream", "waits_for", "sent_by", "held_ago", "attempts"]
    list_filter = [StreamFilter, AgeFilter, ClientFilter, *SET_BY_LINKS]
    change_list_template = "admin/enrichment/waiting_list.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.missing_view)
        return [path("missing/", view, name="enrichment_waitingrecord_missing"), *super().get_urls()]

    def missing_view(self, request: HttpRequest) -> HttpResponse:
        """What the waiting records wait for, and how many for each."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        number, order = missing_references.read_page(request.GET)
        groups, more = missing_references.page(number, order)
        references, records = missing_references.totals()
        context = {
            **self.admin_site.each_context(request),
            "title": "What is waited for",
            "opts": self.opts,
            "groups": groups,
            "references": references,
            "records": records,
            "order": order,
            "per_page": missing_references.PER_PAGE,
            "previous": number - 1,
            "next": number + 1 if more else 0,
            "kinds": [kind for kind in ("reprocess", "discard") if self.may(request, kind)],
        }
        return TemplateResponse(request, "admin/enrichment/waiting_missing.html", context)

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from enrichment import held as acts
from enrichment import held_page
from enrichment.admin_acts import ActsAdmin, log
from enrichment.admin_filters import (
    AgeFilter,
    CodeFilter,
    DeliveryFilter,
    OfUploadFilter,
    StageFilter,
    StatusFilter,
)
from enrichment.models import CHOSEN_BY, DeadLetter, HeldRecord, HeldRecordQuerySet, Redrive, WaitingRecord
from enrichment.redrive_admin import RedriveAdmin
from enrichment.upload_admin import UploadAdmin
from ingestion import streams
from ingestion.admin import StreamFilter
from ingestion.models import Upload
from ingestion.templatetags.shown import age, badge


@admin.register(HeldRecord)
class HeldRecordAdmin(ActsAdmin):
    """All held records, also those resolved or discarded; its subclasses show those of one status."""

    empty_text = "No record has been held yet: whatever has arrived is stored or on its way."
    list_display = ["record", "stream", "status_", "code_", "message", "held_ago", "attempts"]
    list_filter = [StatusFilter, StreamFilter, StageFilter, CodeFilter, AgeFilter, DeliveryFilter, OfUploadFilter]
    search_fields = ("key",)
    search_help_text = "The whole key of a record."
    change_list_template = "admin/enrichment/held_list.html"

    def get_queryset(self, request: HttpRequest) -> HeldRecordQuerySet:
        records: HeldRecordQuerySet = self.model._default_manager.all()
        return records.filter(status=self.status) if self.status else records

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """None but by the list's own filters: acts on all that match go by what those choose (filter_of)."""
        return lookup in {*CHOSEN_BY, AgeFilter.parameter_name}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return (queryset.filter(key=search_term.strip()) if search_term.strip() else queryset), False

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        changes.result_list = changes.result_list.defer("payload", "original_payload")
        return changes

    @admin.display(description="record")
    def record(self, held: HeldRecord) -> str:
        return held.key or f"without key ({held.delivery_id}:{held.position})"

    @admin.display(description="status")
    def status_(self, held: HeldRecord) -> SafeString:
        return badge(held.status, "on its way" if held.queued_in and held.status in HeldRecord.OPEN else held.status)

    @admin.display(description="code")
    def code_(self, held: HeldRecord) -> SafeString:
        return badge("code", held.code)

    @admin.display(description="first message")
    def message(self, held: HeldRecord) -> SafeString:
        return format_html('<span class="clipped">{}</span>', held_page.first_message(held.messages)[:300])

    @admin.display(description="waits for")
    def waits_for(self, held: HeldRecord) -> str:
        return f"{held.missing_stream} {held.missing_key}"

    @admin.display(description="held")
    def held_ago(self, held: HeldRecord) -> SafeString | str:
        return age(held.held_at)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return super().changelist_view(request, {"empty_text": self.empty_text} | (extra_context or {}))

    # One record.

    def find(self, request: HttpRequest, pk: str) -> HeldRecord | HttpResponse:
        """The record; where it is no longer of this list's status, the way to its page among all held records."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        held: HeldRecord | None = self.get_object(request, pk)
        if held is not None:
            return held
        if self.status and pk.isdecimal() and HeldRecord.objects.filter(pk=pk).exists():
            return HttpResponseRedirect(reverse("admin:enrichment_heldrecord_change", args=[pk]))
        raise Http404("There is no such held record.")

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
        payload, original = held_page.payloads(held)
        row = held_page.stored_row(held)
        is_open = held.status in HeldRecord.OPEN
        context = {
            **self.context(request, held),
            "complaints": held_page.complaints(held.messages),
            "payload": payload,
            "original": original,
            "attempts": held_page.attempts(held),
            "history": held_page.history(held),
            "is_open": is_open,
            "row": row,
            "row_page": row and self.page_of_row(request, row),
            "is_older": row is not None and held_page.is_older(held, row),
            "may_mend": held_page.mendable(held) and self.may(request, "mend"),
            "may_reprocess": is_open
            and held_page.stream_of(held)
            and not held.queued_in
            and self.may(request, "reprocess"),
            "may_discard": is_open and self.may(request, "discard"),
            "too_large_to_mend": is_open and len(held.payload) > held_page.MOST_MENDED,
        }
        return TemplateResponse(request, "admin/enrichment/held_record.html", context)

    def context(self, request: HttpRequest, held: HeldRecord) -> dict[str, Any]:
        preserved = self.get_preserved_filters(request)
        return {
            **self.admin_site.each_context(request),
            "title": f"{held.stream} {self.record(held)}",
            "opts": self.opts,
            "held": held,
            "list_page": self.page("changelist", query=request.GET.get("_changelist_filters", "")),
            "preserved": preserved,
            "page": self.page("change", held.pk, query=preserved),
            "mend_page": self.page("mend", held.pk, query=preserved),
        }

    def page_of_row(self, request: HttpRequest, row: Model) -> str:
        """The stored row's page in the admin; empty where the person may not see it."""
        model = type(row)
        if not self.admin_site.is_registered(model):
            return ""
        if not self.admin_site.get_model_admin(model).has_view_permission(request):
            return ""
        return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[quote(row.pk)])

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The page itself tells the history, whatever list it was reached from."""
        return HttpResponseRedirect(f"{self.page('change', unquote(object_id))}#history")

    # Mending.

    def get_urls(self) -> list[URLPattern]:
        mend = path(
            "<path:object_id>/mend/",
            self.admin_site.admin_view(self.mend_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_mend",
        )
        return [mend, *super().get_urls()]

    def mend_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """The payload to edit; saved only when it passes validation and nobody was faster."""
        if not self.may(request, "mend"):
            raise PermissionDenied
        held = self.find(request, unquote(object_id))
        if isinstance(held, HttpResponse):
            return held
        if request.method == "POST" and held_page.stream_of(held):
            return self.save_mended(request, held)
        if not held_page.mendable(held):
            self.message_user(request, "This record is closed, or cannot be mended here.", messages.WARNING)
            return HttpResponseRedirect(self.page("change", held.pk))
        text = held_page.editable(held.payload)
        found = acts.check_payload(streams.get(held.stream), text)
        return self.mend_page(request, held, text, held.payload_version, found)

    def save_mended(self, request: HttpRequest, held: HeldRecord) -> HttpResponseBase:
        text = request.POST.get("payload", "").replace("\r\n", "\n")
        version = request.POST.get("payload_version", "")
        if "_reprocess" in request.POST and not self.may(request, "reprocess"):
            raise PermissionDenied
        if len(text) > held_page.MOST_MENDED:
            raise SuspiciousOperation("The payload is too large to be mended here.")
        try:
            acts.mend(held, text, int(version) if version.isdecimal() and len(version) < 10 else -1)
        except acts.NotMendable as error:
            return self.mend_page(request, held, text, version, error.messages, refused=True)
        except acts.SomeoneWasFaster:
            return self.mend_page(request, held, text, version, {}, overtaken=True)
        log(request, held, "Mended.")
        if "_reprocess" in request.POST:
            self.do(request, "reprocess", {"ids": [held.pk]})
        else:
            self.message_user(request, "Mended. Reprocess it to have it stored.", messages.SUCCESS)
        return HttpResponseRedirect(self.page("change", held.pk, query=self.get_preserved_filters(request)))

    def mend_page(
        self,
        request: HttpRequest,
        held: HeldRecord,
        text: str,
        version: object,
        found: dict[str, list[str]],
        *,
        refused: bool = False,
        overtaken: bool = False,
    ) -> HttpResponse:
        context = {
            **self.context(request, held),
            "title": f"Mend {held.stream} {self.record(held)}",
            "text": text,
            "rows": min(max(text.count("\n") + 2, 8), 40),
            "version": version,
            "complaints": held_page.complaints(found, text),
            "last_complaints": held_page.complaints(held.messages),
            "refused": refused,
            "overtaken": overtaken,
            "rules": held_page.rules(streams.get(held.stream)),
            "may_reprocess": self.may(request, "reprocess"),
        }
        return TemplateResponse(request, "admin/enrichment/mend.html", context)


@admin.register(DeadLetter)
class DeadLetterAdmin(HeldRecordAdmin):
    status = HeldRecord.Status.DEAD
    empty_text = "No dead letters: whatever has arrived is stored, on its way, or waits for a record it refers to."
    list_display = ["record", "stream", "code_", "message", "held_ago", "attempts"]
    list_filter = [StreamFilter, CodeFilter, StageFilter, AgeFilter, DeliveryFilter, OfUploadFilter]


@admin.register(WaitingRecord)
class WaitingRecordAdmin(HeldRecordAdmin):
    status = HeldRecord.Status.WAITING
    empty_text = "Nothing waits: every record that has arrived has found the records it refers to."
    list_display = ["record", "stream", "waits_for", "held_ago", "attempts"]
    list_filter = [StreamFilter, AgeFilter, DeliveryFilter, OfUploadFilter]


admin.site.register(Upload, UploadAdmin)
admin.site.register(Redrive, RedriveAdmin)

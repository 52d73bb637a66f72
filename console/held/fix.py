"""The fix page of one held record: its payload to edit, checked, compared with what is kept, saved, reprocessed."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from console import field_rules
from console.held import diffs, fix_form
from console.held import page as held_page_page
from console.held.actions import ActionsAdmin
from console.history import log
from enrichment.held import fixing
from enrichment.models import HeldRecord
from ingestion import streams
from ingestion.text import plain


class FixAdmin(ActionsAdmin):
    """The pages of one held record begin here; its subclass has the list and the page that only shows."""

    @admin.display(description="record")
    def record(self, held: HeldRecord) -> str:
        return plain(held.key) or f"without key ({held.delivery_id}:{held.position})"

    def find(self, request: HttpRequest, pk: str) -> Any:
        """The record with the start of its payloads; where it is no longer of this list's status, the way (a response)
        to its page among all held records.
        """
        if not self.has_view_permission(request):
            raise PermissionDenied
        held = None
        if pk.isascii() and pk.isdecimal() and len(pk) < 19:
            held = held_page_page.with_payload_starts(HeldRecord.objects.filter(pk=pk)).first()
        if held is None:
            raise Http404("There is no such held record.")
        if self.status and held.status != self.status:
            return HttpResponseRedirect(reverse("admin:enrichment_heldrecord_change", args=[pk]))
        return held

    def context(self, request: HttpRequest, held: HeldRecord) -> dict[str, Any]:
        preserved = self.get_preserved_filters(request)
        return {
            **self.admin_site.each_context(request),
            "title": f"{held.stream} {self.record(held)}",
            "name": self.record(held),
            "opts": self.opts,
            "held": held,
            "list_page": self.page("changelist", query=request.GET.get("_changelist_filters", "")),
            "preserved": preserved,
            "page": self.page("change", held.pk, query=preserved),
            "fix_page": self.page("fix", held.pk, query=preserved),
        }

    def get_urls(self) -> list[URLPattern]:
        fix = path(
            "<path:object_id>/fix/",
            self.admin_site.admin_view(self.fix_view),
            name=f"{self.opts.app_label}_{self.opts.model_name}_fix",
        )
        return [fix, *super().get_urls()]

    def fix_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """The payload to edit; saved only when it passes validation and nobody was faster."""
        if not self.may(request, "fix"):
            raise PermissionDenied
        held = self.find(request, unquote(object_id))
        if isinstance(held, HttpResponse):
            return held
        if request.method == "POST" and fixing.stream_of(held) and held.size <= fixing.MAX_EDITABLE:
            return self.fixed(request, held)
        if not held_page_page.fixable(held):
            self.message_user(request, "This record is closed, or cannot be fixed here.", messages.WARNING)
            return HttpResponseRedirect(self.page("change", held.pk))
        return self.fix_page(request, held, held_page_page.payload_for_editing(held.payload), held.payload_version)

    def fixed(self, request: HttpRequest, held: Any) -> HttpResponseBase:
        """What was typed: checked, and saved if that is asked for."""
        text = request.POST.get("payload", "").replace("\r\n", "\n")
        version = request.POST.get("payload_version", "")
        if "_reprocess" in request.POST and not self.may(request, "reprocess"):
            raise PermissionDenied
        if len(text) > held_page_page.MAX_INPUT:
            raise SuspiciousOperation("The payload is too large to be fixed here.")
        text = fix_form.apply_inputs(streams.get(held.stream), text, request.POST.dict())
        if "_check" in request.POST:
            return self.fix_page(request, held, text, version, checked=True)
        try:
            fixing.fix(held, text, int(version) if version.isdecimal() and len(version) < 10 else -1)
        except fixing.StillInvalid:
            return self.fix_page(request, held, text, version, refused=True)
        except fixing.ConcurrentChange:
            return self.fix_page(request, held, text, version, overtaken=True)
        return self.saved(request, held)

    def saved(self, request: HttpRequest, held: HeldRecord) -> HttpResponseBase:
        log(request, held, "Fixed.")
        if "_reprocess" in request.POST:
            self.run(request, "reprocess", {"ids": [held.pk]})
        else:
            self.message_user(request, "Fixed. Reprocess it to have it stored.", messages.SUCCESS)
        return HttpResponseRedirect(self.page("change", held.pk, query=self.get_preserved_filters(request)))

    def fix_page(self, request: HttpRequest, held: Any, text: str, version: object, **said: bool) -> HttpResponse:
        """`said`: checked, refused (it did not pass) or overtaken (someone was faster)."""
        stream = streams.get(held.stream)
        found = {} if said.get("overtaken") else fixing.check_payload(stream, text)
        field_errors = held_page_page.field_errors(found, text)
        context = {
            **self.context(request, held),
            **said,
            "title": f"Fix {held.stream} {self.record(held)}",
            "text": text,
            "rows": min(max(text.count("\n") + 2, 8), 40),
            "version": version,
            "issues": fix_form.field_issues(stream, field_errors, text),
            "last_errors": held_page_page.field_errors(held.messages),
            "difference": diffs.difference(held_page_page.payload_for_editing(held.payload), text),
            "preview": fix_form.fix_preview(held, text),
            "rules": field_rules.rules(stream),
            "may_reprocess": self.may(request, "reprocess"),
        }
        return TemplateResponse(request, "admin/enrichment/fix.html", context)

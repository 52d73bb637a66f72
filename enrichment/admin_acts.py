"""Reprocess and discard in the admin: of one held record, of the selected, or of all that match the list's filter."""

from __future__ import annotations

import re
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import SEARCH_VAR
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Count, Max, Model
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from enrichment import held_page, redrives
from enrichment.admin_filters import AgeFilter, held_since
from enrichment.models import CHOSEN_BY, HeldRecord, HeldRecordQuerySet, Redrive
from ingestion.admin import ReadOnlyAdmin
from ingestion.templatetags.shown import thousands

ACTS = ("reprocess", "discard")
DONE = {"reprocess": "Sent through again", "discard": "Discarded"}


class Confirmation(forms.Form):
    """What a person confirms: the act, on no more records than the page has told of."""

    up_to = forms.IntegerField(widget=forms.HiddenInput, max_value=2**63 - 1)


class DiscardConfirmation(Confirmation):
    reason = forms.CharField(
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2, "autofocus": True}),
        help_text="Why this is not worth storing. It is kept with each record and with the redrive.",
    )


class ActsAdmin(ReadOnlyAdmin):
    """A list of held records, of one status or of all, and the acts on them. Each act is asked for with its count,
    confirmed, and kept: a redrive, and a line in the history.
    """

    status: HeldRecord.Status | None = None
    actions = ACTS

    def may(self, request: HttpRequest, act: str) -> bool:
        return request.user.has_perm(f"enrichment.{act}")

    def has_reprocess_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "reprocess")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "discard")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        act = request.POST.get("action")
        if act in ACTS and not self.may(request, act):
            raise PermissionDenied  # Django would only not find the action
        if not all(re.fullmatch("[0-9]{1,18}", pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise BadRequest("Held records are selected by number.")
        allowed = [act for act in ACTS if self.status and self.may(request, act)]
        return super().changelist_view(request, {"acts_on_all": allowed} | (extra_context or {}))

    @admin.action(description="Reprocess", permissions=["reprocess"])
    def reprocess(self, request: HttpRequest, chosen: HeldRecordQuerySet) -> HttpResponseBase:
        return self.act(request, chosen, "reprocess", Confirmation)

    @admin.action(description="Discard", permissions=["discard"])
    def discard(self, request: HttpRequest, chosen: HeldRecordQuerySet) -> HttpResponseBase:
        return self.act(request, chosen, "discard", DiscardConfirmation)

    def act(
        self, request: HttpRequest, chosen: HeldRecordQuerySet, act: str, form_class: type[Confirmation]
    ) -> HttpResponseBase:
        """Asks; does it when that is confirmed."""
        if "confirmed" not in request.POST:
            newest = chosen.open().order_by().aggregate(pk=Max("pk"))["pk"]
            return self.ask(request, chosen, act, form_class(initial={"up_to": newest}))
        form = form_class(request.POST)
        if not form.is_valid():
            return self.ask(request, chosen, act, form)
        data = form.cleaned_data
        redrive = self.do(request, act, self.filter_of(request), data["up_to"], data.get("reason", ""))
        one = len(selected(request)) == 1
        return HttpResponseRedirect(self.back(request) if one else redrive_page(redrive))

    def ask(self, request: HttpRequest, chosen: HeldRecordQuerySet, act: str, form: Confirmation) -> HttpResponseBase:
        records = chosen.open().order_by()
        counts = records.aggregate(open=Count("*"), on_their_way=Count("queued_in"))
        count = counts["open"] - (counts["on_their_way"] if act == "reprocess" else 0)
        latest = records.defer("payload", "original_payload").order_by("-pk")[:5]
        kinds = records.values("stream", "code").annotate(number=Count("*")).order_by("-number", "stream", "code")
        context = {
            **self.admin_site.each_context(request),
            "title": f"{act.capitalize()} {counted(count)}?",
            "opts": self.opts,
            "act": act,
            "count": count,
            "on_their_way": counts["on_their_way"],
            "kinds": kinds[:20],
            "sample": [(record, held_page.first_message(record.messages)) for record in latest],
            "filter": {} if selected(request) else self.filter_of(request),
            "form": form,
            "hidden": _to_send_again(request),
            "back": self.back(request),
        }
        return TemplateResponse(request, "admin/enrichment/confirm.html", context)

    def do(
        self, request: HttpRequest, act: str, chosen: dict[str, Any], up_to: int | None = None, reason: str = ""
    ) -> Redrive:
        """Begins the act on the chosen, as far as `up_to`: what came later has not been confirmed. Its first step is
        done at once, so that a small one is done when the page answers; the workers do the others.
        """
        redrive = redrives.begin(
            act,
            chosen,
            by=f"user:{request.user.get_username()}",
            user=request.user,  # type: ignore[arg-type]  # of a person who is logged in
            up_to=up_to,
            reason=reason,
        )
        redrives.carry_on(Redrive.objects.filter(pk=redrive.pk))
        redrive.refresh_from_db()
        self.tell(request, redrive)
        return redrive

    def tell(self, request: HttpRequest, redrive: Redrive) -> None:
        """Writes it into the history of the redrive and, where it is one, of the held record; says what was done."""
        done = f"{DONE[redrive.act]}: {counted(redrive.count)}"
        if not redrive.finished_at:
            done = f"{done} of {thousands(redrive.total)}; the workers go on"
        log(request, redrive, f"{done}.", ADDITION)
        pks = redrive.filter.get("ids", [])
        if redrive.count and len(pks) == 1:
            log(request, HeldRecord.objects.get(pk=pks[0]), f"{DONE[redrive.act]} (redrive {redrive.pk}).")
        link = format_html('<a href="{}">redrive {}</a>', redrive_page(redrive), redrive.pk)
        if redrive.count:
            self.message_user(request, format_html("{} ({}).", done, link), messages.SUCCESS)
        else:
            text = "Nothing was left to do: someone was faster, or they are on their way ({})."
            self.message_user(request, format_html(text, link), messages.WARNING)

    def filter_of(self, request: HttpRequest) -> dict[str, Any]:
        """What chose the records, for the redrive: their ids, or the filter of the list."""
        if pks := selected(request):
            return {"ids": pks}
        which: dict[str, Any] = {"status": str(self.status)} if self.status else {}
        which |= {name: value for name, value in request.GET.items() if name in CHOSEN_BY and value}
        if key := request.GET.get(SEARCH_VAR, "").strip():
            which["key"] = key
        if age := request.GET.get(AgeFilter.parameter_name):
            if age not in AgeFilter.spans:
                raise BadRequest("Held records are chosen by an age that the list offers.")
            which["held_after"] = held_since(age)
        return which

    def back(self, request: HttpRequest) -> str:
        """Where who acts came from: the page of one record, or the list."""
        pks = selected(request)
        if "from_page" in request.POST and len(pks) == 1:
            return self.page("change", pks[0], query=request.POST["from_page"])
        return request.get_full_path()

    def page(self, name: str, *args: Any, query: str = "") -> str:
        page = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{name}", args=[quote(arg) for arg in args])
        return f"{page}?{query}" if query else page


def selected(request: HttpRequest) -> list[int]:
    """The ids that were ticked; none when all that match are meant."""
    if request.POST.get("select_across") == "1":
        return []
    return [int(pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)]


def counted(count: int) -> str:
    return f"{thousands(count)} held record{'' if count == 1 else 's'}"


def redrive_page(redrive: Redrive) -> str:
    return reverse("admin:enrichment_redrive_change", args=[redrive.pk])


def log(request: HttpRequest, obj: Model, text: str, flag: int = CHANGE) -> None:
    """Writes an act on one thing into the history; a held record is the same thing in every list."""
    LogEntry.objects.create(
        user_id=request.user.id,  # type: ignore[misc]  # of a person who is logged in
        content_type=ContentType.objects.get_for_model(obj),
        object_id=str(obj.pk),
        object_repr=str(obj)[:200],
        action_flag=flag,
        change_message=text,
    )


def _to_send_again(request: HttpRequest) -> list[tuple[str, str]]:
    """What a confirmation page carries on of the request that asked for it."""
    names = (ACTION_CHECKBOX_NAME, "action", "select_across", "from_page")
    return [(name, value) for name in names for value in request.POST.getlist(name)]

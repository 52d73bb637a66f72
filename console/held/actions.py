"""Reprocess, fix and discard in the admin: one held record, the selected, or all that match the list's filter."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import ADDITION
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import SEARCH_VAR
from django.core import signing
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Count, Max, Q
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from console import field_rules
from console.base import ReadOnlyAdmin
from console.held import page as held_page_page
from console.held.bulk_fix_form import ChangeForm
from console.held.filters import AgeFilter, held_since
from console.history import log
from enrichment.held import bulk_actions, bulk_fix
from enrichment.models import SELECTABLE_BY, BulkAction, HeldRecord, HeldRecordQuerySet
from ingestion import streams
from ingestion.streams import Stream
from ingestion.text import thousands

KINDS = ("reprocess", "fix", "discard")
CONFIRMED_WITHIN = timedelta(hours=1)
FIRST_SECONDS = 1.0
"""Of a bulk action that are spent before the page answers; the workers do the rest."""
MOST_SHOWN = 5
"""Held records that a confirmation shows."""
MOST_OF_A_NUMBER = 2**63 - 1
"""No column holds a larger one."""
logger = logging.getLogger(__name__)


class Reason(forms.Form):
    reason = forms.CharField(
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2, "autofocus": True}),
        help_text="Why this is not worth storing. It is kept with each record and with the bulk action.",
    )


class ActionsAdmin(ReadOnlyAdmin):
    """A list of held records, of one status or of all, and the actions on them. Each is asked for with its count,
    confirmed, and kept: a bulk action, and a line in the history.
    """

    status: HeldRecord.Status | None = None
    actions = KINDS

    def may(self, request: HttpRequest, kind: str) -> bool:
        return request.user.has_perm(f"enrichment.{kind}")

    def has_reprocess_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "reprocess")

    def has_fix_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "fix")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        return self.may(request, "discard")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        kind = request.POST.get("action")
        if kind in KINDS and not self.may(request, kind):
            raise PermissionDenied  # Django would only not find the action
        if not all(re.fullmatch("[0-9]{1,18}", pk) for pk in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            raise BadRequest("Held records are selected by number.")
        allowed = [kind for kind in KINDS if self.may(request, kind)]
        return super().changelist_view(request, {"actions_on_all": allowed} | (extra_context or {}))

    # Each action goes by filter_of(): Django's own queryset of the chosen is not what a bulk action keeps.

    @admin.action(description="Reprocess", permissions=["reprocess"])
    def reprocess(self, request: HttpRequest, chosen: HeldRecordQuerySet) -> HttpResponseBase:
        return self.confirm_and_run(request, "reprocess", forms.Form)

    @admin.action(description="Discard", permissions=["discard"])
    def discard(self, request: HttpRequest, chosen: HeldRecordQuerySet) -> HttpResponseBase:
        return self.confirm_and_run(request, "discard", Reason)

    def confirm_and_run(self, request: HttpRequest, kind: str, form_class: type[forms.Form]) -> HttpResponseBase:
        """Asks; does it when that is confirmed."""
        form = form_class(request.POST if "confirmed" in request.POST else None, label_suffix="")
        confirmed = confirmation(request, kind)
        if confirmed is None or not form.is_valid():
            return self.ask(request, kind, form, confirmed or self.proposal(request, kind))
        return self.answer(request, self.run(request, **confirmed, **form.cleaned_data))

    def answer(self, request: HttpRequest, bulk_action: BulkAction) -> HttpResponseBase:
        one = len(selected(request)) == 1
        return HttpResponseRedirect(self.back(request) if one else bulk_action_page(bulk_action))

    def proposal(self, request: HttpRequest, kind: str, **more: Any) -> dict[str, Any]:
        """What a page asks to have confirmed: the action, the filter, and the newest record that is there now."""
        chosen = self.filter_of(request) | more
        newest = bulk_actions.matching_records(kind, chosen).aggregate(pk=Max("pk"))["pk"]
        return {"kind": kind, "chosen": chosen, "up_to": newest or 0}

    def ask(self, request: HttpRequest, kind: str, form: forms.Form, proposal: dict[str, Any]) -> HttpResponseBase:
        records = bulk_actions.matching_records(kind, proposal["chosen"]).filter(pk__lte=proposal["up_to"])
        kinds = list(records.values_list("stream", "code").annotate(number=Count("*")).order_by("-number", "stream"))
        count = sum(number for *_, number in kinds)
        latest = records.defer("payload", "original_payload").order_by("-pk")[:MOST_SHOWN]
        context = {
            **self.action_page_context(request, kind, proposal),
            "title": f"{kind.capitalize()} {counted(count)}?",
            "count": count,
            "kinds": kinds[:20],
            "latest": [(held, held.message) for held in latest],
            "left_out": self.left_out(kind, proposal, count),
            "form": form,
        }
        return TemplateResponse(request, "admin/enrichment/confirm.html", context)

    def left_out(self, kind: str, proposal: dict[str, Any], count: int) -> dict[str, int]:
        """Of the chosen, those that reprocessing leaves alone: why → how many."""
        if kind != BulkAction.Kind.REPROCESS:
            return {}
        others = HeldRecord.objects.matching(proposal["chosen"]).open()
        found = others.aggregate(open=Count("*"), on_their_way=Count("queued_in", filter=Q(stream__in=streams.names())))
        gone = others.exclude(stream__in=streams.names()).count() if found["open"] > count else 0
        return {"on_their_way": found["on_their_way"], "of_no_stream": gone}

    def action_page_context(self, request: HttpRequest, kind: str, proposal: dict[str, Any]) -> dict[str, Any]:
        """What each page has that asks for an kind."""
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "kind": kind,
            "which": "" if "ids" in proposal["chosen"] else bulk_actions.describe_filter(proposal["chosen"]),
            "confirmed": signing.dumps(proposal, salt=_salt(request), compress=True),
            "has_expired": "confirmed" in request.POST and confirmation(request, kind) is None,
            "hidden": _to_send_again(request),
            "back": self.back(request),
        }

    # Fixing many at once: what to change, what would come of it, the confirmation.

    @admin.action(description="Fix", permissions=["fix"])
    def fix(self, request: HttpRequest, chosen: HeldRecordQuerySet) -> HttpResponseBase:
        confirmed = confirmation(request, "fix")
        if confirmed:
            return self.fix_many(request, confirmed)
        stream, numbers = self.stream_to_fix(request)
        if stream is None:
            return self.ask_for_stream(request, numbers)
        proposal = self.proposal(request, "fix", stream=stream.name)
        records = bulk_actions.matching_records("fix", proposal["chosen"]).filter(pk__lte=proposal["up_to"])
        wrong, otherwise_wrong = bulk_fix.top_failures(records)
        at_fault = wrong[0][0].partition(".")[0] if wrong else ""
        form = ChangeForm(request.POST if "operation" in request.POST else None, stream=stream, at_fault=at_fault)
        told: dict[str, Any] = {"count": numbers[stream.name]}
        if form.is_bound and form.is_valid():
            change = form.change()
            proposal["change"] = change.as_dict()
            found = bulk_fix.dry_run(records, change)
            sample = [(verdict, held_page_page.field_errors(verdict.messages)) for verdict in found.sample]
            told = {"change": change, "found": found, "sample": sample, "count": found.total}
        context = {
            **self.action_page_context(request, "fix", proposal),
            **told,
            "title": f"Fix {counted(told['count'])} of {stream.name}",
            "form": form,
            "stream": stream,
            "rules": field_rules.rules(stream),
            "wrong": wrong,
            "otherwise_wrong": otherwise_wrong,
            "may_reprocess": self.may(request, "reprocess"),
        }
        return TemplateResponse(request, "admin/enrichment/bulk_fix.html", context)

    def fix_many(self, request: HttpRequest, confirmed: dict[str, Any]) -> HttpResponseBase:
        if "reprocess" in request.POST:
            if not self.may(request, "reprocess"):
                raise PermissionDenied
            confirmed["change"][bulk_actions.AND_REPROCESS] = True
        return self.answer(request, self.run(request, **confirmed))

    def stream_to_fix(self, request: HttpRequest) -> tuple[Stream | None, dict[str, int]]:
        """(the one stream of the chosen records, or the one asked for; every stream of theirs → records)."""
        records = bulk_actions.matching_records("fix", self.filter_of(request)).order_by("stream")
        numbers = dict(records.values_list("stream").annotate(number=Count("*")))
        name = request.POST.get("stream", "") or (next(iter(numbers)) if len(numbers) == 1 else "")
        return (streams.get(name) if name in numbers else None), numbers

    def ask_for_stream(self, request: HttpRequest, numbers: dict[str, int]) -> HttpResponseBase:
        context = {
            **self.action_page_context(request, "fix", {"chosen": self.filter_of(request)}),
            "title": f"Fix {counted(sum(numbers.values()))}",
            "numbers": numbers,
        }
        return TemplateResponse(request, "admin/enrichment/bulk_fix_stream.html", context)

    # Doing it.

    def run(self, request: HttpRequest, kind: str, chosen: dict[str, Any], **more: Any) -> BulkAction:
        """Begins it, with what bulk actions.begin() takes besides. A short step is done at once, so that a small one is
        done when the page answers; the workers do the rest.
        """
        bulk_action = bulk_actions.create(
            kind,
            chosen,
            by=f"user:{request.user.get_username()}",
            user=request.user,  # type: ignore[arg-type]  # of a person who is logged in
            **more,
        )
        try:
            bulk_actions.run_next_step(BulkAction.objects.filter(pk=bulk_action.pk), seconds=FIRST_SECONDS)
        except Exception:
            logger.exception("The first step of %s failed; the workers will try it again.", bulk_action)
        bulk_action.refresh_from_db()
        self.tell(request, bulk_action)
        return bulk_action

    def tell(self, request: HttpRequest, bulk_action: BulkAction) -> None:
        """Writes the result into the history of the bulk action and, where it is one, of the held record; says it."""
        done, what = (
            bulk_actions.past_tense(bulk_action),
            f": {bulk_actions.change_of(bulk_action)}" if bulk_action.change else "",
        )
        text = f"{done}: {counted(bulk_action.count)}"
        if not bulk_action.finished_at:
            text = f"Begun to {bulk_action.kind} {counted(bulk_action.total)}; the workers go on"
        log(
            request, bulk_action, f"{text}{what}. Chosen: {bulk_actions.describe_filter(bulk_action.filter)}.", ADDITION
        )
        pks = bulk_action.filter.get("ids", [])
        if bulk_action.count and len(pks) == 1:
            log(request, HeldRecord.objects.get(pk=pks[0]), f"{done} (bulk action {bulk_action.pk}).")
        link = format_html('<a href="{}">bulk action {}</a>', bulk_action_page(bulk_action), bulk_action.pk)
        if bulk_action.finished_at and not bulk_action.count:
            text, level = "Nothing was done: someone was faster, or nothing was left to do", messages.WARNING
        else:
            level = messages.SUCCESS
        self.message_user(request, format_html("{} ({}).", text, link), level)

    def filter_of(self, request: HttpRequest) -> dict[str, Any]:
        """What chose the records, for the bulk action: their ids, or the filter of the list."""
        if pks := selected(request):
            return checked({"ids": pks})
        named = {*SELECTABLE_BY} - {"ids", "held_after"}
        which: dict[str, Any] = {name: value for name, value in request.GET.items() if name in named and value}
        if self.status:
            which["status"] = str(self.status)
        if key := request.GET.get(SEARCH_VAR, "").strip():
            which["key"] = key
        if age := request.GET.get(AgeFilter.parameter_name):
            if age not in AgeFilter.spans:
                raise BadRequest("Held records are chosen by an age that the list offers.")
            which["held_after"] = held_since(age)
        return checked(which)

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


def checked(which: dict[str, Any]) -> dict[str, Any]:
    numbers = [which[name] for name in ("delivery", "upload") if name in which] + which.get("ids", [])
    try:
        if any(abs(int(number)) > MOST_OF_A_NUMBER for number in numbers):
            raise ValueError
        HeldRecord.objects.matching(which)
    except ValueError:
        raise BadRequest("Held records are chosen by values that they can have.") from None
    return which


def confirmation(request: HttpRequest, kind: str) -> dict[str, Any] | None:
    """What a page of ours has proposed to this very person within the hour, and is confirmed now; else None."""
    try:
        signed = request.POST.get("confirmed", "")
        proposal: dict[str, Any] = signing.loads(signed, salt=_salt(request), max_age=CONFIRMED_WITHIN)
    except signing.BadSignature:
        return None
    return proposal if proposal["kind"] == kind else None


def _salt(request: HttpRequest) -> str:
    return f"what user {request.user.pk} is asked to confirm"


def counted(count: int) -> str:
    return f"{thousands(count)} held record{'' if count == 1 else 's'}"


def bulk_action_page(bulk_action: BulkAction) -> str:
    return reverse("admin:enrichment_bulkaction_change", args=[bulk_action.pk])


def _to_send_again(request: HttpRequest) -> list[tuple[str, str]]:
    """What a confirmation page carries on of the request that asked for it."""
    names = (ACTION_CHECKBOX_NAME, "action", "select_across", "from_page", "stream")
    return [(name, value) for name in names for value in request.POST.getlist(name)]

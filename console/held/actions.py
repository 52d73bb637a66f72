"""Reprocess and discard: proposed with a count, confirmed, run as a bulk action, and written into the history."""

from __future__ import annotations

import logging
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import ADDITION
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from console.held.base import HeldListAdmin
from console.held.proposal import Proposal
from console.held.selection import selected_ids, selection_of
from console.history import log
from console.personal import for_user
from console.templatetags.names import error_of
from enrichment.held import bulk_actions
from enrichment.held.bulk_fix import Change
from enrichment.models import BulkAction, HeldRecord
from enrichment.rows.masking import masked_change
from ingestion import streams
from ingestion.text import thousands

FIRST_STEP_SECONDS = 1.0
"""Of a bulk action that are spent before the page answers; the workers do the rest."""
SAMPLE = 5
"""Failed records that a confirmation shows."""
MAX_COUNTS = 20
CARRIED = (ACTION_CHECKBOX_NAME, "action", "select_across", "from_page", "stream")
"""Fields of a request that a confirmation posts again."""
logger = logging.getLogger(__name__)


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=1000,
        widget=forms.Textarea(attrs={"rows": 2, "autofocus": True}),
        label="Reason for discarding",
        help_text="Shown with each record and with the bulk action.",
    )


def confirm_reprocess(model_admin: HeldListAdmin, request: HttpRequest) -> HttpResponseBase:
    return _confirm_and_run(model_admin, request, "reprocess", forms.Form)


def confirm_discard(model_admin: HeldListAdmin, request: HttpRequest) -> HttpResponseBase:
    return _confirm_and_run(model_admin, request, "discard", ReasonForm)


def _confirm_and_run(
    model_admin: HeldListAdmin, request: HttpRequest, kind: str, form_class: type[forms.Form]
) -> HttpResponseBase:
    """The confirmation page; once that is confirmed and its form is valid, the bulk action."""
    form = form_class(request.POST if "confirmed" in request.POST else None, label_suffix="")
    confirmed = confirmed_proposal(request, kind)
    if confirmed and form.is_valid():
        return response_after(model_admin, request, run(model_admin, request, confirmed, **form.cleaned_data))
    proposal = confirmed or Proposal.now(kind, selection_of(request, model_admin.status))
    return _confirmation(model_admin, request, proposal, form)


def _confirmation(
    model_admin: HeldListAdmin, request: HttpRequest, proposal: Proposal, form: forms.Form
) -> HttpResponseBase:
    records = proposal.records
    counts = list(records.values_list("stream", "code").annotate(number=Count("*")).order_by("-number", "stream"))
    count = sum(number for *_, number in counts)
    latest = for_user(request.user, records.defer("payload", "original_payload").order_by("-pk"))[:SAMPLE]
    context = {
        **confirmation_context(model_admin, request, proposal),
        "title": f"{proposal.kind.capitalize()} {counted(count)}?",
        "count": count,
        "counts": counts[:MAX_COUNTS],
        "latest": [(held, error_of(held)) for held in latest],
        "left_out": _left_out(proposal, count),
        "form": form,
    }
    return TemplateResponse(request, "admin/enrichment/confirm.html", context)


def _left_out(proposal: Proposal, count: int) -> dict[str, int]:
    """Of the selection, those that cannot be reprocessed: why → how many."""
    if proposal.kind != BulkAction.Kind.REPROCESS:
        return {}
    selected = HeldRecord.objects.matching(proposal.filter).open()
    numbers = selected.aggregate(all=Count("*"), queued=Count("queued_in", filter=Q(stream__in=streams.names())))
    has_others = numbers["all"] > count
    return {
        "queued": numbers["queued"],
        "unregistered": selected.exclude(stream__in=streams.names()).count() if has_others else 0,
    }


def confirmation_context(model_admin: HeldListAdmin, request: HttpRequest, proposal: Proposal) -> dict[str, Any]:
    """What every page has that proposes a bulk action."""
    return {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "kind": proposal.kind,
        "selection": "" if "ids" in proposal.filter else bulk_actions.describe_filter(proposal.filter),
        "confirmed": proposal.sign(request.user.pk),
        "has_expired": "confirmed" in request.POST and confirmed_proposal(request, proposal.kind) is None,
        "hidden": [(name, value) for name in CARRIED for value in request.POST.getlist(name)],
        "back": _page_before(model_admin, request),
    }


def confirmed_proposal(request: HttpRequest, kind: str) -> Proposal | None:
    return Proposal.read(request.POST.get("confirmed", ""), request.user.pk, kind)


def response_after(model_admin: HeldListAdmin, request: HttpRequest, bulk_action: BulkAction) -> HttpResponseRedirect:
    """Back to where one record was acted on; to the bulk action itself where there are more."""
    is_one = len(selected_ids(request)) == 1
    return HttpResponseRedirect(_page_before(model_admin, request) if is_one else bulk_action_page(bulk_action))


def _page_before(model_admin: HeldListAdmin, request: HttpRequest) -> str:
    """The page of one record, or the list, from which the action was chosen."""
    ids = selected_ids(request)
    if "from_page" in request.POST and len(ids) == 1:
        return model_admin.url("change", ids[0], query=request.POST["from_page"])
    return request.get_full_path()


def run(model_admin: HeldListAdmin, request: HttpRequest, proposal: Proposal, *, reason: str = "") -> BulkAction:
    """Starts the bulk action and does a short first step, so that a small one is done when the page answers."""
    bulk_action = bulk_actions.create(
        proposal.kind,
        proposal.filter,
        by=f"user:{request.user.get_username()}",
        user=request.user,  # type: ignore[arg-type]  # of a person who is logged in
        up_to=proposal.up_to,
        reason=reason,
        change=proposal.change,
    )
    try:
        bulk_actions.run_next_step(BulkAction.objects.filter(pk=bulk_action.pk), seconds=FIRST_STEP_SECONDS)
    except Exception:
        logger.exception("The first step of %s failed; the workers will retry it.", bulk_action)
    bulk_action.refresh_from_db()
    _report(model_admin, request, bulk_action)
    return bulk_action


def _report(model_admin: HeldListAdmin, request: HttpRequest, bulk_action: BulkAction) -> None:
    """In a message, in the history of the bulk action and, where it is for one record, in the history of that."""
    past_tense = bulk_actions.past_tense(bulk_action)
    if bulk_action.finished_at:
        result = f"{past_tense}: {counted(bulk_action.count)}"
    else:
        result = f"Started to {bulk_action.kind} {counted(bulk_action.total)}; this continues in the background"
    change = f": {_change_in_history(bulk_action)}" if bulk_action.change else ""
    selection = bulk_actions.describe_filter(bulk_action.filter)
    log(request, bulk_action, f"{result}{change}. Selection: {selection}.", ADDITION)
    level = messages.SUCCESS
    if bulk_action.finished_at and bulk_action.deliveries.exists():  # no success yet: they may fail again
        fixed = "Fixed and queued" if bulk_action.kind == BulkAction.Kind.FIX else "Queued"
        result, level = f"{fixed} for reprocessing: {counted(bulk_action.count)}", messages.INFO
    if bulk_action.finished_at and not bulk_action.count:
        result, level = "Nothing to do: already closed, queued, or changed by someone else", messages.WARNING
    link = format_html('<a href="{}">bulk action {}</a>', bulk_action_page(bulk_action), bulk_action.pk)
    is_one = len(selected_ids(request)) == 1 or model_admin.url("changelist") != request.path
    back = "" if is_one else format_html(' <a href="{}">Back to the list</a>', request.get_full_path())
    model_admin.message_user(request, format_html("{} ({}).{}", result, link, back), level)


def _change_in_history(bulk_action: BulkAction) -> Change:
    """Without personal data: the history is read by all who see the page."""
    return Change.from_dict(masked_change(bulk_action.filter.get("stream", ""), bulk_action.change))


def counted(count: int) -> str:
    return f"{thousands(count)} failed record{'' if count == 1 else 's'}"


def bulk_action_page(bulk_action: BulkAction) -> str:
    return reverse("admin:enrichment_bulkaction_change", args=[bulk_action.pk])

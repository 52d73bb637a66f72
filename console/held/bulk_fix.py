"""Bulk fix: one change to many failed records of one stream, previewed on them before it is confirmed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Count
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse

from console import field_rules
from console.held import page
from console.held.actions import confirmation_context, confirmed_proposal, counted, response_after, run
from console.held.base import HeldListAdmin
from console.held.bulk_fix_form import ChangeForm
from console.held.proposal import Proposal
from console.held.selection import selection_of
from console.history import user_of
from enrichment.held import bulk_actions, bulk_fix
from enrichment.rows.access import note_look
from ingestion import streams
from ingestion.streams import Stream


def fix_all(model_admin: HeldListAdmin, request: HttpRequest) -> HttpResponseBase:
    """The change with its preview; once that is confirmed, the bulk action."""
    if confirmed := confirmed_proposal(request, "fix"):
        return _run(model_admin, request, confirmed)
    selection = selection_of(request, model_admin.status)
    counts = _counts_by_stream(selection)
    name = request.POST.get("stream", "") or (next(iter(counts)) if len(counts) == 1 else "")
    if name not in counts:
        return _choose_stream(model_admin, request, selection, counts)
    proposal = Proposal.now("fix", {**selection, "stream": name})
    return _change(model_admin, request, proposal, streams.get(name), counts[name])


def _counts_by_stream(selection: dict[str, Any]) -> dict[str, int]:
    records = bulk_actions.matching_records("fix", selection).order_by("stream")
    return dict(records.values_list("stream").annotate(number=Count("*")))


def _choose_stream(
    model_admin: HeldListAdmin, request: HttpRequest, selection: dict[str, Any], counts: dict[str, int]
) -> HttpResponseBase:
    context = {
        **confirmation_context(model_admin, request, Proposal(kind="fix", filter=selection, up_to=0)),
        "title": f"Fix {counted(sum(counts.values()))}",
        "counts": counts,
    }
    return TemplateResponse(request, "admin/enrichment/bulk_fix_stream.html", context)


def _change(
    model_admin: HeldListAdmin, request: HttpRequest, proposal: Proposal, stream: Stream, count: int
) -> HttpResponseBase:
    top_errors, other_errors = bulk_fix.top_failures(proposal.records)
    suggested_field = top_errors[0][0].partition(".")[0] if top_errors else ""
    data = request.POST if "operation" in request.POST else None
    form = ChangeForm(data, stream=stream, suggested_field=suggested_field)
    preview: dict[str, Any] = {}
    if form.is_bound and form.is_valid():
        change = form.change()
        proposal = replace(proposal, change=change.as_dict())
        dry_run = bulk_fix.dry_run(proposal.records, change)
        sample = [(each, page.field_errors(each.messages)) for each in dry_run.sample]
        preview, count = {"change": change, "dry_run": dry_run, "sample": sample}, dry_run.total
        asked = {name: str(value) for name, value in proposal.filter.items()}
        note_look(user_of(request), stream.name, query=asked)
    context = {
        **confirmation_context(model_admin, request, proposal),
        **preview,
        "count": count,
        "title": f"Fix {counted(count)} of {stream.name}",
        "form": form,
        "stream": stream,
        "rules": field_rules.rules(stream),
        "top_errors": top_errors,
        "other_errors": other_errors,
        "max_errors_examined": bulk_fix.LATEST,
        "may_reprocess": model_admin.may(request, "reprocess"),
    }
    return TemplateResponse(request, "admin/enrichment/bulk_fix.html", context)


def _run(model_admin: HeldListAdmin, request: HttpRequest, proposal: Proposal) -> HttpResponseBase:
    if "reprocess" in request.POST:
        if not model_admin.may(request, "reprocess"):
            raise PermissionDenied
        proposal = replace(proposal, change={**proposal.change, bulk_actions.AND_REPROCESS: True})
    return response_after(model_admin, request, run(model_admin, request, proposal))

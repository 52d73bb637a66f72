"""The fix page of one failed record: its payload to edit, checked, compared with what is stored, saved, reprocessed."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse

from console import field_rules
from console.held import diffs, fix_form, page
from console.held.actions import run
from console.held.base import HeldListAdmin
from console.held.proposal import Proposal
from console.held.record import find_record, next_to_fix, record_context
from console.history import log, user_of
from console.templatetags.names import name_of
from enrichment.held import fixing
from enrichment.models import HeldRecord
from enrichment.rows.access import note_look
from ingestion import streams


def fix_page(model_admin: HeldListAdmin, request: HttpRequest, object_id: str) -> HttpResponseBase:
    """Saves a payload only when it is valid and nobody else has changed the record."""
    if not model_admin.may(request, "fix"):
        raise PermissionDenied
    held = find_record(model_admin, request, object_id)
    if request.method == "POST" and fixing.stream_of(held) and held.size <= fixing.MAX_EDITABLE:
        return _check_or_save(model_admin, request, held)
    if not page.fixable(held):
        text = "This record cannot be fixed here: it is closed, too large, or its stream is not registered."
        model_admin.message_user(request, text, messages.WARNING)
        query = model_admin.get_preserved_filters(request)
        return HttpResponseRedirect(model_admin.url("change", held.pk, query=query))
    return _form(model_admin, request, held, page.payload_for_editing(held.payload), held.payload_version)


def _check_or_save(model_admin: HeldListAdmin, request: HttpRequest, held: Any) -> HttpResponseBase:
    text = request.POST.get("payload", "").replace("\r\n", "\n")
    version = request.POST.get("payload_version", "")
    if _reprocesses(request) and not model_admin.may(request, "reprocess"):
        raise PermissionDenied
    if len(text) > page.MAX_INPUT:
        raise SuspiciousOperation("The payload is too large to edit here.")
    text = fix_form.apply_inputs(streams.get(held.stream), text, request.POST.dict())
    if "_check" in request.POST:
        return _form(model_admin, request, held, text, version, result="checked")
    try:
        fixing.fix(held, text, int(version) if version.isdecimal() and len(version) < 10 else -1)
    except fixing.StillInvalid:
        return _form(model_admin, request, held, text, version, result="invalid")
    except fixing.ConcurrentChange:
        return _form(model_admin, request, held, text, version, result="conflict")
    return _after_save(model_admin, request, held)


def _reprocesses(request: HttpRequest) -> bool:
    return "_reprocess" in request.POST or "_next" in request.POST


def _after_save(model_admin: HeldListAdmin, request: HttpRequest, held: HeldRecord) -> HttpResponseBase:
    log(request, held, "Fixed.")
    if _reprocesses(request):
        run(model_admin, request, Proposal.now("reprocess", {"ids": [held.pk]}))
    else:
        model_admin.message_user(request, "Fix saved. Reprocess the record to store it.", messages.SUCCESS)
    query = model_admin.get_preserved_filters(request)
    if "_next" not in request.POST:
        return HttpResponseRedirect(model_admin.url("change", held.pk, query=query))
    if following := next_to_fix(model_admin, request, held):
        return HttpResponseRedirect(model_admin.url("fix", following, query=query))
    model_admin.message_user(request, "That was the last one in this list.", messages.SUCCESS)
    return HttpResponseRedirect(model_admin.url("changelist", query=request.GET.get("_changelist_filters", "")))


def _form(
    model_admin: HeldListAdmin, request: HttpRequest, held: Any, text: str, version: object, *, result: str = ""
) -> HttpResponse:
    """`result` of what was posted: checked, invalid, or conflict (changed by someone else)."""
    note_look(user_of(request), held.stream, record=held.pk)
    stream = streams.get(held.stream)
    found = {} if result == "conflict" else fixing.check_payload(stream, text)
    issues = fix_form.field_issues(stream, page.field_errors(found, text), text)
    context = {
        **record_context(model_admin, request, held),
        "title": f"Fix {name_of(held)}",
        "result": result,
        "text": text,
        "rows": min(max(text.count("\n") + 2, 8), 40),
        "version": version,
        "issues": issues,
        "last_errors": page.field_errors(held.messages),
        "difference": diffs.difference(page.payload_for_editing(held.payload), text),
        "preview": fix_form.fix_preview(held, text),
        "stream": stream,
        "rules": field_rules.rules(stream),
        "may_reprocess": model_admin.may(request, "reprocess"),
        "has_next": next_to_fix(model_admin, request, held) is not None,
        "has_inputs": any(issue.value is not None for issue in issues),
    }
    return TemplateResponse(request, "admin/enrichment/fix.html", context)

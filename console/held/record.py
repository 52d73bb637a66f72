"""The page of one failed record, in whichever list it is opened."""

from __future__ import annotations

from typing import Any

from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst

from console import senders
from console.held import missing_references, page
from console.held.base import HeldListAdmin
from console.held.selection import filter_of
from console.history import user_of
from console.personal import for_user
from console.templatetags.names import display_key, name_of
from enrichment.held import fixing
from enrichment.models import HeldRecord, HeldRecordQuerySet
from enrichment.rows.access import note_look
from ingestion.text import plain


def record_page(model_admin: HeldListAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Also of one that has left the list by now: whoever works through the list stays in it."""
    held = find_record(model_admin, request, object_id)
    note_look(user_of(request), held.stream, record=held.pk)
    preserved = model_admin.get_preserved_filters(request)
    newer, older = (
        neighbour and model_admin.url("change", neighbour, query=preserved)
        for neighbour in neighbours(model_admin, request, held)
    )
    context = {
        **record_context(model_admin, request, held),
        **_details(model_admin, request, held),
        **_permitted_actions(model_admin, request, held),
        "newer": newer,
        "older": older,
    }
    return TemplateResponse(request, "admin/enrichment/held_record.html", context)


def find_record(model_admin: HeldListAdmin, request: HttpRequest, object_id: str) -> Any:
    """The record, whatever its status, with the start of its payloads."""
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    pk, held = unquote(object_id), None
    if pk.isascii() and pk.isdecimal() and len(pk) < 19:
        held = page.with_payload_starts(for_user(request.user, HeldRecord.objects.all()).filter(pk=pk)).first()
    if held is None:
        raise Http404("No such failed record.")
    return held


def record_context(model_admin: HeldListAdmin, request: HttpRequest, held: HeldRecord) -> dict[str, Any]:
    """What the page of a record and its fix page have in common."""
    preserved = model_admin.get_preserved_filters(request)
    return {
        **model_admin.admin_site.each_context(request),
        "title": capfirst(name_of(held)),
        "name": display_key(held),
        "opts": model_admin.opts,
        "held": held,
        "list_page": model_admin.url("changelist", query=request.GET.get("_changelist_filters", "")),
        "preserved": preserved,
        "page": model_admin.url("change", held.pk, query=preserved),
        "fix_page": model_admin.url("fix", held.pk, query=preserved),
    }


def _details(model_admin: HeldListAdmin, request: HttpRequest, held: Any) -> dict[str, Any]:
    payload, original = page.payloads(held)
    history = page.history(held, request.user)
    row = page.stored_row(held)
    missing, client = (held.missing_stream, held.missing_key), plain(held.client)
    return {
        "field_errors": page.field_errors(held.messages),
        "payload": payload,
        "original": original,
        "attempts": page.attempts(held, request.user),
        "history": history,
        "discarded_by": _discarded_by(held, history),
        "row": row,
        "row_page": row and _row_page(model_admin, request, row),
        "is_immutable": page.is_immutable(held),
        "is_stale": row is not None and page.would_be_stale(held, row),
        "client": client,
        "sender": senders.key_names([held.client]).get(held.client, client),
        "sender_page": _sender_page(request, held),
        "upload": page.upload_row(held),
        "reference": missing_references.statuses([missing])[missing] if held.missing_key else None,
        "related": page.related_records(held),
        "related_to": _scope(held),
    }


def _scope(held: HeldRecord) -> str:
    """What the similar records have in common, as in "dead letters of listens"."""
    name = {"dead": "dead letters", "waiting": "waiting records"}.get(held.status, "failed records")
    return f"{name} of {held.stream}"


def _discarded_by(held: HeldRecord, history: list[page.HistoryEntry]) -> page.HistoryEntry | None:
    if held.status != HeldRecord.Status.DISCARDED:
        return None
    return next((entry for entry in history if entry.bulk_action and entry.bulk_action.kind == "discard"), None)


def _permitted_actions(model_admin: HeldListAdmin, request: HttpRequest, held: Any) -> dict[str, Any]:
    is_open = held.status in HeldRecord.OPEN
    can_reprocess = is_open and fixing.stream_of(held) and not held.queued_in
    return {
        "is_open": is_open,
        "may_fix": page.fixable(held) and model_admin.may(request, "fix"),
        "may_reprocess": can_reprocess and model_admin.may(request, "reprocess"),
        "may_discard": is_open and model_admin.may(request, "discard"),
        "too_large_to_edit": is_open and held.size > fixing.MAX_EDITABLE,
    }


def neighbours(model_admin: HeldListAdmin, request: HttpRequest, held: HeldRecord) -> tuple[int | None, int | None]:
    """The newer and the older record in the list that the person came from."""
    listed = listed_records(model_admin, request)
    newer = listed.filter(pk__gt=held.pk).order_by("pk").values_list("pk", flat=True).first()
    older = listed.filter(pk__lt=held.pk).order_by("-pk").values_list("pk", flat=True).first()
    return newer, older


def next_to_fix(model_admin: HeldListAdmin, request: HttpRequest, held: HeldRecord) -> int | None:
    """The next older record in that list which is not queued; behind the last one, the newest of those passed over."""
    free = listed_records(model_admin, request).open().filter(queued_in=None).exclude(pk=held.pk).order_by("-pk")
    return free.filter(pk__lt=held.pk).values_list("pk", flat=True).first() or free.values_list("pk", flat=True).first()


def listed_records(model_admin: HeldListAdmin, request: HttpRequest) -> HeldRecordQuerySet:
    """All of the list that the person came from, with its filters."""
    query = QueryDict(request.GET.get("_changelist_filters", ""))
    try:
        return HeldRecord.objects.matching(filter_of(query, model_admin.status))
    except BadRequest:
        return HeldRecord.objects.none()


def _row_page(model_admin: HeldListAdmin, request: HttpRequest, row: Model) -> str:
    """The stored record's page; empty where the person may not see it."""
    model, site = type(row), model_admin.admin_site
    if not site.is_registered(model) or not site.get_model_admin(model).has_view_permission(request):
        return ""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[quote(row.pk)])


def _sender_page(request: HttpRequest, held: HeldRecord) -> str:
    """Of the API key that it was sent with; empty where it was none, or the person may not see it."""
    if not held.client.startswith(senders.BY_KEY) or not request.user.has_perm("ingestion.view_apikey"):
        return ""
    return reverse("admin:ingestion_apikey_change", args=[quote(held.client.removeprefix(senders.BY_KEY))])

"""One lookup: its page, where a person decides, and goes on to the next one of the list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from csp.decorators import csp_update
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from console.history import log
from console.lookups import page
from console.lookups.base import LookupListAdmin, status_badge
from console.lookups.selection import filter_of, matching
from console.stored.page import link_to
from enrichment import lookups
from enrichment.lookups.models import Lookup, LookupQuerySet
from ingestion.text import cut_short, plain, strip_unstorable

MAX_ADDRESS = 2000
"""Characters of what is pasted."""


class Refused(Exception):
    """A decision that cannot be stored; says why."""


def lookup_page(
    model_admin: LookupListAdmin, request: HttpRequest, object_id: str, *, error: str = "", pasted: str = ""
) -> HttpResponse:
    """Also of one that has left the list by now: whoever works through the list stays in it."""
    lookup = find(model_admin, request, object_id)
    preserved = model_admin.get_preserved_filters(request)
    newer, older = (
        neighbour and model_admin.url("change", neighbour, query=preserved)
        for neighbour in neighbours(model_admin, request, lookup)
    )
    provider, details = page.provider_of(lookup), page.details(lookup)
    context = {
        **model_admin.admin_site.each_context(request),
        **details,
        "title": details["question"].name,
        "opts": model_admin.opts,
        "lookup": lookup,
        "provider": provider or lookup.provider,
        "choice_help": provider.choice_help if provider else "",
        "notice": provider.notice() if provider else "",
        "can_paste": bool(provider and provider.parse_choice),
        "may_choose": page.can_be_decided(lookup) and model_admin.may(request, "choose_answers"),
        "may_ask_again": provider is not None and not lookup.is_chosen and model_admin.may(request, "ask_again"),
        "is_unknown": page.leads_nowhere(lookup),
        "decided_by": lookup.chosen_by.removeprefix("user:"),
        "state": state_of(lookup),
        "status_badge": status_badge(lookup),
        "is_due": lookup.due_at is not None and lookup.due_at <= timezone.now(),
        "choose_page": model_admin.url("choose", lookup.pk, query=preserved),
        "list_page": model_admin.url("changelist", query=request.GET.get("_changelist_filters", "")),
        "list_title": model_admin.list_title,
        "preserved": preserved,
        "newer": newer,
        "older": older,
        "asked_by": [link_to(request, type(row), row.pk, plain(str(row))) for row in page.asked_by(lookup)],
        "error": error,
        "pasted": pasted,
    }
    show = csp_update(page.picture_sources())(
        lambda shown: TemplateResponse(shown, "admin/lookups/lookup.html", context)
    )
    return cast("HttpResponse", show(request))


def find(model_admin: LookupListAdmin, request: HttpRequest, object_id: str) -> Lookup:
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    pk, lookup = unquote(object_id), None
    if pk.isascii() and pk.isdecimal() and len(pk) < 19:
        lookup = Lookup.objects.select_related("next").filter(pk=pk).first()
    if lookup is None:
        raise Http404("No such lookup.")
    return lookup


def state_of(lookup: Lookup) -> str:
    """What a decision replaces: another state means that someone else was faster."""
    return f"{lookup.status} {lookup.chosen_at.isoformat() if lookup.chosen_at else ''}"


# Deciding.


def decide(model_admin: LookupListAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Posted by the page: a candidate, an address, "not there", or the end of an earlier decision."""
    lookup = find(model_admin, request, object_id)
    if not model_admin.may(request, "choose_answers"):
        raise PermissionDenied
    if request.method != "POST":  # as where a refusal is shown, whose address is reloaded
        return HttpResponseRedirect(
            model_admin.url("change", lookup.pk, query=model_admin.get_preserved_filters(request))
        )
    if not page.can_be_decided(lookup):
        raise BadRequest("This lookup cannot be decided by a person.")
    try:
        text = _decide(request, lookup)
    except Refused as refusal:
        pasted = request.POST.get("address", "")[:MAX_ADDRESS] if "_paste" in request.POST else ""
        return lookup_page(model_admin, request, object_id, error=str(refusal), pasted=pasted)
    return _go_on(model_admin, request, lookup, text)


def _decide(request: HttpRequest, lookup: Lookup) -> str:
    """Stores the decision, unless someone else was faster; returns what the history says."""
    by = f"user:{request.user.get_username()}"
    text, store = _decision(request, lookup, by)
    with transaction.atomic():
        rows = {row.pk: row for row in Lookup.objects.lock([lookup.pk, *page.alike(lookup)])}
        row = rows.pop(lookup.pk)
        if state_of(row) != request.POST.get("state"):
            raise Refused("Nothing was changed: meanwhile someone else has decided, or a new answer has arrived.")
        others = [other for other in rows.values() if _follows(row, other)]
        for each in sorted([row, *others], key=lambda each: each.key):  # the domain locks its rows by key
            store(each)
    for each in (lookup, *others):
        log(request, each, text)
    return f"{text} Also for {len(others)} more of the same." if others else text


def _follows(row: Lookup, other: Lookup) -> bool:
    """Whether a decision about the one is one about the other, which has the same answer."""
    if row.is_chosen:  # undone, or decided anew: what was decided together stays together
        return (other.chosen_by, other.status, other.answer) == (row.chosen_by, row.status, row.answer)
    return other.status == Lookup.Status.AMBIGUOUS


def _decision(request: HttpRequest, lookup: Lookup, by: str) -> tuple[str, Callable[[Lookup], Any]]:
    if "_reject" in request.POST:
        return "Decided: not there.", lambda row: lookups.reject_all(row, by)
    if "_undo" in request.POST:
        if not lookup.is_chosen:
            raise Refused("Nothing to undo: someone else has undone it already.")
        return "Decision undone.", lambda row: lookups.undo_choice(row, by)
    name, answer = _pasted(request, lookup) if "_paste" in request.POST else _candidate(request, lookup)
    return f"Chosen: {name}.", lambda row: lookups.choose(row, by, answer)


def _candidate(request: HttpRequest, lookup: Lookup) -> tuple[str, Any]:
    """(name, answer)."""
    digest = request.POST.get("candidate", "")
    for candidate in lookup.candidates:
        if page.digest_of(candidate) == digest:
            found = page.description_of(lookup, candidate)
            if found.answer is not None:
                name = f"{found.title} ({found.year})" if found.year else found.title
                link = f", {found.link}" if found.link else ""
                return cut_short(strip_unstorable(plain(name)), 200) + link, found.answer
    raise Refused("Nothing was changed: the candidates are others by now.")


def _pasted(request: HttpRequest, lookup: Lookup) -> tuple[str, Any]:
    """(name, answer)."""
    provider = page.provider_of(lookup)
    text = strip_unstorable(request.POST.get("address", "").strip(), MAX_ADDRESS)
    if provider is None or provider.parse_choice is None:
        raise Refused("This provider takes no address.")
    if not text:
        raise Refused("Paste the address first.")
    try:
        return cut_short(plain(text), 200), provider.parse_choice(text)
    except ValueError as error:
        raise Refused(str(error)) from error


def _go_on(model_admin: LookupListAdmin, request: HttpRequest, lookup: Lookup, text: str) -> HttpResponse:
    """From the list of the ambiguous to the next one there; else back to the page."""
    preserved = model_admin.get_preserved_filters(request)
    here = model_admin.url("change", lookup.pk, query=preserved)
    following = None if "_undo" in request.POST else next_to_decide(model_admin, request, lookup)
    if model_admin.status != Lookup.Status.AMBIGUOUS or "_undo" in request.POST:
        model_admin.message_user(request, _with_next(request, lookup, text), messages.SUCCESS)
        return HttpResponseRedirect(here)
    name = page.question_of(lookup).name
    what = f"{cut_short(name, 100)}: {text[:1].lower()}{text[1:]}"
    message = format_html('{} <a href="{}">Change or undo</a>', what, here)
    model_admin.message_user(request, message, messages.SUCCESS)
    if following:
        return HttpResponseRedirect(model_admin.url("change", following, query=preserved))
    model_admin.message_user(request, "That was the last one in this list.", messages.SUCCESS)
    return HttpResponseRedirect(model_admin.url("changelist", query=request.GET.get("_changelist_filters", "")))


def _with_next(request: HttpRequest, lookup: Lookup, text: str) -> str:
    """With a link to what else has to be decided, if the person may see that list."""
    may_view = "_undo" not in request.POST and request.user.has_perm("enrichment.view_ambiguouslookup")
    rows = Lookup.objects.filter(status=Lookup.Status.AMBIGUOUS).exclude(pk=lookup.pk).order_by("-pk")
    following = rows.values_list("pk", flat=True).first() if may_view else None
    if following is None:
        return text
    address = reverse("admin:enrichment_ambiguouslookup_change", args=[following])
    return format_html('{} <a href="{}">Next ambiguous lookup</a>', text, address)


# The list that the person came from.


def listed(model_admin: LookupListAdmin, request: HttpRequest) -> LookupQuerySet:
    """All of it, with its filters."""
    query = QueryDict(request.GET.get("_changelist_filters", ""))
    try:
        return matching(filter_of(query, model_admin.status))
    except BadRequest:
        return Lookup.objects.none()


def neighbours(model_admin: LookupListAdmin, request: HttpRequest, lookup: Lookup) -> tuple[int | None, int | None]:
    """The newer and the older one."""
    pks = listed(model_admin, request).values_list("pk", flat=True)
    newer = pks.filter(pk__gt=lookup.pk).order_by("pk").first()
    older = pks.filter(pk__lt=lookup.pk).order_by("-pk").first()
    return newer, older


def next_to_decide(model_admin: LookupListAdmin, request: HttpRequest, lookup: Lookup) -> int | None:
    """The next older one; behind the last one, the newest of those passed over."""
    pks = listed(model_admin, request).exclude(pk=lookup.pk).order_by("-pk").values_list("pk", flat=True)
    return pks.filter(pk__lt=lookup.pk).first() or pks.first()

"""Ask again, and accept single candidates: proposed with a count, confirmed, done in steps, noted in the history."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count, Max, Q
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse

from console.lookups import page
from console.lookups.base import LookupListAdmin
from console.lookups.selection import in_words, matching, selected_ids, selection_of
from console.proposal import SignedProposal
from enrichment import lookups
from enrichment.lookups import providers
from enrichment.lookups.models import Lookup, LookupQuerySet
from ingestion.text import thousands

ASK_AGAIN, ACCEPT = "ask_again", "accept"
STEP = 500
"""Lookups of one transaction."""
MAX_SECONDS = 15.0
"""An action takes no further step after so long: the page has to answer."""
MAX_ENTRIES = 100
"""Of ticked lookups that get an entry each in the history."""
SAMPLE = 8
MAX_COUNTS = 20
CARRIED = ("_selected_action", "action", "select_across", "from_page")
"""Fields of a request that a confirmation posts again."""
TITLES = {ASK_AGAIN: "Ask {} again?", ACCEPT: "Accept the only candidate of {}?"}
VERBS = {ASK_AGAIN: "Ask again", ACCEPT: "Accept"}
RESULTS = {ASK_AGAIN: "Will be asked again: {}.", ACCEPT: "Accepted the only candidate of {}."}
LOGGED = {ASK_AGAIN: "Asked again", ACCEPT: "Accepted the only candidate"}


class Proposal(SignedProposal):
    @classmethod
    def now(cls, kind: str, selection: Mapping[str, Any]) -> Self:
        """For the lookups that the selection matches now."""
        newest = affected(kind, selection).aggregate(pk=Max("pk"))["pk"]
        return cls(kind=kind, filter=dict(selection), up_to=newest or 0)

    @property
    def lookups(self) -> LookupQuerySet:
        return affected(self.kind, self.filter).filter(pk__lte=self.up_to)


def affected(kind: str, selection: Mapping[str, Any]) -> LookupQuerySet:
    """Of the selection, those that the action is for: never what a person has decided."""
    found = matching(selection).filter(provider__in=providers.names(), chosen_at=None)
    return found if kind == ASK_AGAIN else single_candidates(found)


def single_candidates(found: LookupQuerySet) -> LookupQuerySet:
    """Of these the ambiguous ones with exactly one candidate, which a person may choose."""
    decided = Q(pk__in=[])
    for provider in providers.all_providers():
        decided |= Q(provider=provider.name, kind__in=provider.decided_kinds)
    one = {"candidates__0__isnull": False, "candidates__1__isnull": True}
    return found.filter(decided, status=Lookup.Status.AMBIGUOUS, **one)


def confirm_and_run(model_admin: LookupListAdmin, request: HttpRequest, kind: str) -> HttpResponseBase:
    """The confirmation page; once that is confirmed, the action."""
    confirmed = Proposal.read(request.POST.get("confirmed", ""), request.user.pk, kind)
    if confirmed:
        _run_and_report(request, model_admin, confirmed)
        return HttpResponseRedirect(_page_before(model_admin, request))
    proposal = Proposal.now(kind, selection_of(request, model_admin.status))
    counts = list(
        proposal.lookups.order_by()
        .values_list("provider", "kind", "status")
        .annotate(number=Count("*"))
        .order_by("-number", "provider", "kind", "status")
    )
    count = sum(number for *_, number in counts)
    sample = proposal.lookups.defer("answer").order_by("-pk")[:SAMPLE]
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "list_title": model_admin.list_title,
        "title": TITLES[kind].format(counted(count)),
        "kind": kind,
        "verb": VERBS[kind],
        "count": count,
        "counts": counts[:MAX_COUNTS],
        "sample": [(lookup, page.question_of(lookup), page.cards(lookup)[:1]) for lookup in sample],
        "left_out": matching(proposal.filter).count() - count,
        "selection": "" if "ids" in proposal.filter else in_words(proposal.filter),
        "confirmed": proposal.sign(request.user.pk),
        "has_expired": "confirmed" in request.POST,
        "hidden": [(name, value) for name in CARRIED for value in request.POST.getlist(name)],
        "back": _page_before(model_admin, request),
    }
    return TemplateResponse(request, "admin/lookups/confirm.html", context)


def _page_before(model_admin: LookupListAdmin, request: HttpRequest) -> str:
    """The page of one lookup, or the list, from which the action was chosen."""
    ids = selected_ids(request)
    if "from_page" in request.POST and len(ids) == 1:
        return model_admin.url("change", ids[0], query=request.POST["from_page"])
    return request.get_full_path()


def _run_and_report(request: HttpRequest, model_admin: LookupListAdmin, proposal: Proposal) -> None:
    ticked = list(proposal.lookups.defer("answer", "candidates")[:MAX_ENTRIES]) if "ids" in proposal.filter else []
    done, is_complete = run(proposal, f"user:{request.user.get_username()}")
    if not done:
        text = "Nothing to do: already decided, or changed by someone else."
        model_admin.message_user(request, text, messages.WARNING)
        return
    log_action(request, proposal, done, ticked)
    text = RESULTS[proposal.kind].format(counted(done))
    if is_complete:
        model_admin.message_user(request, text, messages.SUCCESS)
    else:
        rest = f"{text} There are more than one step can do: repeat the action for the rest."
        model_admin.message_user(request, rest, messages.WARNING)


def run(proposal: Proposal, by: str) -> tuple[int, bool]:
    """(how many it was done for, whether these are all), in steps in order of id, each a transaction."""
    end, done, reached = time.monotonic() + MAX_SECONDS, 0, 0
    while True:
        left = proposal.lookups.filter(pk__gt=reached).order_by("pk")
        pks = list(left.values_list("pk", flat=True)[:STEP])
        done += STEP_BY_KIND[proposal.kind](pks, by)
        if len(pks) < STEP or time.monotonic() > end:
            return done, len(pks) < STEP
        reached = pks[-1]


def _ask_again(pks: list[int], by: str) -> int:
    return lookups.ask_again(Lookup.objects.filter(pk__in=pks), by)


def _accept(pks: list[int], by: str) -> int:
    """Those with a candidate that can be chosen."""
    answers = {}
    for lookup in single_candidates(Lookup.objects.filter(pk__in=pks)).defer("answer"):
        answer = page.description_of(lookup, lookup.candidates[0]).answer
        if answer is not None:
            answers[lookup.pk] = answer
    return lookups.choose_each(answers, by)


STEP_BY_KIND = {ASK_AGAIN: _ask_again, ACCEPT: _accept}


def log_action(request: HttpRequest, proposal: Proposal, done: int, ticked: Sequence[Lookup]) -> None:
    """An entry for each ticked lookup; for all that match a list's filter a single one, of no lookup."""
    common: dict[str, Any] = {
        "user_id": request.user.pk,
        "content_type": ContentType.objects.get_for_model(Lookup),
        "action_flag": CHANGE,
    }
    text = LOGGED[proposal.kind]
    if ticked:
        LogEntry.objects.bulk_create(
            LogEntry(**common, object_id=str(each.pk), object_repr=str(each)[:200], change_message=f"{text}.")
            for each in ticked
        )
    else:
        selection = in_words(proposal.filter).capitalize()[:200]
        LogEntry.objects.create(**common, object_repr=selection, change_message=f"{text}: {counted(done)}.")


def counted(count: int) -> str:
    return f"{thousands(count)} lookup{'' if count == 1 else 's'}"

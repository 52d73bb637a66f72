"""What people decide about lookups: a choice is locked against every later run until a person undoes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from enrichment.lookups import answers
from enrichment.lookups.models import Lookup, LookupQuerySet
from enrichment.statements import batched

CHOSEN = "chosen"
"""`Lookup.how` of what a person has decided."""
ASKED_AGAIN: dict[str, Any] = {
    "due_at": Now(),
    "asked_again": True,
    "claim": "",
    "tries": 0,
    "failures": 0,
    "failed_at": None,
    "fault": "",
    "last_error": "",
}


def choose(lookup: Lookup, by: str, data: Any) -> Lookup:
    """This is the answer, whatever the provider says. Returns the row as it is stored now."""
    return _decide(lookup, Lookup.Status.FOUND, by, data)


def choose_each(chosen: Mapping[int, Any], by: str) -> int:
    """Likewise for several (id → answer) in one transaction, leaving out those that are ambiguous no longer.

    Returns how many.
    """
    with transaction.atomic():
        locked = Lookup.objects.lock(chosen)
        rows = [row for row in locked if row.status == Lookup.Status.AMBIGUOUS]
        for row in rows:
            _set(row, Lookup.Status.FOUND, by, chosen[row.pk])
            row.save()
        for provider in sorted({row.provider for row in rows}):
            answers.apply([row for row in rows if row.provider == provider])
    return len(rows)


def reject_all(lookup: Lookup, by: str) -> Lookup:
    """The provider does not have it: none of the candidates is right."""
    return _decide(lookup, Lookup.Status.NOT_FOUND, by)


def undo_choice(lookup: Lookup, by: str) -> Lookup:
    """Takes the choice back and has the question asked again. (`by` is for the history, which is the caller's.)"""
    return _decide(lookup, Lookup.Status.AMBIGUOUS if lookup.candidates else Lookup.Status.OPEN, "")


def ask_again(lookups: LookupQuerySet, by: str) -> int:
    """Has these asked before all refreshes, except those that a person has decided; their answers stay meanwhile.

    Returns how many. (`by` is for the history, which is the caller's.)
    """
    count = 0
    with transaction.atomic():
        # Locked in order, as by everybody who locks several: an update locks in any.
        free = lookups.filter(chosen_at=None).order_by("pk").select_for_update(no_key=True, of=("self",))
        for pks in batched(list(free.values_list("pk", flat=True))):
            count += Lookup.objects.filter(pk__in=pks).update(**ASKED_AGAIN)
    return count


def _decide(lookup: Lookup, status: Lookup.Status, by: str, answer: Any = None) -> Lookup:
    """Stores the decision and what follows from it. The claim ends: an answer under way comes to nothing."""
    with transaction.atomic():
        (row,) = Lookup.objects.lock([lookup.pk])
        _set(row, status, by, answer)
        row.save()
        answers.apply([row])
    return row


def _set(row: Lookup, status: Lookup.Status, by: str, answer: Any) -> None:
    row.status, row.answer, row.score = status, answer, 1.0 if by and answer is not None else None
    row.how, row.chosen_by, row.chosen_at = (CHOSEN, by, timezone.now()) if by else ("", "", None)
    row.answered_at = timezone.now() if row.is_settled else None
    row.due_at, row.asked_again = (None, False) if by else (timezone.now(), True)
    row.claim, row.gone_at, row.next = "", None, None
    row.tries = row.misses = row.failures = 0
    row.fault = row.last_error = ""
    row.failed_at = None

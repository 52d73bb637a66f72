"""Claims: what a runner asks next, for how long it is its own, and how it stores what came of it."""

from __future__ import annotations

import copy
import itertools
import logging
import math
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Coalesce, Now

from enrichment.lookups import answers, control
from enrichment.lookups.errors import KeyRefused, ProviderError, QuestionError, RunnerStopped, Throttled
from enrichment.lookups.limits import pause
from enrichment.lookups.models import Lookup, LookupMinute, ProviderState
from enrichment.lookups.providers import Answer, Provider, nothing_to_prepare
from enrichment.lookups.questions import create
from enrichment.statements import AT_ONCE
from ingestion.text import strip_unstorable

LOCK_TIMEOUT = "2s"
"""So long the storing of an answer waits for a row; then it is tried again."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What came of asking one question."""

    lookup: Lookup
    """As it was claimed."""
    result: Answer | Exception
    alone: bool = False
    """Of an error: no other question was answered while this one was being asked."""


def lease() -> timedelta:
    """A claim that is not renewed for so long is of a process that has died."""
    return timedelta(seconds=settings.CLAIM_LEASE)


def claim(provider: Provider, batches: int) -> list[Lookup]:
    """Up to so many batches of lookups that are due: new ones in their turn, then those that a person has asked again,
    then those that were not found or failed, then refreshes. Whatever shares a batch with one whose turn it is comes
    with it. Commits; they carry their claim.
    """
    due = Lookup.objects.due().filter(provider=provider.name, chosen_at=None)
    settled = due.exclude(status=Lookup.Status.OPEN).order_by("due_at", "id")
    queues = (due.open().order_by("turn", "id"), settled.filter(asked_again=True), settled)
    with transaction.atomic(durable=True):
        found: dict[int, Lookup] = {}
        for queue in queues:
            while batches > 0 and (rows := _next_of_one_kind(provider, queue.exclude(pk__in=found), batches)):
                found |= {row.pk: row for row in rows}
                batches -= math.ceil(len(rows) / provider.batch_of(rows[0].kind))
        return _take(provider, found)


def _next_of_one_kind(provider: Provider, queue: QuerySet[Lookup], batches: int) -> list[Lookup]:
    """So many batches, locked. Questions answered singly are taken as they come, whatever their kind."""
    rows = queue.select_for_update(skip_locked=True, no_key=True)
    first = list(rows[:batches])
    if not first or provider.batch_of(first[0].kind) == 1:
        return list(itertools.takewhile(lambda row: provider.batch_of(row.kind) == 1, first))
    kind = first[0].kind
    return list(rows.filter(kind=kind)[: batches * provider.batch_of(kind)])


def claim_trial(provider: Provider) -> list[Lookup]:
    """One batch, to see whether a provider that was away is back. If it has failed before, one that was
    answered before comes with it, so that it turns out whose fault the failures are.
    """
    trial = claim(provider, 1)
    if not trial or not trial[0].failures:
        return trial
    answered = Lookup.objects.filter(provider=provider.name, status=Lookup.Status.FOUND, chosen_at=None, claim="")
    with transaction.atomic(durable=True):
        found = answered.order_by("-answered_at").select_for_update(skip_locked=True, no_key=True)[:1]
        return trial + _take(provider, {row.pk: row for row in found})


def _take(provider: Provider, found: Mapping[int, Lookup]) -> list[Lookup]:
    """Marks these, which are locked, as claimed, once they are prepared."""
    rows = _prepare(provider, list(found.values()))
    if not rows:
        return []
    mark = secrets.token_hex(16)
    Lookup.objects.filter(pk__in=[row.pk for row in rows]).update(claim=mark, due_at=Now() + lease(), asked_at=Now())
    for row in rows:
        row.claim = mark
    return rows


def _prepare(provider: Provider, rows: list[Lookup]) -> list[Lookup]:
    """With their questions as they are to be asked now. A bug concerns its own question alone, which is left out."""
    if provider.prepare is nothing_to_prepare:
        return rows
    before = {row.pk: copy.deepcopy(row.question) for row in rows}
    try:
        with transaction.atomic():
            provider.prepare(rows)
            changed = [row for row in rows if row.question != before[row.pk]]
            Lookup.objects.bulk_update(changed, ["question"], batch_size=AT_ONCE)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        for row in rows:
            row.question = before[row.pk]
        if len(rows) > 1:
            return [prepared for row in rows for prepared in _prepare(provider, [row])]
        logger.exception("Preparing a question to %s failed.", provider.name)
        now = Lookup.objects.values_list(Now(), flat=True).get(pk=rows[0].pk)
        answers.code_failed(rows[0], f"{type(error).__name__}: {error}", now)
        rows[0].save(update_fields=answers.SAVED_FIELDS)
        return []
    return rows


def renew(lookups: Iterable[Lookup]) -> None:
    """Another lease for those that still have the claim they have here."""
    with transaction.atomic():
        kept = [row.pk for row in _held(lookups)]
        Lookup.objects.filter(pk__in=kept).update(due_at=Now() + lease())


def release(lookups: Iterable[Lookup]) -> None:
    """They are due again at once; nothing has happened."""
    with transaction.atomic():
        kept = [row.pk for row in _held(lookups)]
        Lookup.objects.filter(pk__in=kept).update(due_at=Now(), claim="")


def _held(lookups: Iterable[Lookup]) -> list[Lookup]:
    """Locks those that still have the claim they have here; who has locked one meanwhile may keep it."""
    claims = {row.pk: row.claim for row in lookups}
    rows = Lookup.objects.filter(pk__in=claims).order_by("pk").select_for_update(skip_locked=True, no_key=True)
    return [row for row in rows if row.claim == claims[row.pk]]


def store(provider: Provider, outcomes: Sequence[Outcome], counts: Counter[str]) -> Counter[str]:
    """Stores what came of these, each with what follows from it; empties the counts, and returns all that it counted.

    All in one transaction; if that fails, one by one, so that a bug concerns its own question alone. Raises
    OperationalError and InterfaceError: then nothing, or not all, has been stored, and it may be called again.
    """
    try:
        return _store(provider, outcomes, counts)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        if len(outcomes) > 1:
            return sum((store(provider, [outcome], counts) for outcome in outcomes), Counter[str]())
        if outcomes and outcomes[0].result is not error:
            logger.exception("What follows from an answer of %s failed.", provider.name)
            return _store(provider, [Outcome(outcomes[0].lookup, error)], counts)
        raise


def _store(provider: Provider, outcomes: Sequence[Outcome], counts: Counter[str]) -> Counter[str]:
    with transaction.atomic(durable=True):
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", [LOCK_TIMEOUT])
        state = ProviderState.objects.annotate(now=Now()).get(provider=provider.name)
        changed, at_fault = _settle(provider, state, outcomes)
        answers.apply(changed)
        numbers = Counter(counts)
        numbers.update(str(row.status) for row in changed if row.answered_at == state.now)
        if numbers.total():
            LookupMinute.objects.add(provider.name, state.now, numbers)
        own = [outcome.result for outcome in outcomes if outcome.lookup.pk in at_fault]
        others = [outcome for outcome in outcomes if outcome.lookup.pk not in at_fault]
        _note(provider, state, others, any(isinstance(error, QuestionError) for error in own))
    counts.clear()
    return numbers


def _settle(provider: Provider, state: Any, outcomes: Sequence[Outcome]) -> tuple[list[Lookup], set[int]]:
    """Changes and saves the rows whose claim still holds, and those whose answers came along with others.

    Returns those that `apply` has to know of, and the ids of those that were not answered by their own fault.
    """
    also = _create_also(provider, outcomes)
    # One that was asked beside it has shown that the provider is back (see claim_trial).
    others_answered = bool(state.away_since) and any(isinstance(outcome.result, Answer) for outcome in outcomes)
    claimed = {outcome.lookup.pk: outcome for outcome in outcomes}
    changed: list[Lookup] = []
    at_fault: set[int] = set()
    for row in Lookup.objects.lock({*claimed, *also}):
        outcome, status, tries = claimed.get(row.pk), row.status, row.tries
        result = outcome.result if outcome and row.claim == outcome.lookup.claim else None
        if row.pk in also and not isinstance(result, Answer):
            result = also[row.pk]
        if result is None or row.is_chosen:
            continue  # claimed anew, or decided by a person
        if isinstance(result, Answer):
            answers.settle(row, result, provider, state.now)
        else:
            _take_error(row, result, state, others_answered)
            if row.tries != tries:
                at_fault.add(row.pk)
        row.save(update_fields=answers.SAVED_FIELDS)
        if isinstance(result, Answer) or row.status != status:
            changed.append(row)
    return changed, at_fault


def _take_error(row: Lookup, error: Exception, state: Any, others_answered: bool) -> None:
    now, last_success = state.now, state.last_success_at
    match error:
        case RunnerStopped() | Throttled() | KeyRefused():
            row.claim, row.due_at = "", now
        case QuestionError():
            answers.question_failed(row, str(error), now)
        case ProviderError():
            others_answered |= bool(row.failed_at and last_success and last_success >= row.failed_at)
            answers.provider_failed(row, str(error), now, others_answered=others_answered)
        case _:
            answers.code_failed(row, f"{type(error).__name__}: {error}", now)


def _create_also(provider: Provider, outcomes: Sequence[Outcome]) -> dict[int, Answer]:
    """The lookups, by id, whose answers came along with others: created where nobody has asked them."""
    by_kind: dict[str, dict[str, Answer]] = {}
    for outcome in outcomes:
        if isinstance(outcome.result, Answer):
            for (kind, key), value in outcome.result.also.items():
                by_kind.setdefault(kind, {})[key] = answers.as_answer(value)
    return {
        known.pk: found[key]
        for kind, found in sorted(by_kind.items())
        for key, known in create(provider.name, kind, {key: {} for key in found}, {}).items()
    }


def _note(provider: Provider, state: Any, outcomes: Sequence[Outcome], has_refused: bool) -> None:
    """Whether the provider is there; it is, too, if it has refused a question. (Last: who books slots waits for the
    row.)
    """
    row, now = ProviderState.objects.filter(provider=provider.name), state.now
    errors = [outcome for outcome in outcomes if isinstance(outcome.result, ProviderError)]
    errors = [outcome for outcome in errors if not isinstance(outcome.result, RunnerStopped | Throttled)]
    if errors:
        message = strip_unstorable(str(errors[-1].result), answers.MAX_ERROR)
        row.update(last_error=message, last_error_at=now)
    if refused := [outcome.result for outcome in errors if isinstance(outcome.result, KeyRefused)]:
        control.stop(provider, str(refused[0]))
    elif has_refused or any(isinstance(outcome.result, Answer) for outcome in outcomes):
        row.update(last_success_at=now, away_since=None, away_until=None, away_count=0)
    elif any(outcome.alone for outcome in errors) and (state.away_until is None or state.away_until <= now):
        row.filter(away_count=state.away_count).update(  # of several processes one counts it
            away_since=Coalesce("away_since", now),
            away_until=now + timedelta(seconds=pause(state.away_count)),
            away_count=state.away_count + 1,
        )

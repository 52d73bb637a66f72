"""What an answer, or an error, makes of its lookup; and what follows from it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from enrichment.lookups import providers
from enrichment.lookups.limits import pause
from enrichment.lookups.models import Lookup
from enrichment.lookups.providers import Answer, Provider
from enrichment.lookups.questions import raise_wants
from ingestion.text import strip_unstorable

MAX_TRIES = 5
AGAIN_AFTER_FAILURE = timedelta(days=1)
"""When it is tried again to refresh an answer, if that failed five times."""
MAX_CODE_PAUSE = 3600.0
"""Seconds; likewise for errors of our code, which ask in vain as long as they last."""
SPREAD = 0.1
"""The share of an expiry by which answers that came together are asked again earlier."""
SAVED_FIELDS = (
    *("status", "answer", "candidates", "score", "how", "next", "due_at", "asked_again", "claim", "tries"),
    *("misses", "failures", "failed_at", "fault", "last_error", "answered_at", "gone_at"),
)
"""What `settle` and the others change."""
MAX_ERROR = 500
"""Characters of an error that are kept."""


def as_answer(value: Any) -> Answer:
    """What `ask` said to a question, in full."""
    if isinstance(value, Answer):
        return value
    return Answer(status="not_found") if value is None else Answer(status="found", data=value)


def settle(lookup: Lookup, answer: Answer, provider: Provider, now: datetime) -> None:
    """The row with this answer, unsaved. What was found before stays when it cannot be found again (L6)."""
    status = Lookup.Status(answer.status)
    if status == Lookup.Status.FAILED:
        lookup.tries = MAX_TRIES
        _fail(lookup, answer.message or f"{provider} has no usable answer.", Lookup.Fault.QUESTION, now)
        return
    _forget_errors(lookup)
    keep = lookup.status == Lookup.Status.FOUND and status != Lookup.Status.FOUND
    lookup.misses = lookup.misses + 1 if status == Lookup.Status.NOT_FOUND else 0
    lookup.due_at = _ask_again_at(lookup, status, provider, now)
    if status == Lookup.Status.NOT_FOUND and keep:
        lookup.gone_at = lookup.gone_at or now
    if keep:
        return
    lookup.status, lookup.answered_at, lookup.gone_at = status, now, None
    lookup.answer = storable(answer.data)
    lookup.candidates = [storable(candidate) for candidate in answer.candidates]
    lookup.score, lookup.how = answer.score, answer.how
    if status != Lookup.Status.FOUND:
        lookup.next = None


def question_failed(lookup: Lookup, message: str, now: datetime) -> None:
    """The provider does not take the question: after five tries it has failed."""
    lookup.tries += 1
    _fail(lookup, message, Lookup.Fault.QUESTION, now)


def provider_failed(lookup: Lookup, message: str, now: datetime, *, others_answered: bool) -> None:
    """The provider did not answer: the question's own fault only if others have been answered since it last failed."""
    lookup.tries += others_answered
    _fail(lookup, message, Lookup.Fault.PROVIDER, now)


def code_failed(lookup: Lookup, message: str, now: datetime) -> None:
    """`ask` or `apply` has a bug: asked again, ever more rarely, until it is fixed."""
    _fail(lookup, message, Lookup.Fault.CODE, now)


def apply(lookups: Sequence[Lookup]) -> None:
    """Has the provider of these, which are locked and saved, do what follows from their answers, and asks what it wants
    to know next. What is raised must undo the transaction.
    """
    if lookups:
        raise_wants(providers.get(lookups[0].provider).apply(lookups) or ())


def storable(value: Any) -> Any:
    """JSON as every database takes it: without NUL, lone surrogates, and numbers that are none."""
    match value:
        case str():
            return strip_unstorable(value)
        case float():
            return value if math.isfinite(value) else None
        case Mapping():
            return {strip_unstorable(str(name)): storable(member) for name, member in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
        case _:
            return value


def _ask_again_at(lookup: Lookup, status: Lookup.Status, provider: Provider, now: datetime) -> datetime | None:
    if status == Lookup.Status.NOT_FOUND:
        again = provider.not_found_expiry(lookup.kind, lookup.misses)
        return None if again is None else now + again
    expiry = provider.expiry(lookup.kind)
    return None if expiry is None else now + expiry * random.uniform(1 - SPREAD, 1)  # noqa: S311


def _forget_errors(lookup: Lookup) -> None:
    lookup.claim, lookup.asked_again = "", False
    lookup.tries = lookup.failures = 0
    lookup.failed_at = None
    lookup.fault = lookup.last_error = ""


def _fail(lookup: Lookup, message: str, fault: Lookup.Fault, now: datetime) -> None:
    is_code = fault == Lookup.Fault.CODE
    seconds = pause(lookup.failures, MAX_CODE_PAUSE) if is_code else pause(max(0, lookup.tries - 1))
    lookup.claim, lookup.failed_at, lookup.fault = "", now, fault
    lookup.due_at = now + timedelta(seconds=seconds)
    lookup.failures = min(lookup.failures + 1, 1000)
    lookup.last_error = strip_unstorable(message, MAX_ERROR)
    if lookup.tries < MAX_TRIES:
        return
    lookup.asked_again = False
    if lookup.status == Lookup.Status.FOUND:
        lookup.tries, lookup.due_at = 0, now + AGAIN_AFTER_FAILURE
    else:
        lookup.status, lookup.answered_at, lookup.due_at = Lookup.Status.FAILED, now, None

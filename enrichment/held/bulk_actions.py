"""Bulk actions: one decision about held records, one or thousands of them, done in steps that survive a crash."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Count, Max
from django.utils import timezone

from enrichment import steps
from enrichment.held import bulk_fix, requeue
from enrichment.models import BulkAction, BulkActionQuerySet, HeldRecord, HeldRecordQuerySet
from ingestion import doorbell, streams
from ingestion.messages import MAX_MESSAGE
from ingestion.models import Delivery
from ingestion.text import plain, strip_unstorable

STEP = 1000
"""The most held records of one step, and so of one transaction."""
STEP_SECONDS = 2.0
"""After these a step takes no further record: it holds locks, and its task has a timeout."""

SKIPPED, AND_REPROCESS = "skipped", "reprocess"
"""Names in BulkAction.change, of a fix: why records are skipped → how many; whether it also reprocesses."""

Kind, Status = BulkAction.Kind, HeldRecord.Status


def matching_records(kind: str, criteria: dict[str, Any]) -> HeldRecordQuerySet:
    """The records that a bulk action of this kind, with this filter, would act on now."""
    records = HeldRecord.objects.matching(criteria).open()
    if kind == Kind.DISCARD:
        return records
    records = records.filter(stream__in=streams.names())  # no worker takes those of an unregistered stream
    return records.filter(queued_in=None) if kind == Kind.REPROCESS else records


def create(
    kind: str,
    criteria: dict[str, Any],
    *,
    by: str,
    user: User | None = None,
    up_to: int | None = None,
    reason: str = "",
    change: dict[str, Any] | None = None,
) -> BulkAction:
    """Records what is to be done. From then on the workers do it; run_next_step() does a step at once.

    `up_to` is the newest record to act on, else the newest there is: later arrivals are not included.
    """
    records = matching_records(kind, criteria)
    found = (records if up_to is None else records.filter(pk__lte=up_to)).aggregate(newest=Max("pk"), total=Count("*"))
    return BulkAction.objects.create(
        kind=kind,
        filter=criteria,
        by=by,
        user=user,
        up_to=found["newest"] or 0,
        total=found["total"],
        reason=reason,
        change=change or {},
    )


def run_to_completion(
    bulk_action: BulkAction, after_step: Callable[[BulkAction], object] = lambda bulk_action: None
) -> BulkAction:
    """Does the steps that are left, or waits for the process that does them."""
    only_this = BulkAction.objects.filter(pk=bulk_action.pk)
    return steps.run_to_completion(bulk_action, lambda: run_next_step(only_this), after_step)


def run_next_step(bulk_actions: BulkActionQuerySet, *, seconds: float | None = None) -> bool:
    """One step, all or nothing, of the oldest unfinished one that no other process is working on; False if there is
    none. It takes about `seconds`, else STEP_SECONDS, and at least one record.

    An error is recorded with the bulk action and raised: the step is tried again, after bulk actions without an error.
    """
    unfinished = bulk_actions.unfinished().order_by("last_error", "pk")
    end = time.monotonic() + (STEP_SECONDS if seconds is None else seconds)
    if not steps.run_next_step(unfinished, lambda bulk_action: _step(bulk_action, end), _record_error):
        return False
    doorbell.ring()
    return True


def _record_error(bulk_action: BulkAction, error: Exception) -> None:
    last_error = strip_unstorable(f"{type(error).__name__}: {error}", MAX_MESSAGE)
    BulkAction.objects.unfinished().filter(pk=bulk_action.pk).update(last_error=last_error)


def _step(bulk_action: BulkAction, end: float) -> bool:
    left = (
        matching_records(bulk_action.kind, bulk_action.filter)
        .filter(pk__gt=bulk_action.reached, pk__lte=bulk_action.up_to)
        .order_by("pk")
    )
    if pks := list(left.values_list("pk", flat=True)[:STEP]):
        acted, bulk_action.reached = STEP_BY_KIND[bulk_action.kind](bulk_action, pks, end)
        bulk_action.count += acted
    if len(pks) < STEP and bulk_action.reached >= max(pks, default=0):
        bulk_action.finished_at = timezone.now()
    bulk_action.last_error = ""
    bulk_action.save(update_fields=["change", "count", "reached", "finished_at", "last_error"])
    return True


# Each function takes these ids in order, until about `end` (of time.monotonic), and returns (how many records it acted
# on, the last id it finished). Where large records cost no more than small ones it takes all of them.


def _reprocess(bulk_action: BulkAction, pks: Sequence[int], end: float) -> tuple[int, int]:
    return _requeue(bulk_action, pks), pks[-1]


def _requeue(bulk_action: BulkAction, pks: Sequence[int]) -> int:
    acted = 0
    for stream, of_stream in requeue.by_stream(HeldRecord.objects.filter(pk__in=pks)).items():
        deliveries = requeue.queue(stream, of_stream, Delivery.Source.BULK_ACTION)
        bulk_action.deliveries.add(*deliveries)
        bulk_action.acted_on.add(*(pk for delivery in deliveries for pk in json.loads(bytes(delivery.body))))
        acted += sum(delivery.count for delivery in deliveries)
    return acted


def _fix(bulk_action: BulkAction, pks: Sequence[int], end: float) -> tuple[int, int]:
    """Also reprocesses those it fixed, if the bulk action says so."""
    done = bulk_fix.fix(pks, change_of(bulk_action), end)
    bulk_action.change[SKIPPED] = bulk_fix.add_reasons(bulk_action.change.get(SKIPPED, {}), done.skipped)
    if bulk_action.change.get(AND_REPROCESS):
        _requeue(bulk_action, done.pks)
    bulk_action.acted_on.add(*done.pks)
    return len(done.pks), done.reached


def _discard(bulk_action: BulkAction, pks: Sequence[int], end: float) -> tuple[int, int]:
    changes = {"status": Status.DISCARDED, "discard_reason": bulk_action.reason, "queued_in": None}
    locked = HeldRecord.objects.open().filter(pk__in=pks).order_by("pk").select_for_update()
    found = list(locked.values_list("pk", flat=True))
    bulk_action.acted_on.add(*found)
    return HeldRecord.objects.open().filter(pk__in=found).update(**changes, changed_at=timezone.now()), pks[-1]


STEP_BY_KIND: dict[str, Callable[[BulkAction, Sequence[int], float], tuple[int, int]]] = {
    Kind.REPROCESS: _reprocess,
    Kind.DISCARD: _discard,
    Kind.FIX: _fix,
}


# For people to read.


def describe_filter(criteria: Mapping[str, Any], known: Mapping[int, HeldRecord] = MappingProxyType({})) -> str:
    """A filter in words, for the history, lists and pages: "dead letters with code invalid". A single selected record
    is named by its key too, if it is in `known`.
    """
    text = {"dead": "dead letters", "waiting": "waiting records"}.get(criteria.get("status", ""), "open failed records")
    if pks := criteria.get("ids", []):
        text = f"failed record {pks[0]}" if len(pks) == 1 else f"{len(pks):,} selected failed records"
        if len(pks) == 1 and (one := known.get(pks[0])):
            text = f"{one.stream} {one.key or 'no ID'} ({text})"
    return plain(" ".join([text, *(words.format(criteria[name]) for name, words in WORDS.items() if name in criteria)]))


def past_tense(bulk_action: BulkAction) -> str:
    """What was done to its records, as the beginning of a sentence."""
    if bulk_action.kind == Kind.FIX:
        return "Fixed and reprocessed" if bulk_action.change.get(AND_REPROCESS) else "Fixed"
    return {Kind.REPROCESS: "Reprocessed", Kind.DISCARD: "Discarded"}[Kind(bulk_action.kind)]


def change_of(bulk_action: BulkAction) -> bulk_fix.Change:
    return bulk_fix.Change.from_dict(bulk_action.change)


WORDS = {
    "stream": "of {}",
    "missing_stream": "missing {}",
    "missing_key": "{}",
    "code": "with code {}",
    "message": "with the error “{}”",
    "stage": "in stage {}",
    "key": "with the ID {}",
    "client": "from {}",
    "delivery": "in delivery {}",
    "upload": "in upload {}",
    "held_after": "failed since {}",
    "held_before": "failed before {}",
}

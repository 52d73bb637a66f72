"""What the pages of bulk actions show: how far each is, and where its records are now."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from enrichment import stats
from enrichment.held import bulk_actions
from enrichment.models import BulkAction, HeldRecord
from ingestion.models import Delivery, PausedStream

MAX_LINKS = 20
"""To deliveries or held records."""
MAX_EXAMINED = 5_000
"""Held records of which a page tells where they are now."""
QUEUED = "on its way"

Kind, Status = BulkAction.Kind, HeldRecord.Status


@dataclass(frozen=True, kw_only=True)
class Progress:
    """In two phases: the steps of the bulk action, then the work on the deliveries that these have made."""

    bulk_action: BulkAction
    came_of: dict[str, int]
    """Of the records sent through again: what they came to, "held again" and "pending" among it."""

    @property
    def total(self) -> int:
        return self.bulk_action.total

    @property
    def left(self) -> dict[str, int]:
        """Of a fix: why records are left as they are → how many."""
        left: dict[str, int] = self.bulk_action.change.get(bulk_actions.SKIPPED, {})
        return left

    @property
    def seen(self) -> int:
        """Of the total, those that the steps have come to."""
        if self.bulk_action.finished_at:
            return self.total
        return min(self.total, self.bulk_action.count + sum(self.left.values()))

    @property
    def to_come(self) -> int:
        return self.total - self.seen

    @property
    def overtaken(self) -> int:
        """Those that somebody else had closed, or sent on, before their step came."""
        return (
            max(0, self.seen - self.bulk_action.count - sum(self.left.values())) if self.bulk_action.finished_at else 0
        )

    @property
    def reprocesses(self) -> bool:
        return self.bulk_action.kind == Kind.REPROCESS or bool(self.bulk_action.change.get(bulk_actions.AND_REPROCESS))

    @property
    def pending(self) -> int:
        return self.came_of.get("pending", 0)

    @property
    def sent_on(self) -> int:
        return sum(self.came_of.values())

    @property
    def processed(self) -> int:
        return self.sent_on - self.pending

    @property
    def moves(self) -> bool:
        return not self.bulk_action.finished_at or bool(self.pending)

    @property
    def status(self) -> str:
        if not self.bulk_action.finished_at:
            return "failing" if self.bulk_action.last_error else "at work"
        return "being processed" if self.pending else "done"

    @property
    def badge(self) -> str:
        return {"failing": "failing", "done": "processed"}.get(self.status, "pending")

    @property
    def told(self) -> str:
        """What it came to so far, in a line."""
        told = [f"{number:,} {name}" for name, number in self.came_of.items() if number]
        if self.bulk_action.count and not told:  # its deliveries are none, or deleted by now
            told.append(f"{self.bulk_action.count:,} {bulk_actions.past_tense(self.bulk_action).lower()}")
        if left := sum(self.left.values()):
            told.append(f"{left:,} left as {'it is' if left == 1 else 'they are'}")
        return " · ".join(told) or ("nothing yet" if self.moves else "nothing was left to do")


def progress_by_id(shown: Iterable[BulkAction]) -> dict[int, Progress]:
    """bulk action → how far it is; in one query, however many."""
    shown = list(shown)
    came_of = stats.outcomes_of_bulk_actions([bulk_action.pk for bulk_action in shown])
    return {
        bulk_action.pk: Progress(bulk_action=bulk_action, came_of=came_of.get(bulk_action.pk, {}))
        for bulk_action in shown
    }


@dataclass(frozen=True, kw_only=True)
class RecordsNow:
    """Where the records are now that a bulk action has sent through again, or the latest of them."""

    examined: int = 0
    kinds: list[tuple[str, str, str, int]] = field(default_factory=list)
    """[(stream, status or "on its way", outcome or code, how many)]"""
    open: list[tuple[HeldRecord, str]] = field(default_factory=list)
    """The latest that are waiting or dead, with their first message."""
    open_count: int = 0
    """All of those looked at that are."""
    deliveries: list[Delivery] = field(default_factory=list)
    """The latest that it has made."""
    paused: list[str] = field(default_factory=list)
    """The paused streams of those that are pending."""


def records_now(bulk_action: BulkAction) -> RecordsNow:
    bodies, pks = bulk_action.deliveries.order_by("-pk").values_list("body", flat=True), list[int]()
    for body in bodies.iterator(chunk_size=10):
        pks += json.loads(bytes(body))
        if len(pks) >= MAX_EXAMINED:
            break
    examined = HeldRecord.objects.filter(pk__in=pks[:MAX_EXAMINED])
    rows = sorted(examined.values_list("pk", "stream", "status", "outcome", "code", "queued_in"), reverse=True)
    still_open = [pk for pk, _, status, _, _, queued_in in rows if status in HeldRecord.OPEN and queued_in is None]
    shown = HeldRecord.objects.filter(pk__in=still_open[:MAX_LINKS]).defer("payload", "original_payload")
    deliveries = list(bulk_action.deliveries.defer("body").order_by("-pk")[:MAX_LINKS])
    pending = {delivery.stream for delivery in deliveries if not delivery.processed_at}
    return RecordsNow(
        examined=len(rows),
        kinds=_kinds(rows),
        open=[(held, held.message) for held in shown.order_by("-pk")],
        open_count=len(still_open),
        deliveries=deliveries,
        paused=list(
            PausedStream.objects.filter(stream__in=pending).order_by("stream").values_list("stream", flat=True)
        ),
    )


def _kinds(rows: Iterable[tuple[int, str, str, str, str, int | None]]) -> list[tuple[str, str, str, int]]:
    numbers = Counter(_kind(*row) for row in rows)
    return [(*kind, number) for kind, number in sorted(numbers.items(), key=lambda each: (-each[1], each[0]))]


def _kind(_: int, stream: str, status: str, outcome: str, code: str, queued_in: int | None) -> tuple[str, str, str]:
    if status == Status.RESOLVED:
        return stream, status, outcome
    if queued_in is not None:
        return stream, QUEUED, ""
    return stream, status, code if status in HeldRecord.OPEN else ""

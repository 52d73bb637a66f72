"""What the pages of bulk actions show: the progress of each, and the current status of its records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse

from console.personal import for_user
from console.templatetags.names import error_of
from enrichment import stats
from enrichment.held import bulk_actions
from enrichment.models import BulkAction, HeldRecord
from ingestion.models import Delivery, PausedStream

MAX_LINKS = 20
"""To deliveries or failed records, on the page of a bulk action."""
MAX_EXAMINED = 5_000
"""Failed records whose current status a page counts."""
QUEUED = "queued"

Kind, Status = BulkAction.Kind, HeldRecord.Status


@dataclass(frozen=True, kw_only=True)
class Progress:
    """In two phases: the steps of the bulk action, then the processing of the deliveries that they made."""

    bulk_action: BulkAction
    outcomes: dict[str, int]
    """Of the records requeued: outcome → how many, with "failed again" and "pending"."""

    @property
    def total(self) -> int:
        return self.bulk_action.total

    @property
    def skipped(self) -> dict[str, int]:
        """Of a fix: why records were not changed → how many."""
        skipped: dict[str, int] = self.bulk_action.change.get(bulk_actions.SKIPPED, {})
        return skipped

    @property
    def handled(self) -> int:
        """Records that the steps have changed, requeued, or skipped."""
        return self.bulk_action.count + sum(self.skipped.values())

    @property
    def done(self) -> int:
        """Of the total, in the first phase."""
        return self.total if self.bulk_action.finished_at else min(self.total, self.handled)

    @property
    def remaining(self) -> int:
        return self.total - self.done

    @property
    def handled_by_others(self) -> int:
        """Closed or requeued by somebody else before their step."""
        return max(0, self.total - self.handled) if self.bulk_action.finished_at else 0

    @property
    def reprocesses(self) -> bool:
        return self.bulk_action.kind == Kind.REPROCESS or bool(self.bulk_action.change.get(bulk_actions.AND_REPROCESS))

    @property
    def pending(self) -> int:
        return self.outcomes.get("pending", 0)

    @property
    def requeued(self) -> int:
        return sum(self.outcomes.values())

    @property
    def processed(self) -> int:
        return self.requeued - self.pending

    @property
    def is_running(self) -> bool:
        return not self.bulk_action.finished_at or bool(self.pending)

    @property
    def failed_again(self) -> int:
        return self.outcomes.get(stats.FAILED_AGAIN, 0)

    @property
    def all_failed(self) -> bool:
        """Once the last is processed."""
        return bool(self.failed_again) and self.failed_again == self.processed and not self.is_running

    @property
    def status(self) -> str:
        if not self.bulk_action.finished_at:
            return "retrying" if self.bulk_action.last_error else "running"
        if self.pending:
            return "processing"
        if self.all_failed:
            return "failed again" if self.failed_again == 1 else f"all {self.failed_again:,} failed again"
        return f"completed, {self.failed_again:,} failed again" if self.failed_again else "completed"

    @property
    def badge(self) -> str:
        if self.status == "retrying" or self.all_failed:
            return "failing"
        if self.is_running:
            return "pending"
        return "waiting" if self.failed_again else "processed"

    @property
    def result(self) -> str:
        """So far, in a line."""
        parts = [f"{number:,} {name}" for name, number in self.outcomes.items() if number]
        if self.bulk_action.count and not parts:  # it has made no deliveries, or they are deleted by now
            parts.append(f"{self.bulk_action.count:,} {bulk_actions.past_tense(self.bulk_action).lower()}")
        if skipped := sum(self.skipped.values()):
            parts.append(f"{skipped:,} unchanged")
        return " · ".join(parts) or ("no result yet" if self.is_running else "nothing to do")


def progress_by_id(actions: Iterable[BulkAction]) -> dict[int, Progress]:
    """In one query, however many."""
    actions = list(actions)
    outcomes = stats.outcomes_of_bulk_actions([each.pk for each in actions])
    return {each.pk: Progress(bulk_action=each, outcomes=outcomes.get(each.pk, {})) for each in actions}


@dataclass(frozen=True, kw_only=True)
class StatusCount:
    """Records of one stream that have the same status now."""

    stream: str
    status: str
    """Or QUEUED."""
    reason: str
    """Of a failed record its code, of a resolved one the outcome."""
    number: int = 0

    @property
    def list_page(self) -> str:
        """All records of that stream, status and code; empty where no list shows them."""
        if self.status == Status.DEAD:
            query = urlencode({"stream": self.stream, "code": self.reason})
            return f"{reverse('admin:enrichment_deadletter_changelist')}?{query}"
        if self.status == Status.WAITING:
            return f"{reverse('admin:enrichment_waitingrecord_changelist')}?{urlencode({'stream': self.stream})}"
        return ""


@dataclass(frozen=True, kw_only=True)
class RecordsNow:
    """The current status of the records that a bulk action has requeued, or of the latest of them."""

    examined: int = 0
    counts: list[StatusCount] = field(default_factory=list)
    open: list[tuple[HeldRecord, str]] = field(default_factory=list)
    """The latest that are waiting or dead, with their first message."""
    open_count: int = 0
    """All of those examined that are."""
    deliveries: list[Delivery] = field(default_factory=list)
    """The latest that it has made."""
    paused: list[str] = field(default_factory=list)
    """The paused streams of those that are pending."""


def records_now(bulk_action: BulkAction, user: Any) -> RecordsNow:
    bodies, pks = bulk_action.deliveries.order_by("-pk").values_list("body", flat=True), list[int]()
    for body in bodies.iterator(chunk_size=10):
        pks += json.loads(bytes(body))
        if len(pks) >= MAX_EXAMINED:
            break
    examined = HeldRecord.objects.filter(pk__in=pks[:MAX_EXAMINED])
    rows = sorted(examined.values_list("pk", "stream", "status", "outcome", "code", "queued_in"), reverse=True)
    open_pks = [pk for pk, _, status, _, _, queued_in in rows if status in HeldRecord.OPEN and queued_in is None]
    latest = for_user(user, HeldRecord.objects.filter(pk__in=open_pks[:MAX_LINKS])).defer("payload", "original_payload")
    deliveries = list(bulk_action.deliveries.defer("body").order_by("-pk")[:MAX_LINKS])
    pending = {delivery.stream for delivery in deliveries if not delivery.processed_at}
    return RecordsNow(
        examined=len(rows),
        counts=_counts(rows),
        open=[(held, error_of(held)) for held in latest.order_by("-pk")],
        open_count=len(open_pks),
        deliveries=deliveries,
        paused=list(
            PausedStream.objects.filter(stream__in=pending).order_by("stream").values_list("stream", flat=True)
        ),
    )


def _counts(rows: Iterable[tuple[int, str, str, str, str, int | None]]) -> list[StatusCount]:
    """Largest first."""
    numbers = Counter(_status(*row) for row in rows)
    ordered = sorted(numbers.items(), key=lambda each: (-each[1], each[0]))
    return [
        StatusCount(stream=stream, status=status, reason=reason, number=number)
        for (stream, status, reason), number in ordered
    ]


def _status(_: int, stream: str, status: str, outcome: str, code: str, queued_in: int | None) -> tuple[str, str, str]:
    if status == Status.RESOLVED:
        return stream, status, outcome
    if queued_in is not None:
        return stream, QUEUED, ""
    return stream, status, code if status in HeldRecord.OPEN else ""

"""Numbers for the dashboard, the API and metrics: few queries, each answered from a partial index or a roll-up.

The tables are read one after another: while records are being processed the numbers may be a batch apart.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Min, Q, Sum
from django.utils import timezone

from enrichment import latency
from enrichment.models import HeldRecord, MinuteStat
from ingestion import doorbell, streams
from ingestion.models import PENDING, Delivery

LATE = timedelta(seconds=90)
"""Workers that have run no task for so long, while records are pending, are late: the sweep was due."""
MAX_NEW_DEAD_LETTERS = 20
MAX_NEW_DEAD_SHARE = 0.02
"""With more dead letters than both within the last hour (the share: of the records processed in it), bad data is
being received. The Prometheus rule in docs/deployment.md has the same two numbers."""
RATE_WINDOW = timedelta(minutes=5)
"""The last full minutes, over which a rate is averaged."""
RATE_WINDOW_MINUTES = RATE_WINDOW / timedelta(minutes=1)
HOUR = timedelta(hours=1)
STORED = ("inserted", "updated", "stale")
"""The outcomes of a record that passed. (Of a stale one a newer version is stored.)"""

FAILED_AGAIN = "failed again"
"""The outcome of a record that a bulk action requeued in vain."""

Visible = Collection[str]
"""The streams that the caller may see; empty: all."""
Held = Mapping[tuple[str, str, str], int]
"""(status, code, stream) → open held records."""


@dataclass(frozen=True, kw_only=True)
class QueueDepth:
    """The pending records of one stream."""

    records: int
    oldest: datetime
    """When the oldest of them was received."""
    sent: int
    """Those of the records that a client sent: they are processed for the first time."""


@dataclass(frozen=True, kw_only=True)
class QueueNumbers:
    """The records of one stream that are still to be processed, or held."""

    stream: str
    pending: int = 0
    sent: int = 0
    """As in QueueDepth."""
    oldest: datetime | None = None
    waiting: int = 0
    dead: int = 0

    @property
    def oldest_age_seconds(self) -> int | None:
        """Never below 0: the database's clock may be ahead of ours."""
        return max(0, round((timezone.now() - self.oldest).total_seconds())) if self.oldest else None


@dataclass(frozen=True, kw_only=True)
class StreamNumbers(QueueNumbers):
    """All records of one stream."""

    accepted: int = 0
    inserted: int = 0
    updated: int = 0
    stale: int = 0

    @property
    def processed(self) -> int:
        """Records that are no longer pending: stored, stale or held."""
        return self.accepted - self.pending


@dataclass(frozen=True)
class Throughput:
    """How fast records are processed now."""

    counts: Counter[str] = field(default_factory=Counter)
    """By column of MinuteStat: outcomes within RATE_WINDOW, latencies within the last hour."""

    @property
    def records_per_second(self) -> float:
        return sum(self.counts[name] for name in MinuteStat.OUTCOMES) / RATE_WINDOW.total_seconds()

    @property
    def done(self) -> float:
        """Records stored (or found stale) per minute."""
        return sum(self.counts[name] for name in STORED) / RATE_WINDOW_MINUTES

    @property
    def dead(self) -> float:
        """New dead letters per minute."""
        return self.counts["dead"] / RATE_WINDOW_MINUTES

    def latency(self, share: float) -> float | None:
        """The seconds within which this share of the last hour's records were stored or held; None without records."""
        return latency.quantile([self.counts[column] for column in latency.COLUMNS], share)

    @property
    def latency_p95(self) -> float | None:
        return self.latency(0.95)


@dataclass(frozen=True, kw_only=True)
class LastHour:
    by_stream: dict[str, Throughput]
    """Of the streams that have processed any records in it."""
    total: Throughput
    per_minute: dict[datetime, int]
    """Each of the last 60 full minutes → records processed in it."""
    processed: int
    """In these minutes and the present one, of all streams."""


@dataclass(frozen=True, kw_only=True)
class MissingReference:
    """A record that others refer to and that is not stored."""

    stream: str
    key: str
    records: int
    """How many wait for it."""
    since: datetime


@dataclass(frozen=True)
class Message:
    message: str
    streams: tuple[str, ...]
    """The stream of all its dead letters; the first and the last, by name, where there are several."""
    within: Mapping[str, int]
    """Span of time → dead letters held within it; "" stands for any time."""


@dataclass(frozen=True, kw_only=True)
class Sender:
    client: str
    dead: int
    recent: int


def queue_depths() -> dict[str, QueueDepth]:
    """Of the streams that have pending deliveries."""
    sent = Sum(PENDING, filter=Q(source=Delivery.Source.CLIENT), default=0)
    rows = (
        Delivery.objects.pending()
        .values("stream")
        .annotate(records=Sum(PENDING), oldest=Min("received_at"), sent=sent)
        .values_list("stream", "records", "oldest", "sent")
    )
    return {stream: QueueDepth(records=records, oldest=oldest, sent=sent) for stream, records, oldest, sent in rows}


def open_held() -> Held:
    """(status, code, stream) → open held records."""
    return {kind: numbers[""] for kind, numbers in open_held_within({}).items()}


def open_held_within(spans: Mapping[str, timedelta]) -> dict[tuple[str, str, str], dict[str, int]]:
    """(status, code, stream) → span → open held records that were held within it; "" stands for any time."""
    rows = (
        HeldRecord.objects.open().values_list("status", "code", "stream").annotate(number=Count("*"), **_within(spans))
    )
    return {
        (status, code, stream): dict(zip(("", *spans), numbers, strict=True)) for status, code, stream, *numbers in rows
    }


def top_messages(spans: Mapping[str, timedelta], limit: int) -> list[Message]:
    """Why records are dead, in any stream: the most frequent messages of the first span, then of the next, then of any
    time.
    """
    rows = HeldRecord.objects.dead().exclude(message="").values_list("message")
    counted = rows.annotate(first=Min("stream"), last=Max("stream"), number=Count("*"), **_within(spans))
    found = counted.order_by(*(f"-in_{span}" for span in spans), "-number", "message")[:limit]
    return [
        Message(message, tuple(dict.fromkeys((first, last))), dict(zip(("", *spans), numbers, strict=True)))
        for message, first, last, *numbers in found
    ]


def _within(spans: Mapping[str, timedelta]) -> dict[str, Count]:
    """The numbers of those held within each span."""
    now = timezone.now()
    return {f"in_{name}": Count("held_at", filter=Q(held_at__gte=now - span)) for name, span in spans.items()}


def top_missing(limit: int) -> list[MissingReference]:
    """What the most records wait for."""
    waiting = HeldRecord.objects.waiting().exclude(missing_stream="").values_list("missing_stream", "missing_key")
    rows = waiting.annotate(records=Count("*"), since=Min("waiting_since"))
    found = rows.order_by("-records", "since", "missing_stream", "missing_key")[:limit]
    return [
        MissingReference(stream=stream, key=key, records=records, since=since) for stream, key, records, since in found
    ]


def held_by_client(client: str = "") -> list[tuple[str, str, bool, int]]:
    """stream, client, whether they lack a reference, how many: open held records of one client or of all."""
    held = HeldRecord.objects.open().filter(client=client) if client else HeldRecord.objects.open()
    rows = held.values_list("stream", "client", "code").annotate(number=Count("*"))
    return [(stream, by, code == HeldRecord.Code.MISSING_REFERENCE, number) for stream, by, code, number in rows]


def top_senders(within: timedelta, limit: int) -> list[Sender]:
    """Who sent the most dead letters within that time, then of all time."""
    recent = Count("held_at", filter=Q(held_at__gte=timezone.now() - within))
    rows = HeldRecord.objects.dead().values_list("client").annotate(dead=Count("*"), recent=recent)
    found = rows.order_by("-recent", "-dead", "client")[:limit]
    return [Sender(client=client, dead=dead, recent=recent) for client, dead, recent in found]


def queues(visible: Visible = (), held: Held | None = None, *, also: Iterable[str] = ()) -> dict[str, QueueNumbers]:
    """stream → what of it is pending or held: registered streams, then others of which something is left.

    `held` is the result of open_held() where the caller has it; `also` names further streams.
    """
    depths, held = queue_depths(), open_held() if held is None else held
    waiting, dead = (_per_stream(held, status) for status in (HeldRecord.Status.WAITING, HeldRecord.Status.DEAD))
    return {
        name: QueueNumbers(
            stream=name,
            pending=depths[name].records if name in depths else 0,
            sent=depths[name].sent if name in depths else 0,
            oldest=depths[name].oldest if name in depths else None,
            waiting=waiting[name],
            dead=dead[name],
        )
        for name in _names(depths, waiting, dead, also, visible=visible)
    }


def snapshot(visible: Visible = (), held: Held | None = None) -> dict[str, StreamNumbers]:
    """stream → all its numbers; arguments as of queues()."""
    processed = totals()
    numbers = {}
    for name, queue in queues(visible, held, also=processed).items():
        of_stream = processed.get(name, {})
        # What clients sent: the records that have been processed, each counted once, and those that have not.
        accepted = sum(of_stream.get(column, 0) for column in latency.COLUMNS) + queue.sent
        stored = {outcome: of_stream.get(outcome, 0) for outcome in STORED}
        numbers[name] = StreamNumbers(**vars(queue), accepted=accepted, **stored)
    return numbers


def total(numbers: Collection[StreamNumbers]) -> StreamNumbers:
    """The sums over streams, and the oldest of all."""
    names = ("accepted", "pending", "sent", "inserted", "updated", "stale", "waiting", "dead")
    sums = {name: sum(getattr(each, name) for each in numbers) for name in names}
    oldest = min((each.oldest for each in numbers if each.oldest), default=None)
    return StreamNumbers(stream="", oldest=oldest, **sums)


def last_hour(visible: Visible = ()) -> LastHour:
    this_minute = timezone.now().replace(second=0, microsecond=0)
    rows = MinuteStat.objects.filter(minute__gte=this_minute - HOUR)
    rows = rows.filter(stream__in=visible) if visible else rows
    per_minute = {this_minute - timedelta(minutes=ago): 0 for ago in range(60, 0, -1)}
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    processed = 0
    for row in rows:
        processed += row.records
        counts[row.stream].update({column: getattr(row, column) for column in latency.COLUMNS})
        if row.minute in per_minute:  # not the present one, which is not yet over
            per_minute[row.minute] += row.records
            if row.minute >= this_minute - RATE_WINDOW:
                counts[row.stream].update({name: getattr(row, name) for name in MinuteStat.OUTCOMES})
    return LastHour(
        by_stream={stream: Throughput(of_stream) for stream, of_stream in counts.items()},
        total=Throughput(sum(counts.values(), Counter())),
        per_minute=per_minute,
        processed=processed,
    )


def by_minute(since: datetime) -> dict[datetime, dict[str, int]]:
    """minute → outcome → records of all streams; minutes in which nothing was done are left out."""
    rows = MinuteStat.objects.filter(minute__gte=since).values_list("minute")
    found = rows.annotate(*map(Sum, MinuteStat.OUTCOMES))
    return {minute: dict(zip(MinuteStat.OUTCOMES, numbers, strict=True)) for minute, *numbers in found}


def bucketed(
    minutes: Mapping[datetime, Mapping[str, int]], start: datetime, step: timedelta, steps: int
) -> list[Counter[str]]:
    """The sums, by outcome, of so many steps from `start` on."""
    sums: list[Counter[str]] = [Counter() for _ in range(steps)]
    for minute, numbers in minutes.items():
        number = (minute - start) // step
        if 0 <= number < steps:
            sums[number].update(numbers)
    return sums


def totals() -> dict[str, dict[str, Any]]:
    """stream → the sum of each number in MinuteStat, of all time: it never falls."""
    names = MinuteStat.OUTCOMES + MinuteStat.LATENCIES
    rows = MinuteStat.objects.values("stream").annotate(*map(Sum, names))
    found = rows.values_list("stream", *[f"{name}__sum" for name in names])
    return {stream: dict(zip(names, numbers, strict=True)) for stream, *numbers in found}


def failing_deliveries() -> dict[str, int]:
    """Whose fault ("store", "code") → pending deliveries whose last try ended in an error that is not of a record."""
    faults = {fault: Count("pk", filter=Q(last_error__startswith=f"{fault}:")) for fault in ("store", "code")}
    return Delivery.objects.pending().aggregate(**faults)


def outcomes_of_bulk_actions(bulk_actions: Sequence[int]) -> dict[int, dict[str, int]]:
    """bulk action → outcomes of its records so far, summed over its deliveries; those without any are left out."""
    names = ("inserted", "updated", "stale", "skipped", "held")
    rows = (
        Delivery.objects.filter(bulkaction__in=bulk_actions)
        .values("bulkaction")
        .annotate(Sum("count"), *map(Sum, names))
        .values_list("bulkaction", "count__sum", *[f"{name}__sum" for name in names])
    )
    told = (*names[:-1], FAILED_AGAIN, "pending")
    return {bulk_action: dict(zip(told, [*done, count - sum(done)], strict=True)) for bulk_action, count, *done in rows}


def cluster_alive() -> bool:
    return doorbell.is_alive(doorbell.heartbeat())


def late_by(heartbeat: datetime | None, pending: int) -> int:
    """The seconds since a cluster ran its last task, where that is too long for records that are pending; 0 where it is
    not, and where no cluster is alive.
    """
    if not pending or heartbeat is None or not doorbell.is_alive(heartbeat):
        return 0
    silent = timezone.now() - heartbeat
    limit = max(LATE, 1.5 * timedelta(seconds=settings.SWEEP_INTERVAL))
    return round(silent.total_seconds()) if silent > limit else 0


def is_bad_data(dead: int, processed: int) -> bool:
    """Whether so many new dead letters, among so many records processed within an hour, are more than the few that
    there always are.
    """
    return dead > MAX_NEW_DEAD_LETTERS and dead > MAX_NEW_DEAD_SHARE * processed


def _per_stream(held: Held, wanted: str) -> Counter[str]:
    numbers: Counter[str] = Counter()
    for (status, _, stream), number in held.items():
        if status == wanted:
            numbers[stream] += number
    return numbers


def _names(*found: Iterable[str], visible: Visible = ()) -> list[str]:
    """The registered streams, then those no longer registered of which something is left."""
    registered = streams.names()
    names = registered + sorted({name for names in found for name in names} - set(registered))
    return [name for name in names if not visible or name in visible]

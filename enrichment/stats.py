"""Numbers for the dashboard, the API and metrics: few queries, each answered from a partial index or a roll-up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Min, Q, Sum
from django.utils import timezone

from enrichment import latency
from enrichment.models import HeldRecord, MinuteStat
from ingestion import doorbell, streams
from ingestion.models import PENDING, Delivery

ALIVE = timedelta(minutes=3)
"""A cluster of which no task has run for so long is not alive: the sweep rings one every minute."""
RATE_WINDOW = timedelta(minutes=5)
"""The last full minutes, which "now" is for a rate."""
HOUR = timedelta(hours=1)
RATED = ("inserted", "updated", "stale", "dead")

Visible = Collection[str]
"""The streams that whoever asks may know of; empty: all."""


@dataclass(frozen=True, kw_only=True)
class QueueDepth:
    """What one stream has not yet processed."""

    records: int
    oldest: datetime
    """When the oldest of them came."""
    sent: int
    """Of the records those that a client sent and that have not been worked on before."""


@dataclass(frozen=True, kw_only=True)
class StreamNumbers:
    stream: str
    accepted: int = 0
    pending: int = 0
    oldest: datetime | None = None
    inserted: int = 0
    updated: int = 0
    stale: int = 0
    waiting: int = 0
    dead: int = 0

    @property
    def processed(self) -> int:
        """Records that are no longer pending: stored, stale or held."""
        return self.accepted - self.pending


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """How fast a stream goes now."""

    done: float = 0
    """Records stored (or found stale) a minute, over RATE_WINDOW."""
    dead: float = 0
    """Newly dead a minute, over RATE_WINDOW."""
    latency_p95: float | None = None
    """Seconds, of the last hour."""


@dataclass(frozen=True, kw_only=True)
class MissingReference:
    """A record that others refer to and that is not stored."""

    stream: str
    key: str
    records: int
    """That wait for it."""
    since: datetime


@dataclass(frozen=True)
class Message:
    stream: str
    message: str
    within: Mapping[str, int]
    """span → dead letters held within it; "" stands for any time."""


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


def open_held() -> Counter[tuple[str, str, str]]:
    """(status, code, stream) → open held records."""
    return Counter({kind: numbers[""] for kind, numbers in open_held_within({}).items()})


def open_held_within(spans: Mapping[str, timedelta]) -> dict[tuple[str, str, str], dict[str, int]]:
    """(status, code, stream) → span → open held records that were held within it; "" stands for any time."""
    rows = (
        HeldRecord.objects.open().values_list("status", "code", "stream").annotate(number=Count("*"), **_within(spans))
    )
    return {
        (status, code, stream): dict(zip(("", *spans), numbers, strict=True)) for status, code, stream, *numbers in rows
    }


def top_messages(spans: Mapping[str, timedelta], limit: int) -> list[Message]:
    """Why records are dead: the most frequent messages of the first span, then of the next, then of any time."""
    rows = HeldRecord.objects.dead().exclude(message="").values_list("stream", "message")
    counted = rows.annotate(number=Count("*"), **_within(spans))
    found = counted.order_by(*(f"-in_{span}" for span in spans), "-number", "stream", "message")[:limit]
    return [
        Message(stream, message, dict(zip(("", *spans), numbers, strict=True))) for stream, message, *numbers in found
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


def top_senders(within: timedelta, limit: int) -> list[Sender]:
    """Who sent the most dead letters within that time, then of all time."""
    recent = Count("held_at", filter=Q(held_at__gte=timezone.now() - within))
    rows = HeldRecord.objects.dead().values_list("client").annotate(dead=Count("*"), recent=recent)
    found = rows.order_by("-recent", "-dead", "client")[:limit]
    return [Sender(client=client, dead=dead, recent=recent) for client, dead, recent in found]


def by_stream(held: Counter[tuple[str, str, str]] | None = None) -> list[StreamNumbers]:
    """Everything of each stream; `held` is what open_held() said, if it has been asked already."""
    held = open_held() if held is None else held
    waiting, dead = (_per_stream(held, status) for status in (HeldRecord.Status.WAITING, HeldRecord.Status.DEAD))
    depth, done = queue_depths(), totals()
    return [
        StreamNumbers(
            stream=name,
            accepted=_accepted(done.get(name, {}), depth.get(name)),
            pending=depth[name].records if name in depth else 0,
            oldest=depth[name].oldest if name in depth else None,
            waiting=waiting[name],
            dead=dead[name],
            **_outcomes(done.get(name, {})),
        )
        for name in _names(depth, done, waiting, dead)
    ]


def total(streams: Sequence[StreamNumbers]) -> StreamNumbers:
    """The sums over streams, and the oldest of all."""
    counts = ("accepted", "pending", "inserted", "updated", "stale", "waiting", "dead")
    sums = {name: sum(getattr(numbers, name) for numbers in streams) for name in counts}
    oldest = min((numbers.oldest for numbers in streams if numbers.oldest), default=None)
    return StreamNumbers(stream="", oldest=oldest, **sums)


def queue_stats(visible: Visible = (), held: Counter[tuple[str, str, str]] | None = None) -> dict[str, Any]:
    """For the API: {"queues": {stream: records}, "oldest_age_seconds": {stream: seconds or None},
    "waiting": {stream: records}, "dead_letters": records}. `held` is what open_held() said, if it has been asked."""
    depth, held = queue_depths(), open_held() if held is None else held
    waiting, dead = (_per_stream(held, status) for status in (HeldRecord.Status.WAITING, HeldRecord.Status.DEAD))
    names, now = _names(depth, waiting, dead, visible=visible), timezone.now()
    return {
        "queues": {name: depth[name].records if name in depth else 0 for name in names},
        "oldest_age_seconds": {name: _age(depth[name].oldest, now) if name in depth else None for name in names},
        "waiting": {name: waiting[name] for name in names},
        "dead_letters": sum(dead[name] for name in names),
    }


def work_stats(visible: Visible = ()) -> dict[str, Any]:
    """For the API: {"streams": {stream: numbers}, "total": numbers, "per_minute": [{"minute", "records"}, ...]}.

    The tables are read one after another: while records are on their way the numbers may be a batch apart.
    """
    this_minute = timezone.now().replace(second=0, microsecond=0)
    depth, held, done = queue_depths(), open_held(), totals()
    recent = list(MinuteStat.objects.filter(minute__gte=this_minute - HOUR))
    waiting, dead = (_per_stream(held, status) for status in (HeldRecord.Status.WAITING, HeldRecord.Status.DEAD))
    numbers = {
        name: Counter(waiting=waiting[name], dead=dead[name])
        for name in _names(depth, waiting, dead, done, visible=visible)
    }
    for name, counted in numbers.items():
        of_all_time = done.get(name, {})
        counted.update(accepted=_accepted(of_all_time, depth.get(name)), **_outcomes(of_all_time))
        if name in depth:
            counted["pending"] = depth[name].records
    minutes = {this_minute - timedelta(minutes=ago): 0 for ago in range(60, 0, -1)}
    for row in recent:
        if row.stream in numbers:
            numbers[row.stream].update({column: getattr(row, column) for column in latency.COLUMNS})
            if row.minute in minutes:
                minutes[row.minute] += row.records
                numbers[row.stream]["now"] += row.records if row.minute >= this_minute - RATE_WINDOW else 0
    return {
        "streams": {name: _told(counted) for name, counted in numbers.items()},
        "total": _told(sum(numbers.values(), Counter())),
        "per_minute": [{"minute": minute, "records": records} for minute, records in minutes.items()],
    }


def throughputs() -> dict[str, Throughput]:
    """Of the streams that have done anything in the last hour; "" stands for all of them together."""
    this_minute = timezone.now().replace(second=0, microsecond=0)
    now = Q(minute__gte=this_minute - RATE_WINDOW, minute__lt=this_minute)
    numbers = {f"now_{name}": Sum(name, filter=now, default=0) for name in RATED}
    took = {f"took_{name}": Sum(name) for name in latency.COLUMNS}
    rows = MinuteStat.objects.filter(minute__gte=this_minute - HOUR).values_list("stream").annotate(**numbers, **took)
    found = {stream: counted for stream, *counted in rows}
    found[""] = [sum(column) for column in zip(*found.values(), strict=True)] or [0] * (len(numbers) + len(took))
    return {stream: _throughput(counted[: len(RATED)], counted[len(RATED) :]) for stream, counted in found.items()}


def _throughput(now: Sequence[int], took: Sequence[int]) -> Throughput:
    *done, dead = (number / (RATE_WINDOW / timedelta(minutes=1)) for number in now)
    return Throughput(done=sum(done), dead=dead, latency_p95=latency.quantile(took, 0.95))


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


def _accepted(done: Mapping[str, int], depth: QueueDepth | None) -> int:
    """Records that clients sent: those that have been worked on, each counted once, and those that have not."""
    return sum(done.get(column, 0) for column in latency.COLUMNS) + (depth.sent if depth else 0)


def _outcomes(done: Mapping[str, int]) -> dict[str, int]:
    return {outcome: done.get(outcome, 0) for outcome in ("inserted", "updated", "stale")}


def _told(numbers: Counter[str]) -> dict[str, Any]:
    took = [numbers[column] for column in latency.COLUMNS]
    return {
        "accepted": numbers["accepted"],
        "processed": numbers["accepted"] - numbers["pending"],
        **{name: numbers[name] for name in ("inserted", "updated", "stale", "pending", "waiting", "dead")},
        "rate_per_second": round(numbers["now"] / RATE_WINDOW.total_seconds(), 3),
        "latency_p50_seconds": latency.quantile(took, 0.5),
        "latency_p95_seconds": latency.quantile(took, 0.95),
    }


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
    told = (*names[:-1], "held again", "pending")
    return {bulk_action: dict(zip(told, [*done, count - sum(done)], strict=True)) for bulk_action, count, *done in rows}


def cluster_alive() -> bool:
    return is_alive(doorbell.heartbeat())


def is_alive(heartbeat: datetime | None) -> bool:
    """Whether a cluster that ran its last task then is still there."""
    return heartbeat is not None and timezone.now() - heartbeat < ALIVE


def _per_stream(held: Counter[tuple[str, str, str]], wanted: str) -> Counter[str]:
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


def _age(oldest: datetime, now: datetime) -> int:
    """In seconds; never below 0, since the database's clock is another."""
    return max(0, round((now - oldest).total_seconds()))

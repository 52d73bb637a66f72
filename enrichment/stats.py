"""Numbers for the dashboard, the API and metrics: few queries, each answered from a partial index or a roll-up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, F, Min, Sum
from django.utils import timezone

from enrichment.models import HeldRecord, MinuteStat
from ingestion import bell, streams
from ingestion.models import Delivery

ALIVE = timedelta(minutes=3)
"""A cluster of which no task has run for so long is not alive: the sweep rings one every minute."""


@dataclass(frozen=True, kw_only=True)
class Depth:
    """What one stream has not yet processed."""

    records: int
    oldest: datetime
    """When the oldest of them came."""


@dataclass(frozen=True, kw_only=True)
class StreamNumbers:
    stream: str
    pending: int = 0
    oldest: datetime | None = None
    inserted: int = 0
    updated: int = 0
    stale: int = 0
    waiting: int = 0
    dead: int = 0

    @property
    def processed(self) -> int:
        """Records that are stored, or stale because a newer one is."""
        return self.inserted + self.updated + self.stale


def depths() -> dict[str, Depth]:
    """Of the streams that have pending deliveries."""
    done = F("inserted") + F("updated") + F("stale") + F("held") + F("skipped")
    rows = (
        Delivery.objects.pending()
        .values("stream")
        .annotate(records=Sum(F("count") - done), oldest=Min("received_at"))
        .values_list("stream", "records", "oldest")
    )
    return {stream: Depth(records=records, oldest=oldest) for stream, records, oldest in rows}


def open_held() -> Counter[tuple[str, str, str]]:
    """(status, code, stream) → open held records."""
    rows = HeldRecord.objects.open().values_list("status", "code", "stream").annotate(number=Count("*"))
    return Counter({(status, code, stream): number for status, code, stream, number in rows})


def outcomes(since: datetime | None = None) -> dict[str, dict[str, int]]:
    """stream → {"inserted", "updated", "stale"}: records processed, of all time or since a minute."""
    stats = MinuteStat.objects.all() if since is None else MinuteStat.objects.filter(minute__gte=since)
    names = ("inserted", "updated", "stale")
    rows = stats.values("stream").annotate(*map(Sum, names)).values_list("stream", *[f"{name}__sum" for name in names])
    return {stream: dict(zip(names, sums, strict=True)) for stream, *sums in rows}


def by_stream(held: Counter[tuple[str, str, str]] | None = None) -> list[StreamNumbers]:
    """Everything of each stream; `held` is what open_held() said, if it has been asked already."""
    held = open_held() if held is None else held
    waiting, dead = (_per_stream(held, status) for status in (HeldRecord.Status.WAITING, HeldRecord.Status.DEAD))
    depth, done = depths(), outcomes()
    return [
        StreamNumbers(
            stream=name,
            pending=depth[name].records if name in depth else 0,
            oldest=depth[name].oldest if name in depth else None,
            waiting=waiting[name],
            dead=dead[name],
            **done.get(name, {}),
        )
        for name in _names(depth, done, waiting, dead)
    ]


def total(streams: Sequence[StreamNumbers]) -> StreamNumbers:
    """The sums over streams, and the oldest of all."""
    counts = ("pending", "inserted", "updated", "stale", "waiting", "dead")
    sums = {name: sum(getattr(numbers, name) for numbers in streams) for name in counts}
    oldest = min((numbers.oldest for numbers in streams if numbers.oldest), default=None)
    return StreamNumbers(stream="", oldest=oldest, **sums)


def queue_stats() -> dict[str, Any]:
    """For the API: {"queues": {stream: records}, "oldest_age_seconds": {stream: seconds or None},
    "waiting": {stream: records}, "dead_letters": records}."""
    depth, held = depths(), open_held()
    waiting = _per_stream(held, HeldRecord.Status.WAITING)
    names, now = _names(depth, waiting), timezone.now()
    return {
        "queues": {name: depth[name].records if name in depth else 0 for name in names},
        "oldest_age_seconds": {name: _age(depth[name].oldest, now) if name in depth else None for name in names},
        "waiting": {name: waiting[name] for name in names},
        "dead_letters": _per_stream(held, HeldRecord.Status.DEAD).total(),
    }


def came_of(redrives: Sequence[int]) -> dict[int, dict[str, int]]:
    """redrive → what its records came to so far: the sums over its deliveries. Redrives without any are left out."""
    names = ("inserted", "updated", "stale", "skipped", "held")
    rows = (
        Delivery.objects.filter(redrive__in=redrives)
        .values("redrive")
        .annotate(Sum("count"), *map(Sum, names))
        .values_list("redrive", "count__sum", *[f"{name}__sum" for name in names])
    )
    told = (*names[:-1], "held again", "pending")
    return {redrive: dict(zip(told, [*done, count - sum(done)], strict=True)) for redrive, count, *done in rows}


def cluster_alive() -> bool:
    return is_alive(bell.heartbeat())


def is_alive(heartbeat: datetime | None) -> bool:
    """Whether a cluster that ran its last task then is still there."""
    return heartbeat is not None and timezone.now() - heartbeat < ALIVE


def _per_stream(held: Counter[tuple[str, str, str]], wanted: str) -> Counter[str]:
    numbers: Counter[str] = Counter()
    for (status, _, stream), number in held.items():
        if status == wanted:
            numbers[stream] += number
    return numbers


def _names(*found: Iterable[str]) -> list[str]:
    """The registered streams, then those no longer registered of which something is left."""
    registered = streams.names()
    return registered + sorted({name for names in found for name in names} - set(registered))


def _age(oldest: datetime, now: datetime) -> int:
    """In seconds; never below 0, since the database's clock is another."""
    return max(0, round((now - oldest).total_seconds()))

"""What the admin's index shows: what is wrong, what is pending and held, how fast it goes, and who is at work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from console import senders
from console.alarms import alarms
from console.charts import Series, stacked_bars
from console.held.filters import AgeFilter
from enrichment import stats, workers
from enrichment.models import MinuteStat
from ingestion.text import plain, thousands

SPANS = {"1h": "1 h", "24h": "24 h", "7d": "7 d"}
"""Columns of dead letters by code; their names are those of AgeFilter."""
MOST_ROWS = 8
"""Of messages, of what is waited for, and of who sends dead letters."""
HALF_HOUR = timedelta(minutes=30)

Held = Mapping[tuple[str, str, str], Mapping[str, int]]


@dataclass(frozen=True)
class Cell:
    """A number, and the page that lists what it counts."""

    number: int
    page: str


@dataclass(frozen=True)
class CodeRow:
    code: str
    cells: list[Cell]


@dataclass(frozen=True)
class MessageRow:
    stream: str
    message: str
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class StreamRow:
    numbers: stats.StreamNumbers
    pace: stats.Throughput
    pending: str
    waiting: str
    dead: str


@dataclass(frozen=True)
class MissedRow:
    missed: stats.MissingReference
    key: str
    """As it may be shown."""
    page: str


@dataclass(frozen=True)
class SenderRow:
    name: str
    client: str
    recent: Cell
    all: Cell


def dashboard(user: Any) -> dict[str, Any]:
    """The numbers, in a fixed number of queries; nothing for who may not see deliveries and held records."""
    if not user.has_perms(["ingestion.view_delivery", "enrichment.view_heldrecord"]):
        return {}
    held = stats.open_held_within(AgeFilter.spans)
    numbers = [*stats.snapshot(held={kind: counted[""] for kind, counted in held.items()}).values()]
    throughput, total, work = stats.last_hour(), stats.total(numbers), workers.worker_stats()
    hour, day = charts()
    return {
        "alarms": alarms(user, numbers, work),
        "streams": [stream_row(each, throughput.by_stream) for each in numbers],
        "total": total,
        "total_pace": throughput.total,
        "is_new": not (total.pending or total.processed or total.waiting or total.dead),
        "spans": SPANS.values(),
        "by_code": by_code(held),
        "by_code_and_stream": by_code_and_stream(held, [each.stream for each in numbers]),
        "messages_of_dead": messages(),
        "missed": missed(),
        "missing_page": reverse("admin:enrichment_waitingrecord_missing"),
        "senders": top_senders(),
        "hour": hour,
        "day": day,
        "work": work,
        "now": timezone.now(),
        "dead_page": page_of("enrichment_deadletter"),
        "waiting_page": page_of("enrichment_waitingrecord"),
        "pending_page": page_of("ingestion_delivery", status="pending"),
        "processed_page": page_of("ingestion_delivery", status="processed"),
    }


def stream_row(numbers: stats.StreamNumbers, throughputs: Mapping[str, stats.Throughput]) -> StreamRow:
    return StreamRow(
        numbers=numbers,
        pace=throughputs.get(numbers.stream, stats.Throughput()),
        pending=page_of("ingestion_delivery", status="pending", stream=numbers.stream),
        waiting=page_of("enrichment_waitingrecord", stream=numbers.stream),
        dead=page_of("enrichment_deadletter", stream=numbers.stream),
    )


def by_code(held: Held) -> list[CodeRow]:
    """A row for each code that dead letters have, the most frequent first; a cell for each of SPANS, and for all."""
    sums: dict[str, Counter[str]] = {}
    for (status, code, _), numbers in held.items():
        if status == "dead":
            sums.setdefault(code, Counter()).update(numbers)
    ordered = sorted(sums.items(), key=lambda row: (-row[1][""], row[0]))
    return [
        CodeRow(code, [_dead(numbers[span], code=code, age=span) for span in (*SPANS, "")]) for code, numbers in ordered
    ]


def by_code_and_stream(held: Held, streams: Sequence[str]) -> list[CodeRow]:
    """The same rows; a cell for each stream."""
    return [
        CodeRow(
            row.code,
            [
                _dead(held.get(("dead", row.code, stream), {}).get("", 0), code=row.code, stream=stream)
                for stream in streams
            ],
        )
        for row in by_code(held)
    ]


def _dead(number: int, **filters: str) -> Cell:
    return Cell(number, page_of("enrichment_deadletter", **filters))


def messages() -> list[MessageRow]:
    """Why records are dead: a cell for each of SPANS, and for all."""
    return [
        MessageRow(
            each.stream,
            each.message,
            [_dead(each.within[span], stream=each.stream, message=each.message, age=span) for span in (*SPANS, "")],
        )
        for each in stats.top_messages(AgeFilter.spans, MOST_ROWS)
    ]


def missed() -> list[MissedRow]:
    return [
        MissedRow(
            each,
            plain(each.key),
            page_of("enrichment_waitingrecord", missing_stream=each.stream, missing_key=each.key),
        )
        for each in stats.top_missing(MOST_ROWS)
    ]


def top_senders() -> list[SenderRow]:
    found = stats.top_senders(AgeFilter.spans["7d"], MOST_ROWS)
    names = senders.key_names(each.client for each in found)  # no secret to who sees what they sent
    return [
        SenderRow(
            names.get(each.client) or plain(each.client.removeprefix("user:")),
            plain(each.client),
            _dead(each.recent, client=each.client, age="7d"),
            _dead(each.dead, client=each.client),
        )
        for each in found
    ]


def charts() -> tuple[SafeString, SafeString]:
    """What was done in the last hour and in the last day, by outcome, up to now: from one query."""
    now = timezone.now()
    this_minute = now.replace(second=0, microsecond=0)
    day_start = this_minute.replace(minute=30 * (this_minute.minute // 30)) - 47 * HALF_HOUR
    minutes = stats.by_minute(day_start)
    hour = stats.bucketed(minutes, this_minute - timedelta(minutes=59), timedelta(minutes=1), 60)
    day = stats.bucketed(minutes, day_start, HALF_HOUR, 48)
    hour_labels = [f"{timezone.localtime(this_minute - timedelta(minutes=59 - n)):%H:%M}" for n in range(60)]
    day_labels = [f"{timezone.localtime(day_start + n * HALF_HOUR):%a %H:%M}" for n in range(48)]
    offset = f"{timezone.localtime(now):%z}"
    offset = f"{offset[:3]}:{offset[3:]}"
    return (
        _chart("Last hour", f"worked on, by minute, {offset}", hour_labels, hour),
        _chart("Last 24 hours", f"worked on, by half hour, {offset}", day_labels, day),
    )


def _chart(title: str, told: str, labels: Sequence[str], steps: Sequence[Counter[str]]) -> SafeString:
    series = [Series(outcome, outcome, [step[outcome] for step in steps]) for outcome in MinuteStat.OUTCOMES]
    total = sum(step.total() for step in steps)
    return stacked_bars(
        labels,
        series,
        title=f"{title}: {thousands(total)} records",
        told=f"{told}; those sent through again count again",
    )


def page_of(model: str, **filters: str) -> str:
    told = {name: value for name, value in filters.items() if value}
    return f"{reverse(f'admin:{model}_changelist')}?{urlencode(told)}".rstrip("?")

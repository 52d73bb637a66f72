"""The dashboard: warnings, what is pending and failed, throughput, and the workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString

from console import senders
from console.alarms import Alarm, alarms
from console.charts import Series, stacked_bars
from console.control.providers import badge_of
from console.dashboard.panels import panels_for
from console.held.filters import AgeFilter
from enrichment import stats, workers
from enrichment.lookups import providers
from enrichment.lookups.models import Lookup
from enrichment.models import MinuteStat
from ingestion.text import plain, thousands

SPANS = {"1h": "1 h", "24h": "24 h", "7d": "7 d"}
"""Columns of dead letters by code: value of AgeFilter → heading."""
MAX_ROWS = 8
"""Of errors, of missing references, and of sources of dead letters."""
HALF_HOUR = timedelta(minutes=30)

Held = Mapping[tuple[str, str, str], Mapping[str, int]]


@dataclass(frozen=True)
class Cell:
    """A number, and the page that lists what it counts."""

    number: int
    page: str
    kind: str = ""
    """Its colour, where it has one."""


@dataclass(frozen=True)
class CodeRow:
    code: str
    cells: list[Cell]


@dataclass(frozen=True)
class MessageRow:
    message: str
    streams: str
    cells: list[Cell]


@dataclass(frozen=True, kw_only=True)
class StreamRow:
    name: str
    oldest: datetime | None
    throughput: stats.Throughput
    pending: Cell
    waiting: Cell
    dead: Cell

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be done, and nothing has been lately."""
        is_working = self.throughput.done or self.throughput.dead or self.throughput.latency_p95 is not None
        return not (self.pending.number or self.waiting.number or self.dead.number or is_working)


@dataclass(frozen=True, kw_only=True)
class ProviderRow:
    label: str
    badge: tuple[str, str]
    """(colour, text)."""
    oldest: datetime | None
    asked: int
    """Requests of the last minute."""
    open: Cell
    found: Cell
    not_found: Cell
    ambiguous: Cell
    failed: Cell

    @property
    def is_idle(self) -> bool:
        return not (self.open.number or self.ambiguous.number or self.failed.number or self.asked)


@dataclass(frozen=True)
class MissingRow:
    stream: str
    key: str
    """Safe to display."""
    records: Cell
    since: datetime


@dataclass(frozen=True)
class SenderRow:
    name: str
    client: str
    recent: Cell
    all: Cell


def dashboard(user: Any) -> dict[str, Any]:
    """The context of the page, in a fixed number of queries; empty for who may not see deliveries and held records."""
    if not user.has_perms(["ingestion.view_delivery", "enrichment.view_heldrecord"]):
        return {}
    held = stats.open_held_within(AgeFilter.spans)
    numbers = [*stats.snapshot(held={kind: counted[""] for kind, counted in held.items()}).values()]
    throughput, total, work = stats.last_hour(), stats.total(numbers), workers.worker_stats()
    new_dead = sum(counted["1h"] for (status, _, _), counted in held.items() if status == "dead")
    due = sum(each.pending for each in numbers if each.stream not in work["paused_streams"])
    late = stats.late_by(work["last_run"], due)
    warnings = alarms(user, numbers, work, late=late, dead=new_dead, processed=throughput.processed)
    hour, day = charts()
    return {
        "alarms": warnings,
        "alarms_summary": summary(warnings),
        "streams": [
            stream_row(each.stream, each, throughput.by_stream.get(each.stream, stats.Throughput())) for each in numbers
        ],
        "all_streams": stream_row("All", total, throughput.total),
        "total": total,
        "is_new": not (total.pending or total.processed or total.waiting or total.dead),
        "spans": SPANS.values(),
        "by_code": by_code(held),
        "by_code_and_stream": by_code_and_stream(held, [each.stream for each in numbers]),
        "errors": top_errors(),
        "dead_letters_page": page_of("enrichment_deadletter"),
        "late_by": late,
        "missing": missing_references(),
        "missing_page": reverse("admin:enrichment_waitingrecord_missing"),
        "senders": top_senders(),
        "hour": hour,
        "day": day,
        "providers": provider_rows(work["providers"]) if user.has_perm("enrichment.view_lookup") else [],
        "panels": panels_for(user),
        "work": work,
        "now": timezone.now(),
        "processed_page": page_of("ingestion_delivery", status="processed"),
    }


def summary(warnings: Sequence[Alarm]) -> str:
    """For screen readers."""
    if not warnings:
        return "No warnings."
    titles = " ".join(f"{each.title.rstrip('.:')}." for each in warnings)
    return f"{len(warnings)} warning{'' if len(warnings) == 1 else 's'}: {titles}"


def stream_row(name: str, numbers: stats.StreamNumbers, throughput: stats.Throughput) -> StreamRow:
    """Of one stream, or of all where the numbers name none."""
    stream = numbers.stream
    return StreamRow(
        name=name,
        oldest=numbers.oldest,
        throughput=throughput,
        pending=Cell(numbers.pending, page_of("ingestion_delivery", status="pending", stream=stream)),
        waiting=Cell(numbers.waiting, page_of("enrichment_waitingrecord", stream=stream)),
        dead=Cell(numbers.dead, page_of("enrichment_deadletter", stream=stream), "bad" if stream else ""),
    )


def by_code(held: Held) -> list[CodeRow]:
    """A row for each code of dead letters, the most frequent first; a cell for each of SPANS, and one for all."""
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


def top_errors() -> list[MessageRow]:
    """The most frequent messages of dead letters: a cell for each of SPANS, and one for all."""
    return [
        MessageRow(
            each.message,
            each.streams[0] if len(each.streams) == 1 else "several streams",
            [_dead(each.within[span], message=each.message, age=span) for span in (*SPANS, "")],
        )
        for each in stats.top_messages(AgeFilter.spans, MAX_ROWS)
    ]


def missing_references() -> list[MissingRow]:
    return [
        MissingRow(
            each.stream,
            plain(each.key),
            Cell(each.records, page_of("enrichment_waitingrecord", missing_stream=each.stream, missing_key=each.key)),
            each.since,
        )
        for each in stats.top_missing(MAX_ROWS)
    ]


def top_senders() -> list[SenderRow]:
    found = stats.top_senders(AgeFilter.spans["7d"], MAX_ROWS)
    names = senders.key_names(each.client for each in found)  # whoever sees what they sent may see these
    return [
        SenderRow(
            names.get(each.client) or plain(each.client.removeprefix("user:")),
            plain(each.client),
            _dead(each.recent, client=each.client, age="7d"),
            _dead(each.dead, client=each.client),
        )
        for each in found
    ]


def provider_rows(statuses: Sequence[Mapping[str, Any]]) -> list[ProviderRow]:
    """None while no provider has anything to do with this installation: none has a key, and there is no lookup."""
    rows = [
        ProviderRow(
            label=each["label"],
            badge=badge_of(each),
            oldest=each["oldest"],
            asked=each["asked_last_minute"],
            open=_lookups(each, "open"),
            found=_lookups(each, "found"),
            not_found=_lookups(each, "not_found"),
            ambiguous=Cell(each["ambiguous"], page_of("enrichment_ambiguouslookup", provider=each["name"])),
            failed=_lookups(each, "failed", "bad"),
        )
        for each in statuses
    ]
    has_key = any(each["on"] and providers.get(each["name"]).secret() for each in statuses)
    is_used = has_key or any(each[status] for each in statuses for status in Lookup.Status.values)
    return rows if is_used else []


def _lookups(provider: Mapping[str, Any], status: str, kind: str = "") -> Cell:
    page = page_of("enrichment_lookup", provider=provider["name"], status=status)
    return Cell(provider[status], page, kind)


def charts() -> tuple[SafeString, SafeString]:
    """Records processed in the last hour and in the last day, by outcome, up to now: from one query."""
    now = timezone.now()
    this_minute = now.replace(second=0, microsecond=0)
    day_start = this_minute.replace(minute=30 * (this_minute.minute // 30)) - 47 * HALF_HOUR
    minutes = stats.by_minute(day_start)
    hour = stats.bucketed(minutes, this_minute - timedelta(minutes=59), timedelta(minutes=1), 60)
    day = stats.bucketed(minutes, day_start, HALF_HOUR, 48)
    hour_labels = [f"{timezone.localtime(this_minute - timedelta(minutes=59 - n)):%H:%M}" for n in range(60)]
    day_labels = [f"{timezone.localtime(day_start + n * HALF_HOUR):%a %H:%M}" for n in range(48)]
    return (
        _chart("Last hour", "by minute", hour_labels, hour),
        _chart("Last 24 hours", "by half hour", day_labels, day),
    )


def _chart(title: str, step: str, labels: Sequence[str], steps: Sequence[Counter[str]]) -> SafeString:
    series = [Series(outcome, outcome, [step[outcome] for step in steps]) for outcome in MinuteStat.OUTCOMES]
    total = sum(step.total() for step in steps)
    return stacked_bars(
        labels,
        series,
        title=f"{title}: {thousands(total)} records",
        note=f"processed, {step} ({time_zone()}); retries count again",
    )


def time_zone() -> str:
    """As in "UTC" or "UTC+02:00": of TIME_ZONE, now."""
    offset = f"{timezone.localtime():%z}"
    return "UTC" if offset == "+0000" else f"UTC{offset[:3]}:{offset[3:]}"


def page_of(model: str, **filters: str) -> str:
    """The list, with these filters set."""
    query = urlencode({name: value for name, value in filters.items() if value})
    return f"{reverse(f'admin:{model}_changelist')}?{query}".rstrip("?")

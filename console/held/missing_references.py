"""Missing references: the records that others wait for, how many wait for each, and the status of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import TypeAlias
from urllib.parse import urlencode

from django.db.models import Count, Max, Min, Q, Sum
from django.urls import reverse

from enrichment.models import HeldRecord
from ingestion import streams
from ingestion.models import Delivery
from ingestion.text import spellings

Pair: TypeAlias = "tuple[str, str]"
"""(stream, key) of a record that others refer to."""

BY_NUMBER, BY_AGE = "number", "age"
ORDERS = {BY_NUMBER: ("-number", "since"), BY_AGE: ("since", "-number")}
PER_PAGE = 50


@dataclass(frozen=True, kw_only=True)
class ReferenceStatus:
    """Where a record is that others refer to."""

    is_stored: bool = False
    held: HeldRecord | None = None
    """The newest open held record with its key."""
    more: int = 0
    """Open held records with its key besides that one."""
    similar: str = ""
    """A stored record whose key differs from its in capitals alone."""
    may_be_pending: bool = False
    """Deliveries of its stream are pending: it may be in one of them."""

    @property
    def summary(self) -> str:
        """In a few words; of the failed record, if there is one."""
        if self.is_stored:
            return "stored; waiting records resume within a minute"
        if not self.held:
            return "not received yet, or still in the queue" if self.may_be_pending else "not received yet"
        if self.held.queued_in:
            return "queued for reprocessing"
        return "dead letter" if self.held.status == HeldRecord.Status.DEAD else "waiting itself"

    @property
    def held_page(self) -> str:
        """Of the failed record, in the list of its status."""
        if self.is_stored or not self.held:
            return ""
        model = "deadletter" if self.held.status == HeldRecord.Status.DEAD else "waitingrecord"
        return reverse(f"admin:enrichment_{model}_change", args=[self.held.pk])


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A reference that is missing, and the records that wait for it."""

    stream: str
    key: str
    waiting: int
    since: datetime
    by_stream: list[tuple[str, int]] = field(default_factory=list)
    """(stream, how many of it are waiting), most first."""
    dead: int = 0
    """Dead letters that have waited too long for it: they resume, too."""
    status: ReferenceStatus

    @property
    def waiting_page(self) -> str:
        """The list of the records that wait for it; actions on all of them are posted to it."""
        return self._page("waitingrecord")

    @property
    def dead_page(self) -> str:
        return self._page("deadletter")

    def _page(self, name: str) -> str:
        query = urlencode({"missing_stream": self.stream, "missing_key": self.key})
        return f"{reverse(f'admin:enrichment_{name}_changelist')}?{query}"


def page(number: int, order: str = BY_NUMBER) -> tuple[list[Missing], bool]:
    """(the groups on a page, from 1; whether there are more)."""
    start = (number - 1) * PER_PAGE
    waiting = HeldRecord.objects.waiting().exclude(missing_stream="").values_list("missing_stream", "missing_key")
    grouped = waiting.annotate(number=Count("*"), since=Min("waiting_since"))
    ordered = grouped.order_by(*ORDERS[order], "missing_stream", "missing_key")
    found = list(ordered[start : start + PER_PAGE + 1])
    return _groups(found[:PER_PAGE]), len(found) > PER_PAGE


def waiting_on(pairs: Collection[Pair]) -> list[Missing]:
    """Those of the pairs that open failed records refer to, though all of these may be dead by now."""
    records = HeldRecord.objects.open().filter(_any_of(pairs, "missing_stream", "missing_key"))
    waiting = Count("pk", filter=Q(status=HeldRecord.Status.WAITING))
    rows = records.values_list("missing_stream", "missing_key").annotate(number=waiting, since=Min("waiting_since"))
    found = list(rows.order_by("-number", "missing_stream", "missing_key")) if pairs else []
    return _groups(found) if found else []


def _groups(found: Iterable[tuple[str, str, int, datetime]]) -> list[Missing]:
    """From (stream, key, waiting records, since)."""
    found = list(found)
    pairs = [(stream, key) for stream, key, *_ in found]
    kinds, known = _kinds(pairs), statuses(pairs)
    return [
        Missing(
            stream=stream,
            key=key,
            waiting=number,
            since=since,
            by_stream=kinds[(stream, key)][HeldRecord.Status.WAITING],
            dead=sum(dead for _, dead in kinds[(stream, key)][HeldRecord.Status.DEAD]),
            status=known[(stream, key)],
        )
        for stream, key, number, since in found
    ]


def read_page(query: Mapping[str, str]) -> tuple[int, str]:
    """The page and the order that a query string names; the first where it names none."""
    number, order = query.get("p", ""), query.get("by", "")
    is_number = number.isascii() and number.isdecimal() and len(number) < 6
    return max(1, int(number)) if is_number else 1, order if order in ORDERS else BY_NUMBER


def totals() -> tuple[int, int]:
    """(missing references, records that wait for them)."""
    grouped = HeldRecord.objects.waiting().exclude(missing_stream="").values("missing_stream", "missing_key")
    sums = grouped.annotate(number=Count("*")).aggregate(groups=Count("*"), records=Sum("number"))
    return sums["groups"], sums["records"] or 0


def _kinds(pairs: Iterable[Pair]) -> Mapping[Pair, Mapping[str, list[tuple[str, int]]]]:
    """Missing reference → status → (stream, records), most first."""
    kinds: dict[Pair, dict[str, list[tuple[str, int]]]] = defaultdict(lambda: defaultdict(list))
    if chosen := _any_of(pairs, "missing_stream", "missing_key"):
        rows = HeldRecord.objects.open().filter(chosen).values_list("missing_stream", "missing_key", "status", "stream")
        for stream, key, status, kind, number in rows.annotate(number=Count("*")).order_by("-number", "stream"):
            kinds[(stream, key)][status].append((kind, number))
    return kinds


def statuses(pairs: Collection[Pair]) -> dict[Pair, ReferenceStatus]:
    """Of each, in a number of queries that depends on their streams alone."""
    keys: dict[str, list[str]] = defaultdict(list)
    for stream, key in pairs:
        keys[stream].append(key)
    known = [name for name in keys if name in streams.names()]
    stored = {(name, key) for name in known for key in _stored(name, chain.from_iterable(map(spellings, keys[name])))}
    pending = {name for name in keys if Delivery.objects.pending().filter(stream=name).exists()}
    held = _held(pairs)
    return {
        pair: ReferenceStatus(
            is_stored=pair in stored,
            held=held[pair][0],
            more=held[pair][1],
            similar=next((key for key in spellings(pair[1]) if (pair[0], key) in stored), ""),
            may_be_pending=pair[0] in pending,
        )
        for pair in pairs
    }


def _stored(stream: str, keys: Iterable[str]) -> Iterable[str]:
    return streams.get(stream).model._default_manager.filter(pk__in=list(keys)).values_list("pk", flat=True)


def _held(pairs: Iterable[Pair]) -> Mapping[Pair, tuple[HeldRecord | None, int]]:
    """(stream, key) → (the newest open held record, how many more there are)."""
    found: dict[Pair, tuple[HeldRecord | None, int]] = defaultdict(lambda: (None, 0))
    chosen = _any_of(pairs, "stream", "key")
    if not chosen:
        return found
    rows = HeldRecord.objects.open().filter(chosen).values_list("stream", "key")
    numbers = {newest: number for *_, newest, number in rows.annotate(newest=Max("pk"), number=Count("*"))}
    for held in HeldRecord.objects.filter(pk__in=numbers).defer("payload", "original_payload"):
        found[(held.stream, held.key)] = (held, numbers[held.pk] - 1)
    return found


def _any_of(pairs: Iterable[Pair], stream: str, key: str) -> Q:
    keys: dict[str, list[str]] = defaultdict(list)
    for name, each in pairs:
        keys[name].append(each)
    chosen = Q()
    for name, of_stream in keys.items():
        chosen |= Q(**{stream: name, f"{key}__in": of_stream})
    return chosen

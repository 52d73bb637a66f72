"""What would become of a file's records if they were stored now: all rows are checked, and alike errors counted
together. Takes as much memory for a million rows as for a thousand.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Self

from django.db import connection
from django.utils import timezone

from ingestion import pending, streams
from ingestion.cells import text_of
from ingestion.files.formats.csv_reader import Chunk
from ingestion.files.losses import KEYS_AT_ONCE, LossCounter, Losses, may_lose
from ingestion.files.record_file import RecordFile
from ingestion.messages import without_position
from ingestion.streams import Context, Reference, Stream
from ingestion.subjects import suppression
from ingestion.text import cut_short, plain
from ingestion.validation import check_item, key_of

MAX_GROUPS = 100
"""Kinds of errors that are told apart, and of warnings."""
MAX_SAMPLES = 5
MAX_VALUE = 60
"""Characters of a sample value."""

_varying = re.compile(r"'[^']*'|[0-9]+(?:\.[0-9]+)?")
"""In which warnings of one kind differ."""
_no_keys: Mapping[str, Collection[str]] = {}


@dataclass(kw_only=True)
class Group:
    """Records with the same error, the same missing reference or the same kind of warning."""

    kind: str
    field: str
    message: str
    """Without the value; of a warning the first one."""
    count: int = 0
    samples: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    """[{"row", "id", "value"}] of the first."""

    @property
    def summary(self) -> dict[str, Any]:
        return {"field": self.field, "message": self.message, "count": self.count, "samples": self.samples}


class Groups:
    def __init__(self, groups: Iterable[Mapping[str, Any]] = ()) -> None:
        self._by_kind = {(each["field"], each["kind"]): Group(**each) for each in groups}

    def add(self, name: str, message: str, sample: dict[str, Any], *, kind: str = "") -> None:
        known = self._by_kind
        place = (name, kind or message)
        if place not in known and len(known) >= MAX_GROUPS:
            place, message = ("", "more"), "of other kinds"
        group = known.setdefault(place, Group(kind=place[1], field=place[0], message=message))
        group.count += 1
        if len(group.samples) < MAX_SAMPLES:
            group.samples.append(sample)

    def __iter__(self) -> Iterator[Group]:
        """The most frequent first."""
        return iter(sorted(self._by_kind.values(), key=lambda group: -group.count))


@dataclass(kw_only=True)
class Check:
    """The result for the rows so far: rows = inserted + updated + stale + waiting + rejected."""

    rows: int = 0
    inserted: int = 0
    updated: int = 0
    stale: int = 0
    """Older than what is stored."""
    waiting: int = 0
    """For a record of another stream, which is neither stored nor pending."""
    rejected: int = 0
    with_warnings: int = 0
    errors: Groups = field(default_factory=Groups)
    missing: Groups = field(default_factory=Groups)
    warnings: Groups = field(default_factory=Groups)
    losses: Losses = field(default_factory=Losses)
    may_lose: list[str] = field(default_factory=list)
    """The fields of stored records that are looked at for losses."""

    @classmethod
    def begin(cls, file: RecordFile) -> Self:
        return cls(may_lose=may_lose(file))

    @property
    def stored(self) -> int:
        return self.inserted + self.updated

    @property
    def summary(self) -> dict[str, Any]:
        """For clients and pages."""
        return {
            "checked": self.rows,
            "valid": self.rows - self.rejected,
            "invalid": self.rejected,
            "inserted": self.inserted,
            "updated": self.updated,
            "stale": self.stale,
            "waiting": self.waiting,
            "with_warnings": self.with_warnings,
            "errors": [group.summary for group in self.errors],
            "missing_references": [group.summary for group in self.missing],
            "warnings": [group.summary for group in self.warnings],
            "cleared_fields": self.losses.fields,
            "cleared_records": self.losses.records,
        }

    def as_json(self) -> dict[str, Any]:
        lists = {name: [asdict(group) for group in getattr(self, name)] for name in LISTS}
        numbers = {name: getattr(self, name) for name in NUMBERS}
        return {**numbers, **lists, "losses": asdict(self.losses), "may_lose": self.may_lose}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        check = cls(losses=Losses(**saved.get("losses", {})), may_lose=saved.get("may_lose", []))
        for name in NUMBERS:
            setattr(check, name, saved.get(name, 0))
        for name in LISTS:
            setattr(check, name, Groups(saved.get(name, ())))
        return check


LISTS = ("errors", "missing", "warnings")
NUMBERS = ("rows", "inserted", "updated", "stale", "waiting", "rejected", "with_warnings")


def check_file(file: RecordFile, arriving: Mapping[str, Collection[str]] = _no_keys) -> Check:
    """All rows. `arriving` are the keys, by stream, of what is stored before this file, as the files of a set are."""
    checker = Checker(file.stream, Check.begin(file), arriving)
    for chunk in file.chunks():
        checker.add(chunk)
    return checker.check


@dataclass(frozen=True, slots=True)
class Valid:
    row: int
    key: str
    record: Any


class Checker:
    """Adds rows of a file to its check, chunk by chunk."""

    def __init__(self, stream: Stream, check: Check, arriving: Mapping[str, Collection[str]] = _no_keys) -> None:
        self.stream, self.check, self.arriving = stream, check, arriving
        self._losses = LossCounter(stream, check.may_lose, check.losses)
        self._pending: dict[str, Collection[str]] = {}

    def add(self, chunk: Chunk) -> None:
        self.add_items(chunk.rows, [json.loads(line) for line in chunk.lines])

    def add_items(self, rows: Sequence[int], items: Sequence[Any]) -> None:
        now = timezone.now()
        context = Context(now=now, facts=self.stream.facts())
        valid: list[Valid] = []
        suppressed = suppression.find_at_the_door(self.stream, items)
        for index, (row, item) in enumerate(zip(rows, items, strict=True)):
            if mention := suppressed.get(index):
                self._reject({}, {mention.field: [suppression.message_of(mention)]}, {"row": row, "id": ""})
                continue
            checked = check_item(self.stream, item, context, is_of_file=True)
            key = key_of(self.stream, item)
            sample = {"row": row, "id": key}
            if checked.errors:
                self._reject(item, checked.errors, sample)
                continue
            valid.append(Valid(row, key, checked.record))
            self._warn(checked.warnings, sample)
        self.check.rows += len(rows)
        for some in _portions({key for item in items if (key := key_of(self.stream, item))}):
            self._losses.add(some)
        self._foresee(self._without_waiting(valid), now)

    def _reject(self, item: Any, errors: Mapping[str, Sequence[str]], sample: Mapping[str, Any]) -> None:
        self.check.rejected += 1
        for name, messages in errors.items():
            general = getattr(messages[0], "general", messages[0])
            self.check.errors.add(without_position(name), general, {**sample, "value": shown(_value_at(item, name))})

    def _warn(self, warnings: Sequence[str], sample: Mapping[str, Any]) -> None:
        self.check.with_warnings += bool(warnings)
        for warning in warnings:
            self.check.warnings.add("", warning, {**sample, "value": ""}, kind=_varying.sub("…", warning))

    def _without_waiting(self, valid: Sequence[Valid]) -> list[Valid]:
        """The records of which nothing is missing; counts the others."""
        absent = {
            reference: self._absent(reference, {getattr(each.record, reference.field) for each in valid})
            for reference in self.stream.references
        }
        ready = []
        for each in valid:
            lacks = [reference for reference, keys in absent.items() if getattr(each.record, reference.field) in keys]
            if not lacks:
                ready.append(each)
                continue
            self.check.waiting += 1
            for reference in lacks:
                kind = streams.get(reference.stream).model._meta.verbose_name
                sample = {"row": each.row, "id": each.key, "value": getattr(each.record, reference.field)}
                self.check.missing.add(reference.field, f"{kind} does not exist (yet)", sample)
        return ready

    def _absent(self, reference: Reference, keys: set[str]) -> set[str]:
        """Those of which the record is not stored, not pending and not created by us."""
        model = streams.get(reference.stream).model
        absent = keys.difference(self.arriving.get(reference.stream, ()))
        for some in _portions(absent):
            absent.difference_update(model._default_manager.filter(pk__in=some).values_list("pk", flat=True))
        absent = {key for key in absent if reference.stub(key) is None}
        if absent and reference.stream not in self._pending:
            self._pending[reference.stream] = pending.keys_of(streams.get(reference.stream))
        return absent.difference(self._pending[reference.stream]) if absent else absent

    def _foresee(self, valid: Sequence[Valid], now: datetime) -> None:
        """Counts what would be inserted, updated and stale: of records with one key one is stored, and to an immutable
        stream a known key adds nothing.
        """
        newest: dict[str, datetime] = {}
        for each in valid:
            version = self.stream.version_of(each.record) or now
            newest[each.key] = max(version, newest.get(each.key, version))
        stored = self._versions(newest)
        is_newer = {key: version >= stored[key] for key, version in newest.items() if key in stored}
        stale = len(stored) - (0 if self.stream.immutable else sum(is_newer.values()))
        self.check.stale += stale + len(valid) - len(newest)
        self.check.updated += len(stored) - stale
        self.check.inserted += len(newest) - len(stored)

    def _versions(self, keys: Collection[str]) -> dict[str, datetime]:
        rows = self.stream.model._default_manager
        found: dict[str, datetime] = {}
        for some in _portions(keys):
            found.update(rows.filter(pk__in=some).values_list("pk", "version_at"))
        return found


def _portions(keys: Collection[str]) -> Iterator[list[str]]:
    """As many as one query may name."""
    ordered, size = sorted(keys), KEYS_AT_ONCE[connection.vendor]
    return (ordered[start : start + size] for start in range(0, len(ordered), size))


def _value_at(item: Any, name: str) -> Any:
    """What stands in the item at a place such as `subjects.2`; None for nothing."""
    value = item
    for part in name.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def shown(value: Any) -> str:
    """As in a cell, cut."""
    return "" if value is None else cut_short(plain(text_of(value)), MAX_VALUE)

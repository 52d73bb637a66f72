"""One change to many held records: previewed before it is confirmed, and made in the steps of a bulk action."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import models
from django.utils import timezone
from pydantic import ValidationError

from enrichment.held import fixing
from enrichment.models import Bytes, HeldRecord, HeldRecordQuerySet
from ingestion import streams
from ingestion.messages import general_message
from ingestion.payloads import MAX_DEPTH, ParseError, ascii_json, parse_json
from ingestion.text import plain
from ingestion.validation import field_errors, validate

MAX_RECORDS = 5_000
"""The most held records that a preview tries."""
MAX_BYTES = 16_000_000
"""The most bytes of payloads that a preview reads."""
TRY_SECONDS = 1.5
"""How long a preview takes, at most."""
CHUNK_BYTES = 8_000_000
"""The most bytes of payloads in memory at once."""
WRITE_CHUNK = 25
WRITE_CHUNK_BYTES = 2_000_000
LOCK_CHUNK = 100
"""Held records locked at once: a step that ends early has locked, and measured, few in vain."""
SAMPLE = 10
"""Held records that a preview shows."""
LATEST = 500
"""Held records whose messages top_failures() counts."""
MAX_FAILURES = 5
MAX_REASONS = 20
MAX_VALUE_LENGTH = 300
"""Characters of a value that are displayed."""

ABSENT = "absent"
OLD_VALUE_DIFFERS = "the field has another value or is missing"
UNCHANGED = "the field already has this value"
FIELD_MISSING = "the field is missing"
NOT_AN_OBJECT = "the record is not a JSON object"
TOO_LARGE = "the record is too large to fix here"
OTHER = "other reasons"


class Operation(models.TextChoices):
    SET = "set", "Set a field"
    REPLACE = "replace", "Replace one value with another"
    REMOVE = "remove", "Remove a field"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is done to each record. Its values are JSON in ASCII, which every database can store."""

    operation: str
    field: str
    value: str = ""
    old: str = ""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Change:
        """From BulkAction.change."""
        return cls(**{name: stored.get(name, "") for name in ("operation", "field", "value", "old")})

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value}

    def apply_to(self, record: dict[str, Any]) -> dict[str, Any] | str:
        """The changed record, or why the change does not apply to it."""
        present = _canonical(record[self.field]) if self.field in record else None
        if self.operation == Operation.REMOVE:
            if present is None:
                return FIELD_MISSING
            return {name: value for name, value in record.items() if name != self.field}
        if self.operation == Operation.REPLACE and present != _canonical(json.loads(self.old)):
            return OLD_VALUE_DIFFERS
        value = json.loads(self.value)
        return UNCHANGED if present == _canonical(value) else {**record, self.field: value}

    def __str__(self) -> str:
        field, value, old = plain(self.field), display_value(self.value), display_value(self.old)
        if self.operation == Operation.REMOVE:
            return f"remove {field}"
        return f"set {field} to {value}" if self.operation == Operation.SET else f"replace {field} {old} with {value}"


def _canonical(value: Any) -> str:
    """Equal for exactly the same value: 1, 1.0 and true all differ."""
    return json.dumps(value, sort_keys=True)


def display_value(value: str) -> str:
    """A value, given as JSON, for a person to read."""
    try:
        text = plain(json.dumps(json.loads(value), ensure_ascii=False))
    except ValueError:
        return ABSENT
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}…"


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The effect of the change on one record."""

    held: HeldRecord
    before: str = ABSENT
    after: str = ABSENT
    payload: Any = None
    """The changed record; meaningless if the change does not apply to it."""
    skip_reason: str = ""
    """Why the change does not apply to it."""
    messages: Mapping[str, list[str]] = field(default_factory=dict)
    """What would still be wrong with it, by field."""

    @property
    def passes(self) -> bool:
        return not self.skip_reason and not self.messages

    @property
    def reason(self) -> str:
        """Why it is not changed; without the value at fault, so that those alike are counted together."""
        return self.skip_reason or f"still invalid: {general_message(self.messages)[:200]}"


def preview_change(held: HeldRecord, change: Change) -> Preview:
    try:
        record = parse_json(held.payload.encode())
    except ParseError as error:  # by a stricter reader than the one that accepted it
        return Preview(held=held, messages={"record": [str(error)]})
    if not isinstance(record, dict):
        return Preview(held=held, skip_reason=NOT_AN_OBJECT)
    changed = change.apply_to(record)
    if isinstance(changed, str):
        return Preview(held=held, skip_reason=changed)
    before, after = (_field(each, change.field) for each in (record, changed))
    messages = _check(held.stream, changed, change)
    return Preview(held=held, before=before, after=after, payload=changed, messages=messages)


def _check(stream: str, changed: dict[str, Any], change: Change) -> dict[str, list[str]]:
    """What is wrong with the changed record. It is validated as it is, not written as JSON and read again, which would
    take several times as long.
    """
    try:
        if change.value:
            parse_json(change.value.encode(), MAX_DEPTH - 1)  # it is nested in the record
        validate(streams.get(stream), changed, timezone.now())
    except ParseError as error:
        return {"record": [str(error)]}
    except ValidationError as error:
        return field_errors(error)
    return {}


def _field(record: dict[str, Any], name: str) -> str:
    return display_value(ascii_json(record[name])) if name in record else ABSENT


# The preview, before the change is confirmed.


@dataclass(kw_only=True)
class DryRun:
    """The effect of the change on the first of the selected records, by id."""

    total: int
    """All that are selected."""
    tried: int = 0
    passing: int = 0
    skipped_because: Counter[str] = field(default_factory=Counter)
    """Why the change does not apply to some → how many."""
    failing: Counter[str] = field(default_factory=Counter)
    """First message → how many records would still be invalid with it."""
    sample: list[Preview] = field(default_factory=list)

    @property
    def failing_count(self) -> int:
        return self.failing.total()

    @property
    def is_complete(self) -> bool:
        return self.tried == self.total

    @property
    def top_messages(self) -> list[tuple[str, int]]:
        return self.failing.most_common(MAX_REASONS)

    @property
    def skipped(self) -> list[tuple[str, int]]:
        return self.skipped_because.most_common()


def dry_run(selected: HeldRecordQuerySet, change: Change) -> DryRun:
    """Tries the change on at least one of the selected records and at most MAX_RECORDS or MAX_BYTES, for about
    TRY_SECONDS. The sample has both valid and invalid ones.
    """
    end = time.monotonic() + TRY_SECONDS
    found = DryRun(total=selected.count())
    sizes = list(selected.order_by("pk").values_list("pk", Bytes("payload"))[:MAX_RECORDS])
    passing: list[Preview] = []
    failing: list[Preview] = []
    for preview in _previews(_within(sizes, MAX_BYTES), change):
        found.tried += 1
        if preview.passes:
            found.passing += 1
            passing += [preview][: SAMPLE - len(passing)]
        elif preview.skip_reason:
            found.skipped_because[preview.skip_reason] += 1
        else:
            found.failing[general_message(preview.messages)[:200]] += 1
            failing += [preview][: SAMPLE - len(failing)]
        if time.monotonic() >= end:
            break
    half = max(SAMPLE // 2, SAMPLE - len(passing))
    found.sample = sorted(failing[:half] + passing[: SAMPLE - len(failing[:half])], key=lambda preview: preview.held.pk)
    return found


def top_failures(selected: HeldRecordQuerySet) -> tuple[list[tuple[str, str, int]], int]:
    """([(field, first message, how many of the latest selected records failed with it)], how many failed with others),
    the most frequent first.
    """
    latest = selected.order_by("-pk").values_list("messages", "message")[:LATEST]
    numbers = Counter((next(iter(messages), ""), plain(message)) for messages, message in latest)
    top = [(*failure, number) for failure, number in numbers.most_common(MAX_FAILURES)]
    return top, numbers.total() - sum(number for *_, number in top)


def _within(sizes: Sequence[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
    """The first of these (id, bytes), as many as make `limit` bytes; those too large to be read weigh nothing."""
    taken: list[tuple[int, int]] = []
    for pk, size in sizes:
        weight = size if size <= fixing.MAX_EDITABLE else 0
        if taken and weight > limit:
            break
        limit -= weight
        taken.append((pk, size))
    return taken


def _previews(sizes: Sequence[tuple[int, int]], change: Change) -> Iterator[Preview]:
    """Previews of these (id, bytes), in order, with a few payloads in memory at a time."""
    sizes = list(sizes)
    while sizes:
        chunk = _within(sizes, CHUNK_BYTES)[:1000]
        sizes = sizes[len(chunk) :]
        large = [pk for pk, size in chunk if size > fixing.MAX_EDITABLE]
        small = [pk for pk, size in chunk if size <= fixing.MAX_EDITABLE]
        unread = HeldRecord.objects.defer("payload", "original_payload").in_bulk(large)
        read = HeldRecord.objects.defer("original_payload").in_bulk(small)
        for pk, _ in chunk:
            if pk in unread:
                yield Preview(held=unread[pk], skip_reason=TOO_LARGE)
            elif pk in read:
                yield preview_change(read.pop(pk), change)


# The change itself, in a step of a bulk action.


@dataclass(kw_only=True)
class FixResult:
    reached: int
    """The last id that is finished."""
    pks: list[int] = field(default_factory=list)
    """The ids of those that were fixed."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Why others were not changed → how many."""


def fix(pks: Sequence[int], change: Change, end: float = math.inf) -> FixResult:
    """Fixes these records in order, at least one and none after `end` (of time.monotonic), in the caller's transaction,
    which holds the locks. Those that have been closed since are skipped.
    """
    done = FixResult(reached=pks[-1])
    passing: list[Preview] = []
    for preview in _locked_previews(pks, change):
        if preview.passes:
            done.pks.append(preview.held.pk)
            passing.append(preview)
        else:
            done.skipped[preview.reason] += 1
        if len(passing) >= WRITE_CHUNK or sum(len(each.held.payload) for each in passing) > WRITE_CHUNK_BYTES:
            _write(passing)
        if time.monotonic() >= end:
            done.reached = preview.held.pk
            break
    _write(passing)
    return done


def _locked_previews(pks: Sequence[int], change: Change) -> Iterator[Preview]:
    for start in range(0, len(pks), LOCK_CHUNK):
        among = HeldRecord.objects.open().filter(pk__in=pks[start : start + LOCK_CHUNK])
        locked = among.order_by("pk").select_for_update()
        yield from _previews(list(locked.values_list("pk", Bytes("payload"))), change)


def _write(passing: list[Preview]) -> None:
    """Also empties the list: payloads may be large."""
    by_stream: dict[str, list[tuple[HeldRecord, int, Any]]] = {}
    for preview in passing:
        held = preview.held
        by_stream.setdefault(held.stream, []).append((held, held.payload_version, preview.payload))
    for stream, rows in by_stream.items():
        fixing.replace_payloads(streams.get(stream), rows)
    passing.clear()


def add_reasons(counted: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    """The sum of both; no more than MAX_REASONS are counted by name, the rest as OTHER."""
    total = dict(counted)
    for reason, number in more.items():
        name = reason if reason in total or len(total) < MAX_REASONS else OTHER
        total[name] = total.get(name, 0) + number
    return total

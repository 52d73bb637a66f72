"""One change to many held records: what it would do to each, tried on them, and done in a step of a bulk action."""

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
from ingestion.text import first_message, plain
from ingestion.validation import field_errors, validate

MAX_RECORDS = 5_000
"""Held records on which a change is tried before it is confirmed."""
MAX_BYTES = 16_000_000
"""Of payloads that are tried on a page."""
TRY_SECONDS = 1.5
"""For which they are tried."""
CHUNK_BYTES = 8_000_000
"""Of payloads that are in memory at once."""
WRITTEN_AT_ONCE = 25
WRITTEN_BYTES = 2_000_000
LOCKED_AT_ONCE = 100
"""Held records; a step that is over earlier has locked, and measured, no more."""
SAMPLE = 10
LATEST = 500
"""Held records whose messages are counted."""
MAX_FAILURES = 5
MAX_REASONS = 20
MAX_VALUE_LENGTH = 300
"""Characters of a value that a page shows."""

ABSENT = "absent"
OLD_VALUE_DIFFERS = "have another value in the field, or none: the change is not for them"
UNCHANGED = "have that value already"
FIELD_MISSING = "do not have the field"
NOT_AN_OBJECT = "are no objects: they have no fields"
TOO_LARGE = "are too large to be fixed here"
OTHER = "other reasons"


class Operation(models.TextChoices):
    SET = "set", "Set a field"
    REPLACE = "replace", "Replace one value by another"
    REMOVE = "remove", "Remove a field"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is done to each record; its values are JSON in ASCII, which every database keeps."""

    operation: str
    field: str
    value: str = ""
    old: str = ""

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Change:
        """That of a bulk action."""
        return cls(**{name: stored.get(name, "") for name in ("operation", "field", "value", "old")})

    def as_dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value}

    def apply_to(self, record: dict[str, Any]) -> dict[str, Any] | str:
        """The record so changed, or why the change is not for it."""
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
        return f"set {field} to {value}" if self.operation == Operation.SET else f"replace {field} {old} by {value}"


def _canonical(value: Any) -> str:
    """Equal for what is exactly the same value: 1, 1.0 and true are three."""
    return json.dumps(value, sort_keys=True)


def display_value(value: str) -> str:
    """A value in JSON for a person to read."""
    try:
        text = plain(json.dumps(json.loads(value), ensure_ascii=False))
    except ValueError:
        return ABSENT
    return text if len(text) <= MAX_VALUE_LENGTH else f"{text[:MAX_VALUE_LENGTH]}…"


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What the change would do to one record."""

    held: HeldRecord
    before: str = ABSENT
    after: str = ABSENT
    payload: Any = None
    """As it would be; meaningless where the change is not for the record."""
    skip_reason: str = ""
    """Why the change is not for it."""
    messages: Mapping[str, list[str]] = field(default_factory=dict)
    """What would be wrong with it, by field."""

    @property
    def passes(self) -> bool:
        return not self.skip_reason and not self.messages

    @property
    def reason(self) -> str:
        """Why it is left as it is."""
        return self.skip_reason or f"would not pass: {first_message(self.messages)[:200]}"


def preview_change(held: HeldRecord, change: Change) -> Preview:
    try:
        record = parse_json(held.payload.encode())
    except ParseError as error:  # by a stricter reader than the one that took it in
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
    """What is wrong with a record that was read before it was changed: it is not written and read once more for that,
    which would take several times as long.
    """
    try:
        if change.value:
            parse_json(change.value.encode(), MAX_DEPTH - 1)  # in a record
        validate(streams.get(stream), changed, timezone.now())
    except ParseError as error:
        return {"record": [str(error)]}
    except ValidationError as error:
        return field_errors(error)
    return {}


def _field(record: dict[str, Any], name: str) -> str:
    return display_value(ascii_json(record[name])) if name in record else ABSENT


# Before it is confirmed.


@dataclass(kw_only=True)
class DryRun:
    """What the change would do to the first of the chosen records, by id."""

    total: int
    """All that are chosen."""
    tried: int = 0
    passing: int = 0
    skipped_because: Counter[str] = field(default_factory=Counter)
    """Why the change is not for some → how many."""
    failing: Counter[str] = field(default_factory=Counter)
    """First message → how many would not pass."""
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


def dry_run(chosen: HeldRecordQuerySet, change: Change) -> DryRun:
    """Tries the change on the chosen, at most on MAX_RECORDS or MAX_BYTES, for about TRY_SECONDS and on one at least;
    the sample has some of each kind.
    """
    end = time.monotonic() + TRY_SECONDS
    found = DryRun(total=chosen.count())
    sizes = list(chosen.order_by("pk").values_list("pk", Bytes("payload"))[:MAX_RECORDS])
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


def top_failures(chosen: HeldRecordQuerySet) -> tuple[list[tuple[str, str, int]], int]:
    """([(field, first message, how many of the latest chosen had it when they failed last)], how many had others); the
    most frequent first.
    """
    latest = chosen.order_by("-pk").values_list("messages", "message")[:LATEST]
    numbers = Counter((next(iter(messages), ""), plain(message)) for messages, message in latest)
    most = [(*told, number) for told, number in numbers.most_common(MAX_FAILURES)]
    return most, numbers.total() - sum(number for *_, number in most)


def _within(sizes: Sequence[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """Of these (id, bytes) the first, as many as make `most` bytes; those too large to be read weigh nothing."""
    taken: list[tuple[int, int]] = []
    for pk, size in sizes:
        weight = size if size <= fixing.MAX_EDITABLE else 0
        if taken and weight > most:
            break
        most -= weight
        taken.append((pk, size))
    return taken


def _previews(sizes: Sequence[tuple[int, int]], change: Change) -> Iterator[Preview]:
    """Of each of these (id, bytes), in their order, in memory a few at a time."""
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


# In a step of a bulk action.


@dataclass(kw_only=True)
class FixResult:
    reached: int
    """The ids up to this one are done."""
    pks: list[int] = field(default_factory=list)
    """Of those fixed."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Why others are left as they are → how many."""


def fix(pks: Sequence[int], change: Change, end: float = math.inf) -> FixResult:
    """Of these ids, in order, at least one and no more after `end` (of time.monotonic). In the caller's transaction,
    which keeps the lock on them; those closed meanwhile are left out.
    """
    done = FixResult(reached=pks[-1])
    passing: list[Preview] = []
    for preview in _locked_previews(pks, change):
        if preview.passes:
            done.pks.append(preview.held.pk)
            passing.append(preview)
        else:
            done.skipped[preview.reason] += 1
        if len(passing) >= WRITTEN_AT_ONCE or sum(len(each.held.payload) for each in passing) > WRITTEN_BYTES:
            _write(passing)
        if time.monotonic() >= end:
            done.reached = preview.held.pk
            break
    _write(passing)
    return done


def _locked_previews(pks: Sequence[int], change: Change) -> Iterator[Preview]:
    for start in range(0, len(pks), LOCKED_AT_ONCE):
        among = HeldRecord.objects.open().filter(pk__in=pks[start : start + LOCKED_AT_ONCE])
        locked = among.order_by("pk").select_for_update()
        yield from _previews(list(locked.values_list("pk", Bytes("payload"))), change)


def _write(passing: list[Preview]) -> None:
    """Empties it: payloads may be large."""
    by_stream: dict[str, list[tuple[HeldRecord, int, Any]]] = {}
    for preview in passing:
        held = preview.held
        by_stream.setdefault(held.stream, []).append((held, held.payload_version, preview.payload))
    for stream, rows in by_stream.items():
        fixing.replace_payloads(streams.get(stream), rows)
    passing.clear()


def add_reasons(kept: Mapping[str, int], left: Mapping[str, int]) -> dict[str, int]:
    """The sum of both, with no more than MAX_REASONS of their own name."""
    total = dict(kept)
    for reason, number in left.items():
        name = reason if reason in total or len(total) < MAX_REASONS else OTHER
        total[name] = total.get(name, 0) + number
    return total

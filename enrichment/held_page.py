"""What the pages of one held record show: its payload beside the original, its messages, attempts and history."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType

from enrichment.models import Failure, HeldRecord, StoredRecord
from ingestion import streams
from ingestion.readers import Unreadable, parse_json
from ingestion.streams import Stream
from ingestion.templatetags.shown import cut, plain, pretty

MOST_PRETTY = 200_000
"""Characters of a payload that are worth parsing to show a part of them."""
MOST_MENDED = 1_000_000
"""Characters of a payload that a person can be asked to edit."""
MOST_ATTEMPTS = 20


@dataclass(frozen=True)
class Line:
    text: str
    changed: bool = False


@dataclass(frozen=True)
class Complaint:
    """What is wrong with one field, and where it stands in the text."""

    field: str
    messages: list[str]
    line: int | None


def stream_of(held: HeldRecord) -> Stream | None:
    """None when its stream is no longer registered: then it can only be discarded."""
    return streams.get(held.stream) if held.stream in streams.names() else None


def mendable(held: HeldRecord) -> bool:
    open_ = held.status in HeldRecord.OPEN
    return open_ and stream_of(held) is not None and len(held.payload) <= MOST_MENDED


def editable(payload: str) -> str:
    """A held record's payload for a person to edit."""
    try:
        return pretty(parse_json(payload.encode()))
    except Unreadable:  # by a stricter reader than the one that took it in
        return plain(payload)


def payloads(held: HeldRecord) -> tuple[list[Line], list[Line]]:
    """(lines of the payload, lines of the original), marked where they differ; no original unless it was mended."""
    present = _shown(held.payload).split("\n")
    if held.original_payload is None:
        return [Line(text) for text in present], []
    original = _shown(held.original_payload).split("\n")
    matcher = SequenceMatcher(None, original, present)
    before = [Line(text, changed=True) for text in original]
    after = [Line(text, changed=True) for text in present]
    for block in matcher.get_matching_blocks():
        before[block.a : block.a + block.size] = map(Line, original[block.a : block.a + block.size])
        after[block.b : block.b + block.size] = map(Line, present[block.b : block.b + block.size])
    return after, before


def _shown(payload: str) -> str:
    return cut(editable(payload) if len(payload) <= MOST_PRETTY else plain(payload))


def complaints(messages: Mapping[str, list[str]], text: str = "") -> list[Complaint]:
    """The messages by field, each with the line of `text` on which the field stands, if it does."""
    return [
        Complaint(field, [plain(str(message)) for message in found], _line_of(field, text))
        for field, found in messages.items()
    ]


def _line_of(field: str, text: str) -> int | None:
    name = re.escape(field.split(".", maxsplit=1)[0])
    found = re.search(rf'^[ \t]*"{name}"\s*:', text, re.MULTILINE)
    return text.count("\n", 0, found.end()) + 1 if found else None


def first_message(messages: Mapping[str, list[str]]) -> str:
    """In one line, for lists."""
    for field, found in messages.items():
        if found:
            return plain(found[0] if field == "record" else f"{field}: {found[0]}")
    return ""


@dataclass(frozen=True)
class Attempt:
    failure: Failure
    complaints: list[Complaint]


def attempts(held: HeldRecord) -> list[Attempt]:
    """The last attempts, newest first."""
    failures = held.failures.order_by("-id")[:MOST_ATTEMPTS]
    return [Attempt(failure, complaints(failure.messages)) for failure in failures]


def stored_row(held: HeldRecord) -> StoredRecord | None:
    """What is stored under the record's key."""
    stream = stream_of(held)
    if stream is None or not held.key:
        return None
    row: StoredRecord | None = stream.model._default_manager.filter(pk=held.key).first()  # type: ignore[assignment]
    return row


def is_older(held: HeldRecord, row: StoredRecord) -> bool:
    """Whether the record would come out stale (P11)."""
    return (held.version_at, held.delivery_id, held.position) < row.version


def history(held: HeldRecord) -> list[LogEntry]:
    """Who did what to this very record, newest first; acts on many are in the redrives."""
    of_held = ContentType.objects.get_for_model(HeldRecord)
    return list(LogEntry.objects.filter(content_type=of_held, object_id=str(held.pk)).select_related("user")[:50])


@dataclass(frozen=True)
class FieldRule:
    name: str
    required: bool
    rule: str


def rules(stream: Stream) -> list[FieldRule]:
    """The fields that the stream's schema knows, for who mends a payload."""
    schema = stream.schema.model_json_schema()
    required, definitions = schema.get("required", []), schema.get("$defs", {})
    return [
        FieldRule(name, name in required, _rule(field, definitions))
        for name, field in schema.get("properties", {}).items()
    ]


def _rule(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return _rule(definitions.get(field["$ref"].rsplit("/", 1)[-1], {}), definitions)
    if "anyOf" in field:
        return " or ".join(rule for option in field["anyOf"] if (rule := _rule(option, definitions)) != "null")
    if "enum" in field or "const" in field:
        return "one of " + ", ".join(str(value) for value in field.get("enum", [field.get("const")]))
    words = {"string": "text", "integer": "whole number", "boolean": "true or false", "array": "list"}
    kind = {"date-time": "time", "email": "email address"}.get(field.get("format", ""))
    kind = kind or words.get(field.get("type", ""), field.get("type", "any value"))
    return " ".join([kind, *_bounds(field)])


_BOUNDS = [
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
]


def _bounds(field: Mapping[str, Any]) -> list[str]:
    bounds = []
    for least, most, unit in _BOUNDS:
        low, high = field.get(least), field.get(most)
        if low is not None and high is not None:
            bounds.append(f"{low} to {high}{unit}")
        elif low is not None or high is not None:
            bounds.append(f"at least {low}{unit}" if high is None else f"at most {high}{unit}")
    return bounds

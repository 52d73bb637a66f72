"""What the fix page works with: values at fault to type beside their messages, and what would come of the payload."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from console.field_rules import FieldRule, rules
from console.held.missing_references import ReferenceStatus, statuses
from console.held.page import FieldError
from enrichment import versions
from enrichment.held.fixing import stream_of
from enrichment.models import HeldRecord, StoredRecord
from ingestion.cells import Read, readers_of, text_of
from ingestion.payloads import ParseError, parse_json
from ingestion.streams import Stream
from ingestion.text import plain, pretty
from ingestion.validation import key_of

INPUT_PREFIX, ORIGINAL_PREFIX = "field.", "was."
"""Before the name of a field, in the form: what is typed for it, and what stood there."""
MAX_INPUT_LENGTH = 200
"""Characters of a value that stands in a line of its own."""
MAX_ISSUES = 30


@dataclass(frozen=True, kw_only=True)
class FieldIssue:
    """A field, or the whole record, and all that is wrong with it."""

    name: str
    field_errors: list[FieldError]
    rule: FieldRule | None = None
    value: str | None = None
    """What may be edited beside the messages; None where the payload itself has to be."""

    @property
    def line(self) -> int | None:
        return self.field_errors[0].line

    @property
    def text(self) -> str:
        return self.field_errors[0].text


def field_issues(stream: Stream, field_errors: Iterable[FieldError], text: str) -> list[FieldIssue]:
    """The errors by the member of the record that they are about."""
    by_name: dict[str, list[FieldError]] = {}
    for error in field_errors:
        by_name.setdefault(error.field.split(".", maxsplit=1)[0], []).append(error)
    known, readers = {rule.name: rule for rule in rules(stream)}, readers_of(stream.schema, stream.known_items)
    record = _read(text)
    return [
        FieldIssue(
            name=name,
            field_errors=told,
            rule=known.get(name),
            value=as_input(readers[name], record.get(name)) if name in readers and isinstance(record, dict) else None,
        )
        for name, told in list(by_name.items())[:MAX_ISSUES]
    ]


def as_input(read: Read, value: Any) -> str | None:
    """The value as a person types it; None where that would not be seen whole, or not be read back."""
    if value in ("", None, []):
        return ""
    cell = text_of(value)
    if not _is_seen_whole(cell):
        return None
    if _reads_back(read, cell, value):
        return cell
    return f'"{value}"' if isinstance(value, str) else None  # "27" for a number: the quotation marks are the fault


def _is_seen_whole(cell: str) -> bool:
    return len(cell) <= MAX_INPUT_LENGTH and cell == plain(cell) and cell == cell.strip() and "\n" not in cell


def _reads_back(read: Read, cell: str, value: Any) -> bool:
    text = read(cell)
    again = parse_json(text.encode()) if text else None
    return type(again) is type(value) and again == value


def apply_inputs(stream: Stream, text: str, typed: Mapping[str, str]) -> str:
    """The payload with what was typed for single fields, where it is not what stood there; empty takes a field away.

    A payload that cannot be read stays as it is.
    """
    readers = readers_of(stream.schema, stream.known_items)
    changed = {
        name: typed[INPUT_PREFIX + name]
        for name in readers
        if INPUT_PREFIX + name in typed and typed[INPUT_PREFIX + name] != typed.get(ORIGINAL_PREFIX + name)
    }
    record = _read(text)
    if not changed or not isinstance(record, dict):
        return text
    for name, value in changed.items():
        if read := readers[name](value):
            record[name] = parse_json(read.encode())
        else:
            record.pop(name, None)
    return pretty(record)


def _read(text: str) -> Any:
    try:
        return parse_json(text.encode("utf-8", "surrogatepass"))
    except ParseError:
        return None


@dataclass(frozen=True, kw_only=True)
class FixPreview:
    """What would come of a record, stored or reprocessed with this payload."""

    key: str
    is_other_key: bool
    row: StoredRecord | None
    """What is stored under its key."""
    is_older: bool
    """Than that row: it would come out stale."""
    missing: list[tuple[str, str, str, ReferenceStatus]]
    """(field, stream, key, what is known of it) of the references that are not stored."""


def fix_preview(held: HeldRecord, text: str) -> FixPreview | None:
    """None of what is no object."""
    stream, record = stream_of(held), _read(text)
    if stream is None or not isinstance(record, dict):
        return None
    key = key_of(stream, record)
    row: Any = stream.model._default_manager.filter(pk=key).first() if key else None
    version_at = versions.version_at(stream, record, held.received_at, timezone.now())
    return FixPreview(
        key=plain(key),
        is_other_key=key != held.key,
        row=row,
        is_older=row is not None and (version_at, held.delivery_id, held.position) < row.version,
        missing=_missing(stream, record),
    )


def _missing(stream: Stream, record: Mapping[str, Any]) -> list[tuple[str, str, str, ReferenceStatus]]:
    named = [(each.field, each.stream, record.get(each.field)) for each in stream.references]
    pairs = [(name, key) for _, name, key in named if isinstance(key, str) and key and key.isprintable()]
    known = statuses(pairs)
    return [
        (field, name, plain(key), known[(name, key)])
        for field, name, key in named
        if isinstance(key, str) and (name, key) in known and not known[(name, key)].is_stored
    ]

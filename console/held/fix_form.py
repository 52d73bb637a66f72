"""The form of the fix page: an input for each faulty field beside its messages, and a preview of the result."""

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
"""Before the name of a field, in the form: its new value, and the value that the input was filled with."""
MAX_INPUT_LENGTH = 200
"""Characters of a value that gets an input of its own."""
MAX_ISSUES = 30


@dataclass(frozen=True, kw_only=True)
class FieldIssue:
    """A field, or the whole record, and its errors."""

    name: str
    errors: list[FieldError]
    rule: FieldRule | None = None
    value: str | None = None
    """For an input beside the messages; None where the payload itself has to be edited."""

    @property
    def line(self) -> int | None:
        return self.errors[0].line

    @property
    def text(self) -> str:
        return self.errors[0].text


def field_issues(stream: Stream, field_errors: Iterable[FieldError], text: str) -> list[FieldIssue]:
    """The errors, grouped by the member of the record that they are about."""
    by_name: dict[str, list[FieldError]] = {}
    for error in field_errors:
        by_name.setdefault(error.field.split(".", maxsplit=1)[0], []).append(error)
    known, readers = {rule.name: rule for rule in rules(stream)}, readers_of(stream.schema, stream.known_items)
    record = _read(text)
    return [
        FieldIssue(
            name=name,
            errors=errors,
            rule=known.get(name),
            value=as_input(readers[name], record.get(name)) if name in readers and isinstance(record, dict) else None,
        )
        for name, errors in list(by_name.items())[:MAX_ISSUES]
    ]


def as_input(read: Read, value: Any) -> str | None:
    """The value as a person types it; None where it would not be visible as a whole, or not be read back."""
    if value in ("", None, []):
        return ""
    cell = text_of(value)
    if not _is_fully_visible(cell):
        return None
    if _reads_back(read, cell, value):
        return cell
    return f'"{value}"' if isinstance(value, str) else None  # "27" for a number: only the quotation marks are wrong


def _is_fully_visible(cell: str) -> bool:
    return len(cell) <= MAX_INPUT_LENGTH and cell == plain(cell) and cell == cell.strip() and "\n" not in cell


def _reads_back(read: Read, cell: str, value: Any) -> bool:
    text = read(cell)
    again = parse_json(text.encode()) if text else None
    return type(again) is type(value) and again == value


def apply_inputs(stream: Stream, text: str, inputs: Mapping[str, str]) -> str:
    """The payload with the inputs that were changed; an empty input removes its field.

    A payload that cannot be read stays as it is.
    """
    readers = readers_of(stream.schema, stream.known_items)
    changed = {
        name: inputs[INPUT_PREFIX + name]
        for name in readers
        if INPUT_PREFIX + name in inputs and inputs[INPUT_PREFIX + name] != inputs.get(ORIGINAL_PREFIX + name)
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
    """The result of reprocessing a record with this payload, as far as it can be foreseen."""

    key: str
    is_key_changed: bool
    row: StoredRecord | None
    """The stored record with its key."""
    is_stale: bool
    """Because of that row."""
    is_immutable: bool
    """That row: it is never changed."""
    missing: list[tuple[str, str, str, ReferenceStatus]]
    """(field, stream, key, status) of the references that are not stored."""


def fix_preview(held: HeldRecord, text: str) -> FixPreview | None:
    """None where the payload is not a JSON object."""
    stream, record = stream_of(held), _read(text)
    if stream is None or not isinstance(record, dict):
        return None
    key = key_of(stream, record)
    row: Any = stream.model._default_manager.filter(pk=key).first() if key else None
    version_at = versions.version_at(stream, record, held.received_at, timezone.now())
    return FixPreview(
        key=plain(key),
        is_key_changed=key != held.key,
        row=row,
        is_stale=row is not None and versions.is_stale(stream, (version_at, held.delivery_id, held.position), row),
        is_immutable=stream.immutable,
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

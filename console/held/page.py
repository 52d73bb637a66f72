"""What the pages of one held record show: its payload beside the original, its messages, attempts and history."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.models import LogEntry
from django.contrib.admin.views.main import ChangeList
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count
from django.db.models.functions import Left

from console.held.diffs import Line, side_by_side
from enrichment.held.fixing import MAX_EDITABLE, stream_of
from enrichment.models import Bytes, Failure, HeldRecord, HeldRecordQuerySet, StoredRecord
from ingestion.models import Delivery
from ingestion.payloads import ParseError, parse_json
from ingestion.text import MAX_DISPLAYED, cut, plain, pretty

MAX_PRETTY = 200_000
"""Characters of a payload that are worth parsing to show a part of them."""
MAX_INPUT = 2_000_000
"""Characters that this makes, with indentation, and that are taken back."""
MAX_ATTEMPTS = 20
MAX_RELATED = 1000
MAX_MESSAGES = 10
MAX_LINE_LENGTH = 120
"""Characters of a line at fault that stand beside its message."""


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field, and where it stands in the text."""

    field: str
    messages: list[str]
    line: int | None = None
    text: str = ""
    """Of that line."""


def with_payload_starts(records: HeldRecordQuerySet) -> HeldRecordQuerySet:
    """What is shown of payloads that may have 32 MB, and no more: `size` and `start`, of the original likewise."""
    return records.defer("payload", "original_payload").annotate(
        size=Bytes("payload"),
        start=Left("payload", MAX_PRETTY),
        original_size=Bytes("original_payload"),
        original_start=Left("original_payload", MAX_PRETTY),
    )


def fixable(held: Any) -> bool:
    """Of a record with its `size`."""
    open_ = held.status in HeldRecord.OPEN
    return open_ and stream_of(held) is not None and held.size <= MAX_EDITABLE


def payload_for_editing(payload: str) -> str:
    """A held record's payload for a person to edit."""
    try:
        text = pretty(parse_json(payload.encode()))
    except ParseError:  # by a stricter reader than the one that took it in
        return plain(payload)
    return text if len(text) <= MAX_INPUT else plain(payload)  # nested so deep that it is mostly indentation


def payloads(held: Any) -> tuple[list[Line], list[Line]]:
    """(lines of the payload, lines of the original), marked where they differ; no original unless it was fixed.

    Of a record with the start of its payloads.
    """
    present = _displayed(held.start, held.size)
    if held.original_start is None:
        return [Line(text) for text in present.split("\n")], []
    before, after = side_by_side(_displayed(held.original_start, held.original_size), present)
    return after, before


def _displayed(start: str, size: int) -> str:
    if size <= MAX_PRETTY:
        return cut(payload_for_editing(start))
    return f"{plain(start[:MAX_DISPLAYED])}\n… {size - MAX_DISPLAYED:,} more characters"


def field_errors(messages: Mapping[str, list[str]], text: str = "") -> list[FieldError]:
    """The messages by field, each with the line of `text` on which the field stands, if it does."""
    found = []
    for name, told in messages.items():
        line = _line_of(name, told, text) if text else None
        there = text.split("\n", line)[line - 1].strip()[:MAX_LINE_LENGTH] if line else ""
        found.append(FieldError(plain(name), [plain(str(message)) for message in told], line, there))
    return found


def _line_of(field: str, told: list[str], text: str) -> int | None:
    """That of the member that a message is about; of a text that is no JSON, the line that the message names."""
    if field == "record":
        named = re.search(r"^Not JSON: .* at line ([0-9]{1,7}), column", told[0]) if told else None
        return min(int(named[1]), text.count("\n") + 1) if named else None
    name = re.escape(field.split(".", maxsplit=1)[0])
    for indent in ("  ", r"[ \t]*"):  # as we write it; else as a person did
        if found := re.search(rf'^{indent}"{name}"\s*:', text, re.MULTILINE):
            return text.count("\n", 0, found.end()) + 1
    return None


@dataclass(frozen=True)
class MessageCount:
    """A message, how many of those listed have it, and the list of them."""

    message: str
    number: int
    page: str


def message_counts(changes: ChangeList) -> list[MessageCount]:
    """The most frequent messages of all that a list's filters choose."""
    rows = changes.queryset.order_by().exclude(message="").values_list("message").annotate(number=Count("*"))
    return [
        MessageCount(plain(message), number, changes.get_query_string({"message": message}))
        for message, number in rows.order_by("-number", "message")[:MAX_MESSAGES]
    ]


@dataclass(frozen=True)
class Attempt:
    failure: Failure
    field_errors: list[FieldError]


def attempts(held: HeldRecord) -> list[Attempt]:
    """The last attempts, newest first."""
    failures = held.failures.order_by("-id")[:MAX_ATTEMPTS]
    return [Attempt(failure, field_errors(failure.messages)) for failure in failures]


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


def upload_row(held: HeldRecord) -> tuple[int, int] | None:
    """(the upload that brought it, its row there)."""
    of_upload = Delivery.objects.filter(pk=held.delivery_id, upload__isnull=False).only("upload", "first_row", "gaps")
    found = of_upload.first()
    return (found.upload_id, found.row_of(held.position)) if found and found.upload_id else None


@dataclass(frozen=True)
class RelatedRecords:
    """Held records that have something in common with one."""

    number: int
    """At most MAX_RELATED."""
    what: str
    page: str
    query: str

    @property
    def or_more(self) -> bool:
        return self.number == MAX_RELATED


def related_records(held: HeldRecord) -> list[RelatedRecords]:
    """Each found along an index; none where there are no others."""
    # Open ones in the list of their status, where they can be acted on together.
    of_status = {"status": held.status} if held.status in HeldRecord.OPEN else {}
    chosen: dict[str, dict[str, Any]] = {}
    if of_status and held.message:
        chosen["with the same message"] = {"stream": held.stream, "message": held.message}
    if held.status == HeldRecord.Status.DEAD:  # those that wait have but one code
        chosen[f"with the code {held.code}"] = {"stream": held.stream, "code": held.code}
    if of_status:
        chosen["from this sender"] = {"client": held.client}
    if of_status and held.missing_key:
        missing = {"missing_stream": held.missing_stream, "missing_key": held.missing_key}
        chosen["for the same missing record"] = missing
    chosen["of this delivery"] = {"delivery": held.delivery_id}
    found = [_related(held, what, {**of_status, **which}) for what, which in chosen.items()]
    same = _related(held, "with this key", {"key": held.key}) if held.key else None
    return [each for each in (*found, same) if each]


def _related(held: HeldRecord, what: str, chosen: Mapping[str, Any]) -> RelatedRecords | None:
    number = HeldRecord.objects.matching(chosen).exclude(pk=held.pk).order_by()[:MAX_RELATED].count()
    page = {"dead": "deadletter", "waiting": "waitingrecord"}.get(chosen.get("status", ""), "heldrecord")
    query = {"q" if name == "key" else name: value for name, value in chosen.items() if name != "status"}
    return RelatedRecords(number, what, f"admin:enrichment_{page}_changelist", urlencode(query)) if number else None


def history(held: HeldRecord) -> list[LogEntry]:
    """Who did what to this very record, newest first; acts on many are in the bulk actions."""
    of_held = ContentType.objects.get_for_model(HeldRecord)
    return list(LogEntry.objects.filter(content_type=of_held, object_id=str(held.pk)).select_related("user")[:50])

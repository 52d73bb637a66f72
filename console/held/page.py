"""What the pages of one failed record show: payload beside the original, errors, attempts, history, similar records."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.models import LogEntry
from django.contrib.admin.views.main import ChangeList
from django.contrib.contenttypes.models import ContentType
from django.db.models import Count
from django.db.models.functions import Left
from django.urls import reverse

from console.held.diffs import Line, side_by_side
from console.personal import for_user
from enrichment.held.bulk_actions import past_tense
from enrichment.held.fixing import MAX_EDITABLE, stream_of
from enrichment.models import BulkAction, Bytes, Failure, HeldRecord, HeldRecordQuerySet, StoredRecord
from enrichment.versions import is_stale
from ingestion.models import Delivery
from ingestion.payloads import ParseError, parse_json
from ingestion.text import MAX_DISPLAYED, cut, plain, pretty

MAX_PRETTY = 200_000
"""Characters of a payload that is parsed and indented; of a longer one only the start is shown."""
MAX_INPUT = 2_000_000
"""Characters of a payload in an editor, with its indentation, and of what is posted from there."""
MAX_ATTEMPTS = 20
MAX_RELATED = 1000
MAX_MESSAGES = 10
MAX_HISTORY = 50
MAX_LINE_LENGTH = 120
"""Characters of a faulty line, quoted beside its message."""


@dataclass(frozen=True)
class FieldError:
    """The messages about one field, and its line in the text."""

    field: str
    messages: list[str]
    line: int | None = None
    text: str = ""
    """Of that line."""


def with_payload_starts(records: HeldRecordQuerySet) -> HeldRecordQuerySet:
    """Without payloads, which may have 32 MB: with `size` and `start` instead, and those of the original."""
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
    """Indented, where it can be read and is not too long."""
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
    for name, texts in messages.items():
        line = _line_of(name, texts, text) if text else None
        quoted = text.split("\n", line)[line - 1].strip()[:MAX_LINE_LENGTH] if line else ""
        found.append(FieldError(plain(name), [plain(str(message)) for message in texts], line, quoted))
    return found


def _line_of(field: str, messages: list[str], text: str) -> int | None:
    """Of the member that has the messages; in text that is not JSON, the line that the message names."""
    if field == "record":
        named = re.search(r"^Not JSON: .* at line ([0-9]{1,7}), column", messages[0]) if messages else None
        return min(int(named[1]), text.count("\n") + 1) if named else None
    name = re.escape(field.split(".", maxsplit=1)[0])
    for indent in ("  ", r"[ \t]*"):  # indented by us, else as typed
        if found := re.search(rf'^{indent}"{name}"\s*:', text, re.MULTILINE):
            return text.count("\n", 0, found.end()) + 1
    return None


@dataclass(frozen=True)
class MessageCount:
    """A message, how many records of a list have it, and their list."""

    message: str
    number: int
    page: str


def message_counts(changes: ChangeList) -> list[MessageCount]:
    """The most frequent messages among all matches of a list."""
    rows = changes.queryset.order_by().exclude(message="").values_list("message").annotate(number=Count("*"))
    return [
        MessageCount(plain(message), number, changes.get_query_string({"message": message}))
        for message, number in rows.order_by("-number", "message")[:MAX_MESSAGES]
    ]


@dataclass(frozen=True)
class Attempt:
    failure: Failure
    field_errors: list[FieldError]


def attempts(held: HeldRecord, user: Any) -> list[Attempt]:
    """The last attempts, newest first."""
    failures = for_user(user, held.failures.order_by("-id"))[:MAX_ATTEMPTS]
    return [Attempt(failure, field_errors(failure.messages)) for failure in failures]


def stored_row(held: HeldRecord) -> StoredRecord | None:
    """What is stored under the record's key."""
    stream = stream_of(held)
    if stream is None or not held.key:
        return None
    row: StoredRecord | None = stream.model._default_manager.filter(pk=held.key).first()  # type: ignore[assignment]
    return row


def is_immutable(held: HeldRecord) -> bool:
    stream = stream_of(held)
    return stream is not None and stream.immutable


def would_be_stale(held: HeldRecord, row: StoredRecord) -> bool:
    """If it were reprocessed now (P11)."""
    stream = stream_of(held)
    return stream is not None and is_stale(stream, (held.version_at, held.delivery_id, held.position), row)


def upload_row(held: HeldRecord) -> tuple[int, int] | None:
    """(the upload it was part of, its row there)."""
    of_upload = Delivery.objects.filter(pk=held.delivery_id, upload__isnull=False).only("upload", "first_row", "gaps")
    found = of_upload.first()
    return (found.upload_id, found.row_of(held.position)) if found and found.upload_id else None


@dataclass(frozen=True)
class RelatedRecords:
    """Failed records that have something in common with one."""

    common: str
    number: int
    """At most MAX_RELATED."""
    page: str

    @property
    def or_more(self) -> bool:
        return self.number == MAX_RELATED


def related_records(held: HeldRecord) -> list[RelatedRecords]:
    """All of one stream, and of one status while it is open: in that list one action can be for all of them.

    Each is counted along an index; none where there are no others.
    """
    scope = {"stream": held.stream}
    selections: dict[str, dict[str, Any]] = {}
    if held.status in HeldRecord.OPEN:
        scope["status"] = held.status
        if held.status == HeldRecord.Status.DEAD and held.message:
            selections["same error"] = {"message": held.message}
        if held.missing_key:
            missing = {"missing_stream": held.missing_stream, "missing_key": held.missing_key}
            selections["same missing record"] = missing
        if held.status == HeldRecord.Status.DEAD:  # all that are waiting have the same code
            selections["same code"] = {"code": held.code}
        selections["same source"] = {"client": held.client}
    selections["same delivery"] = {"delivery": held.delivery_id}
    found = [_related(held, common, {**scope, **selection}) for common, selection in selections.items()]
    same_key = {"stream": held.stream, "key": held.key}
    found.append(_related(held, "same ID, open or closed", same_key) if held.key else None)
    return [each for each in found if each]


def _related(held: HeldRecord, common: str, selection: Mapping[str, Any]) -> RelatedRecords | None:
    number = HeldRecord.objects.matching(selection).exclude(pk=held.pk).order_by()[:MAX_RELATED].count()
    if not number:
        return None
    model = {"dead": "deadletter", "waiting": "waitingrecord"}.get(selection.get("status", ""), "heldrecord")
    query = {"q" if name == "key" else name: value for name, value in selection.items() if name != "status"}
    return RelatedRecords(common, number, f"{reverse(f'admin:enrichment_{model}_changelist')}?{urlencode(query)}")


@dataclass(frozen=True, kw_only=True)
class HistoryEntry:
    at: datetime
    by: str
    text: str
    bulk_action: BulkAction | None = None
    reason: str = ""


def history(held: HeldRecord, user: Any) -> list[HistoryEntry]:
    """What people did to this record, alone or in bulk actions, newest first."""
    of_held = ContentType.objects.get_for_model(HeldRecord)
    logged = LogEntry.objects.filter(content_type=of_held, object_id=str(held.pk)).select_related("user")
    entries = [
        HistoryEntry(at=entry.action_time, by=entry.user.get_username(), text=entry.get_change_message())
        for entry in logged[:MAX_HISTORY]
    ]
    entries += [
        HistoryEntry(
            at=bulk_action.at,
            by=plain(bulk_action.by.removeprefix("user:")),
            text=past_tense(bulk_action),
            bulk_action=bulk_action,
            reason=plain(bulk_action.reason),
        )
        for bulk_action in for_user(user, held.bulk_actions.order_by("-pk"))[:MAX_HISTORY]
    ]
    return sorted(entries, key=lambda entry: entry.at, reverse=True)[:MAX_HISTORY]

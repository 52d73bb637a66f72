"""Names, e-mail addresses and free texts, hidden from people who may not see them (Readable.personal).

What cannot be told to be something else is hidden too. Whether there is something remains visible, and IDs do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any

from django.utils import timezone
from pydantic import TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from ingestion.messages import without_value
from ingestion.payload_warnings import UNKNOWN, known_names
from ingestion.payloads import UNREADABLE_MEMBER, ParseError, TooLarge, ascii_json, is_erased, parse_json
from ingestion.streams import Readable, Stream

MASK = "••• hidden"
"""In place of any value: it tells neither length nor kind, and is read aloud as it is."""
MASKED_LIST = [MASK]
_like_mask = re.compile(r"\s*([^\sA-Za-z0-9]{1,9})\1\1\s+hidden\s*")
"""MASK with whatever has become of its three dots."""
_of_whole = frozenset({"record", UNREADABLE_MEMBER})
"""The names under which messages about a whole record stand."""


def masked(value: Any) -> Any:
    """What is shown instead of a value; nothing stays nothing."""
    if value is None or value in ("", [], {}):
        return value
    return [MASK] if isinstance(value, list) else MASK


# A record as it was sent, which may be invalid.


def masked_payload(stream: Stream | None, payload: str) -> str:
    """A record as JSON, masked; as a whole where it cannot be read."""
    try:
        record = parse_json(payload.encode())
    except (ParseError, TooLarge):
        record = MASK
    return ascii_json(masked_record(stream, record))


def masked_record(stream: Stream | None, record: Any) -> Any:
    """A record with its personal fields masked, and what is in no field of the stream as one member: a name may stand
    there, even as the member's own name.
    """
    if stream is None or not isinstance(record, dict):
        return MASK
    if is_erased(record):
        return record
    if UNREADABLE_MEMBER in record:  # its cells are in the wrong columns, as where a comma stands in a name
        return {UNREADABLE_MEMBER: record[UNREADABLE_MEMBER], MASK: MASK}
    known = known_names(stream)
    found: dict[str, Any] = {}
    for name, value in record.items():
        if name in known:
            found[name] = masked_member(stream, name, value)
        else:
            found[MASK] = MASK
    return found


def masked_member(stream: Stream, name: str, value: Any) -> Any:
    """The value of a field; masked also where the field does not accept it, unless it is a mere number: a name may have
    come into the wrong column.
    """
    if name in stream.personal:
        return masked(value)
    if value is None or isinstance(value, bool | int | float) or _is_accepted(stream, name, value):
        return value
    return masked(value)


def _is_accepted(stream: Stream, name: str, value: Any) -> bool:
    if name not in stream.schema.model_fields:  # a column of ours that was sent back
        return False
    try:
        _adapter(stream, name).validate_python(value, strict=True, context={"now": timezone.now()})
    except ValidationError:
        return False
    return True


@cache
def _adapter(stream: Stream, name: str) -> TypeAdapter[Any]:
    field = stream.schema.model_fields[name]
    kind: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    return TypeAdapter(kind)


# What is said of records.


def masked_messages(stream: Stream | None, messages: Mapping[str, Sequence[str]], *, are_ours: bool) -> dict[str, Any]:
    """Messages by field without the values at fault. Those that are not `are_ours`, but of the database or of Python,
    quote whatever they like.
    """
    fields = _of_whole | (known_names(stream) if stream else frozenset())
    found: dict[str, list[str]] = {}
    for name, texts in messages.items():
        shown = name if name.partition(".")[0] in fields else MASK
        found.setdefault(shown, []).extend(without_value(text) if are_ours else MASK for text in texts)
    return found


def masked_warnings(readable: Readable, warnings: Sequence[str]) -> list[str]:
    """Warnings, without those that tell of a personal field; unknown members are not named."""
    return [_masked_warning(readable, text) for text in warnings]


def _masked_warning(readable: Readable, text: str) -> str:
    if text.startswith(UNKNOWN):
        return f"{UNKNOWN}{MASK}"
    return MASK if text.partition(" ")[0] in readable.personal else text


def masked_preview(stream: Stream, preview: Mapping[str, Any]) -> dict[str, Any]:
    """The preview of a file, or a part of it: the samples of columns and of groups are masked as a whole."""
    found = dict(preview)
    if "parts" in preview:  # of a set
        found["parts"] = [masked_preview(stream, part) for part in preview["parts"]]
    for column in (columns := [dict(each) for each in preview.get("columns", ())]):
        column["samples"] = masked(column["samples"])
    for row in (rows := [dict(each) for each in preview.get("rows", ())] if "columns" in preview else []):
        row["errors"] = masked_messages(stream, row["errors"], are_ours=True)
        row["warnings"] = masked_warnings(stream, row["warnings"])
    found |= {"columns": columns, "rows": rows} if "columns" in preview else {}
    found |= {name: _masked_groups(stream, preview[name]) for name in ("errors", "warnings") if name in preview}
    return found


def _masked_groups(stream: Stream, groups: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **group,
            "message": _masked_warning(stream, group["message"]),
            "samples": [{**sample, "value": masked(sample["value"])} for sample in group["samples"]],
        }
        for group in groups
    ]


# What comes back.


def has_mask(stream: Stream, item: Mapping[str, Any]) -> bool:
    values = item.values()
    if MASK in values or MASKED_LIST in values:
        return True
    return any(_is_like_mask(item.get(name)) for name in stream.personal)


def _is_like_mask(value: Any) -> bool:
    """Also of a list with others, and after a program has read or written the dots in the wrong encoding."""
    if isinstance(value, list):
        return any(map(_is_like_mask, value))
    return isinstance(value, str) and "hidden" in value and _like_mask.fullmatch(value) is not None


def refuse_masks(stream: Stream, item: Mapping[str, Any]) -> None:
    """Raises pydantic.ValidationError for a record that was exported masked: it would overwrite what is stored."""
    if not has_mask(stream, item):
        return
    error = PydanticCustomError("masked", "must be the value itself, not a mask from an export")
    names = [
        name
        for name, value in item.items()
        if value in (MASK, MASKED_LIST) or (name in stream.personal and _is_like_mask(value))
    ]
    details = [InitErrorDetails(type=error, loc=(name,), input=None) for name in names]
    raise ValidationError.from_exception_data(stream.name, details)

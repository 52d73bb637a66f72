"""Warnings about a record as it was sent: members that no field stands for, identifiers in another form of Unicode."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache, lru_cache
from typing import Any

import msgspec

from ingestion.streams import INTERNAL_COLUMNS, Stream
from ingestion.text import cut_short, plain, strip_unstorable

UNKNOWN = "unknown field: "
NOT_NFC = "stored in Unicode's form NFC: "
MAX_NAMED = 5
"""Unknown members that are named; the others are counted."""
MAX_NAME = 60


def payload_warnings(stream: Stream, item: Any, record: Any, *, is_of_file: bool = False) -> list[str]:
    """What to say of `item`, of which `record` was made. It costs next to nothing for a record without surprises.

    Unknown members of a file's records are named once, for the file (RecordFile.ignored).
    """
    found = [] if is_of_file or item.keys() <= field_names(stream) else unknown_members(stream, item)
    if not isinstance(record, msgspec.Struct):  # a compiled schema takes only identifiers that are stored as they came
        for name in identifiers_of(stream):
            if item.get(name) != (value := getattr(record, name)) and value is not None:
                found.append(f"{NOT_NFC}{name}")
    return found


def of_payload(warnings: Sequence[str]) -> list[str]:
    """Those of a stored row's warnings that only the record as it was sent can tell."""
    return [text for text in warnings if text.startswith((UNKNOWN, NOT_NFC))]


def unknown_members(stream: Stream, item: Mapping[str, Any]) -> list[str]:
    known = known_names(stream)
    unknown = [name for name in item if name not in known]
    found = [f"{UNKNOWN}{shown(name)}{suggestion(stream, name[:MAX_NAME])}" for name in unknown[:MAX_NAMED]]
    if more := len(unknown) - len(found):
        found[-1] += f" (and {more} more)"
    return found


def shown(name: str) -> str:
    return plain(strip_unstorable(cut_short(name, MAX_NAME)))


@lru_cache(maxsize=1000)
def suggestion(stream: Stream, name: str) -> str:
    forms = {form_of(field): field for field in stream.schema.model_fields}
    close = get_close_matches(form_of(name), forms, n=1, cutoff=0.8)
    return f"; did you mean {forms[close[0]]}?" if close else ""


def form_of(name: str) -> str:
    """What names that differ in case, spaces, hyphens and underscores have in common."""
    return re.sub(r"[\W_]+", "", name).casefold()


@cache
def field_names(stream: Stream) -> frozenset[str]:
    return frozenset(stream.schema.model_fields)


@cache
def known_names(stream: Stream) -> frozenset[str]:
    """The fields, and the columns of what is stored: a row that was read may be sent back as it is."""
    columns = {field.attname for field in stream.model._meta.concrete_fields}
    return frozenset({*stream.schema.model_fields, *(columns - INTERNAL_COLUMNS)})


@cache
def identifiers_of(stream: Stream) -> tuple[str, ...]:
    own_key = () if stream.key_of else (stream.key,)
    return (*own_key, *(reference.field for reference in stream.references))

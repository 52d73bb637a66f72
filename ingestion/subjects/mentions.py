"""Which persons a record is about: by the key of its stream's subject, by references to such streams, and by what else
has been sent with it that the stream does not know.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

from ingestion import streams
from ingestion.fields import normalized, tidy, whole_number
from ingestion.streams import Stream, Subject

MIN_DISTINCT = 4
"""Characters of a key that does not stand in many texts by chance."""
HAVE_TWINS = "K;`"
"""The characters of ASCII as which Unicode reads others: those of kelvin, of Greek questions, and an accent."""
_between_cells = re.compile(r"""[,;|\t\r\n"'\[\]]""")
_escape = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|/)")
"""Of JSON, in a text that is JSON, or that is a string of JSON itself."""


class Mention(NamedTuple):
    field: str
    kind: str
    key: str


def subjects() -> dict[str, tuple[Stream, Subject]]:
    """Kind of person → the stream that declares it."""
    return {stream.subject.kind: (stream, stream.subject) for stream in streams.all_streams() if stream.subject}


def fields_of(stream: Stream) -> dict[str, str]:
    """Field of the stream's records → the kind of person whose key is in it."""
    found = {stream.subject.field: stream.subject.kind} if stream.subject else {}
    for reference in stream.references:
        referenced = streams.get(reference.stream)
        if referenced.subject and referenced.subject.field == referenced.key:
            found[reference.field] = referenced.subject.kind
    return found


def streams_about(kind: str) -> dict[str, list[str]]:
    """Name of each stream whose records are about such persons → the fields with their keys."""
    found = {}
    for stream in streams.all_streams():
        if fields := [name for name, of in fields_of(stream).items() if of == kind]:
            found[stream.name] = fields
    return found


def mentions(stream: Stream, item: Any) -> Iterator[Mention]:
    """The persons that a payload, valid or not, is about. Elsewhere than in its fields, such as in a row that could not
    be read, each name, value and cell may name one, if it is no mere number.
    """
    if not (fields := fields_of(stream)):
        return
    if isinstance(item, dict):
        for field, kind in fields.items():
            if key := subject_key(item.get(field)):
                yield Mention(field, kind, key)
    for name, value in _elsewhere(stream, item, fields):
        if name in fields and (key := subject_key(value)):
            yield Mention("record", fields[name], key)
        for cell in _cells(value) if isinstance(value, str) else ():
            if is_distinct(key := subject_key(cell)):
                yield from (Mention("record", kind, key) for kind in set(fields.values()))


def _elsewhere(stream: Stream, item: Any, fields: Container[str]) -> Iterator[tuple[str, Any]]:
    """(name, value) of all but what the fields of the stream may hold: of unknown members, and of what is nested. The
    names themselves are values without a name.
    """
    if not isinstance(item, dict):
        yield from _within("", item)
        return
    known = stream.schema.model_fields
    for name, value in item.items():
        if name not in known:
            yield "", name
        if name not in known or isinstance(value, dict) or (isinstance(value, list) and name in fields):
            yield from _within(name, value)
        elif isinstance(value, list):
            for each in value:
                if isinstance(each, dict | list):
                    yield from _within("", each)


def _within(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for inner, each in value.items():
            yield "", inner
            yield from _within(inner, each)
    elif isinstance(value, list):
        for each in value:
            yield from _within(name, each)
    else:
        yield name, value


def _cells(text: str) -> set[str]:
    return {cell for each in {text, unescaped(text)} for cell in _between_cells.split(each)}


def unescaped(text: str) -> str:
    """A text with the characters that escapes of JSON in it stand for; but those without which it would be no JSON."""
    if "\\" not in text:
        return text
    plain = _escape.sub(_unescape, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unescape(match: re.Match[str]) -> str:
    char = chr(int(match[1], 16)) if match[1] else "/"
    return match[0] if char < " " or char in '"\\' else char


def subject_key(value: Any) -> str:
    """A person's key as it is compared, also where it was sent as a number, or with spaces or invisible characters
    around it.
    """
    value = whole_number(value)
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str):
        return ""
    return normalized(bare if (bare := tidy(value)) in value else value.strip())


def unchanging_part(key: str) -> str:
    """The longest part of a key that is the same text in each of its spellings in Unicode; may be empty."""
    text = unicodedata.normalize("NFD", key)
    parts = [""]
    for char, after in zip(text, text[1:] + " ", strict=True):
        if char.isascii() and char not in HAVE_TWINS and not unicodedata.combining(after):
            parts[-1] += char
        else:
            parts.append("")
    return max(parts, key=len)


def is_distinct(key: str) -> bool:
    """Whether a text in which it stands is hardly about anything else."""
    return len(key) >= MIN_DISTINCT and not key.isdecimal()


def is_about(stream: Stream, item: Any, kind: str, key: str) -> bool:
    """Whether the payload is about this person."""
    return any(each.kind == kind and each.key == key for each in mentions(stream, item))

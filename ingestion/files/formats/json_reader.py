"""NDJSON, one object in a line, and JSON, a list of objects or one: what is no record becomes one that is invalid.

Rows are lines of NDJSON and items of the list, from 1.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, BinaryIO

from ingestion.capacity import check_effort
from ingestion.files.formats.csv_reader import Chunk, gaps_of, reject_unreadable
from ingestion.files.formats.csv_rows import CHECK_EVERY
from ingestion.files.shared_keys import SharedKeys
from ingestion.payloads import ParseError, ascii_json, parse_json, reject_reserved_members, unreadable_record
from ingestion.streams import Stream

CHUNK_BYTES = 2_000_000
"""Of NDJSON."""
MAX_NAMES = 1000
"""Names of members that are remembered, besides those of the stream's fields."""
MAX_NESTED = 3
"""How deep names of members are looked for."""
NAMED = 10
"""Of these, so many are named in a message."""


@dataclass
class Members:
    """What the records of a file have, over all of them."""

    fields: set[str] = field(default_factory=set)
    """The stream's fields that at least one object has."""
    others: list[str] = field(default_factory=list)
    shared_keys: int = 0
    """Records that share their key with another."""
    left_out: int = 0
    """Items that are no records (Layout.read)."""
    incomplete: frozenset[str] = frozenset()
    """The fields of Stream.upload_fields that at least one record lacks; known where the layout reads the items."""


def ndjson_chunks(file: BinaryIO, offset: int, max_rows: int) -> Iterator[Chunk]:
    """The lines from the byte `offset` on."""
    lines: list[bytes] = []
    numbers: list[int] = []
    begin = end = offset
    for number, line in enumerate(_lines_from(file, offset), start=_line_at(file, offset)):
        end += len(line)
        if stripped := line.removeprefix(codecs.BOM_UTF8).strip():
            lines.append(_readable(stripped))
            numbers.append(number)
        if lines and (len(lines) >= max_rows or end - begin >= CHUNK_BYTES):
            yield Chunk(b"\n".join(lines), len(lines), end, numbers[0], gaps_of(numbers))
            lines, numbers, begin = [], [], end
    if lines:
        yield Chunk(b"\n".join(lines), len(lines), end, numbers[0], gaps_of(numbers))


def json_chunks(file: BinaryIO, size: int, done: int, max_rows: int) -> Iterator[Chunk]:
    """By position in the list: the byte of a chunk only says how far that is."""
    items = json_items(file)
    for start in range(done, len(items), max_rows):
        lines = [_line_of(item) for item in items[start : start + max_rows]]
        end = size * (start + len(lines)) // len(items)
        yield Chunk("\n".join(lines).encode(), len(lines), end, start + 1)


def with_members(chunk: Chunk, given: Mapping[str, Any]) -> Chunk:
    """The chunk with these members in each of its objects that does not have them."""
    items = map(json.loads, chunk.lines)
    lines = [ascii_json({**given, **item} if isinstance(item, dict) else item) for item in items]
    return replace(chunk, body="\n".join(lines).encode())


def survey(items: Iterable[Any], stream: Stream, opened: ExitStack) -> Members:
    """Looks at all records. Raises ParseError where none of them has a field of the stream."""
    fields, found, others = stream.schema.model_fields.keys(), Members(), dict[str, None]()
    keys, wrapper = SharedKeys(opened), ""
    rows = unreadable = 0
    for rows, item in enumerate(items, start=1):
        if type(item) is not dict or not (has := fields & item.keys()):
            unreadable += 1
            reject_unreadable(unreadable, rows)
        if type(item) is not dict:
            continue
        found.fields |= has
        if key := _key_in(item, stream):
            keys.add(key)
        if item.keys() - fields - others.keys() and len(others) < MAX_NAMES:
            others |= dict.fromkeys(name for name in item if name not in fields)
        wrapper = wrapper or _list_in(item)
    found.shared_keys = keys.count()
    found.others = list(others)
    if rows and not found.fields:
        raise ParseError(_another_file(stream, wrapper, found.others))
    return found


def _list_in(item: dict[str, Any]) -> str:
    """The name of the member that is a list of objects."""
    return next((name for name, value in item.items() if type(value) is list and value and type(value[0]) is dict), "")


def _another_file(stream: Stream, wrapper: str, others: list[str]) -> str:
    if wrapper:
        found = f"an object with the records in its member “{wrapper[:100]}”"
        return f"The file is {found}. Send the list alone, [ … ], or one object in each line."
    if not others:
        return f"The file has no JSON object. Send a list of {stream.name}, [ … ], or one object in each line."
    named = ", ".join(name[:100] for name in others[:NAMED])
    return (
        f"No object of the file has a field of {stream.name}. Members found: {named}. "
        f"Fields of {stream.name}: {', '.join(stream.schema.model_fields)}."
    )


def keys_of(items: Iterable[Any], stream: Stream) -> Iterator[str]:
    for item in items:
        if type(item) is dict and (key := _key_in(item, stream)):
            yield key


def _key_in(item: dict[str, Any], stream: Stream) -> str:
    key = stream.key_of(item) if stream.key_of else item.get(stream.key)
    return key if type(key) is str else ""


def ndjson_items(file: BinaryIO) -> Iterator[Any]:
    """What its lines hold; of a line that is no JSON nothing."""
    for number, line in enumerate(_lines_from(file, 0)):
        if not number % CHECK_EVERY:
            check_effort()
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            yield None


def json_items(file: BinaryIO) -> list[Any]:
    file.seek(0)
    value = parse_json(file.read())
    if not isinstance(value, list | dict):
        raise ParseError("The JSON is neither a list nor an object.")
    return value if isinstance(value, list) else [value]


def member_names(item: Mapping[str, Any]) -> list[str]:
    """The names of its members, and with a point those of inner objects: of a list, of its first object."""
    names: list[str] = []
    _add_names(item, "", names, MAX_NESTED)
    return names[:MAX_NAMES]


def _add_names(item: Mapping[str, Any], prefix: str, names: list[str], depth: int) -> None:
    for name, value in islice(item.items(), MAX_NAMES):
        names.append(f"{prefix}{name}")
        inner = value[0] if type(value) is list and value else value
        if type(inner) is dict and depth and len(names) < MAX_NAMES:
            _add_names(inner, f"{prefix}{name}.", names, depth - 1)


def items_in(objects: Iterable[Any], member: str) -> Iterator[Any]:
    """The items of the lists that the objects have in this member; what has none stands for itself."""
    for each in objects:
        items = each
        for name in member.split("."):
            items = items.get(name) if type(items) is dict else None
        yield from items if type(items) is list else [each]


def _lines_from(file: BinaryIO, offset: int) -> Iterator[bytes]:
    file.seek(offset)
    return iter(file)


def _line_at(file: BinaryIO, offset: int) -> int:
    """The number of the line that begins at this byte, from 1. Moves in the file."""
    number = 1
    if offset:
        for line in _lines_from(file, 0):
            number, offset = number + 1, offset - len(line)
            if offset <= 0:
                break
    return number


def _readable(line: bytes) -> bytes:
    """The line; where it is no JSON, a record that says so and will be a dead letter."""
    try:
        reject_reserved_members(parse_json(line))
    except ParseError as error:
        return ascii_json(unreadable_record(str(error), line.decode())).encode()
    return line


def _line_of(item: Any) -> str:
    line = ascii_json(item)
    try:
        reject_reserved_members(item)
    except ParseError as error:
        return ascii_json(unreadable_record(str(error), line))
    return line

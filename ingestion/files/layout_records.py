"""The records of files whose layout reads each of their items (ingestion.streams.Layout.read)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any, BinaryIO

from ingestion.files.formats.csv_reader import Chunk, gaps_of, reject_unreadable
from ingestion.files.formats.encodings import MAX_LINE
from ingestion.files.formats.json_reader import Members, items_in
from ingestion.files.shared_keys import SharedKeys
from ingestion.files.spool import anonymous_tempfile
from ingestion.payloads import RAW_MEMBER, UNREADABLE_MEMBER, TooLarge, ascii_json, unreadable_record
from ingestion.streams import Layout, Stream
from ingestion.validation import key_of

NO_ITEM = "The row is no object."


def read_chunk(chunk: Chunk, layout: Layout, given: Mapping[str, Any], named: Mapping[str, str]) -> Chunk:
    """The chunk with a record in place of each item that is one. Every record has the members `named`; those of
    `given` it has where it has no others of these names.
    """
    lines: list[str] = []
    rows: list[int] = []
    for row, line in zip(chunk.rows, chunk.lines, strict=True):
        if (record := _record_of(json.loads(line), layout)) is not None:
            lines.append(ascii_json(record if UNREADABLE_MEMBER in record else {**given, **record, **named}))
            rows.append(row)
    return Chunk(
        body="\n".join(lines).encode(),
        count=len(lines),
        end=chunk.end,
        first_row=rows[0] if rows else chunk.first_row,
        gaps=gaps_of(rows) if rows else (),
        left_out=chunk.left_out + chunk.count - len(lines),
    )


def _record_of(item: Any, layout: Layout) -> Mapping[str, Any] | None:
    """Of a row that cannot be read the reason, and of a table its cells; a line of JSON may hold what is never kept."""
    if type(item) is not dict:
        return unreadable_record(NO_ITEM, "")
    if UNREADABLE_MEMBER in item:
        return unreadable_record(item[UNREADABLE_MEMBER], "" if layout.members else item.get(RAW_MEMBER, ""))
    return layout.read(item) if layout.read else item


def pack(chunks: Iterable[Chunk], opened: ExitStack) -> BinaryIO:
    """A file of what layouts have made of items, and of nothing else: a chunk in each line."""
    file = anonymous_tempfile(opened)
    for chunk in chunks:
        file.write(ascii_json({**asdict(chunk), "body": chunk.body.decode()}).encode() + b"\n")
    return file


def unpack(file: BinaryIO, rows: int) -> Iterator[Chunk]:
    """The chunks behind the first `rows` rows of the file that was packed."""
    file.seek(0)
    done = 0
    for line in file:
        saved = json.loads(line)
        gaps = tuple((position, number) for position, number in saved["gaps"])
        chunk = Chunk(**{**saved, "body": saved["body"].encode(), "gaps": gaps})
        done += chunk.count + chunk.left_out
        if done > rows:
            yield chunk


def survey_records(chunks: Iterable[Chunk], stream: Stream, opened: ExitStack) -> Members:
    """Looks at all records of chunks that have been read."""
    found, keys, incomplete = Members(), SharedKeys(opened), set[str]()
    rows = unreadable = 0
    for chunk in chunks:
        found.left_out += chunk.left_out
        rows += chunk.count + chunk.left_out
        for record in map(json.loads, chunk.lines):
            if UNREADABLE_MEMBER in record:
                unreadable += 1
                continue
            found.fields |= record.keys()
            incomplete.update(name for name in stream.upload_fields if not record.get(name))
            if key := key_of(stream, record):
                keys.add(key)
        reject_unreadable(unreadable, rows)
    return replace(found, shared_keys=keys.count(), incomplete=frozenset(incomplete))


def write_items(objects: Iterable[Any], member: str, opened: ExitStack) -> BinaryIO:
    """The items of the lists that the objects have in this member, as NDJSON. Raises TooLarge."""
    file = anonymous_tempfile(opened)
    for number, item in enumerate(items_in(objects, member), start=1):
        line = ascii_json(item).encode()
        if len(line) > MAX_LINE:
            raise TooLarge(f"Item {number} of {member} has more than {MAX_LINE} bytes.")
        file.write(line + b"\n")
    return file

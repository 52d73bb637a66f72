"""Files of records: spooled, unpacked and inspected to their end before anything is stored, then read in chunks.

Nothing here holds a file in memory, but for JSON, which cannot be read in parts.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO

from django.conf import settings

from ingestion.files.csv_reader import MAX_ROW, Chunk, CsvFile
from ingestion.files.spool import READ_SIZE, anonymous_tempfile
from ingestion.models import Upload
from ingestion.payloads import ParseError, TooLarge, ascii_json, parse_json, reject_reserved_members, unreadable_record
from ingestion.streams import Stream

CHUNK_ROWS = 2000
CHUNK_BYTES = 2_000_000
"""Of NDJSON."""
HEAD_BYTES = 65_536
NUL_CHECK_BYTES = 100
"""A NUL within so many bytes shows that a file is not text."""
BY_EXTENSION = {"csv": "csv", "tsv": "csv", "ndjson": "ndjson", "jsonl": "ndjson", "json": "json"}
BY_CONTENT_TYPE = {"text/csv": "csv", "application/x-ndjson": "ndjson", "application/json": "json"}
BINARY = {
    b"PK\x03\x04": "a ZIP archive (.xlsx files are): unpack it, or save the table as CSV (UTF-8)",
    b"\xff\xfe": "UTF-16: save it as UTF-8",
    b"\xfe\xff": "UTF-16: save it as UTF-8",
}
Format = Upload.Format


@dataclass(frozen=True, kw_only=True)
class RecordFile:
    """An inspected file of records of one stream."""

    file: BinaryIO
    name: str
    stream: Stream
    format: Upload.Format
    size: int
    """Bytes, unpacked."""
    sha256: str
    """In hex, unpacked."""
    csv: CsvFile | None

    @property
    def columns(self) -> list[str]:
        return [column.name for column in self.csv.own_columns] if self.csv else []

    @property
    def missing_fields(self) -> list[str]:
        """The required fields without a column."""
        if self.csv is None:
            return []
        mapped = {column.field for column in self.csv.columns}
        fields = self.stream.schema.model_fields
        return [name for name, field in fields.items() if field.is_required() and name not in mapped]

    def chunks(self, offset: int = 0, rows: int = 0, max_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
        """The records behind byte `offset` and row `rows`, as earlier chunks gave them; at most `max_rows` at once."""
        if self.csv:
            return self.csv.chunks(offset, max_rows)
        if self.format == Format.JSON:
            return self._json_chunks(rows, max_rows)
        return _ndjson_chunks(self.file, offset, max_rows)

    def _json_chunks(self, rows: int, max_rows: int) -> Iterator[Chunk]:
        """By position in the list; the chunk's end is only an estimate of the byte."""
        items = _json_items(self.file)
        for start in range(rows, len(items), max_rows):
            lines = [_line_of(item) for item in items[start : start + max_rows]]
            end = self.size * (start + len(lines)) // len(items)
            yield Chunk("\n".join(lines).encode(), len(lines), end)


def inspect_file(file: BinaryIO, name: str, stream: Stream, opened: ExitStack, content_type: str = "") -> RecordFile:
    """Reads the whole file, in linear time; it stays open as long as `opened`.

    Raises ParseError, and TooLarge for the file or one of its lines.
    """
    file = _unpacked(file, opened)
    head = _head(file)
    fmt = format_of(name, content_type, head)
    sha256, size = _read_to_end(file, max_line=None if fmt == Format.JSON else MAX_ROW)
    if fmt == Format.JSON and size > settings.MAX_BODY_BYTES:
        message = f"The JSON has {size} bytes; the limit is {settings.MAX_BODY_BYTES}. Send NDJSON or CSV."
        raise TooLarge(message)
    csv = CsvFile(file, stream) if fmt == Format.CSV else None
    if csv and not any(column.field for column in csv.columns):
        fields = ", ".join(stream.schema.model_fields)
        raise ParseError(f"No column matches a field of {stream.name}. Its fields: {fields}.")
    if csv:
        csv.check_quotes(size)
    examined = RecordFile(file=file, name=name, stream=stream, format=fmt, size=size, sha256=sha256, csv=csv)
    if next(examined.chunks(), None) is None:
        raise ParseError("The file has no rows.")
    return examined


def format_of(name: str, content_type: str, head: bytes) -> Upload.Format:
    """By the extension, else the content type; if these say JSON or nothing, by the beginning of the file."""
    extension = name.lower().removesuffix(".gz").rpartition(".")[2]
    declared = BY_EXTENSION.get(extension) or BY_CONTENT_TYPE.get(content_type.partition(";")[0].strip().lower())
    if declared in ("csv", "ndjson"):
        return Format(declared)
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start[:1] == b"{":  # one object in the first line: one in each
        with suppress(ValueError, RecursionError):
            json.loads(start.partition(b"\n")[0])
            return Format.NDJSON
    return Format.JSON if declared or start[:1] in (b"[", b"{") else Format.CSV


def first_records(file: RecordFile, number: int) -> list[Any]:
    lines = (line for chunk in file.chunks() for line in chunk.body.split(b"\n"))
    return [json.loads(line) for line in islice(lines, number)]


def _unpacked(file: BinaryIO, opened: ExitStack) -> BinaryIO:
    """The file itself, or the unpacked contents of a gzip file."""
    file.seek(0)
    if file.read(2) != b"\x1f\x8b":
        return file
    file.seek(0)
    limit, unpacked = settings.MAX_UPLOAD_BYTES, anonymous_tempfile(opened)
    try:
        with gzip.GzipFile(fileobj=file) as packed:
            while piece := packed.read(READ_SIZE):
                unpacked.write(piece)
                if unpacked.tell() > limit:
                    raise TooLarge(f"The file unpacks to more than {limit} bytes.")
    except EOFError:
        raise ParseError("The gzip file is truncated.") from None
    except (OSError, zlib.error) as error:
        raise ParseError(f"The gzip file is damaged: {error}.") from None
    return unpacked


def _head(file: BinaryIO) -> bytes:
    """The beginning of the file. Raises ParseError if it is obviously not text."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    for magic, what in BINARY.items():
        if head.startswith(magic):
            raise ParseError(f"The file is {what}.")
    if not head.strip():
        raise ParseError("The file is empty.")
    if b"\0" in head[:NUL_CHECK_BYTES]:
        raise ParseError(f"The file is not text (NUL at byte {head.index(0)}). Save it as UTF-8.")
    return head


def _read_to_end(file: BinaryIO, max_line: int | None) -> tuple[str, int]:
    """(SHA-256, bytes) of the whole file. Raises ParseError if it is not UTF-8, and TooLarge, naming the line."""
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    size = lines = unended = 0
    file.seek(0)
    while True:
        piece = file.read(READ_SIZE)
        before = size - len(decoder.getstate()[0])
        try:
            decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise ParseError(f"The file is not UTF-8 (byte {before + error.start}). Save it as UTF-8.") from None
        if not piece:
            return digest.hexdigest(), size
        digest.update(piece)
        size += len(piece)
        if size > settings.MAX_UPLOAD_BYTES:
            raise TooLarge(f"The file has more than {settings.MAX_UPLOAD_BYTES} bytes.")
        first = piece.find(b"\n")
        if max_line and unended + (len(piece) if first < 0 else first) > max_line:
            raise TooLarge(f"Line {lines + 1} has more than {max_line} bytes.")
        unended = unended + len(piece) if first < 0 else len(piece) - piece.rfind(b"\n") - 1
        lines += piece.count(b"\n")


def _ndjson_chunks(file: BinaryIO, offset: int, max_rows: int) -> Iterator[Chunk]:
    lines: list[bytes] = []
    file.seek(offset)
    begin = end = offset
    for line in file:
        end += len(line)
        if stripped := line.removeprefix(codecs.BOM_UTF8).strip():
            lines.append(_readable(stripped))
        if lines and (len(lines) >= max_rows or end - begin >= CHUNK_BYTES):
            yield Chunk(b"\n".join(lines), len(lines), end)
            lines, begin = [], end
    if lines:
        yield Chunk(b"\n".join(lines), len(lines), end)


def _readable(line: bytes) -> bytes:
    """The line; if it is not JSON, a record that says so and becomes a dead letter."""
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


def _json_items(file: BinaryIO) -> list[Any]:
    file.seek(0)
    value = parse_json(file.read())
    if not isinstance(value, list | dict):
        raise ParseError("The JSON is neither a list nor an object.")
    return value if isinstance(value, list) else [value]

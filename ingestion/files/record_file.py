"""Files of records: spooled, unpacked and inspected to their end before anything is stored, then read in chunks.

Nothing here holds a file in memory, but for JSON, which cannot be read in parts.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from copy import copy
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from django.conf import settings

from ingestion.files.formats.csv_reader import (
    MAX_BLANK_LINES,
    MAX_COLUMN_NAME,
    MAX_COLUMNS,
    NO_MAPPING,
    Chunk,
    Column,
    CsvFile,
)
from ingestion.files.formats.csv_rows import read_header
from ingestion.files.formats.encodings import MAX_LINE, UTF8, as_utf8, pieces_of
from ingestion.files.formats.json_list import list_as_lines
from ingestion.files.formats.json_reader import (
    Members,
    json_chunks,
    json_items,
    keys_of,
    member_names,
    ndjson_chunks,
    ndjson_items,
    survey,
    with_members,
)
from ingestion.files.formats.xlsx_reader import OLD_EXCEL, ZIP, Sheet, read_sheet
from ingestion.files.layout_records import pack, read_chunk, survey_records, unpack, write_items
from ingestion.files.spool import READ_SIZE, TemporaryFiles, anonymous_tempfile
from ingestion.models import Upload
from ingestion.payloads import ParseError, TooLarge
from ingestion.streams import Layout, Stream
from ingestion.subjects import suppression
from ingestion.validation import key_of

if TYPE_CHECKING:
    from ingestion.files.formats.parquet_reader import ParquetFile

PARQUET = b"PAR1"
"""How such a file begins. What reads it is loaded where there is one: it takes 40 MB and a quarter of a second."""
MAX_RATIO = 200
RATIO_FREE_BYTES = 64_000_000
"""A gzip file may unpack to so many times its size, and to so many bytes in any case."""
CHUNK_ROWS = 2000
MAX_NAMED = 20
"""Ignored columns that a note names."""
HEAD_BYTES = 65_536
NO_SHEETS = "Only an Excel file (.xlsx) has sheets."
STYLE = ("words", "delimiter", "decimal_commas", "dates")
"""What _style_of() tells."""
BY_EXTENSION = {"csv": "csv", "tsv": "csv", "ndjson": "ndjson", "jsonl": "ndjson", "json": "json"}
BY_CONTENT_TYPE = {"text/csv": "csv", "application/x-ndjson": "ndjson", "application/json": "json"}
Format = Upload.Format


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file that is unpacked and in UTF-8: of Excel, the sheet as CSV. What its records are is not looked at."""

    file: BinaryIO
    name: str
    format: Upload.Format
    size: int
    """Bytes."""
    sha256: str
    """In hex."""
    encoding: str
    """Of the text as it came; empty for Excel and Parquet."""
    source_notes: tuple[str, ...] = ()
    """What a person should know of how the file became that text."""


@dataclass(frozen=True, kw_only=True)
class RecordFile(SourceFile):
    """An inspected file of records of one stream."""

    stream: Stream
    csv: CsvFile | None
    members: Members
    """Of all records."""
    parquet: ParquetFile | None = None
    notes: tuple[str, ...] = ()
    """What a person should know of how the file was read."""
    layout: Layout | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    """Members that every record has that has no others of these names."""
    named_fields: Mapping[str, str] = field(default_factory=dict)
    """Of these, those that the sender has named for the whole file (Stream.upload_fields)."""
    is_packed: bool = False
    """`file` has what the layout has made of the items, in place of them (packed())."""
    style: Mapping[str, Any] = field(default_factory=dict)
    """Of a packed table, how it writes what has several forms."""

    @property
    def kind(self) -> str:
        """Of the layout; empty for none."""
        return self.layout.kind if self.layout else ""

    @property
    def fingerprint(self) -> str:
        """What the same file is noticed by: the same bytes for another collection are another file."""
        if not self.layout and not self.named_fields:
            return self.sha256
        given = self.layout.given if self.layout else {}
        return fingerprint_of(self.sha256, self.kind, given, self.named_fields)

    def with_given(self, given: Mapping[str, Any], named_fields: Mapping[str, str] | None = None) -> RecordFile:
        """The same file, whose records have these members."""
        csv, parquet = copy(self.csv), copy(self.parquet)
        if csv and not self.is_read_by_layout:
            csv.given = given
        if parquet:
            parquet.given = given
        return replace(
            self,
            csv=csv,
            parquet=parquet,
            given=given,
            named_fields=self.named_fields if named_fields is None else named_fields,
        )

    @property
    def is_read_by_layout(self) -> bool:
        """Its records are not its rows or items, but what Layout.read makes of them."""
        return bool(self.layout and self.layout.read)

    @property
    def own_columns(self) -> list[Column]:
        table = self.csv or self.parquet
        return table.own_columns if table and not self.is_read_by_layout else []

    @property
    def columns(self) -> list[str]:
        return [column.name for column in self.own_columns]

    @property
    def mapped(self) -> dict[str, str]:
        """column → field, of the columns that are mapped otherwise than by their names."""
        table = self.csv or self.parquet
        return table.mapped if table else {}

    def suggestion(self, column: Column) -> str | None:
        """A field with a similar name, which no column has, for a column without a field."""
        if column.field:
            return None
        free = [name for name in self.stream.schema.model_fields if name not in self.members.fields]
        return _close(column.name, self.stream, free)

    @property
    def ignored(self) -> list[str]:
        """The columns, or members, that are no field of the stream."""
        return self.members.others

    @property
    def missing_fields(self) -> list[str]:
        """The required fields that no record of the file has. Where a layout makes the records, each says so itself."""
        if self.is_read_by_layout:
            return []
        return [name for name in self.absent_fields if self.stream.schema.model_fields[name].is_required()]

    @property
    def absent_fields(self) -> list[str]:
        """The fields that no record of the file has."""
        present = {*self.members.fields, *self.given}
        return [name for name in self.stream.schema.model_fields if name not in present]

    @property
    def reading(self) -> dict[str, Any]:
        """What there is to say of the file besides its rows, for whoever sent it."""
        return {
            "encoding": self.encoding,
            "ignored_columns": self.ignored[:MAX_COLUMNS],
            "shared_keys": self.members.shared_keys,
            "file_warnings": list(self.notes),
            "mapped_columns": self.mapped,
            **(_style_of(self.csv) if self.csv else self.style),
        }

    def keys(self) -> Iterator[str]:
        """Of the records that have one, as it stands there."""
        if self.parquet or self.is_read_by_layout or (self.csv and self.stream.key_of):
            return self._computed_keys()
        if self.csv:
            return self.csv.keys()
        items = json_items(self.file) if self.format == Format.JSON else ndjson_items(self.file)
        return keys_of(items, self.stream)

    def _computed_keys(self) -> Iterator[str]:
        records = (json.loads(line) for chunk in self.chunks() for line in chunk.lines)
        return filter(None, (key_of(self.stream, record) for record in records))

    def chunks(self, offset: int = 0, rows: int = 0, max_rows: int = CHUNK_ROWS) -> Iterator[Chunk]:
        """The records behind byte `offset` and row `rows`, as earlier chunks gave them; at most `max_rows` at once."""
        chunks = self._chunks_as_sent(offset, rows, max_rows)
        if (layout := self.layout) and layout.read:
            if self.is_packed:
                layout = replace(layout, read=lambda record: record)
            return (read_chunk(chunk, layout, self.given, self.named_fields) for chunk in chunks)
        is_given = self.csv or self.parquet or not self.given
        return chunks if is_given else (with_members(chunk, self.given) for chunk in chunks)

    def _chunks_as_sent(self, offset: int, rows: int, max_rows: int) -> Iterator[Chunk]:
        if self.is_packed:
            return unpack(self.file, rows)
        if self.csv:
            return self.csv.chunks(offset, max_rows)
        if self.parquet:
            return self.parquet.chunks(rows, max_rows)
        if self.format == Format.JSON:
            return json_chunks(self.file, self.size, rows, max_rows)
        return ndjson_chunks(self.file, offset, max_rows)


def packed(file: RecordFile, opened: ExitStack, max_rows: int) -> BinaryIO:
    """What is to be kept of a file until it is uploaded: the bytes, or, where a layout reads the items, what it makes
    of them in chunks of `max_rows`, since what it drops may be nobody's business.
    """
    if not file.is_read_by_layout:
        return file.file
    return pack(file.with_given({}, {}).chunks(max_rows=max_rows), opened)


def open_packed(
    source: SourceFile, stream: Stream, layout: Layout, notes: Iterable[str], reading: Mapping[str, Any]
) -> RecordFile:
    """The file whose packed() is that of `source`, all else of which is as in the file itself. It can be uploaded as
    that file, and even continues an upload of it.
    """
    file = RecordFile(
        **{each.name: getattr(source, each.name) for each in fields(SourceFile)},
        stream=stream,
        csv=None,
        members=Members(),
        layout=layout,
        notes=tuple(notes),
        is_packed=True,
        style={name: reading[name] for name in STYLE if name in reading},
    )
    with ExitStack() as opened:
        return replace(file, members=survey_records(file.chunks(), stream, opened))


def fingerprint_of(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _style_of(csv: CsvFile) -> dict[str, Any]:
    """How the file writes what has several forms, so that its rejected rows are written alike."""
    return {
        "words": csv.boolean_words,
        "delimiter": csv.delimiter,
        "decimal_commas": csv.decimal_commas,
        "dates": {name: asdict(style) for name, style in csv.date_styles.items()},
    }


def inspect_file(
    file: BinaryIO,
    name: str,
    stream: Stream,
    opened: ExitStack,
    content_type: str = "",
    *,
    sheet: str = "",
    mapping: Mapping[str, str] = NO_MAPPING,
) -> RecordFile:
    """Reads the whole file, in linear time; it stays open as long as `opened`.

    Of an Excel workbook the first sheet, or the one named `sheet`. `mapping` is that of map_columns(). Raises
    ParseError, and TooLarge for the file or one of its lines.
    """
    return inspect_source(read_source(file, name, opened, content_type, sheet=sheet), stream, mapping)


class JsonTooLarge(TooLarge):
    """JSON of more bytes than can be read at once."""


def read_source(
    file: BinaryIO,
    name: str,
    opened: ExitStack,
    content_type: str = "",
    *,
    sheet: str = "",
    is_long: bool = False,
) -> SourceFile:
    """The first half of inspect_file(): all that does not depend on what the records are. `is_long`: a list in JSON may
    have any length, as that of another system; a long one becomes NDJSON.
    """
    file = _unpacked(file, opened)
    if _is_parquet(file):
        return _parquet_source(file, name, sheet)
    workbook = _workbook(file, sheet, opened)
    text = as_utf8(workbook.file if workbook else file, opened)
    head = _head(text.file)
    fmt = Format.XLSX if workbook else format_of(name, content_type, head)
    if is_long and fmt == Format.JSON and text.size > settings.MAX_BODY_BYTES and is_list(head):
        lines = list_as_lines(text.file, opened)
        text, fmt = replace(text, file=lines, size=lines.tell(), long_line=0), Format.NDJSON
    if fmt == Format.JSON and text.size > settings.MAX_BODY_BYTES:
        limit = settings.MAX_BODY_BYTES
        raise JsonTooLarge(f"The JSON has {text.size} bytes; the limit is {limit}. Send NDJSON or CSV.")
    if fmt != Format.JSON and text.long_line:
        raise TooLarge(f"Line {text.long_line} has more than {MAX_LINE} bytes.")
    if fmt != Format.JSON:
        _reject_blank_lines(text.file)
    return SourceFile(
        file=text.file,
        name=name,
        format=fmt,
        size=text.size,
        sha256=text.sha256,
        encoding="" if workbook else text.encoding,
        source_notes=tuple(_notes_of_source(text.encoding, workbook)),
    )


def _is_parquet(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(len(PARQUET)) == PARQUET


def _parquet_source(file: BinaryIO, name: str, sheet: str) -> SourceFile:
    from ingestion.files.formats.parquet_reader import reject_damage

    if sheet:
        raise ParseError(NO_SHEETS)
    digest, size = hashlib.sha256(), 0
    for piece in pieces_of(file):
        digest.update(piece)
        size += len(piece)
        if size > settings.MAX_UPLOAD_BYTES:
            raise TooLarge(f"The file has more than {settings.MAX_UPLOAD_BYTES} bytes.")
    reject_damage(file, size)
    return SourceFile(file=file, name=name, format=Format.PARQUET, size=size, sha256=digest.hexdigest(), encoding="")


def header_of(source: SourceFile) -> list[str]:
    """The names of its columns; of JSON and NDJSON, the members of its first object, inner ones with a point. Raises
    ParseError.
    """
    if source.format in (Format.CSV, Format.XLSX):
        return read_header(source.file, "," if source.format == Format.XLSX else "").names
    if source.format == Format.PARQUET:
        from ingestion.files.formats.parquet_reader import column_names

        return column_names(source.file)
    return next((member_names(item) for item in _objects_of(source) if isinstance(item, dict)), [])


def first_object(source: SourceFile) -> Mapping[str, Any]:
    """Of JSON and NDJSON; empty where there is none."""
    return next((item for item in _objects_of(source) if isinstance(item, dict)), {})


def _objects_of(source: SourceFile) -> Iterable[Any]:
    return json_items(source.file) if source.format == Format.JSON else ndjson_items(source.file)


def unwrap(source: SourceFile, layout: Layout, opened: ExitStack) -> SourceFile:
    """A file whose items are in lists as one with an item in each line; others as they are."""
    if not layout.items:
        return source
    file = write_items(_objects_of(source), layout.items, opened)
    return replace(source, file=file, format=Format.NDJSON, size=file.tell())


def inspect_source(
    source: SourceFile,
    stream: Stream,
    mapping: Mapping[str, str] = NO_MAPPING,
    layout: Layout | None = None,
    *,
    is_mapped_later: bool = False,
) -> RecordFile:
    """The second half of inspect_file(). A file with a layout may have no rows; one that a person will map, no column
    that is a field.
    """
    csv = None
    if source.format in (Format.CSV, Format.XLSX):
        csv = CsvFile(source.file, stream, "," if source.format == Format.XLSX else "", mapping, layout)
    parquet = _parquet(source, stream, mapping) if source.format == Format.PARQUET else None
    is_read_by_layout = bool(layout and layout.read)
    if (table := csv or parquet) and not is_mapped_later and not is_read_by_layout:
        _reject_unknown_columns(table)
    inspected = RecordFile(
        **{each.name: getattr(source, each.name) for each in fields(SourceFile)},
        stream=stream,
        csv=csv,
        parquet=parquet,
        members=_members_of_table(csv, parquet, source.size),
        layout=layout,
    )
    if is_read_by_layout:
        with ExitStack() as opened:
            inspected = replace(inspected, members=survey_records(inspected.chunks(), stream, opened))
    elif not table:
        inspected = replace(inspected, members=_members(source.file, source.format, stream))
    others = _called_like_nobody(inspected.members.others, stream)
    inspected = replace(inspected, members=replace(inspected.members, others=others))
    notes = (*source.source_notes, *_notes(table, inspected.members, stream, layout))
    inspected = replace(inspected, notes=notes)
    if not layout and next(inspected.chunks(), None) is None:
        raise ParseError("The file has no rows.")
    return inspected


def _parquet(source: SourceFile, stream: Stream, mapping: Mapping[str, str]) -> ParquetFile:
    from ingestion.files.formats.parquet_reader import ParquetFile

    return ParquetFile(source.file, source.size, stream, mapping)


def _workbook(file: BinaryIO, sheet: str, opened: ExitStack) -> Sheet | None:
    file.seek(0)
    magic = file.read(8)
    if magic == OLD_EXCEL:
        raise ParseError("The file is an old Excel file (.xls), or protected by a password. Save it as .xlsx or CSV.")
    if magic.startswith(ZIP):
        return read_sheet(file, sheet, opened)
    if sheet:
        raise ParseError(NO_SHEETS)
    return None


class NoColumns(ParseError):
    """No column of a file is a field of its stream."""


def _reject_unknown_columns(table: CsvFile | ParquetFile) -> None:
    if not any(column.field for column in table.columns):
        fields = ", ".join(table.stream.schema.model_fields)
        header = ", ".join(f"“{column.name}”" for column in table.columns[:20])
        raise NoColumns(
            f"No column matches a field of {table.stream.name}. The header reads {header}. Fields: {fields}."
        )


def _members_of_table(csv: CsvFile | None, parquet: ParquetFile | None, size: int) -> Members:
    if parquet:
        parquet.survey()
        others = [column.name for column in parquet.columns if not column.field]
        return Members(parquet.fields, others, parquet.shared_keys)
    if not csv:
        return Members()
    csv.survey(size)
    named = {column.field for column in csv.columns if column.field}
    return Members(named, [column.name for column in csv.own_columns if not column.field], csv.shared_keys)


def _members(file: BinaryIO, fmt: Upload.Format, stream: Stream) -> Members:
    with ExitStack() as opened:
        return survey(json_items(file) if fmt == Format.JSON else ndjson_items(file), stream, opened)


def _notes_of_source(encoding: str, workbook: Sheet | None) -> Iterator[str]:
    if workbook and workbook.others:
        yield f"Read from the sheet “{workbook.name}”. Not read: {', '.join(workbook.others)}."
    if encoding != UTF8:
        yield f"The file is read as {encoding}. Check accented letters."


def _called_like_nobody(names: Sequence[str], stream: Stream) -> list[str]:
    """Without the names of columns, or members, that are keys of persons whose data have been erased."""
    persons = suppression.find_at_the_door(stream, [{name: None} for name in names])
    return [name for index, name in enumerate(names) if index not in persons]


def _notes(
    table: CsvFile | ParquetFile | None, members: Members, stream: Stream, layout: Layout | None
) -> Iterator[str]:
    if table and table.mapped:
        yield f"Mapped by hand: {', '.join(f'“{name}” to {field}' for name, field in table.mapped.items())}."
    for column in table.columns if table else []:
        if column.note:
            yield f"{column.field}: {column.note}."
    if layout and layout.note:
        yield layout.note
    if layout and members.left_out:
        rows = "1 row is" if members.left_out == 1 else f"{members.left_out} rows are"
        yield f"{rows} left out: {layout.leaves_out}."
    if members.others:
        more = len(members.others) - MAX_NAMED
        named = ", ".join(_with_close_field(name, stream) for name in members.others[:MAX_NAMED])
        yield f"Ignored, since {stream.name} have no such field: {named}{f', and {more} more' if more > 0 else ''}."
    if members.shared_keys:
        which = "first" if stream.immutable else "newest"
        yield f"{members.shared_keys} rows share a key with another row. Of each key, the {which} row is stored."
    given = layout.dated if layout else ()
    has_version = "updated_at" in stream.schema.model_fields and not stream.immutable
    if has_version and "updated_at" not in (*members.fields, *given):
        yield "The file has no updated_at, so its records count as newer than all stored records."


def _with_close_field(name: str, stream: Stream) -> str:
    name = name[:MAX_COLUMN_NAME]
    close = _close(name, stream, stream.schema.model_fields)
    return f"{name} (did you mean {close}?)" if close else name


def _close(name: str, stream: Stream, fields: Collection[str]) -> str | None:
    name = re.sub(r"[\W_]+", "_", name.casefold()).strip("_")
    if (field := stream.aliases.get(name)) in fields:
        return field
    return next(iter(get_close_matches(name, list(fields), n=1)), None)


def is_list(head: bytes) -> bool:
    return head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"["


def format_of(name: str, content_type: str, head: bytes) -> Upload.Format:
    """By how it begins where that is a JSON list; else by the name's extension, or the content type.

    What may be JSON, and what is unknown, by how it begins.
    """
    extension = name.lower().removesuffix(".gz").rpartition(".")[2]
    declared = BY_EXTENSION.get(extension) or BY_CONTENT_TYPE.get(content_type.partition(";")[0].strip().lower())
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start[:1] == b"[" and (declared != "csv" or start[1:].lstrip()[:1] in (b"{", b"[", b"]")):
        return Format.JSON
    if declared == "csv":
        return Format.CSV
    if start[:1] == b"{":  # one object in the first line: one in each
        with suppress(ValueError, RecursionError):
            json.loads(start.partition(b"\n")[0])
            return Format.NDJSON
    if declared == "ndjson":
        return Format.JSON if _is_one_object(start) else Format.NDJSON
    return Format.JSON if declared or start[:1] == b"{" else Format.CSV


def _is_one_object(start: bytes) -> bool:
    """Whether an object is written over several lines, which none of them is."""
    return start.partition(b"\n")[0].strip() == b"{"


def first_records(file: RecordFile, number: int) -> tuple[list[int], list[Any]]:
    """(rows, records)"""
    lines = (pair for chunk in file.chunks() for pair in zip(chunk.rows, chunk.lines, strict=True))
    pairs = list(islice(lines, number))
    return [row for row, _ in pairs], [json.loads(line) for _, line in pairs]


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
                if isinstance(opened, TemporaryFiles):
                    opened.spend(len(piece))
                if unpacked.tell() > limit:
                    raise TooLarge(f"The file unpacks to more than {limit} bytes.")
                if unpacked.tell() > max(RATIO_FREE_BYTES, MAX_RATIO * file.tell()):
                    raise TooLarge(f"The gzip file unpacks to more than {MAX_RATIO} times its size.")
    except EOFError:
        raise ParseError("The gzip file is truncated.") from None
    except (OSError, zlib.error) as error:
        raise ParseError(f"The gzip file is damaged: {error}.") from None
    return unpacked


def _reject_blank_lines(file: BinaryIO) -> None:
    """Raises TooLarge for a file of little else: each costs as much time as a row, and compresses to nothing."""
    blank, last = 0, b""
    file.seek(0)
    while piece := file.read(READ_SIZE):
        blank += (last + piece).replace(b"\r", b"").count(b"\n\n")
        last = piece[-1:]
        if blank > MAX_BLANK_LINES:
            raise TooLarge(f"The file has more than {MAX_BLANK_LINES} empty lines.")


def _head(file: BinaryIO) -> bytes:
    """The beginning of the file. Raises ParseError where there is nothing in it."""
    file.seek(0)
    head = file.read(HEAD_BYTES)
    if not head.strip():
        raise ParseError("The file is empty.")
    return head

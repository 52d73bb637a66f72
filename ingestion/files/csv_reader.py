"""CSV files: columns are mapped to a stream's fields, and each row becomes the JSON of a record.

Rows are counted from 1, without the header and empty rows. A row that cannot be read becomes an invalid record that
says why (payloads.unreadable_record), and so a dead letter.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, TypeAlias, TypeGuard

from ingestion import cells as csv_cells
from ingestion.cells import Read
from ingestion.payloads import RESERVED_MEMBERS, ParseError, ascii_json, unreadable_record
from ingestion.streams import Stream

MAX_ROW = 1_000_000
"""Bytes of one row or line."""
MAX_REREAD_BYTES = 4 * MAX_ROW
"""Bytes that may be read again because of unclosed quotation marks, even in a small file."""
MAX_COLUMNS = 1000
MAX_COLUMN_NAME = 100
"""Characters of a column's name."""
CHUNK_BYTES = 1_000_000
"""Of the file; as JSON it is about twice as much."""
CHUNK_NAMES = 2_000_000
"""Characters of the columns' names, which the JSON repeats in each row."""
DELIMITERS = (",", ";", "\t")
REPORT_COLUMNS = ("row", "error")
"""The first columns of our reports of rejected rows: ignored when a report is uploaded."""

csv.field_size_limit(MAX_ROW)


@dataclass(frozen=True)
class Chunk:
    """Some records of a file, as NDJSON, and the byte of the file behind them."""

    body: bytes
    count: int
    end: int


@dataclass(frozen=True)
class MalformedRow:
    """A row that is not CSV, as it is in the file."""

    text: str
    reason: str
    reread_bytes: int = 0
    """Bytes behind it that were read with it, and have to be read again."""


Row: TypeAlias = "list[str] | MalformedRow"


@dataclass(frozen=True)
class Column:
    name: str
    """In the file."""
    field: str
    """The stream's field; empty if the column is not mapped: then the record keeps it under its own name."""
    read: Read

    @property
    def key(self) -> str:
        return self.field or self.name


def map_columns(names: Sequence[str], stream: Stream) -> list[Column]:
    """The columns of a header, mapped regardless of case, spaces, hyphens and underscores. Raises ParseError."""
    _check_names(names)
    readers = csv_cells.readers_of(stream.schema)
    by_name = {_normalized(field): field for field in readers}
    is_report = tuple(names[:2]) == REPORT_COLUMNS and not set(REPORT_COLUMNS) & set(readers)
    columns = []
    for position, name in enumerate(names):
        field = by_name.get(_normalized(name), "")
        read = readers.get(field, csv_cells.read_text)
        if is_report:
            read = csv_cells.unescaped(read) if position >= len(REPORT_COLUMNS) else csv_cells.ignore
        columns.append(Column(name, field, read))
    return _check_duplicates(columns)


def _normalized(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _check_names(names: Sequence[str]) -> None:
    if len(names) > MAX_COLUMNS:
        raise ParseError(f"The header has {len(names)} columns; the limit is {MAX_COLUMNS}.")
    for position, name in enumerate(names, start=1):
        if not name.strip():
            raise ParseError(f"Column {position} has no name in the header.")
        if len(name) > MAX_COLUMN_NAME or not name.isprintable():
            raise ParseError(
                f"The name of column {position} is longer than {MAX_COLUMN_NAME} characters, or not printable."
            )
        if name in RESERVED_MEMBERS:
            raise ParseError(f"Column {position} has the reserved name {name}.")


def _check_duplicates(columns: list[Column]) -> list[Column]:
    used = [column for column in columns if column.read is not csv_cells.ignore]
    for key, number in Counter(column.key for column in used).items():
        if number > 1:
            names = " and ".join(f"“{column.name}”" for column in used if column.key == key)
            raise ParseError(f"The columns {names} map to the same field, {key}: remove one.")
    return columns


class CsvFile:
    """A file that is known to be UTF-8 without a line of more than MAX_ROW bytes. Raises ParseError for its header."""

    def __init__(self, file: BinaryIO, stream: Stream) -> None:
        self.file = file
        self.delimiter, names, self.first_row = self._header()
        self.columns = map_columns(names, stream)

    @property
    def own_columns(self) -> list[Column]:
        """The columns without those of our report."""
        return [column for column in self.columns if column.read is not csv_cells.ignore]

    def _header(self) -> tuple[str, list[str], int]:
        """(delimiter, names, end): by the delimiter that gives the most columns."""
        found = [(delimiter, *self._header_by(delimiter)) for delimiter in DELIMITERS]
        delimiter, row, end = max(found, key=lambda each: len(each[1]) if isinstance(each[1], list) else 0)
        if isinstance(row, MalformedRow):
            raise ParseError(f"The header cannot be read: {row.reason}")
        names = [" ".join(name.split()) for name in row]
        while not names[-1]:  # ends, since a row of blanks is no header
            names.pop()
        return delimiter, names, end

    def _header_by(self, delimiter: str) -> tuple[Row, int]:
        for row, end in self.rows(0, delimiter):
            if isinstance(row, MalformedRow) or any(cell.strip() for cell in row):
                return row, end
        raise ParseError("The file is empty.")

    def check_quotes(self, size: int) -> None:
        """Reads the rows once. Raises ParseError if unclosed quotation marks would make a file of `size` bytes be read
        more than twice: each costs up to MAX_ROW, and a file may consist of them.
        """
        left, first = size + MAX_REREAD_BYTES, 0
        for row, end in self.rows(self.first_row):
            if isinstance(row, MalformedRow) and row.reread_bytes:
                first, left = first or end, left - row.reread_bytes
                if left < 0:
                    raise ParseError(f"Too many unclosed quotation marks, the first in line {self._line(first)}.")

    def _line(self, end: int) -> int:
        """The number of the line that ends at this byte."""
        self.file.seek(0)
        number = 0
        for line in self.file:
            number, end = number + 1, end - len(line)
            if end <= 0:
                break
        return number

    def rows(self, start: int, delimiter: str = "") -> Iterator[tuple[Row, int]]:
        """(row, byte behind it) from the byte `start` on."""
        lines = _Lines(self.file, start)
        while True:
            reader = csv.reader(lines, delimiter=delimiter or self.delimiter, strict=True)
            try:
                for row in reader:
                    yield row, lines.end
                    lines.next_row()
            except csv.Error as error:
                broken = lines.recover(error)
                yield broken, lines.end
                lines = _Lines(self.file, lines.end)
            else:
                return

    def chunks(self, start: int, max_rows: int) -> Iterator[Chunk]:
        """The records of the rows from the byte `start` on, at most `max_rows` at once."""
        lengths = [0, *accumulate(len(column.key) + 8 for column in self.columns)]
        rows: list[Row] = []
        names = 0
        begin = start = end = max(start, self.first_row)
        for row, end in self.rows(start):
            if isinstance(row, list) and not any(row):
                continue
            rows.append(row)
            names += lengths[min(len(row), len(self.columns))] if isinstance(row, list) else 0
            if len(rows) >= max_rows or end - begin >= CHUNK_BYTES or names >= CHUNK_NAMES:
                yield self._chunk(rows, end)
                rows, begin, names = [], end, 0
        if rows:
            yield self._chunk(rows, end)

    def _chunk(self, rows: list[Row], end: int) -> Chunk:
        complete = iter(self._records([row for row in rows if self._is_complete(row)]))
        records = [next(complete) if self._is_complete(row) else self._malformed(row) for row in rows]
        return Chunk("\n".join(records).encode(), len(records), end)

    def _is_complete(self, row: Row) -> TypeGuard[list[str]]:
        return type(row) is list and len(row) == len(self.columns)

    def _records(self, rows: list[list[str]]) -> list[str]:
        """Column by column: many cells of a column are alike, and are then read once."""
        parts = [
            list(map(_Cells(column).__getitem__, cells))
            for column, cells in zip(self.columns, zip(*rows, strict=True), strict=False)
        ]
        return [f"{{{','.join(filter(None, record))}}}" for record in zip(*parts, strict=True)]

    def _malformed(self, row: Row) -> str:
        if isinstance(row, MalformedRow):
            return ascii_json(unreadable_record(row.reason, row.text))
        width = len(self.columns)
        # Only the row's own cells are read: there may be a million rows of one cell under a thousand columns.
        cells = zip(self.columns, row, strict=False)
        record = {column.key: json.loads(value) for column, cell in cells if (value := column.read(cell))}
        if not any(row[width:]) and len(row) > width:
            return ascii_json(record)  # only surplus delimiters
        reason = f"The row has {len(row)} cells, the header {width}."
        return ascii_json({**record, **unreadable_record(reason, row)})


class _Cells(dict[str, str]):
    """cell → the JSON of its member, empty for none; filled on demand."""

    def __init__(self, column: Column) -> None:
        super().__init__()
        self.name = f"{ascii_json(column.key)}:"
        self.read = column.read

    def __missing__(self, cell: str) -> str:
        value = self.read(cell)
        member = self[cell] = f"{self.name}{value}" if value else ""
        return member


class _RowTooLong(csv.Error):
    pass


class _Lines:
    """The lines of a file as text, for csv.reader, which reads no more of them than the row needs."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        file.seek(start)
        self.file = file
        self.row = self.end = start
        """The first byte of the current row, and the byte behind what was read of it."""
        self.at_end = False

    def next_row(self) -> None:
        self.row = self.end

    def __iter__(self) -> Iterator[str]:
        for line in self.file:
            self.end += len(line)
            if self.end - self.row > MAX_ROW:
                raise _RowTooLong(f"The row has more than {MAX_ROW} bytes.")
            yield line.decode("utf-8-sig" if self.row == 0 else "utf-8")
        self.at_end = True

    def recover(self, error: csv.Error) -> MalformedRow:
        """What was read of the row; its first line alone if a quotation mark is unclosed, so that the rest is read."""
        unclosed = self.at_end or isinstance(error, _RowTooLong)
        self.file.seek(self.row)
        text = self.file.readline() if unclosed else self.file.read(self.end - self.row)
        reread = self.end - self.row - len(text)
        self.end = self.row + len(text)
        reason = "Unclosed quotation mark." if unclosed else f"Not CSV: {error}."
        return MalformedRow(text.decode().rstrip("\r\n"), reason, reread)

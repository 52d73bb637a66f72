"""CSV files: columns are mapped to a stream's fields, and each row becomes the JSON of a record.

Rows are counted as a spreadsheet counts them: the header is row 1 where nothing stands above it, and a row of which
every cell is empty counts, though it is left out. A row that cannot be read becomes a record that is invalid and says
why (payloads.unreadable_record), so that it ends as a dead letter.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import accumulate, islice, pairwise, takewhile
from types import MappingProxyType
from typing import Any, BinaryIO, TypeGuard

from ingestion import cells as csv_cells
from ingestion.cells import Kind, Read
from ingestion.files.formats import originals
from ingestion.files.formats.csv_rows import CONFLICT_MARKS, MAX_ROW, MalformedRow, Row, read_header, read_rows
from ingestion.files.formats.local_dates import DateStyle, LocalDates
from ingestion.files.formats.originals import Comparison, Place
from ingestion.files.shared_keys import SharedKeys
from ingestion.payloads import RESERVED_MEMBERS, ParseError, TooLarge, ascii_json, unreadable_record
from ingestion.streams import Layout, Stream

MAX_REREAD_BYTES = 4 * MAX_ROW
"""Bytes that may be read again because of unclosed quotation marks, even in a small file."""
MAX_COLUMNS = 1000
MAX_COLUMN_NAME = 100
"""Characters of a column's name."""
CHUNK_BYTES = 1_000_000
"""Of the file; as JSON it is about twice as much."""
CHUNK_NAMES = 2_000_000
"""Characters of the columns' names, which the JSON repeats in each row."""
MAX_BLANK_LINES = 100_000
"""Lines without anything, or with separators alone."""
MAX_UNREADABLE = 100_000
"""Rows that are no records, in a file that has more of them than of others."""
DECIMAL_COMMA = (";", "\t")
"""The delimiters of spreadsheets whose decimal mark may be the comma."""
REPORT_COLUMNS = ("row", "error")
"""The columns that the rejected rows have besides: a file with both is one of those, and they are ignored."""
FILE_COLUMN = "file"
"""Those of a set also have this one."""

_decimal_comma = re.compile(r"[+-]?(?:[0-9]{1,3}(?:\.[0-9]{3})+|[0-9]{1,400}),[0-9]+(?:[eE][+-]?[0-9]{1,4})?")
_thousands = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+")

NO_MAPPING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Chunk:
    """Some records of a file, as NDJSON, and the byte of the file behind them."""

    body: bytes
    count: int
    end: int
    first_row: int
    """The row of the first record, as the file's rows are counted."""
    gaps: tuple[tuple[int, int], ...] = ()
    """(position of a record, rows between it and the one before that are empty or left out)."""
    left_out: int = 0
    """Rows that are no records (Layout.read); where all are, the body is empty."""

    @property
    def rows(self) -> list[int]:
        """The row of each record."""
        if not self.count:
            return []
        gaps = dict(self.gaps)
        return list(accumulate((1 + gaps.get(i, 0) for i in range(1, self.count)), initial=self.first_row))

    @property
    def lines(self) -> list[bytes]:
        """The JSON of each record."""
        return self.body.split(b"\n") if self.count else []


@dataclass(frozen=True)
class Column:
    name: str
    """In the file."""
    field: str
    """The stream's field; empty if the column is not mapped: then the record keeps it under its own name."""
    kind: Kind
    read: Read
    note: str = ""
    """How its cells are read, where that is worth saying."""

    @property
    def key(self) -> str:
        return self.field or self.name


def map_columns(
    names: Sequence[str],
    stream: Stream,
    delimiter: str = ",",
    mapping: Mapping[str, str] = NO_MAPPING,
    layout: Layout | None = None,
) -> list[Column]:
    """The columns of a header, mapped regardless of case, spaces, hyphens and underscores. Raises ParseError.

    `mapping` (column → field) maps further columns, where no other column has that field. A layout maps them all.
    """
    _check_names(names)
    if layout and layout.read:
        return _check_duplicates([Column(name, "", "text", csv_cells.read_verbatim) for name in names])
    if layout:
        return _check_duplicates([_column_of_layout(name, stream, delimiter, layout) for name in names])
    readers, kinds = csv_cells.readers_of(stream.schema, stream.known_items), csv_cells.kinds_of(stream.schema)
    is_report = set(REPORT_COLUMNS) <= set(names) and not set(REPORT_COLUMNS) & set(readers)
    ours = {*REPORT_COLUMNS, FILE_COLUMN} - set(readers) if is_report else ()
    fields = _fields_of(names, readers, {name: field for name, field in mapping.items() if name not in ours})
    columns = []
    for name, field in zip(names, fields, strict=True):
        kind, read = kinds.get(field, "text"), readers.get(field, csv_cells.read_text)
        if kind == "number" and delimiter in DECIMAL_COMMA:
            read = _with_decimal_comma(read, delimiter)
        read = csv_cells.ignore if name in ours else csv_cells.cell_reader(read, kind)
        columns.append(Column(name, field, kind, read))
    return _check_duplicates(columns)


def _fields_of(names: Sequence[str], known: Collection[str], mapping: Mapping[str, str]) -> list[str]:
    """The field of each column; empty where it has none."""
    by_name = {normalized_name(field): field for field in known}
    fields = [by_name.get(normalized_name(name), "") for name in names]
    for position, name in enumerate(names):
        field = mapping.get(name, "")
        if field in known and field not in fields and not fields[position]:
            fields[position] = field
    return fields


def _column_of_layout(name: str, stream: Stream, delimiter: str, layout: Layout) -> Column:
    """Texts are read as they stand: an exporting program writes None where somebody wrote None."""
    fields = {normalized_name(column): field for column, field in layout.columns.items()}
    separators = {normalized_name(column): separator for column, separator in layout.lists.items()}
    field = fields.get(normalized_name(name), "")
    if not field:
        known = (*layout.header, *layout.any_of, *layout.optional, *REPORT_COLUMNS)
        is_known = normalized_name(name) in map(normalized_name, known)
        return Column(name, "", "text", csv_cells.ignore if is_known else csv_cells.read_text)
    kind, read = csv_cells.kinds_of(stream.schema)[field], csv_cells.readers_of(stream.schema)[field]
    if separator := separators.get(normalized_name(name)):
        return Column(name, field, kind, csv_cells.separated_reader(separator))
    if kind == "text":
        return Column(name, field, kind, csv_cells.read_verbatim)
    if kind == "number" and delimiter in DECIMAL_COMMA:
        read = _with_decimal_comma(read, delimiter)
    return Column(name, field, kind, csv_cells.cell_reader(read, kind))


def is_mapped_by(mapping: Mapping[str, str], column: Column) -> bool:
    return mapping.get(column.name) == column.field and normalized_name(column.name) != normalized_name(column.field)


def _with_decimal_comma(read: Read, delimiter: str) -> Read:
    return lambda cell: read(with_point(cell, delimiter))


def with_point(cell: str, delimiter: str) -> str:
    """0,85 as 0.85. Where tabs separate, 1,000 may be a thousand, and is left."""
    if "," not in cell or not _decimal_comma.fullmatch(cell) or (delimiter == "\t" and _thousands.fullmatch(cell)):
        return cell
    return cell.replace(".", "").replace(",", ".")


def normalized_name(name: str) -> str:
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

    def __init__(
        self,
        file: BinaryIO,
        stream: Stream,
        delimiter: str = "",
        mapping: Mapping[str, str] = NO_MAPPING,
        layout: Layout | None = None,
    ) -> None:
        self.file, self.stream = file, stream
        header = read_header(file, delimiter)
        self.delimiter, self.header_row, self.first_row = header.delimiter, header.row, header.end
        self.columns = map_columns(header.names, stream, self.delimiter, mapping, layout)
        self.mapped = {column.name: column.field for column in self.columns if is_mapped_by(mapping, column)}
        """column → field, of those that `mapping` has mapped."""
        self.shared_keys = 0
        """Rows that share their key with another; known after survey()."""
        self.boolean_words: dict[str, dict[str, str]] = {}
        """column → how it writes true and false, where not so; known after survey(), as all that follows."""
        self.decimal_commas: list[str] = []
        """The columns with decimal commas."""
        self.date_styles: dict[str, DateStyle] = {}
        """column → how its local dates are written."""
        self.restored: dict[int, dict[str, str]] = {}
        """The position of a column → cells that a spreadsheet has changed → what stood there."""
        self.given: Mapping[str, Any] = {}
        """Members that every record has in which its row has no other value."""

    @property
    def own_columns(self) -> list[Column]:
        """The columns without those of our report."""
        return [column for column in self.columns if column.read is not csv_cells.ignore]

    def survey(self, size: int) -> None:
        """Reads the rows once: counts those that share a key, and sees how the dates of each column are written.

        Raises TooLarge for a file of little else than blank or unreadable rows, and ParseError if unclosed quotation
        marks would make a file of `size` bytes be read more than twice: each costs up to MAX_ROW, and a file may
        consist of them.
        """
        left, first, shape = size + MAX_REREAD_BYTES, 0, _Shape(len(self.columns))
        with ExitStack() as opened:
            notes = _Notes(self, opened)
            for row, end in self.rows(self.first_row):
                if shape.is_blank(row):
                    continue
                if isinstance(row, list):
                    notes.see(row)
                elif row.reread_bytes:
                    first, left = first or end, left - row.reread_bytes
                    if left < 0:
                        line = self._line(first)
                        raise ParseError(f"Too many unclosed quotation marks, the first in line {line}.")
            self.shared_keys = notes.keys.count()
        if notes.dates_in_doubt or self._row_column >= 0:
            self.restored = self._compare(notes.times)
        self.columns = notes.columns()
        self.boolean_words = notes.boolean_words()
        self.decimal_commas = [self.columns[position].name for position in notes.decimal_commas]
        styles = ((self.columns[position].name, dates.style) for position, dates in notes.times.items())
        self.date_styles = {name: style for name, style in styles if style}

    @property
    def _row_column(self) -> int:
        """The position of the column in which rejected rows have their number; -1 without one."""
        first = REPORT_COLUMNS[0]
        return next((i for i, column in enumerate(self.columns) if column.name == first and not column.field), -1)

    def _compare(self, times: Mapping[int, LocalDates]) -> dict[int, dict[str, str]]:
        """Compares the first rows with those that were rejected; cells of texts → what they were, by column."""
        texts = [i for i, column in enumerate(self.columns) if column.kind == "text" and column.field]
        names, comparison = [column.field for column in self.columns], Comparison(times, texts)
        rows = [
            list(map(_text, row))
            for row, _ in islice(self.rows(self.first_row), originals.MAX_COMPARED)
            if isinstance(row, list)
        ]
        found = originals.find(self.stream, [self._place_of(row) for row in rows])
        for row, original in zip(rows, found, strict=True):
            comparison.see(row, names, original)
        comparison.settle_dates()
        return {position: cells for position in texts if (cells := comparison.restored(position))}

    def _place_of(self, row: list[str]) -> Place:
        number = row[self._row_column] if 0 <= self._row_column < len(row) else ""
        return Place(
            key=row[self._key_column] if 0 <= self._key_column < len(row) else "",
            row=int(number) if number.isdecimal() and len(number) < 10 else None,
        )

    @property
    def _key_column(self) -> int:
        return next((i for i, column in enumerate(self.columns) if column.field == self.stream.key), -1)

    def _line(self, end: int) -> int:
        """The number of the line that ends at this byte."""
        self.file.seek(0)
        number = 0
        for line in self.file:
            number, end = number + 1, end - len(line)
            if end <= 0:
                break
        return number

    def rows(self, start: int) -> Iterator[tuple[Row, int]]:
        """(row, byte behind it) from the byte `start` on."""
        return read_rows(self.file, start, self.delimiter)

    def keys(self) -> Iterator[str]:
        """Of the rows that have one."""
        position = self._key_column
        restored = self.restored.get(position, {})
        for row, _ in self.rows(self.first_row):
            if isinstance(row, list) and 0 <= position < len(row) and (key := _text(row[position])):
                yield restored.get(key, key)

    def chunks(self, start: int, max_rows: int) -> Iterator[Chunk]:
        """The records of the rows from the byte `start` on, at most `max_rows` at once."""
        given = len(self._given_members(()))
        lengths = list(accumulate((len(column.key) + 8 for column in self.columns), initial=given))
        rows: list[Row] = []
        numbers: list[int] = []
        names = 0
        begin = start = end = max(start, self.first_row)
        for number, (row, end) in enumerate(self.rows(start), start=self._row_behind(start)):
            if isinstance(row, list) and _is_blank(row):
                continue
            rows.append(row)
            numbers.append(number)
            names += lengths[min(len(row), len(self.columns))] if isinstance(row, list) else 0
            if len(rows) >= max_rows or end - begin >= CHUNK_BYTES or names >= CHUNK_NAMES:
                yield self._chunk(rows, numbers, end)
                rows, numbers, begin, names = [], [], end, 0
        if rows:
            yield self._chunk(rows, numbers, end)

    def _row_behind(self, start: int) -> int:
        """The number of the row that begins at this byte: counted, where it is not the first."""
        number = self.header_row + 1
        if start > self.first_row:
            number += sum(1 for _ in takewhile(lambda each: each[1] <= start, self.rows(self.first_row)))
        return number

    def _chunk(self, rows: list[Row], numbers: list[int], end: int) -> Chunk:
        whole = iter(self._records([row for row in rows if self._is_complete(row)]))
        records = [next(whole) if self._is_complete(row) else self._malformed(row) for row in rows]
        return Chunk("\n".join(records).encode(), len(records), end, numbers[0], gaps_of(numbers))

    def _is_complete(self, row: Row) -> TypeGuard[list[str]]:
        return type(row) is list and len(row) == len(self.columns)

    def _records(self, rows: list[list[str]]) -> list[str]:
        """Column by column: many cells of a column are alike, and are then read once."""
        parts = [
            list(map(_Cells(column, self.given).__getitem__, cells))
            for column, cells in zip(self.columns, zip(*rows, strict=True), strict=False)
        ]
        given = self._given_members(column.key for column in self.columns)
        return [f"{{{','.join(filter(None, (given, *record)))}}}" for record in zip(*parts, strict=True)]

    def _given_members(self, columns: Iterable[str]) -> str:
        """Those that no column has, as they stand in a record."""
        return ascii_json({name: value for name, value in self.given.items() if name not in {*columns}})[1:-1]

    def _malformed(self, row: Row) -> str:
        if isinstance(row, MalformedRow):
            return ascii_json(unreadable_record(row.reason, row.text))
        width = len(self.columns)
        # Only the row's own cells are read: there may be a million rows of one cell under a thousand columns.
        cells = zip(self.columns, row, strict=False)
        read = {column.key: json.loads(value) for column, cell in cells if (value := column.read(cell))}
        record = {**self.given, **read}
        if not any(row[width:]) and len(row) > width:
            return ascii_json(record)  # only surplus delimiters
        reason = f"The row has {len(row)} cells, the header {width}."
        if row[0].startswith(CONFLICT_MARKS):
            reason = f"{row[0][:7]} marks an unresolved merge conflict."
        return ascii_json({**record, **unreadable_record(reason, row)})


def _is_blank(row: list[str]) -> bool:
    return not row or (not row[0].strip() and not "".join(row).strip())


def gaps_of(numbers: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Where rising numbers leave some out: (position, how many before it)."""
    if numbers[-1] - numbers[0] == len(numbers) - 1:
        return ()
    pairs = enumerate(pairwise(numbers), start=1)
    return tuple((position, number - before - 1) for position, (before, number) in pairs if number - before > 1)


def _text(cell: str) -> str:
    """What stands in the cell."""
    text, marked = csv_cells.unescape(cell)
    return text if marked else csv_cells.tidy(text)


def _restoring(read: Read, cells: Mapping[str, str]) -> Read:
    return lambda cell: csv_cells.read_text(cells[text]) if (text := _text(cell)) in cells else read(cell)


def _note_of_restored(cells: Mapping[str, str]) -> str:
    cell, was = next(iter(cells.items()))
    return f"“{cell}” is read as “{was}”, as it stood in the rejected row{_and_more(len(cells) - 1)}"


def _and_more(number: int) -> str:
    return f" (and {number} more)" if number else ""


def reject_unreadable(unreadable: int, rows: int) -> None:
    """Raises TooLarge for a file of little else than rows that are no records."""
    if unreadable > MAX_UNREADABLE and 2 * unreadable > rows:
        raise TooLarge(f"More than {MAX_UNREADABLE} rows, most of the file, cannot be read. Check its format.")


class _Shape:
    """Counts the rows that are no records of their header. Raises TooLarge where a file has little else: they cost as
    much as others, and compress to nothing.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows = self.blank = self.unreadable = 0

    def is_blank(self, row: Row) -> bool:
        if isinstance(row, list) and _is_blank(row):
            self.blank += 1
            if self.blank > MAX_BLANK_LINES:
                raise TooLarge(f"The file has more than {MAX_BLANK_LINES} empty rows.")
            return True
        self.rows += 1
        if not isinstance(row, list) or len(row) < self.width or any(row[self.width :]):
            self.unreadable += 1
            reject_unreadable(self.unreadable, self.rows)
        return False


class _Notes:
    """What a first reading of all rows finds."""

    def __init__(self, file: CsvFile, opened: ExitStack) -> None:
        self.file, self.keys = file, SharedKeys(opened)
        named = {column.field: position for position, column in enumerate(file.columns)}
        self.key = named.get(file.stream.key, -1)
        self.times = {position: LocalDates() for position, column in enumerate(file.columns) if column.kind == "time"}
        self.numbers = [
            position
            for position, column in enumerate(file.columns)
            if column.kind == "number" and file.delimiter in DECIMAL_COMMA
        ]
        self.decimal_commas: set[int] = set()
        booleans = [position for position, column in enumerate(file.columns) if column.kind == "boolean"]
        self.words: dict[int, dict[str, str]] = {position: {} for position in booleans}
        self.unseen = booleans
        """The columns of which not both words have been seen."""

    def see(self, row: list[str]) -> None:
        if 0 <= self.key < len(row) and (key := _text(row[self.key])):
            self.keys.add(key)
        for position, dates in self.times.items():
            if position < len(row) and (cell := row[position]):
                if cell[4:5] != "-":
                    dates.see(_text(cell))
                elif not dates.is_mixed:
                    dates.see_iso(cell)
        for position in self.numbers:
            if position < len(row) and "," in row[position]:
                cell = _text(row[position])
                if with_point(cell, self.file.delimiter) != cell:
                    self.decimal_commas.add(position)
        if self.unseen:
            self._see_booleans(row)

    def _see_booleans(self, row: list[str]) -> None:
        for position in self.unseen:
            if position < len(row) and (value := csv_cells.BOOLEANS.get((cell := row[position].strip()).lower())):
                self.words[position].setdefault(value, cell)
        self.unseen = [position for position in self.unseen if len(self.words[position]) < 2]

    def boolean_words(self) -> dict[str, dict[str, str]]:
        columns = self.file.columns
        return {
            columns[position].name: words
            for position, words in self.words.items()
            if any(word != value for value, word in words.items())
        }

    @property
    def dates_in_doubt(self) -> bool:
        return any(dates.either and dates.is_day_first is None for dates in self.times.values())

    def columns(self) -> list[Column]:
        return [self._column(position, column) for position, column in enumerate(self.file.columns)]

    def _column(self, position: int, column: Column) -> Column:
        if position in self.decimal_commas:
            return replace(column, note="decimal commas are read as points")
        if cells := self.file.restored.get(position):
            return replace(column, read=_restoring(column.read, cells), note=_note_of_restored(cells))
        if not (dates := self.times.get(position)) or not dates.note:
            return column
        read = csv_cells.cell_reader(lambda cell: csv_cells.read_text(dates.read(cell)), "time")
        return replace(column, read=read, note=dates.note)


class _Cells(dict[str, str]):
    """cell → the JSON of its member, empty for none; filled on demand."""

    def __init__(self, column: Column, given: Mapping[str, Any]) -> None:
        super().__init__()
        self.name = f"{ascii_json(column.key)}:"
        self.read = column.read
        self.otherwise = ascii_json(given[column.key]) if column.key in given else ""

    def __missing__(self, cell: str) -> str:
        value = self.read(cell) or self.otherwise
        member = self[cell] = f"{self.name}{value}" if value else ""
        return member

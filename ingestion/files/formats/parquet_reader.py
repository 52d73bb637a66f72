"""Parquet files: the columns that are fields of the stream, as NDJSON, without a Python object for each row.

Rows are read in slices: whoever takes Polars' own batches of a file holds ever more of it, since it decodes ahead. Rows
are counted from 1. Times without a zone are UTC.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

import polars as pl

from ingestion.capacity import check_effort
from ingestion.cells import Kind, days_of, kinds_of
from ingestion.files.formats.csv_reader import (
    NO_MAPPING,
    Chunk,
    Column,
    is_mapped_by,
    map_columns,
    reject_unreadable,
)
from ingestion.files.formats.encodings import MAX_LINE
from ingestion.files.shared_keys import SharedKeys
from ingestion.payloads import ParseError, TooLarge, ascii_json, unreadable_record
from ingestion.streams import Stream
from ingestion.text import cut_short, plain, strip_unstorable

MAGIC, ENCRYPTED = b"PAR1", b"PARE"
MIN_SIZE = 12
"""Bytes of a file without anything in it."""
FIRST_ROWS, SLICE_ROWS = 2_000, 20_000
"""Rows of the first slice, and at most of one."""
SLICE_BYTES = 50_000_000
"""Of the texts in a slice, by what the one before it had."""
CHUNK_BYTES = 2_000_000
"""Of NDJSON, by the texts in it."""
FREE_ROWS, MAX_ROWS_PER_BYTE = 5_000_000, 10
"""A file may have so many rows, and for each of its bytes so many: equal rows take no space at all."""
MAX_SHOWN = 60
"""Characters of a value in a message."""
MAX_REASON = 200
"""Characters of what Polars says."""
TIME = r"^\d{4}-\d{2}-\d{2}([Tt ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?\s?([Zz]|[+-]\d{2}(:?\d{2})?)?)?$"
"""A time or a day, as text."""
OURS: Mapping[Kind, str] = {
    "text": "text (string)",
    "time": "a time (timestamp)",
    "number": "a number",
    "boolean": "true or false (boolean)",
    "list": "a list",
}
DAY = "a day (date)"


class ParquetFile:
    """An open file, whose columns fit the stream. Raises ParseError and TooLarge."""

    def __init__(self, file: BinaryIO, size: int, stream: Stream, mapping: Mapping[str, str] = NO_MAPPING) -> None:
        self.file, self.size, self.stream = file, size, stream
        with _refusing_damage():
            scan = self._scan()
            self._types = dict(scan.collect_schema())
            self.columns = map_columns(list(self._types), stream, mapping=mapping)
            self.rows = int(scan.select(pl.len()).collect().item())
        if self.rows > max(FREE_ROWS, MAX_ROWS_PER_BYTE * size):
            raise TooLarge(
                f"The file has {self.rows} rows in {size} bytes: more than a file of plays or people can have."
            )
        self.mapped = {column.name: column.field for column in self.columns if is_mapped_by(mapping, column)}
        """column → field, of those that `mapping` has mapped."""
        self._days = days_of(stream.schema)
        self._kinds = kinds_of(stream.schema)
        for column in self._used:
            self._check_type(column)
        self.given: Mapping[str, Any] = {}
        """Texts that every record has in which its row has no other value."""
        self.shared_keys = 0
        """Rows that share their key with another; known after survey(), where the stream has a key of its own."""

    @property
    def own_columns(self) -> list[Column]:
        return self.columns

    @property
    def _used(self) -> list[Column]:
        """The columns that are fields, and have something in them."""
        return [column for column in self.columns if column.field and self._types[column.name] != pl.Null]

    @property
    def fields(self) -> set[str]:
        return {column.field for column in self._used}

    def survey(self) -> None:
        """Reads all of it once, so that nothing of a file is kept that cannot be read to its end."""
        texts = [column for column in self._used if self._is_time_as_text(column)]
        key = "" if self.stream.key_of or self.stream.key not in self.fields else self.stream.key
        rows = unreadable = 0
        with ExitStack() as opened, _refusing_damage():
            keys = SharedKeys(opened)
            for start, rows_read, lengths in self._slices(0):
                _reject_long(lengths, start)
                for column in texts:
                    self._check_times(column, rows_read[column.field], start)
                rows += rows_read.height
                empty = rows_read.select(pl.all_horizontal(pl.all().is_null()).sum()).item()
                unreadable += rows_read.height if empty is None else int(empty)
                reject_unreadable(unreadable, rows)
                for each in rows_read[key].drop_nulls() if key else ():
                    keys.add(each)
            self.shared_keys = keys.count()

    def chunks(self, done: int, max_rows: int) -> Iterator[Chunk]:
        """The records behind the first `done` rows. The byte of a chunk only says how far that is."""
        with _refusing_damage():
            for start, rows, lengths in self._slices(done):
                for begin, end in _cuts(lengths, max_rows):
                    at = start + end
                    yield Chunk(
                        _ndjson(rows.slice(begin, end - begin)),
                        end - begin,
                        self.size if at >= self.rows else self.size * at // self.rows,
                        start + begin + 1,
                    )

    def _scan(self) -> pl.LazyFrame:
        return _scan(self.file)

    def _slices(self, start: int) -> Iterator[tuple[int, pl.DataFrame, pl.Series]]:
        """(rows before it, rows, the bytes of the texts of each row), the columns called as the fields."""
        expressions, number = self._expressions(), FIRST_ROWS
        while start < self.rows and expressions:
            check_effort()
            rows = self._scan().slice(start, number).select(expressions).collect()
            if not rows.height:
                raise ParseError(f"The Parquet file is damaged: it has {start} of {self.rows} rows.")
            lengths = _lengths(rows)
            yield start, rows, lengths
            start += rows.height
            size = max(1, int(lengths.sum()) // rows.height)
            number = max(100, min(SLICE_ROWS, 4 * number, SLICE_BYTES // size))

    def _expressions(self) -> list[pl.Expr]:
        found = [self._expression(column) for column in self._used]
        absent = {name: value for name, value in self.given.items() if name not in self.fields}
        return [*found, *(pl.lit(str(value)).alias(name) for name, value in absent.items())] if found else []

    def _expression(self, column: Column) -> pl.Expr:
        dtype = self._types[column.name]
        value = pl.col(column.name)
        if isinstance(dtype, pl.Categorical | pl.Enum):
            value = value.cast(pl.String)
        elif isinstance(dtype, pl.Datetime):
            zoned = value.dt.convert_time_zone("UTC") if dtype.time_zone else value.dt.replace_time_zone("UTC")
            value = zoned.dt.cast_time_unit("us")
        elif isinstance(dtype, pl.Decimal):
            value = value.cast(pl.Float64)
        elif isinstance(dtype, pl.Array):
            value = value.arr.to_list()
        if dtype.is_float():
            value = value.fill_nan(None)
        if column.field in self.given:
            value = value.fill_null(pl.lit(str(self.given[column.field])))
        return value.alias(column.field)

    def _check_type(self, column: Column) -> None:
        dtype, is_day = self._types[column.name], column.field in self._days
        if not _fits(dtype, self._kinds[column.field], is_day=is_day):
            wanted = DAY if is_day else OURS[self._kinds[column.field]]
            named = f"“{column.name}”" + (f" ({column.field})" if column.name != column.field else "")
            raise ParseError(f"The column {named} is of the type {dtype}; it must be {wanted}. Nothing was imported.")

    def _is_time_as_text(self, column: Column) -> bool:
        return self._kinds[column.field] == "time" and isinstance(self._types[column.name], pl.String)

    def _check_times(self, column: Column, values: pl.Series, start: int) -> None:
        """A column of texts is one of times only where each of them is one."""
        wrong = (values.is_not_null() & ~values.str.contains(TIME).fill_null(value=True)).arg_true().to_list()
        if wrong:
            wanted = DAY if column.field in self._days else OURS["time"]
            shown = cut_short(plain(strip_unstorable(str(values[wrong[0]]))), MAX_SHOWN)
            where = f"with “{shown}” in row {start + wrong[0] + 1}"
            raise ParseError(
                f"The column “{column.name}” is of the type String, {where}; it must be {wanted}. Nothing was imported."
            )


def _reject_long(lengths: pl.Series, start: int) -> None:
    for row in (lengths > MAX_LINE).arg_true():
        raise TooLarge(f"Row {start + row + 1} has more than {MAX_LINE} bytes.")


def column_names(file: BinaryIO) -> list[str]:
    with _refusing_damage():
        return list(_scan(file).collect_schema())


def _scan(file: BinaryIO) -> pl.LazyFrame:
    """Polars maps an open file into memory, from the place in it on, without what Python has not written yet."""
    file.flush()
    file.seek(0)
    return pl.scan_parquet(file, glob=False)


def _fits(dtype: Any, kind: Kind, *, is_day: bool) -> bool:
    match kind:
        case "number":
            return isinstance(dtype, pl.Decimal) or (dtype.is_numeric() and dtype not in (pl.Int128, pl.UInt128))
        case "boolean":
            return isinstance(dtype, pl.Boolean)
        case "time" if is_day:
            return isinstance(dtype, pl.Date | pl.String)
        case "time":
            return isinstance(dtype, pl.Datetime | pl.String)
        case "list":
            inner = (pl.String, pl.Categorical, pl.Enum, pl.Null, pl.Boolean)
            return isinstance(dtype, pl.List | pl.Array) and (
                isinstance(dtype.inner, inner) or dtype.inner.is_numeric()
            )
        case _:
            return isinstance(dtype, pl.String | pl.Categorical | pl.Enum)


def _lengths(rows: pl.DataFrame) -> pl.Series:
    """The bytes of the texts of each row."""
    texts = [pl.col(name).str.len_bytes() for name, dtype in rows.schema.items() if isinstance(dtype, pl.String)]
    lists = [
        pl.col(name).list.eval(pl.element().str.len_bytes()).list.sum()
        for name, dtype in rows.schema.items()
        if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.String)
    ]
    found = [each.cast(pl.Int64).fill_null(0) for each in (*texts, *lists)]
    total = pl.sum_horizontal(found) if found else pl.repeat(0, pl.len(), dtype=pl.Int64)
    return rows.select(total.alias("bytes"))["bytes"]


def _cuts(lengths: pl.Series, max_rows: int) -> Iterator[tuple[int, int]]:
    """(first row, row behind the last) of chunks."""
    number, sizes = len(lengths), lengths.to_list()
    if max(sizes, default=0) * max_rows <= CHUNK_BYTES:
        yield from ((begin, min(number, begin + max_rows)) for begin in range(0, number, max_rows))
        return
    begin = size = 0
    for row, length in enumerate(sizes):
        if row > begin and (row - begin >= max_rows or size + length > CHUNK_BYTES):
            yield begin, row
            begin, size = row, 0
        size += length
    yield begin, number


def _ndjson(rows: pl.DataFrame) -> bytes:
    """The rows, without columns of which they have nothing."""
    kept = [series for series in rows.iter_columns() if series.null_count() < rows.height]
    if not kept:
        return b"\n".join([b"{}"] * rows.height)
    out = io.BytesIO()
    pl.DataFrame(kept).write_ndjson(out)
    body = out.getvalue().rstrip(b"\n")
    infinite = [series for series in kept if series.dtype.is_float() and series.is_infinite().any()]
    return _without_infinite(body, infinite) if infinite else body


def _without_infinite(body: bytes, columns: list[pl.Series]) -> bytes:
    """JSON has no infinite numbers: such a row is one that cannot be read."""
    lines = body.split(b"\n")
    for series in columns:
        for row in series.is_infinite().arg_true():
            lines[row] = ascii_json(unreadable_record(f"{series.name} is infinite.", "")).encode()
    return b"\n".join(lines)


def reject_damage(file: BinaryIO, size: int) -> None:
    """Raises ParseError for a file that begins as Parquet and does not end so."""
    file.seek(max(0, size - len(MAGIC)))
    if (end := file.read(len(MAGIC))) == ENCRYPTED:
        raise ParseError("The Parquet file is encrypted.")
    if size < MIN_SIZE or end != MAGIC:
        raise ParseError("The Parquet file is truncated: its end is missing.")


@contextmanager
def _refusing_damage() -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = cut_short(plain(strip_unstorable(str(error).partition("\n")[0])), MAX_REASON).rstrip(".")
        raise ParseError(f"The Parquet file is damaged, or of a kind that is not supported: {reason}.") from None

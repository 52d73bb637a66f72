"""The rows of a CSV file as they stand there, from any byte on, and its header: no stream, no types."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from ingestion.capacity import check_effort
from ingestion.cells import unescape
from ingestion.files.formats.encodings import MAX_LINE
from ingestion.payloads import ParseError

MAX_ROW = MAX_LINE
"""Bytes of one row."""
CHECK_EVERY = 1000
"""Rows between two looks at what the request has taken."""
DELIMITERS = (",", ";", "\t")
CONFLICT_MARKS = ("<<<<<<<", "=======", ">>>>>>>")
"""What git leaves in a file that two people have changed."""

_separator_line = re.compile(rb"(?:\xef\xbb\xbf)?\"?sep=(.)\"?\r?\n?", re.IGNORECASE)
"""What Excel writes above the header, and reads there."""

csv.field_size_limit(MAX_ROW)


@dataclass(frozen=True)
class MalformedRow:
    """A row that is not CSV, as it is in the file."""

    text: str
    reason: str
    reread_bytes: int = 0
    """Bytes behind it that were read with it, and have to be read again."""


Row: TypeAlias = "list[str] | MalformedRow"


@dataclass(frozen=True)
class Header:
    delimiter: str
    names: list[str]
    row: int
    """Its number."""
    end: int
    """The byte behind it."""


def read_header(file: BinaryIO, delimiter: str = "") -> Header:
    """By the delimiter that gives the most columns. Raises ParseError."""
    start, named = _separator(file)
    delimiter = delimiter or named
    found = [(each, *_first_row(file, start, each)) for each in ([delimiter] if delimiter else DELIMITERS)]
    delimiter, row, number, end = max(found, key=lambda each: len(each[1]) if isinstance(each[1], list) else 0)
    if isinstance(row, MalformedRow):
        raise ParseError(f"The header cannot be read: {row.reason}")
    if row[0].startswith(CONFLICT_MARKS):
        raise ParseError(f"The file has unresolved merge conflicts: it begins with {row[0][:7]}.")
    names = [" ".join(unescape(name)[0].split()) for name in row]
    while not names[-1]:  # ends, since a row of blanks is no header
        names.pop()
    return Header(delimiter, names, number, end)


def _separator(file: BinaryIO) -> tuple[int, str]:
    """(byte behind it, delimiter) of a first line `sep=;`, which is no row; (0, "") without one."""
    file.seek(0)
    found = _separator_line.fullmatch(file.readline(20))
    return (file.tell(), found[1].decode("latin-1")) if found else (0, "")


def _first_row(file: BinaryIO, start: int, delimiter: str) -> tuple[Row, int, int]:
    """(row, number, byte behind it) of the first that is not blank."""
    for number, (row, end) in enumerate(read_rows(file, start, delimiter), start=1):
        if isinstance(row, MalformedRow) or any(cell.strip() for cell in row):
            return row, number, end
    raise ParseError("The file is empty.")


def read_rows(file: BinaryIO, start: int, delimiter: str) -> Iterator[tuple[Row, int]]:
    """(row, byte behind it) from the byte `start` on."""
    lines = _Lines(file, start)
    while True:
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
        try:
            for number, row in enumerate(reader):
                if not number % CHECK_EVERY:
                    check_effort()
                yield row, lines.end
                lines.next_row()
        except csv.Error as error:
            broken = lines.recover(error)
            yield broken, lines.end
            lines = _Lines(file, lines.end)
        else:
            return


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

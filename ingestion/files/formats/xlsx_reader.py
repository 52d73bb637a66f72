"""Excel workbooks (.xlsx): one sheet as CSV, read row by row by openpyxl.

A cell becomes the text that a person would type for it: a date in ISO 8601, true or false, a number as Excel shows it,
of a formula the value that Excel has stored.
"""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import repeat
from typing import IO, Any, BinaryIO
from xml.etree.ElementTree import Element

from django.conf import settings
from openpyxl.reader.excel import ExcelReader
from openpyxl.styles.stylesheet import Stylesheet
from openpyxl.utils.datetime import from_excel
from openpyxl.utils.escape import unescape
from openpyxl.worksheet._reader import DATA_TAG, FORMULA_TAG, ROW_TAG, WorkSheetParser
from openpyxl.xml.constants import ARC_CONTENT_TYPES, ARC_STYLE, SHARED_STRINGS
from openpyxl.xml.functions import fromstring, iterparse

from ingestion.capacity import check_effort
from ingestion.files.formats.csv_rows import CHECK_EVERY
from ingestion.files.formats.encodings import MAX_LINE
from ingestion.files.spool import anonymous_tempfile
from ingestion.payloads import ParseError, TooLarge

ZIP = b"PK\x03\x04"
OLD_EXCEL = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
MAX_ROWS, MAX_CELLS = 1_048_576, 16_384
"""Of a sheet, and of a row: Excel's own limits."""
MAX_PARTS = 10_000
"""Files in the archive."""
MAX_SMALL_PART = 8_000_000
"""Bytes, unpacked, of the parts that name sheets and formats."""
MAX_RATIO, RATIO_COUNTS_FROM = 200, 64_000_000
"""To how many times its size an archive may unpack, if that is more than so many bytes."""

_DAMAGE = (
    zlib.error,
    EOFError,
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
)
"""What zipfile, the XML parser and openpyxl raise for what they cannot read."""


@dataclass(frozen=True, kw_only=True)
class Sheet:
    file: BinaryIO
    """CSV in UTF-8, with commas."""
    name: str
    others: list[str]
    """The names of the workbook's other sheets."""


def read_sheet(file: BinaryIO, name: str, opened: ExitStack) -> Sheet:
    """The sheet of that name, or without one the first that is not hidden. Raises ParseError and TooLarge."""
    with _refusing_damage():
        archive = opened.enter_context(_Archive(file))
        _check_sizes(archive)
        workbook = _open(archive, file)
        sheets = _sheets(workbook, archive)
        formats = _formats(archive)
    chosen = next((each for each in sheets if (each == name if name else sheets[each].is_visible)), None)
    if chosen is None:
        raise ParseError(f"The file has no sheet “{name}”. Its sheets: {', '.join(sheets)}.")
    out = anonymous_tempfile(opened)
    text = io.TextIOWrapper(out, encoding="utf-8", errors="replace", newline="", write_through=True)
    try:
        with archive.open(sheets[chosen].part) as part:
            for lines in _as_csv(_Rows(part, workbook, formats)):
                csv.writer(text).writerows(lines)
                if out.tell() > settings.MAX_UPLOAD_BYTES:
                    raise TooLarge(f"The sheet has more than {settings.MAX_UPLOAD_BYTES} bytes as CSV.")
    finally:
        text.detach()
    return Sheet(file=out, name=chosen, others=[each for each in sheets if each != chosen])


@contextmanager
def _refusing_damage() -> Iterator[None]:
    try:
        yield
    except (ParseError, TooLarge):
        raise
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise ParseError(f"The Excel file is damaged, or protected by a password: {error}.") from None
    except _DAMAGE as error:
        reason = str(error)[:200].rstrip(".")
        raise ParseError(f"The Excel file is damaged: {reason}. Save the sheet as CSV (UTF-8).") from None


class _Archive(zipfile.ZipFile):
    """Of which no large part is read as a whole: openpyxl opens sheets and texts, and reads the others."""

    def read(self, name: str | zipfile.ZipInfo, pwd: bytes | None = None) -> bytes:
        part = name if isinstance(name, zipfile.ZipInfo) else self.getinfo(name)
        if part.file_size > MAX_SMALL_PART:
            raise TooLarge(f"The Excel file's {part.filename} is too large. Save the sheet as CSV (UTF-8).")
        return super().read(part, pwd)


def _check_sizes(archive: zipfile.ZipFile) -> None:
    """By what the archive says of itself, more than which is not unpacked."""
    parts = archive.infolist()
    size, packed = sum(part.file_size for part in parts), sum(part.compress_size for part in parts)
    if size > settings.MAX_UPLOAD_BYTES or len(parts) > MAX_PARTS:
        raise TooLarge(f"The Excel file unpacks to more than {settings.MAX_UPLOAD_BYTES} bytes, or {MAX_PARTS} parts.")
    if size > max(RATIO_COUNTS_FROM, MAX_RATIO * packed):
        raise TooLarge(
            f"The Excel file unpacks to more than {MAX_RATIO} times its size. Save the sheet as CSV (UTF-8)."
        )


def _open(archive: _Archive, file: BinaryIO) -> Any:
    """An ExcelReader of the workbook without its sheets. Its texts are held in memory, and so limited as JSON is.

    Not load_workbook: that looks through every sheet for its size, and keeps a row of any length in memory.
    """
    not_excel = ParseError("The file is a ZIP archive and no Excel workbook (.xlsx): unpack it.")
    if ARC_CONTENT_TYPES not in archive.namelist():
        raise not_excel
    workbook: Any = ExcelReader(file, read_only=True, data_only=True, keep_links=False)
    workbook.archive = archive
    workbook.read_manifest()
    texts = workbook.package.find(SHARED_STRINGS)
    if texts and archive.getinfo(texts.PartName[1:]).file_size > settings.MAX_BODY_BYTES:
        raise TooLarge(
            f"The texts of the Excel file have more than {settings.MAX_BODY_BYTES} bytes. "
            "Save the sheet as CSV (UTF-8)."
        )
    try:
        workbook.read_workbook()
    except OSError:
        raise not_excel from None
    workbook.read_strings()
    return workbook


@dataclass(frozen=True)
class _Part:
    part: str
    """Its file in the archive."""
    is_visible: bool


def _sheets(workbook: Any, archive: _Archive) -> dict[str, _Part]:
    targets = {key: each.target for key, each in workbook.parser.rels.items() if each.Type.endswith("/worksheet")}
    sheets = {
        sheet.name: _Part(targets[sheet.id], sheet.state == "visible")
        for sheet in workbook.parser.sheets
        if targets.get(sheet.id) in archive.NameToInfo
    }
    if not sheets:
        raise ParseError("The Excel file has no sheet, or is saved as “Strict Open XML”: save it as .xlsx or CSV.")
    return sheets


def _formats(archive: _Archive) -> Any:
    """How cells are shown (a Stylesheet): which of them are dates."""
    xml: Any = fromstring(archive.read(ARC_STYLE)) if ARC_STYLE in archive.NameToInfo else None
    return Stylesheet() if xml is None else Stylesheet.from_tree(xml)


class _Rows(WorkSheetParser):
    """(number, cells) of the rows of a sheet that have any, without the empty cells at their end."""

    def __init__(self, part: IO[bytes], workbook: Any, formats: Any) -> None:
        super().__init__(part, workbook.shared_strings, data_only=True, epoch=workbook.wb.epoch)
        self.part, self.formats = part, formats
        self.row_bytes = 0
        """Read since the last row."""

    def read(self, size: int = -1) -> bytes:
        """The next bytes of the sheet, as the parser asks for them, unless they are too many for one row."""
        piece = self.part.read(size)
        self.row_bytes += len(piece)
        if self.row_bytes > MAX_LINE:
            raise TooLarge(f"The row after row {self.row_counter} of the sheet has more than {MAX_LINE} bytes.")
        return piece

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        with _refusing_damage():
            for _, element in iterparse(self):
                if element.tag == ROW_TAG:
                    self.row_bytes = 0
                    if cells := self._cells(element):
                        yield self.row_counter, cells
                    element.clear()
                elif element.tag == DATA_TAG:
                    return

    def _cells(self, row: Any) -> list[str]:
        before = self.row_counter
        if len(row) > MAX_CELLS:
            raise ParseError(f"The row after row {before} of the sheet has more than {MAX_CELLS} cells.")
        number, cells = self.parse_row(row)
        if not before < number <= MAX_ROWS:
            raise ParseError(f"The Excel file is damaged: row {number} comes after row {before}.")
        texts = {cell["column"]: text for cell in cells if (text := _text(cell["value"]))}
        return [texts.get(i, "") for i in range(1, max(texts, default=0) + 1)]

    def parse_cell(self, element: Element) -> dict[str, Any]:
        cell: dict[str, Any] = super().parse_cell(element)
        style = cell["style_id"]
        if cell["value"] is None:
            if element.get("t") != "str" and element.find(FORMULA_TAG) is not None:
                where = element.get("r", "")
                raise ParseError(f"The formula in cell {where} has no value: open the file in Excel and save it.")
        elif cell["data_type"] == "n" and style in self.formats.date_formats:
            with suppress(OverflowError, ValueError):  # no calendar has it: it stays a number
                is_duration = style in self.formats.timedelta_formats
                cell["value"] = from_excel(cell["value"], self.epoch, timedelta=is_duration)
        return cell


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int() | float():
            return _shown(value)
        case datetime():
            return value.isoformat() if value.time() != time.min else value.date().isoformat()
        case date() | time():
            return value.isoformat()
        case timedelta():
            hours, seconds = divmod(round(value.total_seconds()), 3600)
            return f"{hours:02}:{seconds // 60:02}:{seconds % 60:02}"
        case _:
            return unescape(str(value))


def _shown(number: float) -> str:
    """With the 15 digits that Excel shows."""
    number = float(f"{number:.15g}")
    return str(int(number)) if number.is_integer() and abs(number) < 1e21 else repr(number)


def _as_csv(rows: Iterable[tuple[int, list[str]]]) -> Iterator[Iterable[list[str]]]:
    """The rows with the empty ones before each, all as wide as the first, which is the header."""
    last = width = 0
    for number, cells in rows:
        if not number % CHECK_EVERY:
            check_effort()
        width = width or len(cells)
        yield repeat([], number - last - 1)
        yield [[*cells, *[""] * (width - len(cells))]]
        last = number

"""Excel workbooks (.xlsx): one sheet as CSV, read part by part in memory that does not grow with the sheet.

A cell becomes the text that a person would type for it: a date in ISO 8601, true or false, a number as Excel shows it,
of a formula the value that Excel has stored.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import repeat
from posixpath import join, normpath
from typing import IO, BinaryIO
from xml.parsers import expat

from django.conf import settings

from ingestion.files.encodings import MAX_LINE
from ingestion.files.spool import READ_SIZE, anonymous_tempfile
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

_BUILT_IN_DATES = {*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)}
_not_code = re.compile(r'"[^"]*"|\\.|_.|\*.|\[(?![hms]+\])[^\]]*\]', re.IGNORECASE)
_date_code = re.compile(r"[dmyhs]", re.IGNORECASE)
_escape = re.compile(r"_x([0-9A-Fa-f]{4})_")
_reference = re.compile(r"([A-Z]{1,3})[0-9]{1,7}")
_EPOCH, _EPOCH_1904 = datetime(1899, 12, 30), datetime(1904, 1, 1)  # noqa: DTZ001 (what a sheet shows has no zone)


@dataclass(frozen=True, kw_only=True)
class Sheet:
    file: BinaryIO
    """CSV in UTF-8, with commas."""
    name: str
    others: list[str]
    """The names of the workbook's other sheets."""


def read_sheet(file: BinaryIO, name: str, opened: ExitStack) -> Sheet:
    """The sheet of that name, or without one the first that is not hidden. Raises ParseError and TooLarge."""
    try:
        with zipfile.ZipFile(file) as archive:
            return _read_sheet(_Workbook(archive), name, opened)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, EOFError, OSError) as error:
        raise ParseError(f"The Excel file is damaged, or protected by a password: {error}.") from None
    except expat.ExpatError as error:
        raise ParseError(f"The Excel file is damaged: {error}.") from None


def _read_sheet(workbook: _Workbook, name: str, opened: ExitStack) -> Sheet:
    names = [sheet.name for sheet in workbook.sheets]
    chosen = next((sheet for sheet in workbook.sheets if (sheet.name == name if name else sheet.is_visible)), None)
    if chosen is None:
        raise ParseError(f"The file has no sheet “{name}”. Its sheets: {', '.join(names)}.")
    out = anonymous_tempfile(opened)
    text = io.TextIOWrapper(out, encoding="utf-8", errors="replace", newline="", write_through=True)
    try:
        for lines in _as_csv(_Rows(workbook, chosen.part)):
            csv.writer(text).writerows(lines)
            if out.tell() > settings.MAX_UPLOAD_BYTES:
                raise TooLarge(f"The sheet has more than {settings.MAX_UPLOAD_BYTES} bytes as CSV.")
    finally:
        text.detach()
    return Sheet(file=out, name=chosen.name, others=[each for each in names if each != chosen.name])


def _as_csv(rows: Iterable[tuple[int, list[str]]]) -> Iterator[Iterable[list[str]]]:
    """The rows with the empty ones before each, all as wide as the first, which is the header."""
    last = width = 0
    for number, cells in rows:
        width = width or len(cells)
        yield repeat([], number - last - 1)
        yield [[*cells, *[""] * (width - len(cells))]]
        last = number


@dataclass(frozen=True)
class _Part:
    name: str
    is_visible: bool
    part: str
    """Its file in the archive."""


class _Workbook:
    """What the small parts of the archive say."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        _check_sizes(archive)
        self.epoch = _EPOCH
        self.sheets: list[_Part] = []
        self._targets = self._relations("xl/_rels/workbook.xml.rels")
        self._parse_small("xl/workbook.xml", self._workbook_tag)
        if not self.sheets:
            raise ParseError("The Excel file has no sheet.")
        self.date_formats: set[int] = set()
        """The numbers of the cell formats that show dates or times."""
        self._custom: set[int] = set()
        self._formats, self._in_formats = 0, False
        self._parse_small("xl/styles.xml", self._style_tag, self._style_end)
        self.texts = self._shared_texts()

    def open(self, part: str) -> IO[bytes]:
        return self.archive.open(part)

    def has(self, part: str) -> bool:
        return part in self.archive.NameToInfo

    def _parse_small(
        self,
        part: str,
        start: Callable[[str, dict[str, str]], None],
        end: Callable[[str], None] = lambda tag: None,
    ) -> None:
        if not self.has(part):
            if part == "xl/workbook.xml":
                raise ParseError("The file is a ZIP archive and no Excel workbook (.xlsx): unpack it.")
            return
        if self.archive.getinfo(part).file_size > MAX_SMALL_PART:
            raise TooLarge(f"The Excel file's {part} is too large. Save the sheet as CSV (UTF-8).")
        with self.open(part) as xml:
            parse(xml, start, end)

    def _relations(self, part: str) -> dict[str, str]:
        targets: dict[str, str] = {}

        def start(tag: str, attributes: dict[str, str]) -> None:
            if tag == "Relationship" and {"Id", "Target"} <= attributes.keys():
                target = attributes["Target"]
                targets[attributes["Id"]] = target[1:] if target.startswith("/") else normpath(join("xl", target))

        self._parse_small(part, start)
        return targets

    def _workbook_tag(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "workbookPr" and attributes.get("date1904") in ("1", "true"):
            self.epoch = _EPOCH_1904
        elif tag == "sheet":
            part = self._targets.get(next((attributes[name] for name in attributes if name.endswith(":id")), ""), "")
            if part.startswith("xl/worksheets/") and self.has(part):
                name, state = attributes.get("name", ""), attributes.get("state", "visible")
                self.sheets.append(_Part(name, state == "visible", part))

    def _style_tag(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "numFmt" and attributes.get("numFmtId", "").isdigit():
            code = _not_code.sub("", attributes.get("formatCode", ""))
            if _date_code.search(code) and "general" not in code.lower():
                self._custom.add(int(attributes["numFmtId"]))
        elif tag == "cellXfs":
            self._in_formats = True
        elif tag == "xf" and self._in_formats:
            number = int(attributes.get("numFmtId", "0") or 0)
            if number in _BUILT_IN_DATES or number in self._custom:
                self.date_formats.add(self._formats)
            self._formats += 1

    def _style_end(self, tag: str) -> None:
        if tag == "cellXfs":
            self._in_formats = False

    def _shared_texts(self) -> list[str]:
        """The texts that cells name by number: the one part that is held in memory, and so limited as JSON is."""
        part = next((target for target in self._targets.values() if target.endswith("sharedStrings.xml")), "")
        if not part or not self.has(part):
            return []
        if self.archive.getinfo(part).file_size > settings.MAX_BODY_BYTES:
            raise TooLarge(
                f"The texts of the Excel file have more than {settings.MAX_BODY_BYTES} bytes. "
                "Save the sheet as CSV (UTF-8)."
            )
        texts: list[str] = []
        text = _Text()

        def end(tag: str) -> None:
            text.end(tag)
            if tag == "si":
                texts.append(text.take())

        with self.open(part) as xml:
            parse(xml, text.start, end, text.data)
        return texts


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


class _Text:
    """Collects the text of <t> elements, without what only tells how it is pronounced (<rPh>)."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._taking = self._in_phonetic = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "rPh":
            self._in_phonetic = True
        self._taking = tag == "t" and not self._in_phonetic

    def end(self, tag: str) -> None:
        if tag == "rPh":
            self._in_phonetic = False
        self._taking = False

    def data(self, data: str) -> None:
        if self._taking:
            self._parts.append(data)

    def take(self) -> str:
        text, self._parts = "".join(self._parts), []
        return _escape.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


class _Rows:
    """(number, cells) of the rows of a sheet that have any, without the empty cells at their end."""

    def __init__(self, workbook: _Workbook, part: str) -> None:
        self.workbook, self.part = workbook, part
        self.done: list[tuple[int, list[str]]] = []
        self.number = self.column = self.cells_read = self.bytes = 0
        self.cells: dict[int, str] = {}
        self.attributes: dict[str, str] = {}
        self.text, self.value = _Text(), ""
        self.in_value = self.has_formula = False

    def __iter__(self) -> Iterator[tuple[int, list[str]]]:
        parser = parser_of(self.start, self.end, self.data)
        with self.workbook.open(self.part) as xml:
            while piece := xml.read(READ_SIZE // 10):
                parser.Parse(piece, False)
                yield from self.done
                self.done.clear()
            parser.Parse(b"", True)
        yield from self.done

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "c":
            self.attributes, self.value, self.has_formula = attributes, "", False
            self.column = _column(attributes["r"]) if "r" in attributes else self.column + 1
            self.cells_read += 1
            if max(self.column, self.cells_read) > MAX_CELLS:
                raise ParseError(f"Row {self.number} of the sheet has more than {MAX_CELLS} cells.")
        elif tag == "row":
            before, self.cells, self.column, self.cells_read, self.bytes = self.number, {}, 0, 0, 0
            self.number = int(r) if (r := attributes.get("r", "")).isdecimal() else before + 1
            if not before < self.number <= MAX_ROWS:
                raise ParseError(f"The Excel file is damaged: row {self.number} comes after row {before}.")
        elif tag == "v":
            self.in_value = True
        elif tag == "f":
            self.has_formula = True
        else:
            self.text.start(tag, attributes)

    def data(self, data: str) -> None:
        self.bytes += len(data)
        if self.bytes > MAX_LINE:
            raise TooLarge(f"Row {self.number} of the sheet has more than {MAX_LINE} characters.")
        if self.in_value:
            self.value += data
        else:
            self.text.data(data)

    def end(self, tag: str) -> None:
        if tag == "v":
            self.in_value = False
        elif tag == "c":
            if text := self._cell():
                self.cells[self.column] = text
        elif tag == "row":
            if self.cells:
                self.done.append((self.number, [self.cells.get(i, "") for i in range(1, max(self.cells) + 1)]))
        else:
            self.text.end(tag)

    def _cell(self) -> str:
        kind, inline = self.attributes.get("t", "n"), self.text.take()
        if self.has_formula and not self.value and kind != "str":
            cell = self.attributes.get("r", "")
            raise ParseError(f"The formula in cell {cell} has no value: open the file in Excel and save it.")
        match kind:
            case "inlineStr":
                return inline
            case "s":
                return self._shared(self.value)
            case "b":
                return {"1": "true", "0": "false"}.get(self.value, self.value)
            case "n":
                return self._number(self.value) if self.value else ""
            case _:  # a formula's text, an error, a date in ISO 8601
                return self.value

    def _shared(self, value: str) -> str:
        texts = self.workbook.texts
        if value.isdecimal() and int(value) < len(texts):
            return texts[int(value)]
        raise ParseError(f"The Excel file is damaged: it has no text {value[:20]}.")

    def _number(self, value: str) -> str:
        try:
            number = float(value)
        except ValueError:
            return value
        style = self.attributes.get("s", "0")
        if style.isdecimal() and int(style) in self.workbook.date_formats:
            return _moment(number, self.workbook.epoch) or _shown(number)
        return _shown(number)


def _shown(number: float) -> str:
    """With the 15 digits that Excel shows."""
    number = float(f"{number:.15g}")
    return str(int(number)) if number.is_integer() and abs(number) < 1e21 else repr(number)


def _moment(number: float, epoch: datetime) -> str:
    """Days since the epoch as a date, a date with a time, or a time; empty where no calendar has it."""
    try:
        moment = epoch + timedelta(milliseconds=round(number * 86_400_000))
    except (OverflowError, ValueError):
        return ""
    if moment.microsecond in (1000, 999_000):  # what is left of a second in a fraction of a day
        moment = (moment + timedelta(microseconds=500_000)).replace(microsecond=0)
    if 0 < number < 1:
        return moment.time().isoformat()
    return moment.date().isoformat() if moment.time() == moment.min.time() else moment.isoformat()


def _column(reference: str) -> int:
    """The number of the column that a cell's name tells: 28 of AB7."""
    found = _reference.fullmatch(reference)
    if not found:
        raise ParseError(f"The Excel file is damaged: it has a cell {reference[:20]}.")
    number = 0
    for letter in found[1]:
        number = 26 * number + ord(letter) - 64
    return number


def parser_of(
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None],
    data: Callable[[str], None] | None = None,
) -> expat.XMLParserType:
    """Tags come without the prefix of a namespace, which some programs write."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda tag, attributes: start(
        tag if ":" not in tag else tag.rpartition(":")[2], attributes
    )
    parser.EndElementHandler = lambda tag: end(tag if ":" not in tag else tag.rpartition(":")[2])
    parser.StartDoctypeDeclHandler = _refuse_doctype
    if data:
        parser.CharacterDataHandler = data
    return parser


def _refuse_doctype(*_: object) -> None:
    raise ParseError("The Excel file is damaged: its XML declares a document type.")


def parse(
    xml: IO[bytes],
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None] = lambda tag: None,
    data: Callable[[str], None] | None = None,
) -> None:
    parser = parser_of(start, end, data)
    while piece := xml.read(READ_SIZE // 10):
        parser.Parse(piece, False)
    parser.Parse(b"", True)

"""Files to upload, for tests."""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from ingestion.cells import cell_of


def csv_of(records: Sequence[Mapping[str, Any]], delimiter: str = ",") -> bytes:
    """With the columns of the first record."""
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(records[0])
    writer.writerows(
        [value if isinstance(value, str) else cell_of(value) for value in each.values()] for each in records
    )
    return file.getvalue().encode()


def read_csv(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def streamed(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def ndjson_of(records: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


CONTENT = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml"


def xlsx_of(**sheets: Sequence[str]) -> bytes:
    """A workbook as Excel writes it: sheets by name, each as the XML of its rows (see `row`)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        names = "".join(f'<sheet name="{escape(n)}" sheetId="{i}" r:id="rId{i}"/>' for i, n in enumerate(sheets, 1))
        kinds = {"workbook": "sheet.main", "styles": "styles", "sharedStrings": "sharedStrings"}
        types = "".join(
            f'<Override PartName="/xl/{part}.xml" ContentType="{TYPE}.{kind}+xml"/>' for part, kind in kinds.items()
        )
        archive.writestr("[Content_Types].xml", f'{CONTENT}<Types xmlns="{PACKAGE}/content-types">{types}</Types>')
        archive.writestr(
            "xl/workbook.xml",
            f'{CONTENT}<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}"><sheets>{names}</sheets></workbook>',
        )
        parts = [(f"rId{i}", "worksheet", f"worksheets/sheet{i}.xml") for i in range(1, len(sheets) + 1)]
        parts += [("rId98", "styles", "styles.xml"), ("rId99", "sharedStrings", "sharedStrings.xml")]
        targets = "".join(
            f'<Relationship Id="{name}" Type="{RELATIONS}/{kind}" Target="{part}"/>' for name, kind, part in parts
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'{CONTENT}<Relationships xmlns="{PACKAGE}/relationships">{targets}</Relationships>',
        )
        formats = '<xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/><xf numFmtId="9"/>'
        custom = '<numFmts><numFmt numFmtId="164" formatCode="[$-407]dd&quot;. &quot;mmm\\ yyyy\\ hh:mm"/></numFmts>'
        archive.writestr(
            "xl/styles.xml",
            f'{CONTENT}<styleSheet xmlns="{MAIN}">{custom}<cellStyleXfs><xf numFmtId="14"/></cellStyleXfs>'
            f"<cellXfs>{formats}</cellXfs></styleSheet>",
        )
        shared = (
            "<si><t>Zoë</t></si><si><r><t>Algebra, </t></r><r><t>Physics</t></r><rPh sb='0' eb='1'><t>x</t></rPh></si>"
        )
        archive.writestr("xl/sharedStrings.xml", f'{CONTENT}<sst xmlns="{MAIN}">{shared}</sst>')
        for number, rows in enumerate(sheets.values(), start=1):
            archive.writestr(
                f"xl/worksheets/sheet{number}.xml",
                f'{CONTENT}<worksheet xmlns="{MAIN}"><sheetData>{"".join(rows)}</sheetData></worksheet>',
            )
    return out.getvalue()


SHARED = ["Zoë", "Algebra, Physics"]
DATE, DATE_AND_TIME, PERCENT = 1, 2, 3


def row(number: int, *cells: object) -> str:
    """The XML of a row: texts, numbers, booleans, (number, style), None for no cell, or XML beginning with <c."""
    return f'<row r="{number}">{"".join(_cell(number, i, cell) for i, cell in enumerate(cells))}</row>'


def _cell(number: int, column: int, value: object) -> str:
    name = f"{chr(65 + column)}{number}"
    match value:
        case None:
            return ""
        case bool():
            return f'<c r="{name}" t="b"><v>{int(value)}</v></c>'
        case (shown, style):
            return f'<c r="{name}" s="{style}"><v>{shown}</v></c>'
        case str() if value.startswith("<c"):
            return value
        case str() if value in SHARED:
            return f'<c r="{name}" t="s"><v>{SHARED.index(value)}</v></c>'
        case str():
            return f'<c r="{name}" t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'
        case _:
            return f'<c r="{name}"><v>{value}</v></c>'

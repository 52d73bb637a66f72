"""Lists as CSV and NDJSON: all matching rows, read in chunks and streamed."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from django.http import StreamingHttpResponse
from django.http.response import HttpResponseBase
from rest_framework.renderers import BaseRenderer

from enrichment.rows.access import Export
from enrichment.rows.listing import Item, Listing
from ingestion import capacity
from ingestion.cells import cell_of, escape_mark, text_cell, text_of
from ingestion.payloads import ascii_json
from ingestion.text import strip_unstorable

FORMATS = ("json", "csv", "ndjson")
BYTE_ORDER_MARK = "\ufeff"
"""Spreadsheets need it to know that a file is UTF-8."""
CUT = "The list is cut short here by an error: ask again."

# Each function turns chunks of objects into chunks of text.


def as_ndjson(chunks: Iterable[list[Item]], fields: Sequence[str], nullable: Collection[str] = ()) -> Iterator[str]:
    """In ASCII, since some readers take further characters for the end of a line."""
    encode = json.JSONEncoder(default=_time, separators=(",", ":")).encode
    for chunk in chunks:
        yield "".join([encode(item) + "\n" for item in chunk])


def _time(value: Any) -> str:
    """As DRF writes it into lists of JSON."""
    text: str = value.isoformat()
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def as_csv(chunks: Iterable[list[Item]], fields: Sequence[str], nullable: Collection[str] = ()) -> Iterator[str]:
    """With a header, even without rows. The reader of uploads reads these cells back as the same values."""
    yield from _as_csv(chunks, fields, nullable, cell)


def as_csv_for_spreadsheets(
    chunks: Iterable[list[Item]], fields: Sequence[str], nullable: Collection[str] = ()
) -> Iterator[str]:
    """The same, with a byte order mark, and nothing that a spreadsheet would compute: see ingestion.cells.MARK."""
    yield BYTE_ORDER_MARK
    yield from _as_csv(chunks, fields, nullable, _cell_for_spreadsheets)


def _cell_for_spreadsheets(value: Any) -> Any:
    return cell_of(value) if type(value) in (str, list) else cell(value)


def _as_csv(
    chunks: Iterable[list[Item]], fields: Sequence[str], nullable: Collection[str], write: Callable[[Any], Any]
) -> Iterator[str]:
    columns = [(name, write if name in nullable else _empty_or(write)) for name in fields]
    yield _csv([fields])
    for chunk in chunks:
        yield _csv([[write_cell(item[name]) for name, write_cell in columns] for item in chunk])


def _empty_or(write: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """An empty text is an empty cell where that cannot be null."""
    return lambda value: "" if value == "" else write(value)


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return strip_unstorable(text.getvalue())


def cell(value: Any) -> Any:
    """null is empty, true and false are JSON's; a list has its items separated, or is JSON where that is not plain.

    A text is left as it is, be it a formula to some spreadsheet: the file is data for programs. One that our reader
    would take for something else (NULL, what looks as if we had escaped it) is escaped, so that it is read back.
    """
    write = CELLS.get(type(value))
    return write(value) if write else value


CELLS: dict[type, Callable[[Any], str]] = {
    bool: {True: "true", False: "false"}.__getitem__,
    dict: ascii_json,
    list: lambda items: escape_mark(text_of(items)),
    str: lambda text: text_cell(text, escape_mark),
    datetime: _time,
}


class Streamed(BaseRenderer):
    """Represents a format in DRF's negotiation; the content is not rendered by it."""

    write: Callable[[Iterable[list[Item]], Sequence[str], Collection[str]], Iterator[str]]
    """Chunks, fields, and which of them are nullable as in Listing."""
    truncation_marker: str
    """The last line after an error in the middle of a list: one that cannot be taken for a row."""


class Csv(Streamed):
    media_type = "text/csv"
    format = "csv"
    write = staticmethod(as_csv)
    truncation_marker = f'"{CUT}'


class CsvForSpreadsheets(Csv):
    """For people, who open the file in a spreadsheet."""

    write = staticmethod(as_csv_for_spreadsheets)


class Ndjson(Streamed):
    media_type = "application/x-ndjson"
    format = "ndjson"
    write = staticmethod(as_ndjson)
    truncation_marker = f'{{"error":"{CUT}'


STREAMED = {renderer.format: renderer for renderer in (Csv, Ndjson)}


def stream(method: str | None, form: Streamed, listing: Listing, name: str, export: Export) -> HttpResponseBase:
    """All of the list, without a body for HEAD; its first chunk is read before the answer begins, so that most errors
    have a status.
    """
    if method != "GET":
        return StreamingHttpResponse(iter(()), content_type=content_type_of(form), headers=headers_of(name, form))

    def text() -> Iterator[str]:
        return form.write(prefetch_first(export.counting(listing.chunks())), listing.fields, listing.nullable)

    return download(text, form, name, export)


def download(text: Callable[[], Iterator[str]], form: Streamed, name: str, export: Export) -> StreamingHttpResponse:
    """A file that is sent as it is read. Raises capacity.Busy when too many are, of this client or of all."""

    def begin() -> Iterator[str]:
        parts = with_truncation_marker(text(), form.truncation_marker)
        export.begin()
        return parts

    parts = capacity.Download(export.by, begin, at_end=export.end)
    return StreamingHttpResponse(parts, content_type=content_type_of(form), headers=headers_of(name, form))


def content_type_of(form: Streamed) -> str:
    return f"{form.media_type}; charset=utf-8"


def headers_of(name: str, form: Streamed) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}.{form.format}"'}


def prefetch_first(items: Iterator[Any]) -> Iterator[Any]:
    return itertools.chain(list(itertools.islice(items, 1)), items)


def with_truncation_marker(text: Iterator[str], marker: str) -> Iterator[str]:
    """An error ends the connection without the end of the body; behind a proxy that speaks HTTP/1.0 that looks like
    one, so the last line says it as well.
    """
    try:
        yield from text
    except Exception:
        yield marker
        raise

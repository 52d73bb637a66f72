"""Mangled files: tables, workbooks, lines, lists, archives and Parquet, of our fields and as others export them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any
from urllib.parse import urlencode

import polars as pl

from fuzz import samples
from fuzz.inputs import Input
from fuzz.mutations import TEXTS, TIMES, mangled_bytes, mangled_json, mangled_record, nasty_value
from ingestion.cells import cell_of
from movies.tests import exports
from standins import histories
from tests.files import row, xlsx_of

CSV, NDJSON, XLSX, PARQUET, ZIP = (
    "text/csv",
    "application/x-ndjson",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.apache.parquet",
    "application/zip",
)
OPTIONS = (
    "dry_run=true",
    "again=true",
    "missing=clear",
    "stream=x",
    "kind=diary",
    "sheet=Nowhere",
    "map=x:name",
    "map=%00",
    "user_id=.",
    "library=%FF",
    "name=%3Cb%3E",
)
NAMES = (
    "",
    "a.csv",
    "a.xlsx",
    "a.zip",
    "../../etc/passwd",
    "a\0.csv",
    "é.csv",
    "x" * 300,
    "watched.csv",
    "a.csv.gz",
    "a.parquet",
)
Make = Callable[[Random, str], tuple[bytes, str]]
"""(contents, content type) of a file of a stream."""


def make(chance: Random) -> Input:
    if chance.random() < 0.35:
        return foreign(chance)
    stream = samples.stream_name(chance)
    if chance.random() < 0.3:
        return table(chance, stream)
    content, kind = chance.choice((as_csv, as_lines, as_list, as_workbook, as_parquet))(chance, stream)
    return upload(chance, content, kind, stream)


def upload(chance: Random, content: bytes, kind: str, stream: str, **fields: str) -> Input:
    query = {"stream": stream, **fields} if chance.random() < 0.9 else dict(fields)
    text, is_usual = urlencode(query), True
    if chance.random() < 0.15:
        text, is_usual = f"{text}&{chance.choice(OPTIONS)}", False
    if chance.random() < 0.1:
        text, is_usual = f"{text}&{urlencode({'name': chance.choice(NAMES)})}", False
    if chance.random() < 0.3:
        content, is_usual = mangled_bytes(chance, content), False
    if chance.random() < 0.1:
        content = gzip.compress(content, 1, mtime=0)
    if chance.random() < 0.05:
        kind, is_usual = chance.choice((CSV, NDJSON, XLSX, PARQUET, ZIP, "application/json", "text/plain")), False
    return Input(
        kind="file", stream=stream, path=f"/api/uploads?{text}", body=content, content_type=kind, is_usual=is_usual
    )


def mangled(chance: Random, stream: str) -> dict[str, Any]:
    """A record with the members of a valid one."""
    found = (
        mangled_record(chance, stream, samples.record(chance, stream))
        if chance.random() < 0.7
        else samples.record(chance, stream)
    )
    return found if isinstance(found, dict) else samples.record(chance, stream)


# Files with the fields of a stream.


def table(chance: Random, stream: str) -> Input:
    """A table whose cells are known, so that it can be compared with what was made of it."""
    columns = list(samples.pool(stream)[0])
    rows = []
    for _ in range(chance.choice((1, 3, 8))):
        cells = {name: cell_of(value) for name, value in samples.record(chance, stream).items() if name in columns}
        for _ in range(chance.randrange(3)):
            text = chance.choice((*TEXTS, *TIMES, str(nasty_value(chance))))
            cells[chance.choice(columns)] = text.replace("\0", "").encode("utf-8", "replace").decode()
        rows.append({name: cells.get(name, "") for name in columns})
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, columns, delimiter=chance.choice(",;\t"), quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    path = f"/api/uploads?{urlencode({'stream': stream, 'missing': 'clear', 'again': 'true'})}"
    return Input(
        kind="file", stream=stream, path=path, body=out.getvalue().encode(), content_type=CSV, is_usual=True, cells=rows
    )


def as_csv(chance: Random, stream: str) -> tuple[bytes, str]:
    records = [mangled(chance, stream) for _ in range(chance.choice((1, 3, 8)))]
    columns = list(dict.fromkeys(name for each in records for name in each))
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=chance.choice(",;\t"), lineterminator=chance.choice(("\n", "\r\n", "\r")))
    writer.writerow(columns)
    for each in records:
        writer.writerow([cell_of(each.get(name)) for name in columns][: chance.choice((None, None, None, 2))])
    return out.getvalue().encode(chance.choice(("utf-8", "utf-8-sig", "utf-16", "cp1252")), "replace"), CSV


def as_lines(chance: Random, stream: str) -> tuple[bytes, str]:
    lines = [json.dumps(mangled(chance, stream)).encode() for _ in range(chance.choice((1, 3, 8)))]
    lines = [mangled_json(chance, line) if chance.random() < 0.2 else line for line in lines]
    return b"\n".join(lines), NDJSON


def as_list(chance: Random, stream: str) -> tuple[bytes, str]:
    body = json.dumps([mangled(chance, stream) for _ in range(chance.choice((1, 3, 8)))], indent=1).encode()
    return (mangled_json(chance, body) if chance.random() < 0.2 else body), "application/json"


def as_workbook(chance: Random, stream: str) -> tuple[bytes, str]:
    records = [mangled(chance, stream) for _ in range(chance.choice((1, 3)))]
    columns = list(samples.pool(stream)[0])
    rows = [row(1, *columns), *(row(i, *map(_for_sheet, map(each.get, columns))) for i, each in enumerate(records, 2))]
    return damaged(chance, xlsx_of(Sheet=rows)), XLSX


def _for_sheet(value: Any) -> Any:
    """What a cell of a workbook can hold: XML has no control characters."""
    if isinstance(value, bool | None) or (isinstance(value, int | float) and abs(value) < 1e300):
        return value
    return re.sub("[^\t\n -\ud7ff\ue000-\ufffd]", "", cell_of(value)).removeprefix("<c")


def as_parquet(chance: Random, stream: str) -> tuple[bytes, str]:
    records = [mangled(chance, stream) for _ in range(chance.choice((1, 3)))]
    columns = list(dict.fromkeys(name for each in records for name in each))
    series = [_column(name, [each.get(name) for each in records]) for name in columns if name.isprintable() and name]
    out = io.BytesIO()
    pl.DataFrame(series).write_parquet(out)
    return out.getvalue(), PARQUET


def _column(name: str, values: list[Any]) -> pl.Series:
    """Of the values' own type where they have one that such a file can hold, else of texts."""
    with suppress(TypeError, OverflowError, ValueError, pl.exceptions.PolarsError):
        series = pl.Series(name, values, strict=True)
        pl.DataFrame([series]).write_parquet(io.BytesIO())
        return series
    texts = [None if each is None else str(each).encode("utf-8", "replace").decode() for each in values]
    return pl.Series(name, texts, dtype=pl.String)


# Files of other systems.


@cache
def corpus() -> list[tuple[str, bytes, str, dict[str, str]]]:
    """(stream, contents, content type, fields) of exports as people have them."""
    film, viewing = exports.film, exports.viewing
    letterboxd = exports.archive(
        {
            "watched.csv": [film("Heat", 1995, "a1"), film("Ran", 1985, "a2")],
            "ratings.csv": [film("Heat", 1995, "a1", Rating="4.5")],
            "diary.csv": [viewing("Ran", 1985, "v1", Rating="4", Tags="cinema, friends", Rewatch="Yes")],
            "reviews.csv": [viewing("Ran", 1985, "v1", Review="Good.\n\nVery.")],
            "likes/films.csv": [film("Ran", 1985, "a2")],
        }
    )
    imports = b"tmdbID,Title,Year,Rating10,WatchedDate\n603,The Matrix,1999,9,2024-05-01\n,Ran,1985,7,\n"
    plays = histories.make_plays(6)
    return [
        ("entries", letterboxd, ZIP, {"library": "anna"}),
        ("entries", imports, CSV, {"library": "anna"}),
        ("listens", histories.zipped(histories.spotify_history(plays, podcasts=1)), ZIP, {"user_id": "ada"}),
        ("listens", histories.endsong(plays), "application/json", {}),
        ("listens", histories.zipped(histories.spotify_account(plays)), ZIP, {"user_id": "ada"}),
        ("listens", histories.recently_played(plays), "application/json", {"user_id": "ada"}),
        ("listens", histories.zipped(histories.listenbrainz(plays)), ZIP, {}),
        ("listens", histories.listenbrainz_json(plays), "application/json", {"user_id": "ada"}),
        ("listens", histories.lastfm(plays), CSV, {"user_id": "ada"}),
    ]


def foreign(chance: Random) -> Input:
    stream, content, kind, fields = chance.choice(corpus())
    if kind == ZIP:
        content = damaged(chance, content)
    elif kind == CSV:
        content = changed_cells(chance, content)
    else:
        content = mangled_json(chance, content)
    return replace(upload(chance, content, kind, stream, **fields), is_usual=False)


def changed_cells(chance: Random, content: bytes) -> bytes:
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    for _ in range(chance.choice((1, 2, 5))):
        line = chance.choice(rows)
        line[chance.randrange(len(line))] = chance.choice((*TEXTS, *TIMES)) if chance.random() < 0.9 else "x\0"
    out = io.StringIO(newline="")
    csv.writer(out).writerows(rows)
    return out.getvalue().encode("utf-8", "replace")


def damaged(chance: Random, archive: bytes) -> bytes:
    """The archive with one of its files mangled, left out, renamed or packed in another way."""
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        members = {each.filename: opened.read(each) for each in opened.infolist()}
    name = chance.choice(list(members))
    changed: Iterable[tuple[str, bytes]] = members.items()
    match chance.randrange(6):
        case 0:
            changed = [(each, body) for each, body in members.items() if each != name]
        case 1:
            new = chance.choice((name.upper(), f"x/{name}", "../x.csv", "é.csv", name + ".bak", "a" * 200))
            changed = [(new if each == name else each, body) for each, body in members.items()]
        case 2:
            changed = [*members.items(), (chance.choice(("x.csv", "y.json", "deleted/diary.csv")), members[name])]
        case 3 | 4:
            body = mangled_bytes(chance, members[name])
            changed = (members | {name: body}).items()
    out = io.BytesIO()
    method = chance.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(out, "w", method) as zipped:
        for path, body in changed:
            zipped.writestr(zipfile.ZipInfo(path, (2025, 6, 30, 8, 30, 0)), body, method)
    return out.getvalue()

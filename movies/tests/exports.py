"""Exports of Letterboxd, as its ZIP archive is laid out, for tests."""

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any

from enrichment import completion
from ingestion.files.sets import Options, SentFile, inspect_sent
from ingestion.files.uploads import ingest_files
from ingestion.models import Upload
from movies.layouts import FILM, REVIEW, VIEWING
from tests.records import work_off

FIRST = datetime(2026, 1, 10, 12, 0, 0)  # noqa: DTZ001 (archives have times without a zone)
SECOND = datetime(2026, 3, 20, 18, 30, 0)  # noqa: DTZ001
HEADERS: dict[str, Sequence[str]] = {
    "watched.csv": FILM,
    "ratings.csv": (*FILM, "Rating"),
    "diary.csv": VIEWING,
    "reviews.csv": REVIEW,
    "watchlist.csv": FILM,
    "likes/films.csv": FILM,
    "deleted/diary.csv": VIEWING,
    "deleted/reviews.csv": REVIEW,
    "orphaned/diary.csv": VIEWING,
    "orphaned/reviews.csv": REVIEW,
}
Line = Mapping[str, Any]


def film(name: str, year: int | None, link: str, **cells: Any) -> dict[str, Any]:
    """A line of watched.csv, ratings.csv and the like."""
    uri = f"https://boxd.it/{link}" if link else ""
    return {"Date": "2025-06-01", "Name": name, "Year": year or "", "Letterboxd URI": uri, **cells}


def viewing(name: str, year: int | None, link: str, day: str = "2025-05-31", **cells: Any) -> dict[str, Any]:
    """A line of diary.csv or reviews.csv."""
    return film(name, year, link, **{"Watched Date": day, **cells})


def table(header: Sequence[str], lines: Sequence[Line]) -> bytes:
    file = io.StringIO()
    writer = csv.DictWriter(file, header, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return file.getvalue().encode()


def archive(files: Mapping[str, Sequence[Line]], at: datetime = FIRST) -> bytes:
    """The ZIP of an export made at this time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path, lines in files.items():
            member = zipfile.ZipInfo(path, at.timetuple()[:6])
            zipped.writestr(member, table(HEADERS[path], lines))
    return out.getvalue()


def send(content: bytes, library: str = "anna", name: str = "letterboxd.zip", **options: Any) -> Upload:
    """Uploads a file for a library; nothing is worked off."""
    with ExitStack() as opened:
        sent = SentFile(file=io.BytesIO(content), name=name)
        files = inspect_sent([sent], Options(fields={"library": library}, **options), opened)
        [upload] = ingest_files(files, "test")
        return upload


def upload(content: bytes, library: str = "anna", name: str = "letterboxd.zip", **options: Any) -> Upload:
    """Uploads a file for a library, and works everything off but questions."""
    sent = send(content, library, name, **options)
    finish()
    sent.refresh_from_db()
    return sent


def finish() -> None:
    work_off()
    while completion.run_next_step():
        pass


def upload_export(files: Mapping[str, Sequence[Line]], at: datetime = FIRST, library: str = "anna") -> Upload:
    return upload(archive(files, at), library, f"letterboxd-{library}.zip")

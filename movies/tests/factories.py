"""Rows of a library, as storing and looking up would have left them."""

from __future__ import annotations

from datetime import date
from itertools import count
from typing import Any

from django.utils import timezone

from enrichment.lookups.models import Lookup
from ingestion.models import Delivery, Upload
from movies.models import Entry, Film, FilmKind, Kind, Library, LibraryFilm, Match

_numbers = count(1)


def library(name: str = "anna", **columns: Any) -> Library:
    return Library.objects.create(name=name, **{"client": "public", "linked_at": timezone.now(), **columns})


def film(title: str, **columns: Any) -> Film:
    number = next(_numbers)
    kind = columns.get("kind", FilmKind.MOVIE)
    defaults = {"kind": kind, "tmdb_id": number, "title": title, "fetched_at": timezone.now()}
    return Film.objects.create(film_key=f"{kind}-{number}", **defaults | columns)


def library_film(of: Library, title: str, match: Match = Match.FOUND, **columns: Any) -> LibraryFilm:
    """Found unless said otherwise, with a film of TMDB's of that title; `film` has columns of that."""
    number, found = next(_numbers), columns.pop("film", {})
    lookup = Lookup.objects.create(
        provider="tmdb", kind="match", key=f"key-{number}", status=match, candidates=columns.pop("candidates", [])
    )
    defaults = {"title": title, "year": 1999, "lookup": lookup, "match": match, "seen": True}
    defaults["tmdb_film"] = film(title, **found) if match == Match.FOUND else None
    return LibraryFilm.objects.create(film_id=f"film-{number:06}", library=of.name, **defaults | columns)


def viewing(of: LibraryFilm, day: date | None, **columns: Any) -> Entry:
    defaults = {"kind": Kind.DIARY, "title": of.title, "year": of.year, "watched_on": day, "film_id": of.pk}
    versions = {"version_at": timezone.now(), "delivery": 0, "position": 0, "warnings": []}
    return Entry.objects.create(entry_id=f"entry-{next(_numbers)}", library=of.library, **versions | defaults | columns)


def upload(of: Library, name: str = "export.zip", **columns: Any) -> Upload:
    """One file, with a delivery of three lines that are stored."""
    row = Upload.objects.create(
        stream="entries", client=of.client, name=name, format=Upload.Format.CSV, size=100, offset=100,
        sha256="0" * 64, fingerprint=f"{next(_numbers)}", given={"library": of.name}, finished_at=timezone.now(),
        **columns,
    )  # fmt: skip
    Delivery.objects.create(
        stream="entries", client=of.client, upload=row, body=b"{}", count=3, inserted=3, processed_at=timezone.now()
    )
    return row

"""A library as plain rows, in two queries whatever its size."""

from __future__ import annotations

import re
from typing import NamedTuple

from movies.library_films import counting
from movies.models import Kind, Library, LibraryFilm
from movies.pages.statistics import FilmRow, Viewing

COLUMNS = {
    "id": "film_id",
    "title": "title",
    "year": "year",
    "uri": "letterboxd_uri",
    "match": "match",
    "rating": "rating",
    "seen": "seen",
    "liked": "liked",
    "watchlist": "watchlist",
    "viewings": "viewings",
    "kind": "tmdb_film__kind",
    "tmdb_id": "tmdb_film__tmdb_id",
    "tmdb_title": "tmdb_film__title",
    "poster_path": "tmdb_film__poster_path",
    "runtime": "tmdb_film__runtime",
    "genres": "tmdb_film__genres",
    "directors": "tmdb_film__directors",
    "cast": "tmdb_film__cast",
    "countries": "tmdb_film__countries",
    "languages": "tmdb_film__languages",
    "vote_average": "tmdb_film__vote_average",
    "vote_count": "tmdb_film__vote_count",
}
"""Field of a row → where it is."""
NOT_NULL = {"uri": "", "kind": "", "tmdb_title": "", "poster_path": "", "vote_count": 0} | dict.fromkeys(
    ("genres", "directors", "cast", "countries", "languages"), ()
)
VIEWINGS = (Kind.DIARY, Kind.IMPORT, Kind.REVIEWS)
VIEWING = ("film", "title", "watched_on", "rating", "rewatch")
LETTERBOXD = re.compile(r"https://(?:(?:www\.)?letterboxd\.com|boxd\.it)/[\w/~.-]*", re.ASCII)


class Contents(NamedTuple):
    films: list[FilmRow]
    viewings: list[Viewing]


def read_library(library: Library) -> Contents:
    return Contents(films_of(library), viewings_of(library))


def films_of(library: Library) -> list[FilmRow]:
    """In order of title."""
    rows = LibraryFilm.objects.filter(library=library.name).order_by("title", "year", "film_id")
    return [film_row(dict(zip(COLUMNS, values, strict=True))) for values in rows.values_list(*COLUMNS.values())]


def film_row(values: dict[str, object]) -> FilmRow:
    for name, instead in NOT_NULL.items():
        if values[name] is None:
            values[name] = instead
    if not LETTERBOXD.fullmatch(str(values["uri"])):
        values["uri"] = ""  # nobody is led to an address that somebody wrote into a file
    return FilmRow(**values)  # type: ignore[arg-type]


def viewings_of(library: Library) -> list[Viewing]:
    """Those with a day, in order: lines of the diary and of imports, and reviews of viewings that have no such line."""
    lines = counting(library.name).filter(kind__in=VIEWINGS, watched_on__isnull=False).order_by("watched_on", "pk")
    found = list(lines.values_list("kind", *VIEWING))
    known = {(film or title, day) for kind, film, title, day, *_ in found if kind != Kind.REVIEWS}
    return [
        Viewing(film=film or "", title=title, day=day, rating=rating, rewatch=rewatch)
        for kind, film, title, day, rating, rewatch in found
        if kind != Kind.REVIEWS or (film or title, day) not in known
    ]

"""The filters and orders of the grid of posters: of a query string, over plain rows."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import urlencode

from ingestion.text import plain
from movies.pages.statistics import FilmRow, Viewing, shares

PAGE_SIZE = 60
MAX_VALUE = 200
"""Characters of a value that are looked at."""
MAX_IGNORED, MAX_SHORT = 5, 40
"""Unknown parameters that are named, and characters of a name."""
MATCHES = {
    "found": "Found",
    "ambiguous": "Unsure match",
    "not_found": "Not found",
    "failed": "Lookup failed",
    "open": "Not looked up yet",
}
LISTS = {"seen": "Watched", "liked": "Liked", "watchlist": "Watchlist", "rewatched": "Watched more than once"}
KINDS = {"movie": "Films", "tv": "Series"}


@dataclass(frozen=True)
class Filter:
    """One parameter of the query string."""

    label: str
    fits: Callable[[FilmRow, str], bool]
    say: Callable[[str], str] = str
    """A value in words."""


def _decade(film: FilmRow, value: str) -> bool:
    return film.year is not None and value == str(film.year // 10 * 10)


def _is_listed(film: FilmRow, value: str) -> bool:
    return film.viewings > 1 if value == "rewatched" else value in LISTS and bool(getattr(film, value))


def _holds(name: str) -> Callable[[FilmRow, str], bool]:
    return lambda film, value: value in getattr(film, name)


def _says(film: FilmRow, value: str) -> bool:
    return value.casefold() in f"{film.title}\n{film.tmdb_title}".casefold()


FILTERS: dict[str, Filter] = {
    "q": Filter("Title", _says),
    "list": Filter("List", _is_listed, lambda value: LISTS.get(value, value)),
    "year": Filter("Year", lambda film, value: str(film.year) == value),
    "decade": Filter("Decade", _decade, lambda value: f"{value}s"),
    "rating": Filter(
        "My rating",
        lambda film, value: value == ("none" if film.rating is None else f"{film.rating:g}"),
        lambda value: "none" if value == "none" else f"{value} ★",
    ),
    "genre": Filter("Genre", _holds("genres")),
    "director": Filter("Director", _holds("directors")),
    "actor": Filter("Actor", _holds("cast")),
    "country": Filter("Country", _holds("countries")),
    "language": Filter("Language", _holds("languages")),
    "kind": Filter("Kind", lambda film, value: film.kind == value, lambda value: KINDS.get(value, value)),
    "match": Filter("TMDB", lambda film, value: film.match == value, lambda value: MATCHES.get(value, value)),
}
WATCHED = "watched"
"""A year, month or day of viewings, such as 2024-03."""
LABELS = {**{name: each.label for name, each in FILTERS.items()}, WATCHED: "Watched in"}

Key = Callable[[FilmRow], Any]


@dataclass(frozen=True)
class Order:
    label: str
    key: Key
    """Rows without a value come last: None sorts so."""
    descending: bool = False


ORDERS: dict[str, Order] = {
    "title": Order("Title", lambda film: film.title.casefold()),
    "newest": Order("Newest release", lambda film: film.year, descending=True),
    "oldest": Order("Oldest release", lambda film: film.year),
    "rating": Order("My rating", lambda film: film.rating, descending=True),
    "public": Order("Rating at TMDB", lambda film: film.public, descending=True),
    "higher": Order("I rate it higher", lambda film: film.difference, descending=True),
    "lower": Order("I rate it lower", lambda film: film.difference),
    "longest": Order("Longest", lambda film: film.runtime, descending=True),
    "shortest": Order("Shortest", lambda film: film.runtime),
    "viewings": Order("Most viewings", lambda film: film.viewings or None, descending=True),
    "random": Order("Surprise me", lambda film: random.random()),  # noqa: S311 (no secret)
}


@dataclass(frozen=True)
class Selection:
    """What a query string asks for."""

    values: Mapping[str, str] = field(default_factory=dict)
    order: str = "title"
    page: int = 1
    ignored: Sequence[str] = ()
    """Sentences about what it does not know."""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Selection:
        """Reads what it knows: a link that somebody has changed shows too much, and says so, rather than an error."""
        values = {name: query[name].strip()[:MAX_VALUE] for name in (*FILTERS, WATCHED) if query.get(name, "").strip()}
        page = query.get("page", "")
        return cls(
            values,
            query["sort"] if query.get("sort") in ORDERS else "title",
            int(page) if page.isascii() and page.isdecimal() and 0 < len(page) < 6 else 1,
            _ignored(query),
        )

    @property
    def is_surprise(self) -> bool:
        return self.order == "random" and self.values.get("list") == "watchlist"

    def apply(self, films: Iterable[FilmRow], viewings: Iterable[Viewing]) -> list[FilmRow]:
        found = [film for film in films if all(FILTERS[name].fits(film, value) for name, value in self._own)]
        if WATCHED in self.values:
            watched = {viewing.film for viewing in viewings if _was_in(viewing.day, self.values[WATCHED])}
            found = [film for film in found if film.id in watched]
        return ordered(found, ORDERS[self.order])

    @property
    def _own(self) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self.values.items() if name in FILTERS]

    def query(self, **changes: str | int | None) -> str:
        """The query string with these changes; None takes a parameter away. It begins at the first page."""
        asked: dict[str, str | int | None] = {**self.values, "sort": self.order if self.order != "title" else None}
        return query_of(asked | changes)

    def chips(self) -> list[tuple[str, str, str]]:
        """Of each filter its label, its value in words, and the query string without it."""
        return [
            (LABELS[name], FILTERS[name].say(value) if name in FILTERS else value, self.query(**{name: None}))
            for name, value in self.values.items()
        ]


def _ignored(query: Mapping[str, str]) -> list[str]:
    names = [name for name in query if name not in (*FILTERS, WATCHED, "sort", "page")]
    found = [f"There is no filter “{_short(name)}”." for name in names[:MAX_IGNORED]]
    if query.get("sort", "title") not in ("", *ORDERS):
        found.append(f"There is no order “{_short(query['sort'])}”.")
    return found


def _short(text: str) -> str:
    return plain(text[:MAX_SHORT])


def query_of(values: Mapping[str, str | int | None]) -> str:
    return "?" + urlencode({name: value for name, value in values.items() if value is not None})


def _was_in(day: date | None, period: str) -> bool:
    return day is not None and f"{day.isoformat()}-".startswith(f"{period}-")


def ordered(films: Iterable[FilmRow], order: Order) -> list[FilmRow]:
    """Ties and films without a value stay in the order in which they come."""
    keyed = [(order.key(film), film) for film in films]
    known = sorted((pair for pair in keyed if pair[0] is not None), key=lambda pair: pair[0], reverse=order.descending)
    return [film for _, film in known] + [film for key, film in keyed if key is None]


@dataclass(frozen=True)
class Choice:
    """A list to choose from in the form: (value, text) with those there are in the library."""

    name: str
    label: str
    options: Sequence[tuple[str, str]]
    value: str


def choices(films: Sequence[FilmRow], selection: Selection) -> list[Choice]:
    options: dict[str, list[tuple[str, str]]] = {
        "list": list(LISTS.items()),
        "decade": [(str(decade), f"{decade}s") for decade in _decades(films)],
        "rating": [(f"{number / 2:g}", f"{number / 2:g} ★") for number in range(10, 0, -1)] + [("none", "none")],
        "genre": _names(films, lambda film: film.genres),
        "country": _names(films, lambda film: film.countries),
        "language": _names(films, lambda film: film.languages),
        "kind": list(KINDS.items()),
        "match": list(MATCHES.items()),
    }
    return [
        Choice(name, LABELS[name], of_name, selection.values.get(name, ""))
        for name, of_name in options.items()
        if of_name
    ]


def _decades(films: Iterable[FilmRow]) -> list[int]:
    return sorted({film.year // 10 * 10 for film in films if film.year}, reverse=True)


def _names(films: Iterable[FilmRow], names_of: Callable[[FilmRow], Iterable[str]]) -> list[tuple[str, str]]:
    found = shares(films, names_of)
    return sorted((share.name, f"{share.name} ({share.films:,})") for share in found if share.name)

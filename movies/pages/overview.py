"""What the overview of a library shows: figures, charts and rankings, each leading to the films that it counts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.utils.safestring import SafeString

from console.charts import bars
from ingestion.text import thousands
from movies.pages import drawings
from movies.pages.filters import query_of
from movies.pages.rows import Contents
from movies.pages.statistics import (
    MIN_RATED,
    RATINGS,
    Calendar,
    FilmRow,
    Share,
    Viewing,
    calendar_of,
    statistics_of,
)

FOLDED = 12
"""Rows of a ranking before the rest is folded."""
MAX_ROWS = 200
"""Of a ranking that is unfolded."""


@dataclass(frozen=True)
class Row:
    name: str
    link: str
    films: int
    average: float | None
    percent: float
    """Of the longest bar."""


@dataclass(frozen=True)
class Ranking:
    title: str
    heading: str
    rows: Sequence[Row]
    note: str = ""

    @property
    def first(self) -> Sequence[Row]:
        return self.rows[:FOLDED]

    @property
    def rest(self) -> Sequence[Row]:
        return self.rows[FOLDED:]


@dataclass(frozen=True)
class Entry:
    """A line of a list of films."""

    film: FilmRow
    link: str
    text: str


@dataclass(frozen=True)
class FilmList:
    title: str
    entries: Sequence[Entry]
    note: str = ""


class Overview:
    """`films_url` is the address of the grid."""

    def __init__(self, contents: Contents, films_url: str, year: int | None = None) -> None:
        self.films_url = films_url
        self.contents = contents
        self.numbers = statistics_of(contents.films, contents.viewings)
        years = self.numbers.years
        self.year = year if year in years else next(iter(years), None)

    def context(self) -> dict[str, Any]:
        return {
            "numbers": self.numbers,
            "figures": self.figures(),
            "by_year": self.by_year(),
            "by_decade": self.by_decade(),
            "by_rating": self.by_rating(),
            "calendar": self.calendar(),
            "rankings": [ranking for ranking in self.rankings() if ranking.rows],
            "film_lists": [films for films in self.film_lists() if films.entries],
            "first_and_last": self.first_and_last(),
        }

    def link(self, **values: str | int) -> str:
        return self.films_url + query_of(values)

    def figures(self) -> list[tuple[str, str, str, str]]:
        """Number, what it is, where it leads, and a note."""
        numbers = self.numbers
        partly = f"{numbers.without_runtime:,} of unknown length not counted" if numbers.without_runtime else ""
        watchlist = f"{round(numbers.watchlist_minutes / 60):,} hours" if numbers.watchlist_minutes else ""
        return [
            (thousands(numbers.seen), "watched", self.link(list="seen"), ""),
            (thousands(numbers.hours), "hours", self.link(list="seen", sort="longest"), partly),
            (thousands(numbers.viewings), "in the diary", "", f"{numbers.rewatches:,} rewatches"),
            (
                "–" if numbers.average is None else f"{numbers.average:.2f} ★",
                "on average",
                self.link(list="seen", sort="rating"),
                f"{numbers.rated:,} rated",
            ),
            (thousands(numbers.liked), "liked", self.link(list="liked"), ""),
            (thousands(numbers.watchlist), "on the watchlist", self.link(list="watchlist"), watchlist),
        ]

    def by_year(self) -> SafeString:
        labels = [str(year) for year, _ in self.numbers.by_year]
        links = [self.link(list="seen", year=year) for year in labels]
        return self._bars("Release years", labels, self.numbers.by_year, links, "Year")

    def by_decade(self) -> SafeString:
        labels = [f"{decade}s" for decade, _ in self.numbers.by_decade]
        links = [self.link(list="seen", decade=decade) for decade, _ in self.numbers.by_decade]
        return self._bars("Decades", labels, self.numbers.by_decade, links, "Decade")

    def by_rating(self) -> SafeString:
        labels = [f"{rating:g} ★" for rating, _ in self.numbers.by_rating]
        links = [self.link(list="seen", rating=f"{rating:g}") for rating, _ in self.numbers.by_rating]
        return self._bars("Ratings", labels, self.numbers.by_rating, links, "Rating")

    def _bars(
        self, title: str, labels: Sequence[str], counts: Iterable[tuple[float, int]], links: Sequence[str], heading: str
    ) -> SafeString:
        values = [number for _, number in counts]
        return bars(labels, values, title=title, heading=heading, links=links, empty="No films yet.")

    def calendar(self) -> dict[str, Any] | None:
        if self.year is None:
            return None
        year = calendar_of(self.year, self.contents.viewings)
        return {
            "year": year,
            "years": self.numbers.years,
            "drawing": drawings.calendar(year, lambda day: self.link(watched=day.isoformat())),
            "months": self._months(year),
            "days": [(day, self.link(watched=day.day.isoformat())) for day in year.days],
        }

    def _months(self, year: Calendar) -> SafeString:
        links = [self.link(watched=f"{year.year:04}-{month:02}") for month in range(1, 13)]
        title = f"Viewings by month, {year.year}"
        return bars(drawings.MONTHS, year.months, title=title, heading="Month", links=links)

    def rankings(self) -> list[Ranking]:
        numbers, rated = self.numbers, f"at least {MIN_RATED} rated"
        return [
            self._ranking("Genres", "Genre", "genre", numbers.genres),
            self._ranking("Countries", "Country", "country", numbers.countries),
            self._ranking("Languages", "Language", "language", numbers.languages),
            self._ranking("Directors", "Director", "director", numbers.directors, "most watched"),
            self._ranking("Best directors", "Director", "director", numbers.best_directors, rated, by_rating=True),
            self._ranking("Actors", "Actor", "actor", numbers.actors, "most watched"),
            self._ranking("Best actors", "Actor", "actor", numbers.best_actors, rated, by_rating=True),
        ]

    def _ranking(
        self,
        title: str,
        heading: str,
        parameter: str,
        shares: Sequence[Share],
        note: str = "",
        *,
        by_rating: bool = False,
    ) -> Ranking:
        shares = shares[:MAX_ROWS]
        sizes = [(share.average or 0) if by_rating else share.films for share in shares]
        most = RATINGS[-1] if by_rating else max(sizes, default=1)
        rows = [
            Row(
                share.name,
                self.link(list="seen", **{parameter: share.name}),
                share.films,
                share.average,
                round(100 * size / most, 1),
            )
            for share, size in zip(shares, sizes, strict=True)
        ]
        return Ranking(title, heading, rows, note)

    def film_lists(self) -> list[FilmList]:
        numbers = self.numbers
        return [
            self._films("Longest", numbers.longest, lambda film: length(film.runtime)),
            self._films("Shortest", numbers.shortest, lambda film: length(film.runtime)),
            self._films("Watched most often", numbers.most_seen, lambda film: f"{film.viewings}×"),
            self._films("Rated higher", numbers.higher, _compared, "than by the public"),
            self._films("Rated lower", numbers.lower, _compared, "than by the public"),
        ]

    def _films(self, title: str, films: Iterable[FilmRow], text: Callable[[FilmRow], str], note: str = "") -> FilmList:
        return FilmList(title, [Entry(film, self.link(q=film.title), text(film)) for film in films], note)

    def first_and_last(self) -> Mapping[str, tuple[Viewing, str]]:
        found = {"First": self.numbers.first, "Latest": self.numbers.last}
        return {name: (viewing, self.link(watched=_iso(viewing.day))) for name, viewing in found.items() if viewing}


def _iso(day: date | None) -> str:
    return day.isoformat() if day else ""


def _compared(film: FilmRow) -> str:
    return f"{film.rating:g} ★, public {film.public:.1f} ★"


def length(minutes: int | None) -> str:
    """In hours and minutes, which a line does not break."""
    hours, rest = divmod(minutes or 0, 60)
    text = " ".join([*([f"{hours} h"] if hours else []), *([f"{rest} min"] if rest else [])])
    return text.replace(" ", "\N{NO-BREAK SPACE}")

"""Numbers of a library, from its films and viewings as plain rows: no query, no clock."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from statistics import fmean

MIN_RATED = 3
"""Rated films that a person must have before being listed as best rated."""
MIN_VOTES = 20
"""Votes below which the public's rating is an accident."""
MOST = 10
"""Rows of a ranking."""
RATINGS = tuple(number / 2 for number in range(1, 11))


@dataclass(frozen=True, slots=True, kw_only=True)
class FilmRow:
    """A film of a library, with what the provider knows of it; empty where it was not found."""

    id: str
    title: str
    year: int | None = None
    uri: str = ""
    match: str = "open"
    rating: float | None = None
    """0.5 to 5, in halves."""
    seen: bool = False
    liked: bool = False
    watchlist: bool = False
    viewings: int = 0
    kind: str = ""
    tmdb_id: int | None = None
    tmdb_title: str = ""
    poster_path: str = ""
    runtime: int | None = None
    """Minutes."""
    genres: Sequence[str] = ()
    directors: Sequence[str] = ()
    cast: Sequence[str] = ()
    countries: Sequence[str] = ()
    languages: Sequence[str] = ()
    vote_average: float | None = None
    """0 to 10."""
    vote_count: int = 0

    @property
    def public(self) -> float | None:
        """The public's rating, from 0 to 5 as one's own."""
        return self.vote_average / 2 if self.vote_average and self.vote_count >= MIN_VOTES else None

    @property
    def difference(self) -> float | None:
        """How much higher the own rating is than the public's."""
        return self.rating - self.public if self.rating is not None and self.public is not None else None

    @property
    def times(self) -> int:
        """How often it was seen: films may be marked as seen without a viewing."""
        return max(self.viewings, 1) if self.seen else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewing:
    """One line of a diary."""

    film: str
    """The id of its FilmRow; empty if it could not be told which."""
    title: str
    day: date | None = None
    rating: float | None = None
    rewatch: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """One bar of a ranking: a genre, a person, a country."""

    name: str
    films: int
    rated: int = 0
    average: float | None = None


@dataclass(frozen=True, kw_only=True)
class Statistics:
    seen: int = 0
    liked: int = 0
    watchlist: int = 0
    viewings: int = 0
    rated: int = 0
    average: float | None = None
    minutes: int = 0
    """Of all films seen, each as often as it was."""
    without_runtime: int = 0
    """Seen films whose length is not known."""
    watchlist_minutes: int = 0
    by_year: Sequence[tuple[int, int]] = ()
    """Every release year from the first to the last, with how many films were seen of it."""
    by_decade: Sequence[tuple[int, int]] = ()
    by_rating: Sequence[tuple[float, int]] = ()
    genres: Sequence[Share] = ()
    directors: Sequence[Share] = ()
    best_directors: Sequence[Share] = ()
    actors: Sequence[Share] = ()
    best_actors: Sequence[Share] = ()
    countries: Sequence[Share] = ()
    languages: Sequence[Share] = ()
    shortest: Sequence[FilmRow] = ()
    longest: Sequence[FilmRow] = ()
    most_seen: Sequence[FilmRow] = ()
    higher: Sequence[FilmRow] = ()
    """Rated much higher than by the public, most first."""
    lower: Sequence[FilmRow] = ()
    first: Viewing | None = None
    last: Viewing | None = None
    rewatches: int = 0
    years: Sequence[int] = ()
    """With viewings, the latest first."""

    @property
    def hours(self) -> int:
        return round(self.minutes / 60)


def statistics_of(films: Iterable[FilmRow], viewings: Sequence[Viewing]) -> Statistics:
    films = list(films)
    seen = [film for film in films if film.seen]
    ratings = [film.rating for film in seen if film.rating is not None]
    dated = sorted((viewing for viewing in viewings if viewing.day), key=_day)
    directors, actors = shares(seen, lambda film: film.directors), shares(seen, lambda film: film.cast)
    timed = sorted((film for film in seen if film.runtime), key=lambda film: (film.runtime or 0, film.title))
    return Statistics(
        seen=len(seen),
        liked=sum(film.liked for film in films),
        watchlist=sum(film.watchlist for film in films),
        viewings=len(viewings),
        rated=len(ratings),
        average=fmean(ratings) if ratings else None,
        minutes=sum(film.times * (film.runtime or 0) for film in seen),
        without_runtime=len(seen) - len(timed),
        watchlist_minutes=sum(film.runtime or 0 for film in films if film.watchlist),
        by_year=by_year(seen),
        by_decade=by_decade(seen),
        by_rating=by_rating(ratings),
        genres=shares(seen, lambda film: film.genres),
        directors=most_frequent(directors),
        best_directors=best_rated(directors),
        actors=most_frequent(actors),
        best_actors=best_rated(actors),
        countries=shares(seen, lambda film: film.countries),
        languages=shares(seen, lambda film: film.languages),
        shortest=timed[:MOST],
        longest=timed[::-1][:MOST],
        most_seen=_most_seen(seen),
        higher=_differing(seen, 1),
        lower=_differing(seen, -1),
        first=dated[0] if dated else None,
        last=dated[-1] if dated else None,
        rewatches=sum(viewing.rewatch for viewing in viewings),
        years=sorted({viewing.day.year for viewing in dated if viewing.day}, reverse=True),
    )


def by_year(films: Iterable[FilmRow]) -> list[tuple[int, int]]:
    counts = Counter(film.year for film in films if film.year)
    return [(year, counts[year]) for year in range(min(counts), max(counts) + 1)] if counts else []


def by_decade(films: Iterable[FilmRow]) -> list[tuple[int, int]]:
    counts = Counter(film.year // 10 * 10 for film in films if film.year)
    return [(decade, counts[decade]) for decade in range(min(counts), max(counts) + 1, 10)] if counts else []


def by_rating(ratings: Iterable[float]) -> list[tuple[float, int]]:
    counts = Counter(ratings)
    return [(rating, counts[rating]) for rating in RATINGS]


def shares(films: Iterable[FilmRow], names_of: Callable[[FilmRow], Iterable[str]]) -> list[Share]:
    """All names with their films, the most frequent first."""
    ratings: defaultdict[str, list[float]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for film in films:
        for name in dict.fromkeys(names_of(film)):
            counts[name] += 1
            if film.rating is not None:
                ratings[name].append(film.rating)
    found = [
        Share(name, number, len(ratings[name]), fmean(ratings[name]) if ratings[name] else None)
        for name, number in counts.items()
    ]
    return sorted(found, key=lambda share: (-share.films, share.name))


def most_frequent(found: Sequence[Share]) -> list[Share]:
    """Of more than one film, unless nobody has more."""
    several = [share for share in found if share.films > 1]
    return (several or list(found))[:MOST]


def best_rated(found: Iterable[Share]) -> list[Share]:
    rated = [share for share in found if share.rated >= MIN_RATED and share.average is not None]
    return sorted(rated, key=lambda share: (-(share.average or 0), -share.rated, share.name))[:MOST]


def _most_seen(seen: Iterable[FilmRow]) -> list[FilmRow]:
    again = [film for film in seen if film.viewings > 1]
    return sorted(again, key=lambda film: (-film.viewings, film.title))[:MOST]


def _differing(seen: Iterable[FilmRow], sign: int) -> list[FilmRow]:
    """The films with the greatest differences in this direction, of at least half a star."""
    found = [film for film in seen if film.difference is not None and film.difference * sign >= 0.5]
    return sorted(found, key=lambda film: (-abs(film.difference or 0), film.title))[:MOST]


def _day(viewing: Viewing) -> date:
    return viewing.day or date.min


# The calendar.


@dataclass(frozen=True, slots=True)
class Day:
    day: date
    viewings: int
    titles: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """The viewings of one year, by day and by month."""

    year: int
    days: Sequence[Day] = ()
    """Those with viewings, in order."""
    months: Sequence[int] = field(default_factory=lambda: [0] * 12)

    @property
    def viewings(self) -> int:
        return sum(self.months)

    @property
    def busiest(self) -> Day | None:
        return max(self.days, key=lambda day: (day.viewings, day.day), default=None)


def calendar_of(year: int, viewings: Iterable[Viewing]) -> Calendar:
    titles: defaultdict[date, list[str]] = defaultdict(list)
    months = [0] * 12
    for viewing in viewings:
        if viewing.day and viewing.day.year == year:
            titles[viewing.day].append(viewing.title)
            months[viewing.day.month - 1] += 1
    days = [Day(day, len(found), found) for day, found in sorted(titles.items())]
    return Calendar(year=year, days=days, months=months)

"""Numbers of a library: what is counted, and what is not."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from movies.pages.statistics import (
    MIN_RATED,
    FilmRow,
    Viewing,
    best_rated,
    calendar_of,
    shares,
    statistics_of,
)


def film(id: str, **columns: Any) -> FilmRow:
    return FilmRow(id=id, title=columns.pop("title", id), **{"seen": True, **columns})


def viewing(film: str, day: str, **columns: Any) -> Viewing:
    return Viewing(film=film, title=film, day=date.fromisoformat(day), **columns)


def test_only_films_that_were_seen_are_counted() -> None:
    numbers = statistics_of(
        [
            film("a", year=1999, runtime=120, viewings=3, rating=4.5, liked=True),
            film("b", year=2003, runtime=90, rating=2.0),
            film("c", seen=False, watchlist=True, year=1950, runtime=60, rating=5.0),
        ],
        [],
    )
    assert (numbers.seen, numbers.liked, numbers.watchlist, numbers.rated) == (2, 1, 1, 2)
    assert numbers.average == 3.25
    assert numbers.minutes == 3 * 120 + 90  # a film marked as seen was seen once
    assert numbers.hours == 8  # 7.5, to the even hour
    assert numbers.watchlist_minutes == 60
    assert numbers.by_year == [(1999, 1), (2000, 0), (2001, 0), (2002, 0), (2003, 1)]
    assert numbers.by_decade == [(1990, 1), (2000, 1)]
    assert dict(numbers.by_rating) == dict.fromkeys([n / 2 for n in range(1, 11)], 0) | {4.5: 1, 2.0: 1}


def test_nothing_is_a_library_too() -> None:
    numbers = statistics_of([], [])
    assert (numbers.seen, numbers.average, numbers.first, numbers.years) == (0, None, None, [])
    assert [count for _, count in numbers.by_rating] == [0] * 10
    assert (numbers.by_year, numbers.genres, numbers.longest) == ([], [], [])


def test_a_film_counts_once_for_each_name() -> None:
    found = shares(
        [film("a", genres=["Drama", "Crime", "Drama"], rating=5), film("b", genres=["Drama"]), film("c", genres=[])],
        lambda film: film.genres,
    )
    assert [(share.name, share.films, share.rated, share.average) for share in found] == [
        ("Drama", 2, 1, 5),
        ("Crime", 1, 1, 5),
    ]


def test_who_is_best_rated_has_enough_films() -> None:
    films = [film(f"a{i}", directors=["Ada"], rating=4) for i in range(MIN_RATED)]
    films += [film(f"b{i}", directors=["Bea"], rating=5) for i in range(MIN_RATED - 1)]
    films += [film(f"c{i}", directors=["Cy"], rating=4.5) for i in range(MIN_RATED)]
    found = best_rated(shares(films, lambda film: film.directors))
    assert [share.name for share in found] == ["Cy", "Ada"]


def test_the_public_is_believed_when_there_are_enough_of_it() -> None:
    films = [
        film("loved", rating=5, vote_average=5.0, vote_count=900),
        film("hated", rating=1, vote_average=8.0, vote_count=900),
        film("alike", rating=4, vote_average=8.4, vote_count=900),
        film("unknown", rating=5, vote_average=1.0, vote_count=2),
        film("unrated", vote_average=1.0, vote_count=900),
    ]
    numbers = statistics_of(films, [])
    assert [each.id for each in numbers.higher] == ["loved"]
    assert [each.id for each in numbers.lower] == ["hated"]
    assert numbers.lower[0].difference == -3


def test_films_of_unknown_length_are_named() -> None:
    numbers = statistics_of([film("a", runtime=240), film("b", runtime=None), film("c", runtime=7)], [])
    assert ([each.id for each in numbers.longest], [each.id for each in numbers.shortest]) == (["a", "c"], ["c", "a"])
    assert numbers.without_runtime == 1


def test_first_last_and_rewatches_are_of_the_diary() -> None:
    viewings = [
        viewing("b", "2021-05-01", rewatch=True),
        viewing("a", "0400-01-01"),  # people write what they like
        Viewing(film="c", title="c"),
        viewing("c", "2021-04-30"),
    ]
    numbers = statistics_of([film("a", viewings=1), film("b", viewings=4), film("c", viewings=2)], viewings)
    assert numbers.first
    assert numbers.last
    assert (numbers.first.film, numbers.last.film, numbers.rewatches, numbers.viewings) == ("a", "b", 1, 4)
    assert numbers.years == [2021, 400]
    assert [each.id for each in numbers.most_seen] == ["b", "c"]


def test_a_calendar_has_the_days_of_its_year() -> None:
    viewings = [viewing("a", "2020-12-31"), *(viewing(name, "2021-02-28") for name in "bc"), viewing("d", "2021-12-31")]
    calendar = calendar_of(2021, viewings)
    assert [(str(day.day), day.viewings, list(day.titles)) for day in calendar.days] == [
        ("2021-02-28", 2, ["b", "c"]),
        ("2021-12-31", 1, ["d"]),
    ]
    assert calendar.months == [0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert calendar.busiest
    assert (calendar.viewings, str(calendar.busiest.day)) == (3, "2021-02-28")


@pytest.mark.parametrize("year", [1, 2020, 2021, 2100])
def test_every_year_has_a_calendar(year: int) -> None:
    assert calendar_of(year, [viewing("a", f"{year:04}-12-31")]).viewings == 1

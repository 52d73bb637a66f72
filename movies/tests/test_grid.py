"""The grid of posters: filters, orders, and drawings in place of posters."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import date
from typing import Any

import pytest

from movies.pages.drawings import MAX_LINES, calendar, tile
from movies.pages.filters import FILTERS, LABELS, ORDERS, Selection, choices
from movies.pages.statistics import Day, FilmRow, Viewing, calendar_of

FILMS = [
    FilmRow(id="a", title="Amélie", year=2001, rating=4.5, seen=True, liked=True, viewings=2, runtime=122, kind="movie",
            genres=["Comedy"], directors=["Jeunet"], cast=["Tautou"], countries=["France"], languages=["French"],
            match="found", vote_average=7.9, vote_count=9000, tmdb_title="Le Fabuleux Destin"),
    FilmRow(id="b", title="Brazil", year=1985, seen=True, runtime=143, genres=["Comedy", "Drama"], match="found"),
    FilmRow(id="c", title="Chernobyl", year=2019, rating=5, watchlist=True, kind="tv", match="found"),
    FilmRow(id="d", title="Dune", match="ambiguous"),
]  # fmt: skip
VIEWINGS = [
    Viewing(film="a", title="Amélie", day=date(2020, 3, 5)),
    Viewing(film="b", title="Brazil", day=date(2021, 12, 1)),
    Viewing(film="", title="lost", day=date(2020, 3, 5)),
]


def selected(**query: str) -> str:
    return "".join(film.id for film in Selection.of(query).apply(FILMS, VIEWINGS))


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({}, "abcd"),
        ({"q": "  DESTIN "}, "a"),
        ({"list": "seen"}, "ab"),
        ({"list": "watchlist"}, "c"),
        ({"list": "liked"}, "a"),
        ({"list": "rewatched"}, "a"),
        ({"list": "id"}, ""),
        ({"year": "1985"}, "b"),
        ({"decade": "2000"}, "a"),
        ({"rating": "4.5"}, "a"),
        ({"rating": "5"}, "c"),
        ({"rating": "none"}, "bd"),
        ({"genre": "Comedy"}, "ab"),
        ({"genre": "Comedy", "director": "Jeunet"}, "a"),
        ({"actor": "Tautou", "country": "France", "language": "French"}, "a"),
        ({"kind": "tv"}, "c"),
        ({"match": "ambiguous"}, "d"),
        ({"watched": "2020"}, "a"),
        ({"watched": "2020-03"}, "a"),
        ({"watched": "2020-03-05"}, "a"),
        ({"watched": "202"}, ""),
        ({"watched": "2021-12-1"}, ""),
        ({"decade": "often", "page": "-1", "sort": "x"}, ""),
        ({"unknown": "x"}, "abcd"),
    ],
)
def test_filters(query: dict[str, str], ids: str) -> None:
    assert selected(**query) == ids


@pytest.mark.parametrize(
    ("order", "ids"),
    [
        ("newest", "cabd"),
        ("oldest", "bacd"),
        ("rating", "cabd"),
        ("longest", "bacd"),
        ("shortest", "abcd"),
        ("public", "abcd"),
        ("viewings", "abcd"),
        ("nonsense", "abcd"),
    ],
)
def test_orders(order: str, ids: str) -> None:
    """What has no value comes last, in either direction."""
    assert selected(sort=order) == ids


def test_every_order_takes_every_film() -> None:
    for order in ORDERS:
        assert sorted(selected(sort=order)) == list("abcd")


@pytest.mark.parametrize("page", ["0", "-3", "x", "1e3", "²", "999999999999999999999"])
def test_a_page_that_is_none_is_the_first(page: str) -> None:
    assert Selection.of({"page": page}).page <= 1


def test_a_filter_is_taken_away_by_its_chip() -> None:
    selection = Selection.of({"genre": "Drama & more", "year": "1985", "sort": "newest", "page": "3"})
    assert selection.chips() == [
        ("Year", "1985", "?genre=Drama+%26+more&sort=newest"),
        ("Genre", "Drama & more", "?year=1985&sort=newest"),
    ]
    assert selection.query(page=2) == "?year=1985&genre=Drama+%26+more&sort=newest&page=2"


def test_what_can_be_chosen_is_what_there_is() -> None:
    found = {choice.name: list(choice.options) for choice in choices(FILMS, Selection.of({"genre": "Drama"}))}
    assert found["genre"] == [("Comedy", "Comedy (2)"), ("Drama", "Drama (1)")]
    assert found["decade"] == [("2010", "2010s"), ("2000", "2000s"), ("1980", "1980s")]
    assert set(found) <= set(FILTERS) <= set(LABELS)
    assert {choice.name for choice in choices([], Selection())} == {"list", "rating", "kind", "match"}


def test_values_are_cut() -> None:
    assert len(Selection.of({"q": "x" * 5000}).values["q"]) == 200


@pytest.mark.parametrize(
    "title", ["", "M", "★", "<script>alert(1)</script>", "Dr. Strangelove or: How I Learned to Stop Worrying " * 9]
)
def test_a_tile_is_a_drawing_whatever_the_title(title: str) -> None:
    drawing = ET.fromstring(tile(title, 1964))
    *lines, year = [text.text for text in drawing.iter("text")]
    assert year == "1964"
    assert 1 <= len(lines) <= MAX_LINES
    assert drawing.get("aria-hidden") == "true"
    assert {each.tag for each in drawing.iter()} == {"svg", "rect", "text"}


@pytest.mark.parametrize("year", [1, 2023, 2024])
def test_a_calendar_draws_every_day_once(year: int) -> None:
    days: list[Any] = [date(year, 1, 1), date(year, 12, 31)]
    viewings = [Viewing(film=str(day), title="<&>", day=day) for day in days]
    drawing = ET.fromstring(calendar(calendar_of(year, viewings), lambda day: f"?watched={day}&x"))
    (empty,) = [path.get("d", "") for path in drawing.iter("path")]
    assert empty.count("M") == (366 if year == 2024 else 365)
    places = {square.split("h")[0] for square in empty.split("M") if square}
    assert len(places) == empty.count("M")
    assert [link.get("href") for link in drawing.iter("a")] == [f"?watched={day}&x" for day in days]
    width = float(drawing.get("viewBox", "").split()[2])
    assert all(float(each.get("x", 0)) + 10 <= width for each in drawing.iter("rect"))
    assert {f"M{each.get('x')} {each.get('y')}"[1:] for each in drawing.iter("rect")} <= places


def test_a_calendar_shows_days_of_many_viewings_alike() -> None:
    year = calendar_of(2024, [])
    many = type(year)(year=2024, days=[Day(date(2024, 2, 29), 40, ["x"] * 40)], months=year.months)
    assert [rect.get("class") for rect in ET.fromstring(calendar(many, str)).iter("rect")] == ["level-4"]

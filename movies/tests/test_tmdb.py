"""TMDB as it is asked: through the runner, against the stand-in, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pytest_django import Settings

from enrichment.lookups import Answer, Question, http, providers, want
from enrichment.lookups.models import Lookup
from enrichment.lookups.runner import Runner
from movies import tmdb
from movies.tests.cases import Case, all_cases
from standins import server as stand_in
from standins.server import Server
from standins.tmdb import Film, Tmdb, movie_details, tv_details

V3_KEY = "0123456789abcdef0123456789ABCDEF"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.e30.signature"
MATRIX = Film(
    603,
    "The Matrix",
    "1999-03-31",
    votes=26500,
    vote_average=8.2,
    popularity=60.5,
    directors=("Lana Wachowski", "Lilly Wachowski"),
    cast=(("Keanu Reeves", "Neo"), ("Laurence Fishburne", "Morpheus")),
    runtime=136,
    genres=("Action", "Science Fiction"),
    countries={"US": "United States of America"},
    languages={"en": "English"},
    budget=63_000_000,
    poster_path="/p96dm7sCMn4VYAStA6siNz30G1r.jpg",
    imdb_id="tt0133093",
)
SMALL_AXE = Film(
    91555,
    "Small Axe",
    "2020-11-15",
    kind="tv",
    votes=100,
    directors=("Steve McQueen",),
    cast=(("John Boyega", "Leroy"),),
)
FACTS = {
    "kind": "movie",
    "tmdb_id": 603,
    "imdb_id": "tt0133093",
    "title": "The Matrix",
    "original_title": "The Matrix",
    "release_date": "1999-03-31",
    "runtime": 136,
    "genres": ["Action", "Science Fiction"],
    "directors": ["Lana Wachowski", "Lilly Wachowski"],
    "cast": ["Keanu Reeves", "Laurence Fishburne"],
    "characters": ["Neo", "Morpheus"],
    "countries": ["United States of America"],
    "languages": ["English"],
    "budget": 63_000_000,
    "revenue": None,
    "popularity": 60.5,
    "vote_average": 8.2,
    "vote_count": 26500,
    "poster_path": "/p96dm7sCMn4VYAStA6siNz30G1r.jpg",
}


@pytest.fixture
def server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server(Tmdb([MATRIX, SMALL_AXE], keys={TOKEN, V3_KEY})) as running:
        settings.TMDB_URL, settings.TMDB_API_KEY, settings.TMDB_RATE = running.url, TOKEN, (1000, 1)
        monkeypatch.setattr(providers, "_registered", {})
        providers.register(tmdb.provider(lambda lookups: None))
        yield running


def ask(kind: str, key: str, **question: Any) -> Lookup:
    want(tmdb.NAME, kind, {key: question})
    Runner().run(until_idle=True)
    return Lookup.objects.get(kind=kind, key=key)


@pytest.mark.django_db(transaction=True)
class TestAsking:
    def test_a_plain_film_takes_two_requests(self, server: Server) -> None:
        match = ask("match", "boxd.it/2a1m", title="The Matrix", year=1999)
        assert (match.status, match.answer, match.how) == ("found", {"kind": "movie", "id": 603}, "title and year")
        film = ask("movie", "603")
        assert (film.status, film.answer) == ("found", FACTS)
        assert [arrival.path for arrival in server.arrivals] == ["/3/search/movie", "/3/movie/603"]

    def test_details_that_a_rule_needed_are_not_asked_for_again(self, server: Server) -> None:
        ask("match", "number", title="Matrix, The", year=2000, tmdb_id=603)
        assert ask("movie", "603").answer == FACTS
        assert len(server.arrivals) == 1

    def test_a_series(self, server: Server) -> None:
        match = ask("match", "axe", title="Small Axe", year=2020)
        assert match.answer == {"kind": "tv", "id": 91555}
        series: Any = ask("tv", "91555").answer
        assert (series["kind"], series["title"], series["directors"]) == ("tv", "Small Axe", ["Steve McQueen"])
        assert (series["cast"], series["characters"]) == (["John Boyega"], ["Leroy"])

    def test_what_is_not_there(self, server: Server) -> None:
        assert ask("match", "none", title="The Matrix Reinvented", year=2021).status == "not_found"
        assert ask("movie", "604").status == "not_found"

    def test_candidates_are_what_people_compare(self, server: Server) -> None:
        other = Film(604, "The Matrix", "1999-08-01", votes=9000, directors=("Somebody",), runtime=90)
        server.answer = Tmdb([MATRIX, other])
        match = ask("match", "two", title="The Matrix", year=1999)
        assert match.status == "ambiguous"
        assert [(one["id"], one["directors"], one["runtime"]) for one in match.candidates] == [
            (603, ["Lana Wachowski", "Lilly Wachowski"], 136),
            (604, ["Somebody"], 90),
        ]

    @pytest.mark.parametrize("key", [TOKEN, V3_KEY])
    def test_both_kinds_of_keys(self, server: Server, settings: Settings, key: str) -> None:
        settings.TMDB_API_KEY = key
        assert ask("movie", "603").status == "found"
        assert ("api_key" in server.arrivals[0].query) is (key == V3_KEY)

    def test_a_wrong_key_settles_nothing(self, server: Server, settings: Settings) -> None:
        settings.TMDB_API_KEY = "wrong-key-of-somebody"
        want(tmdb.NAME, "movie", ["603"])
        Runner().run(until_idle=True)
        lookup = Lookup.objects.get()
        assert lookup.status == "open"
        assert "wrong-key-of-somebody" not in lookup.last_error

    def test_a_search_that_is_none_is_no_answer(self, server: Server) -> None:
        """As of an address that is not TMDB's: it must not make everything not found."""
        server.fail(stand_in.error(404))
        with pytest.raises(http.ProviderUnavailable, match="TMDB_URL"):
            tmdb.ask([Question(tmdb.NAME, "match", "m", {"title": "The Matrix", "year": 1999})])

    @pytest.mark.parametrize(
        "fault",
        [
            stand_in.error(503),
            stand_in.error(500),
            stand_in.broken_json(),
            stand_in.not_json(),
            stand_in.cut(),
            stand_in.cut(0),
            stand_in.too_big(),
            stand_in.error(200, ["no", "object"]),
            stand_in.error(200, {"no": "results"}),
            stand_in.error(429, Retry_After="1"),
        ],
        ids=lambda fault: str(fault.response.status if fault.response else fault.keep),
    )
    def test_a_fault_of_tmdb_changes_no_verdict(self, server: Server, fault: stand_in.Fault) -> None:
        server.fail(fault, times=1)
        want(tmdb.NAME, "match", {"m": {"title": "The Matrix", "year": 1999}})
        for _ in range(3):
            Runner().run(until_idle=True)
            Lookup.objects.exclude(due_at=None).filter(status="open").update(due_at="2020-01-01T00:00Z")
        assert Lookup.objects.get().answer == {"kind": "movie", "id": 603}

    def test_the_language_of_details(self, server: Server, settings: Settings) -> None:
        """Titles are searched for in English, as exports have them."""
        settings.TMDB_LANGUAGE = "de-DE"
        ask("match", "m", title="The Matrix", year=1999)
        ask("movie", "603")
        assert [arrival.query["language"] for arrival in server.arrivals] == ["en-US", "de-DE"]


@pytest.mark.django_db(transaction=True)
def test_no_wrong_film_over_http(server: Server) -> None:
    """The cases of test_matching.py, once more through all layers."""
    needless = []
    for case in all_cases():
        server.answer = Tmdb(case.films)
        [answer] = tmdb.ask([Question(tmdb.NAME, "match", "case", case.row)]).values()
        result = _result(case, answer)
        assert result == case.right or result in case.accept, str(case)
        needless += [str(case)] if result != case.right else []
    assert len(needless) <= 3


def _result(case: Case, answer: Answer) -> int | str:
    if answer.status != "found":
        return answer.status
    found = (answer.data["kind"], answer.data["id"])
    return next(place for place, film in enumerate(case.films) if (film.kind, film.id) == found)


class TestDetails:
    def test_what_tmdb_does_not_know_is_none(self) -> None:
        film = tmdb.reduce_details("movie", movie_details(Film(1, "Untitled")))
        names = ("imdb_id", "release_date", "runtime", "budget", "revenue", "vote_average", "poster_path")
        assert {film[name] for name in names} == {None}
        assert (film["genres"], film["directors"], film["cast"], film["vote_count"]) == ([], [], [], 0)

    def test_of_a_series(self) -> None:
        series = tmdb.reduce_details("tv", tv_details(Film(1, "Fleabag", "2016-07-21", kind="tv", runtime=27)))
        assert (series["title"], series["release_date"], series["runtime"]) == ("Fleabag", "2016-07-21", 27)

    def test_of_a_series_without_creators(self) -> None:
        crew = [{"name": "Ann", "jobs": [{"job": "Director"}]}, {"name": "Bo", "jobs": [{"job": "Writer"}]}]
        assert tmdb.reduce_details("tv", {"id": 1, "aggregate_credits": {"crew": crew}})["directors"] == ["Ann"]

    @pytest.mark.parametrize(
        "details",
        [
            {},
            {"id": 1, "genres": None, "credits": None, "external_ids": None, "spoken_languages": [{}]},
            {"id": 1, "credits": {"cast": [{"name": None}, {"name": "A", "character": None, "order": None}]}},
            {"id": 1, "release_date": "1999", "runtime": -1, "budget": 2**70, "popularity": None},
        ],
    )
    def test_anything_may_be_missing(self, details: dict[str, Any]) -> None:
        assert set(tmdb.reduce_details("movie", details)) == set(FACTS)

    @pytest.mark.parametrize(
        "path", ["https://elsewhere.example/a.jpg", "/../a.jpg", '/a.jpg" onerror="', "a.jpg", "/a"]
    )
    def test_a_poster_is_a_file_name(self, path: str) -> None:
        assert tmdb.reduce_details("movie", {"id": 1, "poster_path": path})["poster_path"] is None

    def test_only_the_top_of_the_cast_is_kept(self) -> None:
        cast = [{"name": f"Actor {order}", "character": "", "order": order} for order in reversed(range(30))]
        names = tmdb.reduce_details("movie", {"id": 1, "credits": {"cast": cast}})["cast"]
        assert names == [f"Actor {order}" for order in range(tmdb.MAX_CAST)]


class TestForPeople:
    def test_a_candidate(self, settings: Settings) -> None:
        stored = {
            "kind": "tv",
            "id": 5,
            "title": "Dark",
            "original_title": "Dark",
            "date": "2017-12-01",
            "votes": 7000,
            "poster_path": "/dark.jpg",
            "directors": ["Baran bo Odar", "Jantje Friese"],
            "runtime": 60,
        }
        shown = tmdb.describe(stored)
        assert (shown.title, shown.year, shown.link) == ("Dark", "2017", "https://www.themoviedb.org/tv/5")
        assert shown.facts == {
            "Kind": "Series",
            "Director": "Baran bo Odar, Jantje Friese",
            "Runtime": "60 min",
            "Votes": "7,000",
        }
        assert shown.picture == "https://image.tmdb.org/t/p/w185/dark.jpg"
        assert shown.answer == {"kind": "tv", "id": 5}
        settings.POSTERS = False
        assert tmdb.describe(stored).picture == ""
        settings.TMDB_URL = "http://127.0.0.1:9999"  # the demo, whose numbers are made up
        assert tmdb.describe(stored).link == ""

    @pytest.mark.parametrize("stored", [{"kind": "movie", "id": 603}, FACTS])
    def test_an_answer(self, stored: dict[str, Any]) -> None:
        assert tmdb.describe(stored).answer == {"kind": "movie", "id": 603}

    def test_a_question(self) -> None:
        asked = {"title": "Leo", "year": 2023, "letterboxd_uri": "https://boxd.it/abcd", "directors": ["Lokesh"]}
        shown = tmdb.describe_question(Question("tmdb", "match", "boxd.it/abcd", asked))
        assert (shown.title, shown.year, shown.link) == ("Leo", "2023", "https://boxd.it/abcd")
        assert tmdb.describe_question(Question("tmdb", "movie", "603")).title == "movie 603"
        assert tmdb.describe_question(Question("tmdb", "match", "x", {"letterboxd_uri": "javascript:x"})).link == ""

    @pytest.mark.parametrize(
        ("pasted", "answer"),
        [
            ("https://www.themoviedb.org/movie/603-the-matrix", {"kind": "movie", "id": 603}),
            (" themoviedb.org/tv/1396?language=de-DE ", {"kind": "tv", "id": 1396}),
            ("https://www.themoviedb.org/movie/603-the-matrix/cast", {"kind": "movie", "id": 603}),
            ("movie/603", {"kind": "movie", "id": 603}),
        ],
    )
    def test_an_address_is_a_choice(self, pasted: str, answer: dict[str, Any]) -> None:
        assert tmdb.parse_choice(pasted) == answer

    @pytest.mark.parametrize(
        "pasted",
        [
            *("", "603", "https://www.themoviedb.org/person/6384", "https://www.imdb.com/title/tt0133093/", "movie/0"),
            *("https://evil.example/movie/603", "https://themoviedb.org.evil.example/movie/603", "movie/9999999999"),
        ],
    )
    def test_anything_else_is_refused_in_words(self, pasted: str) -> None:
        with pytest.raises(ValueError, match="no address of a film or series at TMDB"):
            tmdb.parse_choice(pasted)


def test_without_a_key_nothing_is_asked(settings: Settings) -> None:
    settings.TMDB_API_KEY = ""
    assert tmdb.why_off() == "TMDB_API_KEY is not set."
    settings.TMDB_API_KEY = TOKEN
    assert tmdb.why_off() == ""

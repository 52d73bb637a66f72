"""Which film a row means: rows of every kind that is difficult, and what must never be."""

import re
from collections.abc import Mapping
from typing import Any

import pytest

from movies.candidates import Tmdb as Asking
from movies.matching import SCORES, Asked, Verdict, match
from movies.tests.cases import Case, all_cases
from movies.tests.service import Service
from standins.server import Request, Response
from standins.tmdb import Film, Tmdb
from tests.servers import ROOT


def matched(row: dict[str, Any], *films: Film) -> Verdict:
    return match(Asked.of(row), Service(films).asking())


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_no_wrong_film(case: Case) -> None:
    result = case.result(match(Asked.of(case.row), Service(case.films).asking()))
    assert result == case.right or result in case.accept


def test_hardly_any_row_is_asked_needlessly_or_missed() -> None:
    results = [(case, case.result(match(Asked.of(case.row), Service(case.films).asking()))) for case in all_cases()]
    assert len(results) > 250
    assert [str(case) for case, result in results if result != case.right] == [
        "not there: Her Story 2015",
        "not there: Telling Lies 2019",
        "no year: Avatar 5 without year",
    ]


class Loose(Tmdb):
    """Finds whatever has a word of the title, or nothing to do with it, in no order."""

    def _search(self, kind: str, query: Mapping[str, str]) -> list[Film]:
        return [film for film in reversed(self.films) if film.kind == kind]


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_no_wrong_film_however_loosely_tmdb_searches(case: Case) -> None:
    verdict = match(Asked.of(case.row), Service(case.films, Loose(case.films)).asking())
    result = case.result(verdict)
    assert result == case.right or result in case.accept


def test_every_reason_is_in_the_reference() -> None:
    """With its score, where something is found."""
    verdicts = [match(Asked.of(case.row), Service(case.films).asking()) for case in all_cases()]
    reference = (ROOT / "docs" / "reference.md").read_text()
    rows = dict(re.findall(r"^\| `([a-z ]+)` \|[^|]*\|(?: ([0-9.]+) \|)?$", reference, re.MULTILINE))
    assert {verdict.how for verdict in verdicts} - {""} <= set(rows)
    assert {how: float(rows[how]) for how in SCORES} == SCORES


def test_a_plain_film_takes_one_search() -> None:
    service = Service([Film.of({"id": 603, "title": "The Matrix", "year": 1999, "votes": 26500})])
    assert match(Asked(title="The Matrix", year=1999), service.asking()).status == "found"
    assert service.paths == ["/search/movie"]


def test_nothing_is_asked_twice() -> None:
    for case in all_cases():
        service = Service(case.films)
        asking = service.asking()
        match(Asked.of(case.row), asking)
        assert len(service.paths) == len(asking._answers) <= 8


def test_a_given_number_takes_one_request_with_the_details() -> None:
    service = Service([Film.of({"id": 603, "title": "The Matrix", "year": 1999})])
    asking = service.asking()
    assert match(Asked(title="Matrix, The", year=2000, tmdb_id=603), asking).how == "number"
    assert service.paths == ["/movie/603"]
    details = asking.asked_details("movie", 603)
    assert details is not None and details["title"] == "The Matrix"


def test_a_title_on_a_further_page_is_found() -> None:
    many = [Film(number, f"M {number}", "1931-01-01", popularity=9.0) for number in range(1, 45)]
    assert matched({"title": "M", "year": 1931}, *many, Film(99, "M", "1931-05-11", votes=2500)).film.id == 99


def test_what_comes_near_is_kept_and_decides_nothing() -> None:
    verdict = matched(
        {"title": "Blade", "year": 2015},
        Film(1, "Blades", "2015-01-01", votes=9000, also=("Blade Blades",)),
        Film(2, "Quite Another Blade", "2015-01-01"),
    )
    assert verdict.status == "not_found"
    assert [film.id for film in verdict.candidates] in ([], [1])


def test_a_film_that_was_only_shown_again_is_not_found() -> None:
    old = Film(1, "Metropolis", "1927-03-13", released=("2010-02-12",), votes=2900)
    assert matched({"title": "Metropolis", "year": 2010}, old).status == "ambiguous"


def test_a_festival_before_the_day_of_the_row_casts_doubt() -> None:
    row = {"title": "Some Day in May", "year": None, "date": "2021-03-01"}
    film = Film(1, "Some Day in May", "2021-06-01")
    assert matched(row, film).status == "found"
    assert matched(row, Film(1, "Some Day in May", "2021-06-01", released=("2020-09-01",))).status == "ambiguous"


def test_a_row_without_title_or_number_is_not_looked_for() -> None:
    service = Service([])
    assert match(Asked(year=1999), service.asking()) == Verdict("not_found", "no title")
    assert service.paths == []


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["Bong Joon-ho"], True),
        (["Joon Ho Bong"], True),
        (["Somebody Else", "Bong Joon Ho"], True),
        ("Somebody Else, Bong Joon-ho", True),
        (["Bong Ho"], True),
        (["Bong"], False),
        (["Other Person"], False),
    ],
)
def test_directors(names: Any, found: bool) -> None:
    host = Film(1, "The Host", "2006-07-27", votes=50, directors=("Bong Joon-ho",))
    other = Film(2, "The Host", "2006-01-01", votes=40, directors=("Another One",))
    verdict = matched({"title": "The Host", "year": 2006, "directors": names}, host, other)
    assert (verdict.status, verdict.how) == (("found", "director") if found else ("ambiguous", "other director"))


def test_directors_that_tmdb_does_not_know_say_nothing() -> None:
    film = Film(1, "The Host", "2006-07-27", votes=500)
    assert matched({"title": "The Host", "year": 2006, "directors": ["Bong Joon-ho"]}, film).how == "title and year"


@pytest.mark.parametrize("question", [{}, {"title": None, "year": "1999", "tmdb_id": "603", "directors": None}])
def test_questions_may_lack_anything(question: dict[str, Any]) -> None:
    assert match(Asked.of(question), Service([]).asking()).status == "not_found"


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"id": 1, "title": None, "original_title": None, "release_date": None, "vote_count": None},
        {"id": 1, "title": "", "release_date": ""},
        {"id": 1, "title": "The Host", "release_date": "soon", "vote_count": "many"},
    ],
)
def test_results_may_lack_anything(result: dict[str, Any]) -> None:
    def get(path: str, params: Any) -> Any:
        return {"results": [result]} if "/search" in path else None

    assert match(Asked(title="The Host", year=2006), Asking(get)).status != "ambiguous"


def test_tmdb_is_asked_as_documented() -> None:
    """Neither by region nor by primary year, composed, and with what is appended in one request."""
    seen: list[Request] = []
    protocol = Tmdb([Film(1, "À propos", "2022-01-01", votes=500)])

    def answer(request: Request) -> Response:
        seen.append(request)
        return protocol(request)

    asking = Service([], answer).asking()
    assert match(Asked(title="A\u0300 propos", year=2022), asking).status == "found"
    asking.details("movie", 1)
    search, details = (request.query for request in seen)
    assert search["query"] == "À propos" and search["year"] == "2022"
    assert not {"region", "primary_release_year"} & set(search)
    assert set(details["append_to_response"].split(",")) == {
        *("credits", "external_ids", "alternative_titles", "translations", "release_dates")
    }

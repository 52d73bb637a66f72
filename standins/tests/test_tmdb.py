"""The stand-in for TMDB speaks as its documentation says."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from standins import tmdb
from standins.server import Server
from standins.tmdb import Film

FILMS = [
    Film(1, "Nomadland", "2021-01-29", released=("2020-09-11",), votes=2900, directors=("Chloé Zhao",), runtime=107),
    Film(
        2,
        "Amélie",
        "2001-04-25",
        original_title="Le Fabuleux Destin d'Amélie Poulain",
        also=("Amelie from Montmartre",),
        translated={"de": "Die fabelhafte Welt der Amélie"},
        imdb_id="tt0211915",
        cast=(("Audrey Tautou", "Amélie Poulain"),),
        countries={"FR": "France"},
        languages={"fr": "French"},
    ),
    Film(2, "Chernobyl", "2019-05-06", kind="tv", directors=("Craig Mazin",), runtime=65, episodes=("tt8162428",)),
    Film(3, "★", "2013-01-01"),
    Film(4, "No Date Yet"),
    *(Film(100 + number, f"Part {number}", "1999-01-01") for number in range(45)),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tmdb.start(FILMS, keys={"k"}) as running:
        yield running


def get(server: Server, path: str, key: str = "k", **query: Any) -> tuple[int, Any]:
    request = urllib.request.Request(f"{server.url}/3{path}?{urlencode(query)}")
    request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def found(server: Server, path: str, **query: Any) -> list[str]:
    answer = get(server, path, **query)[1]
    return [result.get("title") or result["name"] for result in answer["results"]]


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ({"query": "nomadland"}, ["Nomadland"]),
        ({"query": "Nomadland", "year": 2020}, ["Nomadland"]),
        ({"query": "Nomadland", "year": 2021}, ["Nomadland"]),
        ({"query": "Nomadland", "year": 2019}, []),
        ({"query": "Nomadland", "primary_release_year": 2020}, []),
        ({"query": "Nomadland", "primary_release_year": 2021}, ["Nomadland"]),
        ({"query": "amelie"}, ["Amélie"]),
        ({"query": "fabuleux destin"}, ["Amélie"]),
        ({"query": "amelie montmartre"}, ["Amélie"]),
        ({"query": "fabelhafte welt"}, ["Amélie"]),
        ({"query": "Ame\u0301lie"}, []),
        ({"query": "★"}, ["★"]),
        ({"query": ""}, []),
        ({"query": "Chernobyl"}, []),
        ({"query": "No Date Yet"}, ["No Date Yet"]),
        ({"query": "No Date Yet", "year": 2025}, []),
    ],
)
def test_search(server: Server, query: dict[str, Any], titles: list[str]) -> None:
    assert found(server, "/search/movie", **query) == titles


def test_search_for_series(server: Server) -> None:
    assert found(server, "/search/tv", query="chernobyl", first_air_date_year=2019) == ["Chernobyl"]
    assert found(server, "/search/tv", query="chernobyl", first_air_date_year=2020) == []


def test_pages(server: Server) -> None:
    _, first = get(server, "/search/movie", query="part")
    assert (len(first["results"]), first["page"], first["total_pages"], first["total_results"]) == (20, 1, 3, 45)
    _, last = get(server, "/search/movie", query="part", page=3)
    assert len(last["results"]) == 5
    assert get(server, "/search/movie", query="part", page=501)[1]["status_code"] == 22


def test_details_with_what_is_appended(server: Server) -> None:
    names = "credits,external_ids,alternative_titles,translations,release_dates,unknown"
    status, film = get(server, "/movie/2", append_to_response=names)
    assert (status, film["title"], film["imdb_id"], film["original_language"]) == (200, "Amélie", "tt0211915", "fr")
    assert film["credits"]["cast"][0]["character"] == "Amélie Poulain"
    assert film["alternative_titles"]["titles"][0]["title"] == "Amelie from Montmartre"
    assert film["translations"]["translations"][0]["data"]["title"] == "Die fabelhafte Welt der Amélie"
    assert film["production_countries"] == [{"iso_3166_1": "FR", "name": "France"}]
    assert "unknown" not in film
    assert "credits" not in get(server, "/movie/2")[1]


def test_films_and_series_have_numbers_of_their_own(server: Server) -> None:
    assert get(server, "/tv/2", append_to_response="aggregate_credits")[1]["name"] == "Chernobyl"
    assert get(server, "/tv/1")[0] == 404


def test_numbers_of_imdb(server: Server) -> None:
    assert get(server, "/find/tt0211915", external_source="imdb_id")[1]["movie_results"][0]["id"] == 2
    assert get(server, "/find/tt8162428", external_source="imdb_id")[1]["tv_episode_results"][0]["show_id"] == 2
    assert get(server, "/find/tt0000000", external_source="imdb_id")[1]["movie_results"] == []
    assert get(server, "/find/tt0211915")[0] == 422


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("/movie/99", {}, 404, 34),
        ("/nothing", {}, 404, 34),
        ("/movie/1", {"append_to_response": ",".join(["credits"] * 21)}, 400, 27),
        ("/search/movie", {"query": "a", "page": "0"}, 400, 22),
        ("/search/movie", {"query": "a", "page": "one"}, 400, 22),
    ],
)
def test_errors(server: Server, path: str, query: dict[str, Any], status: int, code: int) -> None:
    answered, body = get(server, path, **query)
    assert (answered, body["status_code"], body["success"]) == (status, code, False)
    assert body["status_message"]


def test_keys(server: Server) -> None:
    assert get(server, "/movie/1", key="other")[1]["status_code"] == 7
    assert get(server, "/movie/1", key="")[0] == 401
    assert get(server, "/movie/1", key="", api_key="k")[0] == 200
    assert get(server, "/movie/1", key="", api_key="other")[0] == 401


def test_a_removed_number() -> None:
    service = tmdb.Tmdb(FILMS)
    with Server(service) as server:
        service.remove("movie", 1)
        assert get(server, "/movie/1")[0] == 404
        assert found(server, "/search/movie", query="nomadland") == []

"""Films of libraries and TMDB's answers, in whatever order they come: through the runner, against the stand-in."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from pytest_django import Settings

from enrichment import lookups
from enrichment.lookups.models import Lookup
from enrichment.lookups.runner import Runner
from enrichment.uploads import progress_of
from movies.models import Film, Library, LibraryFilm
from movies.tests.exports import FIRST, SECOND, archive, film, finish, send, upload_export, viewing
from standins.server import Server, error
from standins.tmdb import Film as Known
from standins.tmdb import Tmdb
from tests.api import api
from tests.people import browser_of, person, words_of
from tests.records import send as post

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "0123456789abcdef0123456789abcdef"
FILMS = [
    Known(
        603,
        "The Matrix",
        "1999-03-31",
        votes=26000,
        directors=("Lana Wachowski", "Lilly Wachowski"),
        runtime=136,
        genres=("Action", "Science Fiction"),
        countries={"US": "United States of America"},
        cast=(("Keanu Reeves", "Neo"),),
    ),
    Known(
        348,
        "Alien",
        "1979-05-25",
        votes=15000,
        directors=("Ridley Scott",),
        runtime=117,
        genres=("Horror", "Science Fiction"),
    ),
    Known(1, "Leo", "2023-01-01", votes=50),
    Known(2, "Leo", "2023-06-01", votes=60),
    Known(87108, "Chernobyl", "2019-05-06", kind="tv", votes=6000),
]
EXPORT = {
    "watched.csv": [
        film("The Matrix", 1999, "m"),
        film("Alien", 1979, "a"),
        film("Leo", 2023, "l"),
        film("Nowhere to Be Found", 2001, "n"),
        film("Chernobyl", 2019, "c"),
    ],
    "ratings.csv": [film("Alien", 1979, "a", Rating="5")],
    "diary.csv": [viewing("Alien", 1979, "d")],
}

QUERIES = {
    "library=ben": ["Alien"],
    "genres=Science Fiction&library=anna": ["Alien", "The Matrix"],
    "directors=Lilly Wachowski": ["The Matrix"],
    "countries=United States of America": ["The Matrix"],
    "cast=Keanu Reeves": ["The Matrix"],
    "year_min=1999&year_max=2001": ["Nowhere to Be Found", "The Matrix"],
    "kind=tv": ["Chernobyl"],
    "match=ambiguous,not_found": ["Leo", "Nowhere to Be Found"],
    "watchlist=true": ["Alien"],
    "seen=true&has_genres=false": ["Chernobyl", "Leo", "Nowhere to Be Found"],
    "tmdb_id_missing=true": ["Leo", "Nowhere to Be Found"],
    "release_date_before=1980-01-01&library=anna": ["Alien"],
    "last_watched_on_after=2025-05-31": ["Alien"],
    "search=nowhere": ["Nowhere to Be Found"],
    "search=CHERNO": ["Chernobyl"],
    "genres=Romance": [],
}


@pytest.fixture
def tmdb(settings: Settings) -> Iterator[Server]:
    with Server(Tmdb(FILMS, keys={KEY})) as running:
        settings.TMDB_URL, settings.TMDB_API_KEY, settings.TMDB_RATE = running.url, KEY, (1000, 1)
        yield running


def look_up() -> None:
    Runner().run(until_idle=True)


def of(title: str) -> LibraryFilm:
    return LibraryFilm.objects.select_related("tmdb_film", "lookup").get(title=title)


def matches() -> dict[str, str]:
    return dict(LibraryFilm.objects.values_list("title", "match"))


def test_an_upload_ends_with_every_film_settled(tmdb: Server) -> None:
    sent = upload_export(EXPORT)
    look_up()
    assert matches() == {
        "The Matrix": "found",
        "Alien": "found",
        "Leo": "ambiguous",
        "Nowhere to Be Found": "not_found",
        "Chernobyl": "found",
    }
    progress = progress_of([sent])[sent.pk]
    assert (progress.status, progress.percent) == ("completed", 100)
    numbers = {name: number for name, number in progress.questions["films"].items() if name != "recent"}
    assert numbers == {"total": 5, "open": 0, "found": 3, "not_found": 1, "ambiguous": 1, "failed": 0}
    matrix = of("The Matrix")
    assert matrix.tmdb_film is not None and matrix.how == "title and year"
    assert (matrix.tmdb_film.pk, matrix.tmdb_film.runtime, matrix.tmdb_film.cast) == (
        "movie-603",
        136,
        ["Keanu Reeves"],
    )
    assert of("Chernobyl").tmdb_film == Film.objects.get(kind="tv", tmdb_id=87108)


def test_a_film_that_others_have_found_is_found_at_once(tmdb: Server) -> None:
    upload_export(EXPORT)
    look_up()
    asked = len(tmdb.arrivals)
    upload_export({"watched.csv": EXPORT["watched.csv"][:3]}, library="ben")
    of_ben = LibraryFilm.objects.filter(library="ben")
    assert sorted(of_ben.values_list("match", flat=True)) == ["ambiguous", "found", "found"]
    look_up()
    assert len(tmdb.arrivals) == asked


def entry(library: str, title: str, year: int, link: str) -> dict[str, Any]:
    return {"library": library, "title": title, "year": year, "letterboxd_uri": f"https://boxd.it/{link}"}


def test_a_choice_reaches_every_library_and_stays(tmdb: Server) -> None:
    upload_export(EXPORT)
    upload_export({"watched.csv": [film("Leo", 2023, "l")]}, library="ben")
    look_up()
    lookup = Lookup.objects.get(kind="match", key="boxd.it/l")
    lookups.choose(lookup, "user:root", {"kind": "movie", "id": 2})
    assert set(LibraryFilm.objects.filter(title="Leo").values_list("match", flat=True)) == {"open"}
    look_up()
    upload_export({"watched.csv": [film("Leo", 2023, "l")]}, SECOND)
    look_up()
    rows = LibraryFilm.objects.filter(title="Leo")
    assert set(rows.values_list("match", "tmdb_film", "how")) == {("found", "movie-2", "chosen")}
    lookups.reject_all(lookup, "user:root")
    assert not rows.exclude(match="not_found", tmdb_film=None).exists()


def test_nobody_decides_what_the_film_of_somebody_else_is(tmdb: Server) -> None:
    """The link is what people send: with another title, year or number it is another question."""
    upload_export({"watched.csv": [film("Alien", 1979, "m")]}, library="mallory")
    post("entries", {**entry("mallory", "The Matrix", 1999, "a"), "kind": "import", "tmdb_id": 348})
    upload_export({"watched.csv": [film("The Matrix", 1999, "m"), film("Alien", 1979, "a")]}, library="anna")
    look_up()
    found = LibraryFilm.objects.filter(library="anna").values_list("title", "tmdb_film__title")
    assert dict(found) == {"The Matrix": "The Matrix", "Alien": "Alien"}


def test_who_asks_the_same_shares_the_answer_whoever_came_first(tmdb: Server) -> None:
    upload_export({"watched.csv": [film("Alien", 1979, "m")]}, library="mallory")
    for library in ("anna", "ben"):
        upload_export({"watched.csv": [film("The Matrix", 1999, "m")]}, library=library)
    look_up()
    of_both = LibraryFilm.objects.filter(title="The Matrix")
    assert len(set(of_both.values_list("lookup", flat=True))) == 1
    assert set(of_both.values_list("match", flat=True)) == {"found"}
    assert len([request for request in tmdb.arrivals if "search" in str(request.path)]) == 2


def test_a_choice_stays_with_its_film_under_another_title(tmdb: Server) -> None:
    upload_export({"watched.csv": [film("Leo", 2023, "l")]})
    look_up()
    lookups.choose(Lookup.objects.get(kind="match"), "user:root", {"kind": "movie", "id": 2})
    look_up()
    upload_export({"watched.csv": [film("Leo: The Film", 2022, "l")]}, SECOND)
    look_up()
    row = LibraryFilm.objects.get()
    assert (row.title, row.match, row.tmdb_film_id, row.how) == ("Leo: The Film", "found", "movie-2", "chosen")


def test_a_film_that_is_called_otherwise_is_asked_for_again(tmdb: Server) -> None:
    upload_export({"watched.csv": [film("Alyen", 1979, "a")]})
    look_up()
    assert matches() == {"Alyen": "not_found"}
    upload_export({"watched.csv": [film("Alien", 1979, "a")]}, SECOND)
    look_up()
    assert matches() == {"Alien": "found"}


def test_a_film_that_is_gone_keeps_what_is_known(tmdb: Server) -> None:
    upload_export({"watched.csv": [film("Alien", 1979, "a")]})
    look_up()
    assert isinstance(tmdb.answer, Tmdb)
    tmdb.answer.remove("movie", 348)
    with transaction.atomic():
        lookups.ask_again(Lookup.objects.filter(kind="movie"), "user:root")
    look_up()
    row = of("Alien")
    assert row.tmdb_film is not None and row.tmdb_film.gone_at is not None
    assert (row.tmdb_film.title, row.tmdb_film.runtime) == ("Alien", 117)
    assert row.match in ("found", "not_found")


def test_what_cannot_be_described_has_failed_and_can_be_asked_again(tmdb: Server) -> None:
    def is_details(request: Any) -> bool:
        return str(request.path).startswith("/3/movie/603")

    tmdb.fail(error(400, {"success": False}), times=None, when=is_details)
    upload_export({"watched.csv": [film("The Matrix", 1999, "m"), film("Alien", 1979, "a")]})
    look_up()
    for _ in range(10):
        Lookup.objects.filter(status="open").update(due_at="2000-01-01T00:00:00Z")
        look_up()
    assert matches() == {"The Matrix": "failed", "Alien": "found"}
    assert "TMDB returned errors several times." in words_of(Client().get(f"/uploads/{Library.objects.get().token}"))
    tmdb.heal()
    with transaction.atomic():
        lookups.ask_again(Lookup.objects.filter(status="failed"), "user:root")
    look_up()
    assert matches() == {"The Matrix": "found", "Alien": "found"}


def test_a_chosen_film_that_tmdb_does_not_know_is_called_so(tmdb: Server) -> None:
    upload_export({"watched.csv": [film("Leo", 2023, "l")]})
    look_up()
    lookup = Lookup.objects.get(kind="match")
    lookups.choose(lookup, "user:root", {"kind": "movie", "id": 999})
    look_up()
    assert matches() == {"Leo": "failed"}
    page = Client().get(f"/uploads/{Library.objects.get().token}")
    text = words_of(page)
    assert "TMDB does not know the film that was chosen (movie 999). An operator can choose another one." in text
    assert "TMDB returned errors" not in text
    operator = browser_of(person("operator"))
    lookup_page = f"/admin/enrichment/lookup/{lookup.pk}/change/"
    assert "TMDB does not know what was chosen (movie 999): choose another one." in words_of(operator.get(lookup_page))
    lookups.choose(lookup, "user:root", {"kind": "movie", "id": 2})
    look_up()
    assert matches() == {"Leo": "found"}
    assert "does not know" not in words_of(operator.get(lookup_page))


def test_entries_that_come_while_answers_do_are_settled_too(tmdb: Server) -> None:
    """Whichever is stored first sees the other: no film stays open."""
    send(archive({"watched.csv": [film("Alien", 1979, "a")]}))
    send(archive({"watched.csv": [film("Alien", 1979, "a")]}, SECOND), "ben")
    finish()
    look_up()
    assert set(LibraryFilm.objects.values_list("match", flat=True)) == {"found"}
    post(
        "entries",
        {"library": "cleo", "kind": "likes", "title": "Alien", "year": 1979, "letterboxd_uri": "https://boxd.it/a"},
    )
    assert of_library("cleo").match == "found"


def of_library(name: str) -> LibraryFilm:
    return LibraryFilm.objects.get(library=name)


class TestMovies:
    """GET /api/movies."""

    @pytest.fixture
    def client(self, tmdb: Server) -> Client:
        self.upload = upload_export(EXPORT, FIRST)
        upload_export({"watchlist.csv": [film("Alien", 1979, "a")]}, library="ben")
        look_up()
        return api()

    def titles(self, client: Client, query: str) -> list[str]:
        response = client.get(f"/api/movies?{query}")
        assert response.status_code == 200, response.content
        return sorted(row["title"] for row in response.json()["results"])

    def test_a_row_has_what_the_library_and_tmdb_know(self, client: Client) -> None:
        [row] = client.get("/api/movies?library=anna&rating_min=4").json()["results"]
        assert {name: row[name] for name in ("title", "year", "match", "kind", "tmdb_id", "tmdb_title", "rating")} == {
            "title": "Alien",
            "year": 1979,
            "match": "found",
            "kind": "movie",
            "tmdb_id": 348,
            "tmdb_title": "Alien",
            "rating": 5,
        }
        assert (row["directors"], row["genres"], row["runtime"]) == (
            ["Ridley Scott"],
            ["Horror", "Science Fiction"],
            117,
        )
        assert (row["seen"], row["liked"], row["watchlist"], row["viewings"]) == (True, False, False, 1)
        assert (row["release_date"], row["letterboxd_uri"]) == ("1979-05-25", "https://boxd.it/a")
        assert client.get(f"/api/movies/{row['film_id']}").json() == row
        [unknown] = client.get("/api/movies?match=not_found").json()["results"]
        assert {unknown[name] for name in ("kind", "tmdb_id", "genres", "release_date", "poster_path")} == {None}

    def test_it_is_filtered_by_what_either_knows(self, client: Client) -> None:
        assert {query: self.titles(client, query) for query in QUERIES} == QUERIES

    def test_it_is_filtered_by_upload(self, client: Client) -> None:
        assert len(self.titles(client, f"upload={self.upload.pk}")) == 5
        assert self.titles(client, "upload=999999") == []

    def test_it_comes_as_files(self, client: Client) -> None:
        response: Any = client.get("/api/movies?format=csv&library=anna&fields=title,genres,release_date")
        rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
        assert {"title": "Alien", "genres": "Horror;Science Fiction", "release_date": "1979-05-25"} in rows
        response = client.get("/api/movies?format=csv&match=not_found&fields=match,how")
        assert b"".join(response.streaming_content).decode().splitlines()[1:] == ["not_found,"]
        response = client.get("/api/movies?format=ndjson&library=anna")
        lines = [json.loads(line) for line in b"".join(response.streaming_content).splitlines()]
        assert {line["title"] for line in lines} == set(self.titles(client, "library=anna"))

    def test_it_takes_no_records(self, client: Client) -> None:
        assert client.post("/api/movies", {}, content_type="application/json").status_code == 405
        assert client.post("/api/movies/batch", [], content_type="application/json").status_code in (404, 405)
        assert client.get("/api/movies/nothing").status_code == 404
        assert client.get("/api/movies?nonsense=1").status_code == 400

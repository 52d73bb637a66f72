"""The pages of a library: what they show, to whom, and what they cost."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries, Settings

from enrichment.lookups import control
from enrichment.models import HeldRecord
from ingestion.models import Delivery, Upload
from movies.models import Entry, Film, Library, LibraryFilm, Match
from movies.pages.reasons import UNKNOWN, why_ambiguous
from movies.tests.factories import library, library_film, upload, viewing
from tests.held import hold
from tests.people import browser_of, person, words_of

pytestmark = pytest.mark.django_db

HOSTILE = '"><script>alert(1)</script>\u202e{{ 7 }}'
NOTICE = "This product uses the TMDB API but is not endorsed or certified by TMDB."
CANDIDATES = [
    {
        "kind": "movie",
        "id": 11,
        "title": "Leo",
        "date": "2023-10-19",
        "directors": ["Lokesh Kanagaraj"],
        "runtime": 164,
    },
    {"kind": "movie", "id": 12, "title": "Leo", "date": "2023-11-17", "directors": ["Robert Smigel"], "runtime": 102},
]


@pytest.fixture
def anna() -> Library:
    found = library("anna")
    matrix = library_film(
        found, "The Matrix", rating=4.5, liked=True, viewings=2, letterboxd_uri="https://boxd.it/2a1m",
        film={"runtime": 136, "genres": ["Action"], "directors": ["Lana Wachowski", "Lilly Wachowski"],
              "cast": ["Keanu Reeves"], "countries": ["United States of America"], "languages": ["English"],
              "vote_average": 6.0, "vote_count": 26_000, "poster_path": "/matrix.jpg"},
    )  # fmt: skip
    viewing(matrix, date(2020, 3, 5))
    viewing(matrix, date(2021, 12, 31), rewatch=True)
    library_film(found, "Chernobyl", year=2019, seen=False, watchlist=True, film={"kind": "tv"})
    library_film(found, "Leo", Match.AMBIGUOUS, year=2023, candidates=CANDIDATES)
    library_film(found, "Home video", Match.NOT_FOUND, year=None, letterboxd_uri="https://boxd.it/zzzz")
    return found


def page(of: Library, name: str = "library", **query: str) -> Any:
    return Client().get(reverse(name, args=[of.token]), query)


def test_the_overview_shows_the_library(anna: Library) -> None:
    text = words_of(page(anna))
    for part in (
        "4 films",
        "2 found",
        "1 unsure",
        "1 not found",
        "Viewings in 2021",
        "Keanu Reeves",
        "1 rewatches",
    ):
        assert part in text.replace("<strong>", "").replace("</strong>", ""), part
    assert "?list=seen&amp;director=Lana+Wachowski" in text
    assert "?watched=2021-12-31" in text
    assert "4.5 ★, public 3.0 ★" in text  # the public gives 6 of 10
    assert "data-progress" not in text  # nothing changes by itself


def test_what_was_not_found_is_named_with_links(anna: Library) -> None:
    text = words_of(page(anna))
    assert "Lokesh Kanagaraj" in text
    assert "https://www.themoviedb.org/movie/12" in text
    assert 'href="https://boxd.it/zzzz"' in text
    assert "https://www.themoviedb.org/search?query=Home%20video" in text
    assert "admin" not in text
    assert "Choose</a>" not in text


@pytest.mark.parametrize(
    ("how", "number", "reason"),
    [
        ("namesakes", 2, "Several films have this title, and your export does not say which one you saw."),
        ("other year", 1, "TMDB has no film of this title and year. The only candidate is of another year or title."),
        ("other year", 2, "TMDB has no film of this title and year. The candidates are of other years or titles."),
        ("no year", 1, "Your export gives no year for it, so it is not clear whether it is this film."),
        ("no year", 2, "Your export gives no year for it, so it is not clear which of these films it is."),
        ("other director", 1, "None of these films is known to be by the director in your export."),
        ("", 2, "It is not clear which film you saw."),
    ],
)
def test_an_unsure_match_says_what_is_unsure(how: str, number: int, reason: str) -> None:
    found = library("unsure")
    library_film(found, "Leo", Match.AMBIGUOUS, how=how, candidates=CANDIDATES[:number])
    text = words_of(page(found))
    assert reason in text
    assert ("Several films have this title" in text) == (how == "namesakes")


def test_each_rule_that_may_be_unsure_has_words() -> None:
    """Those of the reference, so that a new one is not forgotten."""
    reference = (Path(settings.BASE_DIR) / "docs" / "reference.md").read_text()
    rules = re.findall(r"^\| `([a-z ]+)` \|", reference.split("| `how` | ambiguous because |")[1], re.MULTILINE)
    assert len(rules) > 5
    for how in set(rules) - {"no title"}:
        assert why_ambiguous(how, 2) != UNKNOWN, how


def test_another_year_of_the_calendar(anna: Library) -> None:
    assert "Viewings in 2020" in words_of(page(anna, year="2020"))
    for year in ("2019", "x", "²", "99999999999999"):
        assert "Viewings in 2021" in words_of(page(anna, year=year))


def test_the_grid_is_filtered(anna: Library) -> None:
    text = words_of(page(anna, "library-films", director="Lilly Wachowski"))
    assert "1 of 4" in text
    assert "Chernobyl" not in text
    assert '<input type="hidden" name="director" value="Lilly Wachowski">' in text
    assert "No films match." in words_of(page(anna, "library-films", q="nothing like it"))
    assert "4 of 5 stars" not in text
    assert 'aria-label="4.5 of 5 stars"' in text


def test_what_the_grid_does_not_know_is_said(anna: Library) -> None:
    text = words_of(page(anna, "library-films", sort="evil", year_min="abc"))
    assert "There is no filter “year_min”. There is no order “evil”." in text
    assert "The Matrix" in text
    for known in ({"sort": "rating", "page": "1", "watched": "2020"}, {"sort": "", "q": "", "list": "seen"}):
        assert "There is no" not in words_of(page(anna, "library-films", **known))
    hostile = words_of(page(anna, "library-films", **{"<script>alert(1)\u202e": "1"}))
    assert "“&lt;script&gt;alert(1)" in hostile and "\u202e" not in hostile


def test_a_nul_in_the_address_is_answered_with_a_page(anna: Library) -> None:
    address = f"{reverse('library-films', args=[anna.token])}?genre=%00"
    browser = Client(headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    text = words_of(browser.get(address), 400)
    assert "<!doctype html>" in text and "The address of this page must not contain %00." in text
    assert Client().get(address).json()["error"]["code"] == "bad_request"


def test_a_surprise_says_where_it_is_from(anna: Library) -> None:
    surprise = {"list": "watchlist", "sort": "random"}
    text = words_of(page(anna, "library-films", **surprise))
    assert "Films of your watchlist, in random order." in text and "Chernobyl" in text
    assert "No films match." in words_of(page(anna, "library-films", **surprise, q="nothing like it"))
    LibraryFilm.objects.update(watchlist=False)
    text = words_of(page(anna, "library-films", **surprise))
    assert "Your watchlist is empty, and a surprise is drawn from it." in text and "No films match" not in text


def test_posters_are_of_tmdb_and_nowhere_else(anna: Library, settings: Settings) -> None:
    answer = page(anna, "library-films")
    text = words_of(answer)
    assert 'src="https://image.tmdb.org/t/p/w185/matrix.jpg"' in text
    assert 'referrerpolicy="no-referrer"' in text
    assert text.count('class="tile') == 3
    assert "https://image.tmdb.org" in answer["Content-Security-Policy"]
    settings.POSTERS = False
    answer = page(anna, "library-films")
    assert "image.tmdb.org" not in words_of(answer)
    assert "image.tmdb.org" not in answer["Content-Security-Policy"]
    assert "image.tmdb.org" not in Client().get("/")["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["library", "library-films", "library-progress", "library-delete"])
def test_nobody_else_learns_of_the_page(anna: Library, name: str) -> None:
    answer = page(anna, name)
    assert answer["X-Robots-Tag"] == "noindex, nofollow"
    assert answer["Referrer-Policy"] == ("same-origin" if name == "library-delete" else "no-referrer")
    assert answer["Cache-Control"] == "private, no-store"
    policy = answer["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    if name != "library-progress":
        assert '<meta name="robots" content="noindex, nofollow">' in answer.content.decode()
        assert NOTICE in answer.content.decode()


def test_data_of_a_stand_in_is_called_so(anna: Library, settings: Settings) -> None:
    settings.TMDB_URL = "http://127.0.0.1:9999"
    for name in ("library", "library-films", "library-delete"):
        text = words_of(page(anna, name))
        assert "Demo data, not from TMDB." in text
        assert NOTICE not in text
        assert "themoviedb.org/movie" not in text and "themoviedb.org/tv" not in text  # its numbers are made up
    text = words_of(page(anna))
    assert "<strong>Leo</strong>" in text
    assert "Only the server that stands in for TMDB in this demo lacks them." in text
    assert "They may be missing there" not in text


def test_a_token_is_needed(anna: Library) -> None:
    assert page(anna).status_code == 200
    for other in (anna.name, "x", anna.token[:-1], anna.token + "x", "%00", "deleted/x"):
        assert Client().get(f"/uploads/{other}").status_code == 404
    assert len(anna.token) >= 32


def test_a_look_keeps_the_library(anna: Library) -> None:
    before = timezone.now() - timedelta(days=29)
    Library.objects.update(last_seen_at=before)
    page(anna)
    anna.refresh_from_db()
    assert anna.last_seen_at > before
    seen_at = anna.last_seen_at
    page(anna)
    anna.refresh_from_db()
    assert anna.last_seen_at == seen_at  # a page that renews itself writes nothing


def test_nothing_of_a_file_is_trusted() -> None:
    found = library("hostile")
    library_film(found, HOSTILE, rating=5, letterboxd_uri="javascript:alert(1)", film={
        "genres": [HOSTILE], "directors": [HOSTILE], "cast": [HOSTILE], "countries": [HOSTILE], "runtime": 1,
    })  # fmt: skip
    row = library_film(found, HOSTILE, Match.AMBIGUOUS, candidates=[{**CANDIDATES[0], "title": HOSTILE}])
    viewing(row, date(2020, 2, 29))
    for name, query in [("library", {}), ("library-films", {"q": HOSTILE}), ("library-films", {"genre": HOSTILE})]:
        text = page(found, name, **query).content.decode()
        assert "<script>alert" not in text
        assert "javascript:" not in text
        assert "&lt;script&gt;" in text


def test_a_page_of_nothing_says_so() -> None:
    found = library("empty")
    assert "There is no film in this library." in words_of(page(found))
    assert "No films match." in words_of(page(found, "library-films"))


def test_open_films_make_the_page_renew_itself(anna: Library, settings: Settings) -> None:
    settings.TMDB_API_KEY = "x"
    library_film(anna, "Coming", Match.OPEN)
    text = words_of(page(anna))
    assert f'data-progress="/uploads/{anna.token}/progress"' in text
    assert '<noscript><meta http-equiv="refresh"' in text
    assert "80.0%" in text  # four of five
    part = words_of(page(anna, "library-progress"))
    assert "1 still to look up" in part.replace("<strong>", "").replace("</strong>", "")
    assert "<html" not in part


def test_the_page_says_why_it_stands_still(anna: Library, settings: Settings) -> None:
    settings.TMDB_API_KEY = ""
    assert "no key for TMDB" not in words_of(page(anna))  # nothing is open
    library_film(anna, "Coming", Match.OPEN)
    assert "This server has no key for TMDB" in words_of(page(anna, "library-progress"))
    settings.TMDB_API_KEY = "x"
    control.pause("tmdb", by="user:secret", reason="secret reason")
    text = words_of(page(anna, "library-progress"))
    assert "Looking up films is paused." in text
    assert "secret" not in text


def test_an_upload_shows_its_rows(anna: Library) -> None:
    sent = upload(anna)
    sent.deliveries.update(inserted=0, processed_at=None, count=3)
    text = words_of(page(anna))
    assert "export.zip: 0 of 3 lines read." in text
    assert "data-progress" in text


def test_staff_are_led_to_the_choice(anna: Library) -> None:
    operator = browser_of(person("operator"))
    assert "in the admin</a>" in words_of(operator.get(reverse("library", args=[anna.token])))


@pytest.mark.parametrize("name", ["library", "library-films", "library-progress"])
def test_a_large_library_costs_no_more_queries(
    anna: Library, name: str, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(150):
        row = library_film(anna, f"Film {number}", Match.FOUND if number % 3 else Match.NOT_FOUND)
        viewing(row, date(2020, 1, 1) + timedelta(days=number))
    upload(anna)
    with django_assert_max_num_queries(12):
        words_of(page(anna, name))


def test_pages_cannot_be_posted_to(anna: Library) -> None:
    for name in ("library", "library-films", "library-progress", "library-deleted"):
        assert Client().post(reverse(name, args=[] if name == "library-deleted" else [anna.token])).status_code == 405


class TestDeletion:
    def test_it_asks_first(self, anna: Library) -> None:
        text = words_of(page(anna, "library-delete"))
        assert "4 films" in text
        assert "2 lines" in text
        assert Library.objects.count() == 1
        client = Client()
        assert "Nothing was deleted" in words_of(client.post(reverse("library-delete", args=[anna.token])))
        assert Library.objects.count() == 1

    def test_all_of_the_library_is_gone_and_nothing_else(self, anna: Library) -> None:
        other = library("bob")
        viewing(library_film(other, "The Matrix"), date(2020, 1, 1))
        kept, sent = upload(other), upload(anna)
        hold({"title": "secret"}, stream="entries", delivery=sent.deliveries.get())
        films = Film.objects.count()
        answer = Client().post(reverse("library-delete", args=[anna.token]), {"sure": "yes"}, follow=True)
        assert "Your data has been deleted" in words_of(answer)
        assert page(anna).status_code == 404
        assert page(other).status_code == 200
        assert [each.pk for each in Library.objects.all()] == ["bob"]
        assert set(Entry.objects.values_list("library", flat=True)) == {"bob"}
        assert set(LibraryFilm.objects.values_list("library", flat=True)) == {"bob"}
        assert [each.pk for each in Upload.objects.all()] == [kept.pk]
        assert [each.upload_id for each in Delivery.objects.exclude(upload=None)] == [kept.pk]
        assert HeldRecord.objects.count() == 0
        assert Film.objects.count() == films  # everybody's

    def test_a_form_of_elsewhere_deletes_nothing(self, anna: Library) -> None:
        stranger = Client(enforce_csrf_checks=True)
        form = reverse("library-delete", args=[anna.token])
        text = words_of(stranger.post(form, {"sure": "yes"}), 403)
        assert "Allow cookies for this site, then go back to your page" in text
        assert f'<a href="{form}">Back to your page</a>' in text
        assert "logged in" not in text and "Dashboard" not in text and "Home" not in text
        assert Library.objects.count() == 1

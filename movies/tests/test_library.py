"""The films of a library, computed from exports."""

from datetime import date
from typing import Any

import pytest

from enrichment.models import HeldRecord
from enrichment.uploads import progress_of
from movies.joining import UNCLEAR
from movies.models import Entry, Library, LibraryFilm, UploadFilm
from movies.tests.exports import FIRST, SECOND, film, finish, upload_export, viewing
from tests.records import send as post
from tests.records import work_off

pytestmark = pytest.mark.django_db(transaction=True)


def films(library: str = "anna") -> dict[str, LibraryFilm]:
    rows = LibraryFilm.objects.filter(library=library)
    return {f"{row.title} ({row.year})": row for row in rows}


def entry(**fields: Any) -> dict[str, Any]:
    return {"library": "anna", "kind": "watched", "title": "The Matrix", "year": 1999, **fields}


def test_an_export_makes_one_film_of_all_lines_about_it() -> None:
    upload = upload_export(
        {
            "watched.csv": [film("The Matrix", 1999, "m"), film("Alien", 1979, "a")],
            "ratings.csv": [film("The Matrix", 1999, "m", Rating="4.5")],
            "likes/films.csv": [film("The Matrix", 1999, "m")],
            "watchlist.csv": [film("Tenet", 2020, "t")],
            "diary.csv": [
                viewing("The Matrix", 1999, "d1", "2024-05-01", Rating="4"),
                viewing("The Matrix", 1999, "d2", "2025-02-14", Rating="5", Rewatch="Yes", Tags="cinema, with friends"),
            ],
            "reviews.csv": [viewing("The Matrix", 1999, "d2", "2025-02-14", Review="Whoa.")],
        }
    )
    found = films()
    assert sorted(found) == ["Alien (1979)", "Tenet (2020)", "The Matrix (1999)"]
    matrix = found["The Matrix (1999)"]
    assert (matrix.rating, matrix.seen, matrix.liked, matrix.watchlist) == (4.5, True, True, False)
    assert (matrix.viewings, matrix.rewatches, matrix.has_review) == (2, 1, True)
    assert (matrix.first_watched_on, matrix.last_watched_on) == (date(2024, 5, 1), date(2025, 2, 14))
    assert (matrix.tags, matrix.letterboxd_uri) == (["cinema", "with friends"], "https://boxd.it/m")
    assert (found["Tenet (2020)"].seen, found["Tenet (2020)"].watchlist) == (False, True)
    assert matrix.lookup is not None and matrix.lookup.key == "boxd.it/m" and matrix.match == "open"
    linked = UploadFilm.objects.filter(upload=upload).values_list("film", flat=True)
    assert sorted(linked) == sorted(row.pk for row in found.values())
    assert progress_of([upload])[upload.pk].questions["films"]["total"] == 3
    assert upload.settled_at is not None


def test_two_films_of_one_title_and_year_stay_two() -> None:
    upload_export(
        {
            "watched.csv": [film("The Haunted Castle", 1897, "h1"), film("The Haunted Castle", 1897, "h2")],
            "diary.csv": [viewing("The Haunted Castle", 1897, "d1")],
        }
    )
    assert LibraryFilm.objects.filter(title="The Haunted Castle").count() == 2
    line = Entry.objects.get(kind="diary")
    assert line.film is None
    assert line.warnings == [UNCLEAR]
    assert {row.viewings for row in LibraryFilm.objects.all()} == {0}


def test_a_title_that_changes_between_exports_keeps_one_film() -> None:
    for at, name, year in ((FIRST, "How Do You Live?", 2022), (SECOND, "The Boy and the Heron", 2023)):
        upload_export(
            {
                "watched.csv": [film(name, year, "b")],
                "diary.csv": [viewing(name, year, "d")],
            },
            at,
        )
    [row] = LibraryFilm.objects.all()
    assert (row.title, row.year, row.viewings) == ("The Boy and the Heron", 2023, 1)


def test_an_older_export_that_comes_late_changes_nothing() -> None:
    new = {"watched.csv": [film("Bad Trip", 2021, "b")], "ratings.csv": [film("Bad Trip", 2021, "b", Rating="3")]}
    old = {
        "watched.csv": [film("Bad Trip", 2020, "b"), film("Alien", 1979, "a")],
        "ratings.csv": [film("Bad Trip", 2020, "b", Rating="5")],
        "diary.csv": [viewing("Bad Trip", 2020, "d")],
    }
    upload_export(new, SECOND)
    before = LibraryFilm.objects.values().get()
    late = upload_export(old, FIRST)
    [row] = LibraryFilm.objects.filter(title="Bad Trip", year=2021)
    assert row.rating == before["rating"]
    assert not LibraryFilm.objects.filter(title="Alien").exists()  # which the newer export lacks
    assert Entry.objects.get(title="Alien").gone
    assert progress_of([late])[late.pk].processed == 4


def test_what_a_newer_export_lacks_counts_no_more() -> None:
    upload_export(
        {
            "watched.csv": [film("Alien", 1979, "a"), film("Tenet", 2020, "t")],
            "diary.csv": [viewing("Tenet", 2020, "d")],
            "watchlist.csv": [film("Heat", 1995, "h")],
        },
        FIRST,
    )
    upload_export({"watched.csv": [film("Alien", 1979, "a")], "watchlist.csv": []}, SECOND)
    assert sorted(films()) == ["Alien (1979)", "Tenet (2020)"]  # the diary was not part of the newer one
    assert not films()["Tenet (2020)"].letterboxd_uri
    assert set(Entry.objects.filter(gone=True).values_list("title", flat=True)) == {"Tenet", "Heat"}
    upload_export({"diary.csv": []}, SECOND.replace(day=25))
    assert sorted(films()) == ["Alien (1979)"]


def test_a_line_that_could_not_be_stored_keeps_the_older_one() -> None:
    upload_export({"ratings.csv": [film("Alien", 1979, "a", Rating="4")]}, FIRST)
    upload_export({"ratings.csv": [film("Alien", 1979, "a", Rating="4.2")]}, SECOND)
    assert HeldRecord.objects.get().key == Entry.objects.get().pk
    assert films()["Alien (1979)"].rating == 4


def test_deleted_lines_take_entries_away_and_orphaned_ones_are_viewings() -> None:
    upload_export(
        {
            "watched.csv": [film("Alien", 1979, "a")],
            "diary.csv": [viewing("Alien", 1979, "d1", "2024-01-01"), viewing("Alien", 1979, "d2", "2024-02-02")],
        },
        FIRST,
    )
    upload_export(
        {
            "watched.csv": [film("Alien", 1979, "a")],
            "diary.csv": [viewing("Alien", 1979, "d1", "2024-01-01")],
            "deleted/diary.csv": [viewing("Alien", 1979, "d2", "2024-02-02"), viewing("Gone Girl", 2014, "d3")],
            "orphaned/diary.csv": [viewing("Untitled", None, "", "2023-03-03", Rating="2.5")],
        },
        SECOND,
    )
    found = films()
    assert sorted(found) == ["Alien (1979)", "Untitled (None)"]
    assert found["Alien (1979)"].viewings == 1
    assert (found["Untitled (None)"].seen, found["Untitled (None)"].viewings) == (True, 1)


def test_lines_of_a_diary_alone_make_films_that_later_files_join() -> None:
    lines = [viewing("Alien", 1979, "d1", Rating="4"), viewing("Alien", 1979, "d2", "2025-06-02")]
    upload_export({"diary.csv": lines}, FIRST)
    [row] = LibraryFilm.objects.all()
    assert (row.viewings, row.rating, row.letterboxd_uri) == (2, 4, None)
    assert row.lookup is not None and row.lookup.key == "alien 1979"
    upload_export({"watched.csv": [film("Alien", 1979, "a")]}, SECOND)
    [row] = LibraryFilm.objects.all()
    assert (row.viewings, row.letterboxd_uri) == (2, "https://boxd.it/a")
    upload_export({"ratings.csv": []}, SECOND)
    assert LibraryFilm.objects.get().rating is None  # which the file of ratings decides


def test_records_of_clients_follow_the_same_rules() -> None:
    post("entries", entry(kind="diary", letterboxd_uri="https://boxd.it/d1", watched_on="0400-02-29", rating=3))
    [row] = LibraryFilm.objects.all()
    assert (row.viewings, row.first_watched_on, row.rating) == (1, date(400, 2, 29), 3)
    of_film = entry(letterboxd_uri="https://boxd.it/m")
    post("entries", of_film, {**of_film, "kind": "ratings", "rating": 4})
    [row] = LibraryFilm.objects.all()
    assert (row.viewings, row.rating, row.letterboxd_uri) == (1, 4, "https://boxd.it/m")
    post("entries", entry(letterboxd_uri="https://boxd.it/m", title="Matrix", deleted=False))
    [row] = LibraryFilm.objects.all()
    assert (row.title, row.viewings) == ("Matrix", 1)  # the diary's line stays with it
    post("entries", entry(letterboxd_uri="http://www.boxd.it/m/", deleted=True))
    assert Entry.objects.filter(kind="watched").count() == 1
    assert Library.objects.get().client == "test"


def test_libraries_do_not_mix() -> None:
    post("entries", entry(letterboxd_uri="https://boxd.it/m"), entry(library="ben", letterboxd_uri="https://boxd.it/m"))
    first, second = LibraryFilm.objects.order_by("library")
    assert first.pk != second.pk and first.lookup_id == second.lookup_id


def test_an_upload_is_completed_only_once_its_films_are_settled() -> None:
    sent = upload_export({"watched.csv": [film("Alien", 1979, "a"), film("Tenet", 2020, "t")]})
    progress = progress_of([sent])[sent.pk]
    assert (progress.status, progress.percent) == ("enriching", 10.0)
    LibraryFilm.objects.filter(title="Alien").update(match="ambiguous")
    assert progress_of([sent])[sent.pk].percent == 55.0
    LibraryFilm.objects.filter(title="Tenet").update(match="not_found")
    progress = progress_of([sent])[sent.pk]
    assert (progress.status, progress.percent, progress.eta_seconds) == ("completed", 100.0, 0)


TITLES = ["NA", "None", "True", "1917", "★", "[REC]²", "null", "nan", 'Say "Hi"', "Ab\u00a0c", "=1+1", "8½"]


@pytest.mark.parametrize("name", TITLES)
def test_every_title_survives(name: str) -> None:
    upload_export({"watched.csv": [film(name, 1999, "x")], "diary.csv": [viewing(name, 1999, "d")]})
    [row] = LibraryFilm.objects.all()
    assert (row.title, row.viewings) == (name, 1)
    assert not HeldRecord.objects.exists()


def test_long_reviews_and_days_of_any_century_survive() -> None:
    review = 'Long.\n\n<b>Very</b> long, "quoted"; and “so on”. ' * 200
    upload_export(
        {
            "reviews.csv": [
                viewing("Alien", 1979, "d", "0400-01-01", Review=review),
                viewing("Tenet", 2020, "e", "1965-07-01"),
            ]
        }
    )
    line = Entry.objects.get(title="Alien")
    assert (line.review, line.watched_on) == (review.strip(), date(400, 1, 1))
    assert films()["Tenet (2020)"].first_watched_on == date(1965, 7, 1)
    work_off()
    finish()


@pytest.mark.parametrize(
    "named",
    [
        {"title": "ﬃ" * 255},  # casefold() makes three characters of each
        {"title": "ß" * 255, "year": None},
        {"letterboxd_uri": "İ" * 500},
        {"letterboxd_uri": "İ" * 500, "title": ""},
        {"kind": "diary", "letterboxd_uri": "https://boxd.it/v1", "title": "", "year": None},
    ],
)
def test_names_at_their_limit_are_asked_about(named: dict[str, Any]) -> None:
    post("entries", entry(**named), entry(**{**named, "library": "bert", "year": 2000}))
    rows = LibraryFilm.objects.select_related("lookup")
    assert len({row.lookup.key for row in rows if row.lookup}) == 2


@pytest.mark.parametrize("link", ["/", "https://www./", "//"])
def test_a_link_to_nothing_is_invalid(link: str) -> None:
    delivery = post("entries", entry(letterboxd_uri=link), keep_invalid=True)
    assert delivery.held == 1
    assert list(HeldRecord.objects.get().messages) == ["letterboxd_uri"]

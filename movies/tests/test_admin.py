"""The admin's pages of entries, films of libraries, films and libraries."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse

from movies.models import Entry, Library, LibraryFilm
from movies.tests import factories
from movies.tests.exports import film, upload_export, viewing

pytestmark = pytest.mark.django_db(transaction=True)


def member(group: str) -> Client:
    user = User.objects.create_user(group, is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    client = Client()
    client.force_login(user)
    return client


@pytest.fixture
def upload() -> Any:
    return upload_export(
        {
            "watched.csv": [film("Alien", 1979, "a"), film("Tenet", 2020, "t")],
            "likes/films.csv": [film("Tenet", 2020, "t")],
            "diary.csv": [viewing("Alien", 1979, "d", "0400-02-29", Rating="4.5")],
        }
    )


def listed(client: Client, model: str, **query: Any) -> set[str]:
    response: Any = client.get(reverse(f"admin:movies_{model}_changelist"), query)
    assert response.status_code == 200, response.content[:500]
    return {str(row) for row in response.context_data["cl"].result_list}


def test_films_of_libraries_are_filtered_by_what_they_are(upload: Any) -> None:
    other = factories.library("ben")
    factories.library_film(other, "Heat", how="title and year", watchlist=True)
    viewer = member("viewer")
    for query, found in [
        ({"library": "anna"}, {"Alien (1979)", "Tenet (2020)"}),
        ({"upload": upload.pk}, {"Alien (1979)", "Tenet (2020)"}),
        ({"match": "found"}, {"Heat (1999)"}),
        ({"match": "nonsense"}, set()),
        ({"tmdb_film__kind": "movie"}, {"Heat (1999)"}),
        ({"how": "title and year"}, {"Heat (1999)"}),
        ({"liked__exact": "1"}, {"Tenet (2020)"}),
        ({"watchlist__exact": "1"}, {"Heat (1999)"}),
        ({"q": "ali"}, {"Alien (1979)"}),
        ({"q": "ben"}, {"Heat (1999)"}),
    ]:
        assert listed(viewer, "libraryfilm", **query) == found, query


def test_the_page_of_a_film_leads_to_its_entries_and_to_tmdb(upload: Any) -> None:
    row = LibraryFilm.objects.get(title="Alien")
    text = member("viewer").get(reverse("admin:movies_libraryfilm_change", args=[row.pk])).content.decode()
    for entry in row.entries.all():
        assert reverse("admin:movies_entry_change", args=[entry.pk]) in text
    assert reverse("admin:enrichment_lookup_change", args=[row.lookup_id]) in text
    assert "0400-02-29" in text and "4.5" in text and "1979" in text and "1,979" not in text


def test_the_page_of_an_entry_has_what_was_sent(upload: Any) -> None:
    entry = Entry.objects.get(kind="diary")
    text = member("viewer").get(reverse("admin:movies_entry_change", args=[entry.pk])).content.decode()
    assert "0400-02-29" in text and "Refresh" not in text
    assert listed(member("operator"), "entry", kind__exact="diary") == {"Alien (diary)"}


def test_a_film_shows_what_tmdb_knows_and_who_has_it() -> None:
    row = factories.library_film(factories.library(), "Heat", film={"cast": ["Al Pacino"], "characters": ["Hanna"]})
    viewer = member("viewer")
    text = viewer.get(reverse("admin:movies_film_change", args=[row.tmdb_film_id])).content.decode()
    assert "Al Pacino" in text and "Hanna" in text
    assert reverse("admin:movies_libraryfilm_change", args=[row.pk]) in text
    assert listed(viewer, "film", described="yes", kind__exact="movie") == {"Heat"}
    assert listed(viewer, "film", described="gone") == set()


def test_films_are_exported_with_the_columns_of_the_api(upload: Any) -> None:
    response: Any = member("viewer").get(
        reverse("admin:movies_libraryfilm_export"), {"format": "csv", "library": "anna"}
    )
    text = b"".join(response.streaming_content).decode("utf-8-sig")
    assert {(row["title"], row["match"], row["genres"]) for row in csv.DictReader(io.StringIO(text))} == {
        ("Alien", "open", ""),
        ("Tenet", "open", ""),
    }


def test_an_administrator_deletes_an_entry_and_its_film_is_computed_again(upload: Any) -> None:
    entry = Entry.objects.get(kind="diary")
    page = reverse("admin:movies_entry_delete", args=[entry.pk])
    assert member("operator").post(page, {"post": "yes"}).status_code == 403
    assert member("administrator").post(page, {"post": "yes"}).status_code == 302
    row = LibraryFilm.objects.get(title="Alien")
    assert (row.viewings, row.rating, row.seen) == (0, None, True)


def test_an_administrator_deletes_a_library_with_all_that_was_sent_for_it(upload: Any) -> None:
    page = reverse("admin:movies_library_delete", args=["anna"])
    assert member("operator").get(page).status_code == 403
    administrator = member("administrator")
    assert "with all that was sent for it" in administrator.get(page).content.decode()
    assert administrator.post(page, {"post": "yes"}).status_code == 302
    assert not any(model.objects.exists() for model in (Library, Entry, LibraryFilm))

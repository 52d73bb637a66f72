"""Lists of plays show, and are filtered by, what is known of their artists now."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from music.models import Artist
from music.tests.factories import album, artist, play
from tests.api import api, table

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    """Of plays of an artist from Bristol, of one about whom nothing is known, and of nobody's."""
    bristol = artist("Portishead", country_code="GB", continent_code="EU", genres=["trip hop", "electronic"])
    unknown = artist("Unknown")
    for number in range(3):
        play(bristol, f"Bristol {number}")
        play(unknown, f"Unknown {number}")
    play(unknown, "Nobody's", artist_key="", artist=None)
    return api()


def tracks(client: Client, query: str) -> list[str]:
    return sorted(row["track_name"] for row in rows(client, query))


def rows(client: Client, query: str) -> list[dict[str, Any]]:
    answer = client.get(f"/api/listens?{query}")
    assert answer.status_code == 200, answer.content
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def test_plays_are_filtered_by_their_artist(client: Client) -> None:
    bristol, others = [f"Bristol {n}" for n in range(3)], ["Nobody's", *(f"Unknown {n}" for n in range(3))]
    assert tracks(client, "country_code=GB") == tracks(client, "continent_code=EU") == bristol
    assert tracks(client, "genres=trip hop") == tracks(client, "has_genres=true") == bristol
    assert tracks(client, "country_code_missing=true") == tracks(client, "has_genres=false") == others
    assert tracks(client, "country_code=DE") == []
    assert tracks(client, "country_code=GB&track_name=Bristol 1&user_id=ada") == ["Bristol 1"]


def test_plays_show_what_is_known_of_their_artist_now(client: Client) -> None:
    [shown] = rows(client, "track_name=Bristol 1")
    assert (shown["country_code"], shown["genres"]) == ("GB", ["trip hop", "electronic"])
    [nobodys] = rows(client, "track_name=Nobody's")
    assert (nobodys["country_code"], nobodys["genres"]) == (None, None)
    Artist.objects.filter(name="Portishead").update(country_code="PT")
    assert len(rows(client, "country_code=PT&fields=listen_id")) == 3
    exported = table(client.get("/api/listens?format=csv&country_code=PT&fields=track_name,country_code,genres"))
    assert {(row["country_code"], row["genres"]) for row in exported} == {("PT", "trip hop;electronic")}


def test_artists_and_albums_are_listed_by_plays() -> None:
    of_all = [artist(f"Artist {number}", plays=number // 2) for number in range(7)]
    album("Dummy", of_all[0], plays=2)
    album("Third", of_all[0], plays=9)
    client = api()
    expected = [row.pk for row in sorted(of_all, key=lambda row: (row.plays, row.pk), reverse=True)]
    listed: list[str] = []
    address = "/api/artists?ordering=-plays&page_size=2&fields=artist_key"
    while address:
        answer = client.get(address).json()
        listed += [row["artist_key"] for row in answer["results"]]
        address = answer["next"]
    assert listed == expected
    exported = table(client.get("/api/artists?ordering=plays&format=csv&fields=artist_key"))
    assert [row["artist_key"] for row in exported] == expected[::-1]
    albums = client.get("/api/albums?ordering=-plays&fields=name").json()["results"]
    assert [row["name"] for row in albums] == ["Third", "Dummy"]


@pytest.mark.parametrize("value", ['"7"', "null", "true", "1e3", "9223372036854775808", '"2025-01-01T00:00:00+00:00"'])
def test_a_cursor_of_something_else_than_plays_is_refused(value: str) -> None:
    cursor = base64.urlsafe_b64encode(f'["-plays", {value}, "name-1", false]'.encode()).decode()
    assert api().get(f"/api/artists?ordering=-plays&cursor={cursor}").status_code == 400


def test_they_take_one_query_however_many_they_are(client: Client) -> None:
    def queries(query: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            rows(client, query)
        return len([each for each in captured if "music_" in each["sql"]])

    assert queries("page_size=1") == queries("page_size=100") == queries("country_code=GB") == 1
    assert queries("fields=listen_id,country_code,genres") == 1

"""What clients, files and services can do at worst: no endless work, nothing half kept, nobody else harmed."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db.models import Sum

from enrichment.lookups.models import Lookup
from ingestion.streams import get
from ingestion.validation import key_of
from music import identity, located, names
from music.counting import duplicates
from music.counting.rollups import MAX_COUNTED_MS
from music.geography.areas import MAX_AREAS
from music.listens import MAX_SOURCES
from music.models import Album, Area, Artist, ArtistMonth, HourMonth, Listen, Listener
from music.providers import musicbrainz
from music.providers.members import MAX_ITEMS
from music.tests.service import look_up, mbid, play, services, spotify_id
from standins.server import Request, Response, Server
from tests.records import counts, send

stores = pytest.mark.django_db(transaction=True)

ACCENTS = "a" + "\u0315\u0300" * 500_000
"""To compose it takes hours: the time grows with the square."""


def test_what_is_too_long_for_a_name_is_not_normalized() -> None:
    assert names.fold(ACCENTS) == names.tidy(ACCENTS) == names.plain_title(ACCENTS) == ACCENTS
    assert names.plain_title("(" * 500_000 + ")" * 500_000)


def test_what_is_too_long_for_a_name_is_not_remembered() -> None:
    remembered = identity._folded.cache_info().currsize
    for number in range(3):
        text = f"{number}{'x' * names.MAX_NAME}"
        assert key_of(get("listens"), play(1, track_id=None, track_name=text, artist=text))
    assert identity._folded.cache_info().currsize == remembered


@stores
def test_names_of_a_thousand_rare_letters_are_stored() -> None:
    """4,000 bytes that cannot be compressed are more than an index of PostgreSQL takes."""
    letters = random.Random(1)
    name = "".join(chr(letters.randrange(0x20000, 0x2A000)) for _ in range(names.MAX_NAME))
    sent = send("listens", play(1, artist_id=None, album_id=None, artist=name, album=name, track_name=name))
    assert counts(sent) == {"inserted": 1}
    assert Artist.objects.get().name == Album.objects.get().name == name


@stores
def test_plays_of_a_thousand_years_do_not_overflow_the_sums() -> None:
    send("listens", *(play(1, minute, ms_played=2**53 - 1) for minute in range(3)))
    for table in (ArtistMonth, HourMonth):
        assert table.objects.aggregate(ms=Sum("ms"))["ms"] == 3 * MAX_COUNTED_MS
    assert Listen.objects.first().warnings == ["ms_played is more than a day; charts count a day"]  # type: ignore[union-attr]


@stores
def test_a_source_for_each_play_does_not_grow_the_listener_without_end() -> None:
    send("listens", *(play(number, number, play_source=f"source {number}") for number in range(MAX_SOURCES + 5)))
    send("listens", play(1, 50, play_source="another"))
    assert len(Listener.objects.get().sources) == MAX_SOURCES


def test_a_play_is_compared_with_those_next_to_it_alone() -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    plays = [
        duplicates.Play(f"{number:04}", "ada", "a track", start + timedelta(seconds=number), 1, 1, "lastfm", None)
        for number in range(1000)
    ]
    near = duplicates._nearest(plays[500]._replace(source="spotify", listen_id="x"), plays)
    assert [near[0], near[-1]] == [plays[501 - duplicates.MAX_COMPARED], plays[500 + duplicates.MAX_COMPARED]]


def test_times_of_a_listener_are_read_once() -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    plays = [
        duplicates.Play(f"{number:04}", user, "a track", start + timedelta(hours=apart), None, None, "lastfm", None)
        for number in range(50)
        for user in ("ada", "ben")
        for apart in (0, 5)
    ]
    assert len(duplicates._times_around(plays)) == 4


# Services that answer anything.

AREA_ID = "00000000-0000-4000-8000-00000000000"
LONG = "\U00020000" * 1_200
MEMBERS = (
    *("name", "sort-name", "type", "gender", "country", "disambiguation", "life-span", "ipis", "aliases", "genres"),
    *("tags", "relations", "iso-3166-1-codes", "iso-3166-2-codes", "area", "begin-area", "end-area", "popularity"),
    *("followers", "label", "album_type", "artists", "release_date", "release_date_precision", "total_tracks", "id"),
    *("external_ids", "duration_ms", "album", "begin", "end", "count", "total", "isrc"),
)
NUMBERS = (2**62, 10**400, float("inf"))
NESTED: dict[str, Any] = {name: NUMBERS[place % 3] for place, name in enumerate(MEMBERS)}
VALUES: tuple[Any, ...] = (
    *(LONG, [f"{LONG[:5]}{number}" for number in range(500)], *NUMBERS, None),
    *({**NESTED, "id": LONG}, [{**NESTED, "id": "../../x", "name": f"{LONG}{number}"} for number in range(3)]),
    [None, True, -1.5, [[]], "\0\ud800\u202e<script>"],
)


def hostile(request: Request) -> Response:
    """Of the artist of each number, its album and its area, one of these values wherever a value may be."""
    *_, kind, key = request.path.split("/")
    ids = request.query.get("ids", "").split(",")
    if kind == "api":
        answer: Any = {"access_token": "t", "expires_in": 10**400}
    elif key == "url":
        pages = [(page, int(page[-21:])) for page in request.all("resource")]
        answer = {"urls": [{"resource": page, "relations": [related(number)]} for page, number in pages]}
    else:
        answer = {key: [described(int(each[1:])) for each in ids]} if ids[0] else described_at(kind, key)
    return Response(200, json.dumps(answer).replace("Infinity", "1e999").encode())


def described(number: int) -> dict[str, Any]:
    return dict.fromkeys(MEMBERS, VALUES[number])


def related(number: int) -> dict[str, Any]:
    return {"artist": {**described(number), "id": mbid(number)}}


def described_at(kind: str, key: str) -> dict[str, Any]:
    number = int(key[-1] if kind == "area" else key[:8])
    links = [{"type": "geonames", "url": {"resource": each}} for each in (VALUES[number], "http://[", "http://a/1")]
    upwards = {"type": "part of", "direction": "backward"}
    in_a_circle = [{**upwards, "area": {"id": f"{AREA_ID}{each % len(VALUES)}"}} for each in (number, number + 1)]
    area = {"area": {**described(number), "id": f"{AREA_ID}{number}"}, "id": mbid(number)} if kind == "artist" else {}
    return {**described(number), **area, "relations": [*in_a_circle, *links]}


def addresses(url: str) -> dict[str, Any]:
    return dict.fromkeys(("SPOTIFY_URL", "SPOTIFY_ACCOUNTS_URL", "MUSICBRAINZ_URL"), url)


@stores
def test_services_may_answer_anything() -> None:
    with Server(hostile) as server, services(OPENWEATHER_API_KEY="", **addresses(server.url)):
        send("listens", *(play(number, number) for number in range(len(VALUES))))
        look_up()
    faulty = Lookup.objects.exclude(fault="", status__in=("found", "not_found"))
    assert list(faulty.values_list("provider", "kind", "key", "status", "last_error")) == []
    assert set(Artist.objects.values_list("mbid", flat=True)) == {mbid(number) for number in range(len(VALUES))}
    assert set(Album.objects.exclude(fetched_at=None).values_list("pk", flat=True)) == {
        spotify_id(number, "L") for number in range(len(VALUES))
    }
    assert max(len(genres) for genres in Artist.objects.values_list("genres", flat=True)) == MAX_ITEMS


@pytest.mark.django_db
def test_areas_without_end_are_asked_for_up_to_a_limit() -> None:
    """Each lies in another one that nobody knows yet."""
    Artist.objects.create(artist_key="mbid-1", area_id="a-0")
    asked = ["a-0"]
    for key in asked:
        found = {"id": key, "name": key, "type": "City", "iso-3166-1-codes": ["GB"]}
        above = {"type": "part of", "direction": "backward", "area": {"id": f"a-{len(asked)}"}}
        lookup = Lookup(provider=musicbrainz.NAME, kind=musicbrainz.AREA, key=key, status=Lookup.Status.FOUND)
        lookup.answer = musicbrainz.reduce_area({**found, "relations": [above]})
        asks = located.areas_answered([lookup])
        asked += [ask.key for ask in asks if ask.kind == musicbrainz.AREA]
        assert len(asked) <= MAX_AREAS
    assert len(asked) == MAX_AREAS
    assert Area.objects.get(pk="a-0").is_complete
    assert Artist.objects.get().country_code == "GB"

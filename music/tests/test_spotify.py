"""Spotify as it is asked: through the runner, against the stand-in, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from enrichment.lookups import Rate, providers, want
from enrichment.lookups.models import Lookup, ProviderState
from enrichment.lookups.runner import Runner
from music.providers import spotify
from music.providers.spotify import Spotify
from standins import server as faults
from standins import spotify as stand_in
from standins.server import Server

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[..., Server]


def artist(number: int) -> stand_in.Artist:
    return stand_in.Artist(f"ARTIST{number:016}", f"Artist {number}", ("trip hop",), 61, 12345)


def album(number: int) -> stand_in.Album:
    return stand_in.Album(f"ALBUM{number:017}", "An Album", [artist(1)], "album", "A Label", 55, "1991-04-08", 9)


def track(number: int) -> stand_in.Track:
    return stand_in.Track(f"TRACK{number:017}", "A Song", [artist(1), artist(2)], album(1), "GBFX09100001", 201_000, 40)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(providers, "_registered", {})
    running: list[Server] = []

    def start(protocol: stand_in.Spotify, secret: str = "secret", refresh_token: str = "") -> Server:
        server = stand_in.start(protocol).__enter__()
        running.append(server)
        service = Spotify("id", secret, refresh_token, url=server.url, accounts_url=server.url, rate=Rate(10_000, 1))
        providers.register(service.provider(lambda lookups: None))
        return server

    yield start
    for server in running:
        server.__exit__()


def ask(kind: str, *keys: str) -> list[Lookup]:
    want(spotify.NAME, kind, keys)
    Runner().run(until_idle=True)
    return list(Lookup.objects.filter(kind=kind).order_by("key"))


def paths(server: Server) -> list[str]:
    return [arrival.path for arrival in server.arrivals]


@pytest.mark.parametrize(
    ("kind", "of_kind", "requests"), [("artist", artist, 2), ("album", album, 5), ("track", track, 2)]
)
def test_as_many_in_a_request_as_spotify_takes(start: Start, kind: str, of_kind: Any, requests: int) -> None:
    things = [of_kind(number) for number in range(1, 101)]
    server = start(stand_in.Spotify(things[:99]))
    found = ask(kind, *(thing.id for thing in things))
    assert [lookup.status for lookup in found] == ["found"] * 99 + ["not_found"]
    assert paths(server) == ["/api/token"] + [f"/v1/{kind}s"] * requests


def test_what_is_kept(start: Start) -> None:
    start(stand_in.Spotify([artist(1), album(1), track(1)]))
    assert ask("artist", artist(1).id)[0].answer == {
        "id": artist(1).id,
        "link": f"https://open.spotify.com/artist/{artist(1).id}",
        "name": "Artist 1",
        "genres": ["trip hop"],
        "popularity": 61,
        "followers": 12345,
    }
    assert ask("album", album(1).id)[0].answer == {
        "id": album(1).id,
        "link": f"https://open.spotify.com/album/{album(1).id}",
        "name": "An Album",
        "album_type": "album",
        "label": "A Label",
        "popularity": 55,
        "genres": [],
        "artist_id": artist(1).id,
        "artist_name": "Artist 1",
        "artist_type": "artist",
        "release_date": "1991-04-08",
        "release_date_precision": "day",
        "total_tracks": 9,
    }
    assert ask("track", track(1).id)[0].answer == {
        "id": track(1).id,
        "link": f"https://open.spotify.com/track/{track(1).id}",
        "name": "A Song",
        "isrc": "GBFX09100001",
        "duration_ms": 201_000,
        "popularity": 40,
        "artists": [{"id": each.id, "name": each.name} for each in (artist(1), artist(2))],
        "album_id": album(1).id,
    }


def test_an_expired_token_is_renewed(start: Start) -> None:
    protocol = stand_in.Spotify([artist(1), artist(2)])
    server = start(protocol)
    assert ask("artist", artist(1).id)[0].status == "found"
    protocol.expire()
    assert [lookup.status for lookup in ask("artist", artist(2).id)] == ["found", "found"]
    single = "/v1/artists/"
    assert paths(server) == [
        *("/api/token", single + artist(1).id),
        *(single + artist(2).id, "/api/token", single + artist(2).id),
    ]


def test_a_token_is_renewed_before_it_expires(start: Start) -> None:
    server = start(stand_in.Spotify([artist(1), artist(2)], lifetime=spotify.MARGIN))
    ask("artist", artist(1).id)
    ask("artist", artist(2).id)
    assert paths(server).count("/api/token") == 2
    assert [arrival.status for arrival in server.arrivals] == [200] * 4


@pytest.mark.parametrize(
    ("refresh_token", "secret", "found"), [("r", "secret", True), ("gone", "secret", False), ("", "wrong", False)]
)
def test_credentials(start: Start, refresh_token: str, secret: str, found: bool) -> None:
    """Refused ones stop the provider until there are others."""
    server = start(stand_in.Spotify([artist(1)], refresh_tokens={"r"}), secret, refresh_token)
    (lookup,) = ask("artist", artist(1).id)
    assert (lookup.status == "found") == found
    state = ProviderState.objects.get(provider="spotify")
    assert bool(state.last_error) != found
    if not found:
        Runner().run(until_idle=True)
        assert paths(server) == ["/api/token"]
        start(stand_in.Spotify([artist(1)]))
        Runner().run(until_idle=True)
        lookup.refresh_from_db()
        assert lookup.status == "found"


def test_development_mode(start: Start) -> None:
    """Once several ids are refused, they are asked one by one, none of them twice."""
    server = start(stand_in.Spotify([artist(number) for number in range(1, 120)], development=True))
    found = ask("artist", *(artist(number).id for number in range(1, 121)))
    assert [lookup.status for lookup in found] == ["found"] * 119 + ["not_found"]
    first: Any = found[0].answer
    assert (first["name"], first["popularity"], first["followers"]) == ("Artist 1", None, None)
    asked = paths(server)
    singles = [path for path in asked if path.startswith("/v1/artists/")]
    assert len(singles) == len(set(singles)) == 120
    assert 1 <= asked.count("/v1/artists") <= 3
    assert ProviderState.objects.get(provider="spotify").last_error == ""


def test_the_quota_of_a_day(start: Start) -> None:
    """What was answered is kept; the rest waits for a date, and nobody sleeps until then."""
    server = start(stand_in.Spotify([artist(number) for number in range(1, 41)], development=True, quota=25))
    found = ask("artist", *(artist(number).id for number in range(1, 41)))
    statuses = [lookup.status for lookup in found]
    assert statuses.count("found") >= 20
    assert set(statuses) == {"found", "open"}
    until = ProviderState.objects.get(provider="spotify").blocked_until
    assert until is not None
    assert timedelta(hours=23) < until - timezone.now() <= timedelta(hours=24)
    before = len(server.arrivals)
    Runner().run(until_idle=True)
    assert len(server.arrivals) == before


def test_too_fast(start: Start) -> None:
    server = start(stand_in.Spotify([artist(1)]))
    server.fail(stand_in.too_fast(1), when=lambda request: request.path.startswith("/v1"))
    assert ask("artist", artist(1).id)[0].status == "found"
    assert [arrival.status for arrival in server.arrivals] == [200, 429, 200]


@pytest.mark.parametrize(
    "fault",
    [
        faults.broken_json(),
        faults.error(200, {"artists": [None]}),
        faults.error(200, {}),
        faults.error(200, []),
        faults.cut(),
        faults.error(502),
    ],
)
def test_nonsense_is_no_answer(start: Start, fault: faults.Fault) -> None:
    server = start(stand_in.Spotify([artist(1), artist(2)]))
    server.fail(fault, when=lambda request: request.path.startswith("/v1"))
    assert [lookup.status for lookup in ask("artist", artist(1).id, artist(2).id)] == ["found", "found"]


def test_what_is_no_id_is_not_asked(start: Start) -> None:
    server = start(stand_in.Spotify())
    assert ask("artist", "no id")[0].status == "not_found"
    assert server.arrivals == []


@pytest.mark.parametrize(
    ("credentials", "why"),
    [
        (("", ""), "SPOTIFY_CLIENT_ID and SPOTIFY_CLIENT_SECRET are not set."),
        (("id", ""), "SPOTIFY_CLIENT_SECRET is not set."),
        (("id", "secret"), ""),
    ],
)
def test_without_credentials_it_is_off(credentials: tuple[str, str], why: str) -> None:
    assert Spotify(*credentials).why_off() == why

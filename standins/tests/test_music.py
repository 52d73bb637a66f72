"""The stand-ins for Spotify, MusicBrainz and OpenWeather speak as the services' documentation says."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import pytest

from standins import musicbrainz, openweather, spotify
from standins.musicbrainz import Area, Credited, MusicBrainz, Recording
from standins.openweather import Place
from standins.server import Request, Response, Server
from standins.spotify import Spotify

AGENT = {"User-Agent": "Test/1 ( me@example.org )"}
BRISTOL, ENGLAND, LONDON = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
BAND, NAMESAKE, MERGED = (f"00000000-0000-4000-8000-00000000020{number}" for number in (1, 2, 3))
PAGE = "https://open.spotify.com/artist/AAAAAAAAAAAAAAAAAAAAA1"
ONE = musicbrainz.Artist(
    BAND, "Trip Hop", ("T.H.",), genres={"trip hop": 15}, area=BRISTOL, pages=(PAGE,), disambiguation="one"
)
OTHER = musicbrainz.Artist(NAMESAKE, "Trip", pages=(PAGE, f"{PAGE}x"))
SONG = Recording("A Song", [Credited(OTHER, "The Trip", " with "), Credited(ONE)], ("GBFX09100001",))
AREAS = [
    Area(BRISTOL, "Bristol", "City", part_of=[(ENGLAND, False)], geonames=2654675),
    Area(ENGLAND, "England", "Subdivision", subdivisions=("GB-ENG",)),
    Area(LONDON, "London", "City", part_of=[(ENGLAND, True)]),
]


def get(
    server: Server, path: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> tuple[int, Any]:
    request = urllib.request.Request(f"{server.url}{path}", body, dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def token(server: Server, secret: str = "secret", **form: str) -> tuple[int, Any]:
    basic = base64.b64encode(f"id:{secret}".encode()).decode()
    form = form or {"grant_type": "client_credentials"}
    return get(server, "/api/token", {"Authorization": f"Basic {basic}"}, urlencode(form).encode())


class TestMusicBrainz:
    def ask(self, path: str, *query: tuple[str, str], headers: Mapping[str, str] = AGENT) -> tuple[int, Any]:
        protocol = MusicBrainz([ONE, OTHER], [SONG], AREAS, {MERGED: BAND})
        with musicbrainz.start(protocol) as server:
            return get(server, f"/ws/2/{path}?{urlencode([*query, ('fmt', 'json')])}", headers)

    @pytest.mark.parametrize("agent", ["Python", "", "Test/1 ( )", "me@example.org"])
    def test_who_does_not_say_whom_to_ask_is_refused(self, agent: str) -> None:
        assert self.ask(f"artist/{BAND}", headers={"User-Agent": agent})[0] == 403

    def test_one_address_is_answered_alone_and_several_in_a_list(self) -> None:
        inc, known, unknown = ("inc", "artist-rels"), ("resource", PAGE), ("resource", f"{PAGE}0")
        status, page = self.ask("url", known, inc)
        assert (status, page["resource"]) == (200, PAGE)
        assert [relation["artist"]["name"] for relation in page["relations"]] == ["Trip Hop", "Trip"]
        assert self.ask("url", unknown, inc)[0] == 404
        assert self.ask("url", unknown, unknown, inc) == (200, {"url-count": 0, "url-offset": 0, "urls": []})
        several = self.ask("url", known, unknown, ("resource", f"{PAGE}x"), inc)[1]
        assert [page["resource"] for page in several["urls"]] == [f"{PAGE}x", PAGE]
        assert "relations" not in self.ask("url", known)[1]

    def test_more_than_a_hundred_are_cut_off(self) -> None:
        many = [("resource", f"{PAGE}{number}") for number in range(100)]
        assert self.ask("url", *many, ("resource", PAGE))[1]["url-count"] == 0

    def test_artists(self) -> None:
        status, artist = self.ask(f"artist/{MERGED}", ("inc", "genres tags aliases url-rels"))
        assert (status, artist["id"], artist["area"]["name"]) == (200, BAND, "Bristol")
        assert artist["genres"][0]["name"] == "trip hop"
        assert [alias["name"] for alias in artist["aliases"]] == ["T.H."]
        assert artist["relations"][0]["url"]["resource"] == PAGE
        assert not {"genres", "aliases", "relations"} & set(self.ask(f"artist/{BAND}")[1])
        assert self.ask(f"artist/{BAND[:-1]}9")[0] == 404
        assert self.ask("artist/nonsense")[0] == 400
        assert self.ask(f"artist/{BAND}", ("inc", "everything"))[0] == 400

    def test_codes(self) -> None:
        credit = self.ask("isrc/GBFX09100001", ("inc", "artist-credits aliases"))[1]["recordings"][0]["artist-credit"]
        assert [(each["name"], each["joinphrase"], each["artist"]["name"]) for each in credit] == [
            ("The Trip", " with ", "Trip"),
            ("Trip Hop", "", "Trip Hop"),
        ]
        assert credit[1]["artist"]["aliases"][0]["name"] == "T.H."
        assert self.ask("isrc/GBFX09100002")[0] == 404
        assert self.ask("isrc/nonsense")[0] == 400

    def test_areas_list_what_is_within_them(self) -> None:
        england = self.ask(f"area/{ENGLAND}", ("inc", "area-rels url-rels"))[1]
        assert [(each["direction"], each["area"]["name"], each["ended"]) for each in england["relations"]] == [
            ("forward", "Bristol", False),
            ("forward", "London", True),
        ]
        bristol = self.ask(f"area/{BRISTOL}", ("inc", "area-rels url-rels"))[1]["relations"]
        assert [each["direction"] for each in bristol] == ["backward", "forward"]
        assert bristol[1]["url"]["resource"] == "http://sws.geonames.org/2654675/"

    def test_searches(self) -> None:
        found = self.ask("artist", ("query", 'artist:"trip hop" OR alias:"trip hop"'))[1]["artists"]
        assert [(artist["name"], artist["score"]) for artist in found] == [("Trip Hop", 100), ("Trip", 50)]
        query = '(recording:"A Song" OR recording:"Other") AND artist:"The Trip with Trip Hop"'
        assert self.ask("recording", ("query", query))[1]["recordings"][0]["title"] == "A Song"
        assert self.ask("recording", ("query", 'recording:"Song" AND artist:"Nobody"'))[1]["recordings"] == []

    @pytest.mark.parametrize("query", ["", "trip", "artist:trip", 'artist:"a"b"', 'artist:"a" -tarrot-', 'name:"a"'])
    def test_what_is_no_query_is_refused(self, query: str) -> None:
        assert self.ask("artist", ("query", query))[0] == 400


class TestSpotify:
    ARTIST = spotify.Artist("AAAAAAAAAAAAAAAAAAAAA1", "Trip Hop", ("trip hop",), 61, 12345)
    ALBUM = spotify.Album("BBBBBBBBBBBBBBBBBBBBB1", "An Album", [ARTIST], label="A Label", release_date="1991")
    UNKNOWN = "AAAAAAAAAAAAAAAAAAAAA9"

    def ask(self, protocol: Spotify, path: str) -> tuple[int, Any]:
        with spotify.start(protocol) as server:
            return get(server, path, {"Authorization": f"Bearer {token(server)[1]['access_token']}"})

    def test_tokens(self) -> None:
        protocol = Spotify([self.ARTIST], refresh_tokens={"r"})
        with spotify.start(protocol) as server:
            assert token(server, "wrong")[0] == 400
            assert token(server, grant_type="refresh_token", refresh_token="gone")[1]["error"] == "invalid_grant"
            got = token(server, grant_type="refresh_token", refresh_token="r")[1]
            headers = {"Authorization": f"Bearer {got['access_token']}"}
            path = f"/v1/artists/{self.ARTIST.id}"
            assert get(server, path, headers)[0] == 200
            protocol.expire()
            assert get(server, path, headers)[1]["error"] == {"status": 401, "message": "The access token expired"}
            assert get(server, path)[0] == 401

    def test_several_at_once(self) -> None:
        status, found = self.ask(Spotify([self.ARTIST]), f"/v1/artists?ids={self.UNKNOWN},{self.ARTIST.id}")
        assert (status, found["artists"][0], found["artists"][1]["popularity"]) == (200, None, 61)
        assert self.ask(Spotify(), f"/v1/albums?ids={','.join([self.UNKNOWN] * 21)}")[0] == 400
        assert self.ask(Spotify(), "/v1/albums?ids=nonsense")[1]["error"]["message"] == "Invalid base62 id"

    def test_one_alone(self) -> None:
        album = self.ask(Spotify([self.ALBUM]), f"/v1/albums/{self.ALBUM.id}")[1]
        assert (album["label"], album["release_date_precision"], album["artists"][0]["name"]) == (
            *("A Label", "year"),
            "Trip Hop",
        )
        assert self.ask(Spotify(), f"/v1/albums/{self.UNKNOWN}")[0] == 404

    def test_development_mode(self) -> None:
        protocol = Spotify([self.ARTIST], development=True)
        assert self.ask(protocol, f"/v1/artists?ids={self.ARTIST.id}")[0] == 403
        assert not {"popularity", "followers"} & set(self.ask(protocol, f"/v1/artists/{self.ARTIST.id}")[1])

    def test_the_quota(self) -> None:
        protocol = Spotify([self.ARTIST], quota=1)
        assert self.ask(protocol, f"/v1/artists/{self.ARTIST.id}")[0] == 200
        status, refused = self.ask(protocol, f"/v1/artists/{self.ARTIST.id}")
        assert (status, refused["error"]["reason"]) == (429, "QUOTA_EXCEEDED")


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ({"q": "Portland,OR,US", "limit": "5"}, ["Oregon"]),
        ({"q": "portland,US", "limit": "5"}, ["Oregon", "Maine"]),
        ({"q": "Portland"}, ["Oregon"]),
        ({"q": "Portland,GB", "limit": "5"}, []),
    ],
)
def test_openweather(query: dict[str, str], states: list[str]) -> None:
    portlands = [
        Place("Portland", "US", 45.52, -122.67, "Oregon", "OR"),
        Place("Portland", "US", 43.66, -70.26, "Maine", "ME"),
    ]
    with openweather.start(portlands) as server:
        found = get(server, f"/geo/1.0/direct?{urlencode({**query, 'appid': 'k'})}")[1]
        assert [place["state"] for place in found] == states
        assert get(server, "/geo/1.0/direct?q=&appid=k") == (400, {"cod": "400", "message": "Nothing to geocode"})
        assert get(server, "/geo/1.0/direct?q=x&appid=wrong")[0] == 401


def test_a_name_may_come_more_than_once_in_a_query() -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Response:
        seen.append(request)
        return Response(body={})

    with Server(answer) as server:
        get(server, "/x?a=1&b=2&a=3")
    assert (seen[0].all("a"), seen[0].query) == (["1", "3"], {"a": "3", "b": "2"})

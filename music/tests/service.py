"""The services for tests of the whole chain: stand-ins, asked over HTTP by the real providers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from django.db.models import Sum
from django.test import override_settings

from enrichment.lookups import providers
from enrichment.lookups.runner import Runner
from music import configured
from music.models import Album, AlbumMonth, Artist, ArtistMonth, HourMonth
from standins import musicbrainz, openweather, spotify
from standins.server import Server

BRISTOL, ENGLAND, UNITED_KINGDOM = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
AREAS = (
    musicbrainz.Area(BRISTOL, "Bristol", "City", part_of=[(ENGLAND, False)], geonames=2654675),
    musicbrainz.Area(ENGLAND, "England", "Subdivision", subdivisions=("GB-ENG",), part_of=[(UNITED_KINGDOM, False)]),
    musicbrainz.Area(UNITED_KINGDOM, "United Kingdom", "Country", countries=("GB",)),
)
FAST = (100_000, 1)


@dataclass(frozen=True)
class Services:
    spotify: Server
    musicbrainz: Server
    openweather: Server

    def paths(self, name: str) -> list[str]:
        """Of the requests to one of them, tokens aside."""
        server: Server = getattr(self, name)
        return [arrival.path for arrival in server.arrivals if not arrival.path.startswith("/api/token")]


@contextmanager
def services(
    *,
    of_spotify: spotify.Spotify | None = None,
    of_musicbrainz: musicbrainz.MusicBrainz | None = None,
    cities: Iterable[openweather.Place] = (),
    **off: str,
) -> Iterator[Services]:
    """All three are on, except where a setting is given as empty."""
    with ExitStack() as stack:
        found = Services(
            stack.enter_context(spotify.start(of_spotify or spotify.Spotify())),
            stack.enter_context(musicbrainz.start(of_musicbrainz or musicbrainz.MusicBrainz())),
            stack.enter_context(openweather.start(cities)),
        )
        values: dict[str, Any] = {
            "SPOTIFY_CLIENT_ID": "id",
            "SPOTIFY_CLIENT_SECRET": "secret",
            "SPOTIFY_URL": found.spotify.url,
            "SPOTIFY_ACCOUNTS_URL": found.spotify.url,
            "MUSICBRAINZ_CONTACT": "music@example.org",
            "MUSICBRAINZ_URL": found.musicbrainz.url,
            "OPENWEATHER_API_KEY": "k",
            "OPENWEATHER_URL": found.openweather.url,
            **{f"{name}_RATE": FAST for name in ("SPOTIFY", "MUSICBRAINZ", "OPENWEATHER")},
            **off,
        }
        with override_settings(**values):
            configured.register_all()
            yield found
    configured.register_all()


def look_up() -> None:
    Runner(providers.names()).run(until_idle=True)


def artist(key: str) -> Artist:
    return Artist.objects.get(pk=key)


def spotify_id(number: int, kind: str = "A") -> str:
    return f"{kind}{number:021}"


def mbid(number: int) -> str:
    return f"{number:08}-0000-4000-9000-000000000000"


def play(number: int, minute: int = 0, **members: Any) -> dict[str, Any]:
    """A play of the artist of this number."""
    return {
        "user_id": "ada",
        "played_at": f"2025-01-{1 + minute // 1440:02}T{minute // 60 % 24:02}:{minute % 60:02}:00Z",
        "track_id": spotify_id(number, "T"),
        "track_name": f"Song {number}",
        "artist_id": spotify_id(number),
        "artist": f"Artist {number}",
        "album_id": spotify_id(number, "L"),
        "album": f"Album {number}",
        "duration_ms": 50_000,
        **members,
    }


NAMES: dict[str, Any] = {"track_id": None, "artist_id": None, "album_id": None, "duration_ms": None}
HISTORY: dict[str, Any] = {
    **NAMES,
    "track_id": spotify_id(1, "T"),
    "play_source": "spotify-history",
    "ms_played": 200_000,
}


def at(time: str, number: int = 1, **members: Any) -> dict[str, Any]:
    return play(number, **{**NAMES, "played_at": f"2025-03-01T{time}Z", **members})


def totals() -> dict[str, int]:
    """The plays in each table: all must agree."""
    tables: dict[str, Any] = {"artists": ArtistMonth, "albums": AlbumMonth, "hours": HourMonth}
    found = {name: table.objects.aggregate(plays=Sum("plays"))["plays"] or 0 for name, table in tables.items()}
    for name, model in (("of artists", Artist), ("of albums", Album)):
        found[name] = model._default_manager.aggregate(plays=Sum("plays"))["plays"] or 0
    return found


def band(number: int, **members: Any) -> musicbrainz.Artist:
    """That artist at MusicBrainz."""
    page = f"https://open.spotify.com/artist/{spotify_id(number)}"
    return musicbrainz.Artist(mbid(number), f"Artist {number}", **{"area": BRISTOL, "pages": (page,), **members})


def at_spotify(number: int, **members: Any) -> spotify.Artist:
    return spotify.Artist(spotify_id(number), f"Artist {number}", ("trip hop",), 50, 1000, **members)


def album_at_spotify(number: int) -> spotify.Album:
    return spotify.Album(spotify_id(number, "L"), f"Album {number}", [at_spotify(number)], "album", "A Label")

"""The music of the demo: artists, albums and tracks that do not exist, from places that do (music.json).

Names, titles and IDs are made up, the same ones each time. Places are cities of GeoNames (CC BY 4.0), by its numbers.
As in the real world, MusicBrainz lacks some artists, does not know the page at Spotify of others, and has several of
one name.
"""

from __future__ import annotations

import hashlib
import json
import random
import string
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from standins import musicbrainz, spotify

SEED = 7
ARTISTS_OF_PLACE = (1, 2, 2, 3, 4)
"""One of these numbers is drawn for each place."""
NOT_THERE = 0.06
"""The part of the artists that MusicBrainz does not know."""
NOT_LINKED = 0.2
"""The part that it knows without their page at Spotify."""
VARIOUS = "89ad4ac3-39f7-470e-963a-56509c546377"
"""The ID of Various Artists at MusicBrainz: the only real one here."""
NAMESAKES = (("Juniper", "Bristol", "Melbourne"), ("Nord", "Oslo", "Hamburg"), ("Mirage", "Lyon", "Cairo"))
"""Two artists of one name that nothing tells apart."""
COUNTRY_ONLY = ("IS", "JM", "ML")
"""Of artists from there MusicBrainz knows the country alone."""

_given: dict[str, Any] = json.loads(Path(__file__).with_name("music.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Place:
    city: str
    geonames: int
    country_code: str
    country: str
    subdivision: str
    subdivision_code: str


@dataclass(frozen=True)
class Track:
    id: str
    title: str
    artist: Artist
    album: Album
    isrc: str
    seconds: int


@dataclass(frozen=True)
class Album:
    id: str
    title: str
    year: int
    tracks: list[Track]


@dataclass(frozen=True)
class Artist:
    id: str
    """At Spotify."""
    name: str
    place: Place
    genres: Sequence[str]
    albums: list[Album]

    @property
    def tracks(self) -> list[Track]:
        return [track for album in self.albums for track in album.tracks]


def number_of(*parts: str) -> int:
    return int.from_bytes(hashlib.blake2b("\0".join(parts).encode(), digest_size=20).digest())


def spotify_id(*parts: str) -> str:
    digits = string.digits + string.ascii_letters
    number, found = number_of("spotify", *parts), ""
    for _ in range(22):
        number, digit = divmod(number, len(digits))
        found += digits[digit]
    return found


def mbid(*parts: str) -> str:
    return str(uuid.UUID(int=number_of("musicbrainz", *parts) >> 32, version=4))


def _isrc(key: str) -> str:
    registrant, number = divmod(number_of("isrc", key), 10_000_000)
    return f"ZZ{registrant % 900 + 100}{number:07}"


def chance(*parts: str) -> float:
    """From 0 to 1, always the same."""
    return number_of("chance", *parts) % 10_000 / 10_000


PLACES = tuple(Place(*each) for each in _given["places"])


@cache
def artists() -> tuple[Artist, ...]:
    chosen = random.Random(SEED)  # noqa: S311
    names = [f"{first} {last}" for first in _given["adjectives"] for last in _given["nouns"]]
    names += [f"{first} {last}" for first in _given["given_names"] for last in _given["family_names"]]
    chosen.shuffle(names)
    found = []
    for place in PLACES:
        found += [_artist(chosen, names.pop(), place) for _ in range(chosen.choice(ARTISTS_OF_PLACE))]
    by_city = {place.city: place for place in PLACES}
    found += [_artist(chosen, name, by_city[one]) for name, one, _ in NAMESAKES]
    return tuple(found)


def _artist(chosen: random.Random, name: str, place: Place) -> Artist:
    of_country = _given["genres"].get(place.country_code, _given["other_genres"])
    genres = chosen.sample(of_country, min(len(of_country), chosen.choice((1, 2, 2, 3))))
    artist = Artist(spotify_id(name), name, place, genres, [])
    first = chosen.randint(1985, 2022)
    for number in range(chosen.choice((1, 2, 2, 3))):
        title = _title(chosen)
        album = Album(spotify_id(name, title, f"{number}"), title, min(2025, first + 3 * number), [])
        for position, track in enumerate(dict.fromkeys(_title(chosen) for _ in range(chosen.randint(7, 11)))):
            key = spotify_id(name, title, track, f"{number}.{position}")
            album.tracks.append(Track(key, track, artist, album, _isrc(key), chosen.randint(130, 420)))
        artist.albums.append(album)
    return artist


def _title(chosen: random.Random) -> str:
    return f"{chosen.choice(_given['title_starts'])} {chosen.choice(_given['title_ends'])}"


# What Spotify knows.


def at_spotify() -> spotify.Spotify:
    found: list[spotify.Artist | spotify.Album | spotify.Track] = []
    for each in artists():
        popularity = int(100 * chance("popularity", each.name))
        artist = spotify.Artist(each.id, each.name, each.genres[:1], popularity, 40 * popularity**2)
        found.append(artist)
        for album in each.albums:
            day = f"{album.year}-{1 + number_of(album.id) % 12:02}-{1 + number_of(album.title) % 28:02}"
            shown = spotify.Album(
                *(album.id, album.title, (artist,)),
                release_date=day,
                total_tracks=len(album.tracks),
                label="Demo Records",
            )
            found.append(shown)
            found += [
                spotify.Track(track.id, track.title, (artist,), shown, track.isrc, 1000 * track.seconds)
                for track in album.tracks
            ]
    return spotify.Spotify(found)


# What MusicBrainz knows.


def at_musicbrainz() -> musicbrainz.MusicBrainz:
    known = [each for each in artists() if chance("not there", each.name) >= NOT_THERE]
    alike = {name for name, _, _ in NAMESAKES}
    found, recordings = [_various()], []
    for each in known:
        if each.name in alike:
            continue
        is_linked = chance("linked", each.name) >= NOT_LINKED
        artist = _described(each, each.place, [f"https://open.spotify.com/artist/{each.id}"] if is_linked else [])
        found.append(artist)
        if not is_linked:
            recordings += [
                musicbrainz.Recording(
                    track.title, [musicbrainz.Credited(artist)], [track.isrc], mbid("recording", track.id)
                )
                for track in each.tracks
            ]
    by_city = {place.city: place for place in PLACES}
    by_name = {each.name: each for each in artists()}
    for name, *cities in NAMESAKES:
        found += [_described(by_name[name], by_city[city], []) for city in cities]
    return musicbrainz.MusicBrainz(found, recordings, _areas())


def _described(artist: Artist, place: Place, pages: Sequence[str]) -> musicbrainz.Artist:
    is_person = artist.name.split()[0] in _given["given_names"]
    return musicbrainz.Artist(
        mbid("artist", artist.name, place.city),
        artist.name,
        type="Person" if is_person else "Group",
        country=place.country_code,
        disambiguation=f"invented {artist.genres[0]} {'musician' if is_person else 'group'} from {place.city}",
        area=mbid("area", "country", place.country_code) if place.country_code in COUNTRY_ONLY else _area_of(place),
        begin=f"{min(album.year for album in artist.albums) - 2}",
        genres={genre: 9 - 3 * number for number, genre in enumerate(artist.genres)},
        tags={genre: 9 - 3 * number for number, genre in enumerate(artist.genres)},
        pages=pages,
    )


def _various() -> musicbrainz.Artist:
    return musicbrainz.Artist(VARIOUS, "Various Artists", type="Other", disambiguation="compilations")


def _area_of(place: Place) -> str:
    return mbid("area", "city", f"{place.geonames}")


def _areas() -> list[musicbrainz.Area]:
    found = {}
    for place in PLACES:
        above = country = mbid("area", "country", place.country_code)
        found[country] = musicbrainz.Area(country, place.country, "Country", countries=(place.country_code,))
        if place.subdivision:
            above = mbid("area", "subdivision", place.subdivision_code)
            found[above] = musicbrainz.Area(
                *(above, place.subdivision, "Subdivision"),
                subdivisions=(place.subdivision_code,),
                part_of=((country, False),),
            )
        is_linked = chance("geonames", place.city) >= NOT_LINKED
        geonames = place.geonames if is_linked else None
        city = musicbrainz.Area(_area_of(place), place.city, "City", part_of=((above, False),), geonames=geonames)
        found[city.id] = city
    return list(found.values())

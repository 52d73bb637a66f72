"""What is known of artists, albums, areas and cities, as rows of Parquet, in the order of their tables' columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db.models import Manager, QuerySet

from enrichment.lookups.models import Lookup
from enrichment.statements import batched
from music.geography.areas import TYPES
from music.models import Album, Area, Artist, Match, MusicBrainzArtist, SpotifyArtist
from music.providers import musicbrainz

Row = tuple[Any, ...]
AT_ONCE = 1000
SPOTIFY = "spotify-"
"""What the key of an artist with an id at Spotify begins with."""
LEVELS = (*TYPES, "unknown")
EXACTNESS = DISTRICT, CITY_STATE, CITY = "district", "city state", "city"
"""`Area.precision`, the point of the city itself last."""
CONTINENTS = {
    "AF": "Africa",
    "AN": "Antarctica",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}
REASONS = {
    Match.NOT_FOUND: "MusicBrainz has no artist that fits",
    Match.AMBIGUOUS: "several artists fit, and nobody has chosen one yet",
    Match.FAILED: "MusicBrainz did not answer the question",
}


def spotify_artists() -> Iterator[Row]:
    mbids = _mbids()
    for artist in _described(SpotifyArtist.objects):
        yield artist.pk, artist.name, mbids.get(artist.pk), artist.popularity


def spotify_albums() -> Iterator[Row]:
    for album in _described(Album.objects):
        yield (
            *(album.pk, album.album_type, album.artist_id, album.artist_name, album.artist_type, album.label),
            *(album.album_name, album.release_date, album.release_date_precision, album.genres),
            *(album.popularity, album.total_tracks, _naive(album.fetched_at)),
        )


def spotify_artist_genres() -> Iterator[Row]:
    for artist in _described(SpotifyArtist.objects):
        for genre in dict.fromkeys(artist.genres):
            yield artist.pk, artist.name, genre


def spotify_album_genres() -> Iterator[Row]:
    for album in _described(Album.objects):
        for genre in dict.fromkeys(album.genres):
            yield album.pk, album.album_name, genre


def musicbrainz_artists() -> Iterator[Row]:
    """One for each of their ids at Spotify; of those who are in no play by such an id, one alone."""
    played = _spotify_ids()
    for artist in _described(MusicBrainzArtist.objects):
        known = _known(artist)
        for spotify_id in played.get(artist.pk) or artist.spotify_ids[:1] or [""]:
            yield *known, spotify_id, None


def musicbrainz_genres() -> Iterator[Row]:
    played = _spotify_ids()
    for artist in _described(MusicBrainzArtist.objects):
        spotify_id = next(iter(played.get(artist.pk) or artist.spotify_ids), None)
        counts = {genre["name"]: genre["count"] for genre in reversed(artist.genres)}
        for genre, count in reversed(counts.items()):
            yield artist.pk, spotify_id, artist.name, genre, count


def artists_not_found() -> Iterator[Row]:
    """For each recording code that was tried, or one without a code."""
    wanted = Artist.objects.filter(match__in=REASONS).order_by("pk").iterator(AT_ONCE)
    for artists in batched(wanted, AT_ONCE):
        questions = Lookup.objects.filter(provider=musicbrainz.NAME, kind=musicbrainz.MATCH)
        asked = {lookup.key: lookup for lookup in questions.filter(key__in=[artist.pk for artist in artists])}
        for artist in artists:
            lookup = asked.get(artist.pk)
            at = (lookup and lookup.answered_at) or artist.stored_at
            for code in dict.fromkeys((lookup and lookup.question.get("isrcs")) or [""]):
                yield _id_of(artist), artist.name, code, REASONS[Match(artist.match)], at.astimezone(UTC).isoformat()


def areas() -> Iterator[Row]:
    places = _places()
    for area in _asked_areas().order_by("pk").iterator(AT_ONCE):
        levels: Mapping[str, Mapping[str, Any]] = area.levels
        place = places.get(area.pk)
        yield (
            *(area.pk, area.type or None, area.name, area.sort_name),
            *(levels.get(level, {}).get(name) for level in LEVELS for name in ("id", "name", "sort_name")),
            *(CONTINENTS.get(area.continent_code or ""), area.country_code, area.continent_code, area.state_code),
            place and place.params,
        )


def cities() -> Iterator[Row]:
    """Each once, however many areas are in it; where the city itself is, if that is known."""
    places = _places()
    found: dict[str, Row] = {}
    exactness: dict[str, int] = {}
    for area in _asked_areas().exclude(latitude=None).order_by("pk").iterator(AT_ONCE):
        place, exact = places.get(area.pk), EXACTNESS.index(area.precision if area.precision in EXACTNESS else CITY)
        if place and place.params and exact > exactness.get(place.params, -1):
            codes = (area.state_code, area.country_code)
            found[place.params] = (place.name, *codes, place.params, str(area.latitude), str(area.longitude))
            exactness[place.params] = exact
    yield from (found[params] for params in sorted(found))


class Place(NamedTuple):
    """The city that an area is, or lies in."""

    city_id: str
    """The area of the city itself; of several of one city, the first."""
    name: str
    params: str | None
    """Of no other city: City,CC; in the United States, and for all but the largest of one name, City,ST,CC."""
    point: tuple[float | None, ...] | None = None
    """Of the area of the city itself, if it is known where that is."""
    is_city_state: bool = False
    state_params: str | None = None
    rank: tuple[bool, int] = (False, 0)
    """Of several of one name the highest is meant: whether it is known where it is, and its inhabitants."""


def _places() -> dict[str, Place]:
    """By area."""
    areas = _asked_areas().select_related("city").order_by("pk").iterator(AT_ONCE)
    places = _of_one_city({area.pk: place for area in areas if (place := _place(area))})
    named: dict[str, dict[str, Place]] = {}
    for place in places.values():
        of_name = named.setdefault(place.params or "", {})
        of_name[place.city_id] = max(place, of_name.get(place.city_id, place), key=lambda each: each.rank)
    params: dict[str, str | None] = {}
    for text, of_name in named.items():
        first, *others = sorted(of_name.values(), key=lambda place: (place.rank, place.city_id), reverse=True)
        params[first.city_id] = text
        taken = [other.state_params for other in others]
        params |= {
            other.city_id: other.state_params
            if other.state_params != text and taken.count(other.state_params) == 1
            else None
            for other in others
        }
    return {area: place._replace(params=params[place.city_id]) for area, place in places.items()}


def _of_one_city(places: Mapping[str, Place]) -> dict[str, Place]:
    """With one `city_id` for the areas of one city: those of a name at one point, and a city state with its city."""
    states = {place.params for place in places.values() if place.is_city_state}
    first: dict[Any, str] = {}
    same: dict[str, str] = {}
    for place in places.values():
        if place.params in states or place.point:
            point = None if place.params in states else place.point
            same[place.city_id] = first.setdefault((place.params, point), place.city_id)
    return {area: place._replace(city_id=same.get(place.city_id, place.city_id)) for area, place in places.items()}


def _place(area: Area) -> Place | None:
    country, state = area.country_code, area.state_code
    city = area.levels.get("city") or area.levels.get("municipality")
    if city is None and area.precision == CITY_STATE:
        city = {"id": area.pk}
    if not city or not country:
        return None
    params = area.params or f"{area.name},{country}"
    name = params.removesuffix(f",{country}")
    name = name.removesuffix(f",{state}") if country == "US" and state else name
    rank = (area.latitude is not None, area.city.population if area.city else 0)
    is_located = area.pk == city["id"] and area.latitude is not None
    return Place(
        city["id"],
        name,
        params,
        point=(area.latitude, area.longitude) if is_located else None,
        is_city_state=area.precision == CITY_STATE,
        state_params=f"{name},{state},{country}" if state else None,
        rank=rank,
    )


def _asked_areas() -> QuerySet[Area]:
    return Area.objects.exclude(kept=None)


def _described(rows: Manager[Any]) -> Iterator[Any]:
    """Those that their service has described, by key."""
    return rows.exclude(fetched_at=None).order_by("pk").iterator(AT_ONCE)


def _artists_by_spotify_id() -> Iterator[tuple[str, str]]:
    """(id at Spotify, MBID) of artists in plays who were found; the id that plays name comes first."""
    found = Artist.objects.filter(match=Match.FOUND).exclude(mbid=None).order_by("-plays", "pk")
    rows = found.values_list("pk", "spotify_id", "spotify_ids", "mbid").iterator(AT_ONCE)
    for key, asked, spotify_ids, mbid in rows:
        own = key.removeprefix(SPOTIFY) if key.startswith(SPOTIFY) else asked
        for spotify_id in [*([own] if own else []), *spotify_ids]:
            yield spotify_id, mbid or ""


def _mbids() -> dict[str, str]:
    """By id at Spotify."""
    found: dict[str, str] = {}
    for spotify_id, mbid in _artists_by_spotify_id():
        found.setdefault(spotify_id, mbid)
    return found


def _spotify_ids() -> dict[str, list[str]]:
    """By MBID: those in plays, each of one artist alone."""
    found: dict[str, list[str]] = {}
    for spotify_id, mbid in _mbids().items():
        found.setdefault(mbid, []).append(spotify_id)
    return found


def _id_of(artist: Artist) -> str:
    """At Spotify, else our own."""
    return artist.pk.removeprefix(SPOTIFY)


def _known(artist: MusicBrainzArtist) -> Row:
    area, begin_area, end_area = artist.area or {}, artist.begin_area or {}, artist.end_area or {}
    part = ("id", "name", "sort_name", "disambiguation")
    return (
        *(artist.pk, artist.type or None, artist.name, artist.sort_name, artist.gender or None),
        *(artist.country or None, artist.disambiguation or None),
        *(area.get(name) or None for name in (*part, "begin")),
        *(begin_area.get(name) or None for name in (*part, "begin")),
        *(end_area.get(name) or None for name in part),
        *(artist.begin or None, artist.end or None, "true" if artist.ended else "false"),
        *(", ".join(artist.ipis) or None, str(len(artist.aliases)), None),
        json.dumps(artist.tags, ensure_ascii=False),
    )


def _naive(at: datetime | None) -> datetime | None:
    """In UTC."""
    return at.astimezone(UTC).replace(tzinfo=None) if at else None

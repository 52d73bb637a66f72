"""Plays, artists, albums and areas, as storing and looking up would have left them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from django.utils import timezone

from music import identity
from music.models import Album, Area, Artist, Listen, Listener, Match

_numbers = count(1)
BEGINNING = datetime(2025, 1, 6, 20, 15, tzinfo=UTC)
"""A Monday."""


def listener(user_id: str = "ada") -> Listener:
    return Listener.objects.get_or_create(user_id=user_id, defaults={"client": "user:root"})[0]


def artist(name: str, **columns: Any) -> Artist:
    """Found in MusicBrainz, unless said otherwise."""
    number = next(_numbers)
    defaults = {"match": Match.FOUND, "how": "titles", "mbid": f"00000000-0000-4000-8000-{number:012}", "plays": number}
    if columns.get("match", Match.FOUND) != Match.FOUND:
        defaults = {"plays": number}
    key = identity.artist_key(None, None, name)
    return Artist.objects.create(**{"artist_key": key, "name": name, **defaults, **columns})


def area(name: str, **columns: Any) -> Area:
    key = f"10000000-0000-4000-8000-{next(_numbers):012}"
    return Area.objects.create(**{"area_id": key, "name": name, "sort_name": name, "type": "City", **columns})


def album(name: str, of: Artist, **columns: Any) -> Album:
    defaults = {"name": name, "artist_key": of.pk, "artist_name": of.name, "plays": next(_numbers)}
    return Album.objects.create(**{"album_id": identity.album_key(None, name, of.name), **defaults, **columns})


def play(of: Artist, track_name: str = "A Song", user_id: str = "ada", **columns: Any) -> Listen:
    """Each a quarter of an hour after the one before."""
    played_at = columns.pop("played_at", None) or BEGINNING + timedelta(minutes=15 * next(_numbers))
    local = timezone.localtime(played_at)
    versions = {"version_at": timezone.now(), "delivery": 0, "position": 0, "warnings": []}
    columns = {
        "listen_id": identity.listen_id(user_id, played_at, track_name=track_name, artist=of.name),
        "user_id": listener(user_id).pk,
        "played_at": played_at,
        "track_name": track_name,
        "artist": of.name,
        "artist_key": of.pk,
        "track_key": identity.track_key(track_name, of.name, None),
        "ms_played": 180_000,
        "hour": local.hour,
        "weekday": local.weekday(),
        "is_skip": False,
        **versions,
        **columns,
    }
    return Listen.objects.create(**columns)

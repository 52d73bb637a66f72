"""What makes two plays one, and two names one artist, album or track."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ingestion.fields import normalized, parse_time, tidy
from music import names
from music.schemas import ListenRecord

MBID = re.compile("[0-9a-z]+(-[0-9a-z]+)*", re.ASCII)
"""MusicBrainz says of those that are none."""
SPOTIFY_ID = re.compile("[0-9A-Za-z_-]{1,55}", re.ASCII)
"""Spotify says of those that are none; those of 22 letters and digits are."""
NAMES_REMEMBERED = 20_000
KEY_FIELDS = ("user_id", "track_id", "track_name", "artist")


def listen_id(user_id: str, played_at: datetime, *, track_id: str = "", track_name: str = "", artist: str = "") -> str:
    """The time of the play in UTC, to the microsecond, and who played what: it sorts by time.

    What was played is the track's id, or the names of track and artist, folded.
    """
    what = ["id", track_id] if track_id else ["name", _fold(track_name), _fold(artist)]
    at = played_at.astimezone(UTC)
    time = "%04d%02d%02dT%02d%02d%02d%06d"  # in a sixth of the time that strftime takes
    moment = time % (at.year, at.month, at.day, at.hour, at.minute, at.second, at.microsecond)
    return f"{moment}-{_hash(user_id, *what)}"


def key_of(payload: Mapping[str, Any]) -> str:
    """The `listen_id` of a payload; empty where it lacks what that is made of."""
    user_id, track_id, track_name, artist = (_text(payload, name) for name in KEY_FIELDS)
    if not user_id or not (track_id or track_name):
        return ""
    try:
        played_at = parse_time(payload.get("played_at"))
    except ValueError:
        return ""
    return listen_id(normalized(user_id), played_at, track_id=track_id, track_name=track_name, artist=artist)


def key_of_record(listen: ListenRecord) -> str:
    """The same, of a valid one."""
    return listen_id(
        listen.user_id,
        listen.played_at,
        track_id=listen.track_id or "",
        track_name=listen.track_name or "",
        artist=listen.artist or "",
    )


def artist_key(artist_id: str | None, artist_mbid: str | None, artist: str | None) -> str:
    """By the id at Spotify, else at MusicBrainz, else by the name; empty where there is none of them."""
    if artist_id and SPOTIFY_ID.fullmatch(artist_id):
        return f"spotify-{artist_id}"
    if artist_mbid and MBID.fullmatch(mbid := artist_mbid.lower()):
        return f"mbid-{mbid}"
    return _name_key(artist) if artist else ""


@lru_cache(NAMES_REMEMBERED)
def album_key(album_id: str | None, album: str | None, artist: str | None) -> str:
    """The id at Spotify, else by the names of album and artist; empty where there is neither. No id passes for the
    names of another album.
    """
    if album_id and SPOTIFY_ID.fullmatch(album_id) and is_spotify_album(album_id):
        return album_id
    return f"name-{_hash(_fold(album), _fold(artist or ''), size=12)}" if album else ""


def is_spotify_album(key: str) -> bool:
    return not key.startswith("name-")


@lru_cache(NAMES_REMEMBERED)
def track_key(track_name: str | None, artist: str | None, track_id: str | None) -> str:
    """Equal for a track that one source names by its id as well, and another one by its names alone."""
    if track_name:
        return _hash("name", names.fold(names.plain_title(track_name)), _fold(artist or ""))
    return _hash("id", track_id or "")


@lru_cache(NAMES_REMEMBERED)
def _name_key(artist: str) -> str:
    return f"name-{_hash(names.fold(artist), size=12)}"


def _fold(name: str) -> str:
    """Of a payload that need not be valid: what is too long for a name is not remembered."""
    return _folded(name) if len(name) <= names.MAX_NAME else names.fold(name)


@lru_cache(NAMES_REMEMBERED)
def _folded(name: str) -> str:
    return names.fold(name)


def _hash(*parts: str, size: int = 8) -> str:
    return hashlib.blake2b("\0".join(parts).encode(errors="replace"), digest_size=size).hexdigest()


def _text(payload: Mapping[str, Any], name: str) -> str:
    value = tidy(payload.get(name))
    return value if isinstance(value, str) else ""

"""The files in which people have their listening history: exports of Spotify, ListenBrainz and Last.fm.

Each is read item by item, and what does not belong to a play is dropped there: addresses of devices, above all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from ingestion.streams import Layout

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
LASTFM_HEADER = "artist,album,track,utc_time"
TRACK = "spotify:track:"

_lastfm_time = re.compile(r"([0-9]{1,2}) ([A-Z][a-z]{2})[a-z]* ([0-9]{4}),? ([0-9]{2}):([0-9]{2})", re.ASCII)
_minute = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}", re.ASCII)
_two_zones = re.compile(r"(.*[+-][0-9]{2}:[0-9]{2})Z", re.ASCII)
"""As some programs write UTC."""


def _text(value: Any) -> Any:
    """None for an empty text; what is no text as it is, for validation to name it."""
    return (value.strip() or None) if isinstance(value, str) else value


def _part(item: Any, *names: str) -> Any:
    """What stands in the item under these names, one in the other; None for nothing."""
    for name in names:
        item = item.get(name) if isinstance(item, dict) else None
    return item


def _first(value: Any) -> Any:
    """The first item of a list; None for anything else."""
    return value[0] if isinstance(value, list) and value else None


def _spotify_id(address: Any, kind: str) -> str | None:
    """The ID in a URI or an address of Spotify's; None where there is none, as in local files."""
    if not isinstance(address, str):
        return None
    found = re.search(rf"(?:^|[:/]){kind}[:/]([0-9A-Za-z]{{22}})(?:$|[?#])", address)
    return found[1] if found else None


def _from_seconds(value: Any) -> Any:
    """Seconds since 1970, as number or text, as a time in ISO 8601; anything else as it is."""
    try:
        return datetime.fromtimestamp(float(value), UTC).isoformat(timespec="milliseconds")
    except (TypeError, ValueError, OverflowError, OSError):
        return value


def _milliseconds(value: Any, unit: int = 1) -> int | None:
    """Of what programs send of a track's length; None where it is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value * unit < 2**53:
        return int(value * unit)
    return None


def read_spotify_history(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Spotify's extended streaming history: the time is that of the end. Podcasts and audiobooks have no track name."""
    if not (name := _text(item.get("master_metadata_track_name"))):
        return None
    track_id = _spotify_id(item.get("spotify_track_uri"), "track")
    return {
        "user_id": _text(item.get("username")),
        "played_at": item.get("ts"),
        "track_id": track_id,
        "track_uri": f"{TRACK}{track_id}" if track_id else None,
        "track_name": name,
        "album": _text(item.get("master_metadata_album_album_name")),
        "artist": _text(item.get("master_metadata_album_artist_name")),
        "ms_played": item.get("ms_played"),
        "play_source": "spotify-history",
    }


def read_spotify_account(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Spotify's account data: times to the minute."""
    time = item.get("endTime")
    is_minute = isinstance(time, str) and _minute.fullmatch(time)
    return {
        "played_at": f"{str(time).replace(' ', 'T')}:00Z" if is_minute else time,
        "track_name": _text(item.get("trackName")),
        "artist": _text(item.get("artistName")),
        "ms_played": item.get("msPlayed"),
        "play_source": "spotify-account",
    }


def read_recently_played(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """An answer of Spotify's API. What is no track, or a file of one's own, is left out."""
    track, played_at = item.get("track"), item.get("played_at")
    if not isinstance(track, dict) or track.get("type", "track") != "track":
        return None
    twice = _two_zones.fullmatch(played_at) if isinstance(played_at, str) else None
    artist = _first(track.get("artists"))
    return {
        "played_at": twice[1] if twice else played_at,
        "track_id": _text(track.get("id")),
        "track_uri": _text(track.get("uri")),
        "track_isrc": _text(_part(track, "external_ids", "isrc")),
        "track_name": _text(track.get("name")),
        "album_id": _text(_part(track, "album", "id")),
        "album_uri": _text(_part(track, "album", "uri")),
        "album": _text(_part(track, "album", "name")),
        "artist_id": _text(_part(artist, "id")),
        "artist": _text(_part(artist, "name")),
        "duration_ms": track.get("duration_ms"),
        "popularity": track.get("popularity"),
        "play_source": _text(_part(item, "context", "uri")) or "spotify",
    }


def read_listenbrainz(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A listen of ListenBrainz: the time is that of the beginning. What is playing just now has none."""
    if item.get("listened_at") is None:
        return None
    track = item.get("track_metadata")
    info = _part(track, "additional_info")
    track_id = _spotify_id(_part(info, "spotify_id"), "track")
    album_id = _spotify_id(_part(info, "spotify_album_id"), "album")
    seconds = _milliseconds(_part(info, "duration"), 1000)
    mbid = _first(_part(info, "artist_mbids")) or _first(_part(track, "mbid_mapping", "artist_mbids"))
    isrc = _part(info, "isrc")
    return {
        "user_id": _text(item.get("user_name")),
        "played_at": _from_seconds(item.get("listened_at")),
        "track_id": track_id,
        "track_uri": f"{TRACK}{track_id}" if track_id else None,
        "track_isrc": _text(_first(isrc) if isinstance(isrc, list) else isrc),
        "track_name": _text(_part(track, "track_name")),
        "album_id": album_id,
        "album_uri": f"spotify:album:{album_id}" if album_id else None,
        "album": _text(_part(track, "release_name")),
        "artist_id": _spotify_id(_first(_part(info, "spotify_artist_ids")), "artist"),
        "artist_mbid": _text(mbid),
        "artist": _text(_part(track, "artist_name")),
        "duration_ms": _milliseconds(_part(info, "duration_ms")) or seconds,
        "ms_played": _milliseconds(_part(info, "duration_played"), 1000),
        "play_source": "listenbrainz",
    }


def read_lastfm(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A row of a table of scrobbles: the time is that of the beginning, in UTC. What is playing just now has none."""
    cells = {_plain(name): _text(value) for name, value in item.items()}
    played_at = cells.get("uts")
    if played_at is not None:
        played_at = _from_seconds(played_at)
    elif (played_at := cells.get("utctime") or cells.get("date")) is None:
        return None
    return {
        "played_at": _from_lastfm(played_at),
        "track_name": cells.get("track"),
        "album": cells.get("album"),
        "artist": cells.get("artist"),
        "artist_mbid": cells.get("artistmbid"),
        "play_source": "lastfm",
    }


@lru_cache(1000)
def _plain(name: str) -> str:
    """As headers are compared: without spaces, signs and case."""
    return re.sub(r"[\W_]+", "", name).casefold()


def _from_lastfm(value: Any) -> Any:
    """“17 Aug 2026, 12:14” in ISO 8601; anything else as it is."""
    found = _lastfm_time.fullmatch(value) if isinstance(value, str) else None
    if not found or (month := found[2].lower()) not in MONTHS:
        return value
    return f"{found[3]}-{MONTHS.index(month) + 1:02}-{int(found[1]):02}T{found[4]}:{found[5]}:00Z"


def advise_on_lastfm(header: Sequence[str]) -> str:
    """For tables of scrobbles without a header, as some programs write them."""
    if not any(_lastfm_time.fullmatch(cell.strip()) for cell in header):
        return ""
    return f"its first row is a play, not a header. Add a first row that names the columns, such as {LASTFM_HEADER}"


HISTORY = ("ts", "ms_played", "master_metadata_track_name", "master_metadata_album_artist_name")
LISTEN = ("listened_at", "track_metadata.track_name", "track_metadata.artist_name")
PLAYING_NOW = "what was being played at the time of the export"

LAYOUTS = (
    Layout(
        kind="spotify_history",
        members=HISTORY,
        read=read_spotify_history,
        leaves_out="podcasts, audiobooks and other things that are no tracks",
    ),
    Layout(
        kind="spotify_account",
        members=("endTime", "artistName", "trackName", "msPlayed"),
        read=read_spotify_account,
        note="Spotify’s account data has times to the minute, in UTC. Its extended streaming history is more exact.",
    ),
    Layout(
        kind="recently_played",
        members=("played_at", "track"),
        items="items",
        read=read_recently_played,
        leaves_out="episodes and local files",
    ),
    Layout(kind="listenbrainz", members=LISTEN, read=read_listenbrainz, leaves_out=PLAYING_NOW),
    Layout(
        kind="listenbrainz", members=LISTEN, items="payload.listens", read=read_listenbrainz, leaves_out=PLAYING_NOW
    ),
    Layout(kind="listenbrainz", paths=(r"user\.json",), members=("user_id", "username"), tells={"username": "user_id"}),
    Layout(
        kind="lastfm",
        header=("artist", "track"),
        any_of=("uts", "utc_time", "date"),
        optional=("artist_mbid", "album", "album_mbid", "track_mbid"),
        read=read_lastfm,
        leaves_out=PLAYING_NOW,
        advise=advise_on_lastfm,
    ),
)

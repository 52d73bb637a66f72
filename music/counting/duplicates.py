"""Plays that two sources tell of: the later one to arrive is marked, and kept, but no chart counts it."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, models

from enrichment.pipeline import upsert
from music.models import Listen

ENDS = frozenset({"spotify-history", "spotify-account"})
"""The sources whose times are those at which the plays ended."""
TO_THE_MINUTE = frozenset({"spotify-account"})
UNKNOWN_LENGTH = timedelta(minutes=4)
LONGEST = timedelta(hours=2)
"""Longer ones, such as of a track left on pause, are compared as if they were so long."""
MAX_COMPARED = 100
"""Plays of the same track, earlier and later, with which one is compared: nobody plays it more often in its time."""
MAX_READ = 50_000
"""Plays of one listener that are read for a batch, in a row without a pause."""
_UNTIL: Any = models.DateTimeField()
_UNTIL.set_attributes_from_name("until")
Row = Mapping[str, Any]


class Play(NamedTuple):
    """What is compared."""

    listen_id: str
    user_id: str
    track_key: str
    played_at: datetime
    ms_played: int | None
    duration_ms: int | None
    source: str
    duplicate_of: str | None


def source_of(play_source: str | None) -> str:
    """Which of the systems that record plays: playlists and the like are contexts at Spotify."""
    source = play_source or "spotify"
    return "spotify" if source.startswith("spotify:") else source


def find(new: Sequence[Row]) -> dict[str, str]:
    """Of plays just stored, whose listeners are locked: play → the earlier one that it is. Each is at most one of each
    other source, so that a track played again is another play. It is compared with the nearest ones alone.
    """
    arrived = [_play_of(row) for row in sorted(new, key=lambda row: (row["delivery"], row["position"]))]
    by_track: dict[tuple[str, str], list[Play]] = {}
    for stored in sorted(_stored_near(arrived), key=_time):
        by_track.setdefault((stored.user_id, stored.track_key), []).append(stored)
    taken = {(stored.duplicate_of, stored.source) for track in by_track.values() for stored in track}
    found: dict[str, str] = {}
    for play in arrived:
        others = by_track.setdefault((play.user_id, play.track_key), [])
        same = [
            (overlap, other)
            for other in _nearest(play, others)
            if other.source != play.source
            and other.duplicate_of is None
            and (other.listen_id, play.source) not in taken
            and (overlap := _overlap(play, other)) > timedelta(0)
        ]
        if same:
            original = max(same, key=lambda pair: (pair[0], pair[1].listen_id))[1].listen_id
            found[play.listen_id] = original
            taken.add((original, play.source))
        insort(others, play._replace(duplicate_of=found.get(play.listen_id)), key=_time)
    return found


def _nearest(play: Play, others: Sequence[Play]) -> Sequence[Play]:
    """Of those in order of time."""
    place = bisect_left(others, _time(play), key=_time)
    return others[max(0, place - MAX_COMPARED) : place + MAX_COMPARED]


def _time(play: Play) -> tuple[datetime, str]:
    return play.played_at, play.listen_id


def _play_of(row: Row) -> Play:
    return Play(
        row["listen_id"],
        row["user_id"],
        row["track_key"],
        row["played_at"],
        row["ms_played"],
        row["duration_ms"],
        source_of(row["play_source"]),
        None,
    )


def _overlap(play: Play, other: Play) -> timedelta:
    """How long both were playing."""
    lengths = [_length(each) for each in (play, other)]
    known = [length for length in lengths if length is not None]
    spans = [
        _span(each, length if length is not None else (known[0] if known else UNKNOWN_LENGTH))
        for each, length in zip((play, other), lengths, strict=True)
    ]
    return min(end for _, end in spans) - max(start for start, _ in spans)


def _length(play: Play) -> timedelta | None:
    """How long it was played; the length of the track where only that is known."""
    ms = play.ms_played if play.ms_played is not None else play.duration_ms
    return None if ms is None else max(timedelta(seconds=1), min(LONGEST, timedelta(milliseconds=ms)))


def _span(play: Play, length: timedelta) -> tuple[datetime, datetime]:
    if play.source not in ENDS:
        return play.played_at, play.played_at + length
    late = timedelta(minutes=1) if play.source in TO_THE_MINUTE else timedelta(0)
    return play.played_at - length, play.played_at + late


def _stored_near(arrived: Sequence[Play]) -> list[Play]:
    """The plays of the same tracks by the same listeners at about the same times, those that arrived left out.

    Each is read once, however many arrived of the same time, as from a player whose clock stood still.
    """
    user_id, track_key, played_at = (_field(name) for name in ("user_id", "track_key", "played_at"))
    times, params = upsert.incoming([user_id, played_at, _UNTIL], _times_around(arrived))
    tracks, keys = upsert.incoming([track_key], [{"track_key": key} for key in {play.track_key for play in arrived}])
    names = ("listen_id", "user_id", "track_key", "played_at", "ms_played", "duration_ms", "play_source")
    columns = ", ".join(f"listen.{name}" for name in (*names, "duplicate_of"))
    plays = f"{Listen._meta.db_table} AS listen"
    near = "listen.user_id = incoming.user_id AND listen.played_at BETWEEN incoming.played_at AND incoming.until"
    if connection.vendor == "postgresql":
        some = f"SELECT {columns} FROM {plays} WHERE {near} ORDER BY listen.played_at LIMIT {MAX_READ}"  # noqa: S608
        plays, near = f"LATERAL ({some}) AS listen", "true"
    found = Listen.objects.raw(
        f"SELECT {columns} FROM {times} JOIN {plays} ON {near} "  # noqa: S608
        f"WHERE listen.track_key IN (SELECT track_key FROM {tracks})",
        [*params, *keys],
    )
    new = {play.listen_id for play in arrived}
    stored = [listen for listen in found if listen.listen_id not in new]
    return [_play_of(vars(listen))._replace(duplicate_of=listen.duplicate_of) for listen in stored]


def _field(name: str) -> Any:
    return Listen._meta.get_field(name)


def _times_around(plays: Iterable[Play]) -> list[dict[str, Any]]:
    """Between which another source may tell of these, their lengths being about the same. Those of a listener do not
    overlap.
    """
    found: list[dict[str, Any]] = []
    for play in sorted(plays, key=lambda play: (play.user_id, play.played_at)):
        apart = max(_length(play) or timedelta(0), 3 * UNKNOWN_LENGTH) + timedelta(minutes=2)
        first, last = play.played_at - apart, play.played_at + apart
        before = found[-1] if found and found[-1]["user_id"] == play.user_id else None
        if before and first <= before["until"]:
            before |= {"played_at": min(first, before["played_at"]), "until": max(last, before["until"])}
        else:
            found.append({"user_id": play.user_id, "played_at": first, "until": last})
    return found

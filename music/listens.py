"""Plays: what is derived from each, and what follows from those that have been stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import connection
from django.utils import timezone

from enrichment.pipeline import upsert
from enrichment.pipeline.patience import lock_timeout
from ingestion import streams
from ingestion.streams import Context, StoredRow
from music import identity, questions
from music.counting import duplicates, rollups
from music.counting.rollups import FIRST_BELIEVED, MAX_COUNTED_MS, PATIENCE
from music.models import Album, Artist, Listener, Match
from music.schemas import ListenRecord
from music.steps import Ask, Known, first_asks, state_of_given

SHORTEST_MS = 30_000
"""What was played for less is a skip."""
CLOCK_NOT_SET = "played_at is before 2000: the clock of the player was not set; charts leave it out"
TOO_LONG = "ms_played is more than a day; charts count a day"
MAX_SOURCES = 20
"""Of a listener, that are remembered: two are as good as many."""
Row = Mapping[str, Any]


def facts() -> Mapping[str, Any]:
    return {"zone": timezone.get_current_timezone()}


def enrich(listen: ListenRecord, context: Context) -> dict[str, Any]:
    local = listen.played_at.astimezone(context.facts.get("zone") or timezone.get_current_timezone())
    return {
        "listen_id": identity.key_of_record(listen),
        "artist_key": identity.artist_key(listen.artist_id, listen.artist_mbid, listen.artist),
        "track_key": identity.track_key(listen.track_name, listen.artist, listen.track_id),
        "hour": local.hour,
        "weekday": local.weekday(),
        "is_skip": listen.ms_played is not None and listen.ms_played < SHORTEST_MS,
    }


def warn(listen: ListenRecord, context: Context) -> list[str]:
    found = [CLOCK_NOT_SET] if listen.played_at < FIRST_BELIEVED else []
    return [*found, TOO_LONG] if (listen.ms_played or 0) > MAX_COUNTED_MS else found


def lock(rows: Sequence[Row]) -> None:
    """Locks the listeners whose plays these are, in order; creates those that are new. Batches of one take turns."""
    clients = {row["user_id"]: row["client"] for row in reversed(rows)}
    listeners = Listener.objects.order_by("pk").select_for_update(no_key=True).values_list("pk", flat=True)
    with lock_timeout(PATIENCE):
        locked = set(listeners.filter(pk__in=list(clients)))
        if missing := sorted(clients.keys() - locked):
            new = [Listener(user_id=name, client=clients[name]) for name in missing]
            Listener.objects.bulk_create(new, ignore_conflicts=True)
            list(listeners.filter(pk__in=missing))


def stored(rows: Sequence[StoredRow], context: Context) -> None:
    """Marks plays that are known from another source, counts the others, and asks about their artists and albums."""
    new = [row.columns for row in rows if row.is_new]
    if not new:
        return
    marked = _mark_duplicates(new)
    counting = [row for row in new if row["played_at"] >= FIRST_BELIEVED and row["listen_id"] not in marked]
    albums = {
        row["listen_id"]: key
        for row in new
        if (key := identity.album_key(row["album_id"], row["album"], row["artist"]))
    }
    rollups.add(counting, albums)
    _note_artists_and_albums(new, counting, albums)


def _mark_duplicates(new: Sequence[Row]) -> dict[str, str]:
    """Play → the one that it is; plays of one source are none of each other."""
    sources: dict[str, set[str]] = {}
    for user_id, play_source in {(row["user_id"], row["play_source"]) for row in new}:
        sources.setdefault(user_id, set()).add(duplicates.source_of(play_source))
    several: set[str] = set()
    changed: list[Row] = []
    for listener in Listener.objects.filter(pk__in=list(sources)):
        known = set(listener.sources)
        if more := sorted(sources[listener.pk] - known)[: max(0, MAX_SOURCES - len(known))]:
            listener.sources = sorted([*known, *more])
            changed.append({"user_id": listener.pk, "sources": listener.sources})
        if len(listener.sources) > 1:
            several.add(listener.pk)
    rollups.update_listeners(changed, "sources = incoming.sources")
    if not several:
        return {}
    found = duplicates.find([row for row in new if row["user_id"] in several])
    if found:
        marked = [{"listen_id": pk, "duplicate_of": original} for pk, original in sorted(found.items())]
        upsert.update(streams.get("listens"), marked, ["duplicate_of"])
    return found


def _note_artists_and_albums(new: Sequence[Row], counting: Sequence[Row], albums: Mapping[str, str]) -> None:
    """Questions first, then the rows: whoever stores an answer locks in the same order."""
    artists = _artists_in(new, Counter(row["artist_key"] for row in counting))
    of_albums = _albums_in(new, Counter(albums.get(row["listen_id"]) for row in counting), albums)
    known = questions.known(list(artists))
    asks = [ask for key, artist in artists.items() for ask in _asks_of(artist, known.get(key))]
    asks += _album_asks(of_albums)
    settled = questions.want(asks)
    now = "clock_timestamp()" if connection.vendor == "postgresql" else "strftime('%Y-%m-%d %H:%M:%f', 'now')"
    rows = [_artist_row(artist) for artist in artists.values()]
    kept = ("name", "given_mbid", "track_id")
    rollups.add_to(Artist, ["artist_key"], rows, ["plays"], kept=kept, given={"stored_at": now})
    for artist in artists.values():
        if _is_given_now(artist, known.get(artist.artist_key)):
            Artist.objects.filter(pk=artist.artist_key).update(**state_of_given(artist.given_mbid))
    rollups.add_to(Album, ["album_id"], list(of_albums.values()), ["plays"], kept=["name"], given={"stored_at": now})
    questions.follow_up(settled)


def _artists_in(new: Iterable[Row], plays: Mapping[str, int]) -> dict[str, Known]:
    """By key, with the plays that count."""
    found: dict[str, Known] = {}
    for row in new:
        key = row["artist_key"]
        before = found.get(key)
        if key and (before is None or _adds(row, before)):
            found[key] = Known(
                key,
                (before and before.name) or row["artist"] or "",
                plays[key],
                (before and before.given_mbid) or _mbid(row["artist_mbid"]),
                (before and before.track_id) or row["track_id"],
                key.removeprefix("spotify-") if key.startswith("spotify-") else None,
            )
    return {
        key: artist._replace(mbid=state["mbid"], match=state["match"])
        for key, artist in sorted(found.items())
        for state in [state_of_given(artist.given_mbid)]
    }


def _adds(row: Row, artist: Known) -> bool:
    """Whether the play tells something of the artist that others have not."""
    return bool(
        (not artist.name and row["artist"])
        or (not artist.track_id and row["track_id"])
        or (not artist.given_mbid and row["artist_mbid"])
    )


def _mbid(text: str | None) -> str | None:
    return mbid if text and identity.MBID.fullmatch(mbid := text.lower()) else None


def _albums_in(
    new: Iterable[Row], plays: Mapping[str | None, int], albums: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for row in new:
        key = albums.get(row["listen_id"])
        if key and key not in found:
            found[key] = {
                "album_id": key,
                "name": row["album"] or "",
                "artist_key": row["artist_key"],
                "plays": plays[key],
                "genres": [],
            }
    return found


def _artist_row(artist: Known) -> dict[str, Any]:
    return {
        "artist_key": artist.artist_key,
        "name": artist.name,
        "plays": artist.plays,
        "given_mbid": artist.given_mbid,
        "track_id": artist.track_id,
        "spotify_id": artist.spotify_id,
        "spotify_ids": [artist.spotify_id] if artist.spotify_id else [],
        **state_of_given(artist.given_mbid),
        "genres": [],
    }


def _asks_of(artist: Known, before: Known | None) -> list[Ask]:
    """Of a new one; of one of which more is known now; and of one played so much more that its turn is earlier."""
    if before is None:
        return first_asks(artist)
    if _is_given_now(artist, before):
        return first_asks(before._replace(plays=before.plays + artist.plays, mbid=artist.mbid, match=artist.match))
    if before.match == Match.OPEN and _grew(before.plays, artist.plays):
        return first_asks(before._replace(plays=before.plays + artist.plays))
    return []


def _is_given_now(artist: Known, before: Known | None) -> bool:
    """A play has its MBID, and it is not known who it is otherwise."""
    return bool(before and artist.given_mbid and not before.given_mbid and not before.mbid) and (
        before is not None and before.match in (Match.OPEN, Match.NOT_FOUND)
    )


def _grew(before: int, more: int) -> bool:
    """Past the next of 8, 64, 512 … plays: every play as another turn would cost more than it changes."""
    return (before + more).bit_length() - 1 >= 3 * ((before.bit_length() + 2) // 3 or 1)


def _album_asks(albums: Mapping[str, Row]) -> list[Ask]:
    keys = [key for key in albums if identity.is_spotify_album(key)]
    rows = Album.objects.filter(pk__in=keys).order_by()
    known = {pk: (plays, fetched_at) for pk, plays, fetched_at in rows.values_list("pk", "plays", "fetched_at")}
    asks = []
    for key in keys:
        plays, fetched_at = known.get(key, (0, None))
        if key not in known or (fetched_at is None and _grew(plays, albums[key]["plays"])):
            asks.append(questions.album_ask(key, plays + albums[key]["plays"]))
    return [ask for ask in asks if ask]

"""Plays by month, artist, album and hour, counted as they are stored: charts never read the plays themselves.

Each table gets one statement for a batch, which locks its rows in order of key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from django.db import connection, models
from django.utils import timezone

from enrichment.pipeline import upsert
from music.models import AlbumMonth, ArtistMonth, HourMonth, Listener, Plays

FIRST_BELIEVED = datetime(2000, 1, 1, tzinfo=UTC)
"""Earlier plays are of a clock that was not set, and are not counted."""
MAX_COUNTED_MS = 86_400_000
"""A day, in milliseconds. Without a limit the sums would not fit their columns."""
Row = Mapping[str, Any]
PATIENCE = 25
"""Seconds to wait for the lock of a listener: below the limit of a statement."""


def ms_of(play: Row) -> int:
    """How long it was played, at most MAX_COUNTED_MS; the length of the track where only that is known."""
    ms = play["ms_played"] if play["ms_played"] is not None else play["duration_ms"]
    return min(ms or 0, MAX_COUNTED_MS)


def add(plays: Iterable[Row], albums: Mapping[str, str], times: int = 1) -> None:
    """Counts these plays; `albums`: play → its album, where it has one. The listeners are locked. -1 `times`: they
    were counted, and are no longer.
    """
    artists, of_albums, hours = _sums(), _sums(), _sums()
    zone = timezone.get_current_timezone()
    for play in plays:
        ms, user = times * ms_of(play), play["user_id"]
        local = play["played_at"].astimezone(zone)
        month = date(local.year, local.month, 1)
        counted = [hours[user, month, play["weekday"], play["hour"]]]
        if artist := play["artist_key"]:
            counted.append(artists[user, month, artist])
        if album := albums.get(play["listen_id"]):
            counted.append(of_albums[user, month, album])
        for sums in counted:
            sums[0] += times
            sums[1] += ms
    _count_for_listeners(hours)
    _write(ArtistMonth, artists)
    _write(AlbumMonth, of_albums)
    _write(HourMonth, hours)


def remove_empty(user_id: str) -> None:
    """What nothing is left of, after plays were taken back."""
    for model in (ArtistMonth, AlbumMonth, HourMonth):
        model._default_manager.filter(user_id=user_id, plays__lte=0).delete()


def _sums() -> defaultdict[tuple[Any, ...], list[int]]:
    """Key → plays, milliseconds."""
    return defaultdict(lambda: [0, 0])


def _count_for_listeners(hours: Mapping[tuple[Any, ...], Sequence[int]]) -> None:
    numbers: dict[str, int] = {}
    for (user, *_), (plays, _) in hours.items():
        numbers[user] = numbers.get(user, 0) + plays
    rows = [{"user_id": user, "plays": number} for user, number in sorted(numbers.items())]
    update_listeners(rows, "plays = music_listener.plays + incoming.plays")


def update_listeners(rows: Sequence[Row], change: str) -> None:
    """Changes those that the rows name, which are locked, in one statement: `change` is SQL, its values `incoming`."""
    if not rows:
        return
    fields = [field for field in Listener._meta.concrete_fields if field.attname in rows[0]]
    source, params = upsert.incoming(fields, rows)
    with connection.cursor() as cursor:
        statement = f"UPDATE music_listener SET {change} FROM {source} WHERE music_listener.user_id = incoming.user_id"  # noqa: S608 (the caller's)
        cursor.execute(statement, params)


def _write(model: type[Plays], numbers: Mapping[tuple[Any, ...], Sequence[int]]) -> None:
    names = (*model.KEY, "plays", "ms")
    add_to(model, model.KEY, [dict(zip(names, (*key, *sums), strict=True)) for key, sums in numbers.items()])


def add_to(
    model: type[models.Model],
    key: Sequence[str],
    rows: Sequence[Row],
    sums: Sequence[str] = ("plays", "ms"),
    *,
    kept: Sequence[str] = (),
    given: Mapping[str, str] | None = None,
) -> None:
    """Inserts rows, or adds their `sums` to those that are there: columns in `kept` stay, if they have a value, and get
    that of the row if they have none. `given`: further columns, set in any case, each with its expression.
    """
    if not rows:
        return
    fields = [field for field in model._meta.concrete_fields if field.attname in rows[0]]
    source, params = upsert.incoming(fields, rows)
    table, quote = connection.ops.quote_name(model._meta.db_table), connection.ops.quote_name
    names, others = [quote(field.attname) for field in fields], dict(given or {})
    changes = [f"{name} = {table}.{name} + excluded.{name}" for name in map(quote, sums)]
    changes += [f"{name} = COALESCE(NULLIF({table}.{name}, ''), excluded.{name})" for name in map(quote, kept)]
    changes += [f"{name} = excluded.{name}" for name in map(quote, others)]
    unique = ", ".join(map(quote, key))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join([*names, *map(quote, others)])}) "  # noqa: S608 (names are the model's)
            f"SELECT {', '.join([*names, *others.values()])} FROM {source} WHERE true ORDER BY {unique} "
            f"ON CONFLICT ({unique}) DO UPDATE SET {', '.join(changes)}",
            params,
        )

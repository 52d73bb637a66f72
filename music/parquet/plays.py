"""Plays as rows of Parquet: many, so column by column where that can be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import polars as pl
from django.db import connection
from django.db.models import Q

from music.models import Artist, Match

STRING, INTEGER = pl.String(), pl.Int64()
CHUNK = 4000
"""Rows that are in memory at once."""
SCHEMA = pl.Schema(
    {
        **dict.fromkeys(("user_id", "track_id", "track_uri", "track_isrc", "track_name"), STRING),
        **dict.fromkeys(("album_id", "album_uri", "album", "artist_id", "artist_mbid", "artist"), STRING),
        "duration_ms": INTEGER,
        "played_at": pl.Datetime("us", "UTC"),
        "popularity": INTEGER,
        "request_cursor": STRING,
        "play_source": STRING,
    }
)
TIMES = {
    "postgresql": "(extract(epoch FROM played_at) * 1000000)::bigint",
    "sqlite": "CAST(played_at AS text)",
}
TEXT_OF_TIME = "%Y-%m-%d %H:%M:%S%.f"
READ = {**SCHEMA, "played_at": INTEGER, "artist_key": STRING}
"""The columns that are read."""


def frames() -> Iterator[pl.DataFrame]:
    """All but duplicates, which are in another source as well; in order of time."""
    names = ", ".join(READ).replace("played_at", TIMES[connection.vendor])
    query = f"SELECT {names} FROM music_listen WHERE duplicate_of IS NULL ORDER BY listen_id"  # noqa: S608
    artists = _artists()
    for frame in _copied(query) if connection.vendor == "postgresql" else _fetched(query):
        yield _with_mbids(frame, artists)


def _artists() -> pl.DataFrame:
    """The id that MusicBrainz has now for an artist who was found; none for who is nobody in particular."""
    known = Artist.objects.filter(Q(mbid__isnull=False) | Q(match=Match.NOBODY))
    rows = known.annotate(is_nobody=Q(match=Match.NOBODY)).values_list("artist_key", "mbid", "is_nobody")
    return pl.DataFrame(
        list(rows.order_by().iterator()),
        schema={"artist_key": STRING, "mbid": STRING, "is_nobody": pl.Boolean},
        orient="row",
    )


def _with_mbids(frame: pl.DataFrame, artists: pl.DataFrame) -> pl.DataFrame:
    """Joined here: PostgreSQL would have to sort the plays again behind the join."""
    joined = frame.join(artists, on="artist_key", how="left", maintain_order="left")
    mbid = pl.when(pl.col("is_nobody")).then(None).otherwise(pl.coalesce("mbid", "artist_mbid"))
    return joined.with_columns(artist_mbid=mbid).select(SCHEMA.names())


def _copied(query: str) -> Iterator[pl.DataFrame]:
    """In half the time of fetching rows: PostgreSQL writes CSV, which has nothing for null and "" for an empty text,
    one row in each message; and Polars reads it so.
    """
    time = pl.col("played_at").cast(SCHEMA["played_at"])
    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)") as rows:
        while lines := b"".join(islice(rows, CHUNK)):
            yield pl.read_csv(lines, has_header=False, schema=READ).with_columns(time)


def _fetched(query: str) -> Iterator[pl.DataFrame]:
    schema = {**READ, "played_at": STRING}
    time = pl.col("played_at").str.to_datetime(TEXT_OF_TIME, time_unit="us", time_zone="UTC")
    with connection.chunked_cursor() as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(CHUNK):
            yield pl.DataFrame(rows, schema=schema, orient="row").with_columns(time)

"""Plays as rows of Parquet: many, so column by column where that can be."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import polars as pl
from django.db import connection

from music.models import Match

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
NAMES = ", ".join(f"listen.{name}" for name in SCHEMA)
# Who is nobody in particular has no id; who was found has the one that MusicBrainz has now.
MBID = f"CASE WHEN artist.match = '{Match.NOBODY}' THEN NULL ELSE COALESCE(artist.mbid, listen.artist_mbid) END"
TIMES = {
    "postgresql": "(extract(epoch FROM listen.played_at) * 1000000)::bigint",
    "sqlite": "CAST(listen.played_at AS text)",
}
TEXT_OF_TIME = "%Y-%m-%d %H:%M:%S%.f"


def frames() -> Iterator[pl.DataFrame]:
    """All but duplicates, which are in another source as well; in order of time."""
    names = NAMES.replace("listen.artist_mbid", MBID).replace("listen.played_at", TIMES[connection.vendor])
    query = f"""
        SELECT {names} FROM music_listen AS listen LEFT JOIN music_artist AS artist USING (artist_key)
        WHERE listen.duplicate_of IS NULL ORDER BY listen.listen_id
    """  # noqa: S608
    return _copied(query) if connection.vendor == "postgresql" else _fetched(query)


def _copied(query: str) -> Iterator[pl.DataFrame]:
    """In half the time of fetching rows: PostgreSQL writes CSV, which has nothing for null and "" for an empty text,
    one row in each message; and Polars reads it so.
    """
    schema = pl.Schema({**SCHEMA, "played_at": INTEGER})
    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT csv)") as rows:
        while lines := b"".join(islice(rows, CHUNK)):
            frame = pl.read_csv(lines, has_header=False, schema=schema)
            yield frame.with_columns(pl.col("played_at").cast(SCHEMA["played_at"]))


def _fetched(query: str) -> Iterator[pl.DataFrame]:
    schema = pl.Schema({**SCHEMA, "played_at": STRING})
    time = pl.col("played_at").str.to_datetime(TEXT_OF_TIME, time_unit="us", time_zone="UTC")
    with connection.chunked_cursor() as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(CHUNK):
            yield pl.DataFrame(rows, schema=schema, orient="row").with_columns(time)

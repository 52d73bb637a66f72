"""Plays as rows of Parquet: many, so column by column where that can be."""

from __future__ import annotations

from collections.abc import Iterator

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
MICROSECONDS = "(extract(epoch FROM listen.played_at) * 1000000)::bigint"
TEXT, TEXT_OF_TIME = "CAST(listen.played_at AS text)", "%Y-%m-%d %H:%M:%S%.f"
"""On SQLite."""


def frames() -> Iterator[pl.DataFrame]:
    """All but duplicates, which are in another source as well; in order of time."""
    is_text = connection.vendor == "sqlite"
    names = NAMES.replace("listen.artist_mbid", MBID)
    names = names.replace("listen.played_at", TEXT if is_text else MICROSECONDS)
    query = f"""
        SELECT {names} FROM music_listen AS listen LEFT JOIN music_artist AS artist USING (artist_key)
        WHERE listen.duplicate_of IS NULL ORDER BY listen.listen_id
    """  # noqa: S608
    raw = pl.Schema({**SCHEMA, "played_at": STRING if is_text else INTEGER})
    time = pl.col("played_at")
    time = (
        time.str.to_datetime(TEXT_OF_TIME, time_unit="us", time_zone="UTC")
        if is_text
        else time.cast(SCHEMA["played_at"])
    )
    with connection.chunked_cursor() as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(CHUNK):
            yield pl.DataFrame(rows, schema=raw, orient="row").with_columns(time)

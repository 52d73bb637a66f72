"""The tables that are written as Parquet: their columns, types and keys, and where their rows come from.

Names, order and types are those that existing dbt projects read. Every column may be null but those of the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import polars as pl

from music.parquet import plays, rows
from music.parquet.plays import INTEGER, STRING

CHUNK = 4000
"""Rows that are in memory at once."""


@dataclass(frozen=True)
class Table:
    name: str
    schema: pl.Schema
    key: Sequence[str]
    """Of no two rows equal; rows come so that equal ones would follow each other."""
    frames: Callable[[], Iterator[pl.DataFrame]]
    nullable: str = ""
    """The column of the key that may be null: then the others need not be unique."""


def _table(
    name: str, columns: str, key: str, source: Callable[[], Iterator[tuple[Any, ...]]], **others: pl.DataType
) -> Table:
    """`columns` are text but for those that `others` names with their types."""
    schema = pl.Schema({column: others.get(column, STRING) for column in columns.split()})
    return Table(name, schema, key.split(), lambda: _frames(source(), schema))


def _frames(source: Iterator[tuple[Any, ...]], schema: pl.Schema) -> Iterator[pl.DataFrame]:
    while chunk := list(islice(source, CHUNK)):
        yield pl.DataFrame(chunk, schema=schema, orient="row")


TRACKS_PLAYED = Table(
    "tracks_played", plays.SCHEMA, ("user_id", "track_id", "played_at"), plays.frames, nullable="track_id"
)
TABLES = (
    TRACKS_PLAYED,
    _table(
        "spotify_artists",
        "artist_id artist_name artist_mbid artist_popularity",
        "artist_id",
        rows.spotify_artists,
        artist_popularity=pl.Float32(),
    ),
    _table(
        "spotify_albums",
        "album_id album_type artist_id artist_name artist_type label album_name release_date release_date_precision"
        " genres popularity total_tracks last_modified",
        "album_id",
        rows.spotify_albums,
        genres=pl.List(pl.String),
        popularity=INTEGER,
        total_tracks=INTEGER,
        last_modified=pl.Datetime("us"),
    ),
    _table("spotify_artist_genre", "artist_id artist_name genre", "artist_id genre", rows.spotify_artist_genres),
    _table("spotify_album_genre", "album_id album_name genre", "album_id genre", rows.spotify_album_genres),
    _table(
        "mbz_artist_info",
        "id type name sort_name gender country disambiguation"
        " area_id area_name area_sort_name area_disambiguation area_life_span_begin"
        " begin_area_id begin_area_name begin_area_sort_name begin_area_disambiguation begin_area_life_span_begin"
        " end_area_id end_area_name end_area_sort_name end_area_disambiguation"
        " life_span_begin life_span_end life_span_ended ipi alias_count release_group_count tag_list"
        " spotify_id source_file",
        "id spotify_id",
        rows.musicbrainz_artists,
    ),
    _table(
        "mbz_artist_genre",
        "artist_mbid artist_spotify_id artist_name mbz_genre count_genre_tags",
        "artist_mbid mbz_genre",
        rows.musicbrainz_genres,
        count_genre_tags=INTEGER,
    ),
    _table(
        "mbz_artist_not_found",
        "artist_id artist track_isrc reason failed_at",
        "artist_id track_isrc",
        rows.artists_not_found,
    ),
    _table(
        "mbz_area_hierarchy",
        " ".join(
            [
                "area_id area_type area_name area_sort_name",
                *(f"{level}_id {level}_name {level}_sort_name" for level in rows.LEVELS),
                "continent country_code continent_code state_code params",
            ]
        ),
        "area_id",
        rows.areas,
    ),
    _table("cities_with_lat_long", "city_name state_code country_code params lat long", "params", rows.cities),
)
ENRICHED = TABLES[1:]
"""All but the plays."""

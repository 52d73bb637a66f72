"""Plays: what is derived from each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.utils import timezone

from ingestion.streams import Context
from music import identity
from music.schemas import ListenRecord

SHORTEST_MS = 30_000
"""What was played for less is a skip."""
FIRST_BELIEVED = datetime(2000, 1, 1, tzinfo=UTC)
CLOCK_NOT_SET = "played_at is before 2000: the clock of the player was not set; charts leave it out"


def enrich(listen: ListenRecord, context: Context) -> dict[str, Any]:
    local = timezone.localtime(listen.played_at)
    return {
        "artist_key": identity.artist_key(listen.artist_id, listen.artist_mbid, listen.artist),
        "track_key": identity.track_key(listen.track_name, listen.artist, listen.track_id),
        "hour": local.hour,
        "weekday": local.weekday(),
        "is_skip": listen.ms_played is not None and listen.ms_played < SHORTEST_MS,
    }


def warn(listen: ListenRecord, context: Context) -> list[str]:
    return [CLOCK_NOT_SET] if listen.played_at < FIRST_BELIEVED else []

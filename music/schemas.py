"""Plays, as files hold them and clients send them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from ingestion.fields import Identifier, PastTime, Record, StorableText, Tidy, WholeNumber
from music.names import MAX_NAME

_mbid = re.compile(r"[0-9A-Za-z-]*", re.ASCII)


def _check_mbid(value: str) -> str:
    if not _mbid.fullmatch(value):
        raise PydanticCustomError("mbid", "must be an ID of letters, digits and hyphens, not a name")
    return value


Name = Annotated[str, Field(max_length=MAX_NAME), StorableText, Tidy]
Id = Annotated[str, Field(max_length=64), StorableText, Tidy]
Mbid = Annotated[str, Field(max_length=36), StorableText, AfterValidator(_check_mbid), Tidy]
Address = Annotated[str, Field(max_length=200), StorableText, Tidy]
Milliseconds = Annotated[int, Field(ge=0, le=2**53 - 1), WholeNumber]


class ListenRecord(Record):
    """A play. What it lacks may be null; the track's ID or name is required."""

    user_id: Identifier
    """Whose play it is."""
    played_at: PastTime
    """When it was played: as its source says, the beginning or the end."""
    track_id: Id | None = None
    """ID of the track at Spotify."""
    track_uri: Address | None = None
    """URI of the track, such as spotify:track:4uLU6hMCjMI75M1A2tKUQC."""
    track_isrc: Annotated[str, Field(max_length=20), StorableText, Tidy] | None = None
    """International Standard Recording Code."""
    track_name: Name | None = None
    """Title of the track; required unless there is an ID."""
    album_id: Id | None = None
    """ID of the album at Spotify."""
    album_uri: Address | None = None
    """URI of the album."""
    album: Name | None = None
    """Title of the album."""
    artist_id: Id | None = None
    """ID of the first artist at Spotify."""
    artist_mbid: Mbid | None = None
    """ID of the first artist at MusicBrainz."""
    artist: Name | None = None
    """Name of the artist, or of several as they are credited."""
    duration_ms: Milliseconds | None = None
    """Length of the track in milliseconds."""
    ms_played: Milliseconds | None = None
    """How long it was played, in milliseconds."""
    popularity: Annotated[int, Field(ge=0, le=100), WholeNumber] | None = None
    """Popularity of the track at Spotify, 0 to 100."""
    request_cursor: Address | None = None
    """The cursor of the request that answered the play."""
    play_source: Address | None = None
    """Where the play is from, such as spotify-history or the URI of a playlist."""

    @model_validator(mode="after")
    def _names_a_track(self) -> ListenRecord:
        if not self.track_id and not self.track_name:
            raise PydanticCustomError("required", "must have a track_id or a track_name")
        return self

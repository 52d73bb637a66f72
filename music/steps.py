"""What is asked about an artist next: one question leads to another until MusicBrainz has told where it is from."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from django.conf import settings

from enrichment.lookups import Want
from enrichment.lookups.models import Lookup
from music.identity import SPOTIFY_ID
from music.matching import SPECIAL
from music.models import Match
from music.names import tidy
from music.providers import musicbrainz, spotify


class Ask(NamedTuple):
    """A question, and when it is asked: the more plays there are, the lower the turn."""

    provider: str
    kind: str
    key: str
    turn: int
    question: Mapping[str, Any] = {}
    after: Lookup | None = None
    """The answer that led to it."""

    def as_want(self) -> Want:
        return Want(self.provider, self.kind, self.key, self.question, self.after)


class Known(NamedTuple):
    """An artist, as far as it matters for what is asked next."""

    artist_key: str
    name: str
    plays: int
    given_mbid: str | None = None
    track_id: str | None = None
    spotify_id: str | None = None
    match: str = Match.OPEN
    mbid: str | None = None
    """The one that came with a play is here too, until MusicBrainz says that it does not know it."""


FIELDS = ("artist_key", "name", "plays", "given_mbid", "track_id", "spotify_id", "match", "mbid")
"""The columns that `Known` has."""


def spotify_is_on() -> bool:
    return bool(settings.SPOTIFY_CLIENT_ID and settings.SPOTIFY_CLIENT_SECRET)


def openweather_is_on() -> bool:
    return bool(settings.OPENWEATHER_API_KEY)


def state_of_given(mbid: str | None) -> dict[str, Any]:
    """Columns of an artist whose MBID came with a play."""
    if mbid in SPECIAL:
        return {"match": str(Match.NOBODY), "how": "given", "mbid": None}
    return {"match": str(Match.OPEN), "how": "given" if mbid else "", "mbid": mbid}


def first_asks(artist: Known) -> list[Ask]:
    """What is asked of an artist that nothing has been asked about."""
    asks = [Ask(spotify.NAME, spotify.ARTIST, artist.spotify_id, -artist.plays)] if artist.spotify_id else []
    step = next_step(artist)
    return [*asks, step] if step else asks


def next_step(artist: Known, tried: Collection[str] = (), after: Lookup | None = None) -> Ask | None:
    """The question of which the answer brings its match further; `tried`: the kinds that have not. None: there is
    nothing more to ask by.
    """
    turn = -artist.plays
    if artist.match == Match.NOBODY:
        return None
    if artist.mbid:
        return Ask(musicbrainz.NAME, musicbrainz.ARTIST, artist.mbid, turn, after=after)
    if artist.spotify_id and musicbrainz.URL not in tried:
        return Ask(musicbrainz.NAME, musicbrainz.URL, artist.spotify_id, turn, after=after)
    if can_ask_by_track(artist) and spotify.TRACK not in tried:
        return Ask(spotify.NAME, spotify.TRACK, str(artist.track_id), turn, after=after)
    if tidy(artist.name):
        return Ask(musicbrainz.NAME, musicbrainz.MATCH, artist.artist_key, turn, {"name": artist.name}, after)
    return None


def can_ask_by_track(artist: Known) -> bool:
    return bool(artist.track_id and SPOTIFY_ID.fullmatch(artist.track_id) and artist.name) and (
        not artist.spotify_id and spotify_is_on()
    )

"""The music of `make run`: servers that stand in for Spotify and MusicBrainz, and made-up listening histories."""

from __future__ import annotations

from urllib.parse import quote

from django.conf import settings

from music.models import Listener
from music.pages import demo
from standins.listeners import LISTENERS, write_histories
from tutormax.runner.credentials import Credentials
from tutormax.runner.stand_ins import StandIns, stand_in, upload

ANYBODY = {"SPOTIFY_CLIENT_ID": "id", "SPOTIFY_CLIENT_SECRET": "secret", "MUSICBRAINZ_CONTACT": demo.CONTACT}
RATE = "20/1"
"""Of MusicBrainz, in whose place nobody has to be asked more slowly."""


def has_providers() -> bool:
    """The settings name a real one, which is not to be asked about invented artists."""
    return bool(settings.SPOTIFY_CLIENT_ID or settings.MUSICBRAINZ_CONTACT)


def stand_ins() -> StandIns:
    spotify, at_spotify = stand_in("Spotify")
    musicbrainz, at_musicbrainz = stand_in("MusicBrainz")
    addresses = {
        "SPOTIFY_URL": at_spotify,
        "SPOTIFY_ACCOUNTS_URL": at_spotify,
        "MUSICBRAINZ_URL": at_musicbrainz,
    }
    return StandIns([spotify, musicbrainz], {**ANYBODY, **addresses, "MUSICBRAINZ_RATE": RATE})


def upload_histories(login: Credentials) -> None:
    for listener, file in write_histories(settings.RUN_DIR):
        upload(login, file, "listening histories", stream="listens", user_id=listener.name)


def link(url: str) -> str:
    """The page of the demo's first listener, as long as there is one."""
    name = LISTENERS[0].name
    return f"{url}/admin/music/listener/{quote(name)}/change/" if Listener.objects.filter(pk=name).exists() else ""

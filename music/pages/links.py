"""Where marks and names lead to: lists of plays and artists with these filters set, and pages of other services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest

from console.stored.page import list_page
from music.models import Artist, Listen
from music.pages.demo import is_demo
from music.pages.months import Range

SPOTIFY = "https://open.spotify.com"
MUSICBRAINZ = "https://musicbrainz.org"
Link = Callable[..., str]


def plays_of(request: HttpRequest, user_id: str, shown: Range) -> Link:
    """Addresses of the listener's plays that charts count, in the range unless another one is named; empty where the
    person may not see them.
    """

    def link(months: Range | None = None, **filters: Any) -> str:
        return list_page(request, Listen, user_id=user_id, **(months or shown).query, counted="yes", **filters)

    return link


def artists_page(request: HttpRequest, **filters: Any) -> str:
    return list_page(request, Artist, **filters)


def at_spotify(kind: str, key: str | None) -> str:
    """Of an artist or album, by its ID there: letters and digits. Empty in the demo, whose IDs are made up."""
    is_id = key and key.isascii() and key.isalnum()
    return f"{SPOTIFY}/{kind}/{key}" if is_id and not is_demo() else ""


def at_musicbrainz(kind: str, mbid: str | None) -> str:
    return f"{MUSICBRAINZ}/{kind}/{quote(mbid, safe='')}" if mbid and not is_demo() else ""

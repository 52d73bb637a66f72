"""Stands in for Spotify: its documented protocol, over a few artists, albums and tracks.

Tokens come from the same server (/api/token), for one app. `development` is the mode in which several ids at once are
refused and answers lack popularity, followers and label.
"""

from __future__ import annotations

import base64
import itertools
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from standins.server import Fault, Request, Response, Server, child_options, error, serve_child

MAX_IDS = {"artists": 50, "albums": 20, "tracks": 50}
ONLY_WITH_EXTENDED_QUOTA = ("popularity", "followers", "label")
A_DAY = 86_400


@dataclass(frozen=True)
class Artist:
    id: str
    name: str
    genres: Sequence[str] = ()
    popularity: int = 0
    followers: int = 0

    def json(self) -> dict[str, Any]:
        return {
            **_named(self.id, self.name, "artist"),
            "followers": {"href": None, "total": self.followers},
            "genres": list(self.genres),
            "images": [],
            "popularity": self.popularity,
        }


@dataclass(frozen=True)
class Album:
    id: str
    name: str
    artists: Sequence[Artist] = ()
    album_type: str = "album"
    label: str = ""
    popularity: int = 0
    release_date: str = ""
    total_tracks: int = 0

    def json(self) -> dict[str, Any]:
        return {
            **_named(self.id, self.name, "album"),
            "album_type": self.album_type,
            "artists": [_named(artist.id, artist.name, "artist") for artist in self.artists],
            "external_ids": {},
            "genres": [],
            "images": [],
            "label": self.label,
            "popularity": self.popularity,
            "release_date": self.release_date,
            "release_date_precision": ("year", "month", "day")[self.release_date.count("-")],
            "total_tracks": self.total_tracks,
        }


@dataclass(frozen=True)
class Track:
    id: str
    name: str
    artists: Sequence[Artist] = ()
    album: Album | None = None
    isrc: str = ""
    duration_ms: int = 0
    popularity: int = 0

    def json(self) -> dict[str, Any]:
        return {
            **_named(self.id, self.name, "track"),
            "album": _named(self.album.id, self.album.name, "album") if self.album else None,
            "artists": [_named(artist.id, artist.name, "artist") for artist in self.artists],
            "duration_ms": self.duration_ms,
            "external_ids": {"isrc": self.isrc} if self.isrc else {},
            "is_local": False,
            "popularity": self.popularity,
        }


def _named(id: str, name: str, kind: str) -> dict[str, Any]:
    return {
        "external_urls": {"spotify": f"https://open.spotify.com/{kind}/{id}"},
        "href": f"https://api.spotify.com/v1/{kind}s/{id}",
        "id": id,
        "name": name,
        "type": kind,
        "uri": f"spotify:{kind}:{id}",
    }


@dataclass
class Spotify:
    """The protocol. `refresh_tokens` are those that have not been revoked; `quota`, so many requests are answered."""

    things: Iterable[Artist | Album | Track] = ()
    client: tuple[str, str] = ("id", "secret")
    refresh_tokens: set[str] = field(default_factory=set)
    development: bool = False
    lifetime: float = 3600
    quota: int | None = None

    def __post_init__(self) -> None:
        kinds = {Artist: "artists", Album: "albums", Track: "tracks"}
        self._things = {(kinds[type(thing)], thing.id): thing.json() for thing in self.things}
        self._tokens: dict[str, float] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Response:
        if request.path == "/api/token":
            return self._token(request)
        if (seconds := self._valid_for(request)) <= 0:
            return failure(401, "The access token expired" if seconds > -A_DAY else "Invalid access token")
        if self._quota_is_used_up():
            return QUOTA_EXCEEDED
        if several := re.fullmatch("/v1/(artists|albums|tracks)", request.path):
            return self._several(several[1], request.query.get("ids", ""))
        if single := re.fullmatch("/v1/(artists|albums|tracks)/([^/]+)", request.path):
            return self._single(single[1], single[2])
        return failure(404, "Service not found")

    def expire(self) -> None:
        """All tokens, from now on."""
        with self._lock:
            self._tokens = dict.fromkeys(self._tokens, time.monotonic())

    def _token(self, request: Request) -> Response:
        form = {name: values[-1] for name, values in parse_qs(request.body.decode()).items()}
        known = "Basic " + base64.b64encode(":".join(self.client).encode()).decode()
        if request.method != "POST" or request.headers.get("authorization") != known:
            return Response(400, {"error": "invalid_client", "error_description": "Invalid client"})
        if form.get("grant_type") == "refresh_token":
            if form.get("refresh_token") not in self.refresh_tokens:
                return Response(400, {"error": "invalid_grant", "error_description": "Refresh token revoked"})
        elif form.get("grant_type") != "client_credentials":
            return Response(400, {"error": "unsupported_grant_type", "error_description": "grant_type must be known"})
        with self._lock:
            token = f"token-{next(self._numbers)}"
            self._tokens[token] = time.monotonic() + self.lifetime
        return Response(body={"access_token": token, "token_type": "Bearer", "expires_in": int(self.lifetime)})

    def _valid_for(self, request: Request) -> float:
        """Seconds; negative once it has expired, and far below for a token that never was."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        with self._lock:
            until = self._tokens.get(token) if scheme == "Bearer" else None
        return -2 * A_DAY if until is None else until - time.monotonic()

    def _quota_is_used_up(self) -> bool:
        with self._lock:
            if self.quota is None:
                return False
            self.quota = max(-1, self.quota - 1)
            return self.quota < 0

    def _several(self, kind: str, ids: str) -> Response:
        if self.development:
            return failure(403, "Forbidden")
        asked = ids.split(",")
        if len(asked) > MAX_IDS[kind]:
            return failure(400, "Too many ids requested")
        if not all(map(_is_id, asked)):
            return failure(400, "Invalid base62 id")
        return Response(body={kind: [self._json(kind, each) for each in asked]})

    def _single(self, kind: str, id: str) -> Response:
        if not _is_id(id):
            return failure(400, "Invalid base62 id")
        found = self._json(kind, id)
        return Response(body=found) if found else failure(404, "Resource not found")

    def _json(self, kind: str, id: str) -> Mapping[str, Any] | None:
        found = self._things.get((kind, id))
        if not found or not self.development:
            return found
        return {name: value for name, value in found.items() if name not in ONLY_WITH_EXTENDED_QUOTA}


def _is_id(id: str) -> bool:
    return re.fullmatch("[0-9A-Za-z]{22}", id) is not None


def failure(status: int, message: str, headers: Mapping[str, str] | None = None, **more: str) -> Response:
    return Response(status, {"error": {"status": status, "message": message, **more}}, headers or {})


QUOTA_EXCEEDED = failure(429, "Quota exceeded", {"Retry-After": str(A_DAY)}, reason="QUOTA_EXCEEDED")


def too_fast(seconds: int = 3) -> Fault:
    """The limit of a rolling 30 seconds."""
    body = {"error": {"status": 429, "message": "API rate limit exceeded"}}
    return error(429, body, Retry_After=str(seconds))


def start(spotify: Spotify) -> Server:
    """A stand-in in threads of this process, to be used as a context manager."""
    return Server(spotify)


if __name__ == "__main__":
    from standins.music import at_spotify

    serve_child(at_spotify(), child_options(__doc__).parse_args())

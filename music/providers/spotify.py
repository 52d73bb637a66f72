"""Spotify: what it knows of artists, albums and tracks. Its terms want answers to be asked for again, or deleted.

Questions of the kinds `artist`, `album` and `track` have the id at Spotify as their key. An app in development mode may
not ask for several at once (403): from then on they are asked one by one. Popularity, followers and label
may be absent.
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from enrichment.lookups import Answer, Description, Provider, Question, Rate, http
from enrichment.lookups.providers import Apply
from music.providers.members import MAX_GENRE, MAX_ITEMS, MAX_TEXT, member, members, number, text, texts, whole

NAME = "spotify"
ARTIST, ALBUM, TRACK = "artist", "album", "track"
MAX_IDS = {ARTIST: 50, ALBUM: 20, TRACK: 50}
PAGES = "https://open.spotify.com"
EXPIRY = timedelta(days=30)
MAX_RETRY_AFTER = 172_800.0
"""Seconds: who has used up the quota of a day is told to come back after a day."""
RATE = Rate(90, 30)
MAX_FOLLOWERS = 2**63 - 1
LASTS = 3600
"""Seconds that a token is valid, if nobody says how long."""
MARGIN = 60
"""Seconds before a token expires, when another one is got."""


class Spotify:
    """The service, as it is asked: as the app, or with a refresh token as the person who gave it."""

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        refresh_token: str = "",
        *,
        url: str = "https://api.spotify.com",
        accounts_url: str = "https://accounts.spotify.com",
        rate: Rate = RATE,
    ) -> None:
        self.client_id, self.client_secret, self.refresh_token = client_id, client_secret, refresh_token
        self.url, self.accounts_url, self.rate = url, accounts_url, rate
        self.one_by_one = False
        """Several at once have been refused."""
        self._token, self._expires = "", 0.0
        self._lock = threading.Lock()

    def provider(self, apply: Apply) -> Provider:
        return Provider(
            name=NAME,
            label="Spotify",
            rate=self.rate,
            url=self.url,
            ask=self.ask,
            apply=apply,
            batch=lambda kind: 1 if self.one_by_one else MAX_IDS[kind],
            max_retry_after=MAX_RETRY_AFTER,
            expiry=lambda kind: EXPIRY,
            why_off=self.why_off,
            secret=lambda: f"{self.client_id}\0{self.client_secret}\0{self.refresh_token}",
            kinds=(ARTIST, ALBUM, TRACK),
            describe=describe,
        )

    def why_off(self) -> str:
        missing = [
            name
            for name, value in {
                "SPOTIFY_CLIENT_ID": self.client_id,
                "SPOTIFY_CLIENT_SECRET": self.client_secret,
            }.items()
            if not value
        ]
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set." if missing else ""

    def ask(self, questions: Sequence[Question]) -> dict[str, Answer]:
        """In one request; where that is not allowed, QuestionError, for the runner to ask them one by one."""
        kind = questions[0].kind
        ids = [question.key for question in questions if is_id(question.key)]
        if not ids:
            return {}
        if len(ids) == 1:
            return self._single(kind, ids[0])
        if not self.one_by_one:
            try:
                found = self._get(f"/v1/{kind}s", {"ids": ",".join(ids)})
            except http.KeyRefused as error:
                if error.status != 403:
                    raise
                self.one_by_one = True
            else:
                return _several(kind, ids, found)
        raise http.QuestionError("Spotify takes no several ids at once: the app is in development mode.", 403)

    def _single(self, kind: str, id: str) -> dict[str, Answer]:
        try:
            found = self._get(f"/v1/{kind}s/{id}", {})
        except http.QuestionError as error:
            if error.status != 404:
                raise
            return {}
        return {id: _answer(kind, id, found)}

    def _get(self, path: str, params: Mapping[str, str]) -> Any:
        """With a token that is renewed, once, if Spotify says that it has expired."""
        token = self._current_token()
        try:
            return http.get_json(NAME, path, params, {"Authorization": f"Bearer {token}"})
        except http.KeyRefused as error:
            if error.status != 401:
                raise
        return http.get_json(NAME, path, params, {"Authorization": f"Bearer {self._current_token(not_this=token)}"})

    def _current_token(self, not_this: str = "") -> str:
        """One for all threads of this process: whoever finds it expired gets another one, for all."""
        with self._lock:
            if not self._token or self._token == not_this or time.monotonic() > self._expires:
                self._token, lasts = self._new_token()
                self._expires = time.monotonic() + max(0.0, lasts - MARGIN)
            return self._token

    def _new_token(self) -> tuple[str, float]:
        form = {"grant_type": "client_credentials"}
        if self.refresh_token:
            form = {"grant_type": "refresh_token", "refresh_token": self.refresh_token}
        basic = base64.b64encode(f"{self.client_id}:{self.client_secret}".encode()).decode()
        try:
            found = http.post_form(NAME, f"{self.accounts_url}/api/token", form, {"Authorization": f"Basic {basic}"})
        except http.QuestionError as error:  # 400: no valid client, or a refresh token that was revoked
            raise http.KeyRefused(str(error), error.status) from None
        token = found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str) or not token:
            raise http.ProviderUnavailable("Spotify answered without a token.")
        return token, number(found.get("expires_in", LASTS))


def is_id(text: str) -> bool:
    return re.fullmatch("[0-9A-Za-z_-]{1,64}", text, re.ASCII) is not None


def describe(stored: Any) -> Description:
    """What is kept of an artist, album or track."""
    return Description(title=str(stored.get("name") or stored.get("id") or ""), link=str(stored.get("link") or ""))


def _several(kind: str, ids: Sequence[str], found: Any) -> dict[str, Answer]:
    """In the order of the ids; null for what Spotify does not have."""
    listed = found.get(f"{kind}s") if isinstance(found, dict) else None
    if not isinstance(listed, list) or len(listed) != len(ids):
        raise http.ProviderUnavailable("Spotify answered with something else than it documents.")
    return {asked: _of_several(kind, asked, each) for asked, each in zip(ids, listed, strict=True) if each is not None}


def _of_several(kind: str, id: str, found: Any) -> Answer:
    """One that is not as documented must not keep the others from being answered."""
    if isinstance(found, dict):
        return _answer(kind, id, found)
    return Answer(status="failed", message="Spotify answered with something else than it documents.")


def _answer(kind: str, id: str, found: Any) -> Answer:
    if not isinstance(found, dict):
        raise http.ProviderUnavailable("Spotify answered with something else than it documents.")
    reduce = {ARTIST: reduce_artist, ALBUM: reduce_album, TRACK: reduce_track}[kind]
    return Answer(status="found", data={"id": id, "link": f"{PAGES}/{kind}/{id}", **reduce(found)})


def reduce_artist(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept. What an app in development mode is not given is None."""
    return {
        "name": _text(found.get("name")),
        "genres": texts(found.get("genres"), MAX_GENRE),
        "popularity": whole(found.get("popularity")),
        "followers": whole(member(found, "followers").get("total"), MAX_FOLLOWERS),
    }


def reduce_album(found: Mapping[str, Any]) -> dict[str, Any]:
    artists = _artists(found)
    first = artists[0] if artists else {"id": None, "name": None, "type": None}
    return {
        "name": _text(found.get("name")),
        "album_type": _text(found.get("album_type"), 50),
        "artist_id": first["id"],
        "artist_name": first["name"],
        "artist_type": first["type"],
        "label": _text(found.get("label")),
        "genres": texts(found.get("genres"), MAX_GENRE),
        "popularity": whole(found.get("popularity")),
        "release_date": _text(found.get("release_date"), 10),
        "release_date_precision": _text(found.get("release_date_precision"), 10),
        "total_tracks": whole(found.get("total_tracks")),
    }


def reduce_track(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": _text(found.get("name")),
        "isrc": _text(member(found, "external_ids").get("isrc"), 20),
        "duration_ms": whole(found.get("duration_ms")),
        "popularity": whole(found.get("popularity")),
        "artists": [{"id": artist["id"], "name": artist["name"]} for artist in _artists(found)],
        "album_id": _id(member(found, "album").get("id")),
    }


def _artists(found: Mapping[str, Any]) -> list[dict[str, str | None]]:
    return [
        {"id": _id(each.get("id")), "name": _text(each.get("name")), "type": _text(each.get("type"), 50)}
        for each in members(found, "artists")[:MAX_ITEMS]
    ]


def _id(value: Any) -> str | None:
    return value if isinstance(value, str) and is_id(value) else None


def _text(value: Any, most: int = MAX_TEXT) -> str | None:
    return text(value, most) or None

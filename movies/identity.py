"""Which entries are one, and which entries are about one film: computed from what they say, the same at any time."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping
from typing import Any

from ingestion.fields import normalized
from movies.models import Kind

FILM_LINKS = frozenset({Kind.WATCHED.value, Kind.RATINGS.value, Kind.LIKES.value, Kind.WATCHLIST.value})
"""Kinds whose link is that of the film; that of a diary and of reviews is the viewing's."""
SEVERAL_VIEWINGS = frozenset({Kind.IMPORT.value})
"""Kinds whose link is that of the film, and which have a line for each viewing of it."""
MAX_FOLDED = 1000
"""Characters of a title."""


def entry_key(entry: Mapping[str, Any]) -> str:
    """The key of an entry, from a payload that need not be valid; empty where it has too little to have one.

    Two lines of different exports are one entry if they have the same library, kind and link, or without a link the
    same title, year and day.
    """
    library, kind = _text(entry, "library"), _text(entry, "kind")
    link, title = link_key(_text(entry, "letterboxd_uri")), folded(_text(entry, "title"))
    numbers = [str(entry.get(name) or "").strip() for name in ("tmdb_id", "imdb_id")]
    if not library or not kind or not (link or title or any(numbers)):
        return ""
    library = normalized(library)
    day = _text(entry, "watched_on")
    if link:
        return digest("entry", library, kind, link, day if kind in SEVERAL_VIEWINGS else "")
    return digest("entry", library, kind, title, _whole(entry.get("year")), day, *numbers)


def film_of_link(library: str, link: str) -> str:
    return digest("film", library, link_key(link))


def film_of_title(library: str, title: str, year: int | None, *numbers: object) -> str:
    return digest("title", library, folded(title), str(year or ""), *(str(number or "") for number in numbers))


def has_film_link(kind: str, link: str | None) -> bool:
    return bool(link) and (kind in FILM_LINKS or kind in SEVERAL_VIEWINGS)


def link_key(link: str) -> str:
    """The link without what does not tell films apart: scheme, www, a slash at the end, case of the host."""
    rest = link.strip().partition("://")[2] or link.strip()
    host, slash, path = rest.partition("/")
    return f"{host.lower().removeprefix('www.')}{slash}{path}".rstrip("/")


def folded(title: str) -> str:
    """Without case, and with single spaces. What is too long for a title stays as it is: of a long run of accents the
    time to compose them grows with the square.
    """
    if len(title) > MAX_FOLDED:
        return title
    return " ".join(unicodedata.normalize("NFC", title).casefold().split())


def digest(*parts: str) -> str:
    """32 hex digits, as few as make a clash of two of them impossible in practice."""
    text = "\x1f".join(parts)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _text(entry: Mapping[str, Any], name: str) -> str:
    value = entry.get(name)
    return value.strip() if isinstance(value, str) else ""


def _whole(value: Any) -> str:
    """2020 and 2020.0 are one year."""
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    return str(int(value)) if is_whole else ""

"""Films in templates: stars, lengths, pictures and links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from django import template
from django.conf import settings
from django.utils.html import format_html
from django.utils.safestring import SafeString

from movies import tmdb
from movies.pages import drawings
from movies.pages.filters import MATCHES
from movies.pages.overview import length
from movies.pages.statistics import FilmRow

register = template.Library()
register.filter("length_of", length)


@register.filter
def match_name(match: str) -> str:
    return MATCHES.get(match, match).lower()


@register.filter
def stars(rating: float | None) -> SafeString | str:
    """★★★½, which a screen reader hears as a number."""
    if rating is None:
        return ""
    drawn = "★" * int(rating) + ("½" if rating % 1 else "")
    return format_html('<span class="stars" role="img" aria-label="{} of 5 stars">{}</span>', f"{rating:g}", drawn)


@register.filter
def picture(film: FilmRow) -> SafeString:
    """The poster, or a tile with the title."""
    if settings.POSTERS and film.poster_path:
        return poster(film.poster_path)
    return drawings.tile(film.title, film.year)


@register.filter
def poster(path: str) -> SafeString:
    return format_html(
        '<img class="poster" src="{}/t/p/w185{}" width="185" height="278" alt="" loading="lazy"'
        ' referrerpolicy="no-referrer">',
        *(tmdb.PICTURES, path),
    )


@register.filter
def candidate_picture(candidate: Mapping[str, Any]) -> SafeString:
    """Of what a person chooses from, as the provider describes it."""
    path, date = str(candidate.get("poster_path") or ""), str(candidate.get("date") or "")
    if settings.POSTERS and path:
        return poster(path)
    return drawings.tile(str(candidate.get("title") or ""), int(date[:4]) if date[:4].isdecimal() else None)


@register.filter
def candidate_page(candidate: Mapping[str, Any]) -> str:
    return tmdb.page_of(str(candidate.get("kind")), candidate.get("id"))


@register.filter
def tmdb_page(film: FilmRow) -> str:
    return tmdb.page_of(film.kind, film.tmdb_id)


@register.filter
def tmdb_search(title: str) -> str:
    return f"{tmdb.PAGES}/search?query={quote(title)}"

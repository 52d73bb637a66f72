"""What the page of a play shows beside its fields: links to its listener and artist, and to other copies of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.utils.html import format_html_join

from console.stored.page import FieldDisplay, link_to
from music.models import Artist, Listen, Listener

APART = timedelta(days=1)
"""At most, two sources tell of one play."""
MAX_COPIES = 20


def with_links(
    request: HttpRequest, listen: Listen, own: Sequence[FieldDisplay], derived: Sequence[FieldDisplay]
) -> dict[str, list[FieldDisplay]]:
    """The fields, those that name other rows as links."""
    links: dict[str, Any] = {"user_id": link_to(request, Listener, listen.user_id)}
    if listen.artist_key:
        links["artist"] = link_to(request, Artist, listen.artist_key, listen.artist or "")
        links["artist_key"] = link_to(request, Artist, listen.artist_key)
    if listen.duplicate_of:
        links["duplicate_of"] = link_to(request, Listen, listen.duplicate_of)
    return {"own": _linked(own, links), "derived": [*_linked(derived, links), *_copies(request, listen)]}


def _linked(fields: Sequence[FieldDisplay], links: Mapping[str, Any]) -> list[FieldDisplay]:
    return [replace(field, value=links.get(field.column, field.value)) for field in fields]


def _copies(request: HttpRequest, listen: Listen) -> list[FieldDisplay]:
    """By the index on the listener's plays: they are of about the same time."""
    times = (listen.played_at - APART, listen.played_at + APART)
    near = Listen.objects.filter(user_id=listen.user_id, played_at__range=times, duplicate_of=listen.pk)
    keys = list(near.order_by("played_at", "pk").values_list("pk", flat=True)[:MAX_COPIES])
    if not keys:
        return []
    value = format_html_join(", ", "{}", ((link_to(request, Listen, key),) for key in keys))
    return [FieldDisplay("copies", "duplicates", value, "The same play, from other sources.")]

"""The questions to providers that pages of artists, albums and areas show."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString

from console.lookups.base import status_badge
from console.lookups.page import provider_of, question_of, rule_of
from console.stored.page import page_of
from enrichment.lookups.models import Lookup
from ingestion.text import plain

MAX_LOOKUPS = 20


@dataclass(frozen=True)
class Question:
    """One row of the table of lookups."""

    lookup: Lookup
    title: str
    page: str
    provider: str
    badge: SafeString
    rule: str


def question(request: HttpRequest, lookup: Lookup, name: str) -> Question:
    """A question that has nothing but an ID is called by the name of what it is about."""
    described = question_of(lookup)
    title = name if lookup.key in described.title else described.title
    provider = str(provider_of(lookup) or plain(lookup.provider))
    return Question(lookup, title, page_of(request, Lookup, lookup.pk), provider, status_badge(lookup), rule_of(lookup))


def asked_about(
    request: HttpRequest, name: str, keys: Mapping[str, Collection[str]], kinds: Collection[str]
) -> list[Question]:
    """By provider and keys, about what has this name; none for who may not see lookups."""
    if not request.user.has_perm("enrichment.view_lookup"):
        return []
    asked = Q(pk__in=[])
    for provider, of_provider in keys.items():
        asked |= Q(provider=provider, kind__in=kinds, key__in=of_provider)
    rows = Lookup.objects.filter(asked).order_by("provider", "kind", "key")[:MAX_LOOKUPS]
    return [question(request, row, name) for row in rows]

"""The questions to providers that pages of albums and areas show."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db.models import Q
from django.http import HttpRequest
from django.utils.safestring import SafeString

from console.lookups.base import status_badge
from console.lookups.page import question_of
from console.stored.page import link_to
from enrichment.lookups.models import Lookup

MAX_LOOKUPS = 20


def asked_about(
    request: HttpRequest, keys: Mapping[str, Collection[str]], kinds: Collection[str]
) -> list[tuple[SafeString | str, Lookup, SafeString]]:
    """(its question as a link, the lookup, its status) by provider and keys; none for who may not see lookups."""
    if not request.user.has_perm("enrichment.view_lookup"):
        return []
    asked = Q(pk__in=[])
    for provider, of_provider in keys.items():
        asked |= Q(provider=provider, kind__in=kinds, key__in=of_provider)
    rows = Lookup.objects.filter(asked).order_by("provider", "kind", "key")[:MAX_LOOKUPS]
    return [(link_to(request, Lookup, row.pk, question_of(row).title), row, status_badge(row)) for row in rows]

"""Who sends records: clients as they stand with deliveries and held records, under the names of their API keys."""

from __future__ import annotations

from collections.abc import Iterable

from ingestion.models import ApiKey
from ingestion.templatetags.shown import plain

BY_KEY = "key:"
MOST_OFFERED = 50


def names_of(clients: Iterable[str]) -> dict[str, str]:
    """client → the name of its newest key; those that did not come by a key, or by one that is gone, are left out."""
    prefixes = {client.removeprefix(BY_KEY) for client in clients if client.startswith(BY_KEY)}
    keys = ApiKey.objects.filter(client__in=prefixes).order_by("created", "prefix") if prefixes else []
    return {f"{BY_KEY}{key.client}": plain(key.name) for key in keys}


def offered() -> list[tuple[str, str]]:
    """(client, name) of those who have keys, by name: the newest MOST_OFFERED."""
    newest = ApiKey.objects.order_by("-created", "prefix").values_list("client", "name")[: 2 * MOST_OFFERED]
    names: dict[str, str] = {}
    for client, name in newest:
        names.setdefault(f"{BY_KEY}{client}", plain(name))
    return sorted(list(names.items())[:MOST_OFFERED], key=lambda each: (each[1].lower(), each[0]))

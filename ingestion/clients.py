"""Who sends records: clients as they stand with deliveries and held records, under the names of their API keys."""

from __future__ import annotations

from collections.abc import Iterable

from ingestion.models import ApiKey
from ingestion.text import plain

BY_KEY, USER = "key:", "user:"


def names_of(clients: Iterable[str]) -> dict[str, str]:
    """client → the name of its newest key; those that did not come by a key, or by one that is gone, are left out."""
    prefixes = {client.removeprefix(BY_KEY) for client in clients if client.startswith(BY_KEY)}
    keys = ApiKey.objects.filter(client__in=prefixes).order_by("created", "prefix") if prefixes else []
    return {f"{BY_KEY}{key.client}": plain(key.name) for key in keys}


def called(client: str, names: dict[str, str]) -> str:
    """As in "Acme (key:abc)"; `names` is what names_of() said."""
    name = names.get(client, plain(client.removeprefix(USER)))
    return plain(client) if name == plain(client) else f"{name} ({plain(client)})"

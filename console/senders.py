"""Who sends records: clients as they stand with deliveries and held records, under the names of their API keys."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection

from enrichment.models import HeldRecord
from ingestion.models import ApiKey
from ingestion.text import plain

# pages ask for it here


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


MOST_OFFERED = 50


def offered() -> list[tuple[str, str]]:
    """(client, name) of those who have keys, by name: the newest MOST_OFFERED; then of users whose records are held."""
    newest = ApiKey.objects.order_by("-created", "prefix").values_list("client", "name")[: 2 * MOST_OFFERED]
    names: dict[str, str] = {}
    for client, name in newest:
        names.setdefault(f"{BY_KEY}{client}", plain(name))
    by_name = sorted(list(names.items())[:MOST_OFFERED], key=lambda each: (each[1].lower(), each[0]))
    return [*by_name, *((client, called(client, {})) for client in users())]


def users() -> list[str]:
    """Clients that are users with open held records, at most MOST_OFFERED: a step along held_open_client for each."""
    table = connection.ops.quote_name(HeldRecord._meta.db_table)
    next_one = (
        f"SELECT MIN(client) FROM {table} AS held WHERE held.status IN ('waiting', 'dead')"  # noqa: S608
        " AND held.status = found.status AND held.client > found.client"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE found(status, client) AS (VALUES ('waiting', %s), ('dead', %s)"  # noqa: S608
            f" UNION ALL SELECT status, ({next_one}) FROM found WHERE client IS NOT NULL)"
            " SELECT DISTINCT client FROM found WHERE client LIKE %s AND client <> %s ORDER BY client LIMIT %s",
            [USER, USER, f"{USER}%", USER, MOST_OFFERED],
        )
        return [client for (client,) in cursor.fetchall()]

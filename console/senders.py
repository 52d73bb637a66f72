"""Names of clients for pages: those of their API keys."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection

from enrichment.models import HeldRecord
from ingestion.models import ApiKey
from ingestion.text import plain

BY_KEY, USER = "key:", "user:"


def key_names(clients: Iterable[str]) -> dict[str, str]:
    """client → the name of its newest key; without users, and without clients whose keys are gone."""
    prefixes = {client.removeprefix(BY_KEY) for client in clients if client.startswith(BY_KEY)}
    keys = ApiKey.objects.filter(client__in=prefixes).order_by("created", "prefix") if prefixes else []
    return {f"{BY_KEY}{key.client}": plain(key.name) for key in keys}


def display_name(client: str, names: dict[str, str]) -> str:
    """As in "Acme (key:abc)"; `names` is the result of key_names()."""
    name = names.get(client, plain(client.removeprefix(USER)))
    return plain(client) if name == plain(client) else f"{name} ({plain(client)})"


MAX_CHOICES = 50


def key_choices() -> list[tuple[str, str]]:
    """(client, name): the newest MAX_CHOICES clients with keys, by name."""
    newest = ApiKey.objects.order_by("-created", "prefix").values_list("client", "name")[: 2 * MAX_CHOICES]
    names: dict[str, str] = {}
    for client, name in newest:
        names.setdefault(f"{BY_KEY}{client}", plain(name))
    return sorted(list(names.items())[:MAX_CHOICES], key=lambda each: (each[1].lower(), each[0]))


def sender_choices() -> list[tuple[str, str]]:
    """key_choices(); then users with open held records."""
    return [*key_choices(), *((client, display_name(client, {})) for client in users_with_failures())]


def users_with_failures() -> list[str]:
    """Clients that are users with open held records, at most MAX_CHOICES: a step along held_open_client for each."""
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
            [USER, USER, f"{USER}%", USER, MAX_CHOICES],
        )
        return [client for (client,) in cursor.fetchall()]

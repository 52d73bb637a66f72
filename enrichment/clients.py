"""Whose records are held: what the filter by sender offers."""

from __future__ import annotations

from django.db import connection

from enrichment.models import HeldRecord
from ingestion.clients import BY_KEY as BY_KEY  # noqa: PLC0414  # pages ask for it here
from ingestion.clients import USER, called
from ingestion.clients import names_of as names_of  # noqa: PLC0414
from ingestion.models import ApiKey
from ingestion.text import plain

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

"""Reads the stored rows of a stream according to a query: for the API's lists and for export_data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from django.db import connection
from django.db.models import Q, QuerySet

from enrichment.models import StoredRecord
from enrichment.rows.filters import apply_filters, exposed_fields, filters_of_stream
from enrichment.rows.listing import Item, Listing, read_fields
from enrichment.rows.ordering import Ordering, read_ordering, stream_orderings
from ingestion.streams import Stream

Rows = QuerySet[StoredRecord]


def parameters(stream: Stream) -> list[str]:
    """The parameters that select rows."""
    return [*(["search"] if stream.search else []), *filters_of_stream(stream)]


def read(stream: Stream, query: Mapping[str, str]) -> Listing:
    """The list for this query. Refuses (400) invalid values."""
    fields = read_fields(query, names_of(stream))
    ordering = read_ordering(query, orderings_of(stream, query))
    rows = apply_filters(stream.model._default_manager.all(), filters_of_stream(stream), query)
    rows = apply_search(rows, stream, query.get("search"))
    if ordering.name == "stored_at" and (until := commit_horizon()):
        rows = rows.filter(stored_at__lt=until)
    ordering = replace(ordering, avoid_index="search" in query)
    return Listing(
        select_columns(rows, stream, [*fields, ordering.column]), ordering, fields, serializer_of(stream, fields)
    )


def names_of(stream: Stream) -> list[str]:
    return [field.attname for field in exposed_fields(stream)]


def orderings_of(stream: Stream, query: Mapping[str, str]) -> Sequence[Ordering]:
    """The first is the default: by the key, or of what has changed since a time, as it changed."""
    found = stream_orderings(stream.key, "stored_at", *([stream.time] if stream.time else []))
    return sorted(found, key=lambda each: each.name != "stored_at") if "stored_after" in query else found


def commit_horizon() -> datetime | None:
    """The time before which every stored row is visible: rows of a transaction still open may be older than rows that
    are visible already. None if all rows are visible.

    On PostgreSQL a transaction gets its number before it stores, and stores after it began. SQLite has one writer.
    """
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT least(statement_timestamp(), min(xact_start)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()"
        )
        until: datetime = cursor.fetchone()[0]
    return until


def select_columns(rows: QuerySet[Any], stream: Stream, names: Sequence[str]) -> Rows:
    """Reads these columns, and the hidden ones, from which exposed values are computed."""
    return rows.only(*dict.fromkeys((stream.key, *names, *stream.hidden)))


def serializer_of(stream: Stream, names: Sequence[str]) -> Callable[[Iterable[StoredRecord]], list[Item]]:
    exposed_as = cast("type[StoredRecord]", stream.model).exposed_as
    attributes = [exposed_as.get(name, name) for name in names]

    def shown(rows: Iterable[StoredRecord]) -> list[Item]:
        return [
            {name: getattr(row, attribute) for name, attribute in zip(names, attributes, strict=True)} for row in rows
        ]

    return shown


def apply_search(rows: Rows, stream: Stream, text: str | None) -> Rows:
    """The rows with `text` in a searched column, ignoring case."""
    if text is None:
        return rows
    found = Q()
    for column in stream.search:
        field = stream.model._meta.get_field(column)
        name = f"{field.name}__pk" if field.is_relation else field.name  # of a reference the key is searched
        found |= Q(**{f"{name}__contains_any_case": text})
    return rows.filter(found)

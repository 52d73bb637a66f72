"""Reads rows according to a query: for the API's lists and for export_data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from enrichment.rows.filters import Column, apply_filters, columns_of, filters_of_rows
from enrichment.rows.listing import Item, Listing, read_fields
from enrichment.rows.masking import mask_rows
from enrichment.rows.ordering import Ordering, read_ordering, stream_orderings
from ingestion.refusals import RequestRejected
from ingestion.streams import Readable, Stream

Rows = QuerySet[Any]


def parameters(readable: Readable) -> list[str]:
    """The parameters that select rows."""
    return [*(["search"] if readable.search else []), *filters_of_rows(readable)]


def read(readable: Readable, query: Mapping[str, str], *, is_masked: bool = False) -> Listing:
    """The list for this query. Refuses (400) invalid values, and (403) filters by what is masked: whether there is a
    row would tell it.
    """
    if is_masked and (refused := sorted(query.keys() & {*readable.personal, "warnings"})):
        names = ", ".join(refused)
        message = f"You may not filter by {names}: you lack the permission to see personal data."
        raise RequestRejected(403, message, fields={name: ["is hidden from you"] for name in refused})
    fields = read_fields(query, names_of(readable))
    ordering = read_ordering(query, orderings_of(readable, query))
    rows = apply_filters(listed(readable, is_masked=is_masked), filters_of_rows(readable), query)
    searched = [name for name in readable.search if not is_masked or name not in readable.personal]
    rows = apply_search(rows, readable, searched, query.get("search"))
    if ordering.name == "stored_at" and (until := commit_horizon()):
        rows = rows.filter(stored_at__lt=until)
    ordering = replace(ordering, avoid_index="search" in query)
    selected = select_columns(rows, readable, [*fields, ordering.column])
    return Listing(selected, ordering, fields, serializer_of(readable, fields), nullable_of(readable))


def listed(readable: Readable, *, is_masked: bool = False) -> Rows:
    """The rows that clients see."""
    rows = readable.listed(readable.model._default_manager.all())
    return mask_rows(rows) if is_masked else rows


def names_of(readable: Readable) -> list[str]:
    return [column.name for column in columns_of(readable)]


def nullable_of(readable: Readable) -> list[str]:
    """As in Listing: of the rows of other lists nothing is imported."""
    return [column.name for column in columns_of(readable) if column.is_nullable and isinstance(readable, Stream)]


def orderings_of(readable: Readable, query: Mapping[str, str]) -> Sequence[Ordering]:
    """The first is the default: by the key, or of what has changed since a time, as it changed."""
    times = ("stored_at", *([readable.time] if readable.time else []))
    found = stream_orderings(readable.key, *times, number=readable.number)
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


def select_columns(rows: QuerySet[Any], readable: Readable, names: Sequence[str]) -> Rows:
    """Reads these columns, and the hidden ones, from which exposed values are computed."""
    paths = [column.path for column in columns_of(readable) if column.is_related and column.name in names]
    relations = dict.fromkeys(path.rpartition("__")[0] for path in paths)
    own = [name for name in names if name not in readable.related]
    read = dict.fromkeys((readable.key, *own, *readable.hidden, *relations, *paths))
    return rows.select_related(*relations).only(*read) if relations else rows.only(*read)


def serializer_of(readable: Readable, names: Sequence[str]) -> Callable[[Iterable[Any]], list[Item]]:
    columns = {column.name: column for column in columns_of(readable)}
    values = {name: value_of(readable, columns[name]) for name in names}

    def shown(rows: Iterable[Any]) -> list[Item]:
        return [{name: value(row) for name, value in values.items()} for row in rows]

    return shown


def value_of(readable: Readable, column: Column) -> Callable[[Any], Any]:
    """What reads the value that clients see from a row."""
    if not column.is_related:
        return attrgetter(getattr(readable.model, "exposed_as", {}).get(column.name, column.name))
    *relations, last = column.path.split("__")

    def value(row: Any) -> Any:
        for name in relations:
            row = row and getattr(row, name)
        return row and getattr(row, last)

    return value


def apply_search(rows: Rows, readable: Readable, columns: Sequence[str], text: str | None) -> Rows:
    """The rows with `text` in one of the columns, ignoring case."""
    if text is None:
        return rows
    found = Q()
    for column in columns:
        found |= Q(**{f"{readable.related.get(column) or _text_path(readable, column)}__contains_any_case": text})
    return rows.filter(found)


def _text_path(readable: Readable, column: str) -> str:
    field = readable.model._meta.get_field(column)
    return f"{field.name}__pk" if field.is_relation else field.name  # of a reference the key is searched

"""The rows that records refer to: read and locked in order of (stream, key), so that no two batches deadlock (P6)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter
from typing import Any

from django.db import connection

from ingestion import streams
from ingestion.models import raw_cursor
from ingestion.streams import Reference, Stream

_NOTHING: Mapping[str, Any] = {}
Rows = Mapping[tuple[str, str], Mapping[str, Any]]


def lock(stream: Stream, records: Collection[Any]) -> Rows:
    """(stream, key) → the fields read, of the referenced rows that exist; where the stream allows it, a missing row is
    first created as a stub.

    They can neither vanish nor, where fields are read, change until the end of the transaction.
    """
    order = streams.names()
    rows: dict[tuple[str, str], Mapping[str, Any]] = {}
    for reference in sorted(stream.references, key=lambda reference: order.index(reference.stream)):
        keys = _keys(reference, records)
        present = _lock_rows(reference, keys)
        stubs = [stub for key in sorted(keys - present.keys()) if (stub := reference.stub(key)) is not None]
        if stubs:
            type(stubs[0])._default_manager.bulk_create(stubs, ignore_conflicts=True)
            present |= _lock_rows(reference, {stub.pk for stub in stubs})
        rows.update({(reference.stream, key): row for key, row in present.items()})
    return rows


def _keys(reference: Reference, records: Iterable[Any]) -> set[str]:
    return set(map(attrgetter(reference.field), records)) - {None}


def any_missing(stream: Stream, records: Collection[Any], rows: Rows) -> bool:
    """Whether any record refers to a row that is not among these."""
    return any(
        (reference.stream, key) not in rows for reference in stream.references for key in _keys(reference, records)
    )


def first_missing(stream: Stream, record: Any, rows: Rows) -> tuple[str, str, str] | None:
    """(field, stream, key) of the first reference of the record that is not among the rows."""
    for reference in stream.references:
        key = getattr(record, reference.field)
        if key is not None and (reference.stream, key) not in rows:
            return reference.field, reference.stream, key
    return None


def _lock_rows(reference: Reference, keys: set[str]) -> dict[str, Mapping[str, Any]]:
    """key → the fields read, of the rows that exist."""
    if not keys:
        return {}
    model = streams.get(reference.stream).model
    names = ("pk", *reference.reads)
    if connection.vendor != "postgresql":  # the write lock is held already
        found = list(model._default_manager.filter(pk__in=keys).order_by("pk").values_list(*names))
    else:  # Django has no such locks, which let other batches refer to the same rows at the same time
        lock = "FOR SHARE" if reference.reads else "FOR KEY SHARE"
        columns = [connection.ops.quote_name(name) for name in (model._meta.pk.attname, *reference.reads)]
        table = connection.ops.quote_name(model._meta.db_table)
        with raw_cursor() as cursor:
            cursor.execute(
                f"SELECT {', '.join(columns)} FROM {table} "  # noqa: S608 (names are the model's)
                f"WHERE {columns[0]} = ANY(%s) ORDER BY {columns[0]} {lock}",
                [list(keys)],
                binary=True,  # times in a fraction of the time
            )
            found = cursor.fetchall()
    if not reference.reads:
        return dict.fromkeys((key for (key,) in found), _NOTHING)
    return {row[0]: dict(zip(names, row, strict=True)) for row in found}

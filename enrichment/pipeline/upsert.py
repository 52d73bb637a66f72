"""The upsert (P4, P5): one conditional statement for many rows; halves, down to single rows, where one is bad."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from operator import itemgetter
from types import MappingProxyType
from typing import Any, TypeAlias, cast

from django.core.exceptions import ValidationError
from django.db import connection, models, transaction
from django.utils import timezone

from enrichment.models import HeldRecord
from enrichment.pipeline.faults import Fault, classify, code_of
from ingestion.messages import MAX_MESSAGE, Message
from ingestion.streams import Stream
from ingestion.text import strip_unstorable

COPY_FROM = 50
"""Rows from which COPY into a temporary table is faster than arrays."""

Row: TypeAlias = "Sequence[Any]"
"""The values of a row, in the order of columns()."""
Fields: TypeAlias = "Sequence[models.Field[Any, Any]]"
VERSION = ("version_at", "delivery", "position")
NO_CASTS: Mapping[str, str] = MappingProxyType({})
OF_ARRIVAL = ("warnings", *VERSION, "client")
"""The last of a row's columns, in this order: what neither the record nor enrich() sets."""


_meanwhile: ContextVar[Callable[[], None] | None] = ContextVar("meanwhile", default=None)


@contextmanager
def meanwhile(work: Callable[[], None] | None) -> Iterator[None]:
    """While PostgreSQL inserts many rows, `work` is done: without a query, and without raising an Exception."""
    token = _meanwhile.set(work)
    try:
        yield
    finally:
        _meanwhile.reset(token)


class BadRow(Exception):
    """A row that the database refuses even alone. `messages` are by field."""

    def __init__(self, fault: Fault, code: HeldRecord.Code, messages: dict[str, list[str]]) -> None:
        super().__init__(code)
        self.fault, self.code, self.messages = fault, code, messages


def store(stream: Stream, rows: Sequence[Mapping[str, Any]]) -> list[str | BadRow]:
    """The same as store_rows(), of rows by their columns' names."""
    return store_rows(stream, _tuples(columns(stream), rows, lambda field: _same))


def store_rows(stream: Stream, rows: Sequence[Row]) -> list[str | BadRow]:
    """Upserts rows in the current transaction; returns for each "inserted", "updated", "stale" or why it is bad.

    Only errors of the record and of a reference make a row bad; any other error is raised, and nothing is stored.
    """
    versions = list(map(_getter(stream, stream.key, *VERSION), rows))
    order = sorted(range(len(rows)), key=versions.__getitem__)
    results: list[str | BadRow] = ["stale"] * len(rows)
    _store_sorted(stream, rows, order, results)
    return results


@cache
def _getter(stream: Stream, *names: str) -> Callable[[Row], Any]:
    places = {field.attname: place for place, field in enumerate(columns(stream))}
    return itemgetter(*(places[name] for name in names))


def _store_sorted(stream: Stream, rows: Sequence[Row], order: list[int], results: list[str | BadRow]) -> None:
    """Stores the rows of `order` (sorted by key and version); in halves if the database refuses them together."""
    if not order:
        return
    key = _getter(stream, stream.key)
    # Of each key the last is stored, the newest; of an immutable stream the first.
    chosen = {key(rows[i]): i for i in (reversed(order) if stream.immutable else order)}
    together = [rows[i] for i in (reversed(chosen.values()) if stream.immutable else chosen.values())]
    try:
        with transaction.atomic():
            others = upsert(stream, together)
    except Exception as error:
        fault = classify(error)
        if fault in (Fault.STORE, Fault.CODE):
            raise
        if len(order) == 1:
            results[order[0]] = BadRow(fault, code_of(error), _messages(stream, rows[order[0]], error))
            return
        middle = len(order) // 2
        _store_sorted(stream, rows, order[:middle], results)
        _store_sorted(stream, rows, order[middle:], results)
    else:
        for stored, i in chosen.items():
            results[i] = others.get(stored, "inserted")


def _messages(stream: Stream, row: Row, error: Exception) -> dict[str, list[str]]:
    """Messages by field from the model's own validation; the database's message where that finds nothing."""
    instance = stream.model(**{field.attname: value for field, value in zip(columns(stream), row, strict=True)})
    keys = [field.name for field in stream.model._meta.fields if field.is_relation]
    try:
        instance.clean_fields(exclude=keys)
        instance.validate_constraints(exclude=keys)
    except ValidationError as found:
        return {
            name.replace("__all__", "record"): [
                _message(text, str(each.code)) if each.params else Message(text)
                for each in errors
                for text in each.messages
            ]
            for name, errors in found.error_dict.items()
        }
    except Exception:  # a value on which even the validation fails
        return {"record": [_message(str(error), type(error).__name__)]}
    column = getattr(getattr(error.__cause__, "diag", None), "column_name", None)
    return {column or "record": [_message(str(error).split("\n")[0], type(error.__cause__ or error).__name__)]}


def _message(text: str, kind: str) -> Message:
    """A text of Django's or of the database, which may quote values; in general, of which kind the error is."""
    return Message(strip_unstorable(text, MAX_MESSAGE), general=f"cannot be stored ({kind})")


def upsert(stream: Stream, rows: Sequence[Row]) -> dict[str, str]:
    """Writes rows of distinct keys, sorted by key, each only if it is newer than the stored one; of an immutable stream
    only if none is stored.

    Returns key → "updated" or "stale" of those that were not inserted.
    """
    return _upsert_postgresql(stream, rows) if connection.vendor == "postgresql" else _upsert_sqlite(stream, rows)


@cache
def columns(stream: Stream) -> list[models.Field[Any, Any]]:
    """The columns of a row that storing it writes, the record's own first, as its schema has them; stored_at is set by
    the database.
    """
    others = {"stored_at", *stream.kept}
    fields = [field for field in stream.model._meta.concrete_fields if field.attname not in others]
    own, of_arrival = list(stream.schema.model_fields), list(OF_ARRIVAL)

    def place(field: models.Field[Any, Any]) -> tuple[int, int]:
        for part, names in ((0, own), (2, of_arrival)):
            if field.attname in names:
                return part, names.index(field.attname)
        return 1, 0

    return sorted(fields, key=place)


@cache
def defaults(stream: Stream) -> dict[str, Any]:
    """The value of a column that neither the record nor enrich() sets."""
    return {field.attname: field.get_default() for field in columns(stream)}


def _same(value: Any) -> Any:
    return value


def _sqlite_time(value: datetime | None) -> str | None:
    """As Django writes it on SQLite: UTC without an offset."""
    return str(value.astimezone(UTC).replace(tzinfo=None)) if value else None


def _json(value: Any) -> str | None:
    if value == []:  # as most warnings are
        return "[]"
    return None if value is None else json.dumps(value)


def _sqlite_converter(field: models.Field[Any, Any]) -> Callable[[Any], Any]:
    match field:
        case models.JSONField():
            return _json
        case models.DateTimeField():
            return _sqlite_time
        case models.DateField():
            return lambda value: value and value.isoformat()
    return _same


def _json_converter(field: models.Field[Any, Any]) -> Callable[[Any], Any]:
    return _json if isinstance(field, models.JSONField) else _same


Converter: TypeAlias = "Callable[[models.Field[Any, Any]], Callable[[Any], Any]]"


def _tuples(fields: Fields, rows: Sequence[Mapping[str, Any]], converter: Converter) -> list[list[Any]]:
    """The rows' values in the order of the fields, as the database takes them."""
    names = [field.attname for field in fields]
    return list(_converted(fields, ([row[name] for name in names] for row in rows), converter))


def _converted(fields: Fields, rows: Iterable[Row], converter: Converter) -> Iterator[list[Any]]:
    converters = [(i, convert) for i, field in enumerate(fields) if (convert := converter(field)) is not _same]
    for row in rows:
        values = list(row)
        for i, convert in converters:
            values[i] = convert(values[i])
        yield values


def _statement(stream: Stream, source: str, now: str, returning: str, casts: Mapping[str, str] = NO_CASTS) -> str:
    """INSERT … SELECT … FROM `source` ON CONFLICT DO UPDATE … WHERE the stored version is older, or DO NOTHING."""
    table, key = _quote(stream.model._meta.db_table), _quote(stream.key)
    names = [_quote(field.attname) for field in columns(stream)]
    values = [f"{name}{casts.get(name, '')}" for name in names]
    changes = ", ".join(f"{name} = excluded.{name}" for name in [*names, "stored_at"] if name != key)
    update = (
        f"UPDATE SET {changes} WHERE ({table}.version_at, {table}.delivery, {table}.position) "
        f"< (excluded.version_at, excluded.delivery, excluded.position)"
    )
    return (
        f"INSERT INTO {table} ({', '.join(names)}, stored_at) "  # noqa: S608 (names are the model's)
        f"SELECT {', '.join(values)}, {now} FROM {source} WHERE true ORDER BY {key} "
        f"ON CONFLICT ({key}) DO {'NOTHING' if stream.immutable else update} RETURNING {key}{returning}"
    )


def _quote(name: str) -> str:
    return connection.ops.quote_name(name)


def update(stream: Stream, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    """Sets these columns of stored rows, which the caller has locked, in one statement; each row names its key too.

    `stored_at` is the database's clock during the statement, as in an upsert: clients that read changes rely on it.
    """
    fields = [field for field in stream.model._meta.concrete_fields if field.attname in {stream.key, *names}]
    wanted = [_quote(field.attname) for field in fields]
    params: list[Any]
    if connection.vendor == "postgresql":
        now, (source, params) = "clock_timestamp()", _from_arrays(fields, rows)
    else:
        now, (source, params) = "%s", _from_json(fields, rows)
        params = [_sqlite_time(timezone.now()), *params]
    table, key = _quote(stream.model._meta.db_table), _quote(stream.key)
    changes = ", ".join([*(f"{name} = incoming.{name}" for name in wanted if name != key), f"stored_at = {now}"])
    with connection.cursor() as cursor:
        statement = f"UPDATE {table} SET {changes} FROM {source} WHERE {table}.{key} = incoming.{key}"  # noqa: S608
        cursor.execute(statement, params)


def incoming(fields: Fields, rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
    """The FROM clause, called `incoming`, and its parameters: columns of rows as a table of any statement."""
    return _from_arrays(fields, rows) if connection.vendor == "postgresql" else _from_json(fields, rows)


def _from_arrays(fields: Fields, rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
    """The FROM clause and its parameters: the rows as one array per column."""
    return _unnest(fields), _arrays(_tuples(fields, rows, _json_converter))


def _arrays(rows: Iterable[Sequence[Any]]) -> list[str]:
    """The columns of rows as PostgreSQL writes arrays, in a third of the time that psycopg takes."""
    return [f"{{{','.join(map(_element, values))}}}" for values in zip(*rows, strict=True)]


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _unnest(fields: Fields) -> str:
    names = ", ".join(_quote(field.attname) for field in fields)
    arrays = ", ".join(f"%s::{_wide_type(field)}[]" for field in fields)
    return f"unnest({arrays}) AS incoming ({names})"


def _from_json(fields: Fields, rows: Sequence[Mapping[str, Any]]) -> tuple[str, list[Any]]:
    """The same for SQLite: the rows as one JSON document."""
    return _json_each(fields), [json.dumps(_tuples(fields, rows, _sqlite_converter))]


def _json_each(fields: Fields) -> str:
    items = ", ".join(f"json_extract(value, '$[{i}]') AS {_quote(field.attname)}" for i, field in enumerate(fields))
    return f"(SELECT {items} FROM json_each(%s)) AS incoming"  # noqa: S608 (names are the model's)


def _upsert_postgresql(stream: Stream, rows: Sequence[Row]) -> dict[str, str]:
    fields, keys = columns(stream), list(map(_getter(stream, stream.key), rows))
    with connection.cursor() as cursor:
        if len(rows) >= COPY_FROM:
            _copy(cursor, stream, rows)
            insert = _statement(stream, INCOMING, "clock_timestamp()", ", (xmax = 0) AS is_new", _casts(stream))
            connection.connection.meanwhile = _meanwhile.get()
            cursor.execute(WHAT_WAS_DONE.format(insert=insert, key=_quote(stream.key)), [len(rows)])
        else:
            arrays = _arrays(_converted(fields, rows, _json_converter))
            insert = _statement(stream, _unnest(fields), "clock_timestamp()", ", (xmax = 0) AS is_new")
            cursor.execute(WHAT_WAS_DONE.format(insert=insert, key=_quote(stream.key)), [*arrays, len(rows)])
        number, updated, written = cursor.fetchone()
        if len(rows) >= COPY_FROM:
            cursor.execute(f"DROP TABLE {INCOMING}")
    stale = set(keys).difference(written or ()) if number < len(keys) else ()
    return {**dict.fromkeys(updated or (), "updated"), **dict.fromkeys(stale, "stale")}


INCOMING = "incoming_rows"
WHAT_WAS_DONE = """
    WITH done AS ({insert})
    SELECT count(*), array_agg({key}) FILTER (WHERE NOT is_new), CASE WHEN count(*) < %s THEN array_agg({key}) END
    FROM done
"""
"""One row instead of one for each: usually all are inserted."""


def _copy(cursor: Any, stream: Stream, rows: Sequence[Row]) -> None:
    """Into a temporary table; JSON as text, which psycopg need not look at. Binary takes half the time of text."""
    names = [_quote(field.attname) for field in columns(stream)]
    types = ["text" if isinstance(field, models.JSONField) else _wide_type(field) for field in columns(stream)]
    definitions = ", ".join(f"{name} {type_}" for name, type_ in zip(names, types, strict=True))
    cursor.execute(f"CREATE TEMPORARY TABLE {INCOMING} ({definitions}) ON COMMIT DROP")
    copy_in = f"COPY {INCOMING} ({', '.join(names)}) FROM STDIN (FORMAT BINARY)"
    with connection.wrap_database_errors, cursor.copy(copy_in) as copy:
        copy.set_types(types)
        for values in _converted(columns(stream), rows, _json_converter):
            copy.write_row(values)


@cache
def _casts(stream: Stream) -> dict[str, str]:
    return {_quote(field.attname): "::jsonb" for field in columns(stream) if isinstance(field, models.JSONField)}


def _wide_type(field: models.Field[Any, Any]) -> str:
    """The column's type without its limits, which the INSERT then checks: a cast to varchar(64) would truncate in
    silence, and the driver would wrap a number that does not fit into an integer.
    """
    name = re.sub(r"\(.*\)", "", cast(str, field.rel_db_type(connection)))
    return {"smallint": "bigint", "integer": "bigint", "varchar": "text"}.get(name, name)


def _upsert_sqlite(stream: Stream, rows: Sequence[Row]) -> dict[str, str]:
    keys = list(map(_getter(stream, stream.key), rows))
    stored = stream.model._default_manager.filter(pk__in=keys)
    present = set() if stream.immutable else set(stored.values_list("pk", flat=True))
    document = json.dumps(list(_converted(columns(stream), rows, _sqlite_converter)))
    with connection.cursor() as cursor:
        statement = _statement(stream, _json_each(columns(stream)), "%s", "")
        cursor.execute(statement, [_sqlite_time(timezone.now()), document])
        written = {key for (key,) in cursor.fetchall()}
    return {key: "updated" if key in written else "stale" for key in keys if key in present or key not in written}

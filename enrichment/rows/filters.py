"""Filters of a list, derived from its model: every column that clients see can be filtered by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import connection, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Q, QuerySet
from django.db.models.lookups import IContains
from django.db.models.sql.compiler import SQLCompiler
from django.utils import timezone
from django_filters.filters import CharFilter, Filter, TypedChoiceFilter
from pydantic import TypeAdapter
from pydantic import ValidationError as Invalid

from enrichment.models import StoredRecord
from ingestion.fields import Day, Time
from ingestion.messages import first_message_of
from ingestion.query import FLAGS
from ingestion.refusals import RequestRejected
from ingestion.streams import INTERNAL_COLUMNS, Readable

MAX_BIGINT = 2**63 - 1
COLLATIONS = ["und-x-icu", "pg_c_utf8", "C.utf8", "C.UTF-8"]
"""Of PostgreSQL, that know all letters: the first needs ICU, the others depend on version and system."""

_time: TypeAdapter[datetime] = TypeAdapter(Time)
_day: TypeAdapter[date] = TypeAdapter(Day)


class TimeField(forms.Field):
    """A time as records have it: ISO 8601, naive ones in TIME_ZONE, a date alone its midnight, or as an upper limit the
    end of that day.
    """

    def __init__(self, *, is_upper_limit: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.is_upper_limit = is_upper_limit

    def to_python(self, value: str | None) -> datetime | None:
        if not value:
            return None
        has_time = "t" in value.lower()
        if has_time:
            value = value.replace(" ", "+")  # a plus sign that was not encoded in the URL
        try:
            moment = _time.validate_python(value)
        except Invalid as error:
            raise ValidationError(first_message_of(error)) from None
        return end_of_day(value) if self.is_upper_limit and not has_time and " " not in value else moment


def end_of_day(day: str) -> datetime:
    """The last microsecond of a date in TIME_ZONE, of however many hours it has."""
    following = datetime.fromisoformat(day).date() + timedelta(days=1)
    midnight = datetime.combine(following, time(), tzinfo=timezone.get_default_timezone())
    return midnight.astimezone(UTC) - timedelta(microseconds=1)


class DayField(forms.Field):
    """A date as records have it."""

    def to_python(self, value: str | None) -> date | None:
        if not value:
            return None
        try:
            return _day.validate_python(value)
        except Invalid as error:
            raise ValidationError(first_message_of(error)) from None


class ChoicesField(forms.Field):
    """One of a closed list, or several with commas between them."""

    def __init__(self, *, allowed: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.allowed = allowed

    def to_python(self, value: str | None) -> list[str]:
        values = value.split(",") if value else []
        if not set(values) <= set(self.allowed):
            raise ValidationError(f"must be one of: {', '.join(self.allowed)}")
        return values


class TimeFilter(Filter):  # type: ignore[misc]
    field_class = TimeField

    def __init__(self, field_name: str, lookup_expr: str = "exact", **kwargs: Any) -> None:
        super().__init__(field_name, lookup_expr, is_upper_limit=lookup_expr == "lte", **kwargs)

    def filter(self, rows: QuerySet[Any], value: datetime | None) -> QuerySet[Any]:
        if value and self.lookup_expr == "gte" and connection.vendor == "sqlite":
            value -= timedelta(microseconds=1)  # its clock writes milliseconds, and as text .123 < .123000
        found: QuerySet[Any] = super().filter(rows, value)
        return found


class DayFilter(Filter):  # type: ignore[misc]
    field_class = DayField


class IntegerFilter(Filter):  # type: ignore[misc]
    field_class = forms.IntegerField

    def __init__(self, field_name: str, lookup_expr: str = "exact", **kwargs: Any) -> None:
        messages = dict.fromkeys(("min_value", "max_value"), "is out of range")
        super().__init__(field_name, lookup_expr, error_messages=messages, **kwargs)


class DecimalFilter(Filter):  # type: ignore[misc]
    field_class = forms.FloatField


class ChoicesFilter(Filter):  # type: ignore[misc]
    """By any of the values given."""

    field_class = ChoicesField

    def __init__(self, field_name: str, allowed: Sequence[str], **kwargs: Any) -> None:
        super().__init__(field_name, "in", allowed=list(allowed), **kwargs)


class ChoiceFilter(TypedChoiceFilter):  # type: ignore[misc]
    """By one of a closed list: text → the value it stands for."""

    def __init__(self, field_name: str, values: Mapping[str, Any], lookup_expr: str = "exact", **kwargs: Any) -> None:
        super().__init__(
            field_name=field_name,
            lookup_expr=lookup_expr,
            choices=[(text, text) for text in values],
            coerce=values.__getitem__,
            error_messages={"invalid_choice": f"must be one of: {', '.join(values)}"},
            **kwargs,
        )


class FlagField(forms.TypedChoiceField):
    """As the cells of a CSV file: in any case, and also 1, yes, 0 and no."""

    def to_python(self, value: Any) -> str:
        text = super().to_python(value).lower()
        return str(FLAGS[text]).lower() if text in FLAGS else text


class FlagFilter(ChoiceFilter):
    """true or false."""

    field_class = FlagField

    def __init__(self, field_name: str, lookup_expr: str = "exact", **kwargs: Any) -> None:
        super().__init__(field_name, {"true": True, "false": False}, lookup_expr, **kwargs)


class NonEmptyFilter(FlagFilter):
    """Whether a list has any items; null has none."""

    def filter(self, rows: QuerySet[Any], value: bool | str) -> QuerySet[Any]:
        if value == "":
            return rows
        empty = Q(**{self.field_name: []}) | Q(**{f"{self.field_name}__isnull": True})
        return rows.exclude(empty) if value else rows.filter(empty)


@models.CharField.register_lookup
@models.TextField.register_lookup
class ContainsAnyCase(models.Lookup):
    """As `icontains`, which knows the upper and lower case of ASCII alone on SQLite, and in a PostgreSQL database that
    was made without a language (--locale=C).
    """

    lookup_name = "contains_any_case"
    prepare_rhs = False

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        column, params = self.process_lhs(compiler, connection)
        if connection.vendor == "sqlite":
            return f"instr(casefold({column}), %s) > 0", (*params, str(self.rhs).casefold())
        if not (collation := collation_of_all_letters(connection.alias)):
            sql, found = compiler.compile(IContains(self.lhs, self.rhs))
            return sql, tuple(found)
        pattern = f"%{connection.ops.prep_for_like_query(self.rhs)}%"
        upper = f'UPPER({column}::text COLLATE "{collation}") LIKE UPPER(%s::text COLLATE "{collation}")'
        return upper, (*params, pattern)


@cache
def collation_of_all_letters(alias: str) -> str:
    """PostgreSQL's collation by which every letter has its upper case; empty where the server has none."""
    connection = connections[alias]
    connection.ensure_connection()
    found = connection.connection.execute("SELECT collname FROM pg_collation WHERE collname = ANY(%s)", [COLLATIONS])
    names = {name for (name,) in found}
    return next((name for name in COLLATIONS if name in names), "")


def add_casefold(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """Receives connection_created: gives SQLite a function that knows all letters."""
    if connection.vendor == "sqlite":
        connection.connection.create_function("casefold", 1, _casefold, deterministic=True)


def _casefold(value: Any) -> Any:
    return value.casefold() if isinstance(value, str) else value


@models.JSONField.register_lookup
class ContainsItem(models.Lookup):
    """The list has this text as an item. (Django's `contains` does not work on SQLite.)"""

    lookup_name = "contains_item"
    prepare_rhs = False

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, tuple[Any, ...]]:
        column, params = self.process_lhs(compiler, connection)
        if connection.vendor == "postgresql":
            return f"{column} @> to_jsonb(%s::text)", (*params, self.rhs)
        return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = %s)", (*params, self.rhs)  # noqa: S608


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that clients see, under this name."""

    name: str
    field: models.Field[Any, Any]
    path: str
    """From the row, as querysets name it."""
    is_related: bool = False
    """Of another table, and null where there is no row in it."""

    @property
    def is_nullable(self) -> bool:
        return self.is_related or bool(self.field.null)


@cache
def columns_of(readable: Readable) -> list[Column]:
    """The columns visible to clients: a record's own, the derived ones, those of other tables, then warnings, delivery
    and stored_at.
    """
    hidden = {*INTERNAL_COLUMNS, *readable.hidden}
    ours = {field.name for field in StoredRecord._meta.fields}
    fields = [field for field in readable.model._meta.concrete_fields if field.attname not in hidden]
    own = [Column(name=field.attname, field=field, path=field.attname) for field in fields]
    related = [
        Column(name=name, field=_field_at(readable.model, path), path=path, is_related=True)
        for name, path in readable.related.items()
    ]
    return sorted([*own, *related], key=lambda column: not column.is_related and column.name in ours)


def _field_at(model: Any, path: str) -> models.Field[Any, Any]:
    *relations, last = path.split("__")
    for name in relations:
        model = model._meta.get_field(name).related_model
    found: models.Field[Any, Any] = model._meta.get_field(last)
    return found


@cache
def filters_of_rows(readable: Readable) -> dict[str, Filter]:
    others = {
        name: IntegerFilter(field_name=path, min_value=0, max_value=MAX_BIGINT)
        for name, path in readable.filtered_by.items()
    }
    return {name: each for column in columns_of(readable) for name, each in filters_of(column)} | others


def filters_of(column: Column) -> Iterator[tuple[str, Filter]]:
    """(parameter, filter) for one column."""
    name, path, field = column.name, column.path, column.field
    value = field.target_field if isinstance(field, models.ForeignKey) else field
    if isinstance(value, models.JSONField):
        yield name, CharFilter(field_name=path, lookup_expr="contains_item", strip=False)
        yield f"has_{name}", NonEmptyFilter(path)
        return
    yield from _by_value(name, path, value)
    if column.is_nullable:
        yield f"{name}_missing", FlagFilter(path, "isnull")


def _by_value(name: str, path: str, field: models.Field[Any, Any]) -> Iterator[tuple[str, Filter]]:
    match field:
        case models.BooleanField():
            yield name, FlagFilter(path)
        case models.Field(choices=choices) if choices:
            yield name, ChoicesFilter(path, [str(choice) for choice, _ in choices])
        case models.DateTimeField():
            stem = "stored" if name == "stored_at" else name
            yield from _period(name, stem, TimeFilter, path)
        case models.DateField():
            yield from _period(name, name, DayFilter, path)
        case models.IntegerField():
            yield from _range(name, IntegerFilter, path, min_value=-MAX_BIGINT, max_value=MAX_BIGINT)
        case models.FloatField():
            yield from _range(name, DecimalFilter, path)
        case models.CharField() | models.TextField():
            yield name, CharFilter(field_name=path, strip=False)
        case _:
            raise TypeError(f"There is no filter for {field} yet.")


def _period(name: str, stem: str, kind: type[Filter], path: str) -> Iterator[tuple[str, Filter]]:
    yield name, kind(field_name=path)
    yield f"{stem}_after", kind(field_name=path, lookup_expr="gte")
    yield f"{stem}_before", kind(field_name=path, lookup_expr="lte")


def _range(name: str, kind: type[Filter], path: str, **limits: Any) -> Iterator[tuple[str, Filter]]:
    yield name, kind(field_name=path, **limits)
    yield f"{name}_min", kind(field_name=path, lookup_expr="gte", **limits)
    yield f"{name}_max", kind(field_name=path, lookup_expr="lte", **limits)


def apply_filters(rows: QuerySet[Any], filters: Mapping[str, Filter], query: Mapping[str, str]) -> QuerySet[Any]:
    """The rows that match every filter in the query. Refuses (400) invalid values, naming each."""
    wrong: dict[str, list[str]] = {}
    for name in filters.keys() & query.keys():
        try:
            value = filters[name].field.clean(query[name])
        except ValidationError as error:
            wrong[name] = [str(message) for message in error.messages]
        else:
            rows = filters[name].filter(rows, value)
    if wrong:
        raise RequestRejected(400, f"Not a value of {', '.join(wrong)}.", fields=wrong)
    return rows

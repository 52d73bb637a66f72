"""Filters of a list, made from the stream's model: what is stored can be filtered."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models
from django_filters import FilterSet
from django_filters.filters import CharFilter, Filter, TypedChoiceFilter
from pydantic import TypeAdapter
from pydantic import ValidationError as Invalid

from enrichment.models import StoredRecord
from ingestion.fields import Time
from ingestion.streams import Stream

BIGGEST = 2**63 - 1

_time: TypeAdapter[datetime] = TypeAdapter(Time)


class TimeField(forms.Field):
    """A time as records have it: ISO 8601, naive ones in TIME_ZONE, a date alone its midnight."""

    def to_python(self, value: str | None) -> datetime | None:
        if not value:
            return None
        if "T" in value:
            value = value.replace(" ", "+")  # a plus that was not encoded in the URL
        try:
            return _time.validate_python(value)
        except Invalid as error:
            raise ValidationError(error.errors()[0]["msg"]) from None


class TimeFilter(Filter):  # type: ignore[misc]
    field_class = TimeField


class WholeFilter(Filter):  # type: ignore[misc]
    field_class = forms.IntegerField


class DecimalFilter(Filter):  # type: ignore[misc]
    field_class = forms.FloatField


def exposed_fields(stream: Stream) -> list[models.Field[Any, Any]]:
    """The columns that a client sees: the record's own, the derived ones, then warnings, delivery and stored_at."""
    hidden = {"version_at", "position", *stream.hidden}
    ours = {field.name for field in StoredRecord._meta.fields}
    fields = [field for field in stream.model._meta.concrete_fields if field.attname not in hidden]
    return sorted(fields, key=lambda field: field.name in ours)


def filterset_of(stream: Stream) -> type[FilterSet]:
    return _filterset(tuple(exposed_fields(stream)))


@cache
def _filterset(fields: tuple[models.Field[Any, Any], ...]) -> type[FilterSet]:
    return type("RecordFilters", (FilterSet,), {name: each for field in fields for name, each in filters_of(field)})


def filters_of(field: models.Field[Any, Any]) -> Iterator[tuple[str, Filter]]:
    """(parameter, filter) for one column; none for lists."""
    name = field.attname
    value = field.target_field if isinstance(field, models.ForeignKey) else field
    match value:
        case models.JSONField():
            return
        case models.BooleanField():
            yield name, _one_of(name, {"true": True, "false": False})
        case models.Field(choices=choices) if choices:
            yield name, _one_of(name, {str(choice): choice for choice, _ in choices})
        case models.DateTimeField():
            yield name, TimeFilter(field_name=name)
            stem = "stored" if name == "stored_at" else name
            yield f"{stem}_after", TimeFilter(field_name=name, lookup_expr="gte")
            yield f"{stem}_before", TimeFilter(field_name=name, lookup_expr="lte")
        case models.IntegerField():
            yield from _range(name, WholeFilter, min_value=-BIGGEST, max_value=BIGGEST)
        case models.FloatField():
            yield from _range(name, DecimalFilter)
        case models.CharField() | models.TextField():
            yield name, CharFilter(field_name=name, strip=False)
        case _:
            raise TypeError(f"There is no filter for {field} yet.")


def _one_of(name: str, values: dict[str, Any]) -> Filter:
    return TypedChoiceFilter(
        field_name=name,
        choices=[(text, text) for text in values],
        coerce=values.__getitem__,
        error_messages={"invalid_choice": f"must be one of: {', '.join(values)}"},
    )


def _range(name: str, kind: type[Filter], **limits: Any) -> Iterator[tuple[str, Filter]]:
    yield name, kind(field_name=name, **limits)
    yield f"{name}_min", kind(field_name=name, lookup_expr="gte", **limits)
    yield f"{name}_max", kind(field_name=name, lookup_expr="lte", **limits)

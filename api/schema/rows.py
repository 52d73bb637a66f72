"""Descriptions of stored rows, filters and lists, made from the streams' schemas and models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db import models
from django_filters.filters import Filter
from rest_framework.renderers import JSONRenderer

from api.pagination import MAX_PAGE_SIZE, PAGE_SIZE
from api.schema.generator import json_schema, reference
from api.schema.spec import Answer, Body, Component, Description, Parameter, Schema
from enrichment.rows import reading
from enrichment.rows.filters import (
    ChoiceFilter,
    ChoicesFilter,
    DecimalFilter,
    FlagFilter,
    IntegerFilter,
    NonEmptyFilter,
    TimeFilter,
    exposed_fields,
    filters_of_stream,
)
from enrichment.rows.writers import FORMATS, as_csv, as_ndjson
from ingestion.streams import Context, Stream, all_streams
from ingestion.validation import validate

EXAMPLE_TIME = datetime.fromisoformat("2025-03-01T22:10:05+00:00")
"""When the examples were received and stored: later than every time in them."""

MEANINGS = {
    "exact": "{text}",
    "in": "{text} One value or several, separated by commas.",
    "gte": "`{field}` is at least this.",
    "lte": "`{field}` is at most this.",
    "isnull": "Whether `{field}` is null.",
    "contains_item": "`{field}` contains this item.",
}
MEANINGS_OF_TIMES = MEANINGS | {
    "gte": "`{field}` is at or after this time.",
    "lte": "`{field}` is at or before this time.",
}


def record_parameters(stream: Stream) -> tuple[Parameter, ...]:
    """The parameters of a list of the stream's rows."""
    texts = {field.attname: text_of(stream, field) for field in exposed_fields(stream)}
    return (
        *list_parameters(reading.names_of(stream), [each.name for each in reading.orderings_of(stream, {})]),
        *([search_in(stream.search)] if stream.search else []),
        *filter_parameters(filters_of_stream(stream), texts),
    )


def search_in(columns: Sequence[str]) -> Parameter:
    text = f"Text in {' or '.join(f'`{column}`' for column in columns)}, in upper or lower case."
    return Parameter(name="search", schema={"type": "string", "minLength": 1}, description=text)


def list_parameters(fields: Sequence[str], orderings: Sequence[str]) -> tuple[Parameter, ...]:
    """Those of every list."""
    return (
        Parameter(
            name="page_size",
            schema={"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE, "default": PAGE_SIZE},
            description="Rows per page. Not with CSV and NDJSON, which are unpaged.",
        ),
        Parameter(
            name="cursor",
            schema={"type": "string", "minLength": 1},
            description="Where the page starts: follow `next` and `previous` as they are.",
        ),
        Parameter(
            name="count",
            schema={"type": "boolean", "default": False},
            description="Also return the number of rows on all pages.",
        ),
        Parameter(
            name="ordering",
            schema={"type": "string", "enum": list(orderings)},
            description=f"Sort order; with a minus, descending. Default: `{orderings[0]}`.",
        ),
        fields_parameter(fields),
        Parameter(
            name="format",
            schema={"type": "string", "enum": list(FORMATS)},
            description="Overrides the header Accept. CSV and NDJSON return all matching rows in one answer.",
        ),
    )


def fields_parameter(fields: Sequence[str]) -> Parameter:
    items = {"type": "string", "enum": list(fields)}
    text = "The fields to return, separated by commas. Default: all."
    return Parameter(name="fields", schema={"type": "array", "items": items, "minItems": 1}, description=text)


def filter_parameters(filters: Mapping[str, Filter], texts: Mapping[str, str]) -> Iterator[Parameter]:
    """The parameters of filters; `texts` are the descriptions of their columns."""
    for name, each in filters.items():
        yield Parameter(name=name, schema=schema_of_filter(each), description=meaning_of(each, texts))


def meaning_of(each: Filter, texts: Mapping[str, str]) -> str:
    if isinstance(each, NonEmptyFilter):
        return f"Whether `{each.field_name}` has any items."
    meanings = MEANINGS_OF_TIMES if isinstance(each, TimeFilter) else MEANINGS
    return meanings[each.lookup_expr].format(field=each.field_name, text=texts.get(each.field_name, "")).strip()


def schema_of_filter(each: Filter) -> Schema:
    """The schema of the filter's value; read_query() rejects empty ones."""
    match each:
        case TimeFilter():
            return {"type": "string", "format": "date-time"}
        case IntegerFilter(extra={"min_value": minimum, "max_value": maximum}):
            return {"type": "integer", "format": "int64", "minimum": minimum, "maximum": maximum}
        case DecimalFilter():
            return {"type": "number"}
        case FlagFilter():
            return {"type": "boolean"}
        case ChoiceFilter(extra={"choices": choices}):
            return {"type": "string", "enum": [value for value, _ in choices]}
        case ChoicesFilter(extra={"allowed": allowed}):
            return {"type": "array", "items": {"type": "string", "enum": allowed}, "minItems": 1}
    return {"type": "string", "minLength": 1}


def row_of(stream: Stream) -> Component:
    """The row as the API returns it: the record, its derived fields, and its delivery."""
    sent = json_schema(stream.schema)["properties"]
    properties = {
        field.attname: {
            **(as_stored(sent[field.attname], field) if field.attname in sent else schema_of_column(field)),
            "description": text_of(stream, field),
        }
        for field in exposed_fields(stream)
    }
    text = (
        f"A row of {stream.name}. Fields without a value are null; only fields that `?fields=` leaves out are absent."
    )
    name = stream.schema.__name__.removesuffix("Record")
    schema = {"type": "object", "description": text, "properties": properties, "additionalProperties": False}
    return Component(name=name, schema=schema)


def page_of(item: Component) -> Component:
    """The JSON of every list."""
    link = {"type": ["string", "null"], "format": "uri"}
    properties = {
        "next": {**link, "description": "URL of the next page; null on the last."},
        "previous": {**link, "description": "URL of the previous page; null on the first."},
        "count": {"type": "integer", "minimum": 0, "description": "Rows on all pages; only with `count=true`."},
        "results": {"type": "array", "items": reference(item.name)},
    }
    schema = {
        "type": "object",
        "required": ["next", "previous", "results"],
        "properties": properties,
        "additionalProperties": False,
        "$defs": {item.name: item.schema},
    }
    return Component(name=f"{item.name.removesuffix('Fields')}Page", schema=schema)


def list_answer(item: Component, example: Mapping[str, Any]) -> Answer:
    """A page of items as JSON, or all of them as text; `example` is one item."""
    page = {"next": None, "previous": None, "results": [example]}
    return Answer(page_of(item), example=page, media=list_as_text(example))


def list_as_text(example: Mapping[str, Any]) -> dict[str, Body]:
    """A list as CSV and NDJSON; `example` is one item."""
    all_rows = "All matching rows, unpaged"
    return {
        "text/csv": Body(
            example="".join(as_csv([[example]], list(example))), description=f"{all_rows}, with a header."
        ),
        "application/x-ndjson": Body(
            example="".join(as_ndjson([[example]], list(example))), description=f"{all_rows}, one object per line."
        ),
    }


def example_of_row(stream: Stream) -> dict[str, Any]:
    """The row that the stream's own rules make of its example."""
    records = {each.name: dict(validate(each, dict(each.example), EXAMPLE_TIME)) for each in all_streams()}
    rows = {(each.name, str(each.example[each.key])): records[each.name] for each in all_streams()}
    record = validate(stream, dict(stream.example), EXAMPLE_TIME)
    derived = stream.enrich(record, Context(now=EXAMPLE_TIME, rows=rows))
    columns = {**dict(record), **derived, "delivery": 7, "stored_at": EXAMPLE_TIME}
    row: Any = stream.model(**{name: as_read_back(value) for name, value in columns.items()})
    shown = {name: row.exposed_value(name) for name in reading.names_of(stream)}
    answered: dict[str, Any] = json.loads(JSONRenderer().render(shown))
    return answered


def as_read_back(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def text_of(stream: Stream, field: models.Field[Any, Any]) -> str:
    sent = stream.schema.model_fields.get(field.attname)
    return (sent.description if sent else None) or str(field.help_text)


def as_stored(sent: Schema, field: models.Field[Any, Any]) -> Schema:
    """The schema of a stored field of the record: an absent one is null or has its default."""
    schema = {name: value for name, value in sent.items() if name != "default"}
    if "anyOf" in schema and not field.null:
        schema |= next(each for each in schema.pop("anyOf") if each != {"type": "null"})
    if field.blank and not field.null:  # a stub has an empty name
        schema.pop("minLength", None)
    return schema


def schema_of_column(field: models.Field[Any, Any]) -> Schema:
    """The schema of a column that clients do not send."""
    if field.choices:
        values = [str(value) for value, _ in field.choices]
        schema: Schema = {"type": "string", "enum": [*values, None] if field.null else values}
    else:
        schema = _type_of(field)
    return {**schema, "type": [schema["type"], "null"]} if field.null else schema


def _type_of(field: models.Field[Any, Any]) -> Schema:
    match field:
        case models.BooleanField():
            return {"type": "boolean"}
        case models.DateTimeField():
            return {"type": "string", "format": "date-time"}
        case models.IntegerField():
            return {"type": "integer"}
        case models.FloatField():
            return {"type": "number"}
        case models.JSONField():  # the warnings
            return {"type": "array", "items": {"type": "string"}}
    raise TypeError(f"{field} has no JSON schema here yet.")


def list_rows(stream: Stream) -> Description:
    return Description(
        (list_answer(row_of(stream), example_of_row(stream)),), parameters=record_parameters(stream), tag=stream.name
    )


def get_row(stream: Stream) -> Description:
    return Description(
        (Answer(row_of(stream), example=example_of_row(stream)),),
        parameters=(key_parameter(stream), fields_parameter(reading.names_of(stream))),
        tag=stream.name,
    )


def key_parameter(stream: Stream) -> Parameter:
    return Parameter(
        name="key",
        location="path",
        required=True,
        schema={"type": "string", "minLength": 1},
        description=f"The row's `{stream.key}`.",
        example=stream.example[stream.key],
    )


def partial(shape: Any) -> Component:
    """The shape as a list returns it: fields that ?fields= leaves out are absent."""
    schema = json_schema(shape)
    return Component(
        name=f"{shape.__name__}Fields", schema={name: value for name, value in schema.items() if name != "required"}
    )

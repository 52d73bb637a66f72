"""Descriptions of rows, filters and lists, made from the schemas and models of what can be read."""

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
    Column,
    DayFilter,
    DecimalFilter,
    FlagFilter,
    IntegerFilter,
    NonEmptyFilter,
    TimeFilter,
    columns_of,
    filters_of_rows,
)
from enrichment.rows.writers import FORMATS, as_csv, as_ndjson
from ingestion.streams import Context, Readable, Stream, all_streams
from ingestion.validation import key_of, validate

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
MEANINGS_OF_DAYS = MEANINGS | {
    "gte": "`{field}` is on or after this day.",
    "lte": "`{field}` is on or before this day.",
}


def row_parameters(readable: Readable) -> tuple[Parameter, ...]:
    """The parameters of a list of rows."""
    names = {column.path: column.name for column in columns_of(readable)}
    texts = {column.path: text_of(readable, column) for column in columns_of(readable)}
    texts |= {path: f"Of the {name} with this ID." for name, path in readable.filtered_by.items()}
    return (
        *list_parameters(reading.names_of(readable), [each.name for each in reading.orderings_of(readable, {})]),
        *([search_in(readable.search)] if readable.search else []),
        *filter_parameters(filters_of_rows(readable), texts, names),
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


def filter_parameters(
    filters: Mapping[str, Filter], texts: Mapping[str, str], names: Mapping[str, str] | None = None
) -> Iterator[Parameter]:
    """The parameters of filters: `texts` are the descriptions of their columns, `names` what clients call them."""
    for name, each in filters.items():
        text = meaning_of(each, (names or {}).get(each.field_name, each.field_name), texts.get(each.field_name, ""))
        yield Parameter(name=name, schema=schema_of_filter(each), description=text)


def meaning_of(each: Filter, field: str, text: str) -> str:
    if isinstance(each, NonEmptyFilter):
        return f"Whether `{field}` has any items."
    meanings = MEANINGS_OF_TIMES if isinstance(each, TimeFilter) else MEANINGS
    meanings = MEANINGS_OF_DAYS if isinstance(each, DayFilter) else meanings
    return meanings[each.lookup_expr].format(field=field, text=text).strip()


def schema_of_filter(each: Filter) -> Schema:
    """The schema of the filter's value; read_query() rejects empty ones."""
    match each:
        case TimeFilter():
            return {"type": "string", "format": "date-time"}
        case DayFilter():
            return {"type": "string", "format": "date"}
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


def row_of(readable: Readable) -> Component:
    """A row as the API returns it."""
    sent = sent_by_clients(readable)
    properties = {
        column.name: {
            **(
                as_stored(sent[column.name], column.field)
                if column.name in sent and not column.is_related
                else schema_of_column(column)
            ),
            "description": text_of(readable, column),
        }
        for column in columns_of(readable)
    }
    text = (
        f"A row of {readable.name}. Fields without a value are null; only fields that `?fields=` leaves out are absent."
    )
    named = readable.schema.__name__.removesuffix("Record") if isinstance(readable, Stream) else ""
    schema = {"type": "object", "description": text, "properties": properties, "additionalProperties": False}
    return Component(name=named or readable.model.__name__, schema=schema)


def sent_by_clients(readable: Readable) -> Mapping[str, Schema]:
    found: Mapping[str, Schema] = json_schema(readable.schema)["properties"] if isinstance(readable, Stream) else {}
    return found


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


def example_of_row(readable: Readable) -> dict[str, Any]:
    """The row that a stream's own rules make of its example; of another list its example, as JSON."""
    shown = _example_of_stored(readable) if isinstance(readable, Stream) else readable.example
    named = {name: shown.get(name) for name in reading.names_of(readable)}
    answered: dict[str, Any] = json.loads(JSONRenderer().render(named))
    return answered


def _example_of_stored(stream: Stream) -> dict[str, Any]:
    records = {each.name: vars(validate(each, dict(each.example), EXAMPLE_TIME)) for each in all_streams()}
    rows = {(each.name, key_of(each, each.example)): records[each.name] for each in all_streams()}
    record = validate(stream, dict(stream.example), EXAMPLE_TIME)
    derived = stream.enrich(record, Context(now=EXAMPLE_TIME, rows=rows))
    columns = {**vars(record), **derived, stream.key: key_of(stream, stream.example)}
    columns |= {"delivery": 7, "stored_at": EXAMPLE_TIME}
    row: Any = stream.model(**{name: as_read_back(value) for name, value in columns.items()})
    return {
        column.name: reading.value_of(stream, column)(row) for column in columns_of(stream) if not column.is_related
    }


def as_read_back(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def text_of(readable: Readable, column: Column) -> str:
    fields = readable.schema.model_fields if isinstance(readable, Stream) and not column.is_related else {}
    sent = fields.get(column.name)
    return (sent.description if sent else None) or str(column.field.help_text)


def as_stored(sent: Schema, field: models.Field[Any, Any]) -> Schema:
    """The schema of a stored field of the record: an absent one is null or has its default."""
    schema = {name: value for name, value in sent.items() if name != "default"}
    if "anyOf" in schema and not field.null:
        schema |= next(each for each in schema.pop("anyOf") if each != {"type": "null"})
    if field.blank and not field.null:  # a stub has an empty name
        schema.pop("minLength", None)
    return schema


def schema_of_column(column: Column) -> Schema:
    """The schema of a column that clients do not send."""
    field = column.field
    if field.choices:
        values = [str(value) for value, _ in field.choices]
        schema: Schema = {"type": "string", "enum": [*values, None] if column.is_nullable else values}
    else:
        schema = _type_of(field)
    return {**schema, "type": [schema["type"], "null"]} if column.is_nullable else schema


def _type_of(field: models.Field[Any, Any]) -> Schema:
    match field:
        case models.ForeignKey():
            return _type_of(field.target_field)
        case models.BooleanField():
            return {"type": "boolean"}
        case models.DateTimeField():
            return {"type": "string", "format": "date-time"}
        case models.DateField():
            return {"type": "string", "format": "date"}
        case models.IntegerField():
            return {"type": "integer"}
        case models.FloatField():
            return {"type": "number"}
        case models.CharField() | models.TextField():
            return {"type": "string"}
        case models.JSONField():  # such as the warnings
            return {"type": "array", "items": {"type": "string"}}
    raise TypeError(f"{field} has no JSON schema here yet.")


def list_rows(readable: Readable) -> Description:
    return Description(
        (list_answer(row_of(readable), example_of_row(readable)),),
        parameters=row_parameters(readable),
        tag=readable.name,
    )


def get_row(readable: Readable) -> Description:
    return Description(
        (Answer(row_of(readable), example=example_of_row(readable)),),
        parameters=(key_parameter(readable), fields_parameter(reading.names_of(readable))),
        tag=readable.name,
    )


def key_parameter(readable: Readable) -> Parameter:
    key = key_of(readable, readable.example) if isinstance(readable, Stream) else readable.example[readable.key]
    return Parameter(
        name="key",
        location="path",
        required=True,
        schema={"type": "string", "minLength": 1},
        description=f"The row's `{readable.key}`.",
        example=key,
    )


def partial(shape: Any) -> Component:
    """The shape as a list returns it: fields that ?fields= leaves out are absent."""
    schema = json_schema(shape)
    return Component(
        name=f"{shape.__name__}Fields", schema={name: value for name, value in schema.items() if name != "required"}
    )

"""How what is stored is described: rows and filters, from the stream's schema and its model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import models
from django_filters.filters import Filter, TypedChoiceFilter
from rest_framework.renderers import JSONRenderer

from enrichment.filters import DecimalFilter, TimeFilter, WholeFilter, exposed_fields, filterset_of
from ingestion.openapi import Component, Parameter, Schema, json_schema
from ingestion.services import validate
from ingestion.streams import Context, Stream, all_streams

COMPARED = {"exact": "{text}", "gte": "`{field}` is this or more.", "lte": "`{field}` is this or less."}
COMPARED_TIMES = {**COMPARED, "gte": "`{field}` is this time or later.", "lte": "`{field}` is this time or earlier."}


def filters_of(stream: Stream) -> Iterator[Parameter]:
    """The parameters that the filters of the stream's list are asked by."""
    texts = {field.attname: text_of(stream, field) for field in exposed_fields(stream)}
    for name, each in filterset_of(stream).base_filters.items():
        compared = COMPARED_TIMES if isinstance(each, TimeFilter) else COMPARED
        text = compared[each.lookup_expr].format(field=each.field_name, text=texts[each.field_name])
        yield Parameter(name=name, schema=schema_of_filter(each), description=text)


def schema_of_filter(each: Filter) -> Schema:
    """What a value of the filter looks like; read_query() refuses empty ones."""
    match each:
        case TimeFilter():
            return {"type": "string", "format": "date-time"}
        case WholeFilter(extra={"min_value": least, "max_value": most}):
            return {"type": "integer", "format": "int64", "minimum": least, "maximum": most}
        case DecimalFilter():
            return {"type": "number"}
        case TypedChoiceFilter(extra={"choices": choices}):
            values = [value for value, _ in choices]
            return {"type": "boolean"} if values == ["true", "false"] else {"type": "string", "enum": values}
    return {"type": "string", "minLength": 1}


def row_of(stream: Stream) -> Component:
    """The row as a detail answers it: nothing is absent."""
    part = part_of_row(stream)
    required = [field.attname for field in exposed_fields(stream)]
    return Component(
        name=name_of(stream),
        schema={
            "description": f"{part.schema['description']} Times are UTC, if not said otherwise.",
            "allOf": [{"$ref": f"#/components/schemas/{part.name}"}],
            "required": required,
            "$defs": {part.name: part.schema},
        },
    )


def part_of_row(stream: Stream) -> Component:
    """The row as a list answers it: what ?fields= leaves out is absent."""
    sent = json_schema(stream.schema)["properties"]
    properties = {
        field.attname: {
            **(as_stored(sent[field.attname], field) if field.attname in sent else schema_of_column(field)),
            "description": text_of(stream, field),
        }
        for field in exposed_fields(stream)
    }
    text = f"A row of {stream.name}: the record as sent, what was derived from it, and where it came from."
    return Component(
        name=f"{name_of(stream)}Fields", schema={"type": "object", "description": text, "properties": properties}
    )


def page_of(stream: Stream) -> Component:
    part = part_of_row(stream)
    return page(f"{name_of(stream)}Page", {"$ref": f"#/components/schemas/{part.name}"}, {part.name: part.schema})


def page(name: str, item: Schema, parts: dict[str, Schema]) -> Component:
    """What every list answers."""
    link = {"type": ["string", "null"], "format": "uri"}
    return Component(
        name=name,
        schema={
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": {**link, "description": "The address of the next page; null on the last."},
                "previous": {**link, "description": "The address of the page before; null on the first."},
                "count": {"type": "integer", "minimum": 0, "description": "Of all pages; only with `count=true`."},
                "results": {"type": "array", "items": item},
            },
            "additionalProperties": False,
            "$defs": parts,
        },
    )


def example_of_row(stream: Stream) -> dict[str, Any]:
    """What becomes of the stream's example, by the rules themselves."""
    records = {each.name: validate(each, dict(each.example), EXAMPLE_TIME) for each in all_streams()}
    rows = {(each.name, str(each.example[each.key])): dict(records[each.name]) for each in all_streams()}
    record = records[stream.name]
    derived = stream.enrich(record, Context(now=EXAMPLE_TIME, rows=rows))
    row = stream.model(**dict(record), **derived, delivery=7, stored_at=EXAMPLE_TIME)
    values = {field.attname: getattr(row, field.attname) for field in exposed_fields(stream)}
    answered: dict[str, Any] = json.loads(JSONRenderer().render({**values, **_as_sent(stream, row)}))
    return answered


EXAMPLE_TIME = datetime.fromisoformat("2025-03-01T22:10:05Z")
"""When the examples were sent and stored: after all their times."""


def _as_sent(stream: Stream, row: Any) -> dict[str, Any]:
    return dict(row.as_record(stream.schema))


def name_of(stream: Stream) -> str:
    return stream.schema.__name__.removesuffix("Record")


def text_of(stream: Stream, field: models.Field[Any, Any]) -> str:
    sent = stream.schema.model_fields.get(field.attname)
    return (sent.description if sent else None) or str(field.help_text) or field.attname


def as_stored(sent: Schema, field: models.Field[Any, Any]) -> Schema:
    """The schema of a field of the record, once it is stored: absent ones are null, or what stands for them."""
    schema = {name: value for name, value in sent.items() if name != "default"}
    if "anyOf" in schema and not field.null:
        schema |= next(each for each in schema.pop("anyOf") if each != {"type": "null"})
    if field.blank and not field.null:  # a stub has an empty name
        schema.pop("minLength", None)
    return schema


def schema_of_column(field: models.Field[Any, Any]) -> Schema:
    """Of a column that clients do not send."""
    if field.choices:
        values = [str(value) for value, _ in field.choices]
        return {"enum": [*values, None] if field.null else values}
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
    raise TypeError(f"There is no description of {field} yet.")

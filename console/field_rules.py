"""The rules of a stream's fields in words, from its schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ingestion.streams import Stream


@dataclass(frozen=True)
class FieldRule:
    name: str
    required: bool
    rule: str


def rules(stream: Stream) -> list[FieldRule]:
    """Of each field of the schema, in its order."""
    schema = stream.schema.model_json_schema()
    required, definitions = schema.get("required", []), schema.get("$defs", {})
    return [
        FieldRule(name, name in required, _rule(field, definitions))
        for name, field in schema.get("properties", {}).items()
    ]


def _rule(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return _rule(definitions.get(field["$ref"].rsplit("/", 1)[-1], {}), definitions)
    if "anyOf" in field:
        return " or ".join(rule for option in field["anyOf"] if (rule := _rule(option, definitions)) != "null")
    if "enum" in field or "const" in field:
        return "one of " + ", ".join(str(value) for value in field.get("enum", [field.get("const")]))
    words = {"string": "text", "integer": "whole number", "boolean": "true or false", "array": "list"}
    kind = {"date-time": "time", "date": "date", "email": "email address"}.get(field.get("format", ""))
    kind = kind or words.get(field.get("type", ""), field.get("type", "any value"))
    return " ".join([kind, *_bounds(field)])


_BOUNDS = [
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
]


def _bounds(field: Mapping[str, Any]) -> list[str]:
    bounds = []
    for minimum, maximum, unit in _BOUNDS:
        low, high = field.get(minimum), field.get(maximum)
        if low is not None and high is not None:
            bounds.append(f"{low} to {high}{unit}")
        elif low is not None or high is not None:
            bounds.append(f"at least {low}{unit}" if high is None else f"at most {high}{unit}")
    return bounds

"""The cells of a CSV file: text → JSON by the type of the stream's field, and back.

What cannot be read as its field's type is left as text, so that validation rejects it, naming the field.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring  # many times as fast as dumps() of a text
from typing import Any, TypeAlias

from pydantic import BaseModel

from ingestion.payloads import MAX_DEPTH, ParseError, ascii_json, parse_json

Read: TypeAlias = "Callable[[str], str]"
"""A cell → the JSON of its value; empty for an empty cell, which means that the field is absent."""

BOOLEANS = {**dict.fromkeys(("true", "yes", "1"), "true"), **dict.fromkeys(("false", "no", "0"), "false")}
SEPARATORS = (";", "|")
"""Of the items of a list; the first that occurs is used."""

_whole = re.compile(r"[+-]?[0-9]{1,400}")
_number = re.compile(r"[+-]?([0-9]{1,400}(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_formula = re.compile(r"'*[=+\-@\t\r]")
_escaped_formula = re.compile(r"'+[=+\-@\t\r]")


def readers_of(schema: type[BaseModel]) -> dict[str, Read]:
    """field → the function that reads its cells."""
    json_schema = schema.model_json_schema()
    definitions = json_schema.get("$defs", {})
    return {name: _reader(field, definitions) for name, field in json_schema["properties"].items()}


def _reader(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Read:
    options = [_resolved(option, definitions) for option in field.get("anyOf", [field])]
    by_type = {option.get("type"): option for option in options if option.get("type") != "null"}
    match sorted(map(str, by_type)):
        case ["integer"] | ["number"] | ["integer", "number"]:
            return read_number
        case ["boolean"]:
            return read_boolean
        case ["array"]:
            return list_reader(_reader(by_type["array"].get("items", {}), definitions))
        case _:
            return read_text


def _resolved(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = definitions[field["$ref"].rsplit("/", 1)[-1]] if "$ref" in field else field
    return found


def read_text(cell: str) -> str:
    return encode_basestring(cell) if cell else ""


def read_number(cell: str) -> str:
    text = cell.strip()
    if _whole.fullmatch(text):
        return str(int(text))
    if _number.fullmatch(text) and math.isfinite(number := float(text)):
        return repr(number)
    return read_text(cell) if text else ""


def read_boolean(cell: str) -> str:
    text = cell.strip()
    return BOOLEANS.get(text.lower()) or (read_text(cell) if text else "")


def list_reader(read_item: Read) -> Read:
    def read_list(cell: str) -> str:
        text = cell.strip()
        if text.startswith("["):
            try:
                value = parse_json(text.encode(), MAX_DEPTH - 1)  # in a record
            except ParseError:
                return read_text(cell)
            return ascii_json(value)
        separator = next((each for each in SEPARATORS if each in text), SEPARATORS[0])
        items = [read_item(item) for each in text.split(separator) if (item := each.strip())]
        return f"[{','.join(items)}]" if items else ""

    return read_list


def ignore(cell: str) -> str:
    return ""


# The other way: a value of a record as a cell.


def cell_of(value: Any) -> str:
    """The cell that is read as `value` again if the field has its type. No spreadsheet takes it for a formula."""
    if value is None:
        return ""
    if isinstance(value, list) and value and all(_is_simple(item) for item in value):
        return escape_formula(SEPARATORS[0].join(str(item) for item in value))
    return escape_formula(value) if isinstance(value, str) else ascii_json(value)


def _is_simple(item: Any) -> bool:
    if not isinstance(item, str):
        return type(item) in (int, float)
    is_ambiguous = item.startswith("[") or any(separator in item for separator in SEPARATORS)
    return bool(item) and item == item.strip() and not is_ambiguous


def escape_formula(text: str) -> str:
    """Puts an apostrophe before text that a spreadsheet would compute; a plain number stays as it is."""
    return f"'{text}" if _formula.match(text) and not _number.fullmatch(text) else text


def unescape_formula(text: str) -> str:
    return text[1:] if _escaped_formula.match(text) else text


def unescaped(read: Read) -> Read:
    return lambda cell: read(unescape_formula(cell))

"""What is wrong with a value, in our words: pydantic's own messages reach nobody.

Each message is a fragment that reads well after "field: ", followed by the value at fault where that is short and
harmless. Its general part, without the value, is what errors are counted and grouped by.
"""

import re
from collections.abc import Mapping
from typing import Any, Self, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from ingestion.text import first_message, strip_unstorable

MAX_VALUE = 40
"""Characters of a value that a message shows; longer ones are left out, API keys among them."""
MAX_MESSAGE = 500
GOT_MARK, SIZE_MARK = VALUE_MARKS = ("; got ", "; has ")
"""Between the general part of a message, and the value or its size."""
_SECRET = re.compile(r"passw|secret|token|api_?key|authorization", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_QUOTED = re.compile(r"'([^']*)'(?:, | or )?")
_POSITION = re.compile(r"\.[0-9]+(?=\.|$)")
_TIME = "must be an ISO 8601 time such as 2025-03-01T15:00:00Z"
_DATE = "must be a date such as 2025-03-01"
_SURROGATES = "contains an invalid character (lone surrogate)"

SENTENCES: Mapping[str, str] = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "none_required": "must be null",
    "model_type": "must be a JSON object",
    "dict_type": "must be a JSON object",
    "list_type": "must be a list",
    "too_short": "at least {min_length} required",
    "too_long": "at most {max_length} allowed",
    "string_type": "must be text",
    "string_too_short": "at least {min_length} required",
    "string_too_long": "at most {max_length} allowed",
    "string_pattern_mismatch": "must match {pattern}",
    "string_unicode": _SURROGATES,
    "surrogate": _SURROGATES,
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a whole number with fewer digits",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "multiple_of": "must be a multiple of {multiple_of}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of: {expected}",
    "enum": "must be one of: {expected}",
    "date_type": _DATE,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "date_from_datetime_inexact": _DATE,
    "date_past": "must be in the past",
    "date_future": "must be in the future",
    "datetime_type": _TIME,
    "datetime_parsing": _TIME,
    "datetime_from_date_parsing": _TIME,
    "datetime_object_invalid": _TIME,
    "datetime_past": "must be in the past",
    "datetime_future": "must be in the future",
    "timezone_aware": "must be a time with a UTC offset",
    "url_type": "must be a web address",
    "url_parsing": "must be a web address",
    "url_syntax_violation": "must be a web address",
    "url_scheme": "must be a web address that starts with {expected_schemes}",
    "url_too_long": "at most {max_length} allowed",
    "uuid_type": "must be a UUID",
    "uuid_parsing": "must be a UUID",
    "value_error": "{error}",
    "assertion_error": "{error}",
}
"""Type of an error of pydantic → our sentence. Where a schema can raise a type that is not here, a test fails."""
UNKNOWN = "is not valid"
"""Of a type of pydantic's that has no sentence."""
_PYDANTIC = frozenset(get_args(ErrorType))
_SURROGATE_TYPES = frozenset({"string_unicode", "surrogate"})
_TEXT_SIZES = frozenset({"string_too_short", "string_too_long", "url_too_long"})
_SIZES = frozenset({"too_short", "too_long"}) | _TEXT_SIZES
_WITHOUT_VALUE = frozenset({"missing", "extra_forbidden", "unreadable", *_SURROGATE_TYPES})
_WITH_NULL = frozenset({"literal_error", "enum", *(kind for kind in SENTENCES if kind.endswith("_type"))})


class Message(str):
    """A message with the value at fault; `general` is the same without it."""

    __slots__ = ("general",)
    general: str

    def __new__(cls, text: str, general: str = "") -> Self:
        message = super().__new__(cls, text)
        message.general = general or text
        return message


def message_of(detail: ErrorDetails) -> Message:
    """Words one error of pydantic's, or of a validator of ours (a PydanticCustomError, whose own text is taken)."""
    kind, value, limits = detail["type"], detail["input"], detail.get("ctx", {})
    if limits.get("min_length") == 1:
        general = "must not be empty"
    elif kind in SENTENCES:
        general = SENTENCES[kind].format(**{name: _limit(kind, name, limit) for name, limit in limits.items()})
    else:
        general = UNKNOWN if kind in _PYDANTIC else detail["msg"]
    if kind == "model_type" and not detail["loc"]:
        general = f"Record {general}"
    general = strip_unstorable(general, MAX_MESSAGE)
    return Message(_with_value(kind, general, value, detail["loc"]), general)


def first_message_of(error: ValidationError) -> str:
    """Of a value that is validated by itself."""
    return message_of(error.errors(include_url=False)[0])


def without_value(text: str) -> str:
    """A message of ours, as it is stored, without the value at fault and without its size."""
    return min((text.partition(mark)[0] for mark in VALUE_MARKS), key=len)


def general_message(messages: Mapping[str, list[str]]) -> str:
    """The first of messages by field, in one line: without the value at fault, and the place in a list, so that those
    alike are grouped.
    """
    for field, found in messages.items():
        if found:
            return first_message({without_position(field): [getattr(found[0], "general", found[0])]})
    return ""


def without_position(field: str) -> str:
    """`subjects.2` as `subjects`."""
    return _POSITION.sub("", field)


def _with_value(kind: str, general: str, value: Any, location: tuple[int | str, ...]) -> str:
    if kind in _SURROGATE_TYPES and isinstance(value, str) and (found := _SURROGATE.search(value)):
        return f"{general.removesuffix(')')} \\u{ord(found[0]):04x})"
    if kind in _SIZES and hasattr(value, "__len__"):
        return f"{general}{SIZE_MARK}{len(value):,}" if len(value) else general
    if kind in _WITHOUT_VALUE or (value is None and kind not in _WITH_NULL):
        return general
    if any(_SECRET.search(part) for part in location if isinstance(part, str)):
        return general
    shown = _show(value)
    return f"{general}{GOT_MARK}{shown}" if shown else general


def _show(value: Any) -> str:
    """A value of JSON as it is written there, a text in single quotes; empty where it is long or cannot be printed."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int) and value.bit_length() > 4 * MAX_VALUE:  # str() of a very long one is an error
        return ""
    text = str(value)
    if len(text) > MAX_VALUE or not text.isprintable():
        return ""
    return f"'{text}'" if isinstance(value, str) else text


def _limit(kind: str, name: str, value: Any) -> Any:
    if name in ("min_length", "max_length"):
        unit = "character" if kind in _TEXT_SIZES else "item"
        return f"{value:,} {unit}{'' if value == 1 else 's'}"
    if name == "expected":  # 'a', 'b' or 'c'
        return ", ".join(_QUOTED.findall(value)) if _QUOTED.sub("", value) == "" else value
    return int(value) if isinstance(value, float) and value.is_integer() else value

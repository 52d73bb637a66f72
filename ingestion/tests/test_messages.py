"""Every error that a schema can raise has a sentence of ours, with the value at fault where that is harmless."""

import ast
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pytest
from django.apps import apps
from django.utils import timezone
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ErrorType

from ingestion.fields import Day, Email, Flag, Identifier, PastTime, StorableText, Text100, Time
from ingestion.messages import SENTENCES, UNKNOWN, Message, first_message_of, general_message, message_of
from ingestion.payloads import UNREADABLE_MEMBER
from ingestion.streams import Stream, all_streams
from ingestion.validation import field_errors, validate

# Kind of node in a core schema: the errors it can raise, whether it is strict or not.
ALWAYS: dict[str, set[str]] = {
    "model": {"model_type"},
    "model-fields": {"missing", "model_type"},
    "str": {"string_type", "string_unicode"},
    "int": {"int_type", "int_parsing", "int_parsing_size", "int_from_float"},
    "float": {"float_type", "float_parsing", "finite_number"},
    "bool": {"bool_type", "bool_parsing"},
    "list": {"list_type"},
    "literal": {"literal_error"},
    "date": {"date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"},
    "datetime": {"datetime_type", "datetime_parsing", "datetime_from_date_parsing", "datetime_object_invalid"},
    **{kind: set() for kind in ("nullable", "default", "model-field", "any", "definitions", "definition-ref")},
    **{f"function-{mode}": set() for mode in ("before", "after", "plain", "wrap")},
}
"""The errors of functions are ours: PydanticCustomErrors, which the last tests look at."""
CONSTRAINTS = {
    "ge": "greater_than_equal",
    "gt": "greater_than",
    "le": "less_than_equal",
    "lt": "less_than",
    "multiple_of": "multiple_of",
    "pattern": "string_pattern_mismatch",
    "extra_behavior": "extra_forbidden",
}
KEYS: list[Any] = [1, 2, None, True, []]
each_stream = pytest.mark.parametrize("stream", all_streams(), ids=lambda stream: stream.name)


def nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every node of a core schema that validates."""
    if isinstance(schema, dict):
        if isinstance(schema.get("type"), str):
            yield schema
        for name, part in schema.items():
            if name not in ("serialization", "metadata", "function", "expected", "default"):
                yield from nodes(part)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from nodes(part)


def possible_errors(schema: type[BaseModel]) -> set[str]:
    found: set[str] = set()
    for node in nodes(schema.__pydantic_core_schema__):
        kind = node["type"]
        found |= ALWAYS[kind]
        found |= {error for name, error in CONSTRAINTS.items() if name in node}
        for end in ("short", "long"):
            if {"short": "min_length", "long": "max_length"}[end] in node:
                found.add(f"string_too_{end}" if kind == "str" else f"too_{end}")
    return found


@each_stream
def test_every_error_that_a_schema_can_raise_has_a_sentence(stream: Stream) -> None:
    possible = possible_errors(stream.schema)
    assert {"missing", "model_type", "string_type", "string_too_long"} <= possible
    assert possible <= set(get_args(ErrorType))
    assert possible - set(SENTENCES) == set()


def test_a_schema_with_a_new_kind_of_rule_would_be_found() -> None:
    class Film(BaseModel):
        length: Annotated[int, Field(multiple_of=5)]
        minutes: Annotated[str, Field(pattern="x")]

    assert possible_errors(Film) >= {"multiple_of", "string_pattern_mismatch"}


def message_about(kind: Any, value: Any) -> Message:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value, strict=True, context={"now": timezone.now()})
    return message_of({**caught.value.errors()[0], "loc": ("field",)})


TIME = "must be an ISO 8601 time such as 2025-03-01T15:00:00Z"


@pytest.mark.parametrize(
    ("kind", "value", "general", "rest"),
    [
        (str, 7, "must be text", "; got 7"),
        (str, None, "must be text", "; got null"),
        (str, [], "must be text", "; got a list"),
        (bool, {"a": 1}, "must be true or false", "; got an object"),
        (int, "34", "must be a whole number", "; got '34'"),
        (int, True, "must be a whole number", "; got true"),
        (int, 1.5, "must be a whole number", "; got 1.5"),
        (float, "x", "must be a number", "; got 'x'"),
        (Annotated[int, Field(le=100)], 130, "must be at most 100", "; got 130"),
        (Annotated[float, Field(ge=0)], -0.5, "must be at least 0", "; got -0.5"),
        (Annotated[int, Field(le=100)], 10**399, "must be at most 100", ""),
        (Annotated[int, Field(le=100)], 10**5000, "must be at most 100", ""),
        (Annotated[str, Field(max_length=2)], "abc", "at most 2 characters allowed", "; has 3"),
        (Annotated[str, Field(min_length=2)], "a", "at least 2 characters required", "; has 1"),
        (Annotated[str, Field(min_length=1)], "", "must not be empty", ""),
        (Annotated[list[int], Field(max_length=10)], [1] * 11, "at most 10 items allowed", "; has 11"),
        (Annotated[list[int], Field(max_length=1)], [1, 1], "at most 1 item allowed", "; has 2"),
        (Annotated[list[int], Field(min_length=1)], [], "must not be empty", ""),
        (Literal["a", "b", "c"], "d", "must be one of: a, b, c", "; got 'd'"),
        (Literal["a", "b"], "x" * 41, "must be one of: a, b", ""),
        (Literal["a", "b"], "x" * 40, "must be one of: a, b", f"; got '{'x' * 40}'"),
        (Literal["a", "b"], "x\u202e", "must be one of: a, b", ""),
        (Literal["a", 7], "x", "must be one of: 'a' or 7", "; got 'x'"),
        (Flag, "no", "must be true or false", "; got 'no'"),
        (Email, "nora", "must be a valid e-mail address", "; got 'nora'"),
        (Time, "yesterday", TIME, "; got 'yesterday'"),
        (Time, 5, TIME, "; got 5"),
        (Time, None, TIME, ""),
        (PastTime, "2099-01-01", "must not be more than 5 minutes in the future", "; got '2099-01-01'"),
        (Day, "2025-02-30", "must be an ISO 8601 date such as 2025-03-01", "; got '2025-02-30'"),
        (Day, "2025-03-01T12:00:00Z", "must be an ISO 8601 date such as 2025-03-01", "; got '2025-03-01T12:00:00Z'"),
        (Day, 20250301, "must be an ISO 8601 date such as 2025-03-01", "; got 20250301"),
        (Day, "0000-01-01", "must be an ISO 8601 date such as 2025-03-01", "; got '0000-01-01'"),
        (Day, "2101-01-01", "must be between the years 1 and 2100", "; got '2101-01-01'"),
        (Text100, "a\0", "contains an invalid character (NUL)", ""),
    ],
    ids=count(),
)
def test_a_message_names_the_rule_and_the_value(kind: Any, value: Any, general: str, rest: str) -> None:
    message = message_about(kind, value)
    assert (message.general, message) == (general, general + rest)


@pytest.mark.parametrize("kind", [Text100, Annotated[str, StorableText]], ids=["by pydantic", "by us"])
def test_a_lone_surrogate_is_named(kind: Any) -> None:
    message = message_about(kind, "ok \udc4d")
    assert message == "contains an invalid character (lone surrogate \\udc4d)"
    assert message.general == "contains an invalid character (lone surrogate)"


def test_an_unknown_error_of_pydantics_has_no_message_of_pydantics() -> None:
    assert "frozen_set_type" not in SENTENCES
    assert message_about(frozenset[int], 7) == f"{UNKNOWN}; got 7"


def test_a_value_error_keeps_its_text() -> None:
    def odd(value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd")
        return value

    assert message_about(Annotated[int, AfterValidator(odd)], 4) == "must be odd; got 4"


def test_a_secret_is_not_in_a_message() -> None:
    class Login(BaseModel):
        api_key: Annotated[str, Field(max_length=3)]
        password: int

    with pytest.raises(ValidationError) as caught:
        Login.model_validate({"api_key": "abcd", "password": "hunter2"})
    assert field_errors(caught.value) == {
        "api_key": ["at most 3 characters allowed; has 4"],
        "password": ["must be a whole number"],
    }


@each_stream
def test_no_object_is_no_record(stream: Stream) -> None:
    with pytest.raises(ValidationError) as caught:
        validate(stream, [1], timezone.now())
    assert field_errors(caught.value) == {"record": ["Record must be a JSON object; got a list"]}
    assert general_message(field_errors(caught.value)) == "Record must be a JSON object"


@each_stream
def test_a_row_that_cannot_be_read_keeps_its_reason(stream: Stream) -> None:
    with pytest.raises(ValidationError) as caught:
        validate(stream, {UNREADABLE_MEMBER: "More cells than {columns}."}, timezone.now())
    assert field_errors(caught.value) == {UNREADABLE_MEMBER: ["More cells than {columns}."]}


@each_stream
def test_values_and_places_in_lists_do_not_split_groups(stream: Stream) -> None:
    def group(item: Any) -> str:
        with pytest.raises(ValidationError) as caught:
            validate(stream, item, timezone.now())
        return general_message(field_errors(caught.value))

    identifier = next(iter(stream.schema.model_fields)) if stream.key_of else stream.key
    assert len({group({**stream.example, identifier: value}) for value in KEYS}) == 1
    for name, value in stream.example.items():
        if isinstance(value, list):
            assert len({group({**stream.example, name: ["x"] * good + [good]}) for good in range(3)}) == 1


def test_a_value_by_itself_is_worded_by_the_same_table() -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Time).validate_python("soon")
    assert first_message_of(caught.value) == f"{TIME}; got 'soon'"


def custom_errors() -> Iterator[tuple[str, str]]:
    """(type, message) of every PydanticCustomError in the product's sources whose text is written there."""
    labels = {stream.model._meta.app_label for stream in all_streams()}
    for directory in {Path(apps.get_app_config(label).path) for label in {"ingestion", *labels}}:
        for path in directory.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == PydanticCustomError.__name__:
                    yield tuple(ast.literal_eval(argument) for argument in node.args[:2])


def test_the_message_about_our_own_validators_read_as_the_others() -> None:
    found = [(kind, text) for kind, text in custom_errors() if not text.startswith("{")]
    assert len(found) > 8
    assert {kind for kind, _ in found} & set(get_args(ErrorType)) == set()  # or the table would word them
    for kind, text in found:
        assert text.startswith(("must ", "is required ", "contains ", "at most ", "at least ")), kind
        assert not text.endswith("."), kind


def test_identifiers_say_what_they_may_be() -> None:
    assert message_about(Identifier, "T/1").endswith("; got 'T/1'")
    assert "T" not in message_about(Identifier, "T/1").general

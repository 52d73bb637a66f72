"""What the compiled schema takes, the schema takes with equal values; ordinary records are taken."""

import json
from datetime import datetime, timedelta
from typing import Annotated, Any

import pytest
from django.core.validators import validate_email
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, field_validator, model_validator

from ingestion import fields
from ingestion.compiled.schema import reader
from ingestion.fields import Identifier, Record, Text50, WholeNumber
from ingestion.payloads import parse_accepted
from ingestion.streams import Stream, all_streams
from ingestion.validation import validate_by_schema


def read(stream: Stream, item: Any) -> Any:
    compiled = reader(stream.schema)
    assert compiled
    return compiled(item, NOW)


each_stream = pytest.mark.parametrize("stream", all_streams(), ids=lambda stream: stream.name)

NOW = timezone.now()
TIMES = [
    "2024-03-01T15:00:00Z",
    "2024-03-01T15:00:00.5+05:30",
    "2024-03-01t15:00:00z",
    "2024-03-01 15:00:00-0500",
    "2024-03-01T15:00:00",
    "2024-03-01T15:00Z",
    "2024-03-01",
    "2100-12-31",
    "2101-01-01",
    "2024-W09-5T15:00:00Z",
    "20240301T150000Z",
    "2024-03-01T23:59:59.9999999Z",
    "2024-03-01T15:00:00.1234567+00:00",
    "2024-03-01T15:00:00.123456+15:59",
    "2024-03-01T15:00:00+16:00",
    "2024-03-01T15:00:00-23:59",
    "2024-03-01T15:00:00-00:00",
    "1970-01-01T00:00:00Z",
    "1970-01-01T00:00:00+01:00",
    "1970-01-02T00:00:00+01:00",
    "1969-12-31T23:00:00-05:00",
    "2099-12-31T23:59:59-01:00",
    "2099-12-31T23:59:59Z",
    "2100-01-01T00:00:00+05:00",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    *((NOW + timedelta(minutes=minutes)).isoformat() for minutes in (-1, 4, 5, 6, 60 * 24 * 29, 60 * 24 * 31)),
    (NOW + timedelta(minutes=4)).astimezone().isoformat(),
]
TEXTS = [
    "",
    " ",
    "a ",
    " a",
    "a\0",
    "\ud800",
    "a\u200bb",
    "a\nb",
    "é",
    "e\u0301",
    "a/b",
    ".",
    "..",
    "batch",
    "x" * 5001,
]
TEXTS += [
    "\xa0a",
    "a\u2028",
    "nobody@example.org",
    "nobody@",
    "tt0133093",
    "tt1\n",
    "1-on-1",
    "https://boxd.it/2a",
    "5",
]
NUMBERS = [0, 1, -1, 5, 60.0, 0.5, 0.75, 1e308, 5e-324, -0.0, 2**31, 2**53, 2**63, -(2**63), 10**30, True, False]
LISTS: list[Any] = [[], [""], ["a"], ["a", " b"], ["a\0"], ["\ud800"], [1], ["a"] * 300]
VALUES = [None, *TIMES, *TEXTS, *NUMBERS, *LISTS, {}, {"a": 1}]
ANYTHING = st.sampled_from(VALUES) | st.text(max_size=4)


def changed(stream: Stream) -> st.SearchStrategy[dict[str, Any]]:
    """The example with some of its fields changed or left out, and others added."""
    names = st.sampled_from([*stream.schema.model_fields, "other", "warnings"])
    changes = st.dictionaries(names, ANYTHING, max_size=3)
    left_out = st.lists(st.sampled_from(list(stream.schema.model_fields)), max_size=2)
    return st.builds(
        lambda changes, left_out: {n: v for n, v in {**stream.example, **changes}.items() if n not in left_out},
        changes,
        left_out,
    )


def columns(record: Any) -> dict[str, Any]:
    """Its values, and what equality does not tell: their types, and the offsets of times."""
    return {
        name: (value, type(value), value.utcoffset() if isinstance(value, datetime) else None)
        for name, value in vars(record).items()
    }


def check_alike(stream: Stream, item: Any) -> bool:
    """Whether the compiled schema takes it. If it does, the schema has to."""
    record = read(stream, item)
    if record is not None:
        assert columns(record) == columns(validate_by_schema(stream, item, NOW))
    return record is not None


@each_stream
def test_what_it_takes_the_schema_takes_with_equal_values(stream: Stream) -> None:
    taken = []

    @settings(max_examples=150, deadline=None, database=None, derandomize=True)
    @given(changed(stream))
    def check(item: dict[str, Any]) -> None:
        taken.append(check_alike(stream, item))

    check()
    assert any(taken) and not all(taken)


@each_stream
def test_each_odd_value_in_each_field(stream: Stream) -> None:
    times = [name for name, value in stream.example.items() if isinstance(value, str) and "T" in value[10:11]]
    for name in stream.schema.model_fields:
        for value in VALUES:
            check_alike(stream, {**stream.example, name: value})
            check_alike(stream, {**stream.example, **dict.fromkeys(times, "2025-02-28T18:00:00.5Z"), name: value})


@each_stream
def test_ordinary_records_are_taken(stream: Stream) -> None:
    assert check_alike(stream, json.loads(json.dumps(stream.example)))
    required = {name for name, field in stream.schema.model_fields.items() if field.is_required()}
    nulls = {name: stream.example.get(name) if name in required else None for name in stream.schema.model_fields}
    assert check_alike(stream, {name: value for name, value in stream.example.items() if value is not None})
    assert check_alike(
        stream, {**nulls, **{n: stream.example[n] for n in ("title", "track_name") if n in stream.example}}
    )


@each_stream
def test_what_is_not_typed_as_in_json_is_left_to_the_schema(stream: Stream) -> None:
    for name in stream.schema.model_fields:
        for value in (NOW, NOW.date(), ("a",), b"a", timedelta(1)):
            check_alike(stream, {**stream.example, name: value})


@pytest.mark.parametrize("item", [None, [], "x", 5, {}, {"other": 1}])
@each_stream
def test_what_is_no_record_is_left_to_the_schema(stream: Stream, item: Any) -> None:
    assert read(stream, item) is None
    with pytest.raises(ValidationError):
        validate_by_schema(stream, item, NOW)


BODIES = ['{"a": 1, "a": "\\ud800"}', "\ufeff[1e3, -0, -0.0]", "[1234567890123456789012, 0.1, 5e-324]", "[]"]


@pytest.mark.parametrize("sent", BODIES)
def test_accepted_bodies_are_parsed_alike(sent: str) -> None:
    parsed = json.loads(sent.removeprefix("\ufeff"))
    assert repr(parse_accepted(sent.encode(), ndjson=True)) == repr([parsed])


class Ordinary(Record):
    key: Identifier
    number: Annotated[int, Field(ge=1), WholeNumber] = 1


class Aliased(Ordinary):
    name: Text50 = Field("", alias="Name")


class Converted(Ordinary):
    name: Annotated[str, BeforeValidator(str)] = ""


class Nullable(Ordinary):
    name: Annotated[Text50 | None, AfterValidator(str)] = None


class Either(Ordinary):
    name: Text50 | int = ""


class Before(Ordinary):
    @field_validator("number", mode="before")
    @classmethod
    def _any(cls, value: Any) -> Any:
        return value


class Whole(Ordinary):
    @model_validator(mode="before")
    @classmethod
    def _any(cls, value: Any) -> Any:
        return value


class Decimal(Ordinary):
    number: int = 1  # 60.0 is none, other than for a WholeNumber


def test_a_schema_with_anything_unknown_is_not_compiled() -> None:
    assert reader(Ordinary)
    for schema in (Aliased, Converted, Nullable, Either, Before, Whole, Decimal):
        assert reader(schema) is None


@given(st.from_regex(fields._PLAIN_EMAIL, fullmatch=True).filter(lambda text: len(text) <= 254))
def test_what_passes_for_an_ordinary_email_is_one(text: str) -> None:
    validate_email(text)

"""Whatever a stream's schema accepts is stored and read back equal; whatever it rejects names the field.

The records are made from each stream's own JSON schema. A short, repeatable run by default; a long one, of
10,000 records a stream: EXAMPLES=850 python -m pytest -n 4 tests/test_schema_properties.py
"""

import json
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from django.db import transaction
from django.db.models import Q
from django.test import Client, override_settings
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from enrichment.models import HeldRecord
from enrichment.pipeline import upsert
from enrichment.refresh import refresh
from ingestion.models import Delivery
from ingestion.streams import Stream, all_streams, get
from ingestion.validation import field_errors, validate
from tests.api import NDJSON, api, post, refusal
from tests.records import counts, deliver, work_off

pytestmark = pytest.mark.django_db

LONG = "EXAMPLES" in os.environ
runs = hypothesis_settings(
    max_examples=int(os.environ.get("EXAMPLES", "15")),
    derandomize=not LONG,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck) if LONG else [HealthCheck.too_slow],
    print_blob=True,
)
each_stream = pytest.mark.parametrize("stream", all_streams(), ids=lambda stream: stream.name)
NAMING_THEIR_KEY = [stream for stream in all_streams() if stream.key_of is None]
each_naming_its_key = pytest.mark.parametrize("stream", NAMING_THEIR_KEY, ids=lambda stream: stream.name)

Node = Mapping[str, Any]
Values = st.SearchStrategy[Any]

ZONES = ("UTC", "America/New_York", "Asia/Kathmandu", "Africa/Monrovia")  # the last: 44 minutes 30 seconds, until 1972
ABSENT: Any = object()
KEEP_THEIR_OFFSET = {("sessions", "scheduled_start")}

TEXTS = (
    "e\u0301\u0323 combined",
    "\u202eright to left\u202c \u0627\u0644\u0639",
    "👩‍👩‍👧‍👦 🏳️‍🌈 🇦🇽",
    "\U00010000\U0010fffd",
    "\u2028\u2029\x85\r\n\t",
    "\ufeff\u200b\ufffe",
    "Å\u212bA\u030a ﬀ ß İ",
    "'; DROP TABLE \\N \\. \\x00 {} %s",
    " ",
    "null",
)
BAD_TEXTS = ("a\0b", "\ud800", "a\udfffb", "\udc00\ud800")
DATES = (
    *("1969-12-31", "1970-01-01", "1970-01-02", "1971-06-01", "2099-12-31", "2100-01-01", "0001-01-01", "9999-12-31"),
    *("2000-02-29", "2024-02-29", "1900-02-28", "2024-03-10", "2024-11-03", "2024-W09-4", "20240229"),
)
BAD_TIMES = (
    "",
    "now",
    "2023-02-29T00:00:00Z",
    "2024-13-01",
    "2024-01-01T00:00:60Z",
    "2024-01-01T00:00:00+24:00",
    "2024-01-01T00:00:00+00:00:30",
    "1969-12-31T23:59:59.999999Z",
    "2100-01-01T00:00:00Z",
    "2024-01-01T00:00:00Zx",
    "２０２４-01-01",
    "1704067200",
    *BAD_TEXTS,
)


# Strategies out of a node of a JSON schema.


def good(node: Node) -> Values:
    """Values that the node allows. Rules that it cannot tell may still refuse them."""
    match node:
        case {"anyOf": nodes}:
            return st.one_of([good(each) for each in nodes])
        case {"enum": choices}:
            return st.sampled_from(choices)
        case {"type": "null"}:
            return st.none()
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "integer" | "number", "minimum": least, "maximum": most}:
            return numbers(node["type"], least, most)
        case {"type": "array", "items": items}:
            fewest, most = node.get("minItems", 0), node["maxItems"]
            full = good(items).map(lambda item: [item] * most)
            return st.one_of(st.lists(good(items), min_size=fewest, max_size=fewest + 3), full)
        case {"type": "string"}:
            return strings(node)
    raise AssertionError(f"No strategy for {node}: add one.")


def numbers(kind: str, least: int, most: int) -> Values:
    whole = st.one_of(st.integers(least, most), st.sampled_from([least, most]))
    any_ = whole.map(float) if kind == "integer" else st.one_of(st.floats(least, most), st.sampled_from([5e-324, 0.1]))
    return st.one_of(whole, any_, st.just(-0.0) if least <= 0 <= most else st.nothing())


def strings(node: Node) -> Values:
    match node.get("format"):
        case "date-time":
            return times()
        case "date":
            return st.dates(date(1, 1, 1), date(2100, 12, 31)).map(str)
        case "email":
            return st.emails().filter(lambda text: len(text) <= node["maxLength"])
    return texts(node.get("minLength", 0), node["maxLength"])


def texts(least: int, most: int) -> Values:
    short = st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), st.sampled_from(TEXTS)
    )
    full = short.map(lambda text: ((text or "𐀀") * most)[:most])
    return st.one_of(short, short, full).map(lambda text: text[:most]).filter(lambda text: len(text) >= least)


def identifiers() -> Values:
    plain = st.characters(exclude_categories=["C", "Z"], exclude_characters="/")
    odd = st.sampled_from(
        ["?a=b&c#d", "%2F%00", "..a", "a b", "Batch", "\\", "'\"", "İ", "e\u0301", "語" * 64, "+", ";v=1"]
    )
    return st.one_of(st.text(plain, min_size=1, max_size=8), odd)


@st.composite
def times(draw: st.DrawFn) -> str:
    ordinary, odd = st.dates(date(1970, 1, 2), date(2025, 12, 31)).map(str), st.sampled_from(DATES)
    day = draw(st.one_of(ordinary, ordinary, ordinary, odd))
    if draw(st.integers(0, 7)) == 0:
        return day
    hour, minute = draw(st.integers(0, 23)), draw(st.integers(0, 59))
    second = draw(st.sampled_from(["", ":00", ":59", ":30.5", ":59.999999", ":00.000001", ":01.1234567891", ":02,25"]))
    usual = st.integers(-959, 959)
    east = draw(st.one_of(usual, usual, usual, st.integers(-1439, 1439), st.sampled_from([-1439, -959, 0, 959, 1439])))
    sign, (hours, minutes) = "-" if east < 0 else "+", divmod(abs(east), 60)
    whole = f"{sign}{hours:02}"
    offset = draw(st.sampled_from(["", "Z", f"{whole}:{minutes:02}", f"{whole}{minutes:02}", whole, "-00:00"]))
    return f"{day}{draw(st.sampled_from('TT '))}{hour:02}:{minute:02}{second}{offset}"


def junk() -> Values:
    """Any JSON at all."""
    anything = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([10**400, -(10**400), 2**63, 1e308, -0.0, 60.0, *TEXTS, *BAD_TEXTS, *BAD_TIMES]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(), max_size=5),
    )
    return st.recursive(
        anything,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=4,
    )


def wrong(node: Node) -> Values:
    """Values that the node does not allow."""
    nodes = node.get("anyOf", [node])
    of_another_kind = junk().filter(lambda value: not kinds(value) & {each["type"] for each in nodes})
    return st.one_of(of_another_kind, *(beyond(each) for each in nodes))


def kinds(value: Any) -> set[str]:
    """The JSON schema types of a value; 60.0 is a whole number."""
    match value:
        case None:
            return {"null"}
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case float():
            return {"integer", "number"} if value.is_integer() else {"number"}
        case str():
            return {"string"}
    return {"array"} if isinstance(value, list) else {"object"}


def beyond(node: Node) -> Values:
    """Values of the node's kind, outside its limits."""
    match node:
        case {"enum": choices}:
            return st.one_of(st.text(), st.sampled_from(BAD_TEXTS)).filter(lambda text: text not in choices)
        case {"type": "integer" | "number", "minimum": least, "maximum": most}:
            whole = st.integers(max_value=math.floor(least) - 1) | st.integers(min_value=math.ceil(most) + 1)
            return st.one_of(whole, st.sampled_from([least - 0.5, most + 0.5, 10**400, -(10**400), 1e308]))
        case {"type": "array", "items": items}:
            too_few: list[Any] = []
            too_many = good(items).map(lambda item: [item] * (node["maxItems"] + 1))
            one_wrong = st.tuples(good(items), wrong(items)).map(list)
            return st.one_of(too_many, one_wrong, st.just(too_few) if node.get("minItems") else st.nothing())
        case {"format": "date-time"}:
            return st.sampled_from(BAD_TIMES)
        case {"format": "date"}:
            return st.sampled_from(BAD_TIMES).filter(lambda text: not text.startswith("2100"))
        case {"format": "email"}:
            return st.sampled_from(["", "nobody", "@example.org", "a@b@c.de", f"{'a' * 250}@example.org", *BAD_TEXTS])
        case {"type": "string", "maxLength": most}:
            long = st.just("x" * (most + 1))
            return st.one_of(long, st.sampled_from(BAD_TEXTS), st.just("") if node.get("minLength") else st.nothing())
    return st.nothing()


# Records.


@cache
def fields(stream: Stream) -> dict[str, Node]:
    return stream.schema.model_json_schema()["properties"]  # type: ignore[no-any-return]


@cache
def required(stream: Stream) -> set[str]:
    return set(stream.schema.model_json_schema()["required"])


@cache
def good_records(stream: Stream) -> Values:
    names = {stream.key, *(reference.field for reference in stream.references)}
    values = {name: identifiers() if name in names else good(node) for name, node in fields(stream).items()}
    needed = {name: values.pop(name) for name in required(stream)}
    return st.fixed_dictionaries(needed, optional=values)


@st.composite
def records(draw: st.DrawFn, stream: Stream) -> dict[str, Any]:
    """Mostly good ones; some have a field too many, one with anything at all in it, or fields at odds with others."""
    record = draw(good_records(stream))
    kind = draw(st.integers(0, 5))
    if kind == 0:
        names = st.one_of(st.sampled_from(list(fields(stream))), st.text(st.characters(), max_size=3))
        record |= draw(st.dictionaries(names, junk(), max_size=2))
    elif kind > 1:
        at_odds = named(refused(stream, record)) - required(stream)
        record = {name: value for name, value in record.items() if name not in at_odds}
    return record  # type: ignore[no-any-return]


def refused(stream: Stream, record: Any) -> Collection[str]:
    try:
        validate(stream, record, timezone.now())
    except ValidationError as error:
        return field_errors(error)
    return ()


@dataclass(frozen=True)
class Sent:
    """One batch, and how it is sent and stored."""

    records: list[dict[str, Any]]
    ndjson: bool
    raw: bool
    zone: str
    copied: bool

    @property
    def body(self) -> bytes:
        """As UTF-8 or as ASCII with escapes; a lone surrogate, which has no UTF-8, as an escape in both."""
        lines = [json.dumps(record, ensure_ascii=not self.raw) for record in self.records]
        text = "\n".join(lines) if self.ndjson else f"[{','.join(lines)}]"
        return text.encode("utf-8", "backslashreplace")


def batches(stream: Stream) -> Values:
    least, most = (10, 16) if LONG else (1, 6)
    some = st.lists(
        records(stream), min_size=least, max_size=most, unique_by=lambda record: repr(nfc(record.get(stream.key)))
    )
    flag = st.booleans()
    return st.builds(Sent, records=some, ndjson=flag, raw=flag, zone=st.sampled_from(ZONES), copied=flag)


# Whatever is accepted is stored and read back equal.


@each_naming_its_key
def test_what_is_accepted_is_read_back_equal(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    client, seen = api(), Counter[str]()

    @runs
    @given(sent=batches(stream))
    def run(sent: Sent) -> None:
        monkeypatch.setattr(upsert, "COPY_FROM", 1 if sent.copied else 50)
        with override_settings(TIME_ZONE=sent.zone), taken_back():
            accepted = take_in(client, stream, sent)
            for record in accepted:
                response = client.get(f"/api/{stream.name}/{quote(nfc(record[stream.key]), safe='')}")
                assert response.status_code == 200, response.content
                assert_equal(stream, record, response.json(), sent.zone)
            assert refresh(stream, Q()) == 0  # enriched from the row as it was from the record
        seen.update(accepted=len(accepted), rejected=len(sent.records) - len(accepted))

    run()
    assert seen["accepted"], seen
    assert seen["rejected"], seen
    if LONG:
        print(stream.name, dict(seen))


@contextmanager
def taken_back() -> Iterator[None]:
    """Undoes what is stored; a savepoint, since in an atomic block of ours no durable one would be allowed."""
    savepoint = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(savepoint)


def take_in(client: Client, stream: Stream, sent: Sent) -> list[dict[str, Any]]:
    """Posts the batch and works it off: what was accepted is stored, what was rejected names its fields."""
    path, kind = f"/api/{stream.name}/batch", NDJSON if sent.ndjson else "application/json"
    response = post(client, path, sent.body, kind)
    errors = {error["index"]: error for error in response.json()["errors"]}
    for index, error in errors.items():
        assert error["errors"], error
        assert named(error["errors"]) <= {*fields(stream), "record"}, error
        key = sent.records[index].get(stream.key)
        assert error["id"] in ("", nfc(key))
    accepted = [record for index, record in enumerate(sent.records) if index not in errors]
    assert response.status_code == (202 if accepted else 422), response.content
    store_referenced(stream, accepted)
    work_off()
    if accepted:
        assert counts(Delivery.objects.get(pk=response.json()["delivery"])) == {"inserted": len(accepted)}, held()
    assert stream.model._default_manager.count() == len(accepted)
    assert not HeldRecord.objects.exists()
    return accepted


def named(errors: Collection[str]) -> set[str]:
    """The fields, of lists without the position in them."""
    return {name.partition(".")[0] for name in errors}


def held() -> list[Any]:
    return list(HeldRecord.objects.values("stage", "code", "messages", "payload"))


def store_referenced(stream: Stream, records: Collection[Mapping[str, Any]]) -> None:
    """What the records refer to, each an example of its stream with another key."""
    for reference in stream.references if records else ():
        target = get(reference.stream)
        keys = {record[reference.field] for record in records}
        deliver(target.name, *({**target.example, target.key: key} for key in sorted(keys)))
        store_referenced(target, [target.example])


def nfc(value: Any) -> Any:
    return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


def tidied(value: Any, node: Node, stream: Stream, name: str) -> Any:
    """What is stored of a text: identifiers in NFC, short texts without what cannot be seen, all without blanks around.

    An empty one is as good as none.
    """
    if isinstance(value, list):
        return [tidied(item, {"maxLength": 1}, stream, name) for item in value]
    if not isinstance(value, str) or "format" in json.dumps(node) or "enum" in json.dumps(node):
        return value
    if name in (stream.key, *(reference.field for reference in stream.references)):
        return nfc(value)
    if max(each.get("maxLength", 0) for each in (node, *node.get("anyOf", []))) <= 255:
        kept = {"\u200c", "\u200d"}  # joiners, of which scripts and emoji make use
        value = "".join(each for each in value if unicodedata.category(each) != "Cf" or each in kept)
    return value.strip()


def assert_equal(stream: Stream, sent: Mapping[str, Any], read: Mapping[str, Any], zone: str) -> None:
    for name, node in fields(stream).items():
        value, found = tidied(sent.get(name), node, stream, name), read[name]
        if value is None:
            assert (type(found), found) == (type(node.get("default")), node.get("default")), name
        elif "date-time" in {each.get("format") for each in node.get("anyOf", [node])}:
            moment = datetime.fromisoformat(value)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo(zone))
            assert datetime.fromisoformat(found) - moment == timedelta(0), name
            if (stream.name, name) in KEEP_THEIR_OFFSET:
                offset = moment.utcoffset()
                assert offset is not None
                assert datetime.fromisoformat(found).utcoffset() == offset // timedelta(minutes=1) * timedelta(
                    minutes=1
                )
            else:
                assert found.endswith("Z"), name
        elif isinstance(value, float) and isinstance(found, int):
            assert value == found, name
            assert '"number"' not in json.dumps(node), name
        else:
            assert value == found, name
            assert type(found) is type(value) or json.dumps(node).count('"number"'), name


# Whatever is rejected names the field.


@each_stream
def test_a_wrong_value_is_named_by_its_field_alone(stream: Stream) -> None:
    client, seen = api(), Counter[str]()

    @hypothesis_settings(runs, max_examples=max(75, runs.max_examples))
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(list(fields(stream))), "field")
        absent = st.just(ABSENT) if name in required(stream) else st.nothing()
        value = data.draw(st.one_of(wrong(fields(stream)[name]), absent), "value")
        spoilt = {other: value for other, value in {**stream.example, name: value}.items() if value is not ABSENT}
        error = refusal(post(client, f"/api/{stream.name}", spoilt), 422)
        assert named(error["fields"]) == {name}, error
        seen[name] += 1

    run()
    assert not Delivery.objects.exists()
    assert len(seen) > len(fields(stream)) / 2, seen

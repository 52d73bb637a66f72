"""Requests made from the API's own description, by schemathesis: what it promises the running views keep.

A short, repeatable run by default; `make schemathesis` makes a long one, other requests each time.
"""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
import schemathesis
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from schemathesis.checks import CheckFunction
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from ingestion.streams import all_streams
from tests.api import NDJSON, new_key
from tests.records import send
from tutormax.wsgi import application

LONG = "EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("EXAMPLES", "5"))
CONFIG = {
    # A NUL is refused wherever it stands (test_hostile_http.py).
    "generation": {"max-examples": EXAMPLES, "deterministic": not LONG, "allow-x00": False},
    "phases": {"coverage": {"enabled": LONG}},
    # Rules between fields, and between a time and now, are no part of a schema: what breaks them is 422.
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", "401", "403", "404", "409", "422"]}},
}
PAGES = {"page_size", "cursor", "count"}

offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1970, 1, 2), datetime(2099, 12, 30), timezones=st.just(UTC) | offsets)  # noqa: DTZ001
schemathesis.openapi.format("date-time", times.map(datetime.isoformat))


@schemathesis.serializer(NDJSON)
def as_it_is(context: schemathesis.SerializationContext, value: object) -> bytes:
    return str(value).encode(errors="surrogatepass")


def packing(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """The API, to a client that packs what it says it packs, and takes answers to their end."""
    if environ.get("HTTP_CONTENT_ENCODING") == "gzip":
        body = gzip.compress(environ["wsgi.input"].read())
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    with closing(application(environ, start_response)) as answer:
        return list(answer)


schema = schemathesis.openapi.from_wsgi("/openapi.json", packing, config=schemathesis.Config.from_dict(CONFIG))


@pytest.fixture
def key(db: None) -> Iterator[str]:
    """Of an API where something is stored; requests leave the connection open, as those of Django's own client do."""
    for stream in all_streams():
        send(stream.name, dict(stream.example))
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield new_key()
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.parametrize("key", ["a key for all"], indirect=True)  # without a parameter all tests have one name
@schema.parametrize()
@hypothesis_settings(
    max_examples=EXAMPLES,
    derandomize=not LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
def test_the_views_keep_what_the_description_promises(case: schemathesis.Case[Any], key: str) -> None:
    case.call_and_validate(headers={"Authorization": f"Api-Key {key}"}, excluded_checks=list(not_meant(case)))


def not_meant(case: schemathesis.Case[Any]) -> Iterator[CheckFunction]:
    """The checks of which a request is none of what they are about."""
    query, headers = dict[str, Any](case.query or {}), dict[str, Any](case.headers or {})
    if headers.get("Content-Encoding") == "":
        yield negative_data_rejection  # as good as none
    if case.path.endswith("/batch") or query.get("invalid") == "dead-letter" or case.media_type == NDJSON:
        yield negative_data_rejection  # valid items of a batch are taken, and invalid ones on demand
    if "cursor" in query or (query.get("format", "json") != "json" and PAGES & query.keys()):
        yield positive_data_acceptance  # a cursor is what a page has given out; CSV and NDJSON have no pages
    if case.media_type == NDJSON or case.path in ("/api/uploads", "/api/upload"):
        yield positive_data_acceptance  # of a text there is no schema

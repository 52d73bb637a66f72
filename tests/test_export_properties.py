"""Every CSV that leaves the system, with whatever texts: read by no separator has it a cell that a spreadsheet would
compute, and what is uploaded again changes nothing.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from enrichment.models import HeldRecord
from ingestion.streams import Stream, all_readables, all_streams, get
from ingestion.validation import validate
from movies.tests import factories
from tests.api import NDJSON, api, post
from tests.commands import run
from tests.files import csv_of, streamed
from tests.people import browser_of, person
from tests.records import deliver, send, work_off

pytestmark = pytest.mark.django_db
NAMING_THEIR_KEY = [stream for stream in all_streams() if stream.key_of is None]
each_stream = pytest.mark.parametrize("stream", NAMING_THEIR_KEY, ids=lambda stream: stream.name)
few = hypothesis_settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)

FORMULA = ("=", "+", "-", "@", "\t", "\r")
NUMBER = re.compile(r"[+-]?[0-9][0-9.eE+-]*")
KINDS = ("csv", "export", "rejected", "template")
"""What the address of a page that is a file has in it."""
BEGINNINGS = ("", "=", "+", "-", "@", "¬", "a;=", "x|+", '"=', "'=", "¬¬-")

_characters = st.sampled_from("=+-@\t\r\n,;|\"'¬ \u00a0\u2028ab1＝é")
_texts = st.one_of(
    st.text(_characters, min_size=1, max_size=12),
    st.sampled_from(
        ["=cmd|'/C calc'!A0", "a\n=b", "¬=1", "NULL", "#N/A", "#REF!", "[1]", '["=1"]', "1.5", "007", "x;@y"]
    ),
)


# Records with such texts in all fields that take any.


def text_fields(stream: Stream) -> Iterator[tuple[str, bool]]:
    """(name, whether it is a list) of the fields that take any text."""
    for name, node in stream.schema.model_json_schema()["properties"].items():
        for each in node.get("anyOf", [node]):
            inner = each.get("items", {}) if each.get("type") == "array" else each
            if inner.get("type") == "string" and not {"format", "enum", "const"} & inner.keys():
                yield name, each is not inner


def records(stream: Stream) -> st.SearchStrategy[list[dict[str, Any]]]:
    identifiers = {stream.key, *(reference.field for reference in stream.references)}
    lists = {name: is_list for name, is_list in text_fields(stream) if name not in identifiers}
    values = {name: st.lists(_texts, min_size=1, max_size=3) if is_list else _texts for name, is_list in lists.items()}
    one = st.fixed_dictionaries({stream.key: st.sampled_from(BEGINNINGS)}, optional=values)
    return st.lists(one, min_size=1, max_size=4).map(lambda some: list(_valid(stream, some)))


def _valid(stream: Stream, some: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Without the texts that the schema does not take."""
    for number, changes in enumerate(some):
        record = {**stream.example, stream.key: f"{changes[stream.key]}K-{number}"}
        for name, value in changes.items():
            if name != stream.key and _is_valid(stream, record | {name: value}):
                record[name] = value
        yield record


def _is_valid(stream: Stream, record: dict[str, Any]) -> bool:
    try:
        validate(stream, record, timezone.now())
    except ValidationError:
        return False
    return True


@contextmanager
def taken_back() -> Iterator[None]:
    savepoint = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(savepoint)


def store_referenced(stream: Stream) -> None:
    for reference in stream.references:
        store_referenced(get(reference.stream))
        deliver(reference.stream, get(reference.stream).example)


def stored_fields(client: Client, stream: Stream) -> list[dict[str, Any]]:
    rows = client.get(f"/api/{stream.name}?ordering={stream.key}").json()["results"]
    return [{name: row[name] for name in stream.schema.model_fields} for row in rows]


def payloads() -> list[Any]:
    """Of the dead letters, as they are now."""
    return [
        json.loads(each) for each in HeldRecord.objects.dead().order_by("key", "pk").values_list("payload", flat=True)
    ]


def messages() -> list[Any]:
    return list(HeldRecord.objects.dead().values_list("messages", "payload"))


# What must hold.


def assert_no_formula(content: bytes) -> None:
    text = content.decode("utf-8-sig")
    for delimiter in ",;\t":
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            found = [cell for cell in cells if cell.startswith(FORMULA) and not NUMBER.fullmatch(cell)]
            assert not found, (delimiter, found)


def assert_all_come_back(client: Client, stream: Stream, files: list[tuple[bytes, str]]) -> None:
    """Equal files are uploaded once: no upload changes anything."""
    for content, content_type in dict.fromkeys(files):
        assert_comes_back(client, stream, content, content_type)


def assert_comes_back(client: Client, stream: Stream, content: bytes, content_type: str) -> None:
    """Uploaded as it is, it writes every row, and with the same values."""
    before = stored_fields(client, stream)
    path = f"/api/uploads?stream={stream.name}&again=true"
    answer = post(client, path, content, content_type)
    assert answer.status_code == 201, answer.content
    work_off()
    told = client.get(answer.json()["uploads"][0]["status_url"]).json()
    assert (told["updated"], told["total"]) == (len(before), len(before)), messages()
    assert stored_fields(client, stream) == before


@each_stream
def test_stored_records_leave_and_come_back(stream: Stream, tmp_path: Path) -> None:
    programs, operator = api(), browser_of(person("operator"))
    meta, numbers = stream.model._meta, count()
    page = reverse(f"admin:{meta.app_label}_{meta.model_name}_export")

    @few
    @given(some=records(stream))
    def run_one(some: list[dict[str, Any]]) -> None:
        with taken_back():
            store_referenced(stream)
            send(stream.name, *some)
            if own := programs.get(f"/api/{stream.name}?count=true").json()["count"] - len(some):
                assert own == 1, "only the example that others refer to"
            for_people = [
                streamed(operator.get(f"{page}?format=csv")),
                streamed(operator.get(f"/api/{stream.name}?format=csv")),
            ]
            for content in for_people:
                assert_no_formula(content)
            out = tmp_path / f"{next(numbers)}.csv"
            run("export_data", f"--stream={stream.name}", "--format=csv", f"--out={out}")
            tables = [*for_people, streamed(programs.get(f"/api/{stream.name}?format=csv")), out.read_bytes()]
            lines = [
                streamed(operator.get(f"{page}?format=ndjson")),
                streamed(programs.get(f"/api/{stream.name}?format=ndjson")),
            ]
            files = [*((content, "text/csv") for content in tables), *((content, NDJSON) for content in lines)]
            assert_all_come_back(programs, stream, files)

    run_one()


@each_stream
def test_rejected_rows_and_failed_records_leave_and_come_back(stream: Stream) -> None:
    programs, operator = api(), browser_of(person("operator"))
    name_of_column = st.text(st.sampled_from("=+-@,;|¬ab"), min_size=1, max_size=5).filter(lambda name: name[:1] != "¬")

    @few
    @given(some=records(stream), column=name_of_column, cell=_texts)
    def run_one(some: list[dict[str, Any]], column: str, cell: str) -> None:
        column = " ".join(column.split())
        columns = {name: "" for record in some for name in record}
        wrong = [{**columns, **record, **_fault(stream), f"{column}!": cell.strip() or "x"} for record in some]
        with taken_back():
            told = uploaded(programs, stream, csv_of(wrong))
            assert told["dead"] == len(wrong), told
            before = payloads()
            for content in (
                streamed(operator.get(reverse("admin:ingestion_upload_rejected", args=[told["id"]]))),
                streamed(programs.get(told["errors_url"])),
            ):
                assert_no_formula(content)
                HeldRecord.objects.all().update(status="discarded")
                assert uploaded(programs, stream, content)["dead"] == len(wrong)
                assert payloads() == before
            for name in ("deadletter", "heldrecord"):
                found = streamed(operator.get(reverse(f"admin:enrichment_{name}_export")))
                assert_no_formula(found)
                [header, *rows] = csv.reader(io.StringIO(found.decode("utf-8-sig"), newline=""))
                assert len(rows) >= len(wrong) and all(len(row) == len(header) for row in rows)

    run_one()


def _fault(stream: Stream) -> dict[str, Any]:
    """A time, a number or a flag that is none."""
    node = stream.schema.model_json_schema()["properties"]
    name = next(name for name, each in node.items() if "integer" in json.dumps(each) or "date-time" in json.dumps(each))
    return {name: "=wrong"}


def uploaded(client: Client, stream: Stream, content: bytes) -> Any:
    answer = post(client, f"/api/uploads?stream={stream.name}&again=true&missing=clear", content, "text/csv")
    assert answer.status_code == 201, answer.content
    work_off()
    return client.get(answer.json()["uploads"][0]["status_url"]).json()


def test_lists_about_records_have_no_formula() -> None:
    """What clients name: files, idempotency keys, IDs."""
    root = browser_of(person(superuser=True))
    for number, beginning in enumerate(BEGINNINGS):
        key, unique = f"{beginning}K-{number}", {"idempotency-key": f"{beginning}key-{number}".replace("¬", "n")}
        post(root, "/api/students", {"student_id": key, "name": "Kim"}, headers=unique)
        post(root, "/api/students?invalid=dead-letter", {"student_id": f"{key}x", "name": "Kim", "age": "=1"})
        name = f"{beginning}file.csv".replace("¬", "%C2%AC").replace("+", "%2B").replace(";", "%3B")
        post(root, f"/api/uploads?stream=students&name={name}&again=true", b"student_id,name\nA,Kim\n", "text/csv")
    work_off()
    for path in ("deliveries", "dead-letters", "uploads"):
        content = streamed(root.get(f"/api/{path}?format=csv"))
        assert content.count(b"\n") > len(BEGINNINGS)
        assert_no_formula(content)


@few
@given(texts=st.lists(st.builds(str.__add__, st.sampled_from(BEGINNINGS), _texts), min_size=6, max_size=6))
def test_films_leave_without_a_formula(texts: list[str]) -> None:
    title, tag, review, tmdb_title, person_, genre = texts
    with taken_back():
        root = browser_of(person(superuser=True))
        anna = factories.library("anna")
        described = {"original_title": tmdb_title, "directors": [person_], "genres": [genre, tag]}
        film = factories.library_film(anna, title, tags=[tag, "b"], film=described)  # TMDB has the same title
        factories.viewing(film, None, review=review, tags=[tag])
        for page in ("entry", "libraryfilm"):
            content = streamed(root.get(reverse(f"admin:movies_{page}_export"), {"format": "csv"}))
            assert content.count(b"\n") > 1
            assert_no_formula(content)
        for path in ("entries", "movies"):
            assert_no_formula(streamed(root.get(f"/api/{path}?format=csv")))


@each_stream
def test_the_template_of_a_stream_has_no_formula(stream: Stream) -> None:
    page = browser_of(person("operator")).get(reverse("admin:ingestion_upload_template", args=[stream.name]))
    assert_no_formula(page.content)


def test_every_page_that_is_a_file_is_tested_here() -> None:
    known = {
        "ingestion_upload_rejected",
        "ingestion_upload_template",
        "enrichment_deadletter_export",
        "enrichment_heldrecord_export",
        "enrichment_waitingrecord_export",
        "upload-errors",
        "movies_libraryfilm_export",
        *(f"{each.model._meta.app_label}_{each.model._meta.model_name}_export" for each in all_readables()),
    }
    patterns = list(_patterns(get_resolver().url_patterns))
    found = {each.name or "" for each in patterns if any(kind in str(each.pattern) for kind in KINDS)}
    assert found - known == set()


def _patterns(urls: Any) -> Iterator[URLPattern]:
    for each in urls:
        if isinstance(each, URLResolver):
            yield from _patterns(each.url_patterns)
        else:
            yield each

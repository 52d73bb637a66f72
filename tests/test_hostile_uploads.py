"""Files that are made to hurt, and clients that send the same one at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from enrichment.models import HeldRecord
from ingestion.models import Delivery, Upload
from tests.api import api, post, refusal
from tests.files import csv_of
from tests.records import assert_nothing_vanished, work_off
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.django_db

CSV = "text/csv"
PATH = "/api/uploads?stream=tutors"
HEADER, ROW = csv_of([tutor(tutor_id="T-1")]).splitlines(keepends=True)


@pytest.fixture
def client() -> Client:
    return api()


def upload(client: Client, body: bytes, path: str = PATH, content_type: str = CSV) -> Any:
    """Uploads it, works it off and returns its progress."""
    response = post(client, path, body, content_type)
    assert response.status_code == 201, response.content
    work_off()
    assert_nothing_vanished()
    return client.get(response.json()["uploads"][0]["status_url"]).json()


@pytest.mark.parametrize("delimiter", [b",", b";"])
def test_a_file_of_quotes_left_open_is_refused_by_the_line_of_the_first(client: Client, delimiter: bytes) -> None:
    body = HEADER + ROW + b"\r\n" + b'",a","\n' * 4000
    for query in ("", "&dry_run=true"):
        error = refusal(post(client, PATH + query, body.replace(b",", delimiter), CSV), 400)
        assert "line 4" in error["message"]
    assert not Upload.objects.exists() and not Delivery.objects.exists()


def test_a_quote_left_open_here_and_there_is_no_reason_to_refuse_a_file(client: Client) -> None:
    told = upload(client, HEADER + ROW + b'",a","\n' * 50)
    assert (told["inserted"], told["dead"]) == (1, 50)


@pytest.mark.parametrize("blank", [" \n", " , , \n", '" ",\n', "\u00a0\r\n", '"\n"\n', "\t\n", " \n,\n\n \n"])
def test_blank_rows_before_the_header_are_left_out(client: Client, blank: str) -> None:
    assert upload(client, blank.encode() + HEADER + ROW)["inserted"] == 1


@pytest.mark.parametrize("blank", [" , ", "\u00a0", '" "', "\ufeff , \n  "])
def test_a_file_of_blanks_is_empty(client: Client, blank: str) -> None:
    assert "empty" in refusal(post(client, PATH, blank.encode(), CSV), 400)["message"]


def test_a_cell_is_nested_no_deeper_than_the_record_around_it_may_be(client: Client) -> None:
    rows = [tutor(tutor_id=f"T-{depth}", subjects="[" * depth + "]" * depth) for depth in (99, 100)]
    assert upload(client, csv_of(rows))["dead"] == 2
    deep, too_deep = [json.loads(held.payload)["subjects"] for held in HeldRecord.objects.order_by("pk")]
    assert isinstance(deep, list)
    assert too_deep == rows[1]["subjects"]

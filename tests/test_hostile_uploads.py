"""Files that are made to hurt, and clients that send the same one at once."""

from __future__ import annotations

import csv
import io
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client

from enrichment.models import HeldRecord
from ingestion import streams
from ingestion.files import uploads
from ingestion.files.record_file import inspect_file
from ingestion.models import ApiKey, Delivery, Upload
from tests.api import NDJSON, api, new_key, post, refusal
from tests.files import csv_of, ndjson_of, read_csv, streamed
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


# The same file, at once or once more.


def begin_only(name: str, body: bytes, client_name: str, content_type: str = CSV) -> Upload:
    """What an upload leaves behind that was interrupted before its first row."""
    with ExitStack() as opened:
        file = inspect_file(io.BytesIO(body), name, streams.get("tutors"), opened, content_type)
        return uploads._start(file, client_name, again=False)


def test_who_comes_second_is_refused_though_the_first_finishes_before_it_starts(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = uploads._start

    def overtaken(*args: Any, **how: Any) -> Upload:
        monkeypatch.setattr(uploads, "_start", begin)
        assert post(client, PATH, HEADER + ROW, CSV).status_code == 201
        return begin(*args, **how)

    monkeypatch.setattr(uploads, "_start", overtaken)
    assert "already imported as upload" in refusal(post(client, PATH, HEADER + ROW, CSV), 409)["message"]
    assert Upload.objects.count() == Delivery.objects.count() == 1
    assert post(client, f"{PATH}&again=true", HEADER + ROW, CSV).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_of_many_with_the_same_file_at_once_one_takes_it_in(client: Client) -> None:
    together = threading.Barrier(6)

    def send(number: int) -> int:
        try:
            together.wait()
            return int(post(client, PATH, HEADER + ROW.replace(b"T-1", b"T-%d" % number), CSV).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as senders:
        for number in range(10):
            statuses = sorted(senders.map(send, [number] * 6))
            assert statuses == [201, *[409] * 5]
    assert Upload.objects.exclude(finished_at=None).count() == Upload.objects.count() == 10
    assert Delivery.objects.count() == 10


def test_several_files_go_on_when_one_of_them_is_not_finished(client: Client) -> None:
    bodies = {f"{i}.csv": HEADER + ROW.replace(b"T-1", b"T-%d" % i) for i in range(3)}
    [first] = post(client, f"{PATH}&name=0.csv", bodies["0.csv"], CSV).json()["uploads"]
    second = begin_only("1.csv", bodies["1.csv"], Upload.objects.get().client)

    def form() -> dict[str, Any]:
        return {"file": [SimpleUploadedFile(name, body) for name, body in bodies.items()]}

    response = client.post(PATH, form())
    assert response.status_code == 201, response.content
    told = response.json()["uploads"]
    assert [each["name"] for each in told] == list(bodies)
    assert [each["id"] for each in told[:2]] == [first["id"], second.pk]
    assert [each["total"] for each in told] == [1, 1, 1]
    assert Upload.objects.exclude(finished_at=None).count() == Delivery.objects.count() == 3
    assert "0.csv was already imported" in refusal(client.post(PATH, form()), 409)["message"]
    assert Delivery.objects.count() == 3


def test_an_unfinished_file_does_not_go_on_in_another_format(client: Client) -> None:
    body = b"tutor_id,name,email,subjects,onboarding_date,status\n" + b"T,a,b,c,d,e\n" * 2 + ndjson_of([tutor()])
    post(client, PATH, HEADER + ROW, CSV)
    began = begin_only("t.ndjson", body, Upload.objects.get().client, NDJSON)
    error = refusal(post(client, PATH, body, CSV), 409)
    assert f"NDJSON (upload {began.pk})" in error["message"]
    assert Delivery.objects.count() == 1
    assert post(client, PATH, body, NDJSON).json()["uploads"][0]["id"] == began.pk
    assert post(client, PATH, body, CSV).status_code == 201
    refusal(post(client, PATH, body, CSV), 409)


# Who asks, and for what.


@pytest.mark.parametrize("accept", ["application/xml", "image/png", "a/b/c", ";;;"])
def test_rejected_rows_in_what_they_cannot_be_are_not_acceptable(client: Client, accept: str) -> None:
    told = upload(client, HEADER + ROW)
    refusal(client.get(told["errors_url"], headers={"accept": accept}), 406)


@pytest.mark.parametrize("accept", ["*/*", "text/csv", "application/json", "text/html,*/*;q=0.8"])
def test_rejected_rows_are_csv_and_their_errors_json(client: Client, accept: str) -> None:
    told = upload(client, HEADER + ROW)
    response = client.get(told["errors_url"], headers={"accept": accept})
    assert response["Content-Type"] == "text/csv; charset=utf-8" and streamed(response).startswith(b"row,error,")
    assert client.get("/api/uploads/999/errors", headers={"accept": accept}).status_code == 404


def test_a_key_limited_to_streams_sees_no_uploads_of_others(client: Client) -> None:
    told = upload(client, HEADER + ROW)
    owner = ApiKey.objects.get()
    limited, same = [api(new_key(client=owner.client, streams=[name])) for name in ("students", "tutors")]
    assert limited.get("/api/uploads").json()["results"] == []
    for path in ("", "/errors"):
        refusal(limited.get(f"/api/uploads/{told['id']}{path}"), 404)
        assert same.get(f"/api/uploads/{told['id']}{path}").status_code == 200
    assert len(same.get("/api/uploads").json()["results"]) == 1


# The names of the members that we make of what cannot be read.


@pytest.mark.parametrize(
    "record",
    [
        {"(raw)": ["\ud800"]},
        {"(raw)": "\ud800\0"},
        {"(unreadable)": "Pay here", "(raw)": {}},
        {**tutor(), "(raw)": ["=1"]},
        {**tutor(), "(unreadable)": None},
    ],
)
def test_records_with_names_of_ours_are_invalid_and_say_so(client: Client, record: Any) -> None:
    records = [tutor(), record]
    for content_type, body in [(NDJSON, ndjson_of(records)), ("application/json", json.dumps(records).encode())]:
        told = upload(client, body, content_type=content_type)
        assert told["dead"] == 1
        [row] = read_csv(streamed(client.get(told["errors_url"])))
        assert row["error"].startswith("(unreadable): The member names (unreadable), (raw), (erased) are reserved.")
        assert row["row"] == "2" and set(row.values()) == {"2", row["error"], ""}


def test_columns_with_names_of_ours_are_refused(client: Client) -> None:
    for name in (b"(unreadable)", b" (raw)  "):
        body = HEADER.strip() + b"," + name + b"\r\n" + ROW.strip() + b",x\r\n"
        assert "Column 15" in refusal(post(client, PATH, body, CSV), 400)["message"]


def test_what_a_held_record_was_made_into_can_be_shown(client: Client) -> None:
    told = upload(client, ndjson_of([tutor(age=7)]), content_type=NDJSON)
    HeldRecord.objects.update(payload=json.dumps({"(raw)": ["\ud800", {"a": "\0"}]}))
    [_, row] = csv.reader(io.StringIO(streamed(client.get(told["errors_url"])).decode()))
    assert row[2] == "?"

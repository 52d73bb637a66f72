"""Uploads over HTTP, in process: what is taken in, what is refused, and what is told of it."""

import gzip
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from enrichment.models import HeldRecord
from ingestion.files import uploads
from ingestion.files.formats.csv_reader import Chunk
from ingestion.models import Delivery, Upload
from tests.api import NDJSON, api, new_key, post, refusal
from tests.files import csv_of, ndjson_of, read_csv, streamed
from tests.people import browser_of, person
from tests.records import assert_nothing_vanished, send, stored, work_off
from tutoring.tests.factories import session, student, tutor

pytestmark = pytest.mark.django_db

CSV = "text/csv"
PATH = "/api/uploads?stream=tutors"


@pytest.fixture
def client() -> Client:
    return api()


def tutors(number: int, **changes: Any) -> list[dict[str, Any]]:
    return [tutor(tutor_id=f"T-{i}", **changes) for i in range(1, number + 1)]


def upload(client: Client, body: bytes, path: str = PATH, content_type: str = CSV, **extra: Any) -> dict[str, Any]:
    """Uploads it, works it off and returns its progress."""
    response = post(client, path, body, content_type, **extra)
    assert response.status_code == 201, response.content
    [told] = response.json()["uploads"]
    work_off()
    return progress(client, told["id"])


def progress(client: Client, pk: int) -> dict[str, Any]:
    told: dict[str, Any] = client.get(f"/api/uploads/{pk}").json()
    done = sum(told[name] for name in ("inserted", "updated", "stale", *HeldRecord.Status.values))
    assert told["processed"] == done
    return told


def form(*files: tuple[str, bytes], **fields: str) -> dict[str, Any]:
    return {"file": [SimpleUploadedFile(name, body) for name, body in files], **fields}


def previewed(client: Client, body: bytes, path: str = PATH, content_type: str = CSV) -> Any:
    response = post(client, f"{path}&dry_run=true", body, content_type)
    assert response.status_code == 200, response.content
    assert not Upload.objects.exists() and not Delivery.objects.exists()
    return response.json()["uploads"][0]


# What is taken in.


@pytest.fixture
def three_a_delivery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads that make a delivery of every three records."""
    monkeypatch.setattr(uploads, "DELIVERY_RECORDS", {"postgresql": 3, "sqlite": 3})


def test_a_csv_file_is_kept_and_stored(client: Client) -> None:
    response = post(client, f"{PATH}&name=people.csv", csv_of(tutors(3)), CSV)
    assert response.status_code == 201
    answer = response.json()
    [told] = answer.pop("uploads")
    assert answer.pop("timestamp") and answer == {"success": True}
    assert (told["name"], told["stream"], told["total"], told["status"]) == ("people.csv", "tutors", 3, "enriching")
    assert told["status_url"] == f"http://testserver/api/uploads/{told['id']}"
    work_off()
    told = client.get(told["status_url"]).json()
    assert (told["status"], told["inserted"], told["progress_percent"], told["eta_seconds"]) == ("completed", 3, 100, 0)
    row = stored("tutors", "T-2")
    assert (row.age, row.subjects, row.name) == (36, tutor()["subjects"], "Ada Lovelace")
    assert_nothing_vanished()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (CSV, csv_of(tutors(3))),
        (CSV, csv_of(tutors(3), ";")),
        (CSV, csv_of(tutors(3), "\t")),
        (CSV, b"\xef\xbb\xbf" + csv_of(tutors(3)).replace(b"\r\n", b"\n")),
        (CSV, csv_of(tutors(3)) + b"\r\n\r\n,,\r\n"),
        (CSV, gzip.compress(csv_of(tutors(3)))),
        (NDJSON, ndjson_of(tutors(3))),
        (NDJSON, b"\xef\xbb\xbf\n" + ndjson_of(tutors(3)).replace(b"\n", b"\r\n\r\n").rstrip()),
        ("application/json", json.dumps(tutors(3)).encode()),
        ("application/json", json.dumps(tutors(3), indent=1).encode()),
        ("application/json", ndjson_of(tutors(3))),
    ],
)
def test_each_format_comes_to_the_same(client: Client, content_type: str, body: bytes) -> None:
    told = upload(client, body, content_type=content_type)
    assert (told["total"], told["inserted"], told["dead"]) == (3, 3, 0)
    assert stored("tutors", "T-3").baseline_sessions_per_week == 18


def test_one_json_object_is_one_record(client: Client) -> None:
    assert upload(client, json.dumps(tutor(), indent=2).encode(), content_type="application/json")["inserted"] == 1


def test_a_form_takes_many_files_each_by_its_name(client: Client) -> None:
    files = [
        ("a.csv", csv_of(tutors(2))),
        ("b.jsonl", ndjson_of([tutor(tutor_id="B")])),
        ("c.json", json.dumps([tutor(tutor_id="C")]).encode()),
        ("d.csv.gz", gzip.compress(csv_of([tutor(tutor_id="D")]))),
        ("e", ndjson_of([tutor(tutor_id="E")])),
    ]
    response = client.post("/api/uploads", form(*files, stream="tutors"))
    assert response.status_code == 201, response.content
    told = response.json()["uploads"]
    assert [(each["name"], each["total"]) for each in told] == [
        (name, 2 if name == "a.csv" else 1) for name, _ in files
    ]
    assert [each.format for each in Upload.objects.order_by("pk")] == ["csv", "ndjson", "json", "csv", "ndjson"]
    work_off()
    assert {key for key in ("T-1", "T-2", "B", "C", "D", "E") if stored("tutors", key)} == {"T-1", "T-2", *"BCDE"}


def test_a_file_becomes_deliveries_that_know_their_rows(client: Client, three_a_delivery: None) -> None:
    for content_type, body in [
        (CSV, csv_of(tutors(8))),
        (NDJSON, ndjson_of(tutors(8))),
        ("application/json", json.dumps(tutors(8)).encode()),
    ]:
        told = upload(client, body, content_type=content_type)
        deliveries = Delivery.objects.filter(upload=told["id"]).order_by("pk")
        first = 2 if content_type == CSV else 1  # the header is row 1
        assert [(each.first_row, each.count) for each in deliveries] == [(first, 3), (first + 3, 3), (first + 6, 2)]
        assert {each.client for each in deliveries} == {Upload.objects.get(pk=told["id"]).client}
        assert Upload.objects.get(pk=told["id"]).offset == len(body)


# Rejected rows.


def test_invalid_rows_become_dead_letters_and_come_back_as_csv(client: Client) -> None:
    rows = [*tutors(2), tutor(tutor_id="T-3", age=7), tutor(tutor_id="T-4", email="=cmd()", name="-x")]
    told = upload(client, csv_of(rows))
    assert (told["inserted"], told["dead"], told["status"]) == (2, 2, "completed")
    response = client.get(told["errors_url"])
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    rejected = read_csv(streamed(response))
    assert list(rejected[0]) == ["row", "error", *tutor()]
    assert [(row["row"], row["tutor_id"]) for row in rejected] == [("4", "T-3"), ("5", "T-4")]
    assert rejected[0]["error"].startswith("age: ")
    assert (rejected[1]["email"], rejected[1]["name"]) == ("¬=cmd()", "¬-x")
    assert_nothing_vanished()


def test_fixed_rows_that_come_back_close_their_dead_letters(client: Client) -> None:
    rows = [tutor(tutor_id="T-1", name="=Ada", age=7), tutor(tutor_id="T-2", age="old"), tutor(tutor_id="T-3")]
    first = upload(client, csv_of(rows))
    rejected = streamed(client.get(first["errors_url"]))
    fixed = rejected.replace(b",7,", b",27,").replace(b",old,", b",28,")
    assert fixed != rejected
    second = upload(client, fixed)
    assert (second["inserted"], second["dead"]) == (2, 0)
    first = progress(client, first["id"])
    assert (first["dead"], first["resolved"]) == (0, 2)
    assert stored("tutors", "T-1").name == "=Ada"
    assert (stored("tutors", "T-1").age, stored("tutors", "T-2").age) == (27, 28)
    assert len(read_csv(streamed(client.get(first["errors_url"])))) == 0
    assert_nothing_vanished()


def test_rejected_rows_that_come_back_as_they_are_are_rejected_again(client: Client) -> None:
    odd = b"\r\n".join([csv_of(tutors(1)).strip(), b"T-2,b", b'T-3,"c"c,d', b"T-4" + b"," * 30 + b"x"])
    first = upload(client, odd)
    assert (first["total"], first["inserted"], first["dead"]) == (4, 1, 3)
    rejected = read_csv(streamed(client.get(first["errors_url"])))
    assert [row["row"] for row in rejected] == ["3", "4", "5"]
    assert rejected[0]["error"] == "(unreadable): The row has 2 cells, the header 14."
    assert 'Row as sent: T-3,"c"c,d' in rejected[1]["error"]
    assert "31 cells" in rejected[2]["error"]
    assert [row["tutor_id"] for row in rejected] == ["T-2", "", "T-4"]


def test_a_row_with_too_many_cells_is_closed_by_its_fixed_one(client: Client) -> None:
    one_too_many = csv_of([tutor(tutor_id="T-2")]).strip() + b",x"
    first = upload(client, one_too_many)
    held = HeldRecord.objects.get()
    assert (held.key, held.code) == ("T-2", "invalid")
    assert json.loads(held.payload)["(raw)"][-1] == "x"
    upload(client, csv_of([tutor(tutor_id="T-2")]))
    assert progress(client, first["id"])["resolved"] == 1


def test_lines_that_are_no_json_become_dead_letters(client: Client) -> None:
    body = b"\n".join([ndjson_of(tutors(1)).strip(), b'{"tutor_id": ', b"NaN", b"[" * 200, b'"text"', b"7", b"null"])
    told = upload(client, body, content_type=NDJSON)
    assert (told["total"], told["inserted"], told["dead"]) == (7, 1, 6)
    rejected = read_csv(streamed(client.get(told["errors_url"])))
    assert "Not JSON" in rejected[0]["error"] and '{"tutor_id":' in rejected[0]["error"]
    assert_nothing_vanished()


def test_a_row_that_refers_to_what_is_not_there_waits(client: Client) -> None:
    body = csv_of([session()])
    told = upload(client, body, "/api/uploads?stream=sessions")
    assert (told["waiting"], told["status"]) == (1, "completed")
    send("tutors", tutor())
    send("students", student())
    told = progress(client, told["id"])
    assert (told["waiting"], told["resolved"]) == (0, 1)


# The same file again.


def test_a_file_that_was_taken_in_before_is_refused_unless_again(client: Client) -> None:
    first = upload(client, csv_of(tutors(2)))
    error = refusal(post(client, PATH, gzip.compress(csv_of(tutors(2))), CSV), 409)
    assert f"upload {first['id']} ({timezone.now():%Y-%m-%d}" in error["message"]
    assert Upload.objects.count() == Delivery.objects.count() == 1
    second = upload(client, csv_of(tutors(2)), f"{PATH}&again=true")
    assert second["id"] != first["id"]
    assert second["inserted"] == 0 and second["stale"] + second["updated"] == 2


def test_the_same_file_of_another_stream_or_client_is_another(client: Client) -> None:
    body = csv_of([{"tutor_id": "A", "student_id": "A", **tutor(), "age": 30}])
    upload(client, body)
    assert post(client, "/api/uploads?stream=students", body, CSV).status_code == 201
    assert post(api(), PATH, body, CSV).status_code == 201


def test_the_same_file_twice_in_a_form_is_refused(client: Client) -> None:
    files = [("a.csv", csv_of(tutors(2))), ("b.csv", csv_of(tutors(2)))]
    refusal(client.post(PATH, form(*files)), 400)
    assert not Upload.objects.exists()


def test_nothing_of_a_form_is_kept_when_one_file_is_refused(client: Client) -> None:
    files = [("a.csv", csv_of(tutors(2))), ("b.csv", b"\xff\xfe\0")]
    refusal(client.post(PATH, form(*files)), 400)
    assert not Upload.objects.exists() and not Delivery.objects.exists()


class Died(Exception):
    pass


@pytest.mark.parametrize("kind", ["csv", "ndjson", "json"])
def test_an_upload_that_broke_off_goes_on_where_it_stopped(
    client: Client, three_a_delivery: None, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    records = [*tutors(9), tutor(tutor_id="T-10", age=7)]
    body = {"csv": csv_of(records), "ndjson": ndjson_of(records), "json": json.dumps(records).encode()}[kind]
    content_type = {"csv": CSV, "ndjson": NDJSON, "json": "application/json"}[kind]
    kept = uploads._store

    def dies(upload: Upload, chunk: Chunk, body: bytes) -> None:
        if chunk.first_row > (7 if kind == "csv" else 6):
            raise Died
        kept(upload, chunk, body)

    monkeypatch.setattr(uploads, "_store", dies)
    with pytest.raises(Died):
        post(client, PATH, body, content_type)
    [told] = client.get("/api/uploads").json()["results"]
    assert (told["status"], told["total"], told["message"]) == ("receiving", 6, "")
    assert 0 < Upload.objects.get().offset < len(body)
    Upload.objects.update(changed_at=timezone.now() - timedelta(minutes=11))
    told = progress(client, told["id"])
    assert told["status"] == "failed" and "Send the same file again" in told["message"]

    monkeypatch.setattr(uploads, "_store", kept)
    assert upload(client, body, content_type=content_type)["id"] == told["id"]
    told = progress(client, told["id"])
    assert (told["status"], told["total"], told["inserted"], told["dead"]) == ("completed", 10, 9, 1)
    assert [each.first_row for each in Delivery.objects.order_by("pk")] == [
        1 + (kind == "csv") + done for done in (0, 3, 6, 9)
    ]
    assert_nothing_vanished()


def test_of_two_at_the_same_file_one_is_refused(
    client: Client, three_a_delivery: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one moves on while this one reads."""
    kept = uploads._store

    def overtaken(upload: Upload, chunk: Chunk, body: bytes) -> None:
        if chunk.first_row == 5:
            kept(Upload.objects.get(pk=upload.pk), chunk, body)
        kept(upload, chunk, body)

    monkeypatch.setattr(uploads, "_store", overtaken)
    error = refusal(post(client, PATH, csv_of(tutors(9)), CSV), 409)
    assert "Another request" in error["message"]
    assert [each.first_row for each in Delivery.objects.order_by("pk")] == [2, 5]


# Progress.


def test_progress_is_judged_by_the_part_of_the_file_that_is_kept(client: Client) -> None:
    told = upload(client, csv_of(tutors(4)))
    Upload.objects.update(finished_at=None, offset=Upload.objects.get().size // 2)
    told = progress(client, told["id"])
    assert (told["status"], told["total"]) == ("receiving", 4)
    assert 49 < told["progress_percent"] < 51
    assert told["eta_seconds"] >= 0


def test_it_says_100_only_when_all_is_processed(client: Client) -> None:
    told = upload(client, csv_of(tutors(4)))
    Upload.objects.update(finished_at=None)  # the last row is kept and processed, the end of the file not yet seen
    assert progress(client, told["id"])["progress_percent"] == 99.9
    Upload.objects.update(finished_at=timezone.now())
    Delivery.objects.update(processed_at=None, inserted=3)
    told = progress(client, told["id"])
    assert (told["status"], told["progress_percent"], told["eta_seconds"]) == ("enriching", 75.0, None)


def test_uploads_are_listed_newest_first_in_as_many_queries_however_many(
    client: Client, django_assert_num_queries: Any
) -> None:
    pks = [upload(client, csv_of([tutor(tutor_id=f"A{i}"), tutor(tutor_id="B", age=i)]))["id"] for i in range(5)]
    with django_assert_num_queries(4):  # the key, the uploads, their deliveries, their held records
        page = client.get("/api/uploads", {"page_size": "2"}).json()
    assert [each["id"] for each in page["results"]] == [pks[4], pks[3]]
    assert [each["dead"] for each in page["results"]] == [1, 1]
    page = client.get(page["next"]).json()
    assert [each["id"] for each in page["results"]] == [pks[2], pks[1]]
    text = streamed(client.get("/api/uploads", {"format": "csv", "fields": "id,dead"}))
    assert text.decode().split() == ["id,dead", *(f"{pk},1" for pk in reversed(pks))]


# Preview.


def test_a_preview_tells_how_columns_fit_and_what_is_wrong(client: Client) -> None:
    rows = [tutor(), tutor(tutor_id="T-2", age=7), tutor(tutor_id="T-3", age=99)]
    body = csv_of([{"Tutor ID" if name == "tutor_id" else name: row[name] for name in row} | {"x": 1} for row in rows])
    told = previewed(client, body)
    ids = ["T-1001", "T-2"]
    assert {"column": "Tutor ID", "field": "tutor_id", "suggestion": None, "samples": ids} in told["columns"]
    assert {"column": "x", "field": None, "suggestion": None, "samples": ["1"]} in told["columns"]
    assert (told["checked"], told["valid"], told["invalid"]) == (3, 2, 1)
    assert [(row["row"], row["id"], row["valid"]) for row in told["rows"]] == [
        (2, "T-1001", True),
        (3, "T-2", False),
        (4, "T-3", True),
    ]
    assert set(told["rows"][1]["errors"]) == {"age"}
    assert told["rows"][2]["warnings"] == ["age 99 is outside the usual range of 22 to 65"]


def test_a_preview_checks_all_rows_and_shows_the_first_100(client: Client) -> None:
    told = previewed(client, ndjson_of(tutors(150)), content_type=NDJSON)
    assert (told["checked"], told["valid"], len(told["rows"])) == (150, 150, 100)


def test_missing_columns_are_previewed_and_refused(client: Client) -> None:
    body = csv_of([{"tutor_id": "A", "name": "B", "age": 30}])
    assert previewed(client, body)["missing_fields"] == ["email", "subjects", "onboarding_date"]
    error = refusal(post(client, PATH, body, CSV), 422)
    assert set(error["fields"]) == {"email", "subjects", "onboarding_date"}
    assert not Upload.objects.exists()


# What is refused.

TUTORS = csv_of(tutors(2))
NUL_CELL = csv_of([tutor(tutor_id="T-1"), tutor(tutor_id="T-2", name="a\0b")])
HOSTILE = {
    "empty": b"",
    "blank": b" \r\n\n ",
    "header only": TUTORS.partition(b"\n")[0],
    "header and empty rows": TUTORS.partition(b"\n")[0] + b"\n\n,,,\n",
    "empty header": b",,,\na,b,c,d",
    "a column without a name": TUTORS.replace(b"name", b"", 1),
    "two columns of one field": TUTORS.replace(b"location", b"Tutor ID", 1),
    "two columns of one name": TUTORS.replace(b"location", b"x", 1).replace(b"age", b"x", 1),
    "no column that fits": b"a,b\n1,2",
    "binary": bytes(range(256)) * 10,
    "zip": b"PK\x03\x04" + bytes(100),
    "UTF-16 that breaks off": TUTORS.decode().encode("utf-16")[:-1],
    "UTF-32": TUTORS.decode().encode("utf-32"),
    "UTF-16 without a mark": TUTORS.decode().encode("utf-16-le"),
    "UTF-8 with a damaged byte": csv_of([tutor(name="Zoë Lefèvre")]).replace(b"Lef", b"Lef\xe9"),
    "a byte that Windows-1252 has not": csv_of([tutor(name="Zoë")]).replace("ë".encode(), b"\x81"),
    "an old Excel file": b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100),
    "UTF-8 that breaks off": csv_of([tutor(name="Zoë")]).strip() + "ë".encode()[:1],
    "10,000 columns": ",".join(f"c{i}" for i in range(10_000)).encode() + b"\n" + b"," * 9_999,
    "a header that never closes": b'"tutor_id,name\n' * 10,
    "half a gzip": gzip.compress(TUTORS)[:-20],
    "a damaged gzip": gzip.compress(TUTORS)[:20] + b"\0" * 100,
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_none_is_refused_and_nothing_kept(client: Client, body: bytes) -> None:
    error = refusal(post(client, PATH, body, CSV), 400)
    assert error["message"]
    assert not Upload.objects.exists() and not Delivery.objects.exists()


@pytest.mark.parametrize("body", [b"1171", b'"text"', b"null", b"[]", b"[1", b"{}{}"])
def test_json_that_is_no_list_is_refused(client: Client, body: bytes) -> None:
    refusal(post(client, PATH, body), 400)
    assert not Upload.objects.exists()


def test_refusals_name_what_is_wrong(client: Client) -> None:
    def message(body: bytes) -> str:
        return str(refusal(post(client, PATH, body, CSV), 400)["message"])

    assert "byte 254" in message(TUTORS[:254] + b"\x81" + TUTORS[255:])
    assert "“a”, “b”" in message(HOSTILE["no column that fits"])
    assert "“tutor_id” and “Tutor ID”" in message(HOSTILE["two columns of one field"])
    assert "Column 2 has no name" in message(HOSTILE["a column without a name"])
    assert "UTF-32" in message(HOSTILE["UTF-32"])


def test_a_line_beyond_a_megabyte_is_refused_by_its_number(client: Client) -> None:
    for body, content_type in [
        (csv_of([*tutors(4), tutor(tutor_id="T-5", name="x" * 1_000_000)]), CSV),
        (ndjson_of([*tutors(5), tutor(name="x" * 1_000_000)]), NDJSON),
    ]:
        error = refusal(post(client, PATH, body, content_type), 413)
        assert "Line 6 has more than 1000000 bytes" in error["message"]
    assert not Upload.objects.exists()


HARMLESS = {
    "a NUL in a late cell": TUTORS + csv_of([tutor(tutor_id="T-3", name="a\0b")]).partition(b"\n")[2],
    "a cell of nearly a megabyte": csv_of([*tutors(2), tutor(tutor_id="T-3", name="x" * 900_000)]),
    "a quote that never closes": TUTORS + b'T-3,"' + b"x\n" * 10,
    "a list nested deep": csv_of([*tutors(2), tutor(tutor_id="T-3", subjects="[" * 5000)]),
    "a number of 5,000 digits": csv_of([*tutors(2), tutor(tutor_id="T-3", age="9" * 5000)]),
    "infinity": csv_of([*tutors(2), tutor(tutor_id="T-3", age="1e999")]),
    "a spreadsheet's error": csv_of([*tutors(2), tutor(tutor_id="T-3", location="#REF!")]),
}


@pytest.mark.parametrize("body", HARMLESS.values(), ids=HARMLESS)
def test_what_is_odd_in_a_row_harms_no_other(client: Client, body: bytes) -> None:
    told = upload(client, body)
    assert told["inserted"] == 2
    assert told["dead"] == told["total"] - 2 > 0
    assert streamed(client.get(told["errors_url"]))
    assert_nothing_vanished()


def test_a_row_over_many_lines_that_never_ends_gives_the_rest_back(client: Client) -> None:
    body = TUTORS + b'T-3,"never closed\r\n' + csv_of(tutors(30_000)).partition(b"\n")[2]
    assert len(body) > 2_000_000
    response = post(client, PATH, body, CSV)
    assert response.json()["uploads"][0]["total"] == 30_003


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/uploads?stream=nothing", 400),
        ("/api/uploads?stream=", 400),
        (f"{PATH}&again=maybe", 400),
        (f"{PATH}&x=1", 400),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(client: Client, path: str, status: int) -> None:
    refusal(post(client, path, TUTORS, CSV), status)
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"stream": "nothing"},
        {"stream": ["tutors", "students"]},
        {"stream": "tutors", "other": "x"},
    ],
)
def test_a_form_that_makes_no_sense_is_refused(client: Client, fields: dict[str, Any]) -> None:
    refusal(client.post("/api/uploads", form(("a.csv", TUTORS), **fields)), 400)


@pytest.mark.parametrize("sent", [csv_of(tutors(3)), csv_of(tutors(3), ";"), ndjson_of(tutors(3))])
def test_the_stream_may_be_absent_where_the_columns_tell_it(client: Client, sent: bytes) -> None:
    assert upload(client, sent, "/api/uploads", "application/octet-stream")["stream"] == "tutors"
    response = client.post("/api/uploads", form(("s.csv", csv_of([session()])), stream=""))
    assert response.json()["uploads"][0]["stream"] == "sessions"


def test_a_stream_that_the_columns_do_not_tell_is_asked_for(client: Client) -> None:
    error = refusal(post(client, "/api/uploads", b"tutor_id,name\nT-1,Ada\n", CSV), 422)
    assert "one of: tutors, students" in error["fields"]["stream"][0]
    assert not Upload.objects.exists()


def test_a_key_for_other_streams_cannot_leave_the_stream_out() -> None:
    client = api(new_key(streams=["students"]))
    refusal(post(client, "/api/uploads", csv_of(tutors(1)), CSV), 403)
    assert not Upload.objects.exists()


def test_a_form_without_a_file_is_refused(client: Client) -> None:
    assert "file" in refusal(client.post("/api/uploads", {"stream": "tutors"}), 400)["fields"]


def test_limits(client: Client, settings: Settings) -> None:
    settings.MAX_UPLOAD_BYTES = len(TUTORS) - 1
    refusal(post(client, PATH, TUTORS, CSV), 413)
    refusal(post(client, PATH, gzip.compress(TUTORS), CSV, headers={"content-encoding": "gzip"}), 413)
    settings.MAX_UPLOAD_BYTES = 10_000_000
    settings.MAX_BODY_BYTES = 1000
    assert "NDJSON" in refusal(post(client, PATH, json.dumps(tutors(9)).encode()), 413)["message"]
    assert post(client, PATH, ndjson_of(tutors(9)), NDJSON).status_code == 201


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/gzip", "application/x-gzip"])
@pytest.mark.parametrize(
    ("name", "body", "kind"),
    [
        ("", csv_of(tutors(3)), "csv"),
        ("", ndjson_of(tutors(3)), "ndjson"),
        ("", json.dumps(tutors(3)).encode(), "json"),
        ("&name=t.json", ndjson_of(tutors(3)), "ndjson"),
        ("&name=t.csv.gz", gzip.compress(csv_of(tutors(3))), "csv"),
        ("&name=t.ndjson", gzip.compress(ndjson_of(tutors(3))), "ndjson"),
    ],
)
def test_a_content_type_that_says_nothing_is_left_to_name_and_beginning(
    client: Client, content_type: str, name: str, body: bytes, kind: str
) -> None:
    assert upload(client, body, PATH + name, content_type)["inserted"] == 3
    assert Upload.objects.get().format == kind


def test_options_of_a_form_belong_in_the_query_string(client: Client) -> None:
    form = {"file": SimpleUploadedFile("t.csv", TUTORS), "again": "true", "colour": "red"}
    error = refusal(client.post(PATH, form), 400)
    assert "?again= in the query string" in error["message"] and "dry_run" not in error["message"]
    assert error["fields"] == {"again": ["belongs in the query string: ?again="], "colour": ["unknown field"]}


def test_other_bodies_are_refused(client: Client) -> None:
    refusal(post(client, PATH, TUTORS, "application/pdf"), 415)
    refusal(post(client, PATH, TUTORS, CSV, headers={"content-encoding": "br"}), 415)
    refusal(post(client, PATH, b"", CSV, headers={"transfer-encoding": "chunked"}, CONTENT_LENGTH=""), 411)


def test_a_full_backlog_refuses_uploads_but_not_previews(client: Client, settings: Settings) -> None:
    from ingestion import backlog

    post(client, "/api/tutors", tutor())
    settings.MAX_PENDING_RECORDS = 1
    backlog.reset_cache()
    assert "records of tutors are pending" in refusal(post(client, PATH, TUTORS, CSV), 503)["message"]
    told = refusal(client.post("/api/uploads", form(("tutors.csv", TUTORS), stream="tutors")), 503)["message"]
    assert "tutors are pending" in told
    assert not Upload.objects.exists()
    assert post(client, f"{PATH}&dry_run=true", TUTORS, CSV).status_code == 200
    assert upload(client, csv_of([student()]), "/api/uploads?stream=students")["inserted"] == 1
    backlog.reset_cache()


# Who may.


def test_a_key_needs_the_scope_and_the_stream() -> None:
    refusal(post(api(new_key(can_ingest=False)), PATH, TUTORS, CSV), 403)
    limited = api(new_key(streams=["students"], can_read=False))
    refusal(post(limited, PATH, TUTORS, CSV), 403)
    refusal(limited.post("/api/uploads", form(("a.csv", TUTORS), stream="tutors")), 403)
    refusal(post(Client(), PATH, TUTORS, CSV), 401)
    assert not Upload.objects.exists()
    assert post(limited, "/api/uploads?stream=students", csv_of([student()]), CSV).status_code == 201
    assert len(limited.get("/api/uploads").json()["results"]) == 1


def test_a_client_sees_its_own_uploads_and_staff_all(client: Client) -> None:
    told = upload(client, TUTORS)
    viewer = browser_of(person("viewer"))
    for path in ("", "/errors"):
        refusal(api().get(f"/api/uploads/{told['id']}{path}"), 404)
        response = viewer.get(f"/api/uploads/{told['id']}{path}")
        assert response.status_code == 200
        assert response.content if not response.streaming else streamed(response)
    assert api().get("/api/uploads").json()["results"] == []


def test_staff_need_the_right(client: Client) -> None:
    viewer, operator = browser_of(person("viewer")), browser_of(person("operator"))
    assert viewer.post(PATH, form(("a.csv", TUTORS))).status_code == 403
    assert operator.post(PATH, form(("a.csv", TUTORS))).status_code == 201
    assert Upload.objects.get().client == "user:operator"


def test_rejected_rows_have_the_words_for_yes_and_no_that_the_file_has(client: Client) -> None:
    def row(key: str, no_show: str) -> bytes:
        return csv_of([session(session_id=key, duration_minutes="long", no_show=no_show)])

    body = row("X-1", "no") + row("X-2", "Yes").split(b"\n", 1)[1]
    first = upload(client, body, PATH.replace("tutors", "sessions"))
    assert first["dead"] == 2
    rejected = read_csv(streamed(client.get(first["errors_url"])))
    assert [row["no_show"] for row in rejected] == ["no", "Yes"]

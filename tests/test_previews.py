"""Previews of files: what they foretell is what happens; alike errors are grouped; columns are mapped as asked."""

from __future__ import annotations

import random
from typing import Any

import pytest
from django.test import Client

from enrichment.models import HeldRecord
from ingestion.models import Upload
from tests.api import NDJSON, api, post, refusal
from tests.commands import run
from tests.files import csv_of, ndjson_of, read_csv, streamed
from tests.records import send, stored, work_off
from tutoring.tests.factories import session, student, tutor

pytestmark = pytest.mark.django_db

CSV = "text/csv"


@pytest.fixture
def client() -> Client:
    return api()


def previewed(client: Client, stream: str, body: bytes, content_type: str = CSV, **query: str) -> Any:
    options = "".join(f"&{name}={value}" for name, value in query.items())
    response = post(client, f"/api/uploads?stream={stream}&dry_run=true{options}", body, content_type)
    assert response.status_code == 200, response.content
    assert not Upload.objects.exists()
    [found] = response.json()["uploads"]
    assert found["checked"] == found["valid"] + found["invalid"]
    assert found["valid"] == sum(found[name] for name in ("inserted", "updated", "stale", "waiting"))
    return found


def imported(client: Client, stream: str, body: bytes, content_type: str = CSV, **query: str) -> Any:
    options = "".join(f"&{name}={value}" for name, value in query.items())
    response = post(client, f"/api/uploads?stream={stream}{options}", body, content_type)
    assert response.status_code == 201, response.content
    work_off()
    return client.get(f"/api/uploads/{response.json()['uploads'][0]['id']}").json()


NEW, OLD = "2025-03-01T00:00:00Z", "2024-06-01T00:00:00Z"


@pytest.mark.parametrize("seed", range(3))
def test_what_it_foretells_is_what_happens(client: Client, seed: int) -> None:
    """Of rows of every kind, mixed: stored, older than what is stored, waiting for a record, and rejected."""
    send("tutors", tutor())
    send("students", student())
    for number in range(20):
        send("sessions", session(session_id=f"S-{number}", updated_at=NEW))
    work_off()
    rows = [
        *(session(session_id=f"new-{i}") for i in range(150)),
        *(session(session_id=f"S-{i}", updated_at=OLD if i < 7 else "2025-03-02T00:00:00Z") for i in range(20)),
        *(session(session_id=f"wait-{i}", tutor_id=f"T-nobody-{i % 3}") for i in range(11)),
        *(session(session_id=f"bad-{i}", duration_minutes=301 + i) for i in range(15)),
        *(session(session_id="twice", updated_at=when) for when in (OLD, NEW, OLD)),
    ]
    random.Random(seed).shuffle(rows)
    found = previewed(client, "sessions", ndjson_of(rows), NDJSON)
    upload = imported(client, "sessions", ndjson_of(rows), NDJSON)
    foretold = {name: found[name] for name in ("inserted", "updated", "stale", "waiting")} | {"dead": found["invalid"]}
    assert foretold == {"inserted": 151, "updated": 13, "stale": 9, "waiting": 11, "dead": 15}
    assert foretold == {name: upload[name] for name in foretold}


def test_alike_errors_are_counted_together_with_samples(client: Client) -> None:
    rows = [tutor(tutor_id=f"T-{i}", age=7 if i % 2 else 30) for i in range(300)]
    found = previewed(client, "tutors", csv_of(rows))
    assert (found["checked"], found["invalid"], found["inserted"], len(found["rows"])) == (300, 150, 150, 100)
    [group] = found["errors"]
    assert (group["field"], group["message"], group["count"]) == ("age", "must be at least 18", 150)
    assert group["samples"] == [{"row": 3 + 2 * i, "id": f"T-{1 + 2 * i}", "value": "7"} for i in range(5)]


def test_errors_within_a_list_are_of_one_kind_wherever_they_stand(client: Client) -> None:
    rows = [tutor(tutor_id=f"T-{i}", subjects=["Algebra"] * i + ["x" * 101]) for i in range(4)]
    found = previewed(client, "tutors", ndjson_of(rows), NDJSON)
    [group] = found["errors"]
    assert (group["field"], group["count"]) == ("subjects", 4)
    assert group["samples"][0]["value"].startswith("xxx") and len(group["samples"][0]["value"]) == 60


def test_the_most_frequent_error_comes_first_and_kinds_are_bounded(client: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr("ingestion.files.checking.MAX_GROUPS", 2)
    changes: list[dict[str, Any]] = [{"age": 7}, {"age": 101}, {"name": ""}]
    rows = [tutor(tutor_id=f"T-{i}", **change) for i, change in enumerate(changes * 2)]
    rows.append(tutor(tutor_id="T-9", name=""))
    found = previewed(client, "tutors", csv_of(rows))
    assert [(group["message"], group["count"]) for group in found["errors"]] == [
        ("of other kinds", 3),
        ("must be at least 18", 2),
        ("must be at most 100", 2),
    ]


def test_references_count_when_stored_or_pending(client: Client) -> None:
    send("tutors", tutor())
    work_off()
    post(client, "/api/students", student())  # pending
    rows = [session(), session(session_id="S-2", student_id="ST-none"), session(session_id="S-3", student_id="ST-none")]
    found = previewed(client, "sessions", csv_of(rows))
    assert (found["inserted"], found["waiting"]) == (1, 2)
    [group] = found["missing_references"]
    assert (group["field"], group["message"], group["count"]) == ("student_id", "student does not exist (yet)", 2)
    assert [sample["value"] for sample in group["samples"]] == ["ST-none", "ST-none"]


def test_a_student_that_is_created_by_us_is_not_missing(client: Client, settings: Any) -> None:
    settings.CREATE_MISSING_STUDENTS = True
    send("tutors", tutor())
    work_off()
    assert previewed(client, "sessions", csv_of([session()]))["inserted"] == 1


def test_alike_warnings_are_counted_together(client: Client) -> None:
    rows = [tutor(tutor_id=f"T-{age}", age=age) for age in (70, 71, 72)]
    found = previewed(client, "tutors", csv_of(rows))
    assert found["with_warnings"] == 3
    [group] = found["warnings"]
    assert (group["message"], group["count"]) == ("age 70 is outside the usual range of 22 to 65", 3)


# Columns mapped as asked.


def people(*columns: str) -> bytes:
    rows = [tutor(tutor_id="T-1"), tutor(tutor_id="T-2", age=7)]
    return csv_of([dict(zip(columns, (row[name] for name in NAMES), strict=True)) for row in rows])


NAMES = ("tutor_id", "name", "email", "subjects", "onboarding_date", "age")
GERMAN = people("Nr", "Name", "E-Mail", "Fächer, alle", "Start: Tag", "Alter")
MAP = "Nr:tutor_id,Fächer, alle:subjects,Start: Tag:onboarding_date,Alter:age"


def test_columns_are_mapped_as_asked_and_said(client: Client) -> None:
    assert refusal(post(client, "/api/uploads?stream=tutors", GERMAN, CSV), 422)["fields"].keys() == {
        "tutor_id",
        "subjects",
        "onboarding_date",
    }
    found = previewed(client, "tutors", GERMAN, map=MAP)
    assert (found["valid"], found["invalid"], found["ignored_columns"]) == (1, 1, [])
    mapped = {"Nr": "tutor_id", "Fächer, alle": "subjects", "Start: Tag": "onboarding_date", "Alter": "age"}
    assert found["mapped_columns"] == mapped
    upload = imported(client, "tutors", GERMAN, map=MAP)
    assert (upload["inserted"], upload["dead"], upload["mapped_columns"]) == (1, 1, mapped)
    assert "“Nr” to tutor_id" in upload["file_warnings"][0]
    stored_tutor: Any = stored("tutors", "T-1")
    assert stored_tutor.age == tutor()["age"]


def test_the_rejected_rows_keep_the_columns_of_the_file(client: Client) -> None:
    upload = imported(client, "tutors", GERMAN, map=MAP)
    body = streamed(client.get(f"/api/uploads/{upload['id']}/errors"))
    [row] = read_csv(body)
    assert list(row) == ["row", "error", "Nr", "Name", "E-Mail", "Fächer, alle", "Start: Tag", "Alter"]
    assert (row["row"], row["Nr"], row["Alter"]) == ("3", "T-2", "7")
    fixed = body.replace(b",7\r\n", b",27\r\n")
    assert imported(client, "tutors", fixed, map=MAP)["inserted"] == 1
    assert not HeldRecord.objects.open().exists()


def test_a_similar_name_is_suggested_and_not_taken(client: Client) -> None:
    body = csv_of([{**student(), "Grade": "7"}])
    body = body.replace(b"grade_level", b"Stufe")
    found = previewed(client, "students", body)
    columns = {each["column"]: (each["field"], each["suggestion"]) for each in found["columns"]}
    assert columns["Grade"] == (None, "grade_level") and columns["Stufe"][1] is None
    assert "Grade" in found["ignored_columns"]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("Nr", "map must be column:field"),
        ("Nr:planet", "map must be column:field"),
        ("No:tutor_id", "The file has no column “No”. Its columns: Nr, Name"),
        ("Nr:name", "“Nr” cannot be mapped to name"),
        ("Name:age", "“Name” cannot be mapped to age"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(client: Client, asked: str, says: str) -> None:
    refused = refusal(post(client, f"/api/uploads?stream=tutors&map={asked}", GERMAN, CSV), 400)
    assert refused["message"].startswith(says)
    assert "map" in refused["fields"]


def test_a_long_mapping_takes_no_time(client: Client) -> None:
    refusal(post(client, f"/api/uploads?stream=tutors&map={'a:name,' * 500}x", GERMAN, CSV), 400)


def test_an_interrupted_upload_is_not_continued_with_another_mapping(client: Client) -> None:
    imported(client, "tutors", GERMAN, map=MAP)
    Upload.objects.update(finished_at=None)
    other = MAP.replace(",Alter:age", "")
    refused = refusal(post(client, f"/api/uploads?stream=tutors&map={other}", GERMAN, CSV), 409)
    assert "with other columns mapped" in refused["message"]
    assert post(client, f"/api/uploads?stream=tutors&map={MAP}", GERMAN, CSV).status_code == 201


def test_the_command_maps_and_checks_all_rows(tmp_path: Any) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(GERMAN.replace(b"Alter", b"Agee"))
    mapping = MAP.removesuffix(",Alter:age")
    printed = run("ingest_file", str(file), "--stream=tutors", f"--map={mapping}", "--dry-run")
    assert "Column Nr → field tutor_id\n" in printed
    assert "Column Agee is not mapped: age? (see --map)\n" in printed
    printed = run("ingest_file", str(file), "--stream=tutors", f"--map={mapping},Agee:age", "--dry-run")
    assert "Of 2 rows 1 would be stored (1 inserted, 0 updated)" in printed and "1 would be rejected" in printed
    assert "1 × age: must be at least 18: row 3 (7)\n" in printed
    assert "2 rows imported" in run("ingest_file", str(file), "--stream=tutors", f"--map={mapping},Agee:age")

"""The history of exports, and of looks at payloads of failed records."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from enrichment import retention
from enrichment.models import DataAccess, HeldRecord
from enrichment.rows.access import Export
from enrichment.rows.writers import Csv, download
from tests.api import api, new_key, post
from tests.files import csv_of
from tests.held import hold
from tests.people import browser_of, person, text_of
from tests.records import send, work_off
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.django_db

PAGE = "/admin/enrichment/dataaccess/"
EXPORT, PAYLOAD = "export", "payload"


def found() -> list[tuple[Any, ...]]:
    """What is in the history, in order; and forgets it."""
    columns = ("by", "kind", "what", "record", "query", "format", "rows")
    rows = list(DataAccess.objects.order_by("pk").values_list(*columns))
    DataAccess.objects.all().delete()
    return rows


@pytest.fixture
def tutors() -> None:
    send("tutors", *(tutor(tutor_id=f"T-{number}", age=30 + number) for number in range(3)))


@pytest.mark.usefixtures("tutors")
def test_an_export_by_a_key_is_in_the_history_with_its_filter_and_rows() -> None:
    client, key = api(first := new_key()), f"key:{first.partition('.')[0]}"
    assert client.get("/api/tutors").status_code == client.head("/api/tutors?format=csv").status_code == 200
    assert client.get("/api/tutors?format=csv&age_min=none").status_code == 400
    assert found() == []
    response = client.get("/api/tutors?format=csv&age_min=31")
    assert [row[6] for row in DataAccess.objects.values_list()] == [{"format": "csv", "age_min": "31"}]
    assert len(b"".join(response).splitlines()) == 3
    assert found() == [(key, EXPORT, "tutors", None, {"format": "csv", "age_min": "31"}, "csv", 2)]
    b"".join(client.get("/api/dead-letters", headers={"accept": "application/x-ndjson"}))
    assert found() == [(key, EXPORT, "dead-letters", None, {}, "ndjson", 0)]


def test_one_that_its_reader_breaks_off_is_there_before_the_first_row() -> None:
    export = Export(by="user:anna", what="tutors", form="csv")
    chunks = iter([["one", "two"], ["three"], ["four"]])
    response: Any = download(lambda: map("".join, export.counting(chunks)), Csv(), "tutors", export)
    assert DataAccess.objects.get().rows is None
    assert next(iter(response.streaming_content)) == b"onetwo"
    for close in response._resource_closers:
        close()
    assert DataAccess.objects.get().rows == 2


@pytest.mark.usefixtures("tutors")
def test_exports_of_people_and_commands_are(tmp_path: Path) -> None:
    viewer = browser_of(person("viewer"))
    b"".join(viewer.get(reverse("admin:tutoring_tutor_export"), {"format": "ndjson", "q": "T-1"}))
    assert found() == [("user:viewer", EXPORT, "tutors", None, {"q": "T-1"}, "ndjson", 1)]
    hold()
    b"".join(viewer.get(reverse("admin:enrichment_deadletter_export"), {"code": "invalid"}))
    assert found() == [
        ("user:viewer", EXPORT, "dead letters", None, {"code": "invalid", "status": "dead"}, "csv", 1),
    ]
    call_command("export_data", "--stream=tutors", "--format=csv", f"--out={tmp_path / 'a.csv'}", "--filter=age=31")
    assert found() == [("command", EXPORT, "tutors", None, {"filter": "age=31"}, "csv", 1)]


def test_rejected_rows_are_too() -> None:
    csv = csv_of([tutor(email="nobody"), tutor(tutor_id="T-2")])
    answer = post(api(key := new_key()), "/api/uploads?stream=tutors", csv, "text/csv")
    (upload,) = answer.json()["uploads"]
    work_off()
    b"".join(api(key).get(f"/api/uploads/{upload['id']}/errors"))
    expected = f"rejected rows of upload {upload['id']} (tutors)"
    assert [(row[2], row[5], row[6]) for row in found()] == [(expected, "csv", 1)]


def test_looks_of_people_at_payloads_are() -> None:
    held = hold()
    operator = browser_of(person("operator"))
    for page in ("change", "fix"):
        assert operator.get(reverse(f"admin:enrichment_deadletter_{page}", args=[held.pk])).status_code == 200
        assert found() == [("user:operator", PAYLOAD, "tutors", held.pk, {}, "", None)]
    fix_page = reverse("admin:enrichment_deadletter_fix", args=[held.pk])
    assert "17" in text_of(operator.post(fix_page, {"payload": "{}", "payload_version": 0, "_check": "1"}))
    assert found() == [("user:operator", PAYLOAD, "tutors", held.pk, {}, "", None)]  # beside what was sent
    change = {
        "operation": "set",
        "field": "age",
        "value": "20",
        "written_as": "text",
        "stream": "tutors",
        "action": "fix",
        "_selected_action": held.pk,
    }
    operator.post(reverse("admin:enrichment_deadletter_changelist"), change)
    assert found() == [
        ("user:operator", PAYLOAD, "tutors", None, {"ids": f"[{held.pk}]", "stream": "tutors"}, "", None)
    ]
    operator.get(reverse("admin:ingestion_delivery_change", args=[held.delivery_id]))
    assert found() == [("user:operator", PAYLOAD, "tutors", None, {"delivery": str(held.delivery_id)}, "", None)]
    assert operator.get("/api/dead-letters").status_code == 200
    assert found() == []
    assert operator.get("/api/dead-letters?payload=true&code=invalid").json()["results"]
    query = {"payload": "true", "code": "invalid"}
    assert found() == [("user:operator", PAYLOAD, "dead-letters", None, query, "", None)]
    HeldRecord.objects.update(client=f"key:{(key := new_key()).partition('.')[0]}")
    assert api(key).get("/api/dead-letters?payload=true").json()["results"]
    assert found() == []  # a client reads what it has sent itself


def test_administrators_read_it_and_nobody_else() -> None:
    held = hold()
    administrator = browser_of(person("administrator"))
    administrator.get(reverse("admin:enrichment_deadletter_change", args=[held.pk]))
    text = text_of(administrator.get(PAGE))
    for part in (f"failed record {held.pk}", "failed payload", "?by=user%3Aadministrator", "administrator"):
        assert part in text
    row = DataAccess.objects.get()
    assert administrator.get(f"{PAGE}{row.pk}/change/").status_code == 200
    assert "No data access matches." in text_of(administrator.get(f"{PAGE}?by=user%3Aanna"))
    for name in ("viewer", "operator"):
        assert browser_of(person(name)).get(PAGE).status_code == 403
    assert administrator.post(f"{PAGE}{row.pk}/delete/", {"post": "yes"}).status_code == 403


def test_retention_deletes_it() -> None:
    for days in (31, 1):
        row = DataAccess.objects.create(by="command", kind=EXPORT, what="tutors")
        DataAccess.objects.filter(pk=row.pk).update(at=timezone.now() - timedelta(days=days))
    run = retention.run_to_completion(retention.create_run(by="test"))
    assert (run.deleted["data access"], DataAccess.objects.count()) == (1, 1)

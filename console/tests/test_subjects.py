"""The page of personal data: found by an ID, downloaded, erased behind a typed confirmation, and stored again."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from enrichment import tasks
from enrichment.models import DataAccess, Erasure
from ingestion.models import Suppression
from ingestion.subjects import suppression
from tests.files import streamed
from tests.held import hold, valid
from tests.people import text_of
from tests.records import send, stored

pytestmark = pytest.mark.django_db(transaction=True)

ZOE = {"kind": "student", "key": "ST-zoe"}
CONFIRMED = {**ZOE, "confirmation": "ST-zoe", "reason": "ST-zoe asked for it."}


@pytest.fixture(autouse=True)
def zoe() -> None:
    suppression.reset_cache()
    send("students", valid("students", student_id="ST-zoe", name="Zoe Quill"), valid("students", student_id="ST-2"))


def words_of(response: Any) -> str:
    """What a person reads."""
    return " ".join(re.sub(r"<[^>]*>", " ", text_of(response)).split())


def post(client: Client, name: str, data: dict[str, str], *args: Any) -> Any:
    return client.post(reverse(f"admin:enrichment_erasure_{name}", args=args), data)


def test_a_person_is_found_by_the_id_and_downloaded(administrator: Client) -> None:
    words = words_of(administrator.get(reverse("admin:enrichment_erasure_changelist")))
    assert "Find a person" in words and "Nobody has been erased." in words
    words = words_of(post(administrator, "person", ZOE))
    assert "stored students 1" in words and "records in deliveries 1" in words and "at least" not in words
    assert "Nothing. Is the ID right?" in words_of(post(administrator, "person", {**ZOE, "key": "ST-3"}))
    assert "The key is empty." not in words_of(post(administrator, "person", {**ZOE, "key": " "}))
    response = post(administrator, "archive", ZOE)
    assert response["Content-Disposition"] == 'attachment; filename="student-ST-zoe.zip"'
    with zipfile.ZipFile(io.BytesIO(streamed(response))) as zipped:
        assert {"stored_students.ndjson", "README.txt"} <= {*zipped.namelist()}
    access = DataAccess.objects.get()
    assert (access.by, access.what, access.query) == (
        "user:administrator",
        "everything about a student",
        {"key": "ST-zoe"},
    )
    assert access.rows == 5 and access.format == "zip"  # two records, and what the history says of them, as of this one
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr) == ("ST-zoe", "ST-zoe")
    assert entry.change_message == "Downloaded everything that is held about this student."


def test_who_erases_types_the_id_and_a_reason(administrator: Client) -> None:
    for missing in ({"confirmation": "ST-2"}, {"reason": " "}):
        words = words_of(post(administrator, "erase", {**CONFIRMED, **missing}))
        assert "This is not the ID." in words or "This field is required." in words
    assert not Erasure.objects.exists() and not Suppression.objects.exists()


def test_the_workers_erase_and_the_page_shows_how_far_they_are(administrator: Client) -> None:
    post(administrator, "archive", ZOE).close()
    page = post(administrator, "erase", CONFIRMED)["Location"]
    erasure = Erasure.objects.get()
    words = words_of(administrator.get(page))
    assert "in progress: search" in words and "Records about this student are refused." in words
    assert "No workers running." in words
    tasks.drain(60)
    erasure.refresh_from_db()
    assert erasure.finished_at and erasure.by == "user:administrator"
    response = administrator.get(page)
    words = words_of(response)
    assert "erased" in words and "students 1" in words and "tutoring_student.student_id 1" in words
    assert b"data-refresh" not in response.content and "Found afterwards" in words and "Nowhere." in words
    assert "(erased) asked for it." in words and "ST-zoe" not in words and "Zoe" not in words
    listed = words_of(administrator.get(reverse("admin:enrichment_erasure_changelist")))
    assert DataAccess.objects.get().query == {"key": "(erased)"}
    assert "students: 1" in listed and "records in deliveries: 1" in listed and "ST-zoe" not in listed
    assert {entry.object_repr for entry in LogEntry.objects.all()} == {"(erased)", f"erasure {erasure.pk}"}
    assert "Erased. Records about this student are refused." in words_of(post(administrator, "person", ZOE))
    post(administrator, "archive", ZOE).close()  # of somebody erased, the history has the hash alone
    label = f"hash {erasure.digest[:12]}"
    assert DataAccess.objects.latest("pk").query == {"key": label} and LogEntry.objects.latest("pk").object_id == label


def test_what_is_left_leads_to_the_records_that_have_it(administrator: Client) -> None:
    send("students", valid("students", student_id="ST-3", name="Zoe Quill"))
    hold(valid("students", student_id="ST-4", name="Zoe Quill", age=7), stream="students")
    page = post(administrator, "erase", CONFIRMED)["Location"]
    tasks.drain(60)
    response = administrator.get(page)
    link = f'<a href="{reverse("admin:tutoring_student_change", args=["ST-3"])}">ST-3</a>'
    assert link in text_of(response) and "Student: name ST-3 the name" in words_of(response)
    assert "Failed record: payload" in words_of(response)


def test_records_are_stored_again_when_an_administrator_says_so(administrator: Client) -> None:
    post(administrator, "erase", CONFIRMED)
    tasks.drain(60)
    erasure = Erasure.objects.get()
    page = post(administrator, "lift", {}, erasure.pk)["Location"]
    words = words_of(administrator.get(page))
    assert (
        "Stored again" in words
        and "are refused" not in words
        and re.search("Stored again [^·]* · administrator ", words)
    )
    send("students", valid("students", student_id="ST-zoe"))
    assert stored("students", "ST-zoe")
    assert LogEntry.objects.filter(object_id=str(erasure.pk)).count() == 2


def test_the_list_takes_the_same_statements_however_many(administrator: Client) -> None:
    page = reverse("admin:enrichment_erasure_changelist")
    with CaptureQueriesContext(connection) as none:
        administrator.get(page)
    Erasure.objects.bulk_create([Erasure(kind="student", digest=str(n), stage="history") for n in range(9)])
    with CaptureQueriesContext(connection) as nine:
        administrator.get(page)
    assert len(nine) <= len(none) + 1


@pytest.mark.parametrize("who", ["operator", "viewer"])
def test_nobody_else_may(who: str, request: pytest.FixtureRequest) -> None:
    client: Client = request.getfixturevalue(who)
    for name in ("person", "archive", "erase"):
        assert post(client, name, CONFIRMED).status_code == 403
    assert client.get(reverse("admin:enrichment_erasure_changelist")).status_code == 403
    assert "Personal data" not in words_of(client.get("/admin/"))
    assert stored("students", "ST-zoe") and not Erasure.objects.exists()

"""The lists of stored records as files: the rows of the list, with the columns of the API."""

import csv
import json
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from enrichment.rows import ordering as pagination
from enrichment.rows.reading import names_of
from ingestion.streams import get
from tests.people import browser_of, person, text_of
from tests.records import send
from tutoring.models import Tutor
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db

SESSIONS = "/admin/tutoring/tutoringsession/"
TUTORS = "/admin/tutoring/tutor/"


@pytest.fixture
def records() -> None:
    send("tutors", tutor(), tutor(tutor_id="T-2"))
    send("students", student())
    send(
        "sessions",
        session(),
        session(session_id="S-2", late_start_minutes=6),
        session(session_id="X-3", tutor_id="T-2"),
    )
    send("feedback", feedback())


def exported(client: Client, page: str, **query: str) -> Any:
    response = client.get(f"{page}export/", query)
    assert response.status_code == 200, response.content[:2000]
    return response


def text(response: Any) -> str:
    return b"".join(response.streaming_content).decode()


def rows(client: Client, page: str, **query: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text(exported(client, page, format="ndjson", **query)).splitlines()]


@pytest.mark.usefixtures("records")
def test_the_columns_are_the_apis(viewer: Client) -> None:
    pages = {"tutors": "tutor", "students": "student", "sessions": "tutoringsession", "feedback": "feedback"}
    for stream, model in ((get(name), model) for name, model in pages.items()):
        page = f"/admin/tutoring/{model}/"
        header, *cells = csv.reader(text(exported(viewer, page, format="csv")).removeprefix("\ufeff").splitlines())
        assert header == names_of(stream)
        found = rows(viewer, page)
        assert list(found[0]) == names_of(stream)
        assert len(cells) == len(found) == stream.model._default_manager.count()
        api = viewer.get(f"/api/{stream.name}?format=ndjson&ordering=-{stream.key}")
        assert sorted(map(str, found)) == sorted(map(str, map(json.loads, text(api).splitlines())))


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ({}, ["X-3", "S-3001", "S-2"]),  # as the list has them
        ({"is_late_start__exact": "1"}, ["S-2"]),
        ({"tutor_id": "T-2"}, ["X-3"]),
        ({"q": "S-"}, ["S-3001", "S-2"]),
        ({"q": "S-", "is_late_start__exact": "0", "p": "1"}, ["S-3001"]),
        ({"warnings": "some"}, []),
        ({"time_of_day__exact": "afternoon"}, ["X-3", "S-3001", "S-2"]),
    ],
)
@pytest.mark.usefixtures("records")
def test_the_rows_are_the_lists(viewer: Client, query: dict[str, str], keys: list[str]) -> None:
    assert [row["session_id"] for row in rows(viewer, SESSIONS, **query)] == keys


@pytest.mark.usefixtures("records")
def test_the_list_leads_to_its_own_export(viewer: Client) -> None:
    page = text_of(viewer.get(SESSIONS, {"is_late_start__exact": "1", "p": "1"}))
    assert f'href="{SESSIONS}export/?is_late_start__exact=1&amp;format=csv"' in page
    assert "Export these as NDJSON" in page
    assert "Export all as CSV" in text_of(viewer.get(SESSIONS))
    assert "Export" not in text_of(viewer.get(SESSIONS, {"q": "nothing"})).partition('id="changelist"')[0]


@pytest.mark.usefixtures("records")
def test_a_file_is_named_after_stream_and_day(viewer: Client) -> None:
    response = exported(viewer, SESSIONS, format="csv")
    day = timezone.localdate().isoformat()
    assert response["Content-Disposition"] == f'attachment; filename="sessions-{day}.csv"'
    assert response["Content-Type"].startswith("text/csv")
    assert viewer.head(f"{SESSIONS}export/", {"format": "csv"}).status_code == 200


def test_a_spreadsheet_computes_nothing_and_our_reader_takes_it_back(operator: Client) -> None:
    send("tutors", tutor(name="=HYPERLINK(1)", subjects=["-Algebra", "Physics"], location="-5"))
    (row,) = csv.DictReader(text(exported(operator, TUTORS, format="csv")).splitlines())
    assert (row["name"], row["subjects"], row["location"]) == ("¬=HYPERLINK(1)", "¬-Algebra;Physics", "¬-5")
    assert rows(operator, TUTORS)[0]["name"] == "=HYPERLINK(1)"


@pytest.mark.usefixtures("records")
def test_what_makes_no_sense_is_refused(viewer: Client) -> None:
    assert viewer.get(f"{SESSIONS}export/").status_code == 400
    assert viewer.get(f"{SESSIONS}export/", {"format": "xlsx"}).status_code == 400
    assert viewer.get(f"{SESSIONS}export/", {"format": "csv", "nonsense": "1"}).status_code == 400
    assert viewer.get(f"{SESSIONS}export/", {"format": "csv", "tutor__name__regex": "(a+)+"}).status_code == 400
    assert viewer.post(f"{SESSIONS}export/", {"format": "csv"}).status_code == 405


@pytest.mark.usefixtures("records")
def test_who_may_not_see_the_list_exports_nothing() -> None:
    assert browser_of(person()).get(f"{SESSIONS}export/", {"format": "csv"}).status_code == 403
    assert Client().get(f"{SESSIONS}export/", {"format": "csv"}).status_code == 302


def test_all_is_read_in_chunks(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    send("tutors", *[tutor(tutor_id=f"T-{number:02}") for number in range(25)])
    monkeypatch.setattr(pagination.in_chunks, "__defaults__", (10,))
    response = exported(viewer, TUTORS, format="ndjson")
    with CaptureQueriesContext(connection) as queries:
        parts = list(response.streaming_content)
    assert [part.count(b"\n") for part in parts] == [10, 10, 5]
    assert len(queries) == 3  # the first chunk was read before the answer began; the history gets the number of rows
    assert b"".join(parts).count(b"tutor_id") == Tutor.objects.count() == 25
    assert get("tutors").key == "tutor_id"

"""Rows whose personal fields hold marks that stand nowhere else, in every place and state, for tests of masking."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from enrichment.models import BulkAction, Failure, HeldRecord
from ingestion import streams
from ingestion.models import Delivery, Upload
from ingestion.payloads import ascii_json, deflate
from ingestion.streams import Context, all_readables, get
from tests.files import csv_of
from tests.held import hold
from tests.people import browser_of, person
from tests.personal import finish, upload
from tests.records import deliver, send
from tutoring.tests.factories import feedback, session, student, tutor

MARK = "z-q-x"
"""In every mark, and in nothing else, not even in a token."""
_made: list[str] = []


def mark(where: str) -> str:
    """A text that is found again; `where` tells a person what it stands for."""
    text = f"{MARK}{len(_made)}{where}"
    _made.append(text)
    return text


def made() -> list[str]:
    return list(_made)


def marked_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that a page, a list or a file may show, made as it comes about."""
    _made.clear()
    _stored()
    _failed()
    _fails_in_the_engine(monkeypatch)
    _uploaded()
    _acted_upon()
    _pending()


def _stored() -> None:
    send("tutors", tutor(name=mark("name"), email=f"{mark('mail')}@example.com"))
    send("tutors", tutor(tutor_id="T-2", name=mark("name"), **{mark("member"): mark("value")}), keep_invalid=True)
    send("students", student(name=mark("name")))
    send("sessions", session(), session(session_id="S-2", tutor_id="T-2"))
    send("feedback", feedback(free_text_feedback=mark("comment"), improvement_areas=[mark("area")]))
    entry = get("entries").example
    upload("entries", [{**entry, "kind": "reviews", "review": mark("review"), "tags": [mark("tag")]}])
    send("listens", get("listens").example)


def _failed() -> None:
    """Invalid in personal fields, in others that hold a name in their stead, as a whole; and waiting."""
    long = f"{mark('long')}{'x' * 300}"
    faults: list[dict[str, Any]] = [
        {"email": mark("nomail"), "name": mark("name")},
        {"name": long, "age": 7},
        {"name": [mark("listed")]},
        {"email": {"at": mark("inner")}},
        {"status": mark("status")},
        {"subjects": mark("nolist")},
        {"subjects": [[mark("nested")]]},
        {"age": mark("age"), mark("member"): mark("value")},
    ]
    for number, wrong in enumerate(faults):
        send("tutors", tutor(tutor_id=f"D-{number}", **wrong), keep_invalid=True)
    send("tutors", mark("text"), [mark("list")], {"name": mark("nokey")}, keep_invalid=True)
    send("students", student(student_id="D-1", age=1, name=mark("name")), keep_invalid=True)
    poor = {"overall_rating": 9, "free_text_feedback": mark("comment"), "improvement_areas": [mark("area")]}
    send("feedback", feedback(feedback_id="D-1", **poor), keep_invalid=True)
    send("feedback", feedback(feedback_id="W-1", session_id="S-9", free_text_feedback=mark("waits")))
    entry = get("entries").example
    send("entries", {**entry, "year": -1, "review": mark("review"), "tags": [mark("tag")]}, keep_invalid=True)
    send("listens", {**get("listens").example, "ms_played": -1, "username": mark("member")}, keep_invalid=True)
    hold({"name": mark("gone")}, stream="nothing")


def _fails_in_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    real = get("students")

    def enrich(record: Any, context: Context) -> dict[str, Any]:
        if record.student_id == "D-2":
            raise ValueError(f"What is {record.name}?")
        return dict(real.enrich(record, context))

    monkeypatch.setitem(streams._streams, "students", replace(real, enrich=enrich))
    send("students", student(student_id="D-2", name=mark("raised")))
    refused = {"name": [f"{mark('quoted')} is not allowed"]}
    hold(code=HeldRecord.Code.CONSTRAINT, messages=refused, message="name: cannot be stored (check)", key="D-3")
    Failure.objects.filter(code=HeldRecord.Code.CONSTRAINT).update(traceback=f"It was {mark('traced')}.")


def _uploaded() -> None:
    good, bad = student(student_id="U-1", name=mark("good")), student(student_id="U-2", name=mark("bad"), age=1)
    file = csv_of([good, bad, {**bad, "student_id": "U-3", "grade_level": mark("shifted"), "more": mark("cells")}])
    browser = browser_of(person("operator"))
    path = "/api/uploads?stream=students&missing=clear"
    assert browser.generic("POST", path, file, "text/csv").status_code == 201
    finish()


def _acted_upon() -> None:
    """By hand, and in bulk."""
    operator = Client()
    operator.force_login(person("operator", "viewer"))
    record = hold(key="F-1")
    payload = ascii_json(tutor(tutor_id="F-1", name=mark("typed")))
    operator.post(f"/admin/enrichment/deadletter/{record.pk}/fix/", {"payload": payload, "payload_version": "0"})
    fixed = hold(tutor(email="none", name=mark("fixed")), key="F-2", payload_version=1)
    HeldRecord.objects.filter(pk=fixed.pk).update(original_payload=f'{{"name":"{mark("original")}"}}')
    changes: list[dict[str, Any]] = [
        {"operation": "set", "field": "name", "value": f'"{mark("set")}"'},
        {"operation": "replace", "field": "status", "old": f'"{mark("old")}"', "value": '"active"'},
    ]
    for change in changes:
        action = BulkAction.objects.create(
            kind="fix", by="user:operator", filter={"stream": "tutors"}, change=change, reason=mark("reason"), total=2
        )
        action.acted_on.add(fixed)
    BulkAction.objects.update(last_error=f"ValueError: {mark('step')}")
    gone = hold(key="F-3", status="discarded", discard_reason=mark("discarded"))
    BulkAction.objects.create(kind="discard", by="user:operator", reason=mark("why")).acted_on.add(gone)


def _pending() -> None:
    """Kept, and not processed: as JSON, as lines, deflated, and failing."""
    deliver("tutors", tutor(tutor_id="P-1", name=mark("pending")))
    lines = b"\n".join(b'{"tutor_id":"P-%d","name":"%s"}' % (n, mark("line").encode()) for n in range(2, 4))
    usual = {"stream": "tutors", "client": "key:abc", "count": 2, "format": Delivery.Format.NDJSON}
    Delivery.objects.create(body=lines, size=len(lines), **usual)
    Delivery.objects.create(body=deflate(lines), size=len(lines), is_deflated=True, **usual)
    broken = f"store: DataError: {mark('error')}"
    Delivery.objects.create(body=b"\xff" + mark("broken").encode(), size=9, last_error=broken, **usual)


def api_paths() -> Iterator[str]:
    """Lists, rows and files of the API, in all formats."""
    for readable in all_readables():
        path = f"/api/{readable.name}"
        keys = readable.model._default_manager.values_list("pk", flat=True)
        yield from (f"{path}?format={form}" for form in ("json", "csv", "ndjson"))
        yield from (f"{path}/{key}" for key in list(keys)[:3])
    for status in HeldRecord.Status.values:
        for form in ("json", "csv", "ndjson"):
            yield f"/api/dead-letters?status={status}&payload=true&format={form}"
    yield "/api/deliveries?format=csv"
    yield from (f"/api/deliveries/{pk}" for pk in Delivery.objects.values_list("pk", flat=True))
    yield "/api/uploads"
    for pk in Upload.objects.values_list("pk", flat=True):
        yield from (f"/api/uploads/{pk}", f"/api/uploads/{pk}/errors", f"/api/session/{pk}/status")
    yield from ("/api/stats", "/api/queue/stats", "/api/worker", "/worker/status", "/metrics", "/health", "/")

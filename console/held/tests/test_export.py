"""Held records to be downloaded: what the filter chooses and no more, harmless to a spreadsheet, in constant memory."""

import csv
import io
import json
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from console.held import export as held_export
from enrichment.models import HeldRecord
from tests.held import hold, key_named, valid, wait
from tests.held_pages import DEAD
from tests.people import browser_of, person, text_of

pytestmark = pytest.mark.django_db

EXPORT = f"{DEAD}export/"
NDJSON = f"{EXPORT}ndjson/"


def body(client: Client, page: str, **query: str) -> str:
    response: Any = client.get(page, query)
    assert response.status_code == 200
    return b"".join(response.streaming_content).decode()


def exported(client: Client, **query: str) -> list[dict[str, str]]:
    text = body(client, EXPORT, **query)
    assert text[0] == "\ufeff"
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


def test_everything_about_a_held_record_is_exported(operator: Client) -> None:
    key = key_named("Northern schools")
    record = hold(key="T-1", client=f"key:{key.client}", attempts=3, messages={"email": ["a", "b"], "age": ["c"]})
    wait()
    [row] = exported(operator)
    assert row == {
        "number": str(record.pk),
        "stream": "tutors",
        "key": "T-1",
        "status": "dead",
        "stage": "validate",
        "code": "invalid",
        "messages": row["messages"],
        "held_at": record.held_at.isoformat().replace("+00:00", "Z"),
        "attempts": "3",
        "sent_by": "Northern schools",
        "client": f"key:{key.client}",
        "delivery": str(record.delivery_id),
        "position": "0",
        "payload": record.payload,
    }
    assert set(row["messages"].split("; ")) == {"email: a b", "age: c"}
    [line] = body(operator, NDJSON).splitlines()
    told = json.loads(line)
    assert (told["messages"], told["payload"]) == ({"email": ["a", "b"], "age": ["c"]}, json.loads(record.payload))
    assert list(told) == list(row)


def test_the_file_is_named_after_the_list_and_the_day(viewer: Client) -> None:
    day = timezone.localdate()
    response = viewer.get("/admin/enrichment/waitingrecord/export/")
    assert response["Content-Disposition"] == f'attachment; filename="waiting-records-{day}.csv"'
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert viewer.get(NDJSON)["Content-Disposition"] == f'attachment; filename="dead-letters-{day}.ndjson"'


def test_the_list_links_to_the_export_of_what_it_shows(viewer: Client) -> None:
    hold(code="conflict", key="a")
    hold(key="b")
    text = text_of(viewer.get(DEAD, {"code": "conflict", "q": "a"}))
    assert 'href="export/?code=conflict&amp;q=a"' in text
    assert 'href="export/ndjson/?code=conflict&amp;q=a"' in text
    assert [row["key"] for row in exported(viewer, code="conflict", q="a")] == ["a"]
    assert exported(viewer, q="nobody") == []


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_chunks_lose_nothing(viewer: Client, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(held_export, "CHUNK", chunk)
    monkeypatch.setattr(held_export, "MAX_BYTES", 2000)
    records = [hold({"name": "x" * size}) for size in (10, 5000, 10, 900, 900, 900, 10)]
    assert [row["number"] for row in exported(viewer)] == [str(record.pk) for record in reversed(records)]


def test_a_chunk_holds_no_more_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_export, "MAX_BYTES", 2000)
    for size in (10, 5000, 10, 900, 900, 900, 10):
        hold({"name": "x" * size})
    chunks = list(held_export._chunks(HeldRecord.objects.all()))
    assert [len(chunk) for chunk in chunks] == [3, 2, 1, 1]
    assert max(sum(len(item["payload"]) for item in chunk) for chunk in chunks if len(chunk) > 1) <= 2000


HOSTILE = ["=1+1", "@SUM(A1)", "+1+1", "\t=1", "-2+3", "\r=x", "\u202etxt.exe", "a\u2066b", "x\ud800"]


def test_nothing_in_it_is_computed_or_turns_the_text(viewer: Client) -> None:
    for text in HOSTILE:
        key = text.replace("\ud800", "�")
        hold({"name": text}, key=key, messages={key: [key]}, client=f"user:{key}")
    rows = exported(viewer)
    assert len(rows) == len(HOSTILE)
    for row in rows:
        for cell in row.values():
            assert cell.isprintable(), cell
            assert cell[:1] not in ("=", "+", "@", "-"), cell
    assert "\u202e" not in body(viewer, NDJSON)


def test_what_is_no_json_any_more_is_exported_as_it_is(operator: Client) -> None:
    hold('{"a":NaN}')
    assert json.loads(body(operator, NDJSON))["payload"] == '{"a":NaN}'


@pytest.mark.parametrize("name", [EXPORT, NDJSON])
def test_only_who_may_see_them_may_export_and_only_by_get(viewer: Client, name: str) -> None:
    hold(valid())
    assert browser_of(person()).get(name).status_code == 403
    assert Client().get(name).status_code == 302
    assert viewer.post(name).status_code == 403


@pytest.mark.parametrize("query", ["age=2h", "delivery=x", "upload=x"])
def test_a_value_that_no_action_accepts_is_refused(viewer: Client, query: str) -> None:
    assert viewer.get(f"{EXPORT}?{query}").status_code == 400


def test_there_is_no_other_format(viewer: Client) -> None:
    assert viewer.get(f"{EXPORT}xlsx/").status_code == 400

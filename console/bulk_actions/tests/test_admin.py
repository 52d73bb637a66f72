"""The list and the pages of bulk actions: how far each is, and what came of it."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from console.bulk_actions import page as bulk_action_page
from console.bulk_actions.admin import list_pages
from enrichment.held import bulk_actions
from enrichment.models import BulkAction, HeldRecord
from ingestion import doorbell
from ingestion.models import Delivery, PausedStream
from tests.held import discard, hold, reprocess, valid, wait
from tests.people import browser_of, person, words_of
from tests.records import work_off as work

pytestmark = pytest.mark.django_db

BULK_ACTIONS = "/admin/enrichment/bulkaction/"


def page_of(client: Client, bulk_action: BulkAction) -> str:
    return unescape(words_of(client.get(f"{BULK_ACTIONS}{bulk_action.pk}/change/")))


def test_a_bulk_action_tells_what_came_of_it(viewer: Client) -> None:
    records = [hold() for _ in range(3)]
    bulk_action = reprocess({"status": "dead", "stream": "tutors"}, by="user:ann")
    delivery = bulk_action.deliveries.get()
    Delivery.objects.filter(pk=delivery.pk).update(inserted=1, held=1)
    assert bulk_action.count == len(records)
    for page in (BULK_ACTIONS, f"{BULK_ACTIONS}{bulk_action.pk}/change/"):
        text = words_of(viewer.get(page))
        assert "user:ann" in text
        assert "dead letters of tutors" in text
        assert "1 inserted · 1 failed again · 1 pending" in text
    assert f'href="/admin/ingestion/delivery/{delivery.pk}/change/"' in text


def test_it_tells_each_phase_and_stops_asking_when_it_is_done(viewer: Client, small_steps: None) -> None:
    for number in range(2):
        hold(valid(tutor_id=f"G-{number}"), key=f"G-{number}")
    bad = hold(key="B-1")
    bulk_action = bulk_actions.create(BulkAction.Kind.REPROCESS, {"status": "dead"}, by="user:ann")
    text = page_of(viewer, bulk_action)
    assert "running" in text and "0 of 3" in text and 'data-refresh="2"' in text
    assert "No workers running" in text
    doorbell.acknowledge()
    assert "In progress: 3 left to reprocess" in page_of(viewer, bulk_action)
    bulk_actions.run_next_step(BulkAction.objects.all())
    text = page_of(viewer, bulk_action)
    assert "2 of 3" in text and "0 of 2" in text
    assert "In progress: 1 left to reprocess · 2 left to process" in text
    assert "1,000" not in text and "queued" in text
    bulk_actions.run_to_completion(bulk_action)
    text = page_of(viewer, bulk_action)
    assert "processing" in text and "In progress: 3 left to process" in text
    PausedStream.objects.create(stream="tutors", by="user:ann")
    assert "Paused: tutors." in page_of(viewer, bulk_action)
    PausedStream.objects.all().delete()
    work()
    text = page_of(viewer, bulk_action)
    assert "data-refresh" not in text and "In progress" not in text
    assert "2 inserted · 1 failed again" in text
    assert '<span class="badge is-resolved">inserted</span>' in text
    assert 'href="/admin/enrichment/deadletter/?stream=tutors&code=invalid"' in text
    assert f'href="/admin/enrichment/heldrecord/{bad.pk}/change/">tutor B-1</a>' in text


@pytest.mark.parametrize(
    ("bad", "status", "kind"),
    [(0, "completed", "processed"), (1, "completed, 1 failed again", "waiting"), (3, "all 3 failed again", "failing")],
)
def test_one_in_which_records_fail_again_does_not_look_like_a_success(
    viewer: Client, bad: int, status: str, kind: str
) -> None:
    for number in range(3):
        hold(valid(tutor_id=f"T-{number}", age=7 if number < bad else 27))
    bulk_action = reprocess({"status": "dead"}, by="test")
    work()
    badge = f'<span class="badge is-{kind}">{status}</span>'
    text = page_of(viewer, bulk_action)
    assert badge in text and f'<progress class="is-{kind}"' in text
    assert (badge in words_of(viewer.get(BULK_ACTIONS))) is (bad > 0)


def test_it_tells_of_trouble_and_of_who_was_faster(operator: Client) -> None:
    record, other = hold(), hold()
    bulk_action = bulk_actions.create(
        BulkAction.Kind.DISCARD, {"status": "dead"}, by="user:ann", reason="<b>sent twice</b>"
    )
    BulkAction.objects.update(last_error="OperationalError: <b>away</b>")
    text = words_of(operator.get(f"{BULK_ACTIONS}{bulk_action.pk}/change/"))
    assert "OperationalError: &lt;b&gt;away" in text and "&lt;b&gt;sent twice" in text
    assert "retrying" in words_of(operator.get(BULK_ACTIONS))
    discard({"ids": [record.pk]}, by="test", reason="no")
    bulk_actions.run_to_completion(bulk_action)
    text = page_of(operator, bulk_action)
    assert "1 of 2: already handled by someone else" in text
    assert "1 discarded" in text and "away" not in text
    assert other.pk


def test_one_of_selected_records_links_to_them(viewer: Client) -> None:
    records = [hold(key="T-1"), hold(key="", payload="[]")]
    bulk_action = discard({"ids": [record.pk for record in records]}, by="user:ann", reason="no")
    text = page_of(viewer, bulk_action)
    assert "2 selected failed records" in text
    assert f'href="/admin/enrichment/heldrecord/{records[0].pk}/change/">tutor T-1</a>' in text
    assert f">tutor without ID (delivery {records[1].delivery_id}, #1)</a>" in text
    assert "matching" not in text


@pytest.mark.parametrize(
    ("chosen", "words", "pages"),
    [
        ({}, "open failed records", "/admin/enrichment/deadletter/ /admin/enrichment/waitingrecord/"),
        (
            {"key": "T 9", "code": "missing_reference"},
            "open failed records with code missing_reference with the ID T 9",
            "/admin/enrichment/deadletter/?q=T+9&code=missing_reference /admin/enrichment/waitingrecord/?q=T+9",
        ),
        ({"stage": "upsert"}, "open failed records in stage upsert", "/admin/enrichment/deadletter/?stage=upsert"),
        ({"status": "resolved"}, "open failed records", ""),
        ({"ids": [7]}, "failed record 7", ""),
        ({"ids": [7, 8], "stream": "tutors"}, "2 selected failed records of tutors", ""),
        (
            {"status": "dead", "code": "invalid", "stream": "tutors"},
            "dead letters of tutors with code invalid",
            "/admin/enrichment/deadletter/?code=invalid&stream=tutors",
        ),
        (
            {"status": "waiting", "missing_stream": "tutors", "missing_key": "T 9&\u202e"},
            r"waiting records missing tutors T 9&\u202e",
            "/admin/enrichment/waitingrecord/?missing_stream=tutors&missing_key=T+9%26%E2%80%AE",
        ),
        (
            {"status": "dead", "stream": "tutors", "message": "age: <b>100 & more"},
            "dead letters of tutors with the error “age: <b>100 & more”",
            "/admin/enrichment/deadletter/?stream=tutors&message=age%3A+%3Cb%3E100+%26+more",
        ),
        ({"upload": "3", "client": "key:abc"}, "open failed records from key:abc in upload 3", None),
    ],
)
def test_a_filter_in_plain_words_and_as_lists(
    viewer: Client, chosen: dict[str, Any], words: str, pages: str | None
) -> None:
    hold(), wait()
    assert bulk_actions.describe_filter(chosen) == words
    links = [link for _, link in list_pages(chosen)]
    assert pages is None or links == pages.split()
    for link in links:
        assert viewer.get(link).status_code == 200


def test_those_still_open_are_listed_and_no_others(viewer: Client) -> None:
    hold(key="T-open"), hold(key="T-closed")
    discard({"key": "T-closed"}, by="test", reason="no")
    bulk_action = reprocess({"stream": "tutors"}, by="test")
    text = page_of(viewer, bulk_action)
    page = "/admin/enrichment/deadletter/?stream=tutors"
    assert f'<a href="{page}">matching dead letters</a>' in text
    listed = words_of(viewer.get(page))
    assert "T-open" in listed and "T-closed" not in listed


def test_of_very_many_held_again_the_latest_are_shown_and_the_page_says_so(
    viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_action_page, "MAX_LINKS", 2)
    records = [hold() for _ in range(3)]
    all_that_match = reprocess({"status": "dead"}, by="test")
    work()
    text = page_of(viewer, all_that_match).split("Failed again")[1]
    assert "Showing the latest 2 of 3. All: " in text
    assert '<a href="/admin/enrichment/deadletter/">matching dead letters</a>' in text
    selected = reprocess({"ids": [record.pk for record in records]}, by="test")
    work()
    text = page_of(viewer, selected)
    assert "Showing the latest 2 of 3." in text
    monkeypatch.setattr(bulk_action_page, "MAX_LINKS", 3)
    assert "These are the latest" not in page_of(viewer, selected)


def test_a_single_record_is_named_by_its_key(viewer: Client) -> None:
    record, gone = hold(key="T-77\u202e"), hold()
    bulk_action = discard({"ids": [record.pk]}, by="test", reason="no")
    discard({"ids": [gone.pk]}, by="test", reason="no")
    gone.failures.all().delete()
    HeldRecord.objects.filter(pk=gone.pk).delete()
    for page in (BULK_ACTIONS, f"{BULK_ACTIONS}{bulk_action.pk}/change/"):
        assert rf"tutors T-77\u202e (failed record {record.pk})" in words_of(viewer.get(page))
    assert f"failed record {gone.pk}" in words_of(viewer.get(BULK_ACTIONS))


def test_the_list_and_a_page_take_as_many_queries_however_much_there_is(viewer: Client) -> None:
    def queries(page: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            words_of(viewer.get(page))
        return len(captured)

    hold(), hold()
    bulk_action = reprocess({"status": "dead"}, by="command")
    pages = (BULK_ACTIONS, f"{BULK_ACTIONS}{bulk_action.pk}/change/")
    for page in pages:
        viewer.get(page)
    few = [queries(page) for page in pages]
    bulk_action = BulkAction.objects.get(pk=bulk_action.pk)
    for _ in range(30):
        hold(), wait()
        bulk_action.deliveries.add(*reprocess({}, by="command").deliveries.all())
    assert [queries(page) for page in pages] == few


def test_a_very_large_one_is_examined_in_part(
    viewer: Client, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_action_page, "MAX_EXAMINED", 3)
    for _ in range(6):
        hold()
    bulk_action = reprocess({}, by="command")
    assert "Current status of the latest 3" in page_of(viewer, bulk_action)


def test_one_whose_deliveries_are_deleted_by_now_still_tells_how_many(viewer: Client) -> None:
    hold()
    bulk_action = reprocess({}, by="command")
    bulk_action.deliveries.clear()
    for page in (BULK_ACTIONS, f"{BULK_ACTIONS}{bulk_action.pk}/change/"):
        assert "1 reprocessed" in words_of(viewer.get(page))


def test_bulk_actions_cannot_be_written(viewer: Client) -> None:
    root = browser_of(person(superuser=True))
    bulk_action = BulkAction.objects.create(kind="discard", by="user:ann", reason="a test", count=1)
    for client in (viewer, root):
        assert client.get(f"{BULK_ACTIONS}add/").status_code == 403
        assert client.post(f"{BULK_ACTIONS}{bulk_action.pk}/change/", {"by": "user:bob"}).status_code == 403
        assert client.post(f"{BULK_ACTIONS}{bulk_action.pk}/delete/", {"post": "yes"}).status_code == 403
        assert client.get(f"{BULK_ACTIONS}999999/change/").status_code == 404
        assert client.get(f"{BULK_ACTIONS}x/change/").status_code == 404
    bulk_action.refresh_from_db()
    assert bulk_action.by == "user:ann"


def test_bulk_actions_are_for_those_who_may_see_them() -> None:
    bulk_action = discard({}, by="command", reason="no")
    nobody = browser_of(person())
    for page in (BULK_ACTIONS, f"{BULK_ACTIONS}{bulk_action.pk}/change/"):
        assert nobody.get(page).status_code == 403
    assert not HeldRecord.objects.exists()

"""What waiting records wait for: grouped, counted by stream, with what is known of the missing record itself."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from console.held import missing_references
from enrichment.models import BulkAction, HeldRecord
from ingestion.models import Delivery
from tests.held import hold, valid, wait
from tests.held_pages import confirm
from tests.people import browser_of, person, text_of, words_of
from tests.records import send

pytestmark = pytest.mark.django_db

PAGE = "/admin/enrichment/waitingrecord/missing/"


def rows(client: Client, **query: Any) -> list[str]:
    """The rows of the page, as a person reads them."""
    text = text_of(client.get(PAGE, query))
    body = text[text.index("<tbody>") : text.index("</tbody>")]
    found = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [" ".join(re.sub(r"<button.*?</button>|<[^>]*>", " ", row).split()) for row in found]


def test_records_are_grouped_by_what_they_wait_for(viewer: Client) -> None:
    for _ in range(3):
        wait(missing_key="tutor_00042")
    wait(missing_key="tutor_00042", stream="feedback")
    wait(missing_key="tutor_00042", status="dead")
    wait(missing_key="T-7")
    wait(missing_key="only the dead", status="dead")
    first, second = rows(viewer)
    assert first.startswith("tutor tutor_00042 3 sessions, 1 feedback + 1 dead letter 20")
    assert second.startswith("tutor T-7 1 sessions 20")
    text = words_of(viewer.get(PAGE))
    assert "5 records wait for 2 missing records." in text
    assert 'href="/admin/enrichment/waitingrecord/?missing_stream=tutors&amp;missing_key=tutor_00042"' in text
    assert 'href="/admin/enrichment/deadletter/?missing_stream=tutors&amp;missing_key=tutor_00042"' in text


def test_they_come_by_number_or_by_age(viewer: Client) -> None:
    old = timezone.now() - timedelta(hours=3)
    wait(missing_key="old", waiting_since=old)
    for _ in range(2):
        wait(missing_key="many")
    assert [row.split()[1] for row in rows(viewer)] == ["many", "old"]
    assert [row.split()[1] for row in rows(viewer, by="age")] == ["old", "many"]
    assert "3 h ago" in rows(viewer, by="age")[0]


def test_the_page_says_where_the_missing_record_is(viewer: Client) -> None:
    dead = hold(key="dead", messages={"email": ["is no address <b>\u202e"]})
    wait(key="waits", missing_key="elsewhere")
    queued = hold(key="queued", queued_in=7)
    send("tutors", valid(tutor_id="stored"))
    Delivery.objects.create(stream="students", client="key:abc", body=b"[]", count=1)
    for stream, key in [
        *(("tutors", key) for key in ("dead", "queued", "stored", "unheard")),
        *[("sessions", "waits"), ("students", "unseen")],
    ]:
        wait(missing_stream=stream, missing_key=key, stream="feedback")
    told = {row.split()[1]: row for row in rows(viewer)}
    assert r"dead letter invalid email: is no address &lt;b&gt;\u202e" in told["dead"]
    assert "waiting itself for tutor elsewhere" in told["waits"]
    assert "queued for reprocessing" in told["queued"]
    assert "stored; waiting records resume" in told["stored"]
    assert "not received yet" in told["unheard"]
    assert "still in the queue" in told["unseen"]
    text = text_of(viewer.get(PAGE))
    assert f'<a href="/admin/enrichment/deadletter/{dead.pk}/change/">' in text
    assert f'<a href="/admin/enrichment/deadletter/{queued.pk}/change/">' in text


def test_a_waiting_record_says_where_the_missing_one_is(viewer: Client) -> None:
    dead = hold(key="T-9")
    record = wait(missing_key="T-9")
    text = text_of(viewer.get(f"/admin/enrichment/waitingrecord/{record.pk}/change/"))
    assert f'<a href="/admin/enrichment/deadletter/{dead.pk}/change/">dead letter</a>' in text
    assert "same missing record" not in text


def test_pages_go_on_where_the_last_ended(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing_references, "PER_PAGE", 2)
    for number in range(5):
        wait(missing_key=f"T-{number}")
    keys = [[row.split()[1] for row in rows(viewer, p=page)] for page in (1, 2, 3)]
    assert keys == [["T-0", "T-1"], ["T-2", "T-3"], ["T-4"]]
    text = text_of(viewer.get(PAGE, {"p": "2"}))
    assert "p=1" in text
    assert "p=3" in text
    assert "This page is empty" in text_of(viewer.get(PAGE, {"p": "9"}))
    for nonsense in ("x", "-1", "0", "9" * 30, "٣"):
        assert [row.split()[1] for row in rows(viewer, p=nonsense, by=nonsense)] == keys[0]


def test_a_stored_record_that_differs_in_capitals_alone_is_named(viewer: Client) -> None:
    send("tutors", valid("tutors", tutor_id="T-ABC"))
    send("students", valid("students"))
    send("sessions", valid("sessions", tutor_id="t-abc"))
    assert "T-ABC is stored: it differs in capital letters only" in words_of(viewer.get(PAGE))


def test_it_takes_as_many_queries_however_long_it_is(viewer: Client, django_assert_num_queries: Any) -> None:
    for number in range(3):
        wait(missing_key=f"T-{number}")
        hold(key=f"T-{number}")
    with django_assert_num_queries(11):
        rows(viewer)
    for number in range(3, 30):
        wait(missing_key=f"T-{number}")
        hold(key=f"T-{number}")
    with django_assert_num_queries(11):
        rows(viewer)


def test_nothing_waits(viewer: Client) -> None:
    assert "No records are waiting" in text_of(viewer.get(PAGE))


def test_acts_on_what_waits_for_one_are_asked_for_from_its_row() -> None:
    operator = browser_of(person("operator"))
    for _ in range(3):
        wait(missing_key="T 1&2")
    other = wait(missing_key="T-2")
    text = text_of(operator.get(PAGE))
    asked = re.findall(r'<form method="post" action="([^"]*)">.*?name="action" value="(\w+)"', text, re.DOTALL)
    assert [action for _, action in asked] == ["reprocess", "discard"] * 2
    page = asked[1][0].replace("&amp;", "&")
    data = {"action": "discard", "select_across": "1", "_selected_action": "0"}
    assert "Discard 3 failed records?" in text_of(operator.post(page, data))
    confirm(operator, page, data, reason="a test")
    assert HeldRecord.objects.open().get() == other
    assert BulkAction.objects.get().filter == {
        "status": "waiting",
        "missing_stream": "tutors",
        "missing_key": "T 1&2",
    }


def test_who_may_not_act_is_shown_no_button_and_who_may_not_see_nothing(viewer: Client) -> None:
    wait()
    assert "<button" not in text_of(viewer.get(PAGE)).split('id="content-main"')[1].split("</table>")[0]
    assert browser_of(person()).get(PAGE).status_code == 403
    assert Client().get(PAGE).status_code == 302
    assert PAGE in text_of(viewer.get("/admin/enrichment/waitingrecord/"))

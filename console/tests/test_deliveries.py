"""Deliveries in the admin."""

import re

import pytest
from django.test import Client
from django.utils import timezone

from console.base import NewestPaginator
from ingestion.models import Delivery
from tests.people import browser_of, person, text_of

pytestmark = pytest.mark.django_db

DELIVERIES = "/admin/ingestion/delivery/"


def deliver(body: bytes = b'[{"tutor_id":"T-1"}]', **fields: object) -> Delivery:
    told = {"stream": "tutors", "client": "key:abc", "body": body, "count": 1}
    return Delivery.objects.create(**{**told, **fields})


def listed(client: Client, **query: str) -> set[int]:
    text = text_of(client.get(DELIVERIES, query))
    return {int(pk) for pk in re.findall(r'<th class="field-id"><a href="[^"]*">(\d+)</a>', text)}


def test_deliveries_are_filtered(viewer: Client) -> None:
    pending = deliver().pk
    done = deliver(stream="students", inserted=1, processed_at=timezone.now()).pk
    bulk_action = deliver(source=Delivery.Source.BULK_ACTION, last_error="store: away").pk
    assert listed(viewer) == {pending, done, bulk_action}
    assert listed(viewer, status="failing") == {bulk_action}
    assert listed(viewer, status="pending") == {pending, bulk_action}
    assert listed(viewer, status="processed", stream="students") == {done}
    assert listed(viewer, source="1") == {bulk_action}
    assert listed(viewer, source="x") == listed(viewer, stream="x") == listed(viewer, status="x") == set()


def test_the_list_ends_with_the_newest(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NewestPaginator, "max_rows", 60)
    pks = {deliver().pk for _ in range(70)}
    newest = sorted(pks, reverse=True)[:60]
    assert listed(viewer) | listed(viewer, p="2") == set(newest)
    assert "Showing the newest 60 deliveries" in text_of(viewer.get(DELIVERIES))
    assert "Showing the newest" not in text_of(viewer.get(DELIVERIES, {"stream": "students"}))


def test_empty_lists_say_so(viewer: Client) -> None:
    assert "No deliveries yet" in text_of(viewer.get(DELIVERIES))
    assert "No deliveries match" in text_of(viewer.get(DELIVERIES, {"stream": "tutors"}))


def test_a_delivery_shows_its_result(operator: Client) -> None:
    delivery = deliver(
        count=9, inserted=3, updated=2, stale=1, refused="[4,7]", last_error="store: OperationalError: away"
    )
    text = text_of(operator.get(f"{DELIVERIES}{delivery.pk}/change/"))
    assert "3 inserted · 2 updated · 1 stale · 3 pending" in text
    assert "failing" in text
    assert "OperationalError: away" in text
    assert '<div class="readonly">2</div>' in text  # rejected


def test_a_body_is_shown_prettily(operator: Client) -> None:
    delivery = deliver(b'[{"tutor_id":"T-1","n":1}]')
    assert "{\n    &quot;tutor_id&quot;: &quot;T-1&quot;,\n" in text_of(
        operator.get(f"{DELIVERIES}{delivery.pk}/change/")
    )


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"a":"<script>x</script>"}', "&lt;script&gt;"),
        (b'{"a":"\xe2\x80\xae"}', "\\u202e"),
        (b"\xff\xfe not UTF-8", "� not UTF-8"),
        (b"{", "{"),
        (b'{"a":1}\n{"a":2}\n', "{&quot;a&quot;:1}\n{&quot;a&quot;:2}"),
        (b"[" * 5000, "[[["),
    ],
)
def test_any_body_is_shown_harmless(operator: Client, body: bytes, shown: str) -> None:
    delivery = deliver(body, format="ndjson" if b"\n" in body else "json")
    text = text_of(operator.get(f"{DELIVERIES}{delivery.pk}/change/"))
    assert shown in text
    assert "<script>x" not in text
    assert "\u202e" not in text


def test_a_long_body_is_cut(viewer: Client) -> None:
    delivery = deliver(b'["' + "é".encode() * 1_000_000 + b'"]')
    text = text_of(viewer.get(f"{DELIVERIES}{delivery.pk}/change/"))
    assert len(text) < 60_000
    assert "1,980,004 more bytes" in text


def test_deliveries_cannot_be_written() -> None:
    root = browser_of(person(superuser=True))
    delivery = deliver()
    assert root.get(f"{DELIVERIES}add/").status_code == 403
    assert root.post(f"{DELIVERIES}{delivery.pk}/change/", {"stream": "x"}).status_code == 403
    assert root.post(f"{DELIVERIES}{delivery.pk}/delete/", {"post": "yes"}).status_code == 403
    root.post(DELIVERIES, {"action": "delete_selected", "_selected_action": delivery.pk, "post": "yes"})
    delivery.refresh_from_db()
    assert delivery.stream == "tutors"

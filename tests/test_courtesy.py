"""What the site tells a person beside its pages proper: bad requests, counts, log-in, no script, nothing kept."""

from __future__ import annotations

import pytest
from django.test import Client

from console.base import NewestPaginator
from ingestion.models import Delivery
from tests.api import api
from tests.held import hold
from tests.people import browser_of, person, text_of

pytestmark = pytest.mark.django_db

DELIVERIES = "/admin/ingestion/delivery/"
PASSWORD = "correct horse"
HELD = "/admin/enrichment/heldrecord/"


def test_a_bad_request_has_a_page_of_ours(viewer: Client) -> None:
    for address in (f"{DELIVERIES}?body__contains=x", f"{HELD}export/zip/"):
        text = text_of(viewer.get(address), 400)
        assert "tutormax/page.css" in text
        assert "<h1>400</h1>" in text
    assert "Unknown format or filter." in text


class TestCounts:
    def deliver(self, number: int) -> None:
        Delivery.objects.bulk_create(
            Delivery(stream="tutors", client="key:abc", body=b"[]", count=0) for _ in range(number)
        )

    def test_a_list_that_does_not_count_on_says_so(self, viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(NewestPaginator, "max_rows", 1_000)
        self.deliver(1_000)
        text = text_of(viewer.get(DELIVERIES))
        assert "1,000 deliveries" in text
        assert "more than" not in text
        self.deliver(1)
        assert "more than 1,000 deliveries" in text_of(viewer.get(DELIVERIES))

    def test_all_is_offered_where_not_all_is_shown(self, viewer: Client) -> None:
        hold()
        assert "show all" not in text_of(viewer.get(HELD))
        for query in ("?q=nothing", "?status=dead"):
            assert "show all" in text_of(viewer.get(HELD + query))


def test_a_search_is_shown_harmless_and_still_finds(viewer: Client) -> None:
    key = "T\u202e1"
    record = hold(key=key)
    response = viewer.get(HELD, {"q": key})
    assert [each.pk for each in response.context["cl"].result_list] == [record.pk]
    text = text_of(response)
    assert "searched for T\\u202e1" in text
    assert "\u202e" not in text
    assert 'value="T-1"' in text_of(viewer.get(HELD, {"q": "T-1"}))


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_pages_that_need_script_say_where_to_read_without(path: str) -> None:
    said = text_of(Client().get(path)).partition("<noscript>")[2].partition("</noscript>")[0]
    assert 'href="/guide"' in said
    assert 'href="/openapi.json"' in said


@pytest.mark.parametrize("place", ["", "//evil.example/", "https://evil.example/"])
def test_a_log_in_that_leads_elsewhere_leads_to_the_dashboard(place: str) -> None:
    user = person("viewer")
    user.set_password(PASSWORD)
    user.save()
    fields = {"username": "viewer", "password": PASSWORD, "next": place}
    assert Client().post("/admin/login/", fields).headers["Location"] == "/admin/"


class TestNothingIsKept:
    """By a browser or on the way to it."""

    def test_of_what_a_session_is_answered(self) -> None:
        nobody, viewer = browser_of(person()), browser_of(person("viewer"))
        for client, path, status in [
            (viewer, "/api/tutors", 200),
            (viewer, "/api/tutors/nothing", 404),
            (nobody, "/api/tutors", 403),
            (nobody, DELIVERIES, 403),
        ]:
            response = client.get(path)
            assert (response.status_code, response.headers.get("Cache-Control")) == (status, "private, no-store"), path
        assert "no-store" in viewer.get("/admin/").headers["Cache-Control"]

    def test_of_what_a_key_is_answered(self) -> None:
        response = api().get("/api/tutors")
        assert response.headers["Cache-Control"] == "private, no-store"
        assert {"Authorization", "Cookie"} <= set(response.headers["Vary"].split(", "))

    def test_but_of_what_is_open_to_all(self) -> None:
        assert "Cache-Control" not in Client().get("/").headers

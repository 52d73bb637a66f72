"""The lists and pages of held records and bulk actions: what they show, to whom, and in how many queries."""

import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote_plus

import pytest
from django.test import Client
from django.utils import timezone

from enrichment.models import HeldRecord
from ingestion.models import Delivery, Upload
from tests.held import hold, key_named, reprocess, valid, wait
from tests.held_pages import ALL, DEAD, WAITING
from tests.people import browser_of, person, text_of, words_of
from tests.records import send

pytestmark = pytest.mark.django_db

BULK_ACTIONS = "/admin/enrichment/bulkaction/"
Status = HeldRecord.Status


def listed(client: Client, page: str, **query: str) -> set[str]:
    """The keys in a list."""
    text = text_of(client.get(page, query))
    return set(re.findall(r'<th class="field-record"><a href="[^"]*">([^<]*)</a>', text))


def test_each_list_shows_its_own_status_and_all_are_among_the_held_records(viewer: Client) -> None:
    hold(key="dead")
    wait(key="waits")
    hold(key="gone", status=Status.DISCARDED, discard_reason="a test")
    hold(key="stored", status=Status.RESOLVED, resolved_by=1, outcome="inserted")
    assert listed(viewer, DEAD) == {"dead"}
    assert listed(viewer, WAITING) == {"waits"}
    assert listed(viewer, ALL) == {"dead", "waits", "gone", "stored"}
    assert listed(viewer, ALL, status="discarded") == {"gone"}


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ({"stream": "students"}, {"b"}),
        ({"stage": "upsert"}, {"c"}),
        ({"code": "conflict"}, {"c"}),
        ({"age": "1h"}, {"a", "b", "c"}),
        ({"age": "24h"}, {"a", "b", "c", "d"}),
        ({"age": "7d"}, {"a", "b", "c", "d", "e"}),
        ({"stream": "tutors", "code": "invalid", "age": "1h"}, {"a"}),
    ],
)
def test_dead_letters_are_filtered(viewer: Client, query: dict[str, str], keys: set[str]) -> None:
    now = timezone.now()
    hold(key="a")
    hold(key="b", stream="students")
    hold(key="c", stage="upsert", code="conflict")
    hold(key="d", held_at=now - timedelta(hours=23))
    hold(key="e", held_at=now - timedelta(days=6))
    hold(key="f", held_at=now - timedelta(days=8))
    assert listed(viewer, DEAD, **query) == keys


@pytest.mark.parametrize("query", [{"stream": "x"}, {"code": "x"}, {"stage": "'"}, {"age": "2h"}, {"delivery": "x"}])
def test_a_value_that_a_filter_does_not_know_matches_nothing(viewer: Client, query: dict[str, str]) -> None:
    hold()
    assert listed(viewer, DEAD, **query) == set()


def test_the_held_records_of_a_delivery_are_found(viewer: Client) -> None:
    wanted = hold(key="wanted")
    hold(key="other")
    assert listed(viewer, ALL, delivery=str(wanted.delivery_id)) == {"wanted"}
    link = f'href="{ALL}?delivery={wanted.delivery_id}"'
    assert link in text_of(viewer.get(f"/admin/ingestion/delivery/{wanted.delivery_id}/change/"))


def test_the_search_is_for_the_whole_key(viewer: Client) -> None:
    hold(key="S-1")
    hold(key="S-10")
    assert listed(viewer, DEAD, q=" S-1 ") == {"S-1"}
    assert listed(viewer, DEAD, q="S-") == set()
    assert "No matches" in text_of(viewer.get(DEAD, {"q": "S-"}))


def test_empty_lists_say_so(viewer: Client) -> None:
    assert "No dead letters" in text_of(viewer.get(DEAD))
    assert "No waiting records" in text_of(viewer.get(WAITING))


def test_a_list_says_what_and_why(viewer: Client) -> None:
    hold(key="dead")
    wait(key="waits")
    assert "email: value is not a valid email address" in text_of(viewer.get(DEAD))
    assert 'tutors <a href="?missing_key=T-9&amp;missing_stream=tutors">T-9</a>' in text_of(viewer.get(WAITING))


def test_a_link_to_those_of_a_sender_keeps_the_other_filters(viewer: Client) -> None:
    hold()
    text = text_of(viewer.get(f"{DEAD}?stream=tutors&code=invalid&p=1"))
    assert '<a href="?client=key%3Aabc&amp;code=invalid&amp;stream=tutors">' in text
    wait()
    text = text_of(viewer.get(f"{WAITING}?stream=sessions"))
    assert '"?missing_key=T-9&amp;missing_stream=tutors&amp;stream=sessions"' in text


@pytest.mark.parametrize(
    ("page", "queries"),
    [(DEAD, 10), (WAITING, 9), (ALL, 10), (BULK_ACTIONS, 7), ("/admin/ingestion/delivery/", 7)],
)
def test_a_list_takes_as_many_queries_however_long_it_is(
    django_assert_num_queries: Any, page: str, queries: int
) -> None:
    operator = browser_of(person("operator"))
    for _ in range(3):
        hold()
        wait()
        reprocess({}, by="command")
    with django_assert_num_queries(queries):
        text_of(operator.get(page))
    for _ in range(10):
        hold()
        wait()
        reprocess({}, by="command")
    with django_assert_num_queries(queries):
        text_of(operator.get(page))


def test_a_page_tells_everything_about_a_held_record(operator: Client, django_assert_num_queries: Any) -> None:
    record = hold(
        code="enrich_error",
        stage="enrich",
        original_payload='{"tutor_id":"T-7","email":"as sent"}',
        payload='{"tutor_id":"T-7","email":"fixed"}',
        payload_version=2,
        attempts=2,
    )
    record.failures.create(
        delivery=record.delivery_id,
        stage="enrich",
        code="enrich_error",
        messages={"record": ["ZeroDivisionError: division by zero"]},
        code_version="0.2.0",
        traceback="Traceback (most recent call last): …",
    )
    operator.get(f"{DEAD}{record.pk}/change/")  # from now on the content types are in memory
    with django_assert_num_queries(19):
        text = text_of(operator.get(f"{DEAD}{record.pk}/change/"))
    for told in (
        "enrich_error",
        "&quot;email&quot;: &quot;as sent&quot;",
        "&quot;email&quot;: &quot;fixed&quot;",
        "2 times",
        "ZeroDivisionError: division by zero",
        "code version 0.1.0",
        "code version 0.2.0",
        f'href="/admin/ingestion/delivery/{record.delivery_id}/change/"',
        "none with this ID",
    ):
        assert told in text, told
    assert re.search(r"<summary>Traceback</summary>\s*<pre[^>]*>Traceback \(most recent", text)


def test_only_lines_that_were_fixed_are_marked(operator: Client) -> None:
    record = hold(payload='{"a":1,"b":3}', original_payload='{"a":1,"b":2}', payload_version=1)
    text = text_of(operator.get(f"{DEAD}{record.pk}/change/"))
    assert re.findall(r'<span\s+class="line (?:added|removed)">\s*(.*?)</span>', text) == [
        "&quot;b&quot;: 2",
        "&quot;b&quot;: 3",
    ]


def test_a_record_that_is_dead_no_longer_is_still_found(viewer: Client) -> None:
    record = hold(status=Status.RESOLVED, resolved_by=77, outcome="updated")
    text = text_of(viewer.get(f"{DEAD}{record.pk}/change/"))
    assert text_of(viewer.get(f"{ALL}{record.pk}/change/"))
    assert "delivery 77" in text
    assert "(updated)" in text
    attempts = text.partition('id="attempts-heading"')[2]
    assert '<a href="/admin/ingestion/delivery/77/change/">delivery 77</a>' in attempts
    assert attempts.index("delivery 77") < attempts.index("stage validate")


@pytest.mark.parametrize("pk", ["0", "999999", "99999999999999999999", "x", "1_0", "%00"])
def test_a_page_that_is_not_there_is_404(viewer: Client, pk: str) -> None:
    assert viewer.get(f"{DEAD}{pk}/change/").status_code == 404


def test_a_page_tells_that_a_newer_version_is_stored() -> None:
    operator = browser_of(person("operator"))
    send("tutors", valid(tutor_id="T-1", updated_at="2025-03-01T00:00:00Z"))
    old = hold(key="T-1", version_at="2025-02-01T00:00:00Z")
    new = hold(key="T-1")
    told = "reprocessing will have no effect"
    page = text_of(operator.get(f"{DEAD}{old.pk}/change/"))
    assert told in page
    assert 'href="/admin/tutoring/tutor/T_2D1/change/"' in page or 'href="/admin/tutoring/tutor/T-1/change/"' in page
    assert told not in text_of(operator.get(f"{DEAD}{new.pk}/change/"))


NASTY = "<script>alert(1)</script>\u202e\u2066\0\ud800\u200b&\"'é"


def test_payloads_keys_and_messages_are_shown_harmless(operator: Client) -> None:
    record = hold({"name": NASTY, "<b>": 1}, key="<img src=x>", messages={"<i>": ["<u>\u202e"]})
    for page in (DEAD, f"{DEAD}{record.pk}/change/", f"/admin/ingestion/delivery/{record.delivery_id}/change/"):
        text = text_of(operator.get(page))
        for markup in ("<script>alert", "<img src=x>", "<b>", "<i>", "<u>", "\u202e", "\u2066", "\u200b", "\0"):
            assert markup not in text, (page, markup)
    shown = r"&lt;script&gt;alert(1)&lt;/script&gt;\u202e\u2066\u0000\ud800\u200b&amp;\&quot;&#x27;é"
    assert shown in text_of(operator.get(f"{DEAD}{record.pk}/change/"))


def test_a_payload_that_can_no_longer_be_read_is_shown_as_it_is() -> None:
    operator = browser_of(person("operator"))
    record = hold('{"a":NaN}')
    for page in ("change", "fix"):
        assert "{&quot;a&quot;:NaN}" in text_of(operator.get(f"{DEAD}{record.pk}/{page}/"))


@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_a_long_payload_is_cut(operator: Client, size: int) -> None:
    record = hold({"name": "x" * size})
    text = text_of(operator.get(f"{DEAD}{record.pk}/change/"))
    assert len(text) < 60_000
    assert "more characters" in text


def test_who_is_in_no_group_sees_nothing() -> None:
    nobody = browser_of(person())
    record = hold()
    for page in (DEAD, WAITING, ALL, BULK_ACTIONS, f"{DEAD}{record.pk}/change/", f"{DEAD}{record.pk}/fix/"):
        assert nobody.get(page).status_code == 403


def test_who_is_not_logged_in_is_asked_to() -> None:
    response = Client().get(DEAD)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("query", ["key__regex=(", "key__iregex=^(a%2B)%2B$", "id__in=1,99999999999999999999"])
def test_costly_lookups_are_refused(viewer: Client, query: str) -> None:
    assert viewer.get(f"/admin/enrichment/deadletter/?{query}").status_code == 400


def test_a_page_leads_to_the_next_in_the_list_one_came_from(viewer: Client) -> None:
    first, other, second, third = hold(), hold(code="conflict"), hold(), hold()
    came = "_changelist_filters=code%3Dinvalid"
    text = text_of(viewer.get(f"{DEAD}{second.pk}/change/?{came}"))
    assert f'<a href="{DEAD}{third.pk}/change/?{came}" rel="prev">' in text
    assert f'<a href="{DEAD}{first.pk}/change/?{came}" rel="next">' in text
    assert f'<a href="{DEAD}{other.pk}/change/" rel="next">' in text_of(viewer.get(f"{DEAD}{second.pk}/change/"))
    assert 'rel="next"' not in text_of(viewer.get(f"{DEAD}{first.pk}/change/"))
    for nonsense in ("age%3D2h", "delivery%3Dx", "missing_key%3D%2500"):
        assert 'rel="prev"' not in text_of(viewer.get(f"{DEAD}{first.pk}/change/?_changelist_filters={nonsense}"))


def test_a_page_tells_who_sent_the_record_and_what_others_are_like_it(viewer: Client) -> None:
    key = key_named("Northern schools")
    client = f"key:{key.client}"
    record = hold(key="T-1", client=client)
    hold(client=client, code="conflict")
    hold(key="T-1", status=Status.DISCARDED)
    for _ in range(2):
        hold()
    page = f"{DEAD}{record.pk}/change/"
    text = words_of(viewer.get(page))
    assert f'<dd> Northern schools <span class="quiet">{client}</span>' in text
    for link in (
        f'<a href="{DEAD}?stream=tutors&amp;message={quote_plus(record.message)}">same error (3)</a>',
        f'<a href="{DEAD}?stream=tutors&amp;code=invalid">same code (2)</a>',
        f'<a href="{DEAD}?stream=tutors&amp;client=key%3A{key.client}">same source (1)</a>',
        f'<a href="{ALL}?stream=tutors&amp;q=T-1">same ID, open or closed (1)</a>',
        "Similar dead letters of tutors",
    ):
        assert link in text
    assert "same delivery" not in text
    administrator = browser_of(person("administrator"))
    assert f'<a href="/admin/ingestion/apikey/{key.client}/change/">Northern schools</a>' in text_of(
        administrator.get(page)
    )


def test_a_page_names_the_upload_and_its_row(viewer: Client) -> None:
    record = hold(position=4)
    upload = Upload.objects.create(stream="tutors", client="user:ann", name="a.csv", format="csv", size=1, sha256="a")
    Delivery.objects.filter(pk=record.delivery_id).update(upload=upload, first_row=1001)
    text = text_of(viewer.get(f"{DEAD}{record.pk}/change/"))
    assert f'<a href="/admin/ingestion/upload/{upload.pk}/change/">upload {upload.pk}</a>, row 1,005' in text

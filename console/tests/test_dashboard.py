"""The dashboard: its numbers, that each leads to what it counts, and who sees what."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone
from django_q.models import Schedule

from console.dashboard.page import MAX_ROWS, SPANS
from console.held.filters import AgeFilter
from enrichment.models import HeldRecord, MinuteStat
from ingestion.models import ApiKey, Doorbell
from tests.held import hold, valid, wait
from tests.lookups import ask, doubt, oracle, registered
from tests.people import browser_of, person, text_of, words_of
from tests.records import deliver, send

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def clock_stands_still() -> Iterator[None]:
    """So that the minute does not end in between."""
    with time_machine.travel(timezone.now(), tick=False):
        yield


def beat(minutes: int) -> None:
    answered = timezone.now() - timedelta(minutes=minutes)
    Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": answered})


def worked(minutes: int, stream: str = "tutors", **numbers: int) -> None:
    """What was done in the minute so long ago."""
    minute = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=minutes)
    MinuteStat.objects.create(minute=minute, stream=stream, **numbers)


def bare(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())


def part_of(text: str, part: str) -> str:
    """The part of the page with that id."""
    start = text.index(f'id="{part}"')
    return text[start : text.index("</section>", start)]


def rows_of(html: str, number: int = 0) -> dict[str, list[str]]:
    """first cell → the other cells of a table."""
    table = re.findall(r"<table.*?</table>", html, re.DOTALL)[number]
    rows = {}
    for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL):
        first, *cells = map(bare, re.findall(r"<t[hd][ >].*?</t[hd]>", row, re.DOTALL))
        rows[first] = cells
    return rows


def test_it_counts_by_stream(viewer: Client) -> None:
    send("tutors", valid())
    deliver("students", valid("students"), valid("students", student_id="P-2"))
    hold(stream="feedback")
    wait()
    MinuteStat.objects.all().delete()
    worked(0, inserted=900)
    worked(1, inserted=30, updated=10, stale=1, dead=4, waiting=3, within_1s=40)
    worked(5, inserted=4, within_1s=5)
    worked(6, inserted=900, within_1s=50, within_30s=5)
    worked(61, inserted=900, over_1h=900)
    worked(1, stream="feedback", dead=5, within_30s=5)
    rows = rows_of(part_of(text_of(viewer.get("/admin/")), "streams"))
    assert rows["Stream"] == [*("Pending", "Oldest", "Processed/min", "Failed/min", "Latency (p95)", "Waiting", "Dead")]
    assert rows["tutors"] == ["0", "–", "9", "0.8", "1 s", "0", "0"]
    assert [rows["students"][0], rows["sessions"][5], rows["feedback"][6]] == ["2", "1", "1"]
    assert rows["feedback"][2:5] == ["0", "1", "29 s"]
    assert rows["All"][0] == "2"
    assert rows["All"][2:4] == ["9", "1.8"]


def test_each_number_leads_to_exactly_what_it_counts(viewer: Client) -> None:
    for _ in range(3):
        hold()
    long_ago = timezone.now() - timedelta(days=30)
    hold(code="conflict", stream="students", client="user:ann & bob")
    hold(code="conflict", stream="students", held_at=timezone.now() - timedelta(hours=2))
    hold(code="conflict", held_at=long_ago)
    hold(status=HeldRecord.Status.RESOLVED)
    wait()
    wait(missing_key="T-8 & more", held_at=long_ago, waiting_since=long_ago)
    wait(stream="feedback", missing_key="T-8 & more")
    deliver("students", valid("students"))
    text = text_of(viewer.get("/admin/"))
    parts = [part_of(text, part) for part in ("streams", "codes", "errors", "missing", "senders")]
    tiles = text[text.index('id="tiles"') : text.index('id="streams"')]
    links = re.findall(r'href="([^"]+)">([\d,]+)</a>', "".join(parts))
    links += re.findall(r'href="([^"]+)"><strong>([\d,]+)</strong> (?:dead|waiting|pending)', tiles)
    assert len(links) == 32
    for link, number in links:
        listed = viewer.get(link.replace("&amp;", "&"))
        assert listed.context["cl"].result_count == int(number), link


def test_dead_letters_by_code_and_age(viewer: Client) -> None:
    assert {name: AgeFilter.spans[name] for name in SPANS} == AgeFilter.spans
    now = timezone.now()
    hold()
    for hours in (2, 23, 25, 24 * 8):
        hold(held_at=now - timedelta(hours=hours))
    hold(code="conflict", stream="students")
    wait()
    text = part_of(text_of(viewer.get("/admin/")), "codes")
    rows = rows_of(text)
    assert rows["Code"] == ["1 h", "24 h", "7 d", "All"]
    assert list(rows) == ["Code", "invalid", "conflict"]  # the most frequent first
    assert rows["invalid"] == ["1", "3", "4", "5"]
    assert rows["conflict"] == ["1", "1", "1", "1"]
    assert rows_of(text, 1) == {
        "Code": ["tutors", "students", "sessions", "feedback", "entries", "listens"],
        "invalid": ["5", "0", "0", "0", "0", "0"],
        "conflict": ["0", "1", "0", "0", "0", "0"],
    }


def test_top_errors_start_with_those_of_the_last_hour(viewer: Client) -> None:
    assert "None: there are no dead letters" in part_of(text_of(viewer.get("/admin/")), "errors")
    for number in range(MAX_ROWS):
        hold(messages={"age": [f"old {number}"]}, held_at=timezone.now() - timedelta(days=8))
    for hours in (0, 2, 25, 24 * 8):
        hold(messages={"<b>\u202eage": ["is 7"]}, held_at=timezone.now() - timedelta(hours=hours))
    for _ in range(2):
        hold(messages={"<b>\u202eage": ["is 7"]}, stream="students")
    hold(messages={"": ["One of the streams"]}, stream="students")
    wait(), hold(status=HeldRecord.Status.RESOLVED)
    text = part_of(text_of(viewer.get("/admin/")), "errors")
    rows = rows_of(text)
    assert rows.pop("Error") == ["1 h", "24 h", "7 d", "All"]
    assert list(rows.items())[:3] == [
        (r"several streams &lt;b&gt;\u202eage: is 7", ["3", "4", "5", "6"]),
        ("students : One of the streams", ["1", "1", "1", "1"]),
        ("tutors age: old 0", ["0", "0", "0", "1"]),
    ]
    assert '<a href="/admin/enrichment/deadletter/">View all dead letters</a>' in text
    assert len(rows) == MAX_ROWS


def test_missing_references_start_with_the_most_wanted(viewer: Client) -> None:
    for number in range(MAX_ROWS):
        wait(missing_key=f"T-{number}")
    for _ in range(2):
        wait(missing_key="<b>\u202eT-0", stream="feedback")
    wait(status=HeldRecord.Status.DEAD, missing_key="T-dead")
    text = part_of(text_of(viewer.get("/admin/")), "missing")
    rows = rows_of(text)
    assert list(rows)[1] == r"tutors &lt;b&gt;\u202eT-0"
    assert rows[r"tutors &lt;b&gt;\u202eT-0"][0] == "2"
    assert len(rows) == 1 + MAX_ROWS
    assert "T-dead" not in rows
    assert "/admin/enrichment/waitingrecord/missing/" in text


def test_sources_of_dead_letters_have_names(viewer: Client) -> None:
    ApiKey.objects.create_key(name="Acme")
    ApiKey.objects.update(created=timezone.now() - timedelta(days=1))
    old = ApiKey.objects.get()
    new = old.build_replacement("Acme <importer>", None)
    new.issue()
    week_ago = timezone.now() - timedelta(days=8)
    for _ in range(3):
        hold(client=f"key:{old.client}")
    for _ in range(2):
        hold(client="user:ann")
    for _ in range(9):
        hold(client="key:gone", held_at=week_ago)
    rows = rows_of(part_of(text_of(viewer.get("/admin/")), "senders"))
    assert rows == {
        "Client": ["7 d", "All"],
        f"Acme &lt;importer&gt; (key:{old.client})": ["3", "3"],
        "ann (user:ann)": ["2", "2"],
        "key:gone": ["0", "9"],
    }


def test_throughput_is_drawn_by_minute_and_by_half_hour(viewer: Client) -> None:
    now = timezone.now()
    worked(0, inserted=1)
    worked(1, inserted=1200, dead=3)
    worked(1, stream="students", inserted=34)
    worked(60, waiting=5)
    worked(61, stale=7)
    worked(23 * 60, updated=90)
    worked(25 * 60, updated=900)
    text = part_of(text_of(viewer.get("/admin/")), "throughput")
    assert "Last hour: 1,238 records" in text  # the present minute is among them
    assert "Last 24 hours: 1,340 records" in text
    assert text.count("retries count again") == 2
    minute = rows_of(text, 0)
    assert len(minute) == 61
    assert minute[f"{timezone.localtime(now):%H:%M}"] == ["1", "0", "0", "0", "0"]
    assert minute[f"{timezone.localtime(now - timedelta(minutes=1)):%H:%M}"] == ["1,234", "0", "0", "0", "3"]
    assert len(rows_of(text, 1)) == 49
    assert "<svg" in text


def test_it_shows_workers_and_schedules(viewer: Client) -> None:
    beat(1)
    due = timezone.now().replace(microsecond=0) + timedelta(days=1)
    Schedule.objects.create(name="<retention>", func="a.b", next_run=due)
    text = text_of(viewer.get("/admin/"))
    assert "Workers healthy" in text
    assert rows_of(part_of(text, "workers"))["&lt;retention&gt;"] == [f"{due:%Y-%m-%d %H:%M:%S} +00:00"]
    assert "/admin/django_q/schedule/" not in text
    root = browser_of(person(superuser=True))
    assert "/admin/django_q/schedule/" in part_of(text_of(root.get("/admin/")), "workers")


def test_a_new_installation_says_what_to_do(viewer: Client) -> None:
    text = text_of(viewer.get("/admin/"))
    for part in ("No records yet", "generate_data", "No dead letters", "no record is waiting", "client guide"):
        assert part in text
    assert "/admin/ingestion/apikey/" not in text  # a viewer may not see keys
    send("tutors", valid())
    assert "No records yet" not in text_of(viewer.get("/admin/"))


def test_what_is_refreshed_stands_side_by_side_under_its_own_id(viewer: Client) -> None:
    hold()
    text = text_of(viewer.get("/admin/"))
    parts = re.findall(r"<(\w+)[^>]* data-refresh=[^>]*>", text)
    ids = re.findall(r'<[^>]* id="([^"]*)"[^>]* data-refresh="5"', text)
    assert ids == [
        *("alarms-summary", "alarms", "tiles", "streams", "codes"),
        *("errors", "missing", "senders", "throughput", "workers"),
    ]
    assert len(parts) == len(ids)
    assert "tutormax/refresh.js" in text
    # What screen readers announce has no numbers that change all the time.
    assert re.findall(r'<p class="visually-hidden" role="status"[^>]*>([^<]*)</p>', text) == [
        "1 warning: No workers running."
    ]
    assert text.count("role=") - text.count('role="search"') - text.count('role="region"') == 1
    assert "<title>(1) Dashboard" in text


def test_it_takes_a_fixed_number_of_queries(django_assert_num_queries: Any) -> None:
    viewer = browser_of(person("viewer"))
    hold()
    with django_assert_num_queries(30):
        viewer.get("/admin/")
    for number in range(5):
        deliver("tutors", valid(tutor_id=f"T-{number}"))
        hold(client=f"key:{number}", stream="students", code="conflict", messages={"age": [f"{number}"]})
        wait(missing_key=f"T-{number}")
        worked(number, inserted=5)
        Schedule.objects.create(func=f"a.b{number}")
    with django_assert_num_queries(30):
        viewer.get("/admin/")


@pytest.mark.parametrize("right", ["", "view_delivery", "view_heldrecord", "view_tutor"])
def test_who_may_not_see_all_of_it_sees_no_numbers(right: str) -> None:
    hold()
    user = person()
    user.user_permissions.set(Permission.objects.filter(codename=right))
    text = text_of(browser_of(User.objects.get(pk=user.pk)).get("/admin/"))
    assert 'id="streams"' not in text
    assert "dead letters" not in text
    assert ("Find a record" in text) is (right != "")
    assert ("You don’t have permission to view or edit anything." in text) is (right == "")


def test_lookups_are_counted_by_provider(viewer: Client) -> None:
    with registered(oracle(), oracle(name="sibyl", label="Sibyl", why_off=lambda: "SIBYL_KEY is not set.")):
        ask(), ask(), doubt(), ask(status="failed"), ask(status="not_found")
        text = words_of(viewer.get("/admin/"))
        for query, number in {
            "lookup/?provider=oracle&amp;status=open": 2,
            "ambiguouslookup/?provider=oracle": 1,
            "lookup/?provider=oracle&amp;status=failed": 1,
            "lookup/?provider=oracle&amp;status=not_found": 1,
        }.items():
            assert re.search(rf'/admin/enrichment/{re.escape(query)}">{number}</a>', text), query
        assert 'The Oracle <span class="badge is-pending">in progress</span>' in text
        assert 'Sibyl <span class="badge is-discarded">off</span>' in text


def test_providers_without_a_key_and_without_lookups_take_no_room(viewer: Client) -> None:
    with registered(oracle(why_off=lambda: "ORACLE_KEY is not set.")):
        assert "Lookups by provider" not in text_of(viewer.get("/admin/"))
        ask()
        assert "Lookups by provider" in text_of(viewer.get("/admin/"))

"""The warnings on top of the dashboard: each there when there is something to do, and gone when there is not."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from console.alarms import MAX_NAMED, MAX_TIME_AWAY
from enrichment.lookups import control, providers
from enrichment.lookups.models import ProviderState
from enrichment.models import BulkAction, MinuteStat, Pruning
from enrichment.stats import MAX_NEW_DEAD_LETTERS, MAX_NEW_DEAD_SHARE
from ingestion.models import ApiKey, Delivery, Doorbell, PausedStream
from tests.held import hold, valid
from tests.lookups import ask, doubt, oracle, registered
from tests.people import browser_of, person, text_of
from tests.records import deliver
from tests.servers import ROOT

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
CONTROL = "/admin/ingestion/pausedstream/"


@pytest.fixture(autouse=True)
def alive() -> None:
    Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": timezone.now()})


def warnings(client: Client) -> list[str]:
    """The warnings, as text and links."""
    text = text_of(client.get("/admin/"))
    notes = re.findall(r'<div class="note is-\w+">(.*?)</div>', text, re.DOTALL)
    return [" ".join(note.split()) for note in notes]


def only(client: Client) -> str:
    (alarm,) = warnings(client)
    return alarm


def listed(client: Client, alarm: str) -> int:
    """How many rows there are where the warning leads."""
    page = re.findall(r'href="([^"]*)"', alarm)[-1].replace("&amp;", "&")
    number: int = client.get(page).context["cl"].result_count
    return number


def pending(stream: str = "tutors", **fields: Any) -> Delivery:
    delivery = deliver(stream, valid(stream))
    Delivery.objects.filter(pk=delivery.pk).update(**fields)
    return delivery


def test_nothing_is_wrong(viewer: Client) -> None:
    deliver("tutors", valid())
    hold()
    assert warnings(viewer) == []
    assert "No warnings." in text_of(viewer.get("/admin/"))


@pytest.mark.parametrize(("minutes", "last"), [(None, "No task has run yet"), (4, "4 min</time> ago")])
def test_no_workers_are_running(viewer: Client, minutes: int | None, last: str) -> None:
    answered = None if minutes is None else timezone.now() - timedelta(minutes=minutes)
    Doorbell.objects.update(answered_at=answered)
    assert "new records are accepted" in only(viewer)
    deliver("tutors", valid())
    alarm = only(viewer)
    for part in ("No workers running.", last, "1 record is queued", "manage.py qcluster"):
        assert part in alarm


@pytest.mark.parametrize(("seconds", "is_late"), [(60, False), (95, True)])
def test_workers_are_late_while_records_are_pending(viewer: Client, seconds: int, is_late: bool) -> None:
    Doorbell.objects.update(answered_at=timezone.now() - timedelta(seconds=seconds))
    assert warnings(viewer) == []  # nothing is pending
    delivery = pending()
    dashboard, streams = (" ".join(text_of(viewer.get(page)).split()) for page in ("/admin/", CONTROL))
    assert ("Workers healthy" in dashboard) is not is_late
    assert viewer.get("/health").json()["status"] == "healthy"  # a cluster is alive
    for text in (dashboard, streams):
        found = re.search(r"<strong>Workers are late:</strong> last task (\d+) s ago", text)
        assert bool(found) is is_late
        assert found is None or seconds <= int(found[1]) < seconds + 25
    assert ('role="status" id="alarms-summary" data-refresh="5">1 warning: Workers are late.<' in dashboard) is is_late
    PausedStream.objects.create(stream=delivery.stream, by="user:ann")
    assert "late" not in only(viewer)


def test_workers_are_late_by_their_own_sweep(viewer: Client, settings: LazySettings) -> None:
    pending()
    Doorbell.objects.update(answered_at=timezone.now() - timedelta(seconds=95))
    settings.SWEEP_INTERVAL = 120
    assert warnings(viewer) == []


def test_bad_data_is_received(viewer: Client) -> None:
    records = round(MAX_NEW_DEAD_LETTERS / MAX_NEW_DEAD_SHARE)
    MinuteStat.objects.create(minute=timezone.now(), stream="tutors", inserted=records)
    for number in range(MAX_NEW_DEAD_LETTERS):
        hold(messages={"age": [f"is {number}"]})
    hold(held_at=timezone.now() - timedelta(hours=2))
    assert warnings(viewer) == []  # as many as there may be
    hold(stream="students")
    alarm = only(viewer)
    assert "Dead letters are rising." in alarm
    assert f"{MAX_NEW_DEAD_LETTERS + 1} in the last hour, 2 % of the records processed" in alarm
    assert listed(viewer, alarm) == MAX_NEW_DEAD_LETTERS + 1
    assert "1 warning: Dead letters are rising.</p>" in text_of(viewer.get("/admin/"))  # for screen readers
    MinuteStat.objects.update(inserted=round((MAX_NEW_DEAD_LETTERS + 1) / MAX_NEW_DEAD_SHARE))
    assert warnings(viewer) == []  # among so many they are few


def test_prometheus_alerts_of_bad_data_by_the_same_numbers() -> None:
    rules = (ROOT / "deploy" / "prometheus" / "rules.yml").read_text()
    [rule] = re.findall(r"alert: TutorMaxDeadLetters\n +expr: >-\n((?: {10}.*\n)+)", rules)
    dead, records = (f"sum(increase(tutormax_records_total{of}[1h]))" for of in ('{outcome="dead"}', ""))
    limits = f"{dead} > {MAX_NEW_DEAD_LETTERS} and {dead} > {MAX_NEW_DEAD_SHARE} * {records}"
    assert rule.split() == limits.split()


def test_the_queue_is_full(viewer: Client, settings: LazySettings) -> None:
    deliver("tutors", valid(tutor_id="T-1"), valid(tutor_id="T-2"))
    deliver("students", valid("students"))
    settings.MAX_PENDING_RECORDS = 3
    assert warnings(viewer) == []
    settings.MAX_PENDING_RECORDS = 2
    assert "The queue of tutors is full; new tutors are rejected." in only(viewer)
    assert listed(viewer, only(viewer)) == 1


def test_clients_have_reached_their_limits(viewer: Client, settings: LazySettings) -> None:
    hold()
    deliver("tutors", valid(tutor_id="T-1"), valid(tutor_id="T-2"))
    assert warnings(viewer) == []
    settings.MAX_CLIENT_DEAD_LETTERS, settings.MAX_CLIENT_PENDING_RECORDS = 1, 3
    alarm = only(viewer)
    assert "key:abc: 1 open dead letters (limit: 1, MAX_CLIENT_DEAD_LETTERS)" in alarm
    assert listed(viewer, alarm) == 1
    settings.MAX_CLIENT_PENDING_RECORDS = 2
    assert "test: 2 pending records of tutors (limit: 2, MAX_CLIENT_PENDING_RECORDS)" in only(viewer)


def test_a_client_s_records_wait_for_too_many_others(viewer: Client, settings: LazySettings) -> None:
    hold(stream="sessions", status="waiting", code="missing_reference", missing_stream="tutors", missing_key="T-9")
    settings.MAX_CLIENT_DEAD_LETTERS = 1
    assert warnings(viewer) == []
    settings.MAX_CLIENT_WAITING_RECORDS = 1
    alarm = only(viewer)
    assert "1 records of sessions that lack a reference (limit: 1, MAX_CLIENT_WAITING_RECORDS)" in alarm
    assert listed(viewer, alarm) == 1


def test_records_have_been_pending_for_more_than_an_hour(viewer: Client) -> None:
    pending("tutors", received_at=timezone.now() - timedelta(minutes=55))
    assert warnings(viewer) == []
    pending("students", received_at=timezone.now() - timedelta(minutes=65))
    alarm = only(viewer)
    assert "for more than an hour" in alarm
    assert "students</a> for" in alarm
    assert listed(viewer, alarm) == 1
    PausedStream.objects.create(stream="students", by="user:ann")
    assert "for more than an hour" not in only(viewer)  # that it is paused is said already


def test_a_stream_is_paused(viewer: Client) -> None:
    deliver("tutors", valid(tutor_id="T-1"), valid(tutor_id="T-2"))
    deliver("students", valid("students"))
    since = timezone.now().replace(microsecond=0) - timedelta(hours=3)
    PausedStream.objects.create(stream="tutors", by="user:ann", at=since, reason="<i>wait\u202e</i>")
    alarm = only(viewer)
    for part in ("Stream tutors is paused.", "user:ann", f"{since:%H:%M:%S} +00:00", "2 records</a> are pending"):
        assert part in alarm
    assert r"&lt;i&gt;wait\u202e&lt;/i&gt;" in alarm
    assert "An operator can resume it." in alarm
    pending_page, control = re.findall(r'href="([^"]*)"', alarm)
    assert listed(viewer, f'href="{pending_page}"') == 1
    assert "tutors" in text_of(viewer.get(control))
    assert "Resume when ready." in only(browser_of(person("operator")))


def test_deliveries_are_failing(viewer: Client) -> None:
    pending(last_error="store: OperationalError: away")
    assert "1 delivery is failing." in only(viewer)
    assert "application error" not in only(viewer)
    pending("students", last_error="code: KeyError: x")
    pending("students", last_error="code: KeyError: x")
    alarm = only(viewer)
    assert "3 deliveries are failing." in alarm
    assert "1 with a database error and 2 with an application error" in alarm
    assert listed(viewer, alarm) == 3


def test_retention_does_not_run(viewer: Client, settings: LazySettings) -> None:
    settings.RETENTION = 10 * 86_400
    now = timezone.now()
    held = hold()
    Delivery.objects.filter(pk=held.delivery_id).update(processed_at=now - 9 * DAY)
    assert warnings(viewer) == []
    Delivery.objects.filter(pk=held.delivery_id).update(processed_at=now - 11 * DAY)
    assert "It has never run" in only(viewer)
    settings.RETENTION = 0  # off, as somebody wanted it
    assert warnings(viewer) == []
    settings.RETENTION = 10 * 86_400
    Pruning.objects.create(by="schedule", before=now, started_at=now)  # has not got anywhere
    run = Pruning.objects.create(by="schedule", before=now, finished_at=now - 4 * DAY)
    alarm = only(viewer)
    for part in (
        "tables keep growing",
        "4 d</time> ago",
        "more than 10 d ago are still stored",
        "manage.py prune",
        "/admin/enrichment/pruning/",
    ):
        assert part in alarm
    Pruning.objects.filter(pk=run.pk).update(finished_at=now - 2 * DAY)
    assert warnings(viewer) == []


def test_a_bulk_action_fails(operator: Client) -> None:
    BulkAction.objects.create(kind="discard", by="command", last_error="", total=9)
    BulkAction.objects.create(kind="discard", by="command", last_error="long ago", finished_at=timezone.now())
    assert warnings(operator) == []
    bulk_action = BulkAction.objects.create(
        kind="fix", by="command", last_error="KeyError: <x>", total=2000, count=1000
    )
    alarm = only(operator)
    for part in (f"Bulk action {bulk_action.pk} (fix)", "1,000 of 2,000", "KeyError: &lt;x&gt;"):
        assert part in alarm
    assert f'href="/admin/enrichment/bulkaction/{bulk_action.pk}/change/"' in alarm
    user = person()
    names = ["view_delivery", "view_heldrecord"]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    assert warnings(browser_of(user)) == []


def test_keys_expire_soon(viewer: Client) -> None:
    now = timezone.now()
    for name, days in [("soon", 3), ("later", 9), ("gone", -1), ("replaced", 2), ("<b>replaced in vain", 1)]:
        ApiKey.objects.create_key(name=name, expiry_date=now + days * DAY + timedelta(minutes=1))
    ApiKey.objects.create_key(name="revoked", expiry_date=now + DAY, revoked=True)
    ApiKey.objects.create_key(name="forever")
    ApiKey.objects.get(name="replaced").build_replacement("new", None).issue()
    ApiKey.objects.get(name="<b>replaced in vain").build_replacement("older", now + timedelta(hours=1)).issue()
    ApiKey.objects.filter(name="older").update(revoked=True)
    admin = browser_of(person("administrator"))
    alarm = only(admin)
    assert re.findall(r">([^<]*)</a> in (\d+ \w+)", alarm) == [("&lt;b&gt;replaced in vain", "1 d"), ("soon", "3 d")]
    assert "/admin/ingestion/apikey/?status=soon" in alarm
    assert warnings(viewer) == []  # who may not see keys
    for number in range(MAX_NAMED):
        ApiKey.objects.create_key(name=f"key {number}", expiry_date=now + DAY)
    alarm = only(admin)
    assert len(re.findall("</a> in", alarm)) == MAX_NAMED
    assert "and more" in alarm


def test_the_worst_stands_first() -> None:
    Doorbell.objects.update(answered_at=None)
    PausedStream.objects.create(stream="tutors", by="user:ann")
    pending("students", received_at=timezone.now() - DAY, last_error="store: away")
    ApiKey.objects.create_key(name="soon", expiry_date=timezone.now() + DAY)
    alarms = warnings(browser_of(person("administrator")))
    for alarm, part in zip(alarms, ["No workers", "failing", "an hour", "paused", "keys expire"], strict=True):
        assert part in alarm


class TestProviders:
    """The oracle is the only one, and is asked."""

    @pytest.fixture(autouse=True)
    def oracle(self) -> Iterator[None]:
        with registered(oracle()):
            yield

    def test_a_provider_that_is_asked_is_no_alarm(self, viewer: Client) -> None:
        ask(), ask(status="failed")
        state(away_since=timezone.now() - MAX_TIME_AWAY + timedelta(minutes=1))
        assert warnings(viewer) == []

    def test_a_refused_key(self, viewer: Client) -> None:
        ask()
        control.state_of("oracle")
        control.stop(providers.get("oracle"), "401: <b>invalid</b> key")
        alarm = only(viewer)
        assert "The Oracle refuses the key." in alarm and "401: &lt;b&gt;invalid&lt;/b&gt; key." in alarm
        assert "1 lookup is open." in alarm
        assert "/admin/enrichment/providerstate/" in alarm

    def test_a_provider_away_for_ten_minutes(self, viewer: Client) -> None:
        state(away_since=timezone.now() - MAX_TIME_AWAY - timedelta(minutes=1), last_error="503 from the Oracle")
        alarm = only(viewer)
        assert "The Oracle is away." in alarm and "503 from the Oracle. Since" in alarm

    def test_a_paused_provider(self, viewer: Client, operator: Client) -> None:
        control.pause("oracle", by="user:ann", reason="their maintenance")
        for client, advice in ((viewer, "An operator can resume it."), (operator, "Resume when ready.")):
            alarm = only(client)
            assert "The Oracle is paused." in alarm and "Paused by ann: their maintenance." in alarm
            assert advice in alarm

    def test_a_provider_without_key_that_lookups_wait_for(self, viewer: Client) -> None:
        with registered(oracle(why_off=lambda: "ORACLE_KEY is not set.")):
            assert warnings(viewer) == []
            ask()
            alarm = only(viewer)
        assert "The Oracle is off." in alarm and "ORACLE_KEY is not set." in alarm

    def test_ambiguous_lookups(self, viewer: Client) -> None:
        doubt(), doubt(), ask(status="found", answer={})
        alarm = only(viewer)
        assert "2 lookups are ambiguous." in alarm and "The Oracle: 2." in alarm
        assert listed(viewer, alarm) == 2

    def test_who_may_not_see_lookups_has_no_such_alarm(self) -> None:
        doubt()
        control.pause("oracle", by="user:ann", reason="x")
        user = person()
        user.user_permissions.set(Permission.objects.filter(codename__in=["view_delivery", "view_heldrecord"]))
        assert warnings(browser_of(user)) == []


def state(**fields: Any) -> None:
    ProviderState.objects.update_or_create(provider="oracle", defaults=fields)

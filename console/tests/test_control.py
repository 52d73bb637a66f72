"""The pages Streams and Retention: who may, what it does, what the history says, and what the pages show."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from pytest_django import Settings

from enrichment import retention, tasks
from enrichment.models import Pruning, RetentionRule
from enrichment.table_sizes import table_sizes
from ingestion import control, doorbell
from ingestion.models import Delivery, Doorbell, PausedStream
from tests.ages import delivery, grow_old, left
from tests.held import hold, valid
from tests.people import browser_of, person, text_of
from tests.records import deliver
from tests.servers import ROOT

pytestmark = pytest.mark.django_db

CONTROL = "/admin/ingestion/pausedstream/"
RETENTION = "/admin/enrichment/pruning/"


def history() -> list[tuple[str, str, str]]:
    found = LogEntry.objects.order_by("pk").values_list("user__username", "object_id", "change_message")
    return [(user, str(pk), text) for user, pk, text in found]


class TestControl:
    def test_an_operator_pauses_resumes_and_runs_a_stream(self, operator: Client) -> None:
        deliver("tutors", valid())
        assert 'name="reason"' in text_of(operator.get(f"{CONTROL}tutors/pause/"))
        assert not PausedStream.objects.exists()
        assert "This field is required" in text_of(operator.post(f"{CONTROL}tutors/pause/", {"reason": " "}))
        operator.post(f"{CONTROL}tutors/pause/", {"reason": "a <b>wrong</b> file\u202e"})
        text = text_of(operator.get(CONTROL))
        for part in ("a &lt;b&gt;wrong&lt;/b&gt; file\\u202e", "user:operator", f"{CONTROL}tutors/resume/"):
            assert part in text
        assert f"{CONTROL}tutors/pause/" not in text and f"{CONTROL}students/pause/" in text
        assert "is already paused" in text_of(
            operator.post(f"{CONTROL}tutors/pause/", {"reason": "again"}, follow=True)
        )
        operator.post(f"{CONTROL}tutors/resume/")
        assert not PausedStream.objects.exists()
        assert "someone else has resumed it already" in text_of(operator.post(f"{CONTROL}tutors/resume/", follow=True))
        Delivery.objects.update(retry_at=timezone.now() + timedelta(hours=1))
        operator.post(f"{CONTROL}tutors/run/")
        assert Delivery.objects.get().retry_at is None
        assert history() == [
            ("operator", "tutors", "Paused: a <b>wrong</b> file\u202e"),
            ("operator", "tutors", "Resumed."),
            ("operator", "tutors", "Run now. Retrying 1 delivery at once."),
        ]
        assert "Run now. Retrying 1 delivery at once." in text_of(operator.get(CONTROL))

    @pytest.mark.parametrize("action", ["pause", "resume", "run"])
    def test_a_viewer_sees_no_button_and_a_forged_post_is_refused(self, viewer: Client, action: str) -> None:
        control.pause("students", by="user:ann", reason="x")
        OrmQ.objects.all().delete()
        text = text_of(viewer.get(CONTROL))
        assert "paused" in text
        assert "formaction" not in text and f"/{action}/" not in text
        assert viewer.get(f"{CONTROL}students/{action}/").status_code == 403
        for stream in ("students", "tutors"):
            assert viewer.post(f"{CONTROL}{stream}/{action}/", {"reason": "x"}).status_code == 403
        assert [each.stream for each in PausedStream.objects.all()] == ["students"]
        assert (OrmQ.objects.count(), history()) == (0, [])

    def test_nothing_is_done_by_a_get_and_there_is_no_other_stream(self, operator: Client) -> None:
        control.pause("tutors", by="user:ann", reason="x")
        for action in ("resume", "run"):
            assert operator.get(f"{CONTROL}tutors/{action}/").status_code == 405
            assert operator.post(f"{CONTROL}nonsense/{action}/").status_code == 404
        assert operator.post(f"{CONTROL}nonsense/pause/", {"reason": "x"}).status_code == 404
        assert PausedStream.objects.get().stream == "tutors"
        assert operator.get(f"{CONTROL}tutors/change/")["Location"] == CONTROL

    def test_a_pause_of_a_stream_that_is_no_longer_registered_can_be_ended(self, operator: Client) -> None:
        control.pause("films", by="user:ann", reason="x")
        assert f"{CONTROL}films/resume/" in text_of(operator.get(CONTROL))
        operator.post(f"{CONTROL}films/resume/")
        assert not PausedStream.objects.exists()

    def test_it_shows_what_is_in_progress_and_failing(self, viewer: Client) -> None:
        for _ in range(3):
            deliver("tutors", valid())
        first, second, _ = Delivery.objects.order_by("pk")
        Delivery.objects.filter(pk=first.pk).update(started_at=timezone.now())
        again = timezone.now() + timedelta(hours=1)
        Delivery.objects.filter(pk=second.pk).update(last_error="store: away", retry_at=again)
        text = text_of(viewer.get(CONTROL))
        assert '<td data-label="in progress"> 1 </td>' in " ".join(text.split())
        assert "?status=failing&amp;stream=tutors" in text
        assert f"{timezone.localtime(again):%H:%M:%S}" in text
        assert "No stream has been paused" in text
        assert "about 1 batch pending" in text

    def test_its_queries_do_not_grow(self, operator: Client, django_assert_max_num_queries: Any) -> None:
        for stream in ("tutors", "students", "sessions", "feedback"):
            deliver(stream, valid(stream))
            control.pause(stream, by="user:ann", reason="x")
            operator.post(f"{CONTROL}{stream}/run/")
        operator.get(CONTROL)
        with django_assert_max_num_queries(20):
            operator.get(CONTROL)


class TestRetention:
    def test_the_page_shows_what_is_kept_and_since_when(self, viewer: Client) -> None:
        delivery(received_at=timezone.now() - timedelta(days=40))
        text = text_of(viewer.get(RETENTION))
        for part in ("30 d", ">40 d<", "forever (audit log)", "Not run yet", "Next run:", "daily"):
            assert part in text
        assert ">Preview</a>" in text and "Delete now" not in text

    def test_an_administrator_has_it_done_at_once(self, administrator: Client) -> None:
        delivery()
        OrmQ.objects.all().delete()
        text = text_of(administrator.get(f"{RETENTION}now/"))
        assert '<th scope="row">deliveries</th> <td>1</td>' in " ".join(text.split())
        assert 'value="Delete"' in text
        assert (len(left()), Pruning.objects.count()) == (1, 0)
        administrator.post(f"{RETENTION}now/")
        run = Pruning.objects.get()
        assert (run.by, OrmQ.objects.count()) == ("user:administrator", 1)
        assert "run in progress" in text_of(administrator.get(RETENTION))
        assert "already in progress" in text_of(administrator.post(f"{RETENTION}now/", follow=True))
        tasks.drain(60)
        assert not left()
        text = text_of(administrator.get(RETENTION))
        assert "deliveries: 1" in text and "finished" in text
        run.refresh_from_db()
        for at in (run.started_at, run.finished_at):
            assert at and f"{timezone.localtime(at):%H:%M:%S} +00:00" in text
        assert "Took" not in text
        assert ">administrator<" in text_of(administrator.get(f"{RETENTION}{run.pk}/change/"))
        [(user, pk, done)] = history()
        assert (user, pk) == ("administrator", str(run.pk))
        assert done.startswith("Started: deletes everything completed before 20")

    def test_it_says_whether_workers_are_running(self, administrator: Client) -> None:
        delivery()
        doorbell.acknowledge()
        assert "The workers delete in small steps" in text_of(administrator.post(f"{RETENTION}now/", follow=True))
        Pruning.objects.all().delete()
        Doorbell.objects.update(answered_at=timezone.now() - doorbell.ALIVE)
        text = text_of(administrator.post(f"{RETENTION}now/", follow=True))
        assert "The workers delete it" not in text
        assert "No workers running: it starts when they do." in text
        assert "it continues when they do" in text

    def test_who_may_not_finds_no_button_and_is_refused(self, operator: Client) -> None:
        delivery()
        text = text_of(operator.get(f"{RETENTION}now/"))
        assert '<th scope="row">deliveries</th> <td>1</td>' in " ".join(text.split())
        assert 'value="Delete"' not in text
        assert operator.post(f"{RETENTION}now/").status_code == 403
        assert not Pruning.objects.exists()

    def test_previews_are_among_the_tables(self, viewer: Client) -> None:
        text = text_of(viewer.get(RETENTION))
        for name in ("upload previews", "preview parts", "preview chunks"):
            assert f'<th scope="row">{name}</th>' in text
        assert "6 h after the file was chosen, at the most" in text

    def test_an_administrator_decides_by_stream(self, administrator: Client, operator: Client) -> None:
        grow_old(hold())
        page = f"{RETENTION}rules/"
        assert operator.get(page).status_code == 403
        assert "until closed" in text_of(operator.get(RETENTION))
        assert "greater than or equal to 1" in text_of(administrator.post(page, {"tutors-stored_days": "0"}))
        days = {"tutors-dead_letter_days": "20", "sessions-stored_days": "365"}
        preview = text_of(administrator.post(page, days, follow=True))
        assert f'<th scope="row">{retention.DISCARDED}</th> <td>1</td>' in " ".join(preview.split())
        rules = RetentionRule.objects.order_by("pk").values_list(
            "pk", "delivery_days", "dead_letter_days", "stored_days"
        )
        assert list(rules) == [("sessions", None, None, 365), ("tutors", None, 20, None)]
        assert {(user, stream) for user, stream, _ in history()} == {
            ("administrator", "tutors"),
            ("administrator", "sessions"),
        }
        assert "open dead letters 20" in text_of(administrator.get(page))
        assert "365 d after their version" in text_of(administrator.get(RETENTION))
        administrator.post(page, {})
        assert not RetentionRule.objects.exclude(dead_letter_days=None, stored_days=None).exists()

    def test_nobody_else_sees_it(self) -> None:
        nobody = browser_of(person())
        for page in (RETENTION, f"{RETENTION}now/", CONTROL):
            assert nobody.get(page).status_code == 403

    def test_what_takes_long_to_count_is_said_to_be_more(
        self, administrator: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stays = [grow_old(hold()) for _ in range(3)]
        monkeypatch.setattr("console.retention.PREVIEW_SECONDS", -1)
        monkeypatch.setattr(retention, "STEP", 2)
        text = text_of(administrator.get(f"{RETENTION}now/"))
        assert "counting stopped early" in text
        assert 'value="Delete"' in text
        Delivery.objects.filter(held_records=stays[0]).update(held=0, inserted=1)
        stays[0].delete()
        assert '<span class="quiet">at least</span> 1' in text_of(administrator.get(f"{RETENTION}now/"))

    def test_without_anything_to_delete_there_is_nothing_to_confirm(self, administrator: Client) -> None:
        text = text_of(administrator.get(f"{RETENTION}now/"))
        assert "Nothing to delete" in text
        assert 'value="Delete"' not in text

    def test_it_says_when_nothing_is_ever_deleted(self, administrator: Client, settings: Settings) -> None:
        Schedule.objects.all().delete()
        assert "Nothing is deleted automatically" in text_of(administrator.get(RETENTION))
        settings.RETENTION = 0
        text = text_of(administrator.get(RETENTION))
        assert "nothing is deleted" in text
        assert f"{RETENTION}now/" not in text
        administrator.post(f"{RETENTION}now/")
        assert not Pruning.objects.exists()

    @pytest.mark.postgresql
    def test_large_tables_are_estimated(self, viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("enrichment.table_sizes.COUNTED_BELOW", -1)
        assert 'class="quiet">about</span>' in text_of(viewer.get(RETENTION))

    @pytest.mark.postgresql
    def test_the_size_of_deliveries_in_partitions_is_that_of_all(self, viewer: Client) -> None:
        script = (ROOT / "bench" / "partitions.sql").read_text()
        with connection.cursor() as cursor:
            cursor.execute(script.partition("BEGIN;")[2].rpartition("COMMIT;")[0])  # rolled back with the test
        [row] = [size for size in table_sizes() if size.name == "deliveries"]
        assert row.bytes
        assert viewer.get(RETENTION).status_code == 200

    def test_its_queries_do_not_grow(self, viewer: Client, django_assert_max_num_queries: Any) -> None:
        for _ in range(30):
            retention.create_run(by="test")
        Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": timezone.now()})
        viewer.get(RETENTION)
        with django_assert_max_num_queries(55):
            viewer.get(RETENTION)

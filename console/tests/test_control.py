"""Control and retention in the admin: who may, what it does, what is kept of who did it, and what the pages tell."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from pytest_django import Settings

from enrichment import retention, stats, tasks
from enrichment.models import Pruning
from enrichment.tests.held import hold, valid
from enrichment.tests.test_retention import delivery, grow_old, left
from ingestion import control, doorbell
from ingestion.models import Delivery, Doorbell, PausedStream
from tests.people import browser_of, person, text_of
from tests.records import deliver

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
        for told in ("a &lt;b&gt;wrong&lt;/b&gt; file\\u202e", "user:operator", f"{CONTROL}tutors/resume/"):
            assert told in text
        assert f"{CONTROL}tutors/pause/" not in text and f"{CONTROL}students/pause/" in text
        assert "was paused already" in text_of(
            operator.post(f"{CONTROL}tutors/pause/", {"reason": "again"}, follow=True)
        )
        operator.post(f"{CONTROL}tutors/resume/")
        assert not PausedStream.objects.exists()
        assert "someone was faster" in text_of(operator.post(f"{CONTROL}tutors/resume/", follow=True))
        Delivery.objects.update(retry_at=timezone.now() + timedelta(hours=1))
        operator.post(f"{CONTROL}tutors/run/")
        assert Delivery.objects.get().retry_at is None
        assert history() == [
            ("operator", "tutors", "Paused: a <b>wrong</b> file\u202e"),
            ("operator", "tutors", "Resumed."),
            ("operator", "tutors", "Run now. 1 delivery in a pause after an error will be tried at once."),
        ]
        assert "Run now. 1 delivery" in text_of(operator.get(CONTROL))

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

    def test_it_tells_what_is_in_hand_and_in_trouble(self, viewer: Client) -> None:
        for _ in range(3):
            deliver("tutors", valid())
        first, second, _ = Delivery.objects.order_by("pk")
        Delivery.objects.filter(pk=first.pk).update(started_at=timezone.now())
        again = timezone.now() + timedelta(hours=1)
        Delivery.objects.filter(pk=second.pk).update(last_error="store: away", retry_at=again)
        text = text_of(viewer.get(CONTROL))
        assert '<td data-label="in hand">1</td>' in text
        assert "?status=failing&amp;stream=tutors" in text
        assert f"{timezone.localtime(again):%H:%M:%S}" in text
        assert "Nobody has paused" in text
        assert "about 1 batch to do" in text

    def test_its_queries_do_not_grow(self, operator: Client, django_assert_max_num_queries: Any) -> None:
        for stream in ("tutors", "students", "sessions", "feedback"):
            deliver(stream, valid(stream))
            control.pause(stream, by="user:ann", reason="x")
            operator.post(f"{CONTROL}{stream}/run/")
        operator.get(CONTROL)
        with django_assert_max_num_queries(20):
            operator.get(CONTROL)


class TestRetention:
    def test_the_page_tells_what_is_kept_and_since_when(self, viewer: Client) -> None:
        delivery(received_at=timezone.now() - timedelta(days=40))
        text = text_of(viewer.get(RETENTION))
        for told in ("30 d", ">40 d<", "forever (audit log)", "Retention has not run yet", "daily, next"):
            assert told in text
        assert "What would be deleted now" in text and "Prune now" not in text

    def test_an_administrator_has_it_done_at_once(self, administrator: Client) -> None:
        delivery()
        OrmQ.objects.all().delete()
        text = text_of(administrator.get(f"{RETENTION}now/"))
        assert '<th scope="row">deliveries</th><td>1</td>' in text
        assert "Yes, delete them" in text
        assert (len(left()), Pruning.objects.count()) == (1, 0)
        administrator.post(f"{RETENTION}now/")
        run = Pruning.objects.get()
        assert (run.by, OrmQ.objects.count()) == ("user:administrator", 1)
        assert "a run is under way" in text_of(administrator.get(RETENTION))
        assert "under way already" in text_of(administrator.post(f"{RETENTION}now/", follow=True))
        tasks.drain(60)
        assert not left()
        text = text_of(administrator.get(RETENTION))
        assert "deliveries: 1" in text and "finished" in text
        run.refresh_from_db()
        for at in (run.started_at, run.finished_at):
            assert at and f"{timezone.localtime(at):%H:%M:%S} +00:00" in text
        assert "Took" not in text
        assert "user:administrator" in text_of(administrator.get(f"{RETENTION}{run.pk}/change/"))
        [(user, pk, done)] = history()
        assert (user, pk) == ("administrator", str(run.pk))
        assert done.startswith("Begun: deletes what was done with before 20")

    def test_it_says_whether_a_cluster_is_alive_to_do_it(self, administrator: Client) -> None:
        delivery()
        doorbell.acknowledge()
        assert "The workers delete it now" in text_of(administrator.post(f"{RETENTION}now/", follow=True))
        Pruning.objects.all().delete()
        Doorbell.objects.update(answered_at=timezone.now() - stats.ALIVE)
        text = text_of(administrator.post(f"{RETENTION}now/", follow=True))
        assert "The workers delete it now" not in text
        assert "No cluster is alive: it begins when one runs." in text
        assert "goes on when a cluster runs" in text

    def test_who_may_not_finds_no_button_and_is_refused(self, operator: Client) -> None:
        delivery()
        text = text_of(operator.get(f"{RETENTION}now/"))
        assert '<th scope="row">deliveries</th><td>1</td>' in text
        assert "Yes, delete them" not in text
        assert operator.post(f"{RETENTION}now/").status_code == 403
        assert not Pruning.objects.exists()

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
        assert "more to look at than a page may" in text
        assert "Yes, delete them" in text
        Delivery.objects.filter(held_records=stays[0]).update(held=0, inserted=1)
        stays[0].delete()
        assert '<span class="quiet">at least</span> 1' in text_of(administrator.get(f"{RETENTION}now/"))

    def test_without_anything_to_delete_there_is_nothing_to_confirm(self, administrator: Client) -> None:
        text = text_of(administrator.get(f"{RETENTION}now/"))
        assert "Nothing: whatever is there" in text
        assert "Yes, delete them" not in text

    def test_it_says_when_nothing_is_ever_deleted(self, administrator: Client, settings: Settings) -> None:
        Schedule.objects.all().delete()
        assert "No schedule deletes it" in text_of(administrator.get(RETENTION))
        settings.RETENTION = 0
        text = text_of(administrator.get(RETENTION))
        assert "everything is kept for ever" in text
        assert f"{RETENTION}now/" not in text
        administrator.post(f"{RETENTION}now/")
        assert not Pruning.objects.exists()

    @pytest.mark.postgresql
    def test_large_tables_are_estimated(self, viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("enrichment.table_sizes.COUNTED_BELOW", -1)
        assert 'class="quiet">about</span>' in text_of(viewer.get(RETENTION))

    def test_its_queries_do_not_grow(self, viewer: Client, django_assert_max_num_queries: Any) -> None:
        for _ in range(30):
            retention.create_run(by="test")
        Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": timezone.now()})
        viewer.get(RETENTION)
        with django_assert_max_num_queries(36):
            viewer.get(RETENTION)

"""Retention: what is deleted, what is kept forever, and that a run may be interrupted, beside everything else."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.utils import timezone
from django_q.models import OrmQ, Task
from pytest_django import Settings

from enrichment import retention, sweep, tasks
from enrichment.models import BulkAction, Failure, HeldRecord, MinuteStat, Pruning, RetentionRule
from ingestion import doorbell
from ingestion.models import Delivery, Throttle, Upload
from ingestion.streams import get
from tests.ages import delivery, grow_old, left, long_ago
from tests.api import api
from tests.held import hold, reprocess, valid, wait
from tests.people import browser_of, person, text_of
from tests.records import assert_nothing_vanished, deliver, send, work_off

pytestmark = pytest.mark.django_db

Status = HeldRecord.Status


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", 4)


def prune() -> Pruning:
    return retention.run_to_completion(retention.create_run(by="test"))


def test_what_was_done_with_long_ago_goes() -> None:
    old = delivery()
    closed = [grow_old(hold(), status=Status.RESOLVED), grow_old(hold(), status=Status.DISCARDED)]
    recent = delivery(received_at=timezone.now(), processed_at=timezone.now())
    run = prune()
    assert left() == {recent.pk}
    assert not HeldRecord.objects.exists() and not Failure.objects.exists()
    numbers = {name: number for name, number in run.deleted.items() if number}
    assert numbers == {"deliveries": 3, "failed records": 2, "failures": 2}
    assert run.finished_at and run.reached == {}
    assert old.pk not in left() and closed


def test_what_is_open_or_under_way_stays_however_old() -> None:
    open_records = [grow_old(hold()), grow_old(wait())]
    lately_closed = grow_old(hold(), status=Status.RESOLVED, changed_at=timezone.now())
    pending = delivery(processed_at=None, inserted=0)
    lately_done = delivery(processed_at=timezone.now())  # its stream was paused
    numbers = retention.preview().numbers
    prune()
    staying = {record.delivery_id for record in (*open_records, lately_closed)} | {pending.pk, lately_done.pk}
    assert left() == staying
    assert HeldRecord.objects.count() == 3 == Failure.objects.count()
    assert not any(numbers.values())
    assert_nothing_vanished()


def test_one_open_record_keeps_its_delivery_and_all_records_of_it() -> None:
    """Or the numbers of the delivery would no longer add up (P3)."""
    stays = grow_old(hold())
    Delivery.objects.filter(pk=stays.delivery_id).update(count=2, held=2)
    closed = grow_old(hold(delivery=stays.delivery, position=1), status=Status.DISCARDED)
    Delivery.objects.exclude(pk=stays.delivery_id).delete()  # the one that hold() made in vain
    prune()
    assert left() == {stays.delivery_id}
    assert set(HeldRecord.objects.values_list("pk", flat=True)) == {stays.pk, closed.pk}
    assert_nothing_vanished()
    HeldRecord.objects.filter(pk=stays.pk).update(status=Status.RESOLVED)
    assert prune().deleted["failed records"] == 2
    assert not left()


def test_deliveries_of_a_bulk_action_stay_until_it_is_finished() -> None:
    unfinished = BulkAction.objects.create(kind="reprocess", by="test")
    finished = BulkAction.objects.create(kind="reprocess", by="test", finished_at=timezone.now(), count=1)
    kept, gone = (delivery(source=Delivery.Source.BULK_ACTION, format="held") for _ in range(2))
    unfinished.deliveries.add(kept)
    finished.deliveries.add(gone)
    prune()
    assert left() == {kept.pk}
    assert BulkAction.objects.count() == 2  # who did what is kept
    assert list(finished.deliveries.all()) == []


def upload(**fields: Any) -> Upload:
    told = {"stream": "tutors", "client": "key:abc", "name": "a.csv", "format": "csv", "size": 9, "sha256": "0"}
    return Upload.objects.create(**{**told, "created_at": long_ago(), "finished_at": long_ago(), **fields})


def test_an_upload_goes_with_its_last_delivery_and_one_to_go_on_with_stays() -> None:
    done, partly, interrupted = upload(), upload(), upload(finished_at=None)
    delivery(upload=done, first_row=1)
    delivery(upload=partly, first_row=1)
    recent = delivery(upload=partly, first_row=2, processed_at=timezone.now())
    of_interrupted = delivery(upload=interrupted, first_row=1)
    assert retention.preview().numbers | {"deliveries": 2, "uploads": 1} == retention.preview().numbers
    prune()
    assert left() == {recent.pk, of_interrupted.pk}
    assert set(Upload.objects.all()) == {partly, interrupted}


def test_a_set_goes_with_the_last_delivery_of_its_last_part() -> None:
    done, partly = upload(format="set"), upload(format="set")
    parts = [upload(part_of=whole, fingerprint=name) for whole in (done, partly) for name in ("first", "second")]
    for part in parts[:3]:
        delivery(upload=part, first_row=1)
    recent = delivery(upload=parts[3], first_row=1, processed_at=timezone.now())
    assert retention.preview().numbers | {"deliveries": 3, "uploads": 1} == retention.preview().numbers
    prune()
    assert left() == {recent.pk}
    assert set(Upload.objects.all()) == {partly, *parts[2:]}


def test_records_totals_and_history_are_kept_for_ever() -> None:
    send("tutors", valid(tutor_id="T-1"))
    Delivery.objects.update(received_at=long_ago(), processed_at=long_ago())
    tutors = get("tutors").model._default_manager
    tutors.update(stored_at=long_ago())
    MinuteStat.objects.update(minute=long_ago())
    user = person("viewer")
    LogEntry.objects.log_actions(user.pk, [user], 2, change_message="x", single_object=True)
    LogEntry.objects.update(action_time=long_ago())
    prune()
    assert not left()
    assert (tutors.count(), MinuteStat.objects.count(), LogEntry.objects.count()) == (1, 1, 1)


# By the rules of streams.


def rule(stream: str, **days: int) -> None:
    RetentionRule.objects.create(stream=stream, **days)


def test_deliveries_of_a_stream_go_earlier_or_later_than_others() -> None:
    rule("tutors", delivery_days=5)
    rule("sessions", delivery_days=60)
    days = {name: timezone.now() - timedelta(days=name) for name in (4, 10, 40)}
    found = {
        (stream, age): delivery(stream=stream, received_at=at, processed_at=at).pk
        for age, at in sorted(days.items(), reverse=True)
        for stream in ("students", "sessions", "tutors")
    }
    closed = hold()
    at = days[10]
    HeldRecord.objects.filter(pk=closed.pk).update(status=Status.DISCARDED, held_at=at, changed_at=at)
    Delivery.objects.filter(pk=closed.delivery_id).update(received_at=at, processed_at=at)
    numbers = retention.preview().numbers
    run = prune()
    gone = {("students", 40), ("tutors", 40), ("tutors", 10)}
    assert left() == {pk for name, pk in found.items() if name not in gone}
    assert (numbers["deliveries"], numbers["failed records"]) == (4, 1)
    assert (run.deleted["deliveries"], run.deleted["failed records"]) == (4, 1)


def test_open_dead_letters_of_a_stream_are_discarded_and_deleted_later() -> None:
    rule("tutors", dead_letter_days=10)
    old, other, young, waiting = grow_old(hold()), grow_old(hold(stream="students")), hold(), grow_old(wait())
    assert retention.preview().numbers[retention.DISCARDED] == 1
    tasks.prune()
    tasks.drain(60)
    old.refresh_from_db()
    assert (old.status, old.bulk_actions.get().by) == (Status.DISCARDED, "schedule")
    assert HeldRecord.objects.open().count() == 3 == len({other, young, waiting})
    grow_old(old)
    tasks.prune()
    tasks.drain(60)
    assert not HeldRecord.objects.filter(pk=old.pk).exists()
    assert BulkAction.objects.count() == 1


def test_stored_records_of_a_stream_go_but_for_those_that_others_refer_to(small_steps: None) -> None:
    old = (timezone.now() - timedelta(days=100)).isoformat()
    send("tutors", *(valid(tutor_id=f"T-{number}", updated_at=old) for number in range(9)), valid(tutor_id="new"))
    send("students", valid("students", updated_at=old), valid("students", student_id="alone", updated_at=old))
    sessions = [valid("sessions", session_id=f"S-{n}", tutor_id=f"T-{n}", updated_at=old) for n in range(3)]
    send("sessions", *sessions, valid("sessions", session_id="new", tutor_id="T-3"))
    send("feedback", valid("feedback", session_id="S-0", tutor_id="T-0"))
    get("sessions").model._default_manager.filter(pk="new").update(version_at=timezone.now())
    get("tutors").model._default_manager.filter(pk="new").update(version_at=timezone.now())
    get("feedback").model._default_manager.update(version_at=timezone.now())
    for stream in ("tutors", "sessions", "feedback"):
        rule(stream, stored_days=90)
    numbers = retention.preview().numbers
    run = prune()
    kept = {name: set(get(name).model._default_manager.values_list("pk", flat=True)) for name in ("tutors", "sessions")}
    # S-0 has feedback that stays, and so its tutor; T-3 has the session that is new.
    assert kept == {"tutors": {"T-0", "T-3", "new"}, "sessions": {"S-0", "new"}}
    assert get("students").model._default_manager.count() == 2
    names = ("stored tutors", "stored sessions", "stored feedback", "stored students")
    expected = [7, 2, 0, 0]
    assert [numbers.get(name, 0) for name in names] == [run.deleted.get(name, 0) for name in names] == expected


def test_without_rules_stored_records_and_dead_letters_stay() -> None:
    send("tutors", valid(tutor_id="T-1"))
    get("tutors").model._default_manager.update(version_at="1990-01-01T00:00:00Z")
    grow_old(hold())
    tasks.prune()
    tasks.drain(60)
    assert get("tutors").model._default_manager.count() == 1 == HeldRecord.objects.open().count()
    assert not BulkAction.objects.exists()


def test_what_the_libraries_leave_goes_too() -> None:
    now = timezone.now()
    for at in (long_ago(), now):
        Throttle.objects.create(key=f"{at:%m%d}", due=at.timestamp())
        Session.objects.create(session_key=f"{at}", expire_date=at + timedelta(days=1))
        Task.objects.create(id=f"{at}"[:32], name="x", func="x", started=at, stopped=at, success=False)
        told = {"username": f"{at}", "ip_address": "127.0.0.1", "user_agent": "x", "path_info": "/"}
        AccessLog.objects.create(**told)
        AccessFailureLog.objects.create(**told)
        AccessAttempt.objects.create(**told, failures_since_start=9)
        if at < now:
            for model in (AccessLog, AccessFailureLog, AccessAttempt):
                model.objects.update(attempt_time=at)
    run = prune()
    for model in (Throttle, Session, Task, AccessLog, AccessFailureLog, AccessAttempt):
        assert model._default_manager.count() == 1, model
    assert sum(run.deleted.values()) == 6


def test_a_lock_out_outlives_a_short_retention(settings: Settings) -> None:
    settings.RETENTION = 1
    AccessAttempt.objects.create(username="x", user_agent="x", path_info="/", failures_since_start=10)
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=10))
    prune()
    assert AccessAttempt.objects.exists()


# In steps.


def steps() -> int:
    number = 0
    while retention.run_next_step():
        number += 1
    return number


def test_it_goes_in_steps_and_on_where_it_stopped(small_steps: None) -> None:
    for _ in range(10):
        delivery()
    run = retention.create_run(by="test")
    assert retention.run_next_step()
    run.refresh_from_db()
    assert (run.deleted["deliveries"], len(left()), run.finished_at) == (4, 6, None)
    assert run.reached["table"] == "deliveries"
    assert steps() > 2
    run.refresh_from_db()
    assert (run.deleted["deliveries"], len(left())) == (10, 0)
    assert run.finished_at


def test_a_large_body_is_a_step_of_its_own(small_steps: None) -> None:
    large = delivery(size=50 * retention.BYTES_PER_ROW)
    small = delivery()
    run = retention.create_run(by="test")
    retention.run_next_step()
    assert left() == {small.pk} and run.pk and large.pk


def test_it_ends_where_the_rows_are_too_young(small_steps: None) -> None:
    for _ in range(5):
        delivery()
    for _ in range(40):
        delivery(received_at=timezone.now(), processed_at=timezone.now())
    retention.create_run(by="test")
    assert steps() < 20
    assert len(left()) == 40


def test_a_step_that_fails_is_undone_and_tried_again(small_steps: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        delivery()
    run = retention.create_run(by="test")

    def fail(self: Any, **options: Any) -> None:
        raise RuntimeError("a mistake")

    with monkeypatch.context() as patch:
        patch.setattr(Pruning, "save", fail)
        tasks.drain(60)  # logs it
    assert len(left()) == 3
    tasks.drain(60)
    run.refresh_from_db()
    assert (left(), run.deleted["deliveries"]) == (set(), 3)


def in_queue() -> list[str]:
    return [str(task.func()) for task in OrmQ.objects.all()]


def test_the_schedule_begins_it_and_a_drain_does_it_though_nothing_else_is_pending(small_steps: None) -> None:
    for _ in range(10):
        delivery()
    doorbell.acknowledge()
    OrmQ.objects.all().delete()
    tasks.prune()
    assert (in_queue(), len(left())) == ([doorbell.DRAIN_TASK], 10)
    tasks.drain(60)
    assert Pruning.objects.get().finished_at
    assert (len(in_queue()), left()) == (1, set())  # nobody is rung for nothing


def ticking(seconds: float) -> Callable[[], float]:
    """A clock that is so much further each time it is read: the machine's speed does not matter."""
    return count(0, seconds).__next__


@pytest.mark.parametrize("is_busy", [True, False], ids=["beside records", "alone"])
def test_a_drain_goes_on_until_its_time_is_over_and_rings_again(monkeypatch: pytest.MonkeyPatch, is_busy: bool) -> None:
    monkeypatch.setattr(retention, "STEP", 1)
    old = {delivery().pk for _ in range(8)}
    posted = deliver("tutors", valid()) if is_busy else None
    run = retention.create_run(by="test")
    OrmQ.objects.all().delete()
    with monkeypatch.context() as patch:
        patch.setattr(tasks, "time", SimpleNamespace(monotonic=ticking(0.5)))
        tasks.drain(2.0)  # three rounds: at 0.5, 1.0 and 1.5
    run.refresh_from_db()
    assert (len(left() & old), run.finished_at) == (5, None)
    assert posted is None or Delivery.objects.get(pk=posted.pk).processed_at
    assert in_queue() == [doorbell.DRAIN_TASK]


def test_the_sweep_has_a_run_taken_up_that_a_crash_left() -> None:
    delivery()
    retention.create_run(by="test")
    OrmQ.objects.all().delete()
    sweep.sweep()
    assert in_queue() == [doorbell.DRAIN_TASK]
    tasks.drain(60)
    assert not left()


def test_without_a_retention_nothing_goes(settings: Settings) -> None:
    kept = delivery()
    run = retention.create_run(by="test")
    settings.RETENTION = 0
    tasks.prune()
    assert not retention.run_next_step()
    assert left() == {kept.pk}
    assert command() == "RETENTION is 0: nothing is ever deleted.\n"
    assert list(Pruning.objects.all()) == [run]


def test_a_retention_made_longer_is_heeded_by_a_run_that_has_begun(settings: Settings) -> None:
    kept = delivery()
    run = retention.create_run(by="test")
    settings.RETENTION *= 2
    retention.run_to_completion(run)
    assert left() == {kept.pk}


# The command.


def command(*options: str) -> str:
    output = io.StringIO()
    call_command("prune", *options, stdout=output)
    return output.getvalue()


def test_the_command_tells_what_it_deleted() -> None:
    delivery()
    grow_old(hold(), status=Status.DISCARDED)
    assert command("--dry-run").startswith("Would delete data completed before 20")
    assert command("--dry-run").endswith(": failed records: 1; deliveries: 2.\n")
    assert len(left()) == 2
    assert command().endswith(": failed records: 1; failures: 1; deliveries: 2.\n")
    assert command().endswith(": nothing.\n")
    assert set(Pruning.objects.values_list("by", flat=True)) == {"command"}


def test_a_bulk_action_that_begins_later_finds_what_is_left() -> None:
    grow_old(hold(), status=Status.DISCARDED)
    stays = grow_old(hold())
    prune()
    assert reprocess({}, by="test").count == 1
    assert HeldRecord.objects.get() == stays


# What is told of what is gone.


def test_the_answer_about_a_deleted_delivery_says_why(settings: Settings) -> None:
    old, file = delivery(client="key:x"), upload()
    prune()
    staff = browser_of(person("viewer"))
    for path in (f"/api/deliveries/{old.pk}", f"/api/uploads/{file.pk}"):
        message = api().get(path).json()["error"]["message"]
        assert message.endswith(", or it has been deleted: retention is 30 d.")
    page = staff.get(f"/admin/ingestion/delivery/{old.pk}/change/", follow=True)
    assert page.redirect_chain == [("/admin/ingestion/delivery/", 302)]
    assert f"There is no delivery {old.pk}, or it has been deleted: retention is 30 d." in text_of(page)
    settings.RETENTION = 0
    assert api().get(f"/api/deliveries/{old.pk}").json()["error"]["message"] == "Delivery not found."


def test_an_upload_says_that_some_of_it_is_gone() -> None:
    file = upload()
    delivery(upload=file, first_row=1)
    delivery(upload=file, first_row=2, processed_at=timezone.now())
    staff, page = browser_of(person("viewer")), f"/admin/ingestion/upload/{file.pk}/change/"
    assert "the numbers below do not include them" not in text_of(staff.get(page))
    prune()
    assert "the numbers below do not include them" in text_of(staff.get(page))


def test_an_idempotency_key_is_forgotten_with_its_delivery() -> None:
    client = api()

    def post() -> int:
        body, key = json.dumps(valid(tutor_id="T-1")), {"Idempotency-Key": "k-1"}
        answer = client.post("/api/tutors", body, content_type="application/json", headers=key)
        return int(answer.json()["delivery"])

    first = post()
    assert post() == first
    work_off()
    Delivery.objects.update(received_at=long_ago(), processed_at=long_ago())
    prune()
    assert post() > first

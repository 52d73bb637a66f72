"""P7: the doorbell may fail; the sweep finds what a lost ring leaves behind, and one failing step stops no other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from enrichment import sweep, tasks
from enrichment.cluster.broker import Broker
from enrichment.held import revival
from enrichment.models import MinuteStat
from enrichment.pipeline import batch
from enrichment.subjects import erasure
from ingestion import doorbell, streams
from ingestion.models import Delivery, Doorbell
from tests.promises.helpers import elsewhere, rings
from tests.records import counts, deliver
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.django_db(transaction=True)


def test_many_deliveries_ring_once(silent_bell: None) -> None:
    for i in range(20):
        deliver("tutors", tutor(tutor_id=f"t{i}"))
    assert rings() == 1


def test_it_rings_again_after_an_answer(silent_bell: None) -> None:
    deliver("tutors", tutor())
    doorbell.acknowledge()
    deliver("tutors", tutor())
    assert rings() == 2


def test_streams_that_have_nothing_cost_a_worker_no_statement_each(silent_bell: None) -> None:
    deliver("tutors", tutor())
    assert Delivery.objects.pending_among(["students", "tutors", "nothing"]) == {"tutors"}
    assert Delivery.objects.pending_among([]) == set()
    tasks.drain(60)
    assert Delivery.objects.pending_among(["students", "tutors"]) == set()
    with CaptureQueriesContext(connection) as queries:
        tasks.drain(60)
    claims = [query for query in queries if 'FROM "ingestion_delivery"' in query["sql"] and "count" in query["sql"]]
    assert not claims, claims


def test_a_flushed_broker_is_made_up_for_by_the_sweep(silent_bell: None) -> None:
    deliver("tutors", tutor())
    OrmQ.objects.all().delete()
    Doorbell.objects.update(rung_at="2020-01-01T00:00:00Z")
    sweep.sweep()
    assert rings() == 1


def test_a_mistake_in_a_step_of_the_sweep_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    OrmQ.objects.all().delete()
    Doorbell.objects.update(rung_at=None)
    monkeypatch.setitem(streams._streams, "broken", None)  # every step that goes through the streams trips over it
    sweep.sweep()
    assert OrmQ.objects.count() == 1


def test_a_missing_row_is_made_anew_by_whoever_misses_it(silent_bell: None) -> None:
    Doorbell.objects.all().delete()
    deliver("tutors", tutor())
    assert rings() == 1
    Doorbell.objects.all().delete()
    doorbell.acknowledge()
    assert doorbell.heartbeat()


@pytest.mark.parametrize("minutes", [-2, 2])
def test_no_clock_but_the_database_s_counts(silent_bell: None, minutes: int) -> None:
    doorbell.acknowledge()
    with time_machine.travel(timezone.now() + timedelta(minutes=minutes)):
        deliver("tutors", tutor())
        assert doorbell.state() == (True, False)
        assert abs(timezone.now() - (doorbell.heartbeat() or timezone.now() - timedelta(days=1))) < timedelta(seconds=9)


@pytest.mark.postgresql
@pytest.mark.parametrize("minutes", [-2, 2])
def test_a_task_is_due_at_once_whatever_the_clock_of_who_queued_it(silent_bell: None, minutes: int) -> None:
    with time_machine.travel(timezone.now() + timedelta(minutes=minutes)):
        doorbell.enqueue_drain()
    broker = Broker(list_key=OrmQ.objects.get().key)
    assert broker.queue_size() == 1
    assert len(broker.dequeue() or []) == 1
    assert broker.dequeue() is None, "it is locked for the one that has it"
    assert (broker.queue_size(), broker.lock_size()) == (0, 1)


@pytest.mark.postgresql
def test_a_cut_connection_to_the_queue_is_a_pause_not_an_error(silent_bell: None) -> None:
    doorbell.enqueue_drain()
    broker = Broker(list_key=OrmQ.objects.get().key)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]

    def cut() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

    elsewhere(cut)
    assert [len(broker.dequeue() or []) for _ in range(2)] in ([0, 1], [1, 0])


@pytest.mark.postgresql
def test_behind_a_pooler_the_sweep_leaves_the_session_as_it_is(settings: Settings) -> None:
    """Which is another one's with the next transaction."""
    settings.TRANSACTION_POOLING = True
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '7s'")
        sweep.limit_waiting()
        cursor.execute("SHOW lock_timeout")
        assert cursor.fetchone() == ("7s",)
        cursor.execute("RESET lock_timeout")


@pytest.mark.postgresql
def test_a_step_of_the_sweep_that_waits_for_a_lock_holds_up_no_other(
    silent_bell: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "LOCK_TIMEOUT", 0.2)
    old = timezone.now() - timedelta(days=9)
    for minute in range(2):
        MinuteStat.objects.add("tutors", old + timedelta(minutes=minute), {"inserted": 1})
    locked, done = threading.Event(), threading.Event()

    def lock() -> None:
        with transaction.atomic():
            list(MinuteStat.objects.select_for_update())
            locked.set()
            done.wait(30)
        connection.close()

    thread = threading.Thread(target=lock)
    thread.start()
    try:
        assert locked.wait(30)
        Doorbell.objects.update(rung_at=None)
        started = time.monotonic()
        sweep.sweep()
        assert time.monotonic() - started < 20, "it did not wait for the lock"
        assert rings() >= 1
        assert MinuteStat.objects.count() == 2
    finally:
        done.set()
        thread.join()
        connection.close()  # its lock_timeout is that of the sweep
    sweep.sweep()
    assert MinuteStat.objects.count() == 1


def test_it_rings_when_others_can_see_the_delivery(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(doorbell, "enqueue_drain", lambda: seen.append(elsewhere(Delivery.objects.count)))
    deliver("tutors", tutor())
    assert seen == [1]


def test_records_are_accepted_when_the_bell_cannot_ring(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any, **options: Any) -> None:
        raise ConnectionError("the broker is away")

    with monkeypatch.context() as patch:
        patch.setattr(doorbell, "async_task", away)
        assert counts(deliver("tutors", tutor())) == {"pending": 1}
    doorbell.ring()  # heard, since the one before was not
    assert rings() == 1


def test_a_drain_rings_again_when_it_leaves_work_behind(silent_bell: None) -> None:
    delivery = deliver("tutors", tutor())
    OrmQ.objects.all().delete()
    tasks.drain(0)  # over before it begins, however fast the machine is
    assert (counts(delivery), rings()) == ({"pending": 1}, 1)


def test_a_drain_that_leaves_nothing_rings_nobody(silent_bell: None) -> None:
    delivery = deliver("tutors", tutor())
    OrmQ.objects.all().delete()
    tasks.drain(60)
    assert (counts(delivery), rings()) == ({"inserted": 1}, 0)


def watched() -> bool:
    return doorbell.state()[1]


class Pauses:
    """Stands in for the pauses of a watch: the n-th thing is done in the n-th of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *things: Callable[[], object]) -> None:
        self.things, self.seen = list(things), 0
        clock = SimpleNamespace(monotonic=self.now, sleep=self.sleep)
        monkeypatch.setattr(tasks, "time", clock)

    def now(self) -> float:
        return self.seen * tasks.LOOK_EVERY

    def sleep(self, seconds: float) -> None:
        self.seen += 1
        if self.things:
            self.things.pop(0)()


def test_records_one_by_one_need_one_task_together(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [deliver("tutors", tutor(tutor_id="t0"))]
    OrmQ.objects.all().delete()

    def post() -> None:
        assert watched()
        found.append(deliver("tutors", tutor(tutor_id=f"t{len(found)}")))

    pauses = Pauses(monkeypatch, *[post] * 5)
    tasks.work(60)
    assert [counts(each) for each in found] == [{"inserted": 1}] * 6
    assert (rings(), watched()) == (0, False)
    assert 5 + tasks.QUIET_SECONDS / tasks.LOOK_EVERY <= pauses.seen < 10 + tasks.QUIET_SECONDS / tasks.LOOK_EVERY


def test_a_watch_that_ends_looks_once_more(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record whose sender has still seen the watch may be committed after the last round."""
    deliver("tutors", tutor())
    OrmQ.objects.all().delete()
    late: list[Delivery] = []
    stop = doorbell.stop_watching

    def stop_late() -> None:
        late.append(deliver("tutors", tutor(tutor_id="late")))
        stop()

    Pauses(monkeypatch)
    monkeypatch.setattr(doorbell, "stop_watching", stop_late)
    tasks.work(60)
    assert (counts(late[0]), rings()) == ({"inserted": 1}, 0)


def test_a_worker_that_has_found_nothing_watches_nothing(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = Pauses(monkeypatch)
    tasks.work(60)
    assert pauses.seen == 1


def test_a_worker_that_has_found_nothing_looks_once_more(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record whose sender has still seen the ring may be committed after the last round."""
    late: list[Delivery] = []

    def commit() -> None:
        late.append(deliver("tutors", tutor()))
        OrmQ.objects.all().delete()

    Pauses(monkeypatch, commit)
    tasks.work(60)
    assert counts(late[0]) == {"inserted": 1}


@pytest.mark.postgresql
@pytest.mark.parametrize("when", ["it drains", "it watches"])
def test_a_worker_whose_connection_is_cut_rings_for_whoever_goes_on(
    silent_bell: None, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Else records whose senders have heard of it would wait for the sweep."""

    def cut() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pid = cursor.fetchone()[0]

        def terminate() -> None:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(%s)", [pid])

        elsewhere(terminate)

    deliver("tutors", tutor())
    OrmQ.objects.all().delete()
    Pauses(monkeypatch, *([cut] if when == "it watches" else []))
    if when == "it drains":
        monkeypatch.setattr(erasure, "run_next_step", lambda erasures: cut())
    with pytest.raises(OperationalError):
        tasks.work(60)
    assert (rings(), watched()) == (1, False)


@pytest.mark.parametrize("why", ["its time is over", "it takes long", "there is much to do"])
def test_a_watch_hands_over_by_a_ring(silent_bell: None, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    deliver("tutors", tutor())
    OrmQ.objects.all().delete()
    pauses = Pauses(monkeypatch, lambda: deliver("tutors", tutor(tutor_id="next")))
    real = tasks._process_pending

    def slow() -> int:
        pauses.seen += 10
        return real()

    if why == "it takes long":
        monkeypatch.setattr(tasks, "_process_pending", slow)
    if why == "there is much to do":
        monkeypatch.setattr(tasks, "FEW", 0)
    tasks.work(5 * tasks.LOOK_EVERY if why == "its time is over" else 60)
    assert (rings(), watched()) == (1, False)


def test_records_that_go_on_coming_one_by_one_keep_no_worker_busy(
    silent_bell: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It pauses, however slow the machine is, so that the next round has several."""
    rounds: list[int] = []
    real = tasks._process_pending

    def process() -> int:
        if len(rounds) < 5:
            deliver("tutors", tutor())
        rounds.append(real())
        return rounds[-1]

    pauses = Pauses(monkeypatch)
    monkeypatch.setattr(tasks, "_process_pending", process)
    tasks.work(60)
    assert rounds[:6] == [1] * 5 + [0]
    assert pauses.seen >= 4


def test_one_worker_watches_for_all(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert elsewhere(lambda: doorbell.watch(is_mine=False))
    deliver("tutors", tutor())
    pauses = Pauses(monkeypatch)
    tasks.work(60)
    assert (pauses.seen, watched()) == (0, True)


def test_who_was_killed_while_watching_is_missed_by_the_next_record(silent_bell: None) -> None:
    doorbell.watch(is_mine=False)
    deliver("tutors", tutor())
    assert rings() == 0
    doorbell.ring()  # what is no record is rung for all the same
    assert rings() == 1
    Doorbell.objects.update(rung_at=None, watched_until=timezone.now() - timedelta(milliseconds=1))
    deliver("tutors", tutor())
    assert rings() == 2


def test_a_clock_that_was_put_back_silences_nobody(silent_bell: None) -> None:
    """What was written before it is in the future."""
    ahead = timezone.now() + timedelta(hours=1)
    Doorbell.objects.update(rung_at=ahead)
    deliver("tutors", tutor())
    assert rings() == 1
    Doorbell.objects.update(rung_at=None, watched_until=ahead)
    deliver("tutors", tutor())
    assert rings() == 2
    assert doorbell.watch(is_mine=False)


def test_the_sweep_rings_although_a_killed_worker_seems_to_watch(silent_bell: None) -> None:
    doorbell.watch(is_mine=False)
    sweep.sweep()
    assert rings() == 1


def test_a_drain_silences_the_bell_before_its_first_claim(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a delivery that came after the last claim would not be rung for."""
    heard: list[bool] = []
    deliver("tutors", tutor())

    def look_at_bell(*args: Any) -> Any:
        heard.append(Doorbell.objects.get().rung_at is None)
        return batch.process_batch(*args)

    monkeypatch.setattr(tasks, "process_batch", look_at_bell)
    tasks.drain(60)
    assert heard and all(heard)
    assert doorbell.heartbeat()


def test_a_step_of_the_sweep_that_fails_stops_no_other(silent_bell: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise OperationalError("deadlock detected")

    monkeypatch.setattr(revival, "expire_waiting", fails)
    sweep.sweep()
    assert rings() == 1

"""P1, P2: processes die at any moment; nothing is lost, nothing is doubled, and no innocent record suffers."""

from __future__ import annotations

import random
import signal
from typing import Any

import pytest

from enrichment.models import HeldRecord
from ingestion.models import Delivery
from ingestion.streams import get
from tests.records import assert_nothing_vanished, counts, deliver, stored, work_off
from tests.servers import PATIENCE, wait_until
from tests.workers import run_workers, worker
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_same_record_50_times_by_4_workers() -> None:
    for i in range(50):
        deliver("tutors", tutor(name=f"number {i}"))
    run_workers(4)
    row = stored("tutors", tutor()["tutor_id"])
    assert row.name == "number 49"
    totals = [counts(delivery) for delivery in Delivery.objects.all()]
    assert sum(total.get("inserted", 0) for total in totals) == 1
    assert sum(sum(total.values()) for total in totals) == 50
    assert_nothing_vanished()


def test_children_and_parents_by_4_workers_leave_none_waiting() -> None:
    """The sweep is off: what is left waiting was lost between two looks."""
    number = 400
    deliveries = [
        *(("sessions", session(session_id=f"s{i}", tutor_id=f"t{i}", student_id=f"u{i}")) for i in range(number)),
        *(("tutors", tutor(tutor_id=f"t{i}")) for i in range(number)),
        *(("students", student(student_id=f"u{i}")) for i in range(number)),
        *(
            ("feedback", feedback(feedback_id=f"f{i}", session_id=f"s{i}", tutor_id=f"t{i}", student_id=f"u{i}"))
            for i in range(number)
        ),
    ]
    random.Random(1).shuffle(deliveries)
    for start in range(0, len(deliveries), 10):
        by_stream: dict[str, list[Any]] = {}
        for stream, record in deliveries[start : start + 10]:
            by_stream.setdefault(stream, []).append(record)
        for stream, records in by_stream.items():
            deliver(stream, *records)
    run_workers(4, "--records=20")
    work_off()
    assert not HeldRecord.objects.open().exists()
    for name in ("tutors", "students", "sessions", "feedback"):
        assert get(name).model._default_manager.count() == number
    assert_nothing_vanished()


def kill_at_work(after: int) -> None:
    """Starts a worker and kills it when so many more deliveries have been processed, or all."""
    done = Delivery.objects.exclude(processed_at=None)
    target = done.count() + after
    process = worker("--records=40", CLAIM_LEASE="1")
    wait_until(lambda: done.count() >= target or process.popen.poll() is not None, "it is at work", every=0.01)
    process.popen.send_signal(signal.SIGKILL)
    process.popen.wait()
    process.stop()


def test_workers_killed_20_times_lose_and_double_nothing() -> None:
    chance = random.Random(2)
    for i in range(150):
        deliver("tutors", *(tutor(tutor_id=f"t{i}_{j}") for j in range(20)))
    for _ in range(20):
        kill_at_work(after=chance.randint(1, 5))
    run_workers(2, CLAIM_LEASE="1")
    assert get("tutors").model._default_manager.count() == 3000
    assert not HeldRecord.objects.exists()
    done = Delivery.objects.all()
    assert {counts(delivery)["inserted"] for delivery in done} == {20}
    assert_nothing_vanished()


def test_120_deliveries_beside_one_that_kills_its_worker() -> None:
    for i in range(120):
        deliver("tutors", tutor(tutor_id=f"t{i}", name="poison" if i == 60 else "good"))
    deaths = killed_until_done()
    assert deaths >= 4
    assert get("tutors").model._default_manager.count() == 119
    dead = HeldRecord.objects.get()
    assert (dead.key, dead.code, dead.status) == ("t60", "crashed_worker", "dead")
    assert_nothing_vanished()


def test_of_500_records_only_the_one_that_kills_its_worker_is_dead() -> None:
    delivery = deliver("tutors", *(tutor(tutor_id=f"t{i}", name="poison" if i == 333 else "good") for i in range(500)))
    killed_until_done()
    assert counts(delivery) == {"inserted": 499, "held": 1}
    assert HeldRecord.objects.get().position == 333
    assert_nothing_vanished()


def killed_until_done() -> int:
    """Runs worker after worker, killed by the poison, until one ends by itself; returns the deaths."""
    for deaths in range(30):
        process = worker("--kill-on=poison", CLAIM_LEASE="1")
        code = process.popen.wait(PATIENCE)
        log = process.log()
        process.stop()
        if code == 0:
            return deaths
        assert code == -signal.SIGKILL, log
    raise AssertionError("The workers die for ever.")

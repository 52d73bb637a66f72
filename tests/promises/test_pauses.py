"""A paused stream: what arrives is kept, nobody claims it, and resuming works all of it off."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models.functions import Now
from django.utils import timezone
from django_q.models import OrmQ

from enrichment import sweep, tasks
from enrichment.models import HeldRecord
from enrichment.pipeline import batch
from enrichment.pipeline.batch import process_batch
from ingestion import control, doorbell
from ingestion.models import Delivery, PausedStream
from ingestion.streams import get
from tests.api import api, new_key
from tests.records import assert_nothing_vanished, counts, deliver, send, stored, work_off
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db(transaction=True)


def pause(stream: str) -> None:
    assert control.pause(stream, by="user:ann", reason="a wrong file is on its way")


def enrich_pending(*options: str) -> tuple[str, str]:
    out, err = io.StringIO(), io.StringIO()
    call_command("enrich_pending", *options, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_nobody_claims_it_and_resuming_works_all_of_it_off() -> None:
    waits = deliver("tutors", tutor(tutor_id="a"), tutor(tutor_id="b"))
    pause("tutors")
    assert not control.pause("tutors", by="user:bob", reason="")  # who was first stays
    later = deliver("tutors", tutor(tutor_id="c"))
    other = deliver("students", student())
    tasks.drain(60)
    sweep.sweep()
    enrich_pending()
    enrich_pending("--stream", "tutors")
    assert counts(waits) == {"pending": 2} and counts(later) == {"pending": 1}
    assert counts(other) == {"inserted": 1}
    assert control.resume("tutors")
    assert not control.resume("tutors")
    tasks.drain(60)
    assert (counts(waits), counts(later)) == ({"inserted": 2}, {"inserted": 1})
    assert_nothing_vanished()


def test_records_are_accepted_and_reported_as_ever() -> None:
    client = api()
    healthy = client.get("/health").json()["status"]
    pause("tutors")
    answer = client.post("/api/tutors", json.dumps(tutor()), content_type="application/json")
    assert answer.status_code == 202
    assert client.get("/api/queue/stats").json()["queues"]["tutors"] == 1
    assert client.get("/api/worker").json()["paused_streams"] == ["tutors"]
    assert client.get("/health").json()["status"] == healthy
    assert 'tutormax_stream_paused{stream="tutors"} 1.0' in client.get("/metrics").content.decode()
    assert 'tutormax_stream_paused{stream="students"} 0.0' in client.get("/metrics").content.decode()
    assert api(new_key(streams=["students"])).get("/api/worker").json()["paused_streams"] == []


def test_a_batch_in_progress_is_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = deliver("tutors", tutor())
    honest = batch._validate

    def pause_meanwhile(*args: Any) -> None:
        pause("tutors")
        honest(*args)

    monkeypatch.setattr(batch, "_validate", pause_meanwhile)
    assert process_batch(get("tutors"))
    assert counts(delivery) == {"inserted": 1}
    assert PausedStream.objects.exists()


def test_a_part_in_progress_is_finished_and_no_further_one_started() -> None:
    """A delivery in parts, since a crash: each part is claimed anew."""
    delivery = deliver("tutors", *[tutor(tutor_id=f"t{number}") for number in range(4)])
    Delivery.objects.filter(pk=delivery.pk).update(part=2)
    assert process_batch(get("tutors"))
    pause("tutors")
    assert process_batch(get("tutors")) is None
    assert counts(delivery) == {"inserted": 2, "pending": 2}


def test_others_wait_for_its_records_and_go_on_when_it_is_resumed() -> None:
    send("students", student(student_id="u"))
    pause("tutors")
    deliver("tutors", tutor(tutor_id="t"))
    deliver("feedback", feedback(feedback_id="f", session_id="s", tutor_id="t", student_id="u"))
    deliver("sessions", session(session_id="s", tutor_id="t", student_id="u"))
    enrich_pending()
    assert set(HeldRecord.objects.values_list("stream", "status")) == {("sessions", "waiting"), ("feedback", "waiting")}
    control.resume("tutors")
    enrich_pending()
    assert stored("sessions", "s") and stored("feedback", "f")
    assert not HeldRecord.objects.open().exists()
    assert_nothing_vanished()


def test_its_own_waiting_records_stay_in_the_delivery_that_revives_them() -> None:
    send("students", student(student_id="u"))
    send("sessions", session(session_id="s", tutor_id="t", student_id="u"))
    pause("sessions")
    deliver("tutors", tutor(tutor_id="t"))
    enrich_pending()
    held = HeldRecord.objects.get()
    assert held.status == "waiting" and held.queued_in
    control.resume("sessions")
    enrich_pending()
    assert stored("sessions", "s")
    assert_nothing_vanished()


def test_enrich_pending_says_what_it_leaves() -> None:
    deliver("tutors", *[tutor(tutor_id=f"t{number}") for number in range(3)])
    pause("tutors")
    pause("students")  # of which nothing is pending
    out, err = enrich_pending("--json")
    assert json.loads(out)["processed"] == 0
    at = timezone.localtime(PausedStream.objects.get(pk="tutors").at)
    assert err.splitlines() == [
        f"tutors is paused by ann since {at:%Y-%m-%d %H:%M:%S %z}: 3 records stay pending. Resume it in the admin."
    ]
    assert enrich_pending("--stream", "students")[1] == ""


def test_resuming_and_running_now_retry_failing_deliveries_at_once() -> None:
    soon = Now() + timedelta(hours=1)
    deliveries = {stream: deliver(stream, record) for stream, record in (("tutors", tutor()), ("students", student()))}
    Delivery.objects.update(retry_at=soon, failure_count=5, last_error="store: away")
    tasks.drain(60)
    assert counts(deliveries["tutors"]) == {"pending": 1}
    OrmQ.objects.all().delete()
    doorbell.ring()
    rung = OrmQ.objects.count()
    assert control.run_now("tutors") == 1
    assert OrmQ.objects.count() == rung + 1  # although they were rung just now
    tasks.drain(60)
    assert counts(deliveries["tutors"]) == {"inserted": 1}
    assert counts(deliveries["students"]) == {"pending": 1}
    pause("students")
    control.resume("students")
    tasks.drain(60)
    assert counts(deliveries["students"]) == {"inserted": 1}


def test_a_broker_that_is_away_keeps_nobody_from_resuming(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*args: Any, **options: Any) -> None:
        raise ConnectionError("The broker is away.")

    delivery = deliver("tutors", tutor())
    pause("tutors")
    monkeypatch.setattr(doorbell, "async_task", away)
    assert control.resume("tutors")
    work_off()
    assert counts(delivery) == {"inserted": 1}


@pytest.mark.postgresql
def test_whether_it_is_paused_is_asked_once_and_not_for_each_delivery() -> None:
    """Joined to the deliveries, it made the planner read all that is pending: 350 ms instead of one."""
    plan = Delivery.objects.due("tutors").order_by("id").explain()
    assert "One-Time Filter" in plan
    assert "Anti Join" not in plan

"""P1, P8, P9: what is accepted is durable; time passes, and sessions move under their feedback."""

from __future__ import annotations

import dataclasses
import random
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from enrichment import sweep
from enrichment.refresh import refresh_daily
from ingestion import streams
from ingestion.models import Doorbell
from ingestion.streams import Context, get
from tests.promises.test_crashes import run_workers
from tests.records import assert_nothing_vanished, deliver, send, stored
from tutoring.models import Feedback, Tutor, TutoringSession
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_accepts_nothing_inside_another_transaction() -> None:
    """There a COMMIT would not be one."""
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        deliver("tutors", tutor())


def test_commits_reach_the_disk() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA synchronous")
            assert cursor.fetchone() == (2,)  # FULL
            return
        cursor.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = off")
        try:
            connection.close()
            with connection.cursor() as fresh:
                fresh.execute("SHOW synchronous_commit")
                assert fresh.fetchone() == ("on",)
        finally:
            with connection.cursor() as fresh:
                fresh.execute("ALTER ROLE CURRENT_USER RESET synchronous_commit")


def test_a_day_passes() -> None:
    onboarded = timezone.now() - timedelta(days=29)
    send("tutors", tutor(onboarding_date=onboarded.isoformat(), updated_at=timezone.now().isoformat()))
    row = stored("tutors", tutor()["tutor_id"])
    assert (row.tenure_days, row.is_new_tutor, row.is_active_today) == (29, True, True)
    with time_machine.travel(timezone.now() + timedelta(days=1)):
        sweep.sweep()
    row.refresh_from_db()
    assert (row.tenure_days, row.is_new_tutor, row.is_active_today) == (30, False, False)


def test_a_day_passes_for_many_rows_and_only_once() -> None:
    send("tutors", *(tutor(tutor_id=f"t{i}") for i in range(2300)))
    with time_machine.travel(timezone.now() + timedelta(days=1)):
        assert refresh_daily() == 2300
        assert refresh_daily() == 0
        assert not Tutor.objects.filter(derived_on__lt=timezone.localdate()).exists()


def test_a_session_moves_under_its_feedback() -> None:
    send("tutors", tutor())
    send("students", student())
    send("sessions", session(updated_at="2025-03-01T21:00:00Z"))
    send("feedback", feedback(submitted_at="2025-03-02T20:00:00Z"))
    moved = session(updated_at="2025-03-01T22:00:00Z", scheduled_start="2025-03-01T18:00:00Z")
    moved |= {"actual_start": None, "actual_end": None, "no_show": True, "engagement_score": None}
    send("sessions", moved)
    assert stored("feedback", feedback()["feedback_id"]).feedback_delay_hours == 26


def test_sessions_move_while_their_feedback_is_being_stored() -> None:
    """Whichever of the two is first: in the end every delay is computed from the start that is stored."""
    number = 60
    send("tutors", tutor())
    send("students", student())
    send("sessions", *(session(session_id=f"s{i}") for i in range(number)))
    plain: dict[str, Any] = {"actual_start": None, "actual_end": None, "no_show": True, "engagement_score": None}
    late = timezone.now()
    deliveries = [
        *(
            ("feedback", feedback(feedback_id=f"f{i}_{j}", session_id=f"s{i}", submitted_at="2025-03-05T00:00:00Z"))
            for i in range(number)
            for j in range(4)
        ),
        *(
            (
                "sessions",
                session(
                    session_id=f"s{i}",
                    scheduled_start=f"2025-03-02T{j:02}:00:00Z",
                    updated_at=(late - timedelta(minutes=9 - j)).isoformat(),
                    **plain,
                ),
            )
            for i in range(number)
            for j in range(4)
        ),
    ]
    random.Random(3).shuffle(deliveries)
    for stream, record in deliveries:
        deliver(stream, record)
    run_workers(4, "--records=7")
    assert Feedback.objects.count() == number * 4
    assert set(TutoringSession.objects.values_list("scheduled_start__hour", flat=True)) == {3}
    assert set(Feedback.objects.values_list("feedback_delay_hours", flat=True)) == {69.0}
    assert_nothing_vanished()


def test_a_row_that_cannot_be_enriched_again_stops_neither_the_others_nor_the_bell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send("tutors", tutor(tutor_id="a"), tutor(tutor_id="b"))
    OrmQ.objects.all().delete()
    Doorbell.objects.update(rung_at=None)
    real = get("tutors")

    def enrich(record: Any, context: Context) -> dict[str, Any]:
        if record.tutor_id == "a":
            raise ZeroDivisionError("a mistake")
        return real.enrich(record, context)

    monkeypatch.setitem(streams._streams, "tutors", dataclasses.replace(real, enrich=enrich))
    with time_machine.travel(timezone.now() + timedelta(days=1)):
        sweep.sweep()
        assert stored("tutors", "b").derived_on == timezone.localdate()
    assert OrmQ.objects.count() == 1


def test_a_mistake_in_a_step_of_the_sweep_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    OrmQ.objects.all().delete()
    Doorbell.objects.update(rung_at=None)
    monkeypatch.setitem(streams._streams, "broken", None)  # every step that goes through the streams trips over it
    sweep.sweep()
    assert OrmQ.objects.count() == 1

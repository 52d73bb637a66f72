"""P9: time passes, and sessions move under their feedback."""

from __future__ import annotations

import dataclasses
import random
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ

from enrichment import sweep
from enrichment.refresh import refresh, refresh_daily
from ingestion import streams
from ingestion.models import Doorbell
from ingestion.streams import Context, get
from tests.promises.helpers import elsewhere, is_free
from tests.records import assert_nothing_vanished, deliver, send, stored
from tests.workers import run_workers
from tutoring.models import Feedback, Tutor, TutoringSession
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_rows_refreshed_today_are_left_alone() -> None:
    send("tutors", *(tutor(tutor_id=f"t{i}") for i in range(3)))
    with CaptureQueriesContext(connection) as queries:
        assert refresh_daily() == 0
    assert len([query for query in queries if '"tutoring_tutor"' in query["sql"]]) == 1


@pytest.mark.postgresql
def test_rows_that_are_brought_up_to_date_are_locked() -> None:
    send("tutors", tutor())
    real, free = get("tutors"), []

    def enrich(record: Any, context: Context) -> dict[str, Any]:
        free.append(is_free(Tutor.objects.all(), no_key=True))
        return real.enrich(record, context)

    refresh(dataclasses.replace(real, enrich=enrich), Q())
    assert free == [False]


@pytest.mark.postgresql
def test_a_row_stored_anew_while_it_is_brought_up_to_date_is_left_as_stored() -> None:
    moved = "2025-03-01T21:00:00Z"
    for stream, record in (("tutors", tutor()), ("students", student()), ("sessions", session())):
        send(stream, record)
    plain: dict[str, Any] = {"actual_start": None, "actual_end": None, "no_show": True, "engagement_score": None}
    send("sessions", session(session_id="other", scheduled_start=moved, **plain))
    send("feedback", feedback())
    anew = [feedback(session_id="other")]

    def facts() -> dict[str, Any]:
        while anew:
            elsewhere(lambda: send("feedback", anew.pop()))
        return {}

    refresh(dataclasses.replace(get("feedback"), facts=facts), Q())
    row = Feedback.objects.get()
    assert (row.session_id, row.feedback_delay_hours) == ("other", 1.0)

"""P11: dead letters close when a record with their key is stored that is not older."""

from __future__ import annotations

import pytest

from enrichment import sweep
from enrichment.held import fixing
from enrichment.models import HeldRecord
from ingestion.payloads import ascii_json
from tests.held import reprocess
from tests.promises.helpers import never_reconcile
from tests.records import assert_nothing_vanished, counts, deliver, send, stored, work_off
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.django_db(transaction=True)

OLDER, NEWER = "2025-03-01T10:00:00Z", "2025-03-01T10:00:01Z"
Status = HeldRecord.Status


def test_a_dead_letter_closes_when_its_key_is_stored_anew() -> None:
    send("tutors", tutor(email="nobody"), keep_invalid=True)
    good = send("tutors", tutor())
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.resolved_by, dead.outcome) == (Status.RESOLVED, good.pk, "superseded")
    assert_nothing_vanished()


def test_a_dead_letter_stays_when_what_is_stored_is_older() -> None:
    send("tutors", tutor(email="nobody", updated_at=NEWER), keep_invalid=True)
    send("tutors", tutor(updated_at=OLDER))
    assert HeldRecord.objects.get().status == Status.DEAD


def test_a_dead_letter_closes_when_a_newer_one_was_stored_before_it_came() -> None:
    good = send("tutors", tutor(updated_at=NEWER))
    send("tutors", tutor(email="nobody", updated_at=OLDER), keep_invalid=True)
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.resolved_by) == (Status.RESOLVED, good.pk)


def test_a_fixed_record_that_is_older_than_the_stored_one_says_so() -> None:
    send("tutors", tutor(email="nobody", updated_at=OLDER, name="fixed"), keep_invalid=True)
    dead = HeldRecord.objects.get()
    fixing.fix(dead, ascii_json(tutor(updated_at=OLDER, name="fixed")), dead.payload_version)
    reprocess({}, by="test")
    deliver("tutors", tutor(updated_at=NEWER, name="newer"))
    work_off()
    dead.refresh_from_db()
    assert dead.status == Status.RESOLVED
    assert dead.outcome == "stale"
    assert stored("tutors", tutor()["tutor_id"]).name == "newer"
    assert_nothing_vanished()


def test_a_dead_record_reprocessed_after_a_newer_version_was_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        never_reconcile(patch)
        send("tutors", tutor(email="nobody", updated_at=OLDER, name="old"), keep_invalid=True)
        send("tutors", tutor(updated_at=NEWER, name="new"))
    dead = HeldRecord.objects.get()
    fixing.fix(dead, ascii_json(tutor(updated_at=OLDER, name="old")), 0)
    bulk_action = reprocess({}, by="test")
    work_off()
    dead.refresh_from_db()
    assert (dead.status, dead.outcome) == (Status.RESOLVED, "stale")
    assert counts(bulk_action.deliveries.get()) == {"stale": 1}
    assert stored("tutors", tutor()["tutor_id"]).name == "new"
    assert_nothing_vanished()


@pytest.mark.parametrize(
    ("sent", "other"),
    [("K" * 65, "K" * 64), ("nul\0x", "nul\ufffdx"), ("sur\ud800x", "sur?x")],
    ids=["long", "nul", "half"],
)
def test_a_key_that_cannot_be_is_never_taken_for_another(sent: str, other: str) -> None:
    send("tutors", tutor(tutor_id=sent), keep_invalid=True)
    send("tutors", tutor(tutor_id=other))
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.key) == (Status.DEAD, "")


@pytest.mark.parametrize("bad_first", [True, False])
def test_a_dead_letter_closes_only_for_what_came_after_it_in_its_delivery(bad_first: bool) -> None:
    records = [tutor(email="nobody"), tutor()]
    delivery = send("tutors", *(records if bad_first else reversed(records)), keep_invalid=True)
    dead = HeldRecord.objects.get()
    assert (dead.status, dead.resolved_by) == ((Status.RESOLVED, delivery.pk) if bad_first else (Status.DEAD, None))
    assert_nothing_vanished()


@pytest.mark.parametrize("late", [True, False])
def test_of_one_time_a_dead_letter_closes_for_the_later_delivery_alone(late: bool) -> None:
    good = send("tutors", tutor()) if not late else None
    send("tutors", tutor(email="nobody"), keep_invalid=True)
    good = good or send("tutors", tutor())
    assert HeldRecord.objects.get().resolved_by == (good.pk if late else None)


def test_the_sweep_closes_dead_letters_that_a_crash_after_the_commit_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        never_reconcile(patch)
        send("tutors", tutor(email="nobody"), keep_invalid=True)
        good = send("tutors", tutor())
    assert HeldRecord.objects.get().status == Status.DEAD
    sweep.sweep()
    assert (HeldRecord.objects.get().status, HeldRecord.objects.get().resolved_by) == (Status.RESOLVED, good.pk)

"""P3: nothing vanishes; acts on held records are guarded, so that whoever comes second changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction

from enrichment import sweep
from enrichment.held import fixing, requeue, revival
from enrichment.held.fixing import ConcurrentChange, StillInvalid
from enrichment.models import HeldRecord, MinuteStat
from enrichment.pipeline import batch
from ingestion.models import Delivery
from ingestion.payloads import ascii_json
from ingestion.streams import get
from ingestion.validation import NoValidRecords
from tests.held import discard, reprocess
from tests.promises.helpers import beside, never_reconcile, wait_until_blocked
from tests.records import assert_nothing_vanished, counts, deliver, offer, send, stored, work_off
from tests.servers import PATIENCE
from tutoring.tests.factories import session, tutor

pytestmark = pytest.mark.django_db(transaction=True)

Status = HeldRecord.Status


def dead_letter(**changes: Any) -> HeldRecord:
    send("tutors", tutor(email="nobody", **changes), keep_invalid=True)
    return HeldRecord.objects.latest("pk")


def reprocess_all() -> Delivery:
    return reprocess({}, by="test").deliveries.get()


def test_refused_items_keep_their_places() -> None:
    accepted = offer("tutors", tutor(tutor_id="a"), tutor(email="nobody"), 5, tutor(tutor_id="d"))
    assert [error["index"] for error in accepted.errors] == [1, 2]
    work_off()
    assert counts(accepted.delivery) == {"inserted": 2}
    assert (stored("tutors", "d").delivery, stored("tutors", "d").position) == (accepted.delivery.pk, 3)


def test_nothing_valid_is_no_delivery() -> None:
    with pytest.raises(NoValidRecords):
        deliver("tutors", {}, 5)
    assert not Delivery.objects.exists()


def test_a_fixed_record_is_stored_and_its_story_kept() -> None:
    dead = dead_letter()
    fixing.fix(dead, ascii_json(tutor()), dead.payload_version)
    again = reprocess_all()
    work_off()
    dead.refresh_from_db()
    assert (dead.status, dead.outcome, dead.resolved_by) == (Status.RESOLVED, "inserted", again.pk)
    assert dead.original_payload and "nobody" in dead.original_payload
    row = stored("tutors", tutor()["tutor_id"])
    assert (row.delivery, row.position) == (dead.delivery_id, 0)
    assert counts(again) == {"inserted": 1}
    assert_nothing_vanished()


def test_a_record_that_fails_again_is_held_again() -> None:
    dead = dead_letter()
    again = reprocess_all()
    work_off()
    dead.refresh_from_db()
    assert (dead.status, dead.attempts, dead.queued_in) == (Status.DEAD, 2, None)
    assert dead.failures.count() == 2
    assert counts(again) == {"held": 1}
    assert HeldRecord.objects.count() == 1
    assert_nothing_vanished()


def test_each_failure_writes_the_message_that_they_are_grouped_by() -> None:
    dead = dead_letter(age=700)
    assert dead.messages["email"] == ["must be a valid e-mail address; got 'nobody'"]
    assert dead.message == "email: must be a valid e-mail address"
    HeldRecord.objects.update(message="of the failure before")
    reprocess_all()
    work_off()
    assert HeldRecord.objects.get().message == dead.message
    send("sessions", session())
    assert HeldRecord.objects.waiting().get().message == "tutor_id: tutor does not exist (yet)"


def test_what_is_on_its_way_is_not_sent_twice() -> None:
    dead_letter()
    reprocess_all()
    assert reprocess({}, by="test").count == 0


def test_reprocessed_records_wait_their_turn() -> None:
    """However much it is: what clients have sent before it does not wait for it."""
    dead_letter()
    before, again, after = deliver("tutors", tutor()), reprocess_all(), deliver("tutors", tutor())
    claimed = [delivery.pk for _ in range(3) for delivery in Delivery.objects.claim("tutors", 1)]
    assert claimed == [before.pk, again.pk, after.pk]


def test_a_discarded_record_is_skipped_by_the_delivery_that_names_it() -> None:
    dead = dead_letter()
    again = reprocess_all()
    bulk_action = discard({}, by="test", reason="a test of the client's")
    work_off()
    dead.refresh_from_db()
    assert (dead.status, dead.discard_reason, bulk_action.count) == (Status.DISCARDED, "a test of the client's", 1)
    assert counts(again) == {"skipped": 1}
    assert_nothing_vanished()


def test_a_record_fixed_meanwhile_is_skipped_by_the_delivery_that_names_it() -> None:
    dead = dead_letter()
    again = reprocess_all()
    fixing.fix(dead, ascii_json(tutor()), 0)
    work_off()
    dead.refresh_from_db()
    assert (dead.status, counts(again)) == (Status.DEAD, {"skipped": 1})
    reprocess_all()
    work_off()
    assert stored("tutors", tutor()["tutor_id"])
    assert_nothing_vanished()


@pytest.mark.parametrize("action", ["fix", "discard"])
def test_what_changed_between_reading_and_work_is_skipped(action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker has read and validated the record; before its transaction begins, a person is faster."""
    dead = dead_letter()
    again = reprocess_all()
    work = batch._work

    def slow(*args: Any) -> Any:
        if action == "fix":
            fixing.fix(dead, ascii_json(tutor()), 0)
        else:
            discard({}, by="test", reason="no")
        return work(*args)

    monkeypatch.setattr(batch, "_work", slow)
    batch.process_batch(get("tutors"))
    dead.refresh_from_db()
    assert counts(again) == {"skipped": 1}
    assert dead.status == (Status.DEAD if action == "fix" else Status.DISCARDED)
    assert_nothing_vanished()


def test_the_second_fix_of_one_version_changes_nothing() -> None:
    dead = dead_letter()
    fixing.fix(dead, ascii_json(tutor(name="first")), 0)
    with pytest.raises(ConcurrentChange):
        fixing.fix(dead, ascii_json(tutor(name="second")), 0)
    dead.refresh_from_db()
    assert "first" in dead.payload


def test_a_closed_record_cannot_be_fixed() -> None:
    dead = dead_letter()
    discard({}, by="test", reason="no")
    with pytest.raises(ConcurrentChange):
        fixing.fix(dead, ascii_json(tutor()), 0)


@pytest.mark.parametrize("payload", ["", "{", "[]", "NaN", '{"tutor_id": "x"}', '{"a": "\ud800"}', "[" * 100_000])
def test_a_fix_must_be_valid(payload: str) -> None:
    dead = dead_letter()
    with pytest.raises(StillInvalid):
        fixing.fix(dead, payload, 0)


def test_a_resolved_record_is_never_discarded() -> None:
    dead = dead_letter()
    send("tutors", tutor())
    assert discard({}, by="test", reason="no").count == 0
    dead.refresh_from_db()
    assert dead.status == Status.RESOLVED


def test_the_minutes_add_up_to_the_deliveries() -> None:
    send("tutors", tutor(), tutor(), tutor(email="nobody"), keep_invalid=True)
    send("tutors", tutor())
    total = {"inserted": 0, "updated": 0, "stale": 0, "waiting": 0, "dead": 0}
    for minute in MinuteStat.objects.filter(stream="tutors"):
        for name in total:
            total[name] += getattr(minute, name)
    deliveries = list(Delivery.objects.all())
    for name in ("inserted", "updated", "stale"):
        assert total[name] == sum(getattr(delivery, name) for delivery in deliveries)
    assert total["dead"] + total["waiting"] == sum(delivery.held for delivery in deliveries)


def test_a_discarded_record_stays_discarded_when_its_key_is_stored() -> None:
    send("tutors", tutor(email="nobody"), keep_invalid=True)
    discard({}, by="test", reason="no")
    send("tutors", tutor())
    sweep.sweep()
    assert HeldRecord.objects.get().status == Status.DISCARDED


@pytest.mark.postgresql
def test_a_record_discarded_while_it_is_being_closed_stays_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        never_reconcile(patch)
        send("tutors", tutor(email="nobody"), keep_invalid=True)
        send("tutors", tutor())
    with transaction.atomic():
        HeldRecord.objects.update(status=Status.DISCARDED)
        closed = beside(lambda: revival.close_superseded(get("tutors"), HeldRecord.objects.all()))
        wait_until_blocked()
    assert closed.result(PATIENCE) == 0
    assert HeldRecord.objects.get().status == Status.DISCARDED


@pytest.mark.postgresql
def test_of_two_who_requeue_a_record_at_once_one_succeeds() -> None:
    send("tutors", tutor(email="nobody"), keep_invalid=True)
    pks = list(HeldRecord.objects.values_list("pk", flat=True))
    with transaction.atomic():
        (delivery,) = requeue.queue("tutors", pks, Delivery.Source.BULK_ACTION)
        second = beside(lambda: requeue.queue("tutors", pks, Delivery.Source.BULK_ACTION))
        wait_until_blocked()
    assert second.result(PATIENCE) == []
    assert HeldRecord.objects.get().queued_in == delivery.pk

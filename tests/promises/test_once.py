"""P2: one worker at a time claims a delivery, and one that has crashed a worker is retried in ever smaller parts."""

from __future__ import annotations

import dataclasses
import threading
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone

from enrichment.models import HeldRecord
from enrichment.pipeline import batch
from ingestion.models import Delivery
from ingestion.streams import get
from tests.promises.helpers import elsewhere
from tests.records import counts, deliver, work_off
from tutoring.models import Tutor
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = "2020-01-01T00:00:00Z"
Code = HeldRecord.Code


def test_large_deliveries_are_not_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    one = deliver("tutors", tutor())
    monkeypatch.setattr("ingestion.models.MAX_BATCH_BYTES", one.size * 2)
    for i in range(4):
        deliver("tutors", tutor(tutor_id=f"t{i}"))
    assert [len(Delivery.objects.claim("tutors", 10)) for _ in range(4)] == [2, 2, 1, 0]


def test_a_worker_whose_claim_expired_finds_the_claim_of_another() -> None:
    deliver("tutors", tutor())
    (first,) = Delivery.objects.claim("tutors", 10)
    Delivery.objects.update(started_at=LONG_AGO)
    (second,) = Delivery.objects.claim("tutors", 10)
    with transaction.atomic():
        assert Delivery.objects.lock_claimed([first])[0] == set()
        assert Delivery.objects.lock_claimed([second])[0] == {second.pk}
    assert Delivery.objects.release([first]) == 0
    assert Delivery.objects.get().started_at == second.started_at
    assert Delivery.objects.release([second]) == 1


def test_a_claimed_delivery_is_not_claimed_again() -> None:
    deliver("tutors", tutor())
    (claimed,) = Delivery.objects.claim("tutors", 10)
    assert claimed.started_at == Delivery.objects.get().started_at is not None
    assert Delivery.objects.claim("tutors", 10) == []


@pytest.mark.postgresql
def test_a_delivery_in_progress_is_not_claimed_again_however_old_its_claim() -> None:
    deliver("tutors", tutor())
    Delivery.objects.update(started_at=LONG_AGO)
    claimed = list(Delivery.objects.all())

    def lock() -> set[int]:
        with transaction.atomic():
            return Delivery.objects.lock_claimed(claimed)[0]

    with transaction.atomic():
        assert lock() == {claimed[0].pk}
        assert elsewhere(lock) == set()
        assert elsewhere(lambda: Delivery.objects.claim("tutors", 10)) == []
    assert Delivery.objects.get().part is None


@pytest.mark.postgresql
def test_a_delivery_that_another_worker_holds_for_a_moment_is_given_back() -> None:
    """As one that tries to claim it just after it was claimed."""
    free, held = (deliver("tutors", tutor(tutor_id=key)) for key in ("a", "b"))
    is_locked, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            list(Delivery.objects.select_for_update().filter(pk=held.pk))
            is_locked.set()
            may_end.wait(30)
        connection.close()

    holder = threading.Thread(target=hold)

    def hold_until_locks_are_taken() -> dict[str, Any]:
        may_end.set()
        holder.join(30)
        return dict(get("tutors").facts())

    claim = Delivery.objects.claim

    def claim_first(*args: Any, **options: Any) -> list[Delivery]:
        claimed = claim(*args, **options)
        holder.start()
        assert is_locked.wait(30)
        return claimed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Delivery.objects, "claim", claim_first)
        batch.process_batch(dataclasses.replace(get("tutors"), facts=hold_until_locks_are_taken))
    assert (counts(free), counts(held)) == ({"inserted": 1}, {"pending": 1})
    assert Delivery.objects.get(pk=held.pk).started_at is None
    work_off()
    assert counts(held) == {"inserted": 1}


def test_a_claim_takes_as_many_deliveries_as_make_a_batch_lowest_first() -> None:
    pks = [deliver("tutors", *(tutor(tutor_id=f"{i}_{j}") for j in range(4))).pk for i in range(5)]
    assert [delivery.pk for delivery in Delivery.objects.claim("tutors", 8)] == pks[:2]
    assert [delivery.pk for delivery in Delivery.objects.claim("tutors", 1)] == pks[2:3]
    assert [delivery.pk for delivery in Delivery.objects.claim("tutors", 1000)] == pks[3:]


def test_a_claim_is_committed_at_once() -> None:
    deliver("tutors", tutor())
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        Delivery.objects.claim("tutors", 10)


def test_a_crashing_delivery_is_claimed_alone_then_in_parts_then_one_record_three_times() -> None:
    delivery = deliver("tutors", *(tutor(tutor_id=f"t{i}") for i in range(500)))
    other = deliver("tutors", tutor(tutor_id="other"))
    seen = []
    for _ in range(7):
        claimed = Delivery.objects.claim("tutors", 1000)
        seen.append((len(claimed), claimed[0].part, claimed[0].crash_count))
        Delivery.objects.filter(pk__in=[found.pk for found in claimed]).update(started_at=LONG_AGO)
        Delivery.objects.filter(pk=other.pk).update(started_at=None)
    assert seen == [(2, None, 0), (1, 500, 0), (1, 15, 0), (1, 1, 0), (1, 1, 1), (1, 1, 2), (1, 1, 3)]
    Delivery.objects.filter(pk=delivery.pk).update(started_at=None)
    batch.process_batch(get("tutors"))
    delivery.refresh_from_db()
    assert (counts(delivery), delivery.position, delivery.crash_count) == ({"held": 1, "pending": 499}, 1, 0)
    assert delivery.part == 499
    assert HeldRecord.objects.get().code == Code.CRASHED_WORKER
    work_off()
    assert (counts(delivery), counts(other)) == ({"inserted": 499, "held": 1}, {"inserted": 1})


def test_the_crashes_of_one_record_do_not_count_against_the_next() -> None:
    delivery = deliver("tutors", *(tutor(tutor_id=f"t{i}") for i in range(3)))
    Delivery.objects.update(part=1, crash_count=2)
    for position in (1, 2):
        batch.process_batch(get("tutors"))
        delivery.refresh_from_db()
        assert (counts(delivery)["inserted"], delivery.position, delivery.crash_count) == (position, position, 0)


def test_a_worker_whose_claim_was_taken_over_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = deliver("tutors", tutor())
    work = batch._work

    def slow(*args: Any) -> Any:
        Delivery.objects.update(started_at=LONG_AGO)
        Delivery.objects.claim("tutors", 10)
        return work(*args)

    with monkeypatch.context() as patch:
        patch.setattr(batch, "_work", slow)
        worked = batch.process_batch(get("tutors"))
    assert worked and not worked.outcomes and not Tutor.objects.exists()
    delivery.refresh_from_db()
    assert (counts(delivery), delivery.part, delivery.started_at is None) == ({"pending": 1}, 1, False)


def test_arrivals_and_claims_are_timed_by_the_databases_clock() -> None:
    now = timezone.now()
    with time_machine.travel(now + timedelta(days=1)):
        delivery = deliver("tutors", tutor())
        (claimed,) = Delivery.objects.claim("tutors", 10)
    delivery.refresh_from_db()
    assert abs(delivery.received_at - now) < timedelta(minutes=5)
    assert claimed.started_at and abs(claimed.started_at - now) < timedelta(minutes=5)

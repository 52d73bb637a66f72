"""Acts on many held records: in steps, each wholly or not at all, taken up again by whoever comes next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

import ingestion.models
from enrichment import tasks
from enrichment.held import bulk_actions, requeue
from enrichment.models import BulkAction, HeldRecord
from enrichment.pipeline import batch
from ingestion.models import Delivery
from tests.held import hold, reprocess, valid, wait

pytestmark = pytest.mark.django_db(transaction=True)

Kind, Status = BulkAction.Kind, HeldRecord.Status


def queued() -> int:
    return HeldRecord.objects.exclude(queued_in=None).count()


def test_it_is_done_in_steps_and_tells_how_far_it_is(small_steps: None) -> None:
    records = [hold() for _ in range(5)]
    bulk_action = bulk_actions.create(Kind.REPROCESS, {"status": "dead"}, by="test")
    assert (bulk_action.total, bulk_action.up_to, bulk_action.count) == (5, records[-1].pk, 0)
    assert bulk_actions.run_next_step(BulkAction.objects.all())
    bulk_action.refresh_from_db()
    assert (bulk_action.count, bulk_action.reached, bulk_action.finished_at, queued()) == (2, records[1].pk, None, 2)
    assert bulk_actions.run_to_completion(bulk_action).finished_at
    assert (bulk_action.count, queued(), bulk_action.deliveries.count()) == (5, 5, 3)
    assert not bulk_actions.run_next_step(BulkAction.objects.all())


def test_records_held_after_its_start_are_not_included(small_steps: None) -> None:
    hold()
    bulk_action = bulk_actions.create(Kind.DISCARD, {}, by="test", reason="no")
    late = hold()
    assert bulk_actions.run_to_completion(bulk_action).count == 1
    assert HeldRecord.objects.open().get() == late


def test_the_workers_take_up_what_a_crash_left(small_steps: None) -> None:
    for _ in range(5):
        hold()
    bulk_action = bulk_actions.create(Kind.DISCARD, {"status": "dead"}, by="test", reason="no")
    bulk_actions.run_next_step(BulkAction.objects.all())
    tasks.drain(60)
    bulk_action.refresh_from_db()
    assert bulk_action.finished_at
    assert (bulk_action.count, HeldRecord.objects.filter(status=Status.DISCARDED).count()) == (5, 5)


def test_enrich_pending_finishes_it_too(small_steps: None) -> None:
    hold(), hold(), hold()
    bulk_actions.create(Kind.DISCARD, {"status": "dead"}, by="test", reason="no")
    call_command("enrich_pending")
    assert not BulkAction.objects.unfinished().exists()
    assert not HeldRecord.objects.open().exists()


def test_a_step_that_fails_is_undone_and_harms_no_other(small_steps: None, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(), hold(), wait()
    bad = bulk_actions.create(Kind.REPROCESS, {"status": "dead"}, by="test")
    good = bulk_actions.create(Kind.DISCARD, {"status": "waiting"}, by="test", reason="no")

    def reprocess_and_fail(bulk_action: BulkAction, pks: Any, end: float) -> tuple[int, int]:
        honest(bulk_action, pks, end)
        raise RuntimeError("a mistake")

    honest = bulk_actions.STEP_BY_KIND[Kind.REPROCESS]
    with monkeypatch.context() as patch:
        patch.setitem(bulk_actions.STEP_BY_KIND, Kind.REPROCESS, reprocess_and_fail)
        tasks.drain(60)
        assert queued() == 0
        tasks.drain(60)
        bad.refresh_from_db()
        good.refresh_from_db()
        assert (bad.finished_at, bad.count, bad.last_error) == (None, 0, "RuntimeError: a mistake")
        assert good.finished_at
    assert bulk_actions.run_to_completion(bad).count == 2
    assert bad.last_error == ""


def test_several_at_once_do_each_record_once(small_steps: None) -> None:
    for _ in range(12):
        hold()
    bulk_action = bulk_actions.create(Kind.REPROCESS, {"status": "dead"}, by="test")

    def work(_: int) -> None:
        try:
            bulk_actions.run_to_completion(BulkAction.objects.get(pk=bulk_action.pk))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    bulk_action.refresh_from_db()
    assert (bulk_action.count, queued()) == (12, 12)
    assert sum(bulk_action.deliveries.values_list("count", flat=True)) == 12


def test_deliveries_of_held_records_are_cut_by_what_they_weigh(monkeypatch: pytest.MonkeyPatch) -> None:
    small = [hold(valid(tutor_id=f"R-{number}")) for number in range(5)]
    large = hold(valid(tutor_id="R-5", name="x" * 200))
    last = hold(valid(tutor_id="R-6"))
    size = len(small[0].payload)
    monkeypatch.setattr(requeue, "CHUNK_BYTES", 2 * size)
    bulk_action = reprocess({}, by="test")
    deliveries = list(bulk_action.deliveries.order_by("pk"))
    assert [delivery.count for delivery in deliveries] == [2, 2, 1, 1, 1]
    assert [delivery.size for delivery in deliveries] == [2 * size, 2 * size, size, len(large.payload), size]
    assert (bulk_action.count, queued()) == (7, 7)
    last.refresh_from_db()
    assert last.queued_in == deliveries[-1].pk


def test_several_deliveries_of_held_records_are_taken_together_up_to_what_a_worker_can_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = len(hold(valid(tutor_id="R-1")).payload)
    hold(valid(tutor_id="R-2")), hold(valid(tutor_id="R-3"))
    monkeypatch.setattr(requeue, "CHUNK_BYTES", 1)
    reprocess({}, by="test")
    monkeypatch.setattr(ingestion.models, "MAX_BATCH_BYTES", 2 * size)
    assert [len(Delivery.objects.claim("tutors", 1000)) for _ in range(3)] == [2, 1, 0]


def test_what_is_sent_through_again_is_read_without_its_original() -> None:
    record = hold(valid(tutor_id="R-1"), original_payload="as it came")
    reprocess({}, by="test")
    with CaptureQueriesContext(connection) as captured:
        [item] = batch._held_items(Delivery.objects.get(format="held"))
    assert item.held == record
    assert not any("original_payload" in query["sql"] for query in captured)


def test_a_filter_that_is_not_known_means_nothing() -> None:
    hold()
    with pytest.raises(KeyError):
        bulk_actions.create(Kind.REPROCESS, {"payload": "x"}, by="test")
    assert not BulkAction.objects.exists()

"""Acts on many held records: in steps, each wholly or not at all, taken up again by whoever comes next."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from enrichment import redrives, tasks
from enrichment.models import HeldRecord, Redrive
from enrichment.tests.held import hold, wait

pytestmark = pytest.mark.django_db(transaction=True)

Act, Status = Redrive.Act, HeldRecord.Status


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redrives, "STEP", 2)


def queued() -> int:
    return HeldRecord.objects.exclude(queued_in=None).count()


def test_it_is_done_in_steps_and_tells_how_far_it_is(small_steps: None) -> None:
    held = [hold() for _ in range(5)]
    redrive = redrives.begin(Act.REPROCESS, {"status": "dead"}, by="test")
    assert (redrive.total, redrive.up_to, redrive.count) == (5, held[-1].pk, 0)
    assert redrives.carry_on(Redrive.objects.all())
    redrive.refresh_from_db()
    assert (redrive.count, redrive.reached, redrive.finished_at, queued()) == (2, held[1].pk, None, 2)
    assert redrives.finish(redrive).finished_at
    assert (redrive.count, queued(), redrive.deliveries.count()) == (5, 5, 3)
    assert not redrives.carry_on(Redrive.objects.all())


def test_what_comes_after_it_began_is_not_meant(small_steps: None) -> None:
    hold()
    redrive = redrives.begin(Act.DISCARD, {}, by="test", reason="no")
    late = hold()
    assert redrives.finish(redrive).count == 1
    assert HeldRecord.objects.open().get() == late


def test_the_workers_take_up_what_a_crash_left(small_steps: None) -> None:
    for _ in range(5):
        hold()
    redrive = redrives.begin(Act.DISCARD, {"status": "dead"}, by="test", reason="no")
    redrives.carry_on(Redrive.objects.all())
    tasks.drain()
    redrive.refresh_from_db()
    assert redrive.finished_at
    assert (redrive.count, HeldRecord.objects.filter(status=Status.DISCARDED).count()) == (5, 5)


def test_enrich_pending_finishes_it_too(small_steps: None) -> None:
    hold(), hold(), hold()
    redrives.begin(Act.DISCARD, {"status": "dead"}, by="test", reason="no")
    call_command("enrich_pending")
    assert not Redrive.objects.unfinished().exists()
    assert not HeldRecord.objects.open().exists()


def test_a_step_that_fails_is_undone_and_harms_no_other(small_steps: None, monkeypatch: pytest.MonkeyPatch) -> None:
    hold(), hold(), wait()
    bad = redrives.begin(Act.REPROCESS, {"status": "dead"}, by="test")
    good = redrives.begin(Act.DISCARD, {"status": "waiting"}, by="test", reason="no")

    def reprocess_and_fail(redrive: Redrive, pks: Any) -> int:
        honest(redrive, pks)
        raise RuntimeError("a mistake")

    honest = redrives.ACTS[Act.REPROCESS]
    with monkeypatch.context() as patch:
        patch.setitem(redrives.ACTS, Act.REPROCESS, reprocess_and_fail)
        tasks.drain()
        assert queued() == 0
        tasks.drain()
        bad.refresh_from_db()
        good.refresh_from_db()
        assert (bad.finished_at, bad.count, bad.trouble) == (None, 0, "RuntimeError: a mistake")
        assert good.finished_at
    assert redrives.finish(bad).count == 2
    assert bad.trouble == ""


def test_several_at_once_do_each_record_once(small_steps: None) -> None:
    for _ in range(12):
        hold()
    redrive = redrives.begin(Act.REPROCESS, {"status": "dead"}, by="test")

    def work(_: int) -> None:
        try:
            redrives.finish(Redrive.objects.get(pk=redrive.pk))
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    redrive.refresh_from_db()
    assert (redrive.count, queued()) == (12, 12)
    assert sum(redrive.deliveries.values_list("count", flat=True)) == 12


def test_a_filter_that_is_not_known_means_nothing() -> None:
    hold()
    with pytest.raises(KeyError):
        redrives.begin(Act.REPROCESS, {"payload": "x"}, by="test")
    assert not Redrive.objects.exists()

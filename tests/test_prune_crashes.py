"""Retention beside everything else, and killed at any moment: nothing goes that must stay."""

from __future__ import annotations

import random
import signal
import time
from datetime import timedelta

import pytest
from django.utils import timezone

from enrichment.models import Failure, HeldRecord, Pruning
from ingestion.models import Delivery
from ingestion.streams import get
from tests.records import assert_nothing_vanished, deliver, send
from tests.servers import PATIENCE, ProjectProcess
from tests.workers import database_url
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.django_db(transaction=True)

LONG_AGO = timedelta(days=40)
PRUNE = """
import django
django.setup()
from django.core.management import call_command
from enrichment import retention
retention.STEP = 7
call_command("prune")
"""


def run(*arguments: str) -> ProjectProcess:
    return ProjectProcess(*arguments, database_url=database_url())


def ended(process: ProjectProcess) -> None:
    assert process.popen.wait(3 * PATIENCE) == 0, process.log()
    process.stop()


def an_old_world(number: int) -> None:
    """Deliveries of which each second has a dead letter, each fourth one that was discarded; all of long ago."""
    for i in range(number):
        bad = [tutor(tutor_id=f"bad{i}", age=1)] if i % 2 else []
        deliver("tutors", tutor(tutor_id=f"t{i}"), *bad, keep_invalid=True)
    send("tutors", tutor(tutor_id="last"))
    for held in HeldRecord.objects.order_by("pk")[::2]:
        HeldRecord.objects.filter(pk=held.pk).update(status=HeldRecord.Status.DISCARDED, discard_reason="no")
    then = timezone.now() - LONG_AGO
    HeldRecord.objects.update(held_at=then, changed_at=then)
    Delivery.objects.update(received_at=then, processed_at=then)


def open_held() -> set[int]:
    return set(HeldRecord.objects.open().values_list("pk", flat=True))


def test_killed_again_and_again_it_deletes_what_goes_and_nothing_else() -> None:
    an_old_world(120)
    staying, chance = open_held(), random.Random(3)
    assert len(staying) == 30
    kills = 0
    while kills < 3:
        process = run("-c", PRUNE)
        before = Pruning.objects.count()
        while Pruning.objects.count() == before and process.popen.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.15))
        process.popen.send_signal(signal.SIGKILL)
        process.popen.wait()
        process.stop()
        kills += 1
        assert open_held() == staying
        assert_nothing_vanished()
    ended(run("-c", PRUNE))
    assert open_held() == staying == set(HeldRecord.objects.values_list("pk", flat=True))
    assert Failure.objects.count() == len(staying)
    of_held = HeldRecord.objects.values_list("delivery", flat=True)
    assert set(Delivery.objects.values_list("pk", flat=True)) == set(of_held)
    assert not Pruning.objects.filter(finished_at=None).exists()
    assert sum(run.deleted.get("failed records", 0) for run in Pruning.objects.all()) == 30
    assert get("tutors").model._default_manager.count() == 121
    assert_nothing_vanished()


def test_beside_posting_and_working_it_takes_nothing_from_them() -> None:
    an_old_world(60)
    staying = open_held()
    pruning = [run("-c", PRUNE) for _ in range(2)]
    for i in range(40):
        deliver("tutors", tutor(tutor_id=f"new{i}"), tutor(tutor_id=f"newbad{i}", age=1), keep_invalid=True)
    working = run("manage.py", "enrich_pending", "--batch-size", "10")
    for process in (*pruning, working):
        ended(process)
    assert Delivery.objects.filter(received_at__gt=timezone.now() - LONG_AGO / 2).count() == 40
    assert get("tutors").model._default_manager.count() == 61 + 40
    assert HeldRecord.objects.open().count() == len(staying) + 40
    assert staying < open_held()
    assert_nothing_vanished()

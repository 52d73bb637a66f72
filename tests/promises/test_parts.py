"""P2, P10: parts of a batch commit one by one; what happens to one harms no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from psycopg.pq import TransactionStatus

from enrichment.pipeline import batch
from enrichment.pipeline.faults import Fault
from ingestion.models import Delivery
from ingestion.streams import get
from tests.records import assert_nothing_vanished, counts, deliver, work_off
from tutoring.models import Tutor
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.django_db(transaction=True)

RECORDS = 60
"""Enough for COPY."""


@pytest.fixture
def deliveries(monkeypatch: pytest.MonkeyPatch) -> list[Delivery]:
    """Three, each a part of its own."""
    monkeypatch.setattr(batch, "BATCH_RECORDS", {"postgresql": RECORDS, "sqlite": RECORDS})
    monkeypatch.setattr(batch, "CLAIMED_PARTS", {"postgresql": 3, "sqlite": 3})
    return [deliver("tutors", *(tutor(tutor_id=f"{part}-{i:02}") for i in range(RECORDS))) for part in "abc"]


def after_validating(monkeypatch: pytest.MonkeyPatch, then: Callable[[int], None]) -> None:
    """Calls `then` with the number of parts, from 1, that have been validated."""
    validate, number = batch._validate, 0

    def validate_and_then(*args: Any) -> None:
        nonlocal number
        validate(*args)
        number += 1
        then(number)

    monkeypatch.setattr(batch, "_validate", validate_and_then)


@pytest.mark.postgresql
def test_a_part_is_prepared_while_the_one_before_is_stored(
    deliveries: list[Delivery], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    after_validating(monkeypatch, lambda number: found.append((connection.connection.info.transaction_status, number)))
    result = batch.process_batch(get("tutors"))
    assert result and result.outcomes == {"inserted": 3 * RECORDS}
    assert found == [(TransactionStatus.IDLE, 1), (TransactionStatus.ACTIVE, 2), (TransactionStatus.ACTIVE, 3)]
    assert Tutor.objects.count() == 3 * RECORDS
    assert batch.process_batch(get("tutors")) is None


def test_an_error_in_a_part_harms_no_other(deliveries: list[Delivery], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(number: int) -> None:
        if number == 2:
            raise RuntimeError("a mistake")

    with monkeypatch.context() as patch:
        after_validating(patch, fail)
        result = batch.process_batch(get("tutors"))
    assert result and (result.outcomes, result.fault) == ({"inserted": RECORDS}, Fault.CODE)
    for delivery in deliveries:
        delivery.refresh_from_db()
        assert delivery.started_at is None
    assert [delivery.failure_count for delivery in deliveries] == [0, 1, 0]
    assert [counts(delivery) for delivery in deliveries[::2]] == [{"inserted": RECORDS}, {"pending": RECORDS}]
    work_off()
    assert Tutor.objects.count() == 3 * RECORDS
    assert_nothing_vanished()


def test_a_stop_leaves_no_part_claimed(deliveries: list[Delivery], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(number: int) -> None:
        if number == 2:
            raise SystemExit

    with monkeypatch.context() as patch:
        after_validating(patch, stop)
        with pytest.raises(SystemExit):
            batch.process_batch(get("tutors"))
    assert not Delivery.objects.exclude(started_at=None).exists()
    assert not Delivery.objects.exclude(failure_count=0).exists()
    work_off()
    assert Tutor.objects.count() == 3 * RECORDS
    assert_nothing_vanished()

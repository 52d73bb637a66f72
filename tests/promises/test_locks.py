"""All lock rows in one order and wait for none for long, so that no two block each other.

Each test of the order holds one row back: who takes the rows in order waits for it before touching those behind it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from django.db import connection, models, transaction
from django.utils import timezone

from enrichment.models import HeldRecord
from enrichment.pipeline import batch, outcomes, references
from enrichment.pipeline import upsert as persist
from ingestion.streams import get
from tests.held import reprocess
from tests.promises.helpers import beside, is_free, record_of, row_of, wait_until_blocked
from tests.records import deliver, send
from tests.servers import PATIENCE
from tutoring.models import Student, Tutor, TutoringSession
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db(transaction=True)

T = TypeVar("T")


@pytest.mark.postgresql
def test_a_batch_has_limits_of_time_for_locks_and_statements() -> None:
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")

    def limits() -> dict[str, str]:
        with connection.cursor() as cursor:
            found = {}
            for name in names:
                cursor.execute(f"SHOW {name}")
                found[name] = cursor.fetchone()[0]
        return found

    seen: list[dict[str, str]] = []

    def facts() -> dict[str, Any]:
        seen.append(limits())
        return dict(get("tutors").facts())

    deliver("tutors", tutor())
    before = limits()
    batch.process_batch(dataclasses.replace(get("tutors"), facts=facts))
    assert seen == [dict(zip(names, ("5s", "30s", "1min"), strict=True))]
    assert limits() == before


@pytest.mark.postgresql
def test_stored_rows_are_locked_in_order_of_their_keys() -> None:
    keys = ("b", "a")
    send("students", *(student(student_id=key) for key in keys))
    rows = [row_of("students", student(student_id=key), version_at=timezone.now()) for key in keys]

    def store() -> list[Any]:
        with transaction.atomic():
            return list(persist.store(get("students"), rows))

    first, second = Student.objects.filter(pk="a"), Student.objects.filter(pk="b")
    assert _waits_before(store, first, second) == ["updated", "updated"]


@pytest.mark.postgresql
def test_referenced_rows_are_locked_in_order_of_their_keys() -> None:
    for key in ("b", "a"):
        send("tutors", tutor(tutor_id=key))
    send("students", student())
    records = [record_of("sessions", session(session_id=key, tutor_id=key)) for key in ("b", "a")]
    first, second = Tutor.objects.filter(pk="a"), Tutor.objects.filter(pk="b")
    assert len(_waits_before(lambda: _lock_references("sessions", records), first, second)) == 3


@pytest.mark.postgresql
def test_referenced_rows_are_locked_in_order_of_their_streams() -> None:
    for stream, record in (("tutors", tutor()), ("students", student()), ("sessions", session())):
        send(stream, record)
    records = [record_of("feedback", feedback())]
    for first, second in ((Tutor, Student), (Student, TutoringSession)):
        rows = first._default_manager.all(), second._default_manager.all()
        assert len(_waits_before(lambda: _lock_references("feedback", records), *rows)) == 3


@pytest.mark.postgresql
def test_held_records_are_locked_in_order_of_their_ids() -> None:
    send("tutors", *(tutor(tutor_id=key, email="nobody") for key in "abc"), keep_invalid=True)
    found = list(HeldRecord.objects.order_by("pk"))
    HeldRecord.objects.filter(pk=found[0].pk).update(attempts=1)  # now the last in the table
    again = reprocess({}, by="test").deliveries.get()
    items = batch._next_part(again)[::-1]

    def lock() -> list[str]:
        with transaction.atomic():
            outcomes.lock(items)
        return [item.outcome for item in items]

    first, second = (HeldRecord.objects.filter(pk=record.pk) for record in found[:2])
    assert _waits_before(lock, first, second) == ["", "", ""]


def _lock_references(stream: str, records: list[Any]) -> references.Rows:
    """By a plan that reads the table as it lies: an index would give its order by itself."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off")
        return references.lock(get(stream), records)


def _waits_before(act: Callable[[], T], first: models.QuerySet[Any], second: models.QuerySet[Any]) -> T:
    """What `act` answers, once it has been seen to wait for the first rows without having locked the second."""
    with transaction.atomic():
        assert list(first.select_for_update())
        answer = beside(act)
        wait_until_blocked()
        in_order = is_free(second)
    assert answer.result(PATIENCE) is not None
    assert in_order
    return answer.result()

"""Records on their way, for tests: deliver, work off, and the sums that must hold whatever happened (P3)."""

from typing import Any

from django.db.models import Count, Q

from enrichment.models import HeldRecord
from enrichment.pipeline.batch import process_batch
from ingestion.models import Delivery
from ingestion.payloads import ascii_json
from ingestion.services import Acceptance, accept
from ingestion.streams import Stream, all_streams, get

Status = HeldRecord.Status
INSERT_STUDENTS = """
    INSERT INTO tutoring_student
        (student_id, name, is_stub, version_at, delivery, position, warnings, stored_at)
    SELECT 's' || i, repeat('x', 250), false, now(), 1, i, '[]', now() FROM generate_series(1, 100000) AS i
"""
"""100,000 rows, more than any buffer on the way to a client holds."""


def deliver(stream: str, *records: Any, keep_invalid: bool = False) -> Delivery:
    """Accepts the records as one delivery."""
    return offer(stream, *records, keep_invalid=keep_invalid).delivery


def offer(stream: str, *records: Any, keep_invalid: bool = False) -> Acceptance:
    body = ascii_json(list(records)).encode()
    fmt = Delivery.Format.JSON
    return accept(get(stream), list(records), body, fmt=fmt, client="test", keep_invalid=keep_invalid)


def work_off() -> None:
    """Works until nothing is due, this process alone; AssertionError when batch after batch is given back."""
    failed = 0
    while batches := [batch for stream in _pending() if (batch := process_batch(stream, respect_backoff=False))]:
        failed = failed + 1 if any(batch.fault for batch in batches) else 0
        assert failed < 5, batches


def _pending() -> list[Stream]:
    """The streams of which a delivery is pending: one query, where to claim in vain takes a dozen for each stream."""
    names = set(Delivery.objects.pending().values_list("stream", flat=True))
    return [stream for stream in all_streams() if stream.name in names]


def send(stream: str, *records: Any, keep_invalid: bool = False) -> Delivery:
    """Delivers the records, works everything off and returns the delivery as it is then."""
    delivery = deliver(stream, *records, keep_invalid=keep_invalid)
    work_off()
    delivery.refresh_from_db()
    return delivery


def counts(delivery: Delivery) -> dict[str, int]:
    """The outcomes that are not 0."""
    delivery.refresh_from_db()
    names = ("inserted", "updated", "stale", "held", "skipped", "pending")
    return {name: number for name in names if (number := getattr(delivery, name))}


def stored(stream: str, key: str) -> Any:
    return get(stream).model._default_manager.filter(pk=key).first()


def assert_nothing_vanished() -> None:
    """P3's equations, for every delivery; and no held record is queued in a delivery that is done."""
    split = {f"{status}_": Count("held_records", filter=Q(held_records__status=status)) for status in Status.values}
    for delivery in Delivery.objects.annotate(**split):
        assert delivery.pending >= 0, delivery
        assert delivery.processed_at is None or delivery.pending == 0, delivery
        if delivery.format != Delivery.Format.HELD:
            assert delivery.held == sum(getattr(delivery, name) for name in split), delivery
            assert delivery.skipped == 0, delivery
    done = Delivery.objects.filter(processed_at__isnull=False).values("pk")
    assert not HeldRecord.objects.filter(queued_in__in=done).exists()

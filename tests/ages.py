"""Deliveries and held records of long ago, which retention deletes, for tests."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from enrichment.models import HeldRecord
from ingestion.models import Delivery

LONG_AGO = timedelta(days=31)


def long_ago() -> datetime:
    return timezone.now() - LONG_AGO


def delivery(**fields: Any) -> Delivery:
    """Processed long ago, unless the fields say otherwise."""
    usual = {"stream": "tutors", "client": "key:abc", "body": b"[]", "count": 1, "inserted": 1}
    return Delivery.objects.create(**{**usual, "received_at": long_ago(), "processed_at": long_ago(), **fields})


def grow_old(held: HeldRecord, **fields: Any) -> HeldRecord:
    """Held long ago, and changed then unless the fields say otherwise."""
    HeldRecord.objects.filter(pk=held.pk).update(**{"held_at": long_ago(), "changed_at": long_ago(), **fields})
    Delivery.objects.filter(pk=held.delivery_id).update(received_at=long_ago(), processed_at=long_ago())
    return held


def left() -> set[int]:
    return set(Delivery.objects.values_list("pk", flat=True))

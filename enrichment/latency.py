"""How long records took from their arrival until they were stored or held: counted in fixed buckets."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from django.utils import timezone

from ingestion.models import Delivery

if TYPE_CHECKING:
    from enrichment.pipeline import Item

BOUNDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""Seconds: a bucket holds what took longer than the bound before it, and not longer than its own; the last all else."""
COLUMNS = (
    *("within_250ms", "within_500ms", "within_1s", "within_2s", "within_5s", "within_10s", "within_30s"),
    *("within_1m", "within_5m", "within_30m", "within_1h", "over_1h"),
)
"""Of MinuteStat, one for each bucket. A record is counted in one of them."""


def count(deliveries: Iterable[Delivery], items: Iterable[Item], since: datetime) -> dict[str, float]:
    """Columns of MinuteStat to add for items that clients sent; `since` is our clock just after the deliveries' mark.

    What we send through again ourselves is not counted: each accepted record once, when it is first stored or held.
    No clock is compared with another's: from arrival to mark the database's counts, from then on ours.
    """
    records = Counter(item.delivery.pk for item in items)
    worked = timezone.now() - since
    numbers: dict[str, float] = {"seconds": 0.0}
    for delivery in deliveries:
        if delivery.source == Delivery.Source.CLIENT and delivery.started_at:
            seconds = max(0.0, (delivery.started_at - delivery.received_at + worked).total_seconds())
            column = COLUMNS[bisect_left(BOUNDS, seconds)]
            numbers[column] = numbers.get(column, 0) + records[delivery.pk]
            numbers["seconds"] += seconds * records[delivery.pk]
    return numbers


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """Seconds within which that share of the records came, None without records.

    An estimate: within a bucket the records are taken to be spread evenly, so it is at most as wrong as the bucket is
    wide. Of what took longer than the last bound no more than that bound is known.
    """
    wanted = share * sum(buckets)
    if not wanted:
        return None
    below = 0.0
    for number, bound in zip(buckets, BOUNDS, strict=False):
        if number >= wanted:
            return below + (bound - below) * wanted / number
        wanted, below = wanted - number, bound
    return BOUNDS[-1]

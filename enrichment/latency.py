"""Latency of records, from arrival until they were stored or held, counted in fixed buckets."""

from __future__ import annotations

from collections.abc import Sequence

BOUNDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""Upper bounds in seconds, inclusive, of all buckets but the last, which has none."""
COLUMNS = (
    *("within_250ms", "within_500ms", "within_1s", "within_2s", "within_5s", "within_10s", "within_30s"),
    *("within_1m", "within_5m", "within_30m", "within_1h", "over_1h"),
)
"""The columns of MinuteStat, one for each bucket. A record is counted in one of them."""


def quantile(buckets: Sequence[int], share: float) -> float | None:
    """The seconds that this share of the records took at most; None without records.

    An estimate: records are assumed to be spread evenly within a bucket, so the error is at most the bucket's width. Of
    records in the last bucket only its lower bound is known.
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

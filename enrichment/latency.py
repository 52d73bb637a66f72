"""How long records took from their arrival until they were stored or held: counted in fixed buckets."""

from __future__ import annotations

from collections.abc import Sequence

BOUNDS = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""Seconds: a bucket holds what took longer than the bound before it, and not longer than its own; the last all else."""
COLUMNS = (
    *("within_250ms", "within_500ms", "within_1s", "within_2s", "within_5s", "within_10s", "within_30s"),
    *("within_1m", "within_5m", "within_30m", "within_1h", "over_1h"),
)
"""Of MinuteStat, one for each bucket. A record is counted in one of them."""


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

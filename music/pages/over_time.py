"""Plays over time, as a bar for each month that leads to its plays."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from django.utils.safestring import SafeString

from console.charts import bars
from music.pages.links import Link
from music.pages.months import Range

MAX_BARS = 180
UNITS = {1: "month", 3: "quarter", 12: "year"}


def plays_over_time(by_month: Mapping[date, int], shown: Range, link: Link) -> SafeString:
    """In more than MAX_BARS months, a bar for each quarter or year."""
    steps, length = shown.steps(MAX_BARS), shown.step_length(MAX_BARS)
    return bars(
        [step.title(length) for step in steps],
        [sum(by_month.get(month, 0) for month in step) for step in steps],
        title=f"Plays by {UNITS[length]}",
        heading=UNITS[length].capitalize(),
        links=[link(step) for step in steps] if link() else (),
        empty="No plays yet.",
    )

"""Ranges of months, as addresses name them: from=2024-01&to=2024-12."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Self

from django.core.exceptions import BadRequest

from ingestion.text import plain

MONTH = re.compile("[12][0-9]{3}-(0[1-9]|1[0-2])")
YEAR = 12
"""Months of the range that is shown if none is asked for."""


def add(month: date, number: int) -> date:
    """The first day of the month that is so many months later."""
    years, rest = divmod(month.year * 12 + month.month - 1 + number, 12)
    return date(years, rest + 1, 1)


def label(month: date) -> str:
    return f"{month:%Y-%m}"


def start_of(month: date, length: int) -> date:
    """The first month of the quarter or year that it is in; itself for 1."""
    return date(month.year, (month.month - 1) // length * length + 1, 1)


def read(text: str) -> date:
    """Raises BadRequest for anything but a month."""
    if not re.fullmatch(MONTH, text):
        raise BadRequest(f"“{plain(text[:20])}” is no month. Write it as 2025-04.")
    return date(int(text[:4]), int(text[5:]), 1)


@dataclass(frozen=True)
class Range:
    """From a month to another, both included, by their first days."""

    first: date
    last: date

    @classmethod
    def of(cls, query: Mapping[str, str], known: Self) -> Self:
        """As asked for; the last year of what is known if nothing is."""
        first, last = query.get("from", ""), query.get("to", "")
        if not first and not last:
            return cls(max(known.first, add(known.last, 1 - YEAR)), known.last)
        one = read(first) if first else min(known.first, read(last))
        other = read(last) if last else max(known.last, one)
        return cls(min(one, other), max(one, other))

    @property
    def query(self) -> dict[str, str]:
        return {"from": label(self.first), "to": label(self.last)}

    @property
    def months(self) -> int:
        return 12 * (self.last.year - self.first.year) + self.last.month - self.first.month + 1

    def __iter__(self) -> Iterator[date]:
        return (add(self.first, number) for number in range(self.months))

    def __str__(self) -> str:
        first, last = label(self.first), label(self.last)
        return first if first == last else f"{first} to {last}"

    def overlaps(self, other: Range) -> bool:
        return self.first <= other.last and other.first <= self.last

    def within(self, other: Range) -> Range:
        """The part of it that lies in the other; of one that lies outside, its nearest month."""

        def nearest(month: date) -> date:
            return min(max(month, other.first), other.last)

        return Range(nearest(self.first), nearest(self.last))

    def step_length(self, most: int) -> int:
        """1 if it has so many months at most; else 3 if it has as many quarters, else 12."""
        return next((length for length in (1, 3) if self.months <= most * length), 12)

    def steps(self, most: int) -> list[Range]:
        """Itself in order, as months, calendar quarters or years."""
        length = self.step_length(most)
        found: dict[date, Range] = {}
        for month in self:
            start = start_of(month, length)
            found[start] = Range(found[start].first if start in found else month, month)
        return list(found.values())

    def title(self, length: int) -> str:
        """Of a step of this length: 2025-04, 2025 Q2 or 2025."""
        names = {1: label(self.first), 3: f"{self.first.year} Q{(self.first.month + 2) // 3}", 12: f"{self.first.year}"}
        return names[length]


def presets(known: Range) -> list[tuple[str, Range]]:
    """(title, range): the last year, all, and each calendar year from the newest on."""
    years = range(known.last.year, known.first.year - 1, -1)
    return [
        ("Last 12 months", Range.of({}, known)),
        ("All time", known),
        *((str(year), Range(date(year, 1, 1), date(year, 12, 1))) for year in years),
    ]

"""Rejected rows that come back from a spreadsheet, compared with what they were when they were rejected.

A spreadsheet writes 2024-05-01 as 5/1/2024, which may be two dates, and 007 as 7. The record that was rejected says
what stood there, where the row still has its ID, or its row number. Only fields that were not at fault are compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, TypeAlias

from ingestion.files.formats.local_dates import LocalDates
from ingestion.streams import Stream

MAX_COMPARED = 2000
"""Rows, the first ones of a file."""
_number = re.compile(r"[+-]?[0-9]{1,100}(?:[.,][0-9]{1,100})?(?:[eE][+-]?[0-9]{1,3})?")


Original: TypeAlias = "Mapping[str, Any]"
"""A record that was rejected, without the fields for which it was; empty where none is found."""


@dataclass(frozen=True)
class Place:
    """Where a row of a file says that it belongs."""

    key: str
    row: int | None
    """The number that the rejected rows have in their column `row`."""


Find: TypeAlias = "Callable[[Stream, Sequence[Place]], list[Original]]"
_finders: list[Find] = []


def register(find: Find) -> None:
    """Has the rejected records found by this function: they are kept by an app that this one does not know."""
    _finders[:] = [find]


def find(stream: Stream, places: Sequence[Place]) -> list[Original]:
    return _finders[0](stream, places) if _finders and places else [{}] * len(places)


@dataclass
class Comparison:
    """The rows of a file beside their originals."""

    times: Mapping[int, LocalDates]
    """By the position of their columns."""
    texts: Iterable[int]
    cells: dict[int, dict[str, set[str]]] = field(default_factory=dict)
    """position → what stands in a cell → what it was."""

    def see(self, row: Sequence[str], fields: Sequence[str], original: Original) -> None:
        for position, dates in self.times.items():
            was = original.get(fields[position])
            if position < len(row) and isinstance(was, str):
                dates.compare(row[position], was)
        for position in self.texts:
            if position < len(row) and (cell := row[position]):
                was = original.get(fields[position])
                is_changed = isinstance(was, str) and is_spreadsheets(cell, was)
                self.cells.setdefault(position, {}).setdefault(cell, set()).add(str(was) if is_changed else cell)

    def settle_dates(self) -> None:
        """One program has written all dates: what the originals say of one column holds for those in doubt."""
        day_first = sum(dates.compared_day_first for dates in self.times.values())
        month_first = sum(dates.compared_month_first for dates in self.times.values())
        for dates in self.times.values():
            dates.assume(day_first, month_first)

    def restored(self, position: int) -> dict[str, str]:
        """cell → what it was, where that is beyond doubt."""
        only = ((cell, next(iter(was))) for cell, was in self.cells.get(position, {}).items() if len(was) == 1)
        return {cell: was for cell, was in only if cell != was}


def is_spreadsheets(cell: str, text: str) -> bool:
    """Whether a spreadsheet may have written `cell` for `text`: 7 for 007, 1.23E+14, ? for a letter that it has not."""
    if cell == text:
        return False
    if _number.fullmatch(cell) and _number.fullmatch(text):
        short = Decimal(cell.replace(",", "."))
        exact = Decimal(text.replace(",", "."))
        digits = len(short.as_tuple().digits)
        return short == exact or ("e" in cell.lower() and digits > 1 and f"{exact:.{digits - 1}E}" == f"{short:E}")
    return "?" in cell and text.encode("cp1252", "replace").decode("cp1252") == cell

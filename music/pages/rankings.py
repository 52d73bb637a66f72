"""Rankings: rows with a bar, in order of plays, each leading to what it counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingestion.text import thousands

FOLDED = 10
"""Rows before the rest is folded."""
MAX_ROWS = 50
ALMOST = 99.5


@dataclass(frozen=True)
class Row:
    name: str
    plays: int
    page: str = ""
    """Of the thing itself."""
    link: str = ""
    """The list of its plays."""
    detail: str = ""
    """Small print beside the name."""
    cells: Sequence[str] = ()
    """Further columns."""
    away: str = ""
    """Its address at the service that knows it."""
    width: float = 0
    """Of its bar, in percent."""


@dataclass(frozen=True)
class Ranking:
    title: str
    heading: str
    rows: Sequence[Row]
    columns: Sequence[str] = ()
    note: str = ""
    away: str = ""
    """The name of the service that rows lead to."""
    empty: str = "None yet."

    @property
    def first(self) -> Sequence[Row]:
        return self.rows[:FOLDED]

    @property
    def has_away(self) -> bool:
        return any(row.away for row in self.rows)

    @property
    def rest(self) -> Sequence[Row]:
        return self.rows[FOLDED:]


def with_bars(rows: Iterable[Row], most_rows: int = MAX_ROWS) -> list[Row]:
    """The first of them, their bars as long as their plays among the most."""
    found = list(rows)
    most = max((row.plays for row in found), default=0) or 1
    return [Row(**{**vars(row), "width": round(100 * row.plays / most, 1)}) for row in found[:most_rows]]


def percent(part: int, whole: int) -> str:
    """Rounded, but neither to none nor to all where it is not."""
    exact = 100 * part / whole if whole else 0
    if 0 < exact < 1:
        return "< 1 %"
    return "> 99 %" if ALMOST <= exact < 100 else f"{exact:.0f} %"


def noun(one: str, number: int) -> str:
    return one if number == 1 else f"{one}s"


def plays(number: int) -> str:
    return f"{thousands(number)} {noun('play', number)}"

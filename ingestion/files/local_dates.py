"""Dates as spreadsheets write them, 01.05.2024 or 5/1/2024: read where a column leaves no doubt which is the month."""

from __future__ import annotations

import re
from datetime import datetime

_TIME = r"(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s*([AaPp])\.?[Mm]\.?)?)?"
_year_last = re.compile(rf"(\d{{1,2}})([./-])(\d{{1,2}})\2(\d{{4}}){_TIME}", re.ASCII)
_year_first = re.compile(rf"(\d{{4}})([./])(\d{{1,2}})\2(\d{{1,2}}){_TIME}", re.ASCII)


class LocalDates:
    """The dates of one column: `see` takes each cell that is no ISO 8601 date, then `read` reads them."""

    def __init__(self) -> None:
        self.day_first = self.month_first = self.either = self.year_first = 0
        """How many dates can be read only so."""
        self.separator = ""
        """Of those with the year behind; the last one seen."""

    def see(self, text: str) -> None:
        if found := _year_last.fullmatch(text):
            first, self.separator, second = int(found[1]), found[2], int(found[3])
            if first > 12 >= second:
                self.day_first += 1
            elif second > 12 >= first:
                self.month_first += 1
            elif first != second and self.separator != ".":
                self.either += 1
        elif _year_first.fullmatch(text):
            self.year_first += 1

    @property
    def is_day_first(self) -> bool | None:
        """None where both readings are possible, or neither fits all. With dots between them the day is first."""
        if self.day_first and self.month_first:
            return None
        if self.day_first or self.month_first:
            return self.day_first > 0
        return None if self.either else True

    @property
    def note(self) -> str:
        """How the dates are read; empty where there are none."""
        if self.separator:
            order = {True: "DD{0}MM{0}YYYY", False: "MM{0}DD{0}YYYY", None: ""}[self.is_day_first]
            if not order:
                return "dates with day and month in doubt are not read: write them as YYYY-MM-DD"
            return f"dates are read as {order.format(self.separator)}"
        return "dates are read as YYYY/MM/DD" if self.year_first else ""

    def read(self, text: str) -> str:
        """As ISO 8601; unchanged where it is no date, or in doubt."""
        if found := _year_first.fullmatch(text):
            year, _, month, day, *time = found.groups()
        elif (found := _year_last.fullmatch(text)) and self.is_day_first is not None:
            first, _, second, year, *time = found.groups()
            day, month = (first, second) if self.is_day_first else (second, first)
        else:
            return text
        try:
            return _iso(int(year), int(month), int(day), time)
        except ValueError:  # no such day or hour
            return text


def _iso(year: int, month: int, day: int, time: list[str | None]) -> str:
    hour, minute, second, half = time
    moment = datetime(year, month, day, _hour(int(hour or 0), half), int(minute or 0), int(second or 0))  # noqa: DTZ001
    return moment.isoformat() if hour else moment.date().isoformat()


def _hour(hour: int, half: str | None) -> int:
    if half is None:
        return hour
    if not 1 <= hour <= 12:
        raise ValueError
    return hour % 12 + (12 if half in "Pp" else 0)

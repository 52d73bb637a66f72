"""Dates as spreadsheets write them, 01.05.2024 or 5/1/2024: read where a column leaves no doubt which is the month, and
written again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime

_TIME = r"(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2}))?(?:\s*([AaPp])\.?[Mm]\.?)?)?"
_year_last = re.compile(rf"(\d{{1,2}})([./-])(\d{{1,2}})\2(\d{{4}}){_TIME}", re.ASCII)
_year_first = re.compile(rf"(\d{{4}})([./])(\d{{1,2}})\2(\d{{1,2}}){_TIME}", re.ASCII)


class LocalDates:
    """The dates of one column: `see` takes each cell that is no ISO 8601 date, `see_iso` the others, then `read` reads
    them. A date that there is not, 32.13.2024, decides nothing.
    """

    def __init__(self) -> None:
        self.day_first = self.month_first = self.either = self.year_first = 0
        """How many dates can be read only so."""
        self.separator = ""
        """Of those with the year behind; the last one seen."""
        self.compared_day_first = self.compared_month_first = 0
        """How many of those in doubt were another date's text before, which only one reading gives."""
        self.is_padded = True
        """01.05. and not 1.5."""
        self.has_zeros = False
        """Whether there is a date like 01.05. at all."""
        self.is_mixed = False
        """Whether there are dates that `style` would not write as they are: with another separator, or ISO 8601."""
        self.has_halves = False
        """3:00 PM and not 15:00."""

    def see(self, text: str) -> None:
        if (found := _year_last.fullmatch(text)) and _is_possible(found):
            first, second = int(found[1]), int(found[3])
            self._see_style(found)
            if first > 12 >= second:
                self.day_first += 1
            elif second > 12 >= first:
                self.month_first += 1
            elif first != second and self.separator != ".":
                self.either += 1
        elif _year_first.fullmatch(text):
            self.year_first += 1

    def _see_style(self, found: re.Match[str]) -> None:
        self.is_mixed = self.is_mixed or self.separator not in ("", found[2])
        self.separator = found[2]
        self.is_padded = self.is_padded and len(found[1]) == len(found[3]) == 2
        self.has_zeros = self.has_zeros or "0" in (found[1][0], found[3][0])
        self.has_halves = self.has_halves or found[8] is not None

    def see_iso(self, text: str) -> None:
        if not self.is_mixed and _to_write(text.strip()):
            self.is_mixed = True

    def compare(self, text: str, was: str) -> None:
        """Sees that `text` stands where an ISO 8601 date, `was`, stood before."""
        found = _year_last.fullmatch(text.strip())
        if not found or found[1].zfill(2) == found[3].zfill(2):
            return
        day_first, month_first = (f"{found[4]}-{{}}-{{}}".format(*pair) for pair in _both(found[1], found[3]))
        self.compared_day_first += was[:10] == day_first
        self.compared_month_first += was[:10] == month_first

    def assume(self, day_first: int, month_first: int) -> None:
        """In doubt, reads as so many comparisons found; not where they contradict each other."""
        if self.either and not (self.day_first or self.month_first) and bool(day_first) != bool(month_first):
            self.day_first, self.month_first = day_first, month_first

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

    @property
    def style(self) -> DateStyle | None:
        """None where no local dates are read, or not all of them in one style."""
        is_mixed = self.is_mixed or self.year_first or (self.has_zeros and not self.is_padded)
        if self.separator and self.is_day_first is not None and not is_mixed:
            return DateStyle(self.is_day_first, self.separator, self.is_padded, self.has_halves)
        return None

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


@dataclass(frozen=True)
class DateStyle:
    """How a column has its dates, so that they are written as they came."""

    is_day_first: bool
    separator: str
    is_padded: bool
    has_halves: bool

    def write(self, text: str) -> str:
        """What read() made `text` from, but for blanks; unchanged where that is not possible."""
        if not (moment := _to_write(text)):
            return text
        day = self._day(moment)
        return day if len(text) == len("2024-05-01") else f"{day} {self._time(moment)}"

    def _day(self, day: date) -> str:
        first, second = (day.day, day.month) if self.is_day_first else (day.month, day.day)
        width = 2 if self.is_padded else 1
        return self.separator.join((f"{first:0{width}}", f"{second:0{width}}", f"{day.year:04}"))

    def _time(self, moment: datetime) -> str:
        seconds = f":{moment.second:02}" if moment.second else ""
        if self.has_halves:
            return f"{moment.hour % 12 or 12}:{moment.minute:02}{seconds} {'AM' if moment.hour < 12 else 'PM'}"
        return f"{moment.hour:02}:{moment.minute:02}{seconds}"


def is_certain(written: str, text: str) -> bool:
    """Whether `written` alone, in a column of its own, is read as `text`."""
    dates = LocalDates()
    dates.see(written)
    read = dates.read(written)
    return read != written and datetime.fromisoformat(read) == datetime.fromisoformat(text)


def _to_write(text: str) -> datetime | None:
    """The moment of an ISO 8601 text that a DateStyle can write."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo or moment.microsecond else moment


def _is_possible(found: re.Match[str]) -> bool:
    """Whether there is such a day and hour, with the day first or with the month first."""
    first, _, second, year, *time = found.groups()
    for month, day in _both(first, second):
        try:
            _iso(int(year), int(month), int(day), time)
        except ValueError:
            continue
        return True
    return False


def _both(first: str, second: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """(month, day) with the day first, and with the month first."""
    first, second = first.zfill(2), second.zfill(2)
    return (second, first), (first, second)


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

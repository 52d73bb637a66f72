"""Numbers of stored rows by week, for charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import TruncWeek

MAX_WEEKS = 26
WEEK = timedelta(weeks=1)


def by_week(rows: QuerySet[Any], time: str, numbers: Mapping[str, Any]) -> dict[date, dict[str, int]]:
    """The Monday of each week, in TIME_ZONE → these aggregates of its rows: one query, however many weeks."""
    aliases = {f"n_{name}": number for name, number in numbers.items()}  # unlike any field
    weeks = rows.order_by().values(week=TruncWeek(time)).annotate(**aliases)
    found = weeks.values_list("week", *aliases)
    return {monday.date(): dict(zip(numbers, counted, strict=True)) for monday, *counted in found}


def last_weeks(mondays: Sequence[date]) -> list[date]:
    """The MAX_WEEKS up to the last of these, without a gap, from the first on; none where there are none."""
    if not mondays:
        return []
    first = max(min(mondays), max(mondays) - (MAX_WEEKS - 1) * WEEK)
    return [first + number * WEEK for number in range((max(mondays) - first) // WEEK + 1)]


def percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None


def total(kind: Any, numbers: Sequence[Any]) -> Any:
    """The sum of each field of a dataclass of numbers."""
    return kind(**{name: sum(getattr(each, name) for each in numbers) for name in kind.__dataclass_fields__})

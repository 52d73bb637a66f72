"""Orders of rows and cursors in them: finding what comes after a cursor takes the same time on every page.

DRF's own cursor remembers the value alone and loops, or loses rows, where many rows share one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from django.db.models import F, Func, Model, Q, QuerySet
from django.db.models.expressions import OrderBy

from ingestion.query import read_choice

CHUNK = 2000
"""Rows read at once when all are wanted."""
AnyModel = TypeVar("AnyModel", bound=Model)


@dataclass(frozen=True)
class Ordering:
    """By the key, or by a time or number that is never null and then by the key, both in one direction."""

    name: str
    """As in ?ordering=: the column, with a minus in front where it descends."""
    key: str
    keys: type[str | int] = str
    is_number: bool = False
    """The column is a number; else a time, or the key."""
    avoid_index: bool = False
    """Pages are found by reading all rows, not along the index of this order: for conditions whose selectivity
    PostgreSQL cannot estimate. Along the index it would read the whole table row by row, 8 times as slow if none match.
    """

    @property
    def column(self) -> str:
        return self.name.removeprefix("-")

    @property
    def descending(self) -> bool:
        return self.name.startswith("-")

    def columns(self, *, reverse: bool = False, avoid_index: bool = False) -> list[OrderBy]:
        terms = [
            Func(F(column), function="GREATEST") if avoid_index else F(column)  # GREATEST of one value: no index has it
            for column in dict.fromkeys((self.column, self.key))
        ]
        return [OrderBy(term, descending=self.descending != reverse) for term in terms]

    def after(self, cursor: Cursor) -> Q:
        """Rows that come after the cursor's row, or before it if the cursor points backwards."""
        sign = "lt" if self.descending != cursor.back else "gt"
        key_after = Q(**{f"{self.key}__{sign}": cursor.key})
        if self.column == self.key:
            return key_after
        # Not `value > … OR (value = … AND key > …)`: with the range outside, an index on the value serves.
        return Q(**{f"{self.column}__{sign}e": cursor.value}) & (
            Q(**{f"{self.column}__{sign}": cursor.value}) | key_after
        )

    def cursor_at(self, row: Model, *, back: bool = False) -> Cursor:
        value = None if self.column == self.key else getattr(row, self.column)
        return Cursor(self.name, value, row.pk, back)


NEWEST_FIRST = (Ordering("-id", "id", int), Ordering("id", "id", int))
"""For rows that are numbered as they arrive."""


@dataclass(frozen=True)
class Cursor:
    ordering: str
    value: datetime | int | None
    """None if rows are ordered by the key alone."""
    key: str | int
    back: bool

    def __str__(self) -> str:
        value = self.value.isoformat() if isinstance(self.value, datetime) else self.value
        return base64.urlsafe_b64encode(json.dumps([self.ordering, value, self.key, self.back]).encode()).decode()


def in_chunks(rows: QuerySet[AnyModel], ordering: Ordering, size: int = CHUNK) -> Iterator[list[AnyModel]]:
    """All rows, a chunk at a time; no transaction and no database cursor outlives a chunk."""
    ordered = rows.order_by(*ordering.columns())
    chunk = list(ordered[:size])
    while chunk:
        yield chunk
        more = ordered.filter(ordering.after(ordering.cursor_at(chunk[-1])))
        chunk = list(more[:size]) if len(chunk) == size else []


def stream_orderings(key: str, *times: str, number: str | None = None) -> list[Ordering]:
    orderings = [Ordering(sign + column, key) for column in (key, *times) for sign in ("", "-")]
    return orderings + [Ordering(sign + number, key, is_number=True) for sign in ("", "-") if number]


def read_ordering(query: Mapping[str, str], allowed: Sequence[Ordering]) -> Ordering:
    """The one that ?ordering= names, the first where it is absent."""
    by_name = {ordering.name: ordering for ordering in allowed}
    return by_name[read_choice(query, "ordering", list(by_name))]

"""Pages by position: a cursor says after which (value, key) a page begins, so that every page costs the same.

DRF's own cursor remembers the value alone and loops, or loses rows, where many rows share one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlencode

from django.db import connection
from django.db.models import F, Func, Model, Q, QuerySet
from django.db.models.expressions import OrderBy

from ingestion.query import read_choice
from ingestion.refusals import Refused
from ingestion.text import clean

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
CHUNK = 2000
"""Rows that are read at once where all are wanted."""
PARAMETERS = ("page_size", "cursor", "count")

AnyModel = TypeVar("AnyModel", bound=Model)


@dataclass(frozen=True)
class Ordering:
    """By the key, or by a time that is never null and then by the key, both in one direction."""

    name: str
    """As in ?ordering=: the column, with a minus in front where it descends."""
    key: str
    keys: type[str | int] = str
    by_scan: bool = False
    """Pages are found by reading all rows, not along the index of this order. For conditions of which PostgreSQL cannot
    guess how few rows meet them: along the index it reads row by row all over the table, 8 times as slow for none.
    """

    @property
    def column(self) -> str:
        return self.name.removeprefix("-")

    @property
    def descending(self) -> bool:
        return self.name.startswith("-")

    def columns(self, *, reverse: bool = False, by_scan: bool = False) -> list[OrderBy]:
        terms = [
            Func(F(column), function="GREATEST") if by_scan else F(column)  # the greatest of one: no index has it
            for column in dict.fromkeys((self.column, self.key))
        ]
        return [OrderBy(term, descending=self.descending != reverse) for term in terms]

    def beyond(self, cursor: Cursor) -> Q:
        """Rows that come after the cursor's row, or before it where the cursor looks back."""
        sign = "lt" if self.descending != cursor.back else "gt"
        key_beyond = Q(**{f"{self.key}__{sign}": cursor.key})
        if self.column == self.key:
            return key_beyond
        # Not `value > … OR (value = … AND key > …)`: with the range outside, an index on the value serves.
        return Q(**{f"{self.column}__{sign}e": cursor.value}) & (
            Q(**{f"{self.column}__{sign}": cursor.value}) | key_beyond
        )

    def place_of(self, row: Model, *, back: bool = False) -> Cursor:
        value = None if self.column == self.key else getattr(row, self.column)
        return Cursor(self.name, value, row.pk, back)


NEWEST_FIRST = (Ordering("-id", "id", int), Ordering("id", "id", int))
"""For what is numbered as it comes."""


@dataclass(frozen=True)
class Cursor:
    ordering: str
    value: datetime | None
    """None where rows are ordered by the key alone."""
    key: str | int
    back: bool

    def __str__(self) -> str:
        value = self.value and self.value.isoformat()
        return base64.urlsafe_b64encode(json.dumps([self.ordering, value, self.key, self.back]).encode()).decode()


def read_cursor(text: str, ordering: Ordering) -> Cursor:
    """The cursor that str() made. Refuses (400) anything else."""
    try:
        name, value, key, back = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
        moment = None if ordering.column == ordering.key else datetime.fromisoformat(value)
    except (ValueError, TypeError, RecursionError):
        raise _bad_cursor() from None
    if name != ordering.name or not _is_key(key, ordering) or not isinstance(back, bool):
        raise _bad_cursor()
    if moment and (moment.tzinfo is None or not 1900 < moment.year < 3000):
        raise _bad_cursor()
    return Cursor(name, moment and moment.astimezone(UTC), key, back)


def _is_key(key: Any, ordering: Ordering) -> bool:
    if type(key) is not ordering.keys:
        return False
    return key == clean(key) if isinstance(key, str) else 0 <= key < 2**63


def _bad_cursor() -> Refused:
    message = "The cursor is none of ours, or was made for another ordering."
    return Refused(400, message, fields={"cursor": ["follow next and previous as they are"]})


def paginate(base_url: str, rows: QuerySet[AnyModel], query: dict[str, str], ordering: Ordering) -> dict[str, Any]:
    """One page of `rows` in the shape of a list; results are instances. `query` is the whole query string."""
    size = read_size(query)
    counted = read_choice(query, "count", ["false", "true"]) == "true"
    cursor = read_cursor(query["cursor"], ordering) if "cursor" in query else None
    back = cursor is not None and cursor.back
    beyond = rows.filter(ordering.beyond(cursor)) if cursor else rows
    by_scan = ordering.by_scan and connection.vendor == "postgresql"
    found = list(beyond.order_by(*ordering.columns(reverse=back, by_scan=by_scan))[: size + 1])
    page, more = found[:size], len(found) > size
    if back:
        page.reverse()

    def link(row: AnyModel, *, back: bool) -> str:
        return f"{base_url}?{urlencode({**query, 'cursor': str(ordering.place_of(row, back=back))})}"

    # Going on there was a page before, and going back one after: the one with the cursor's row.
    return {
        "next": link(page[-1], back=False) if page and (more or back) else None,
        "previous": link(page[0], back=True) if page and (more if back else cursor) else None,
        **({"count": rows.count()} if counted else {}),
        "results": page,
    }


def in_chunks(rows: QuerySet[AnyModel], ordering: Ordering, size: int = CHUNK) -> Iterator[list[AnyModel]]:
    """All rows, a chunk at a time; no transaction and no cursor of the database outlives a chunk."""
    ordered = rows.order_by(*ordering.columns())
    chunk = list(ordered[:size])
    while chunk:
        yield chunk
        more = ordered.filter(ordering.beyond(ordering.place_of(chunk[-1])))
        chunk = list(more[:size]) if len(chunk) == size else []


def stream_orderings(key: str, *times: str) -> list[Ordering]:
    return [Ordering(sign + column, key) for column in (key, *times) for sign in ("", "-")]


def read_ordering(query: Mapping[str, str], allowed: Sequence[Ordering]) -> Ordering:
    """The one that ?ordering= names, the first where it is absent."""
    by_name = {ordering.name: ordering for ordering in allowed}
    return by_name[read_choice(query, "ordering", list(by_name))]


def read_size(query: dict[str, str]) -> int:
    text = query.get("page_size", str(PAGE_SIZE))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_PAGE_SIZE):
        message = f"must be a whole number from 1 to {MAX_PAGE_SIZE}"
        raise Refused(400, f"page_size {message}.", fields={"page_size": [message]})
    return int(text)

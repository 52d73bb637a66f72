"""Pages by position: a cursor says after which (value, key) a page begins, so that every page costs the same.

DRF's own cursor remembers the value alone and loops, or loses rows, where many rows share one.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import Q, QuerySet

from enrichment.models import StoredRecord
from ingestion.errors import Refused
from ingestion.readers import clean
from ingestion.streams import Stream
from ingestion.views import read_choice

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
PARAMETERS = ("page_size", "cursor", "ordering", "count")


@dataclass(frozen=True)
class Ordering:
    """By one column that is never null, then by the key, both in one direction."""

    name: str
    column: str
    key: str
    descending: bool

    def columns(self, *, reverse: bool) -> list[str]:
        sign = "-" if self.descending != reverse else ""
        return [sign + column for column in dict.fromkeys((self.column, self.key))]

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


@dataclass(frozen=True)
class Cursor:
    ordering: str
    value: datetime | None
    """None where rows are ordered by the key alone."""
    key: str
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
    sound = name == ordering.name and isinstance(key, str) and key == clean(key) and isinstance(back, bool)
    if not sound or (moment and (moment.tzinfo is None or not 1900 < moment.year < 3000)):
        raise _bad_cursor()
    return Cursor(name, moment and moment.astimezone(UTC), key, back)


def _bad_cursor() -> Refused:
    message = "The cursor is none of ours, or was made for another ordering."
    return Refused(400, message, fields={"cursor": ["follow next and previous as they are"]})


def paginate(base_url: str, rows: QuerySet[StoredRecord], query: dict[str, str], stream: Stream) -> dict[str, Any]:
    """One page of `rows` in the shape of a list; results are instances. `query` is the whole query string."""
    ordering = read_ordering(query, stream)
    size = read_size(query)
    counted = read_choice(query, "count", ["false", "true"]) == "true"
    cursor = read_cursor(query["cursor"], ordering) if "cursor" in query else None
    back = cursor is not None and cursor.back
    beyond = rows.filter(ordering.beyond(cursor)) if cursor else rows
    found = list(beyond.order_by(*ordering.columns(reverse=back))[: size + 1])
    page, more = found[:size], len(found) > size
    if back:
        page.reverse()

    def link(row: StoredRecord, *, back: bool) -> str:
        value = None if ordering.column == ordering.key else getattr(row, ordering.column)
        place = Cursor(ordering.name, value, row.pk, back)
        return f"{base_url}?{urlencode({**query, 'cursor': str(place)})}"

    # Going on there was a page before, and going back one after: the one with the cursor's row.
    return {
        "next": link(page[-1], back=False) if page and (more or back) else None,
        "previous": link(page[0], back=True) if page and (more if back else cursor) else None,
        **({"count": rows.count()} if counted else {}),
        "results": page,
    }


def read_ordering(query: dict[str, str], stream: Stream) -> Ordering:
    columns = [stream.key, "stored_at", *([stream.time] if stream.time else [])]
    name = read_choice(query, "ordering", [sign + column for column in columns for sign in ("", "-")])
    return Ordering(name, name.removeprefix("-"), stream.key, name.startswith("-"))


def read_size(query: dict[str, str]) -> int:
    text = query.get("page_size", str(PAGE_SIZE))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_PAGE_SIZE):
        message = f"must be a whole number from 1 to {MAX_PAGE_SIZE}"
        raise Refused(400, f"page_size {message}.", fields={"page_size": [message]})
    return int(text)

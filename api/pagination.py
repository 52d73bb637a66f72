"""Pages of a list, and the cursors that link them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.db import connection
from django.db.models import QuerySet

from enrichment.rows.ordering import AnyModel, Cursor, Ordering
from ingestion.query import read_flag
from ingestion.refusals import RequestRejected
from ingestion.text import strip_unstorable

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
PARAMETERS = ("page_size", "cursor", "count")


def read_cursor(text: str, ordering: Ordering) -> Cursor:
    """The cursor that str() made. Rejects (400) anything else."""
    try:
        name, value, key, back = json.loads(base64.b64decode(text, altchars=b"-_", validate=True))
        number = value if ordering.is_number else None
        moment = None if ordering.column == ordering.key or ordering.is_number else datetime.fromisoformat(value)
    except (ValueError, TypeError, RecursionError):
        raise _bad_cursor() from None
    if name != ordering.name or not _is_key(key, ordering) or not isinstance(back, bool):
        raise _bad_cursor()
    if moment and (moment.tzinfo is None or not 1900 < moment.year < 3000):
        raise _bad_cursor()
    if ordering.is_number and (type(number) is not int or not -(2**63) <= number < 2**63):
        raise _bad_cursor()
    return Cursor(name, number if ordering.is_number else moment and moment.astimezone(UTC), key, back)


def _is_key(key: Any, ordering: Ordering) -> bool:
    if type(key) is not ordering.keys:
        return False
    return key == strip_unstorable(key) if isinstance(key, str) else 0 <= key < 2**63


def _bad_cursor() -> RequestRejected:
    message = "Invalid cursor, or a cursor of another ordering."
    return RequestRejected(400, message, fields={"cursor": ["must be taken from next or previous unchanged"]})


def paginate(base_url: str, rows: QuerySet[AnyModel], query: dict[str, str], ordering: Ordering) -> dict[str, Any]:
    """One page of `rows` in the format of a list; results are instances. `query` is the whole query string."""
    size = read_size(query)
    counted = read_flag(query, "count")
    cursor = read_cursor(query["cursor"], ordering) if "cursor" in query else None
    back = cursor is not None and cursor.back
    beyond = rows.filter(ordering.after(cursor)) if cursor else rows
    avoid_index = ordering.avoid_index and connection.vendor == "postgresql"
    found = list(beyond.order_by(*ordering.columns(reverse=back, avoid_index=avoid_index))[: size + 1])
    page, more = found[:size], len(found) > size
    if back:
        page.reverse()

    def link(row: AnyModel, *, back: bool) -> str:
        return f"{base_url}?{urlencode({**query, 'cursor': str(ordering.cursor_at(row, back=back))})}"

    # Going on there was a page before, and going back one after: the one with the cursor's row.
    return {
        "next": link(page[-1], back=False) if page and (more or back) else None,
        "previous": link(page[0], back=True) if page and (more if back else cursor) else None,
        **({"count": rows.count()} if counted else {}),
        "results": page,
    }


def read_size(query: dict[str, str]) -> int:
    text = query.get("page_size", str(PAGE_SIZE))
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_PAGE_SIZE):
        message = f"must be a whole number from 1 to {MAX_PAGE_SIZE}"
        raise RequestRejected(400, f"page_size {message}.", fields={"page_size": [message]})
    return int(text)

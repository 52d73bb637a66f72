"""Statements over many rows: of a bounded size, rows locked in order of key, and dated by the database's clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Model
from django.db.models.functions import Now
from django.utils import timezone

AT_ONCE = 500
"""Values in one statement: SQLite takes only some thousands."""
Item = TypeVar("Item")
Row = TypeVar("Row", bound=Model)


def batched(items: Iterable[Item], size: int = AT_ONCE) -> Iterator[list[Item]]:
    """As itertools has it from Python 3.12 on."""
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def database_now() -> Any:
    """The present, for `stored_at`: by the database's clock where several processes write."""
    return Now() if connection.vendor == "postgresql" else timezone.now()


def lock(model: type[Row], keys: Iterable[str], *, read: bool = True) -> list[Row]:
    """These rows, until the end of the transaction; not `read`: their keys alone."""
    rows = model._default_manager.order_by("pk").select_for_update(no_key=True)
    found: list[Row] = []
    for some in batched(sorted(set(keys))):
        of_these = rows.filter(pk__in=some)
        found += of_these if read else of_these.only("pk")
    return found

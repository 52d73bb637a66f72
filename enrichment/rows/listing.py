"""The content of a list: rows in an order, serialized with the requested fields."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from enrichment.rows.ordering import Ordering, in_chunks
from ingestion.refusals import RequestRejected

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Listing:
    """The content of a list: rows in an order, and the fields of the object that each becomes."""

    rows: QuerySet[Any]
    ordering: Ordering
    fields: Sequence[str]
    serialize: Callable[[Sequence[Any]], list[Item]]
    """Rows → objects with these fields, in a constant number of queries."""
    nullable: Collection[str] = ()
    """Fields of records that are imported, in which null and an empty text are two values."""

    def chunks(self) -> Iterator[list[Item]]:
        return map(self.serialize, in_chunks(self.rows, self.ordering))


def read_fields(query: Mapping[str, str], allowed: Sequence[str], default: Sequence[str] = ()) -> list[str]:
    """The fields that ?fields= names, in that order. Refuses (400) a name that is none."""
    if "fields" not in query:
        return list(default or allowed)
    names = list(dict.fromkeys(query["fields"].split(",")))
    if not set(names) <= set(allowed):
        message = f"must be some of, with commas between: {', '.join(allowed)}"
        raise RequestRejected(400, f"fields {message}.", fields={"fields": [message]})
    return names

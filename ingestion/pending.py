"""Records in pending deliveries: found in the bodies, of which only so many bytes are searched."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.db.models import F, Func, IntegerField, Q, QuerySet, Value

from ingestion.models import Delivery

MAX_DELIVERIES = 20
MAX_BYTES = 4_000_000
"""Of the newest pending deliveries, those that a client's question after one record looks into."""


class BytesPosition(Func):
    """The position, from 1, of a value in a column of bytes; 0 if it is not in there."""

    function = "INSTR"
    output_field = IntegerField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function='pg_catalog."position"', **context)


def containing(pks: Sequence[int], keys: Iterable[str]) -> list[Delivery]:
    """Of these deliveries those whose bodies contain one of the keys as a JSON string, with or without escapes."""
    encoded = {
        json.dumps(key, ensure_ascii=escaped).encode("utf-8", "replace") for key in keys for escaped in (True, False)
    }
    contains = Q()
    deliveries = Delivery.objects.filter(pk__in=pks)
    for number, text in enumerate(sorted(encoded)):
        deliveries = deliveries.alias(**{f"position_{number}": BytesPosition(F("body"), Value(text))})
        contains |= Q(**{f"position_{number}__gt": 0})
    return list(deliveries.filter(contains).defer("body", "refused", "answer"))


def newest_containing(deliveries: QuerySet[Delivery], key: str) -> Delivery | None:
    """The newest of the deliveries that is pending and has this key in its body, among the first MAX_DELIVERIES."""
    newest = deliveries.filter(processed_at=None, source=Delivery.Source.CLIENT).order_by("-pk")
    selected, space = [], MAX_BYTES
    for pk, size in newest.values_list("pk", "size")[:MAX_DELIVERIES]:
        if size <= space:
            selected.append(pk)
            space -= size
    return max(containing(selected, [key]), key=lambda delivery: delivery.pk, default=None) if selected else None

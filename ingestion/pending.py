"""Records in pending deliveries: found in the bodies, of which only so many bytes are searched."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db.models import F, Func, IntegerField, Q, QuerySet, Value

from ingestion import streams
from ingestion.models import Delivery
from ingestion.payloads import parse_accepted
from ingestion.streams import Stream
from ingestion.validation import key_of, storable_key

MAX_DELIVERIES = 20
MAX_BYTES = 4_000_000
"""Of the newest pending deliveries, those that a client's question after one record looks into."""


MAX_PENDING = 10_000
MAX_RECORDS = 200_000
MAX_RECORD_BYTES = 50_000_000
"""Of the newest pending deliveries, those whose keys are collected for a preview; deliveries, records and bytes."""


class BytesPosition(Func):
    """The position, from 1, of a value in a column of bytes; 0 if it is not in there."""

    function = "INSTR"
    output_field = IntegerField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function='pg_catalog."position"', **context)


def containing(pks: Sequence[int], keys: Iterable[str]) -> list[Delivery]:
    """Of these deliveries those with a record that has one of the keys: as its own, as a reference, or as that of the
    person whom it is about.

    In the bodies the database looks for the key as a JSON string, with or without escapes; but any text of a record may
    be like it, and to say that somebody's name is in one would tell what nobody may see here.
    """
    keys = frozenset(keys)
    encoded = {
        json.dumps(key, ensure_ascii=escaped).encode("utf-8", "replace") for key in keys for escaped in (True, False)
    }
    contains = Q()
    deliveries = Delivery.objects.filter(pk__in=pks).defer("refused", "answer")
    deflated = deliveries.filter(is_deflated=True)
    found = [delivery for delivery in deflated if any(text in delivery.content for text in encoded)]
    for number, text in enumerate(sorted(encoded)):
        deliveries = deliveries.alias(**{f"position_{number}": BytesPosition(F("body"), Value(text))})
        contains |= Q(**{f"position_{number}__gt": 0})
    found += deliveries.filter(contains, is_deflated=False)
    return [delivery for delivery in found if _has_key(delivery, keys)]


def _has_key(delivery: Delivery, keys: Collection[str]) -> bool:
    if delivery.stream not in streams.names():
        return False
    stream = streams.get(delivery.stream)
    fields = [
        *(reference.field for reference in stream.references),
        *([stream.subject.field] if stream.subject else []),
    ]
    for item in parse_accepted(delivery.content, ndjson=delivery.is_ndjson):
        if key_of(stream, item) in keys:
            return True
        if isinstance(item, dict) and any(storable_key(item.get(name)) in keys for name in fields):
            return True
    return False


def newest_containing(deliveries: QuerySet[Delivery], key: str) -> Delivery | None:
    """The newest of the deliveries that is pending and has this key in its body, among the first MAX_DELIVERIES."""
    newest = deliveries.filter(processed_at=None, source=Delivery.Source.CLIENT).order_by("-pk")
    selected, space = [], MAX_BYTES
    for pk, size in newest.values_list("pk", "size")[:MAX_DELIVERIES]:
        if size <= space:
            selected.append(pk)
            space -= size
    return max(containing(selected, [key]), key=lambda delivery: delivery.pk, default=None) if selected else None


def keys_of(stream: Stream) -> set[str]:
    """The keys of the records in the newest pending deliveries of the stream: of up to MAX_RECORDS."""
    waiting = Delivery.objects.filter(stream=stream.name, processed_at=None, source=Delivery.Source.CLIENT)
    records, space = MAX_RECORDS, MAX_RECORD_BYTES
    keys: set[str] = set()
    for pk, count, size in list(waiting.order_by("-pk").values_list("pk", "count", "size")[:MAX_PENDING]):
        records, space = records - count, space - size
        if records < 0 or space < 0:
            break
        delivery = Delivery.objects.only("body", "is_deflated", "size", "format").get(pk=pk)
        items = parse_accepted(delivery.content, ndjson=delivery.is_ndjson)
        keys.update(filter(None, (key_of(stream, item) for item in items)))
    return keys

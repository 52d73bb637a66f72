"""Failed records as CSV or NDJSON: all matches of a filter, newest first, streamed in small chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.http import StreamingHttpResponse
from django.utils import timezone

from console import senders
from enrichment.models import Bytes, HeldRecord, HeldRecordQuerySet
from enrichment.rows.access import Export
from enrichment.rows.listing import Item
from enrichment.rows.writers import Csv, Ndjson, as_csv_for_spreadsheets, as_ndjson, download, prefetch_first
from ingestion.payloads import ParseError, parse_json
from ingestion.text import plain

CHUNK = 1000
MAX_BYTES = 4_000_000
"""Failed records that are read at once, and bytes of their payloads (or one record, whatever it has)."""

COLUMNS = (
    *("number", "stream", "key", "status", "stage", "code", "messages", "held_at", "attempts"),
    *("sent_by", "client", "delivery", "position", "payload"),
)


def csv(records: HeldRecordQuerySet, name: str, export: Export) -> StreamingHttpResponse:
    """For spreadsheets: with a mark of UTF-8, and nothing in it that they compute or that turns the text around it."""

    def text() -> Iterator[str]:
        found = prefetch_first(export.counting(_chunks(records)))
        chunks = ([_for_people(item) for item in chunk] for chunk in found)
        return as_csv_for_spreadsheets(chunks, COLUMNS)

    return download(text, Csv(), f"{name}-{timezone.localdate()}", export)


def ndjson(records: HeldRecordQuerySet, name: str, export: Export) -> StreamingHttpResponse:
    """For programs: messages by field, and the payload as it is."""

    def text() -> Iterator[str]:
        chunks = (
            [_for_programs(item) for item in chunk] for chunk in prefetch_first(export.counting(_chunks(records)))
        )
        return as_ndjson(chunks, COLUMNS)

    return download(text, Ndjson(), f"{name}-{timezone.localdate()}", export)


def _chunks(records: HeldRecordQuerySet) -> Iterator[list[Item]]:
    for pks in _few(records):
        chunk = list(records.filter(pk__in=pks).order_by("-pk").defer("original_payload"))
        names = senders.key_names(held.client for held in chunk)
        yield [_item(held, names) for held in chunk]


def _few(records: HeldRecordQuerySet) -> Iterator[Sequence[int]]:
    """The ids of the records, as many together as may be read at once."""
    newest_first = records.order_by("-pk").values_list("pk", Bytes("payload"))
    sizes = list(newest_first[:CHUNK])
    while sizes:
        pks: list[int] = []
        space = MAX_BYTES
        for pk, size in sizes:
            if pks and size > space:
                yield pks
                pks, space = [], MAX_BYTES
            pks.append(pk)
            space -= size
        yield pks
        sizes = list(newest_first.filter(pk__lt=pks[-1])[:CHUNK])


def _item(held: HeldRecord, names: dict[str, str]) -> dict[str, Any]:
    return {
        "number": held.pk,
        "stream": held.stream,
        "key": held.key,
        "status": held.status,
        "stage": held.stage,
        "code": held.code,
        "messages": held.messages,
        "held_at": held.held_at,
        "attempts": held.attempts,
        "sent_by": names.get(held.client, held.client),
        "client": held.client,
        "delivery": held.delivery_id,
        "position": held.position,
        "payload": held.payload,
    }


def _value(payload: str) -> Any:
    try:
        return parse_json(payload.encode())
    except ParseError:  # by a stricter reader than the one that took it in
        return payload


def _for_programs(item: Item) -> Item:
    return {**item, "payload": _value(item["payload"])}


def _for_people(item: Item) -> Item:
    messages = "; ".join(f"{name}: {' '.join(map(str, texts))}" for name, texts in item["messages"].items())
    item = {**item, "messages": messages}
    return {name: plain(value) if isinstance(value, str) else value for name, value in item.items()}

"""The failed records from which the rows of a file come that was downloaded as rejected rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from enrichment.models import Bytes, HeldRecord, HeldRecordQuerySet
from ingestion.files.formats.originals import Original, Place, is_spreadsheets
from ingestion.models import Upload
from ingestion.streams import Stream

KEYS_AT_ONCE = 500
MAX_UPLOADS = 5
"""The newest with failed records: in them a row is looked for whose ID has been changed."""
MAX_ROWS = 5000
"""Failed records of each that are looked at."""
MAX_BYTES = 20_000
"""Of a payload; a larger one is no row of a table."""


def find(stream: Stream, places: Sequence[Place]) -> list[Original]:
    """Of the failed records with the ID of the row, each field as the newest has it; else the one in its row of an
    upload, if a spreadsheet may have changed its ID to that of the row.
    """
    by_key = _by_key(stream, {place.key for place in places if place.key})
    found = [by_key.get(place.key, {}) for place in places]
    lost = [i for i, place in enumerate(places) if place.row and place.key and not found[i]]
    if lost:
        by_row = _by_row(stream, [places[i] for i in lost])
        for i in lost:
            original = by_row.get(places[i].row, {})
            found[i] = original if _may_be(stream, original, places[i]) else {}
    return found


def _by_key(stream: Stream, keys: set[str]) -> dict[str, Original]:
    found: dict[str, Original] = {}
    ordered = sorted(keys)
    for start in range(0, len(ordered), KEYS_AT_ONCE):
        records = _small(HeldRecord.objects.filter(stream=stream.name, key__in=ordered[start : start + KEYS_AT_ONCE]))
        for key, payload, messages in records.order_by("pk").values_list("key", "payload", "messages"):
            found[key] = {**found.get(key, {}), **_without_faults(payload, messages)}
    return found


def _by_row(stream: Stream, places: Sequence[Place]) -> dict[int | None, Original]:
    """row → record, of the upload in which the most of these places are found."""
    uploads = Upload.objects.filter(stream=stream.name, deliveries__held__gt=0).distinct().order_by("-pk")
    candidates = [_rows_of(upload) for upload in uploads[:MAX_UPLOADS]]
    return max(
        candidates,
        key=lambda rows: sum(_may_be(stream, rows.get(place.row, {}), place) for place in places),
        default={},
    )


def _rows_of(upload: Upload) -> dict[int | None, Original]:
    records = _small(HeldRecord.objects.filter(delivery__upload=upload)).select_related("delivery")
    few = records.only("position", "payload", "messages", "delivery__first_row", "delivery__gaps")[:MAX_ROWS]
    return {held.delivery.row_of(held.position): _without_faults(held.payload, held.messages) for held in few}


def _small(records: HeldRecordQuerySet) -> HeldRecordQuerySet:
    return records.alias(bytes=Bytes("payload")).filter(bytes__lte=MAX_BYTES)


def _without_faults(payload: str, messages: dict[str, Any]) -> Original:
    record = json.loads(payload)
    at_fault = {name.partition(".")[0] for name in messages}
    return {name: value for name, value in record.items() if name not in at_fault} if isinstance(record, dict) else {}


def _may_be(stream: Stream, original: Original, place: Place) -> bool:
    key = original.get(stream.key)
    return isinstance(key, str) and is_spreadsheets(place.key, key)

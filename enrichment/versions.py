"""The version of a record: what decides which of two with one key is newer (P4)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from enrichment.models import StoredRecord
from ingestion.fields import PastTime
from ingestion.streams import Stream

_past_time = TypeAdapter(PastTime)


def is_stale(stream: Stream, version: tuple[datetime, int, int], row: StoredRecord) -> bool:
    """Whether a record of this version, (version_at, delivery, position), would change nothing, now that `row` is
    stored under its key.
    """
    return stream.immutable or version < row.version


def version_at(stream: Stream, payload: Any, received_at: datetime, now: datetime) -> datetime:
    """The time in the record's version field if it can be read, else when its delivery arrived (P4)."""
    has_version = stream.version_field in stream.schema.model_fields and not stream.immutable
    if not isinstance(payload, dict) or not has_version:
        return received_at
    try:
        return _past_time.validate_python(payload.get(stream.version_field), context={"now": now})
    except ValidationError:
        return received_at

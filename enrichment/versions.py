"""The version of a record: what decides which of two with one key is newer (P4)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ingestion.fields import PastTime
from ingestion.streams import Stream

_past_time = TypeAdapter(PastTime)


def version_at(stream: Stream, payload: Any, received_at: datetime, now: datetime) -> datetime:
    """The time in the record's version field if it can be read, else when its delivery arrived (P4)."""
    if not isinstance(payload, dict) or stream.version_field not in stream.schema.model_fields:
        return received_at
    try:
        return _past_time.validate_python(payload.get(stream.version_field), context={"now": now})
    except ValidationError:
        return received_at

"""One record on its way through the pipeline, and why it could not be stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from enrichment.models import HeldRecord
from ingestion.models import Delivery
from ingestion.text import first_message

Status, Stage, Code = HeldRecord.Status, HeldRecord.Stage, HeldRecord.Code


@dataclass(slots=True)
class Item:
    """One record on its way through, at `position` of a delivery."""

    delivery: Delivery
    position: int
    payload: Any
    origin: tuple[datetime, int, int]
    """(received_at, delivery id, position) of its first arrival."""
    held: HeldRecord | None = None
    record: BaseModel | None = None
    row: dict[str, Any] = field(default_factory=dict)
    outcome: str = ""
    """inserted, updated, stale, held or skipped."""
    rejection: Rejection | None = None


MAX_FIRST_MESSAGE = 200
"""Characters of a message that held records are grouped by."""


@dataclass(frozen=True)
class Rejection:
    """Why an item could not be stored."""

    stage: HeldRecord.Stage
    code: HeldRecord.Code
    messages: dict[str, list[str]]
    traceback: str = ""
    missing_stream: str = ""
    missing_key: str = ""

    @classmethod
    def missing_reference(cls, name: str, stream: str, key: str) -> Rejection:
        messages = {name: [f"{stream} has no {key} yet"]}
        return cls(Stage.VALIDATE, Code.MISSING_REFERENCE, messages, missing_stream=stream, missing_key=key)

    @property
    def message(self) -> str:
        """The first message in a line, never empty; without the missing key, so that those alike are grouped."""
        messages = self.messages
        if self.missing_stream:
            messages = {field: [f"{self.missing_stream} has no such record yet"] for field in messages}
        return " ".join(first_message(messages).split())[:MAX_FIRST_MESSAGE].strip() or str(self.code)

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of a held record that tell of its last failure."""
        names = ("stage", "code", "messages", "message", "missing_stream", "missing_key")
        return {name: getattr(self, name) for name in names}

"""A record in the pipeline, and why it could not be stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from enrichment.models import HeldRecord
from ingestion import streams
from ingestion.messages import Message, general_message
from ingestion.models import Delivery

Status, Stage, Code = HeldRecord.Status, HeldRecord.Stage, HeldRecord.Code


@dataclass(slots=True)
class Item:
    """A record in the pipeline, at `position` of a delivery."""

    delivery: Delivery
    position: int
    payload: Any
    origin: tuple[datetime, int, int]
    """(received_at, delivery id, position) of its first arrival."""
    client: str
    """Who sent it first, also if it is reprocessed."""
    is_of_file: bool
    """Whether it came in an upload."""
    held: HeldRecord | None = None
    record: Any = None
    row: Sequence[Any] = ()
    """See rows.py."""
    outcome: str = ""
    """inserted, updated, stale, held or skipped."""
    rejection: Rejection | None = None


MAX_FIRST_MESSAGE = 200
"""Characters of the message by which held records are grouped."""


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
        kind = streams.get(stream).model._meta.verbose_name
        message = Message(f"{kind} {key} does not exist (yet)", general=f"{kind} does not exist (yet)")
        return cls(Stage.VALIDATE, Code.MISSING_REFERENCE, {name: [message]}, missing_stream=stream, missing_key=key)

    @classmethod
    def erased(cls, name: str = "record", message: str = "has been erased") -> Rejection:
        return cls(Stage.VALIDATE, Code.ERASED, {name: [message]})

    @property
    def message(self) -> str:
        """The first message in a line, never empty; without the value at fault, so that those alike are grouped."""
        return " ".join(general_message(self.messages).split())[:MAX_FIRST_MESSAGE].strip() or str(self.code)

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of a held record that describe its last failure."""
        names = ("stage", "code", "messages", "message", "missing_stream", "missing_key")
        return {name: getattr(self, name) for name in names}

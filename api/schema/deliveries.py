"""What the way through answers, as clients are told; rows are described in openapi.py."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.schema.generator import json_schema
from api.schema.ingest import Id, Index, Messages
from api.schema.rows import list_as_text, page_of
from api.schema.spec import Answer, Component, Parameter
from enrichment.models import HeldRecord
from ingestion.streams import all_streams

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[int, Field(ge=0)]
HeldStatus = Annotated[str, Field(description="What it is now.", json_schema_extra={"enum": HeldRecord.Status.values})]
Code = Annotated[str, Field(description="Why it is held.", json_schema_extra={"enum": HeldRecord.Code.values})]
Stage = Annotated[str, Field(description="Where it failed.", json_schema_extra={"enum": HeldRecord.Stage.values})]


class DeliveryCounts(TypedDict):
    """What became of a delivery.

    count = pending + inserted + updated + stale + waiting + dead + resolved + discarded
    """

    id: Annotated[int, Field(ge=1)]
    stream: str
    status: Annotated[
        Literal["pending", "processed"], Field(description="Whether all its records have been worked on.")
    ]
    count: Annotated[Count, Field(description="Records accepted.")]
    inserted: Annotated[Count, Field(description="Stored, with a key that was new.")]
    updated: Annotated[Count, Field(description="Stored in place of an older one with the same key.")]
    stale: Annotated[Count, Field(description="Not stored, since a newer one with the same key is.")]
    waiting: Annotated[Count, Field(description="Held until what they refer to is stored.")]
    dead: Annotated[Count, Field(description="Held until a person fixes or discards them.")]
    resolved: Annotated[Count, Field(description="Were held; stored since, or replaced by a newer one.")]
    discarded: Annotated[Count, Field(description="Were held; a person has discarded them.")]
    pending: Annotated[Count, Field(description="Not yet worked on.")]
    received_at: datetime
    processed_at: Annotated[datetime | None, Field(description="When the last one was worked on.")]


class HeldItem(TypedDict):
    """A record of a delivery that could not be stored at once."""

    index: Index
    id: Id
    status: HeldStatus
    code: Code
    message: str


class Delivery(DeliveryCounts):
    """What became of a delivery, and of each of its records that could not be stored at once."""

    held: Annotated[list[HeldItem], Field(description="By index; the first 1,000.")]
    held_is_cut: Annotated[bool, Field(description="There are more of them.")]


class HeldRecordRow(TypedDict):
    """A record that could not be stored at once."""

    delivery: Annotated[int, Field(ge=1, description="The delivery in which it came.")]
    index: Index
    id: Id
    stream: str
    status: HeldStatus
    stage: Stage
    code: Code
    messages: Messages
    missing_stream: Annotated[str, Field(description="What it refers to and waits for: the stream; else empty.")]
    missing_key: Annotated[str, Field(description="And the key.")]
    attempts: Annotated[int, Field(ge=1, description="How often it was tried.")]
    held_at: Annotated[datetime, Field(description="When it was first held.")]
    changed_at: Annotated[datetime, Field(description="When its status or payload last changed.")]
    payload: Annotated[Any, Field(description="The record as it is to be stored; only with `payload=true`.")]


class QueueStats(TypedDict):
    """What is not yet stored, by stream."""

    timestamp: datetime
    queues: Annotated[dict[str, Count], Field(description="Records not yet worked on; 0 when idle.")]
    oldest_age_seconds: Annotated[dict[str, Seconds | None], Field(description="How long the oldest has been there.")]
    waiting: Annotated[dict[str, Count], Field(description="Records held until what they refer to is stored.")]
    dead_letters: Annotated[Count, Field(description="Records held until a person fixes or discards them.")]


def partial(shape: Any) -> Component:
    """The shape as a list answers it: what ?fields= leaves out is absent."""
    schema = json_schema(shape)
    return Component(
        name=f"{shape.__name__}Fields", schema={name: value for name, value in schema.items() if name != "required"}
    )


DELIVERY_ID = Parameter(
    name="id",
    location="path",
    required=True,
    schema={"type": "integer", "format": "int64", "minimum": 0, "maximum": 10**18 - 1},
    description="Of the delivery, as its acceptance named it.",
    example=7,
)
# The streams are registered by now: urls.py, which leads here, has paths for each.
FIRST, *_, LAST = all_streams()
COUNTS_EXAMPLE = {
    "id": 7,
    "stream": LAST.name,
    "status": "processed",
    "count": 3,
    "inserted": 1,
    "updated": 1,
    "stale": 0,
    "waiting": 1,
    "dead": 0,
    "resolved": 0,
    "discarded": 0,
    "pending": 0,
    "received_at": "2025-03-01T22:10:00Z",
    "processed_at": "2025-03-01T22:10:01Z",
}
HELD_ITEM_EXAMPLE = {
    "index": 2,
    "id": str(LAST.example[LAST.key]),
    "status": "waiting",
    "code": "missing_reference",
    "message": f"{LAST.references[0].field}: {LAST.references[0].stream} has no X-1.",
}
DELIVERY_ANSWER = Answer(
    Delivery,
    example={**COUNTS_EXAMPLE, "held": [HELD_ITEM_EXAMPLE], "held_is_cut": False},
    description="What became of it.",
)
HELD_ROW_EXAMPLE = {
    "delivery": 7,
    "index": 2,
    "id": str(LAST.example[LAST.key]),
    "stream": LAST.name,
    "status": "dead",
    "stage": "validate",
    "code": "invalid",
    "messages": {LAST.references[0].field: ["Field required"]},
    "missing_stream": "",
    "missing_key": "",
    "attempts": 1,
    "held_at": "2025-03-01T22:10:01Z",
    "changed_at": "2025-03-01T22:10:01Z",
}
PAYLOAD = Parameter(
    name="payload",
    schema={"type": "boolean", "default": False},
    description="Also answer the records themselves.",
)
DELIVERIES_ANSWER = Answer(
    page_of(partial(DeliveryCounts)),
    example={"next": None, "previous": None, "results": [COUNTS_EXAMPLE]},
    media=list_as_text(COUNTS_EXAMPLE),
)
HELD_ANSWER = Answer(
    page_of(partial(HeldRecordRow)),
    example={"next": None, "previous": None, "results": [HELD_ROW_EXAMPLE]},
    media=list_as_text(HELD_ROW_EXAMPLE),
)
QUEUE_STATS_ANSWER = Answer(
    QueueStats,
    example={
        "timestamp": "2025-03-01T22:10:00Z",
        "queues": {FIRST.name: 0, LAST.name: 250},
        "oldest_age_seconds": {FIRST.name: None, LAST.name: 3},
        "waiting": {FIRST.name: 0, LAST.name: 2},
        "dead_letters": 1,
    },
)

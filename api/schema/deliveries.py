"""Descriptions of deliveries, held records and the queue, and the examples of them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from api.schema.ingest import Id, Index, Messages, errors_without
from api.schema.rows import list_answer, partial
from api.schema.spec import Answer, Parameter, id_parameter
from enrichment.models import HeldRecord
from ingestion.streams import all_streams
from ingestion.text import first_message

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[int, Field(ge=0)]
HeldStatus = Annotated[str, Field(description="Current status.", json_schema_extra={"enum": HeldRecord.Status.values})]
Code = Annotated[str, Field(description="Why it is held.", json_schema_extra={"enum": HeldRecord.Code.values})]
Stage = Annotated[str, Field(description="Stage that failed.", json_schema_extra={"enum": HeldRecord.Stage.values})]


class Outcomes(TypedDict):
    """The numbers of records by outcome, of a delivery, an upload or a stream."""

    inserted: Annotated[Count, Field(description="Stored as new rows.")]
    updated: Annotated[Count, Field(description="Stored in place of an older version.")]
    stale: Annotated[Count, Field(description="Not stored, because a newer version is, or what never changes.")]
    waiting: Annotated[Count, Field(description="Waiting for a record they refer to.")]
    dead: Annotated[Count, Field(description="Dead letters: held until a person fixes or discards them.")]


class DeliveryHead(TypedDict):
    id: Annotated[int, Field(ge=1)]
    stream: str
    status: Annotated[
        Literal["pending", "processed"], Field(description="`processed` when no record is pending any more.")
    ]
    count: Annotated[Count, Field(description="Accepted records.")]


class DeliveryCounts(DeliveryHead, Outcomes):
    """The outcomes of a delivery.

    count = pending + inserted + updated + stale + waiting + dead + resolved + discarded
    """

    resolved: Annotated[Count, Field(description="Were held; they or newer versions have been stored since.")]
    discarded: Annotated[Count, Field(description="Were held; discarded by a person, or about somebody erased.")]
    pending: Annotated[Count, Field(description="Not yet processed.")]
    received_at: datetime
    processed_at: Annotated[datetime | None, Field(description="When the last record was processed.")]


class HeldItem(TypedDict):
    """A record of a delivery that could not be stored at once."""

    index: Index
    id: Id
    status: HeldStatus
    code: Code
    message: str


class Delivery(DeliveryCounts):
    """The outcomes of a delivery, and each of its records that could not be stored at once."""

    held: Annotated[list[HeldItem], Field(description="By index; the first 1,000.")]
    held_is_cut: Annotated[bool, Field(description="Whether there are more than these.")]


class HeldRecordRow(TypedDict):
    """A record that could not be stored at once."""

    delivery: Annotated[int, Field(ge=1, description="ID of its delivery.")]
    index: Index
    id: Id
    stream: str
    status: HeldStatus
    stage: Stage
    code: Code
    messages: Messages
    missing_stream: Annotated[str, Field(description="Stream of the missing record it refers to; else empty.")]
    missing_key: Annotated[str, Field(description="Key of that record; else empty.")]
    attempts: Annotated[int, Field(ge=1, description="Number of attempts to store it.")]
    held_at: Annotated[datetime, Field(description="When it was first held.")]
    changed_at: Annotated[datetime, Field(description="When its status or payload last changed.")]
    payload: Annotated[Any, Field(description="The record, including any fix; only with `payload=true`.")]


class QueueStats(TypedDict):
    """Records that are not stored yet, by stream."""

    timestamp: datetime
    queues: Annotated[
        dict[str, Count],
        Field(
            description="Records not yet processed; 0 when idle. A stream of another name in the earlier API has both."
        ),
    ]
    oldest_age_seconds: Annotated[dict[str, Seconds | None], Field(description="Age of the oldest of them.")]
    waiting: Annotated[dict[str, Count], Field(description="Records waiting for a record they refer to.")]
    dead_letters: Annotated[Count, Field(description="Records held until a person fixes or discards them.")]


DELIVERY_FIELDS = tuple(DeliveryCounts.__annotations__)
HELD_FIELDS = tuple(HeldRecordRow.__annotations__)

DELIVERY_ID = id_parameter("delivery", 7)
PAYLOAD = Parameter(
    name="payload",
    schema={"type": "boolean", "default": False},
    description="Also return the records themselves.",
)
# The streams are registered by now: urls.py, which leads here, has paths for each.
FIRST = all_streams()[0]
EXAMPLE_ID = str(FIRST.example[FIRST.key])
REQUIRED_FIELDS = [name for name, field in FIRST.schema.model_fields.items() if field.is_required()]
EXAMPLE_FIELD = next((name for name in REQUIRED_FIELDS if name != FIRST.key), FIRST.key)
EXAMPLE_MESSAGES = errors_without(FIRST, EXAMPLE_FIELD)
COUNTS_EXAMPLE = {
    "id": 7,
    "stream": FIRST.name,
    "status": "processed",
    "count": 3,
    "inserted": 1,
    "updated": 1,
    "stale": 0,
    "waiting": 0,
    "dead": 1,
    "resolved": 0,
    "discarded": 0,
    "pending": 0,
    "received_at": "2025-03-01T22:10:00Z",
    "processed_at": "2025-03-01T22:10:01Z",
}
HELD_ITEM_EXAMPLE = {
    "index": 2,
    "id": EXAMPLE_ID,
    "status": "dead",
    "code": "invalid",
    "message": first_message(EXAMPLE_MESSAGES),
}
HELD_ROW_EXAMPLE = {
    "delivery": 7,
    "index": 2,
    "id": EXAMPLE_ID,
    "stream": FIRST.name,
    "status": "dead",
    "stage": "validate",
    "code": "invalid",
    "messages": EXAMPLE_MESSAGES,
    "missing_stream": "",
    "missing_key": "",
    "attempts": 1,
    "held_at": "2025-03-01T22:10:01Z",
    "changed_at": "2025-03-01T22:10:01Z",
}
DELIVERY_ANSWER = Answer(
    Delivery,
    description="Its progress and outcomes.",
    example={**COUNTS_EXAMPLE, "held": [HELD_ITEM_EXAMPLE], "held_is_cut": False},
)
DELIVERIES_ANSWER = list_answer(partial(DeliveryCounts), COUNTS_EXAMPLE)
HELD_ANSWER = list_answer(partial(HeldRecordRow), HELD_ROW_EXAMPLE)
QUEUE_STATS_ANSWER = Answer(
    QueueStats,
    example={
        "timestamp": "2025-03-01T22:10:00Z",
        "queues": {FIRST.name: 250},
        "oldest_age_seconds": {FIRST.name: 3},
        "waiting": {FIRST.name: 2},
        "dead_letters": 1,
    },
)

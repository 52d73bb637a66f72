"""What the way in takes and answers, as clients are told."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from django.conf import settings
from pydantic import Field
from typing_extensions import TypedDict

from api.schema.spec import Answer, Body, Parameter
from ingestion.streams import Stream

Index = Annotated[int, Field(ge=0, description="Position in what was sent, from 0.")]
Id = Annotated[str, Field(description="The record's key; empty where it has none that can be stored.")]
Queued = Annotated[bool, Field(description="Whether it is on its way: false for a dry run.")]
Stamp = Annotated[datetime, Field(description="When this was answered.")]
DeliveryId = Annotated[int, Field(ge=1, description="Names what was accepted in one go: the delivery.")]
StatusUrl = Annotated[str, Field(description="Where to ask what became of it.", json_schema_extra={"format": "uri"})]
Messages = Annotated[dict[str, list[str]], Field(description='What is wrong, by field; "record" is the whole.')]


class CheckedRecord(TypedDict):
    """What there is to say of a record."""

    success: Literal[True]
    message: str
    id: Id
    stream: Annotated[str, Field(description="Where it belongs.")]
    queued: Queued
    timestamp: Stamp
    warnings: Annotated[list[str], Field(description="What is odd about the record, and no error.")]
    errors: NotRequired[Annotated[Messages, Field(description="Why it will be a dead letter, if it will be one.")]]


class AcceptedRecord(CheckedRecord):
    """The record is kept; it will be enriched and stored."""

    delivery: DeliveryId
    status_url: StatusUrl


class InvalidItem(TypedDict):
    """What is wrong with one record of a batch."""

    index: Index
    id: Id
    errors: Messages


class OddItem(TypedDict):
    """What is odd about one record of a batch."""

    index: Index
    id: Id
    warnings: list[str]


class CheckedBatch(TypedDict):
    """What there is to say of a batch."""

    success: Literal[True]
    message: str
    count: Annotated[int, Field(ge=1, description="Records accepted.")]
    queued: Queued
    timestamp: Stamp
    errors: Annotated[list[InvalidItem], Field(description="The records that are invalid.")]
    warnings: Annotated[list[OddItem], Field(description="The records that are odd, but accepted.")]


class AcceptedBatch(CheckedBatch):
    """The valid records are kept; they will be enriched and stored."""

    delivery: DeliveryId
    status_url: StatusUrl


PLACE = {"delivery": 7, "status_url": "https://tutormax.example/api/deliveries/7"}
ANSWERED_AT = "2025-03-01T22:10:00Z"
NOT_STORED = {"message": "Nothing is stored: this was a dry run.", "queued": False}


def one_record(stream: Stream) -> Mapping[str, Body]:
    return {"application/json": Body(stream.schema, example=dict(stream.example))}


def many_records(stream: Stream) -> Mapping[str, Body]:
    records = Annotated[list[stream.schema], Field(min_length=1, max_length=settings.MAX_BATCH_RECORDS)]  # type: ignore[name-defined]
    lines = json.dumps(dict(stream.example)) + "\n"
    return {
        "application/json": Body(records, example=[dict(stream.example)]),
        "application/x-ndjson": Body(example=lines, description="One record per line."),
    }


def example_of_one(stream: Stream) -> dict[str, Any]:
    about = {"id": stream.example[stream.key], "stream": stream.name, "warnings": []}
    head = {"success": True, "message": "Accepted: it will be stored shortly.", "queued": True}
    return {**head, **about, "timestamp": ANSWERED_AT, **PLACE}


def example_of_many(stream: Stream) -> dict[str, Any]:
    invalid = {"index": 1, "id": "", "errors": {stream.key: ["Field required"]}}
    head = {"success": True, "message": "1 of 2 records accepted.", "count": 1, "queued": True}
    return {**head, "timestamp": ANSWERED_AT, "errors": [invalid], "warnings": [], **PLACE}


def dry(example: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (example | NOT_STORED).items() if name not in PLACE}


ONE_ACCEPTED = (
    Answer(AcceptedRecord, 202, "Kept, durably; it will be enriched and stored.", example=example_of_one),
    Answer(
        CheckedRecord, 200, "It would be accepted (`dry_run=true`).", example=lambda stream: dry(example_of_one(stream))
    ),
)
MANY_ACCEPTED = (
    Answer(
        AcceptedBatch, 202, "What is valid is kept, durably; it will be enriched and stored.", example=example_of_many
    ),
    Answer(
        CheckedBatch, 200, "It would be accepted (`dry_run=true`).", example=lambda stream: dry(example_of_many(stream))
    ),
)
INVALID = Parameter(
    name="invalid",
    schema={"type": "string", "enum": ["refuse", "dead-letter"], "default": "refuse"},
    description="What becomes of invalid records: they are refused, or kept as dead letters for a person to fix.",
)
DRY_RUN = Parameter(
    name="dry_run",
    schema={"type": "boolean", "default": False},
    description="Checks everything and stores nothing; the answer has no `delivery`.",
)
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    location="header",
    schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    description=(
        "Makes the request safe to retry: sent again with the same key it gets the first answer again, and nothing is"
        " kept twice. Another request with the same key is 409. Take a new one, a UUID say, for each new request."
    ),
)
CONTENT_ENCODING = Parameter(
    name="Content-Encoding",
    location="header",
    schema={"type": "string", "enum": ["identity", "gzip"], "default": "identity"},
    description="`gzip`: the body is packed so. The limits are for what it unpacks to.",
)
INGEST_PARAMETERS = (INVALID, DRY_RUN, IDEMPOTENCY_KEY, CONTENT_ENCODING)

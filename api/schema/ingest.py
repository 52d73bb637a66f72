"""Descriptions of posting records: parameters, bodies and answers."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from django.conf import settings
from django.utils import timezone
from pydantic import Field, ValidationError
from typing_extensions import TypedDict

from api.schema.spec import Answer, Body, Description, Parameter
from ingestion.streams import Stream
from ingestion.validation import field_errors, key_of, validate

Index = Annotated[int, Field(ge=0, description="Position in the request, from 0.")]
Id = Annotated[str, Field(description="The record's key; empty if it has none that can be stored.")]
Queued = Annotated[bool, Field(description="Whether it is queued for processing; false for a dry run.")]
Stamp = Annotated[datetime, Field(description="Time of the answer.")]
DeliveryId = Annotated[int, Field(ge=1, description="ID of the delivery: the records accepted in one request.")]
StatusUrl = Annotated[str, Field(description="Where to check the outcome.", json_schema_extra={"format": "uri"})]
Messages = Annotated[
    dict[str, list[str]], Field(description='Errors by field; "record" stands for the record as a whole.')
]


class CheckedRecord(TypedDict):
    """The result of checking one record."""

    success: Literal[True]
    message: str
    id: Id
    stream: Annotated[str, Field(description="The record's stream.")]
    queued: Queued
    timestamp: Stamp
    warnings: Annotated[list[str], Field(description="Unusual values that are not errors.")]
    errors: NotRequired[
        Annotated[Messages, Field(description="Why it will become a dead letter; absent if it is valid.")]
    ]


class AcceptedRecord(CheckedRecord):
    """The record is durably stored; it will be enriched."""

    delivery: DeliveryId
    status_url: StatusUrl


class InvalidItem(TypedDict):
    """The errors of one record of a batch."""

    index: Index
    id: Id
    errors: Messages


class OddItem(TypedDict):
    """The warnings of one record of a batch."""

    index: Index
    id: Id
    warnings: list[str]


class CheckedBatch(TypedDict):
    """The result of checking a batch."""

    success: Literal[True]
    message: str
    count: Annotated[int, Field(ge=1, description="Records accepted.")]
    queued: Queued
    timestamp: Stamp
    errors: Annotated[list[InvalidItem], Field(description="The invalid records.")]
    warnings: Annotated[list[OddItem], Field(description="The accepted records with warnings.")]


class AcceptedBatch(CheckedBatch):
    """The valid records are durably stored; they will be enriched."""

    delivery: DeliveryId
    status_url: StatusUrl


PLACE = {"delivery": 7, "status_url": "https://tutormax.example/api/deliveries/7"}
ANSWERED_AT = "2025-03-01T22:10:00Z"
DRY_RUN_ANSWER = {"message": "Dry run: nothing was stored.", "queued": False}


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
    about = {"id": key_of(stream, stream.example), "stream": stream.name, "warnings": []}
    head = {"success": True, "message": "Accepted: it will be stored shortly.", "queued": True}
    return {**head, **about, "timestamp": ANSWERED_AT, **PLACE}


def example_of_many(stream: Stream) -> dict[str, Any]:
    invalid = {"index": 1, "id": "", "errors": errors_without(stream, first_required(stream))}
    head = {"success": True, "message": "1 accepted, 1 rejected: see errors.", "count": 1, "queued": True}
    return {**head, "timestamp": ANSWERED_AT, "errors": [invalid], "warnings": [], **PLACE}


def first_required(stream: Stream) -> str:
    return next(name for name, field in stream.schema.model_fields.items() if field.is_required())


def errors_without(stream: Stream, field: str) -> dict[str, list[str]]:
    """The errors of the stream's example when it lacks this required field."""
    try:
        validate(stream, {name: value for name, value in stream.example.items() if name != field}, timezone.now())
    except ValidationError as error:
        return field_errors(error)
    raise TypeError(f"{field} of {stream.name} is not required.")


def as_dry_run(example: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in (example | DRY_RUN_ANSWER).items() if name not in PLACE}


INVALID = Parameter(
    name="invalid",
    schema={"type": "string", "enum": ["refuse", "dead-letter"], "default": "refuse"},
    description="What happens to invalid records: they are rejected, or stored as dead letters for a person to fix.",
)
DRY_RUN = Parameter(
    name="dry_run",
    schema={"type": "boolean", "default": False},
    description="Check everything and store nothing; the answer has no `delivery`.",
)
IDEMPOTENCY_KEY = Parameter(
    name="Idempotency-Key",
    location="header",
    schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    description=(
        "Makes the request safe to retry: repeated with the same key, it returns the first answer, and nothing is"
        " stored twice. A different request with the same key is 409. Use a new key, such as a UUID, per new request."
    ),
)
CONTENT_ENCODING = Parameter(
    name="Content-Encoding",
    location="header",
    schema={"type": "string", "enum": ["identity", "gzip"], "default": "identity"},
    description="`gzip` for a compressed body. Limits apply to the unpacked size.",
)
INGEST_PARAMETERS = (INVALID, DRY_RUN, IDEMPOTENCY_KEY, CONTENT_ENCODING)


def post_one(stream: Stream) -> Description:
    example = example_of_one(stream)
    return Description(
        (
            Answer(AcceptedRecord, 202, "Durably stored; it will be enriched.", example=example),
            Answer(CheckedRecord, 200, "It would be accepted (`dry_run=true`).", example=as_dry_run(example)),
        ),
        errors=(409, 422),
        parameters=INGEST_PARAMETERS,
        body=one_record(stream),
        tag=stream.name,
    )


def post_many(stream: Stream) -> Description:
    example = example_of_many(stream)
    return Description(
        (
            Answer(AcceptedBatch, 202, "Valid records are durably stored; they will be enriched.", example=example),
            Answer(CheckedBatch, 200, "It would be accepted (`dry_run=true`).", example=as_dry_run(example)),
        ),
        errors=(409, 422),
        parameters=INGEST_PARAMETERS,
        body=many_records(stream),
        tag=stream.name,
    )

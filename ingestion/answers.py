"""What the way in answers, as clients are told: shapes for the description, types for the views."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

Index = Annotated[int, Field(ge=0, description="Position in what was sent, from 0.")]
Id = Annotated[str, Field(description="The record's key; empty where it has none that can be stored.")]
Stamp = Annotated[datetime, Field(description="When this was answered.")]
DeliveryId = Annotated[int, Field(ge=1, description="Names what was accepted: a delivery.")]
StatusUrl = Annotated[str, Field(json_schema_extra={"format": "uri"}, description="Where to ask what became of it.")]


class Accepted(TypedDict):
    """One record is kept; it will be enriched and stored."""

    success: Literal[True]
    message: str
    id: Id
    stream: str
    queued: Literal[True]
    delivery: DeliveryId
    status_url: StatusUrl
    timestamp: Stamp
    warnings: Annotated[list[str], Field(description="What is odd about the record, and no error.")]


class InvalidItem(TypedDict):
    index: Index
    id: Id
    errors: Annotated[dict[str, list[str]], Field(description='By field; "record" stands for the whole.')]


class OddItem(TypedDict):
    index: Index
    id: Id
    warnings: list[str]


class AcceptedBatch(TypedDict):
    """The valid records are kept; they will be enriched and stored."""

    success: Literal[True]
    message: str
    count: Annotated[int, Field(ge=1, description="Records accepted.")]
    queued: Literal[True]
    timestamp: Stamp
    delivery: DeliveryId
    status_url: StatusUrl
    errors: Annotated[list[InvalidItem], Field(description="The records that are invalid.")]
    warnings: Annotated[list[OddItem], Field(description="The records that are odd, but accepted.")]

"""accept(): the only door. What it returns for is stored durably, as it was sent."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone
from pydantic import BaseModel, ValidationError

from ingestion import bell
from ingestion.models import Delivery
from ingestion.readers import clean, dump
from ingestion.streams import Context, Stream

MAX_MESSAGE = 500


class NothingValid(ValueError):
    """No item could be accepted; `errors` names each by index."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("No record is valid.")
        self.errors = errors


@dataclass(frozen=True)
class Acceptance:
    delivery: Delivery
    errors: list[dict[str, Any]]
    """[{"index", "id", "errors": {field: [messages]}}] of the items that are invalid."""
    warnings: list[dict[str, Any]]
    """[{"index", "id", "warnings": [messages]}]"""


def accept(
    stream: Stream,
    items: list[Any],
    body: bytes,
    *,
    fmt: Delivery.Format,
    client: str,
    keep_invalid: bool = False,
) -> Acceptance:
    """Keeps `body`, whose parsed items are `items`, as one delivery; returns after its commit.

    Invalid items are refused, or with `keep_invalid` accepted as dead letters to be. Raises NothingValid.
    """
    errors, warnings = check(stream, items, timezone.now())
    refused = [] if keep_invalid else [error["index"] for error in errors]
    if len(refused) == len(items):
        raise NothingValid(errors)
    with transaction.atomic(durable=True):
        delivery = Delivery.objects.create(
            stream=stream.name,
            client=client,
            format=fmt,
            body=body,
            size=len(body),
            refused=dump(refused),
            count=len(items) - len(refused),
        )
    bell.ring()
    return Acceptance(delivery, errors, warnings)


def check(stream: Stream, items: list[Any], now: datetime) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(errors, warnings) of the items, by index, as in Acceptance."""
    context = Context(now=now, facts=stream.facts())
    errors, warnings = [], []
    for index, item in enumerate(items):
        try:
            record = validate(stream, item, now)
        except ValidationError as error:
            errors.append({"index": index, "id": key_of(stream, item), "errors": field_errors(error)})
        else:
            if found := stream.warn(record, context):
                warnings.append({"index": index, "id": key_of(stream, item), "warnings": found})
    return errors, warnings


def validate(stream: Stream, item: Any, now: datetime) -> BaseModel:
    """The record that `item`, typed as in JSON, stands for. Raises pydantic.ValidationError."""
    return stream.schema.__pydantic_validator__.validate_python(item, strict=True, context={"now": now})  # type: ignore[no-any-return]


def field_errors(error: ValidationError) -> dict[str, list[str]]:
    """field: [messages], for the client and for a held record; "record" stands for the whole."""
    messages: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        field = ".".join(str(part) for part in detail["loc"]) or "record"
        messages.setdefault(clean(field, 100), []).append(clean(detail["msg"], MAX_MESSAGE))
    return messages


def key_of(stream: Stream, item: Any) -> str:
    """The item's key exactly; empty where it has none that could be stored, so that it never passes for another's."""
    key = item.get(stream.key) if isinstance(item, dict) else None
    return key if isinstance(key, str) and key == clean(key, 64) else ""

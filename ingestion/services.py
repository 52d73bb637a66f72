"""accept(): the only door. What it returns for is stored durably, as it was sent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone
from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from ingestion import backlog, bell
from ingestion.models import Delivery
from ingestion.readers import UNREADABLE, clean, dump
from ingestion.streams import Context, Stream

MAX_MESSAGE = 500


class NothingValid(ValueError):
    """No item could be accepted; `errors` names each by index."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("No record is valid.")
        self.errors = errors


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What there is to say of items before anything is stored."""

    errors: list[dict[str, Any]]
    """[{"index", "id", "errors": {field: [messages]}}] of the items that are invalid."""
    warnings: list[dict[str, Any]]
    """[{"index", "id", "warnings": [messages]}]"""
    refused: list[int]
    """The indexes of those that are not taken."""
    count: int
    """How many are taken."""
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Acceptance(Checked):
    delivery: Delivery


def accept(
    stream: Stream,
    items: list[Any],
    body: bytes,
    *,
    fmt: Delivery.Format,
    client: str,
    keep_invalid: bool = False,
    in_transaction: Callable[[Acceptance], None] | None = None,
    **columns: Any,
) -> Acceptance:
    """Keeps `body`, whose parsed items are `items`, as one delivery with these columns; returns after its commit.

    Invalid items are refused, or with `keep_invalid` accepted as dead letters to be. `in_transaction` is called
    before the commit. Raises NothingValid and backlog.Full.
    """
    backlog.refuse_when_full()
    checked = check(stream, items, keep_invalid=keep_invalid)
    with transaction.atomic(durable=True) if in_transaction else one_statement():
        delivery = Delivery.objects.keep(
            stream=stream.name,
            client=client,
            format=fmt,
            body=body,
            size=len(body),
            refused=dump(checked.refused),
            count=checked.count,
            **columns,
        )
        accepted = Acceptance(**vars(checked), delivery=delivery)
        if in_transaction:
            in_transaction(accepted)
    backlog.note_accepted(checked.count)
    bell.ring()
    return accepted


@contextmanager
def one_statement() -> Iterator[None]:
    """As atomic(durable=True) for a single statement, which commits by itself: one round trip instead of three."""
    blocks: list[Any] = connection.atomic_blocks
    if any(not block._from_testcase for block in blocks):  # noqa: SLF001 (what Django's own durable=True asks)
        raise RuntimeError("Not durable: what is accepted would be lost if the transaction around it were rolled back.")
    yield


def check(stream: Stream, items: list[Any], *, keep_invalid: bool = False) -> Checked:
    """Validates the items. Raises NothingValid when none could be accepted."""
    now = timezone.now()
    context = Context(now=now, facts=stream.facts())
    errors: list[dict[str, Any]] = []
    warnings: list[dict[str, Any]] = []
    for index, item in enumerate(items):
        try:
            record = validate(stream, item, now)
        except ValidationError as error:
            errors.append({"index": index, "id": key_of(stream, item), "errors": field_errors(error)})
        else:
            if found := stream.warn(record, context):
                warnings.append({"index": index, "id": key_of(stream, item), "warnings": found})
    refused = [] if keep_invalid else [error["index"] for error in errors]
    if len(refused) == len(items):
        raise NothingValid(errors)
    return Checked(errors=errors, warnings=warnings, refused=refused, count=len(items) - len(refused), at=now)


def validate(stream: Stream, item: Any, now: datetime) -> BaseModel:
    """The record that `item`, typed as in JSON, stands for. Raises pydantic.ValidationError."""
    if type(item) is dict and UNREADABLE in item:
        raise _unreadable(stream, clean(str(item[UNREADABLE]), MAX_MESSAGE))
    return stream.schema.__pydantic_validator__.validate_python(item, strict=True, context={"now": now})  # type: ignore[no-any-return]


def _unreadable(stream: Stream, reason: str) -> ValidationError:
    error = PydanticCustomError("unreadable", "{reason}", {"reason": reason})
    detail = InitErrorDetails(type=error, loc=(UNREADABLE,), input=None)
    return ValidationError.from_exception_data(stream.name, [detail])


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

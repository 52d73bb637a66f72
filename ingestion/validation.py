"""Items checked against their stream's schema: errors by field, warnings, keys."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone
from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from ingestion.compiled import schema as compiled
from ingestion.fields import MAX_IDENTIFIER, normalized
from ingestion.messages import MAX_MESSAGE, message_of
from ingestion.payload_warnings import payload_warnings
from ingestion.payloads import UNREADABLE_MEMBER, is_erased
from ingestion.streams import Context, Stream
from ingestion.subjects import masking, suppression
from ingestion.text import strip_unstorable


class NoValidRecords(ValueError):
    """No item could be accepted; `errors` names each by index."""

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__("No record is valid.")
        self.errors = errors


@dataclass(frozen=True, kw_only=True)
class ValidationReport:
    """The result of checking items, before anything is stored."""

    errors: list[dict[str, Any]]
    """[{"index", "id", "errors": {field: [messages]}}] of the items that are invalid."""
    warnings: list[dict[str, Any]]
    """[{"index", "id", "warnings": [messages]}]"""
    refused: list[int]
    """The indexes of rejected items."""
    suppressed: list[int]
    """Of these, those about persons whose data have been erased."""
    count: int
    """The number of accepted items."""
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedItem:
    record: Any = None
    """None for an item that is invalid."""
    errors: dict[str, list[str]] = field(default_factory=dict)
    """field: [messages]"""
    warnings: list[str] = field(default_factory=list)


def check(
    stream: Stream, items: list[Any], *, keep_invalid: bool = False, is_of_file: bool = False
) -> ValidationReport:
    """Validates the items. Raises NoValidRecords when none could be accepted.

    One about a person whose data have been erased is never accepted.
    """
    now = timezone.now()
    context = Context(now=now, facts=stream.facts())
    errors: list[dict[str, Any]] = []
    warnings: list[dict[str, Any]] = []
    suppressed = suppression.find_at_the_door(stream, items)
    for index, item in enumerate(items):
        if mention := suppressed.get(index):
            errors.append({"index": index, "id": "", "errors": {mention.field: [suppression.message_of(mention)]}})
            continue
        try:
            record = validate(stream, item, now)
        except ValidationError as error:
            errors.append({"index": index, "id": key_of(stream, item), "errors": field_errors(error)})
            continue
        if found := warnings_of(stream, item, record, context, is_of_file=is_of_file):
            warnings.append({"index": index, "id": key_of(stream, item), "warnings": found})
    refused = [error["index"] for error in errors if not keep_invalid or error["index"] in suppressed]
    if len(refused) == len(items):
        raise NoValidRecords(errors)
    return ValidationReport(
        errors=errors,
        warnings=warnings,
        refused=refused,
        suppressed=sorted(suppressed),
        count=len(items) - len(refused),
        at=now,
    )


def check_item(stream: Stream, item: Any, context: Context, *, is_of_file: bool = False) -> CheckedItem:
    try:
        record = validate(stream, item, context.now)
    except ValidationError as error:
        return CheckedItem(errors=field_errors(error))
    return CheckedItem(record=record, warnings=warnings_of(stream, item, record, context, is_of_file=is_of_file))


def warnings_of(stream: Stream, item: Any, record: Any, context: Context, *, is_of_file: bool = False) -> list[str]:
    return [*payload_warnings(stream, item, record, is_of_file=is_of_file), *stream.warn(record, context)]


def validate(stream: Stream, item: Any, now: datetime) -> Any:
    """The record that `item`, typed as in JSON, stands for: an object with the fields of the schema, of which it is no
    instance if the compiled schema takes it. Raises pydantic.ValidationError.
    """
    if type(item) is dict:
        if UNREADABLE_MEMBER in item:
            raise _unreadable(stream, strip_unstorable(str(item[UNREADABLE_MEMBER]), MAX_MESSAGE))
        if is_erased(item):
            raise _unreadable(stream, "has been erased")
        masking.refuse_masks(stream, item)
        if (read := compiled.reader(stream.schema)) and (record := read(item, now)) is not None:
            return record
    return validate_by_schema(stream, item, now)


def validate_by_schema(stream: Stream, item: Any, now: datetime) -> BaseModel:
    return stream.schema.__pydantic_validator__.validate_python(item, strict=True, context={"now": now})  # type: ignore[no-any-return]


def _unreadable(stream: Stream, reason: str) -> ValidationError:
    error = PydanticCustomError("unreadable", "{reason}", {"reason": reason})
    detail = InitErrorDetails(type=error, loc=(UNREADABLE_MEMBER,), input=None)
    return ValidationError.from_exception_data(stream.name, [detail])


def field_errors(error: ValidationError) -> dict[str, list[str]]:
    """field: [messages], for the client and for a held record; "record" stands for the whole."""
    messages: dict[str, list[str]] = {}
    for detail in error.errors(include_url=False):
        field = ".".join(str(part) for part in detail["loc"]) or "record"
        messages.setdefault(strip_unstorable(field, 100), []).append(message_of(detail))
    return messages


def key_of(stream: Stream, item: Any) -> str:
    """The item's key as it is stored; empty where none could be, so that it never passes for another's."""
    if not isinstance(item, dict):
        return ""
    return storable_key(stream.key_of(item) if stream.key_of else item.get(stream.key))


def storable_key(key: Any) -> str:
    """The key as it is stored; empty where it could not be."""
    return normalized(key) if isinstance(key, str) and key == strip_unstorable(key, MAX_IDENTIFIER) else ""

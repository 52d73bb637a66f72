"""Rows for people who may not see personal data: masked as they are read, for pages, exports and the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar, cast

from django.db.models import Model, QuerySet
from django.db.models.query import ModelIterable

from enrichment.models import BulkAction, DataAccess, Failure, HeldRecord
from ingestion import streams
from ingestion.models import Delivery
from ingestion.payloads import ascii_json, parse_accepted
from ingestion.streams import Readable, Stream
from ingestion.subjects.masking import (
    MASK,
    masked,
    masked_member,
    masked_messages,
    masked_payload,
    masked_record,
    masked_warnings,
)

AnyRows = TypeVar("AnyRows", bound=QuerySet[Any])
PERMISSION = "enrichment.view_personal_data"
Code = HeldRecord.Code
OURS = frozenset({Code.INVALID, Code.MISSING_REFERENCE, Code.CRASHED_WORKER, Code.TOO_LARGE, Code.ERASED})
"""Codes of failures whose messages are worded here."""


class MaskedRows(ModelIterable):  # type: ignore[type-arg]
    def __iter__(self) -> Iterator[Any]:
        for row in super().__iter__():
            mask(row)
            yield row


def mask_rows(rows: AnyRows) -> AnyRows:
    """The same rows, masked, and those that they are read with. Not what `values` and `values_list` read."""
    found: Any = rows.all()
    found._iterable_class = MaskedRows  # noqa: SLF001 (as `values` and `values_list` do)
    return cast("AnyRows", found)


def mask(row: Model) -> None:
    """Masks what the row holds. From then on it is only to be shown: to save it is an error."""
    hide = _HIDE.get(row._meta.concrete_model) or (_hide_fields if readable_of(type(row)) else None)
    if hide:
        hide(row)
        row.save = _refuse_to_save  # type: ignore[method-assign]
    for other in row._state.fields_cache.values():  # noqa: SLF001 (what select_related has read)
        if isinstance(other, Model) and other is not row:
            mask(other)


def _refuse_to_save(*args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError("This row is masked: what is stored would be lost.")


def readable_of(model: type[Model]) -> Readable | None:
    """The stream or list whose rows these are."""
    return next((each for each in streams.all_readables() if each.model is model), None)


def _hide_fields(row: Any) -> None:
    """Also fields that have not been read, which would be when they are asked for."""
    readable = readable_of(type(row))
    for name in readable.personal if readable else ():
        setattr(row, name, masked(vars(row).get(name, MASK)))
    if readable and (warnings := vars(row).get("warnings")):
        row.warnings = masked_warnings(readable, warnings)


def _hide_record(held: Any) -> None:
    """Also payloads that have not been read, and the starts of those that are too long to be."""
    stream, values = stream_named(held.stream), vars(held)
    for name in ("payload", "original_payload"):
        values.setdefault(name, ascii_json(MASK))
    for name in ("payload", "original_payload", "start", "original_start"):
        if values.get(name) is not None:
            values[name] = masked_payload(stream, values[name])
    if "messages" in values:
        held.messages = masked_messages(stream, held.messages, are_ours=held.code in OURS)
    held.discard_reason = masked(values.get("discard_reason", MASK))


def _hide_failure(failure: Any) -> None:
    held = failure._state.fields_cache.get("held")  # noqa: SLF001
    stream = stream_named(held.stream) if held else None
    failure.messages = masked_messages(stream, failure.messages, are_ours=failure.code in OURS)
    failure.traceback = masked(failure.traceback)


def _hide_change(bulk_action: Any) -> None:
    """A fix names a value, and often the one that it replaces."""
    bulk_action.change = masked_change(bulk_action.filter.get("stream", ""), bulk_action.change)
    bulk_action.reason = masked(bulk_action.reason)
    bulk_action.last_error = without_details(bulk_action.last_error)


def _hide_body(delivery: Any) -> None:
    """Its page masks the records in it."""
    delivery.is_masked = True
    if error := vars(delivery).get("last_error"):
        delivery.last_error = without_details(error, 2)


def _hide_query(access: Any) -> None:
    access.query = {name: masked(value) for name, value in access.query.items()}


_HIDE: Mapping[Any, Callable[[Any], None]] = {
    HeldRecord: _hide_record,
    Failure: _hide_failure,
    BulkAction: _hide_change,
    Delivery: _hide_body,
    DataAccess: _hide_query,
}


def stream_named(name: str) -> Stream | None:
    return streams.get(name) if name in streams.names() else None


def masked_change(stream: str, change: Mapping[str, Any]) -> dict[str, Any]:
    """BulkAction.change."""
    found, known = dict(change), stream_named(stream)
    for name in ("value", "old"):
        if name in found:
            value = json.loads(found[name])
            found[name] = ascii_json(masked_member(known, change["field"], value) if known else masked(value))
    return found


def masked_body(delivery: Delivery, text: str) -> str:
    """The records of a delivery, as JSON or lines of it; as a whole where the text does not hold all of them."""
    if delivery.format == Delivery.Format.HELD:  # numbers of failed records
        return text
    stream, is_ndjson = stream_named(delivery.stream), delivery.is_ndjson
    try:
        items = parse_accepted(text.encode(), ndjson=is_ndjson)
    except ValueError:
        items = [MASK]
    records = [json.dumps(masked_record(stream, item), ensure_ascii=False) for item in items]
    return "\n".join(records) if is_ndjson or len(records) == 1 else f"[{','.join(records)}]"


def without_details(error: str, kinds: int = 1) -> str:
    """An error as it is kept, by its kind alone: what follows may quote a value."""
    named = error.split(": ", kinds)
    return error if len(named) <= kinds else ": ".join([*named[:kinds], MASK])

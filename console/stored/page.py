"""The page of one stored record, whatever its stream: its fields, where it came from, and failed records of its ID."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlencode

from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console.personal import for_user
from console.templatetags.formatting import moment
from enrichment.models import BulkAction, HeldRecord, StoredRecord
from enrichment.rows.ordering import Ordering
from ingestion import streams
from ingestion.models import Delivery
from ingestion.streams import Stream
from ingestion.text import cut, plain

MAX_HELD = 10
"""Failed records with its ID, and as many that wait for it."""
MAX_HISTORY = 50
MIN_GROUPED = 10_000
"""Whole numbers from here on have their thousands separated."""


@dataclass(frozen=True)
class Tile:
    value: str
    name: str
    page: str
    detail: str = ""
    """Small print below."""


def list_page(request: HttpRequest, model: type[models.Model], **filters: Any) -> str:
    """The list of those rows; empty for who may not see it."""
    meta = model._meta
    if not request.user.has_perm(f"{meta.app_label}.view_{meta.model_name}"):
        return ""
    return f"{reverse(f'admin:{meta.app_label}_{meta.model_name}_changelist')}?{urlencode(filters)}"


@dataclass(frozen=True)
class FieldDisplay:
    column: str
    title: str
    value: SafeString | str
    help: str


def fields(request: HttpRequest, stream: Stream, row: StoredRecord) -> tuple[list[FieldDisplay], list[FieldDisplay]]:
    """(the record's own fields, the derived ones)."""
    provenance = {field.name for field in StoredRecord._meta.get_fields()}
    references = {reference.field: streams.get(reference.stream) for reference in stream.references}
    own: list[FieldDisplay] = []
    derived: list[FieldDisplay] = []
    for field in stream.model._meta.concrete_fields:
        if field.name in provenance:
            continue
        column, value = field.attname, row.exposed_value(field.attname)
        if column in references:
            text = link_to(request, references[column].model, value)
        elif column in row.exposed_as and isinstance(value, datetime):
            text = as_sent(value)
        else:
            text = display_value(field, value)
        display = FieldDisplay(column, column.replace("_", " "), text, str(field.help_text))
        (own if column in stream.schema.model_fields else derived).append(display)
    return own, derived


def display_value(field: models.Field[Any, Any], value: Any) -> SafeString | str:
    match value:
        case None | "":
            return "–"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return moment(value)
        case int() if abs(value) < MIN_GROUPED:  # it may be a year
            return str(value)
        case int() | float():
            return f"{value:,}"
        case list():
            return plain(", ".join(map(str, value))) or "none"
    labels = dict(field.flatchoices)
    return plain(cut(str(labels.get(value, value))))


def as_sent(at: datetime) -> SafeString:
    """In its own offset."""
    text = at.isoformat(sep=" ", timespec="seconds")
    exact = f"{text[:19]} {text[19:]}"
    return format_html('<time datetime="{}" title="{}">{}</time>', at.isoformat(), exact, exact)


def page_of(request: HttpRequest, model: type[models.Model], key: Any) -> str:
    """The row's page in the admin; empty where the person may not see it."""
    meta = model._meta
    may = request.user.has_perm(f"{meta.app_label}.view_{meta.model_name}")
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[quote(key)]) if may else ""


def link_to(request: HttpRequest, model: type[models.Model], key: Any, text: str = "") -> SafeString | str:
    """The row's key, or another text, as a link to its page; the text alone where the person may not see that."""
    return _link(page_of(request, model, key), plain(text or str(key)))


# Where it came from.


@dataclass(frozen=True)
class Origin:
    """The delivery that last wrote a row; `found` is None where that has been deleted since."""

    number: int
    position: int
    page: str
    found: Delivery | None

    @property
    def record_number(self) -> int:
        """For people, who count from 1."""
        return self.position + 1


def origin(request: HttpRequest, row: StoredRecord) -> Origin | None:
    """None for a stub, which no delivery brought."""
    if not row.delivery:
        return None
    found = Delivery.objects.only("id", "received_at").filter(pk=row.delivery).first()
    page = page_of(request, Delivery, row.delivery) if found else ""
    return Origin(row.delivery, row.position, page, found)


@dataclass(frozen=True)
class HeldOrigin:
    """The held record from which a stored row was made: its version is that of the first arrival (P4)."""

    record: HeldRecord
    page: str
    stored_by: int | None
    """The delivery that stored it at last."""
    stored_by_page: str
    """Empty where that has been deleted, or the person may not see it."""
    bulk_action: int | None
    """That requeued it; None where the system did, or the delivery has been deleted."""
    bulk_action_page: str

    @property
    def sentence(self) -> SafeString:
        times = self.record.payload_version
        fixed = ", was fixed once" if times == 1 else f", was fixed {times} times" if times else ""
        stored = self._stored()
        comma = "," if fixed and stored else ""
        return format_html('It <a href="{}">failed at first</a>{}{}{}.', self.page, fixed, comma, stored)

    def _stored(self) -> SafeString | str:
        if not self.stored_by:
            return ""
        action = ""
        if self.bulk_action:
            action = format_html(" ({})", _link(self.bulk_action_page, f"bulk action {self.bulk_action}"))
        delivery = _link(self.stored_by_page, f"delivery {self.stored_by}")
        return format_html(" and was stored by {}{}", delivery, action)


def _link(page: str, text: str) -> SafeString | str:
    return format_html('<a href="{}">{}</a>', page, text) if page else text


def held_origins(
    request: HttpRequest, rows: Collection[StoredRecord]
) -> dict[tuple[type[StoredRecord], Any], HeldOrigin]:
    """(model, key) of a row → its held record; empty for who may not see held records."""
    of_rows = Q()
    for row in rows:
        of_rows |= Q(delivery=row.delivery, position=row.position)
    if not rows or not request.user.has_perm("enrichment.view_heldrecord"):
        return {}
    records = HeldRecord.objects.filter(of_rows).defer("payload", "original_payload")
    found = {(record.delivery_id, record.position): record for record in records}
    resolved_by = [record.resolved_by for record in found.values() if record.resolved_by]
    deliveries = Delivery.objects.filter(pk__in=resolved_by)
    bulk_actions = dict(deliveries.values_list("pk", "bulkaction")) if found else {}
    return {
        (type(row), row.pk): _held_origin(request, found[place], bulk_actions)
        for row in rows
        if (place := (row.delivery, row.position)) in found
    }


def _held_origin(request: HttpRequest, record: HeldRecord, bulk_actions: Mapping[int, int | None]) -> HeldOrigin:
    number = record.resolved_by
    bulk_action = bulk_actions.get(number or 0)
    return HeldOrigin(
        record,
        page_of(request, HeldRecord, record.pk),
        number,
        page_of(request, Delivery, number) if number in bulk_actions else "",
        bulk_action,
        page_of(request, BulkAction, bulk_action) if bulk_action else "",
    )


# Failed records with its ID, or waiting for it.


@dataclass(frozen=True)
class Held:
    same_key: list[HeldRecord]
    waiting: list[HeldRecord]


def held(request: HttpRequest, stream: Stream, key: str) -> Held | None:
    """The newest open held records with this key, and those that wait for it; None for who may not see them."""
    if not request.user.has_perm("enrichment.view_heldrecord"):
        return None
    open_records = for_user(request.user, HeldRecord.objects.open())
    records = open_records.defer("payload", "original_payload").order_by("-pk")
    same_key = records.filter(stream=stream.name, key=key)[:MAX_HELD]
    waiting = records.filter(missing_stream=stream.name, missing_key=key)[:MAX_HELD]
    return Held(list(same_key), list(waiting))


def history(row: models.Model) -> list[LogEntry]:
    """Actions of people on this row, newest first."""
    of_row = ContentType.objects.get_for_model(row)
    entries = LogEntry.objects.filter(content_type=of_row, object_id=str(row.pk)).select_related("user")
    return list(entries.order_by("-action_time", "-pk")[:MAX_HISTORY])


# Related rows.


def latest(rows: QuerySet[Any], time: str, number: int) -> Sequence[Any]:
    """The last of `rows`, which are few among the table's: all of them are read, and sorted.

    Along the index on the time PostgreSQL would read row by row all over the table, where theirs are long past.
    """
    key = cast("models.Field[Any, Any]", rows.model._meta.pk).attname
    by_time = Ordering(f"-{time}", key).columns(avoid_index=connection.vendor == "postgresql")
    return list(rows.order_by(*by_time)[:number])

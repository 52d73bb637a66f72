"""What the page of one stored record shows, whatever its stream: fields, where it came from, and what else is held."""

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
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console.templatetags.formatting import moment
from enrichment.models import BulkAction, HeldRecord, StoredRecord
from enrichment.rows.ordering import Ordering
from ingestion import streams
from ingestion.models import Delivery
from ingestion.streams import Stream
from ingestion.text import cut, plain


@dataclass(frozen=True)
class Tile:
    told: str
    name: str
    page: str
    more: str = ""
    kind: str = ""


def list_page(request: HttpRequest, model: type[Model], **filters: Any) -> str:
    """The address of the list of those rows; empty for who may not see it."""
    app, name = model._meta.app_label, model._meta.model_name
    if not request.user.has_perm(f"{app}.view_{name}"):
        return ""
    return f"{reverse(f'admin:{app}_{name}_changelist')}?{urlencode(filters)}"


MOST_HELD = 10
MOST_HISTORY = 50


@dataclass(frozen=True)
class Fact:
    column: str
    title: str
    value: SafeString | str
    help: str


def facts(request: HttpRequest, stream: Stream, row: StoredRecord) -> tuple[list[Fact], list[Fact]]:
    """(the record's own fields, the derived ones)."""
    provenance = {field.name for field in StoredRecord._meta.get_fields()}
    refers = {reference.field: streams.get(reference.stream) for reference in stream.references}
    own: list[Fact] = []
    derived: list[Fact] = []
    for field in stream.model._meta.concrete_fields:
        if field.name in provenance:
            continue
        column, value = field.attname, row.exposed_value(field.attname)
        if column in refers:
            told = link_to(request, refers[column].model, value)
        elif column in row.exposed_as and isinstance(value, datetime):
            told = as_sent(value)
        else:
            told = told_value(field, value)
        fact = Fact(column, column.replace("_", " "), told, str(field.help_text))
        (own if column in stream.schema.model_fields else derived).append(fact)
    return own, derived


def told_value(field: models.Field[Any, Any], value: Any) -> SafeString | str:
    match value:
        case None | "":
            return "–"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return moment(value)
        case int() | float():
            return f"{value:,}"
        case list():
            return plain(", ".join(map(str, value))) or "none"
    labels = dict(field.flatchoices)
    return plain(cut(str(labels.get(value, value))))


def as_sent(at: datetime) -> SafeString:
    """In its own offset."""
    text = at.isoformat(sep=" ", timespec="seconds")
    return format_html('<time datetime="{}">{} {}</time>', at.isoformat(), text[:19], text[19:])


def page_of(request: HttpRequest, model: type[models.Model], key: Any) -> str:
    """The row's page in the admin; empty where the person may not see it."""
    meta = model._meta
    may = request.user.has_perm(f"{meta.app_label}.view_{meta.model_name}")
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[quote(key)]) if may else ""


def link_to(request: HttpRequest, model: type[models.Model], key: Any, text: str = "") -> SafeString | str:
    """The row's key, or another text, as a link to its page; the text alone where the person may not see that."""
    page, text = page_of(request, model, key), plain(text or str(key))
    return format_html('<a href="{}">{}</a>', page, text) if page else text


# Where it came from.


@dataclass(frozen=True)
class Origin:
    """The delivery that last wrote a row; `found` is None where that has been deleted since."""

    number: int
    position: int
    page: str
    found: Delivery | None


def origin(request: HttpRequest, row: StoredRecord) -> Origin | None:
    """None for a stub, which no delivery brought."""
    if not row.delivery:
        return None
    found = Delivery.objects.only("id", "client", "received_at").filter(pk=row.delivery).first()
    page = page_of(request, Delivery, row.delivery) if found else ""
    return Origin(row.delivery, row.position, page, found)


@dataclass(frozen=True)
class HeldFirst:
    """The held record that a stored row was made of: its version is that of the first arrival (P4)."""

    record: HeldRecord
    page: str
    stored_by: int | None
    """The delivery in which it went through at last."""
    stored_by_page: str
    """Empty where that has been deleted, or the person may not see it."""
    bulk_action: int | None
    """The one that sent it on; None where the system did, or the delivery has been deleted."""
    bulk_action_page: str


def held_first(request: HttpRequest, rows: Collection[StoredRecord]) -> dict[tuple[type[StoredRecord], Any], HeldFirst]:
    """(model, key) of a row → what it was made of; nothing for who may not see held records."""
    of_rows = Q()
    for row in rows:
        of_rows |= Q(delivery=row.delivery, position=row.position)
    if not rows or not request.user.has_perm("enrichment.view_heldrecord"):
        return {}
    records = HeldRecord.objects.filter(of_rows).defer("payload", "original_payload")
    found = {(record.delivery_id, record.position): record for record in records}
    resolved_by = [record.resolved_by for record in found.values() if record.resolved_by]
    deliveries = Delivery.objects.filter(pk__in=resolved_by)
    sent_on = dict(deliveries.values_list("pk", "bulkaction")) if found else {}
    return {
        (type(row), row.pk): _held_first(request, found[place], sent_on)
        for row in rows
        if (place := (row.delivery, row.position)) in found
    }


def _held_first(request: HttpRequest, record: HeldRecord, sent_on: Mapping[int, int | None]) -> HeldFirst:
    number = record.resolved_by
    bulk_action = sent_on.get(number or 0)
    return HeldFirst(
        record,
        page_of(request, HeldRecord, record.pk),
        number,
        page_of(request, Delivery, number) if number in sent_on else "",
        bulk_action,
        page_of(request, BulkAction, bulk_action) if bulk_action else "",
    )


# What is held under its key, or for it.


@dataclass(frozen=True)
class Held:
    same_key: list[HeldRecord]
    waiting: list[HeldRecord]


def held(request: HttpRequest, stream: Stream, key: str) -> Held | None:
    """The newest open held records with this key, and those that wait for it; None for who may not see them."""
    if not request.user.has_perm("enrichment.view_heldrecord"):
        return None
    records = HeldRecord.objects.open().defer("payload", "original_payload").order_by("-pk")
    same_key = records.filter(stream=stream.name, key=key)[:MOST_HELD]
    waiting = records.filter(missing_stream=stream.name, missing_key=key)[:MOST_HELD]
    return Held(list(same_key), list(waiting))


def history(row: models.Model) -> list[LogEntry]:
    """Who did what to this row, newest first."""
    of_row = ContentType.objects.get_for_model(row)
    entries = LogEntry.objects.filter(content_type=of_row, object_id=str(row.pk)).select_related("user")
    return list(entries.order_by("-action_time", "-pk")[:MOST_HISTORY])


# What belongs to it.


def latest(rows: QuerySet[Any], time: str, number: int) -> Sequence[Any]:
    """The last of `rows`, which are few among the table's: all of them are read, and sorted.

    Along the index on the time PostgreSQL would read row by row all over the table, where theirs are long past.
    """
    key = cast("models.Field[Any, Any]", rows.model._meta.pk).attname
    by_time = Ordering(f"-{time}", key).columns(avoid_index=connection.vendor == "postgresql")
    return list(rows.order_by(*by_time)[:number])

"""The sizes of the tables that grow, for the page of retention."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.db.models import Min, Model

from enrichment import previews
from enrichment.models import BulkAction, DataAccess, Failure, HeldRecord, MinuteStat, RetentionRule
from ingestion import streams
from ingestion.models import Delivery, PreviewChunk, PreviewPart, Upload, UploadPreview
from ingestion.text import duration

COUNTED_BELOW = 10_000
"""Rows: of a larger table PostgreSQL's own estimate is taken."""

BY_ID = (
    Delivery,
    HeldRecord,
    Failure,
    Upload,
    UploadPreview,
    PreviewPart,
    PreviewChunk,
    BulkAction,
    DataAccess,
    LogEntry,
)
"""Tables whose oldest row has the lowest id."""


@dataclass(frozen=True)
class TableSize:
    name: str
    rows: int
    bytes: int | None
    """With indexes; None if the database does not say."""
    oldest: datetime | None
    stays: str
    is_estimate: bool = False


def table_sizes() -> list[TableSize]:
    """Sizes in a fixed number of queries; rows are estimated where counting would take long."""
    retention = f"{duration(settings.RETENTION)} after" if settings.RETENTION else "forever, also after"
    previewed = f"{duration(previews.LIFETIME.total_seconds())} after"
    of_streams = RetentionRule.objects.exclude(stored_days=None).values_list("stream", "stored_days")
    rules = {stream: f"{days} d after their version; longer while others refer to them" for stream, days in of_streams}
    kept: list[tuple[type[Model], str, str]] = [
        (Delivery, "received_at", f"{retention} processing; longer while any record is open"),
        (HeldRecord, "held_at", f"as long as their deliveries: forever while open, {retention} being closed"),
        (Failure, "at", "as long as their failed records"),
        (Upload, "created_at", "as long as their deliveries"),
        (UploadPreview, "created_at", f"{previewed} the file was chosen, at the most"),
        (PreviewPart, "preview__created_at", "as long as their previews"),
        (PreviewChunk, "preview__created_at", "until their rows are checked"),
        (BulkAction, "at", "forever (audit log)"),
        (DataAccess, "at", f"{retention} it"),
        (LogEntry, "action_time", "forever (audit log)"),
        (MinuteStat, "minute", "forever (totals); after two days one row per stream and day"),
        *((readable.model, "stored_at", rules.get(readable.name, "forever")) for readable in streams.all_readables()),
    ]
    sizes = _sizes([model for model, _, _ in kept])
    return [
        TableSize(str(model._meta.verbose_name_plural), *sizes[model][:2], _oldest(model, at), stays, sizes[model][2])
        for model, at, stays in kept
    ]


def _oldest(model: type[Model], at: str) -> datetime | None:
    """By the index on the time if there is one; else of the row with the lowest id."""
    rows = model._default_manager.order_by()
    if model in BY_ID:
        oldest: datetime | None = rows.order_by("pk").values_list(at, flat=True).first()
    else:
        oldest = rows.aggregate(oldest=Min(at))["oldest"]
    return oldest


def _sizes(models: Iterable[type[Model]]) -> dict[type[Model], tuple[int, int | None, bool]]:
    """model → (rows, bytes with indexes, whether the rows are an estimate)"""
    if connection.vendor != "postgresql":
        return {model: (model._default_manager.count(), None, False) for model in models}
    by_name = {model._meta.db_table: model for model in models}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname, reltuples::bigint, (SELECT sum(pg_total_relation_size(part))::bigint FROM ("
            " SELECT oid AS part UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = oid) AS parts)"
            " FROM pg_class"
            " WHERE oid = ANY(SELECT to_regclass(quote_ident(name)) FROM unnest(%s::text[]) AS name)",
            [list(by_name)],
        )
        found = {by_name[name]: (rows, size) for name, rows, size in cursor.fetchall()}
    return {
        model: (rows, size, True)
        if rows >= COUNTED_BELOW
        else (model._default_manager.order_by()[:COUNTED_BELOW].count(), size, False)
        for model, (rows, size) in found.items()
    }


def total_bytes() -> int:
    """The size of the whole database."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_database_size(current_database())")
        else:
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()")
        return int(cursor.fetchone()[0])

"""Enriches stored rows again: those that depend on today's date (P9), on a row that changed, or on changed rules."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from django.db import models, transaction
from django.utils import timezone

from enrichment.models import StoredRecord
from enrichment.pipeline import references, upsert
from ingestion.payload_warnings import of_payload
from ingestion.streams import Context, Stream, all_streams

CHUNK = 1000
logger = logging.getLogger(__name__)


def refresh_daily() -> int:
    """Updates the rows whose derived fields are of an earlier day; returns how many changed."""
    today = timezone.localdate()
    return sum(refresh(stream, models.Q(derived_on__lt=today)) for stream in all_streams() if stream.daily)


def ignore(value: object) -> None:
    pass


def refresh(
    stream: Stream,
    among: models.Q,
    progress: Callable[[int], object] = ignore,
    failed: Callable[[str], object] = ignore,
) -> int:
    """Enriches stored rows again, a thousand at a time in key order; returns how many changed.

    `progress` is called with the number of rows read, `failed` with the key of each row that could not be enriched.
    """
    manager = cast("models.Manager[StoredRecord]", stream.model._default_manager)
    changed, last = 0, ""
    while True:
        with transaction.atomic():
            seen = {row.pk: row for row in manager.filter(among, pk__gt=last).order_by("pk")[:CHUNK]}
            if not seen:
                return changed
            rows = references.lock(stream, list(seen.values()))
            context = Context(now=timezone.now(), facts=stream.facts(), rows=rows)
            locked = manager.filter(pk__in=seen).order_by("pk").select_for_update()
            # A row that was stored again since it was read is up to date, and may refer to other rows.
            still = [row for row in locked if row.version == seen[row.pk].version]
            changed += refresh_rows(stream, still, context, failed)
        last = list(seen)[-1]  # by the database's order, which need not be ours
        progress(len(seen))


def refresh_rows(
    stream: Stream, rows: Sequence[StoredRecord], context: Context, failed: Callable[[str], object] = ignore
) -> int:
    """Enriches stored rows, which the caller has locked, again; returns how many changed."""
    changed: list[dict[str, Any]] = []
    names: set[str] = set()
    for row in rows:
        record = row.as_record(stream.schema)
        try:
            warnings = [*of_payload(row.warnings), *stream.warn(record, context)]
            fresh = {**stream.enrich(record, context), "warnings": warnings}
        except Exception:  # a bug in the domain, which must not hold up the other rows
            logger.exception("%s %s could not be enriched again.", stream.name, row.pk)
            failed(row.pk)
            continue
        different = {name for name, value in fresh.items() if getattr(row, name) != value}
        if different:
            names |= different
            changed.append({stream.key: row.pk, **fresh})
    if changed:
        upsert.update(stream, changed, sorted(names))
    return len(changed)

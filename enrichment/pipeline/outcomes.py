"""Writes the outcomes of a batch, in its transaction: records held, held again, or resolved (P3).

A held record changes its status only by an update guarded by its status.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import F
from django.utils import timezone

from enrichment.models import Failure, HeldRecord
from enrichment.pipeline.item import Item, Rejection
from enrichment.versions import version_at
from ingestion.payloads import ascii_json
from ingestion.streams import Stream
from ingestion.validation import key_of

Status, Stage, Code = HeldRecord.Status, HeldRecord.Stage, HeldRecord.Code


def lock(items: Iterable[Item]) -> None:
    """Locks the held records that items were made from; those that have changed since they were read are skipped."""
    held = {item.held.pk: item for item in items if item.held}
    rows = HeldRecord.objects.filter(pk__in=held).order_by("pk").select_for_update()
    for row in rows.defer("payload", "original_payload"):
        item = held[row.pk]
        read = item.held
        taken = row.status in HeldRecord.OPEN and row.queued_in == item.delivery.pk
        if read is None or not taken or row.payload_version != read.payload_version:
            item.outcome, item.rejection, item.held = "skipped", None, None
        else:
            item.held = row


def record(stream: Stream, items: list[Item]) -> None:
    """Holds the items that were rejected, and resolves the held records that passed."""
    now = timezone.now()
    new, again, passed = [], [], defaultdict(list)
    failures = []
    for item in items:
        if item.rejection:
            item.outcome = "held"
            if item.held is None:
                item.held = _new(stream, item, item.rejection, now)
                new.append(item.held)
            else:
                _fail_again(item.held, item.rejection, now)
                again.append(item.held)
            failures.append(_failure(item, item.rejection))
        elif item.held:
            passed[(item.delivery.pk, item.outcome)].append(item.held.pk)
    HeldRecord.objects.bulk_create(new, batch_size=500)
    _write_again(again)
    Failure.objects.bulk_create(failures, batch_size=500)
    _forget([item.held.pk for item in items if item.held and item.rejection and item.rejection.code == Code.ERASED])
    for (delivery, outcome), pks in passed.items():
        changes = {"status": Status.RESOLVED, "resolved_by": delivery, "outcome": outcome, "queued_in": None}
        HeldRecord.objects.open().filter(pk__in=pks).update(**changes, changed_at=now)


_CHANGED_BY_FAILURE = [
    *("stage", "code", "messages", "message", "missing_stream", "missing_key"),
    *("status", "waiting_since", "changed_at", "attempts", "queued_in"),
]


def _write_again(again: Sequence[HeldRecord]) -> None:
    """Writes the columns that a failure changes, of records locked by lock(). bulk_update takes ten times as long."""
    fields = [field for field in HeldRecord._meta.concrete_fields if field.name in _CHANGED_BY_FAILURE]
    rows = [
        (*(field.get_db_prep_save(getattr(held, field.attname), connection) for field in fields), held.pk)
        for held in again
    ]
    if rows:
        columns = ", ".join(f"{field.column} = %s" for field in fields)
        with connection.cursor() as cursor:
            cursor.executemany(f"UPDATE {HeldRecord._meta.db_table} SET {columns} WHERE id = %s", rows)  # noqa: S608


def _forget(pks: Sequence[int]) -> None:
    """Of records about persons whose data have been erased nothing is kept but that there was one."""
    if pks:
        HeldRecord.objects.filter(pk__in=pks).update(**HeldRecord.WHEN_ERASED, payload_version=F("payload_version") + 1)


def _new(stream: Stream, item: Item, rejection: Rejection, now: datetime) -> HeldRecord:
    received_at, delivery, position = item.origin
    held = HeldRecord(
        stream=stream.name,
        key=key_of(stream, item.payload),
        client=item.client,
        delivery_id=delivery,
        position=position,
        received_at=received_at,
        version_at=version_at(stream, item.payload, received_at, now),
        payload=ascii_json(item.payload),
        changed_at=now,
        **rejection.columns,
    )
    _set_status(held, now)
    return held


def _fail_again(held: HeldRecord, rejection: Rejection, now: datetime) -> None:
    for name, value in rejection.columns.items():
        setattr(held, name, value)
    held.attempts += 1
    held.changed_at, held.queued_in = now, None
    _set_status(held, now)


def _set_status(held: HeldRecord, now: datetime) -> None:
    """Waiting for a missing reference, up to REFERENCE_WAIT; else dead, or, if it has been erased, discarded."""
    if held.code != Code.MISSING_REFERENCE:
        held.status = Status.DISCARDED if held.code == Code.ERASED else Status.DEAD
        held.waiting_since = None
        return
    held.waiting_since = held.waiting_since or now
    waited = now - held.waiting_since
    held.status = Status.DEAD if waited > timedelta(seconds=settings.REFERENCE_WAIT) else Status.WAITING


def _failure(item: Item, rejection: Rejection) -> Failure:
    return Failure(
        held=item.held,
        delivery=item.delivery.pk,
        stage=rejection.stage,
        code=rejection.code,
        messages=rejection.messages,
        code_version=settings.VERSION,
        traceback=rejection.traceback,
    )

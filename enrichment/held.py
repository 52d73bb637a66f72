"""What happens to held records: recorded, looked for, revived, mended (P3, P6, P11).

A held record changes its status only by an update guarded by its status; nothing changed means that someone was faster.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, Subquery
from django.utils import timezone
from pydantic import TypeAdapter, ValidationError

from enrichment.models import Bytes, Failure, HeldRecord, HeldRecordQuerySet
from enrichment.pipeline.item import Failed
from ingestion import doorbell, streams
from ingestion.fields import PastTime
from ingestion.models import Delivery
from ingestion.payloads import Unreadable, dump, parse_json
from ingestion.streams import Stream
from ingestion.validation import field_errors, key_of, validate

if TYPE_CHECKING:
    from enrichment.pipeline.item import Item

CHUNK_BYTES = 16_000_000
"""Of payloads of the held records named by one delivery, where it names more than one: what a worker reads at once."""
CHUNK = 1000
"""Held records named by one delivery."""
Status, Stage, Code = HeldRecord.Status, HeldRecord.Stage, HeldRecord.Code
_past_time = TypeAdapter(PastTime)


class SomeoneWasFaster(Exception):
    """The held record was closed or mended by someone else meanwhile."""


class NotMendable(Exception):
    """The payload is still not valid; `messages` are by field."""

    def __init__(self, messages: dict[str, list[str]]) -> None:
        super().__init__("The payload is not valid.")
        self.messages = messages


# In the pipeline's transaction.


def lock(items: Iterable[Item]) -> None:
    """Locks the held records that items were made of; those that changed since they were read are skipped."""
    held = {item.held.pk: item for item in items if item.held}
    rows = HeldRecord.objects.filter(pk__in=held).order_by("pk").select_for_update()
    for row in rows.defer("payload", "original_payload"):
        item = held[row.pk]
        read = item.held
        taken = row.status in HeldRecord.OPEN and row.queued_in == item.delivery.pk
        if read is None or not taken or row.payload_version != read.payload_version:
            item.outcome, item.failed, item.held = "skipped", None, None
        else:
            item.held = row


def record(stream: Stream, items: list[Item]) -> None:
    """Writes what became of the items: those that failed are held, held ones that passed are resolved."""
    now = timezone.now()
    new, again, passed = [], [], defaultdict(list)
    failures = []
    for item in items:
        if item.failed:
            item.outcome = "held"
            if item.held is None:
                item.held = _new(stream, item, item.failed, now)
                new.append(item.held)
            else:
                _fail_again(item.held, item.failed, now)
                again.append(item.held)
            failures.append(_failure(item, item.failed))
        elif item.held:
            passed[(item.delivery.pk, item.outcome)].append(item.held.pk)
    HeldRecord.objects.bulk_create(new, batch_size=500)
    _write_again(again)
    Failure.objects.bulk_create(failures, batch_size=500)
    for (delivery, outcome), pks in passed.items():
        changes = {"status": Status.RESOLVED, "resolved_by": delivery, "outcome": outcome, "queued_in": None}
        HeldRecord.objects.open().filter(pk__in=pks).update(**changes, changed_at=now)


_CHANGED_BY_FAILURE = [
    *("stage", "code", "messages", "message", "missing_stream", "missing_key"),
    *("status", "waiting_since", "changed_at", "attempts", "queued_in"),
]


def _write_again(again: Sequence[HeldRecord]) -> None:
    """Writes what a failure changes of records that lock() has locked. bulk_update takes ten times as long."""
    fields = [field for field in HeldRecord._meta.concrete_fields if field.name in _CHANGED_BY_FAILURE]
    rows = [
        (*(field.get_db_prep_save(getattr(held, field.attname), connection) for field in fields), held.pk)
        for held in again
    ]
    if rows:
        columns = ", ".join(f"{field.column} = %s" for field in fields)
        with connection.cursor() as cursor:
            cursor.executemany(f"UPDATE {HeldRecord._meta.db_table} SET {columns} WHERE id = %s", rows)  # noqa: S608


def _new(stream: Stream, item: Item, failed: Failed, now: datetime) -> HeldRecord:
    received_at, delivery, position = item.origin
    held = HeldRecord(
        stream=stream.name,
        key=key_of(stream, item.payload),
        client=item.delivery.client,
        delivery_id=delivery,
        position=position,
        received_at=received_at,
        version_at=version_at(stream, item.payload, received_at, now),
        payload=dump(item.payload),
        changed_at=now,
        **failed.on_record,
    )
    _set_status(held, now)
    return held


def _fail_again(held: HeldRecord, failed: Failed, now: datetime) -> None:
    for name, value in failed.on_record.items():
        setattr(held, name, value)
    held.attempts += 1
    held.changed_at, held.queued_in = now, None
    _set_status(held, now)


def _set_status(held: HeldRecord, now: datetime) -> None:
    """Waiting for a missing reference, up to REFERENCE_WAIT; else dead."""
    if held.code != Code.MISSING_REFERENCE:
        held.status, held.waiting_since = Status.DEAD, None
        return
    held.waiting_since = held.waiting_since or now
    waited = now - held.waiting_since
    held.status = Status.DEAD if waited > timedelta(seconds=settings.REFERENCE_WAIT) else Status.WAITING


def _failure(item: Item, failed: Failed) -> Failure:
    return Failure(
        held=item.held,
        delivery=item.delivery.pk,
        stage=failed.stage,
        code=failed.code,
        messages=failed.messages,
        code_version=settings.VERSION,
        traceback=failed.traceback,
    )


def version_at(stream: Stream, payload: Any, received_at: datetime, now: datetime) -> datetime:
    """The record's updated_at where it can be read, else when its delivery came (P4)."""
    if not isinstance(payload, dict) or "updated_at" not in stream.schema.model_fields:
        return received_at
    try:
        return _past_time.validate_python(payload.get("updated_at"), context={"now": now})
    except ValidationError:
        return received_at


# After the commit.


def look(stream: Stream, stored: Collection[str], left: Collection[int]) -> None:
    """Revives what waited for the records just stored and closes what they supersede; likewise those just held.

    Call it after the commit: of two transactions that need each other's rows, the later sees both.
    """
    if not left and not HeldRecord.objects.open().exists():
        return
    just_held = Q(pk__in=left)
    revive(stream.name, HeldRecord.objects.filter(just_held | Q(missing_stream=stream.name, missing_key__in=stored)))
    for reference in stream.references:
        revive(reference.stream, HeldRecord.objects.filter(just_held))
    close_superseded(stream, HeldRecord.objects.filter(just_held | Q(key__in=stored)))


def look_everywhere() -> None:
    """What a crash between a commit and its look left undone."""
    for stream in streams.all_streams():
        revive(stream.name, HeldRecord.objects.all())
        close_superseded(stream, HeldRecord.objects.all())


def revive(missing_stream: str, among: HeldRecordQuerySet) -> int:
    """Sends the records that miss a record of that stream, stored by now, through again; also those dead of it."""
    referred = streams.get(missing_stream).model._default_manager.filter(pk=OuterRef("missing_key"))
    ready = among.open().filter(Exists(referred), missing_stream=missing_stream, code=Code.MISSING_REFERENCE)
    revived = 0
    for name, pks in by_stream(ready.filter(queued_in=None)).items():
        for chunk in _chunks(pks):
            revived += sum(delivery.count for delivery in queue(name, chunk, Delivery.Source.REVIVAL))
    if revived:
        doorbell.ring()
    return revived


def close_superseded(stream: Stream, among: HeldRecordQuerySet) -> int:
    """Resolves the open records for whose key a record that is not older is stored (P11)."""
    same_time = Q(version_at=OuterRef("version_at"))
    not_older = (
        Q(version_at__gt=OuterRef("version_at"))
        | same_time & Q(delivery__gt=OuterRef("delivery_id"))
        | same_time & Q(delivery=OuterRef("delivery_id"), position__gte=OuterRef("position"))
    )
    newer = stream.model._default_manager.filter(not_older, pk=OuterRef("key"))
    superseded = among.open().filter(Exists(newer), stream=stream.name)
    closed = 0
    for chunk in _chunks(superseded.order_by("pk").values_list("pk", flat=True)):
        with transaction.atomic():
            locked = HeldRecord.objects.filter(pk__in=chunk).order_by("pk").select_for_update()
            closed += (
                HeldRecord.objects.open()
                .filter(Exists(newer), pk__in=list(locked.values_list("pk", flat=True)))
                .update(
                    status=Status.RESOLVED,
                    resolved_by=Subquery(newer.values("delivery")[:1]),
                    outcome="superseded",
                    queued_in=None,
                    changed_at=timezone.now(),
                )
            )
    return closed


def expire_waiting() -> int:
    """Records that have waited longer than REFERENCE_WAIT are dead; a late arrival revives them even then."""
    now = timezone.now()
    expired = HeldRecord.objects.waiting().filter(
        waiting_since__lt=now - timedelta(seconds=settings.REFERENCE_WAIT), queued_in=None
    )
    return expired.update(status=Status.DEAD, changed_at=now)


# Mending.


def check_payload(stream: Stream, text: str) -> dict[str, list[str]]:
    """What is wrong with a payload, by field; empty when it would pass validation."""
    try:
        validate(stream, parse_json(text.encode("utf-8", "surrogatepass")), timezone.now())
    except Unreadable as error:
        return {"record": [str(error)]}
    except ValidationError as error:
        return field_errors(error)
    return {}


def mend(held: HeldRecord, payload: str, payload_version: int) -> None:
    """Replaces the payload of an open record by one that is valid; the original is kept.

    Raises NotMendable where it is not valid, SomeoneWasFaster where the record was closed, or mended since
    `payload_version`. A mended record is taken out of the delivery that was to send it through unmended.
    """
    stream = streams.get(held.stream)
    if messages := check_payload(stream, payload):
        raise NotMendable(messages)
    if not replace_payloads(stream, [(held, payload_version, parse_json(payload.encode()))]):
        raise SomeoneWasFaster(f"{held} was mended or closed meanwhile.")


def replace_payloads(stream: Stream, mended: Iterable[tuple[HeldRecord, int, Any]]) -> int:
    """Writes payloads that pass, each to its record of that stream where that is open and of that payload_version.
    Returns how many that were. Two milliseconds a record as bulk_update, a tenth of that so.
    """
    now = timezone.now()
    moment = connection.ops.adapt_datetimefield_value
    rows = [
        (
            dump(payload),
            key_of(stream, payload),
            moment(version_at(stream, payload, held.received_at, now)),
            moment(now),
            held.pk,
            version,
            *HeldRecord.OPEN,
        )
        for held, version, payload in mended
    ]
    with connection.cursor() as cursor:
        if rows:
            cursor.executemany(
                f"UPDATE {HeldRecord._meta.db_table} SET payload = %s,"  # noqa: S608
                " original_payload = COALESCE(original_payload, payload), payload_version = payload_version + 1,"
                " key = %s, version_at = %s, queued_in = NULL, changed_at = %s"
                " WHERE id = %s AND payload_version = %s AND status IN (%s, %s)",
                rows,
            )
        return cursor.rowcount if rows else 0


def by_stream(among: HeldRecordQuerySet) -> dict[str, list[int]]:
    """stream → ids in order, of the records among these."""
    pks: dict[str, list[int]] = defaultdict(list)
    for name, pk in among.order_by("pk").values_list("stream", "pk"):
        pks[name].append(pk)
    return pks


def _chunks(pks: Iterable[int]) -> Iterator[Sequence[int]]:
    everything = list(pks)
    return (everything[start : start + CHUNK] for start in range(0, len(everything), CHUNK))


def queue(stream: str, pks: Collection[int], source: Delivery.Source) -> list[Delivery]:
    """Puts those of these records that are still open and in no delivery into as few as may be; none where none are."""
    with transaction.atomic():
        free = HeldRecord.objects.open().filter(pk__in=pks, queued_in=None).order_by("pk").select_for_update()
        return [_deliver(stream, chunk, source) for chunk in _by_bytes(free.values_list("pk", Bytes("payload")))]


def _by_bytes(sizes: Iterable[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """These (id, bytes) in their order, cut where more than CHUNK_BYTES would be together."""
    chunks: list[list[tuple[int, int]]] = []
    space = 0
    for pk, size in sizes:
        if not chunks or size > space:
            chunks.append([])
            space = CHUNK_BYTES
        chunks[-1].append((pk, size))
        space -= size
    return chunks


def _deliver(stream: str, named: Sequence[tuple[int, int]], source: Delivery.Source) -> Delivery:
    """One delivery of these (id, bytes), locked by the caller. Its size is theirs: so much is read to work on it."""
    pks = [pk for pk, _ in named]
    delivery = Delivery.objects.create(
        stream=stream,
        source=source,
        client="system",
        format=Delivery.Format.HELD,
        body=dump(pks).encode(),
        size=sum(size for _, size in named),
        count=len(pks),
    )
    HeldRecord.objects.open().filter(pk__in=pks, queued_in=None).update(queued_in=delivery.pk)
    return delivery

"""A batch of records: claimed, validated, then stored or held in one transaction (P2). There is no other pipeline."""

from __future__ import annotations

import gc
import json
import logging
import traceback
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

from django.db import Error, connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone
from django_q.exceptions import TimeoutException
from pydantic import ValidationError

from enrichment.held import revival
from enrichment.latency import BOUNDS, COLUMNS
from enrichment.models import HeldRecord, MinuteStat
from enrichment.pipeline import outcomes, references, rows, suppressed, upsert
from enrichment.pipeline.faults import Fault, classify, code_of
from enrichment.pipeline.item import Item, Rejection
from enrichment.pipeline.retry import release_for_retry
from ingestion.messages import MAX_MESSAGE, Message
from ingestion.models import Delivery
from ingestion.payload_warnings import payload_warnings
from ingestion.payloads import is_erased, parse_accepted
from ingestion.streams import Context, StoredRow, Stream, lock_nothing, nothing_more
from ingestion.text import strip_unstorable
from ingestion.validation import field_errors, key_of, validate

BATCH_RECORDS = {"postgresql": 5000, "sqlite": 200}
"""In one transaction. A part takes a fraction of a second, so that the claims of those behind it do not expire."""
CLAIMED_PARTS = {"postgresql": 3, "sqlite": 1}
Stage, Code = HeldRecord.Stage, HeldRecord.Code
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchResult:
    """Records by outcome, or the error for which the batch was released to be retried."""

    outcomes: Counter[str]
    fault: Fault | None = None
    error: str = ""


class Part:
    """Deliveries that are processed in one transaction."""

    def __init__(self, stream: Stream, deliveries: Sequence[Delivery], now: datetime) -> None:
        self.stream, self.deliveries, self.now = stream, deliveries, now
        self.items: list[Item] | None = None
        self.error: Exception | None = None

    def prepare_ahead(self) -> None:
        """Prepares it without a query, for the connection is busy. An error waits for the part's turn."""
        if all(delivery.format != Delivery.Format.HELD for delivery in self.deliveries):
            try:
                self.prepare()
            except Exception as error:
                self.error = error

    def prepare(self) -> list[Item]:
        """Reads and validates its records, once."""
        if self.error:
            raise self.error
        if self.items is None:
            self.items = [item for delivery in self.deliveries for item in _next_part(delivery)]
            _validate(self.stream, self.items, self.now)
        return self.items


def process_batch(stream: Stream, *, records: int | None = None, respect_backoff: bool = True) -> BatchResult | None:
    """Processes about `records` records of the stream; None when none are due. By default several parts of a batch, of
    which each is prepared while PostgreSQL stores the one before.

    After an error that is not a record's the part is released, and the result names the error. After a stop (a signal,
    Ctrl-C) it is released too, and the exception is raised again. The parts behind it are released in any case.
    """
    _collect_garbage_seldom()
    size = records or BATCH_RECORDS[connection.vendor]
    claimed = records or size * CLAIMED_PARTS[connection.vendor]
    deliveries = Delivery.objects.claim(stream.name, claimed, respect_backoff=respect_backoff)
    if not deliveries:
        return None
    now = timezone.now()
    parts = deque(Part(stream, some, now) for some in _divided(deliveries, size))
    result = BatchResult(Counter())
    try:
        while parts and not result.fault:
            done, part = result.outcomes, parts.popleft()
            result = _process_part(part, parts[0] if parts else None)
            result.outcomes.update(done)
    finally:
        if left := [delivery for part in parts for delivery in part.deliveries]:
            with suppress(Error):  # with the database away the claim expires with its lease
                Delivery.objects.release(left)
    return result


def _divided(deliveries: Sequence[Delivery], size: int) -> Iterator[list[Delivery]]:
    """As many deliveries together as have `size` records, and at least one."""
    part: list[Delivery] = []
    records = 0
    for delivery in deliveries:
        if part and records >= size:
            yield part
            part, records = [], 0
        part.append(delivery)
        records += delivery.pending
    yield part


def _process_part(part: Part, following: Part | None) -> BatchResult:
    deliveries = part.deliveries
    try:
        items = part.prepare()
        with upsert.meanwhile(following.prepare_ahead if following else None):
            items = _work(part.stream, deliveries, items, part.now)
    except Exception as error:
        return BatchResult(Counter(), *release_for_retry(deliveries, error))
    except TimeoutException as error:  # the task took too long for its worker, which ends
        release_for_retry(deliveries, error)
        raise
    except BaseException:  # a stop, which is no failure
        connection.close()  # it may have been in the middle of a query
        with suppress(Error):  # with the database away the claim expires with its lease
            Delivery.objects.release(deliveries)
        raise
    _reconcile(part.stream, items)
    return BatchResult(Counter(map(_outcome, items)))


@cache
def _collect_garbage_seldom() -> None:
    """Once in a process. A batch is freed as it is left; looking for cycles among its many objects would find none."""
    gc.freeze()
    gc.set_threshold(100_000)


# Before the transaction: read and validate.


def _next_part(delivery: Delivery) -> list[Item]:
    """The items to process now: all that are left, or as many as the delivery's part allows."""
    items = _held_items(delivery) if delivery.format == Delivery.Format.HELD else _sent_items(delivery)
    return items if delivery.part is None else items[: 1 if delivery.next_record_is_poison else delivery.part]


def _sent_items(delivery: Delivery) -> list[Item]:
    payloads = parse_accepted(delivery.content, ndjson=delivery.is_ndjson)
    refused, first, is_of_file = delivery.refused_positions, delivery.position, delivery.upload_id is not None
    pk, received_at, client = delivery.pk, delivery.received_at, delivery.client
    return [
        Item(delivery, position, payload, (received_at, pk, position), client, is_of_file)
        for position, payload in enumerate(payloads)
        if position >= first and position not in refused
    ]


def _held_items(delivery: Delivery) -> list[Item]:
    """One item for each held record named; those that have been closed or queued elsewhere since are `skipped`."""
    pks = json.loads(bytes(delivery.body))
    of_it = HeldRecord.objects.open().filter(queued_in=delivery.pk).defer("original_payload")
    found = of_it.annotate(upload=F("delivery__upload")).in_bulk(pks[delivery.position :])
    items = []
    for position, pk in enumerate(pks):
        if position >= delivery.position:
            record = found.get(pk)
            if record is None:
                nothing = (delivery.received_at, 0, 0)
                items.append(Item(delivery, position, None, nothing, delivery.client, False, outcome="skipped"))
            else:
                origin = (record.received_at, record.delivery_id, record.position)
                is_of_file = vars(record)["upload"] is not None
                payload = json.loads(record.payload)
                items.append(Item(delivery, position, payload, origin, record.client, is_of_file, held=record))
    return items


def _validate(stream: Stream, items: Sequence[Item], now: datetime) -> None:
    if len(items) == 1 and items[0].delivery.next_record_is_poison and not items[0].outcome:
        message = f"Its worker died {items[0].delivery.crash_count} times while processing it alone."
        items[0].rejection = Rejection(Stage.VALIDATE, Code.CRASHED_WORKER, {"record": [message]})
        return
    for item in items:
        if item.outcome:
            continue
        try:
            item.record = validate(stream, item.payload, now)
        except ValidationError as error:
            invalid = Rejection(Stage.VALIDATE, Code.INVALID, field_errors(error))
            item.rejection = Rejection.erased() if is_erased(item.payload) else invalid


# Inside the transaction.


def _work(stream: Stream, deliveries: Sequence[Delivery], items: list[Item], now: datetime) -> list[Item]:
    """Stores or holds the items and counts them, all in one transaction; returns those whose claim was still valid.

    Whose data are erased is asked here, since an erasure waits for transactions that are older.
    """
    with transaction.atomic(durable=True):
        limit_waiting()
        locked, secret = Delivery.objects.lock_claimed(deliveries)
        if len(locked) < len(deliveries):
            items = [item for item in items if item.delivery.pk in locked]
        outcomes.lock(items)
        if secret:
            suppressed.reject(stream, items, secret)
        context = _resolve(stream, _good(items), now)
        _enrich(stream, _good(items), context)
        if stream.lock is not lock_nothing:
            stream.lock([rows.named(stream, item.row) for item in _good(items)])
        _store_with_consequences(stream, _good(items), context)
        outcomes.record(stream, items)
        records = _count([delivery for delivery in deliveries if delivery.pk in locked], items)
        MinuteStat.objects.add(stream.name, now, {**_statistics(items), **latency_columns(deliveries, records, now)})
    _release_others(deliveries, locked)
    return items


def _release_others(deliveries: Sequence[Delivery], locked: Collection[int]) -> None:
    """Gives back those that could not be locked, unless somebody else has claimed them since: a worker that tries to
    claim what has just been claimed holds its lock for a moment, and then nobody would come until the claim expires.
    """
    if others := [delivery for delivery in deliveries if delivery.pk not in locked]:
        Delivery.objects.release(others)


def _good(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if not item.outcome and not item.rejection]


def limit_waiting() -> None:
    """Bounds how long this transaction may wait; makes a broken reference an error of its statement (P6)."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = '30s';"
                "SET LOCAL idle_in_transaction_session_timeout = '60s'; SET CONSTRAINTS ALL IMMEDIATE"
            )


def _resolve(stream: Stream, items: list[Item], now: datetime) -> Context:
    """Locks the rows that the items refer to; an item whose reference is missing fails."""
    records = [item.record for item in items]
    found = references.lock(stream, records)
    for item in items if references.any_missing(stream, records, found) else ():
        if absent := references.first_missing(stream, item.record, found):
            item.rejection = Rejection.missing_reference(*absent)
    return Context(now=now, facts=stream.facts(), rows=found)


def _enrich(stream: Stream, items: list[Item], context: Context) -> None:
    enrich, warn = stream.enrich, stream.warn
    for item in items:
        record = item.record
        try:
            derived = enrich(record, context)
            warnings = warn(record, context)
            if of_payload := payload_warnings(stream, item.payload, record, is_of_file=item.is_of_file):
                warnings = [*of_payload, *warnings]
        except Exception as error:
            kind = type(error).__name__
            message = Message(strip_unstorable(f"{kind}: {error}", MAX_MESSAGE), general=f"{kind} in the enrichment")
            text = strip_unstorable(traceback.format_exc())
            item.rejection = Rejection(Stage.ENRICH, Code.ENRICH_ERROR, {"record": [message]}, traceback=text)
            continue
        if stream.key_of and stream.key not in derived:
            derived = {**derived, stream.key: key_of(stream, item.payload)}
        received_at, delivery, position = item.origin
        version_at = stream.version_of(record) or received_at
        item.row = rows.make(stream, record, derived, (warnings, version_at, delivery, position, item.client))


def _store_with_consequences(stream: Stream, items: list[Item], context: Context) -> None:
    """The items, and what their stream makes of those stored; in halves, down to the bad one, where the database takes
    the rows and refuses what is made of them (P5).
    """
    try:
        with transaction.atomic():
            _store(stream, items)
            if stream.stored is not nothing_more and (stored := _stored_rows(stream, items)):
                stream.stored(stored, context)
    except Exception as error:
        if classify(error) is not Fault.RECORD:
            raise
        for item in items:
            item.outcome, item.rejection = "", None
        if len(items) == 1:
            general = "What follows from it cannot be stored"
            text = strip_unstorable(f"{general}: {error}".split("\n")[0], MAX_MESSAGE)
            message = Message(text, general=general)
            items[0].rejection = Rejection(Stage.UPSERT, code_of(error), {"record": [message]})
            return
        middle = len(items) // 2
        _store_with_consequences(stream, items[:middle], context)
        _store_with_consequences(stream, items[middle:], context)


def _store(stream: Stream, items: list[Item]) -> None:
    for item, result in zip(items, upsert.store_rows(stream, [item.row for item in items]), strict=True):
        if isinstance(result, str):
            item.outcome = result
        elif result.fault is Fault.REFERENCE:
            item.rejection = _broken_reference(stream, item, result)
        else:
            item.rejection = Rejection(Stage.UPSERT, result.code, result.messages)


def _broken_reference(stream: Stream, item: Item, refusal: upsert.BadRow) -> Rejection:
    """The reference that is missing after all; a foreign key of the row that is none is an error of the record."""
    if absent := references.first_missing(stream, item.record, references.lock(stream, [item.record])):
        return Rejection.missing_reference(*absent)
    return Rejection(Stage.UPSERT, Code.CONSTRAINT, refusal.messages)


def _stored_rows(stream: Stream, items: Iterable[Item]) -> list[StoredRow]:
    """The rows as they are stored now, sorted by key. Of a batch stored in halves a key may have been written twice."""
    written: dict[str, list[Item]] = defaultdict(list)
    key = rows.key_getter(stream)
    for item in items:
        if item.outcome in stream.stored_after:
            written[key(item.row)].append(item)
    return [_stored_row(stream, written[name]) for name in sorted(written)]


def _stored_row(stream: Stream, of_key: Sequence[Item]) -> StoredRow:
    if len(of_key) == 1:
        return StoredRow(rows.named(stream, of_key[0].row), of_key[0].outcome == "inserted")
    newest = max((rows.named(stream, item.row) for item in of_key), key=itemgetter(*upsert.VERSION))
    return StoredRow(newest, any(item.outcome == "inserted" for item in of_key))


def _count(deliveries: Sequence[Delivery], items: Iterable[Item]) -> dict[int, int]:
    """Adds the outcomes to the deliveries' counts and ends their claims; one update for all with the same change.
    Returns the number of items of each.
    """
    by_delivery: dict[int, Counter[str]] = defaultdict(Counter)
    last: dict[int, int] = {}
    for delivery, of_it in groupby(items, key=attrgetter("delivery")):
        found = list(of_it)
        by_delivery[delivery.pk].update(map(_outcome, found))
        last[delivery.pk] = found[-1].position
    alike: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for delivery in deliveries:
        counts = by_delivery[delivery.pk]
        left = delivery.pending - counts.total()
        # After the record that killed its workers the rest is processed whole again.
        part = left if delivery.next_record_is_poison else delivery.part
        position = last.get(delivery.pk, -1) + 1
        alike[(tuple(sorted(counts.items())), left > 0, part, position)].append(delivery.pk)
    for (counted, unfinished, part, position), pks in alike.items():
        changes: dict[str, Any] = {name: F(name) + number for name, number in counted}
        changes |= {"started_at": None, "crash_count": 0, "failure_count": 0, "retry_at": None, "last_error": ""}
        changes |= {"position": position, "part": part} if unfinished else {"processed_at": Now()}
        Delivery.objects.filter(pk__in=pks).update(**changes)
    return {pk: counts.total() for pk, counts in by_delivery.items()}


_outcome = attrgetter("outcome")


def _statistics(items: Sequence[Item]) -> Counter[str]:
    """Outcome → items. One that is held and does not wait counts as dead, also if it is discarded at once."""
    numbers = Counter(map(_outcome, items))
    if numbers.pop("held", 0):
        held = [item.held.status for item in items if item.outcome == "held" and item.held]
        waiting = held.count(HeldRecord.Status.WAITING)
        numbers.update(waiting=waiting, dead=len(held) - waiting)
    return numbers


# After the transaction.


def _reconcile(stream: Stream, items: Iterable[Item]) -> None:
    """P6, P11: in a transaction of its own. Of two that need each other's rows only the one that is later, after both
    commits, sees them.
    """
    key = rows.key_getter(stream)
    stored = {key(item.row) for item in items if item.outcome in ("inserted", "updated", "stale")}
    held = [item.held.pk for item in items if item.outcome == "held" and item.held]
    try:
        revival.reconcile(stream, stored, held)
    except Error:
        logger.warning("Reconciling failed; the next sweep does it.", exc_info=True)


def latency_columns(deliveries: Iterable[Delivery], records: Mapping[int, int], since: datetime) -> dict[str, float]:
    """Columns of MinuteStat to add for items that clients sent, so many of each delivery; `since` is our clock just
    after the claim.

    Reprocessed records are not counted: each accepted record is, once, when it is first stored or held. No clock is
    compared with another's: the time from arrival to claim is by the database's clock, the rest by ours.
    """
    elapsed = timezone.now() - since
    numbers: dict[str, float] = {"seconds": 0.0}
    for delivery in deliveries:
        if delivery.source == Delivery.Source.CLIENT and delivery.started_at:
            seconds = max(0.0, (delivery.started_at - delivery.received_at + elapsed).total_seconds())
            column = COLUMNS[bisect_left(BOUNDS, seconds)]
            count = records.get(delivery.pk, 0)
            numbers[column] = numbers.get(column, 0) + count
            numbers["seconds"] += seconds * count
    return numbers

"""Retention: what was completed longer ago than RETENTION is deleted, in small steps, by whichever process comes next.

A delivery is deleted together with its held records, once all of them are closed. Totals (MinuteStat), bulk actions and
the history are kept forever; so are stored records and dead letters, unless a RetentionRule of their stream says when
they go: stored records are then deleted, dead letters discarded, to be deleted as any other closed record.
A run (Pruning) walks through each table in order of its primary key and stops where the rows are too young. Its cost is
that of the rows to delete, and of the old rows that have to stay.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db.models import DateTimeField, F, Model, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Now
from django.utils import timezone
from django_q.models import Task

from enrichment import steps
from enrichment.held import bulk_actions
from enrichment.models import BulkAction, DataAccess, Failure, HeldRecord, Pruning, RetentionRule
from enrichment.rows import deletion
from ingestion import streams
from ingestion.models import Delivery, Throttle, Upload
from ingestion.streams import Stream
from ingestion.text import duration

STEP = 1000
"""The most rows, with their dependants, that one transaction reads and deletes. (A single row may have more.)"""
BYTES_PER_ROW = 10_000
"""Of a body: each so many bytes weigh as much as a row, since the database has to remove them piece by piece."""
MAX_REST = 0.1
"""The longest pause, in seconds, after a step that deleted something, so that others get at the database."""
MIN_LOCKOUT = timedelta(days=1)
"""Failed logins, which lock an account, are kept for at least this long."""
DISCARDED, HELD, FAILURES = "dead letters (discarded, deleted later)", "failed records", "failures"
Status = HeldRecord.Status
BulkActionDelivery = BulkAction.deliveries.through
Keys = Sequence[Any]
ONE = Value(1)


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows that are walked through in order of their primary key, and which of them are deleted."""

    rows: Callable[[datetime], QuerySet[Any]]
    created_field: str = ""
    """The walk ends at the first row created after the cutoff: the others are younger. Empty: it goes to the end."""
    weight: Any = ONE
    """What a row counts as, in rows."""
    deletable: Callable[[Keys, datetime], Keys] = lambda keys, before: keys
    """Which of these are deleted; `before` is the cutoff."""
    deletable_after: Callable[[Keys, datetime], Keys] | None = None
    """Which of these will be deleted once the tables before this one in TABLES have been walked through."""
    delete: Callable[[Keys], Mapping[str, int]] | None = None
    """Deletes these with what belongs to them; kind of row → how many. None: the rows alone."""
    by_rule: bool = False
    """The deliveries' rules of streams count, beside the cutoff."""


def deletable_deliveries(keys: Keys, before: datetime) -> Keys:
    """Processed, their held records closed, in no unfinished bulk action, of no file that may still be resumed.

    A delivery and all its held records are deleted in one transaction: as long as it exists, its sum is right (P3).
    """
    processed = Delivery.objects.filter(_is_older("processed_at", before), pk__in=keys).order_by("pk")
    uploads = dict(processed.values_list("pk", "upload"))
    closed = Q(status__in=(Status.RESOLVED, Status.DISCARDED)) & _is_older("changed_at", before)
    held = HeldRecord.objects.filter(~closed, delivery__in=uploads)
    in_bulk_actions = BulkActionDelivery.objects.filter(delivery__in=uploads, bulkaction__finished_at=None)
    staying = {*held.values_list("delivery", flat=True), *in_bulk_actions.values_list("delivery", flat=True)}
    unfinished = _matching(Upload.objects.filter(finished_at=None), list(set(uploads.values()) - {None}))
    return [pk for pk, upload in uploads.items() if pk not in staying and upload not in unfinished]


def deletable_uploads(keys: Keys, before: datetime, *, after_deliveries: bool = False) -> Keys:
    """Finished, with all their deliveries deleted. The parts of a set are deleted with it."""
    finished = _matching(Upload.objects.filter(_is_older("finished_at", before), part_of=None), keys)
    left = Delivery.objects.filter(Q(upload__in=finished) | Q(upload__part_of__in=finished))
    if after_deliveries:
        left = left.exclude(pk__in=deletable_deliveries(list(left.values_list("pk", flat=True)), before))
    whole = Coalesce("upload__part_of", "upload")
    staying = set(left.order_by().values_list(whole, flat=True).distinct())
    return [pk for pk in finished if pk not in staying]


def cutoffs(days: str) -> dict[str, datetime]:
    """Stream → the time before which its rows go, by this column of its rule; only of streams that have one."""
    rules = RetentionRule.objects.filter(stream__in=streams.names()).exclude(**{days: None})
    now = timezone.now()
    return {stream: now - timedelta(days=number) for stream, number in rules.values_list("stream", days)}


def _is_older(field: str, before: datetime) -> Q:
    """By the rule for deliveries of the row's stream, else than the cutoff."""
    by_stream = cutoffs("delivery_days")
    found = Q(**{f"{field}__lt": before}) & ~Q(stream__in=by_stream)
    for stream, at in by_stream.items():
        found |= Q(**{f"{field}__lt": at}, stream=stream)
    return found


def stored_table(stream: Stream) -> Table:
    """Its stored records, for which a rule says when they go."""
    stored: QuerySet[Any] = stream.model._default_manager.all()

    def deletable(keys: Keys, before: datetime, *, after_others: bool = False) -> Keys:
        outdated = deletion.outdated(stream, cutoffs("stored_days"), after_others=after_others)
        return _matching(stored.filter(outdated), keys)

    return Table(
        rows=lambda before: stored,
        deletable=deletable,
        deletable_after=partial(deletable, after_others=True),
        delete=lambda keys: {stored_name(stream): len(deletion.delete_rows(stream, keys))},
    )


def stored_name(stream: Stream) -> str:
    return f"stored {stream.name}"


def _matching(rows: QuerySet[Any], keys: Keys) -> list[Any]:
    return list(rows.filter(pk__in=keys).order_by("pk").values_list("pk", flat=True)) if keys else []


TABLES: dict[str, Table] = {
    "deliveries": Table(
        rows=lambda before: Delivery.objects.all(),
        created_field="received_at",
        weight=1 + F("held") * 2 + F("size") / BYTES_PER_ROW,  # a held record has a failure, or some
        deletable=deletable_deliveries,
        by_rule=True,
    ),
    "uploads": Table(
        rows=lambda before: Upload.objects.all(),
        created_field="created_at",
        deletable=deletable_uploads,
        deletable_after=partial(deletable_uploads, after_deliveries=True),
        by_rule=True,
    ),
    "data access": Table(rows=lambda before: DataAccess.objects.all(), created_field="at"),
    "throttled keys": Table(rows=lambda before: Throttle.objects.filter(due__lt=before.timestamp())),
    "finished tasks": Table(rows=lambda before: Task.objects.filter(stopped__lt=before)),
    "log-in sessions": Table(rows=lambda before: Session.objects.filter(expire_date__lt=Now())),
    "log-ins": Table(rows=lambda before: AccessLog.objects.all(), created_field="attempt_time"),
    "failed log-ins": Table(rows=lambda before: AccessFailureLog.objects.all(), created_field="attempt_time"),
    "locked log-ins": Table(
        rows=lambda before: AccessAttempt.objects.filter(attempt_time__lt=min(before, timezone.now() - MIN_LOCKOUT))
    ),
}
"""In this order: deliveries before their uploads."""


def register(name: str, table: Table) -> None:
    """Adds a domain's table, behind all others; called when its app is ready."""
    TABLES[name] = table


def all_tables() -> dict[str, Table]:
    """In the order in which they are walked through: stored records, of streams with a rule for them, before those that
    they refer to.
    """
    have_rules = cutoffs("stored_days")
    stored = {stored_name(each): stored_table(each) for each in _referring_first() if each.name in have_rules}
    return {**TABLES, **stored}


def _referring_first() -> list[Stream]:
    return streams.all_streams()[::-1]


# A run, step by step.


def create_run(*, by: str) -> Pruning:
    """Records that a run is to be done; from then on the workers do it, a step in each round of a drain."""
    return Pruning.objects.create(by=by, before=cutoff())


def cutoff() -> datetime:
    """What was completed before this time is deleted. Not to be called with RETENTION=0."""
    return timezone.now() - timedelta(seconds=settings.RETENTION)


def discard_old_dead_letters(*, by: str) -> list[BulkAction]:
    """Begins the bulk actions that the rules of streams ask for; the workers do them."""
    return [
        bulk_actions.create(BulkAction.Kind.DISCARD, criteria, by=by, reason="Kept as long as the retention says.")
        for criteria in _criteria_of_old_dead_letters()
        if bulk_actions.matching_records(BulkAction.Kind.DISCARD, criteria).exists()
    ]


def _criteria_of_old_dead_letters() -> list[dict[str, Any]]:
    return [
        {"status": str(Status.DEAD), "stream": stream, "held_before": before.isoformat(timespec="seconds")}
        for stream, before in cutoffs("dead_letter_days").items()
    ]


def run_to_completion(run: Pruning) -> Pruning:
    """Does the steps that are left, or waits for the process that does them."""
    return steps.run_to_completion(run, run_next_step)


def run_next_step(*, rest: bool = True) -> bool:
    """One step, all or nothing, of the oldest unfinished run that no other process is working on; False if there is
    none. With `rest` it pauses after a deletion, so that others get at the database.

    Nothing that is deleted is still in the pipeline: no worker waits for a lock on it.
    """
    if not settings.RETENTION:
        return False
    start = time.monotonic()
    deleted = steps.run_next_step(unfinished().order_by("pk"), _step)
    if deleted and rest:
        time.sleep(min(MAX_REST, time.monotonic() - start))
    return deleted is not None


def unfinished() -> QuerySet[Pruning]:
    return Pruning.objects.filter(finished_at=None)


def _step(run: Pruning) -> int:
    """Deletes in the next window of the present table; returns how many rows."""
    before = min(run.before, cutoff())  # RETENTION may have been extended since
    tables = all_tables()
    if run.reached.get("table") not in tables:  # at first, and where a stream's rule has been taken back
        run.reached = {"table": next(iter(tables))}
    name = run.reached["table"]
    table = tables[name]
    window = _window(table, before, run.reached.get("after"))
    keys = table.deletable(window.keys, before)
    for what, number in _delete(name, table, before, keys).items():
        run.deleted[what] = run.deleted.get(what, 0) + number
    if window.is_last:
        later = [*tables][[*tables].index(name) + 1 :]
        run.reached = {"table": later[0]} if later else {}
        run.finished_at = None if later else timezone.now()
    else:
        run.reached = {"table": name, "after": window.last}
    run.changed_at = timezone.now()
    run.save(update_fields=["reached", "deleted", "changed_at", "finished_at"])
    return len(keys)


@dataclass(frozen=True)
class Window:
    keys: Keys
    """The keys of the rows that are old enough."""
    last: Any
    is_last: bool


def _window(table: Table, before: datetime, after: Any) -> Window:
    """The rows after that one, up to a weight of STEP, and at least one."""
    rows = table.rows(before).order_by("pk")
    rows = rows if after is None else rows.filter(pk__gt=after)
    created = F(table.created_field) if table.created_field else Value(None, output_field=DateTimeField())
    found = list(rows.annotate(created_=created, weight_=table.weight).values_list("pk", "created_", "weight_")[:STEP])
    taken, weight = 0, 0
    for _, _, each in found:
        weight += each
        if taken and weight > STEP:
            break
        taken += 1
    latest = max([before, *cutoffs("delivery_days").values()]) if table.by_rule else before
    young = any(at and at >= latest for _, at, _ in found[:taken])
    keys = [pk for pk, at, _ in found[:taken] if at is None or at < latest]
    return Window(keys, found[taken - 1][0] if taken else after, is_last=young or taken == len(found) < STEP)


def _delete(name: str, table: Table, before: datetime, keys: Keys) -> dict[str, int]:
    """Deletes the rows without reading them (a body may have 32 MB); kind of row → how many."""
    if not keys:
        return {}
    deleted: Counter[str] = Counter()
    if table.delete:
        return dict(table.delete(keys))
    rows = table.rows(before)
    if rows.model is Delivery:
        deleted.update(HeldRecord.objects.filter(delivery__in=keys).only("pk").delete()[1])
    deleted.update(rows.model._default_manager.filter(pk__in=keys).only("pk").delete()[1])
    labels: dict[str, type[Model]] = {name: rows.model, HELD: HeldRecord, FAILURES: Failure}
    return {what: deleted[model._meta.label] for what, model in labels.items()}


# For people to read.


def summary(numbers: Mapping[str, int]) -> list[tuple[str, int]]:
    """The numbers above 0, in the order of deletion."""
    names = (DISCARDED, HELD, FAILURES, *TABLES, *map(stored_name, _referring_first()))
    return [(name, numbers[name]) for name in names if numbers.get(name)]


@dataclass(frozen=True)
class Preview:
    before: datetime
    numbers: dict[str, int]
    is_all: bool
    """False if not everything was looked at: there may be more."""


def preview(seconds: float = math.inf) -> Preview:
    """What a run would delete now, by kind of row. After `seconds` only the beginning of each table is looked at."""
    before, end = cutoff(), time.monotonic() + seconds
    numbers = Counter({DISCARDED: _count_old_dead_letters()})
    is_all = True
    for name, table in all_tables().items():
        window = _window(table, before, None)
        numbers.update(_count_deletable(name, table, window, before))
        while not window.is_last and time.monotonic() < end:
            window = _window(table, before, window.last)
            numbers.update(_count_deletable(name, table, window, before))
        is_all = is_all and window.is_last
    return Preview(before, dict(numbers), is_all)


def _count_old_dead_letters() -> int:
    found = _criteria_of_old_dead_letters()
    return sum(bulk_actions.matching_records(BulkAction.Kind.DISCARD, criteria).count() for criteria in found)


def _count_deletable(name: str, table: Table, window: Window, before: datetime) -> dict[str, int]:
    keys = (table.deletable_after or table.deletable)(window.keys, before)
    held = HeldRecord.objects.filter(delivery__in=keys).count() if name == "deliveries" else 0
    return {name: len(keys), HELD: held}


def retention_hint() -> str:
    """The end of a message about a delivery or upload that is not found."""
    if not settings.RETENTION:
        return ""
    return f", or it has been deleted: retention is {duration(settings.RETENTION)}"

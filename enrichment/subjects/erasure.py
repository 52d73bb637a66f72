"""A person erased, in small steps, by whichever process comes next.

It begins with the suppression: from its commit on nothing new about the person is stored. A batch that a worker had
begun before stores its records all the same: so all transactions that are older are waited for, and what is stored is
deleted once more behind that. Records in bodies are blanked, and every delivery goes on adding up.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from enrichment import steps
from enrichment.models import Erasure, ErasureQuerySet, Failure, HeldRecord
from enrichment.pipeline.patience import lock_timeout
from enrichment.rows.deletion import delete_rows
from enrichment.subjects.person import (
    Person,
    columns_about,
    deliveries_with,
    delivery_windows,
    held_about,
    history_table,
    history_tables,
    is_held_about,
    names_in,
    positions_in,
    previews_about,
)
from enrichment.subjects.search import Place, numbers, search, tables
from ingestion import doorbell, streams
from ingestion.messages import MAX_MESSAGE
from ingestion.models import Delivery
from ingestion.payloads import ERASED, ascii_json
from ingestion.streams import Stream
from ingestion.subjects import bodies, suppression
from ingestion.text import strip_unstorable

STEP_SECONDS = 1.0
"""After these a step ends: it holds locks."""
PATIENCE = 25
"""Seconds to wait for a batch that a worker has in hand: below the limit of a statement."""
ROWS = 200
"""Stored rows deleted together."""
MAX_PLACES = 1000
"""Places where the person still stands that are listed one by one."""
MAX_NAMES = 50

RECORDS, FAILED, PREVIEWS, NOTES = "records in deliveries", "failed records", "previews", "notes in the history"

AnyStage = Callable[[Erasure, Person], bool]
"""Does some of it, in the transaction of the step; returns whether the stage is done."""


def create(person: Person, *, by: str, user: User | None = None, reason: str = "") -> Erasure:
    """Suppresses the person, and records that the rest is to be done: the unfinished erasure of the person, if there is
    one. From then on the workers do it; run_next_step() does a step at once.
    """
    with transaction.atomic():
        digest = suppression.suppress(person.kind, person.key)
        if under_way := Erasure.objects.unfinished().filter(digest=digest).first():
            return under_way
        erasure = Erasure.objects.create(
            kind=person.kind,
            digest=digest,
            key=person.key,
            names=person.names(),
            user=user,
            by=by,
            reason=reason,
            stage=next(iter(STAGES)),
        )
    doorbell.ring()
    return erasure


class StillErasing(Exception):
    """What came in now would be erased as well."""

    def __init__(self) -> None:
        super().__init__("The erasure is still in progress. Wait until it has ended.")


def lift(erasure: Erasure, *, by: str) -> bool:
    """Records about the person are stored again; False if they were already. Raises StillErasing."""
    with transaction.atomic():
        if Erasure.objects.unfinished().filter(digest=erasure.digest).exists():
            raise StillErasing
        lifted = suppression.lift(erasure.digest)
        same = Erasure.objects.filter(digest=erasure.digest, lifted_at=None)
        same.update(lifted_at=timezone.now(), lifted_by=by)
    return lifted


def run_to_completion(erasure: Erasure, after_step: Callable[[Erasure], object] = lambda erasure: None) -> Erasure:
    """Does the steps that are left, or waits for the process that does them."""
    only_this = Erasure.objects.filter(pk=erasure.pk)
    return steps.run_to_completion(erasure, lambda: run_next_step(only_this), after_step)


def run_next_step(erasures: ErasureQuerySet) -> bool:
    """One step, all or nothing, of the oldest unfinished one that no other process is working on; False if there is
    none. An error is recorded and raised: the step is tried again, after erasures without an error.
    """
    unfinished = erasures.unfinished().order_by("last_error", "pk")
    return bool(steps.run_next_step(unfinished, _step, _record_error))


def _record_error(erasure: Erasure, error: Exception) -> None:
    """By its kind: its text might name the person."""
    last_error = strip_unstorable(type(error).__name__, MAX_MESSAGE)
    Erasure.objects.unfinished().filter(pk=erasure.pk).update(last_error=last_error)


def _step(erasure: Erasure) -> bool:
    """Of one stage, since each locks rows in an order of its own."""
    person, stage = Person(erasure.kind, erasure.key), STAGES[erasure.stage]
    end = time.monotonic() + STEP_SECONDS
    with lock_timeout(PATIENCE):
        while not (is_done := stage(erasure, person)) and time.monotonic() < end:
            pass
    if is_done:
        _go_on(erasure)
    erasure.changed_at, erasure.last_error = timezone.now(), ""
    erasure.save()
    return True


def _go_on(erasure: Erasure) -> None:
    """To the next stage; behind the last one nothing is left of whom it was, also in the reason given for it."""
    names = list(STAGES)
    later = names[names.index(erasure.stage) + 1 :]
    erasure.reached = {}
    if later:
        erasure.stage = later[0]
    else:
        erasure.reason = Person(erasure.kind, erasure.key).wanted(erasure.names).without(erasure.reason)
        erasure.key, erasure.names, erasure.finished_at = "", [], timezone.now()


def _count(erasure: Erasure, numbers: Iterable[tuple[str, int]]) -> None:
    for name, number in numbers:
        if number:
            erasure.erased[name] = erasure.erased.get(name, 0) + number


# What is stored.


def _delete_rows(erasure: Erasure, person: Person) -> bool:
    """Of a domain that deletes by itself, all at once; else some rows, with those that refer to them."""
    if person.subject.delete:
        _count(erasure, person.subject.delete(person.key).items())
        return True
    referring = [streams.get(name) for name in person.fields if name != person.stream.name]
    for stream in [*referring, person.stream]:
        about = Q()
        for name in person.fields[stream.name]:
            about |= Q(**{name: person.key})
        if keys := _lock(stream, about):
            _count(erasure, _delete(stream, keys).items())
            return False
    return True


def _lock(stream: Stream, about: Q, limit: int | None = ROWS) -> list[str]:
    rows = stream.model._default_manager.filter(about).order_by("pk").select_for_update()
    return list(rows.values_list("pk", flat=True)[:limit])


def _delete(stream: Stream, keys: Sequence[str]) -> Counter[str]:
    """Rows that are locked, behind those that refer to them; stream → how many."""
    deleted: Counter[str] = Counter()
    for other in streams.all_streams():
        for reference in other.references:
            if reference.stream == stream.name:
                about = Q(**{f"{reference.field}__in": keys})
                while others := _lock(other, about):
                    deleted += _delete(other, others)
    deleted[stream.name] += len(delete_rows(stream, keys))
    return deleted


# What was sent.


def _blank_deliveries(erasure: Erasure, person: Person) -> bool:
    """In the next window. Only what is changed is locked: a worker gives up a delivery that it finds locked."""
    window = next(delivery_windows(person, erasure.reached.get("after", 0)), None)
    if window is None:
        return True
    for pk in deliveries_with(person.key, window):
        if records := positions_in(person, Delivery.objects.get(pk=pk)):
            _blank(erasure, person, pk, records)
    erasure.reached = {"after": window[-1]}
    return False


def _blank(erasure: Erasure, person: Person, pk: int, records: Mapping[int, Any]) -> None:
    """The claim on it ends, since the worker that has it has read the body."""
    delivery = Delivery.objects.select_for_update().get(pk=pk)
    bodies.blank_delivery(delivery, records)
    Delivery.objects.pending().filter(pk=pk).update(started_at=None)
    _count(erasure, [(RECORDS, len(records))])
    if delivery.stream == person.stream.name:
        _learn(erasure, person, records.values())


def _learn(erasure: Erasure, person: Person, records: Iterable[Any]) -> None:
    """Names that the person had in other versions of their record."""
    names = [name for record in records for name in names_in(person.subject, record)]
    erasure.names = list(dict.fromkeys([*erasure.names, *names]))[:MAX_NAMES]


def _blank_held(erasure: Erasure, person: Person) -> bool:
    """Some failed records, with their attempts: open ones are discarded, closed ones stay what they are."""
    found = []
    for held in held_about(person, erasure.reached.get("after", 0)):
        found.append(held)
        if len(found) == ROWS:
            break
    locked = HeldRecord.objects.filter(pk__in=[held.pk for held in found]).order_by("pk").select_for_update()
    for held in locked:
        about = [json.loads(text) for text in (held.payload, held.original_payload) if text]
        _learn(erasure, person, about if held.stream == person.stream.name else ())
        if is_held_about(person, held):
            _forget(held)
        else:  # a person has corrected whom it is about
            HeldRecord.objects.filter(pk=held.pk).update(original_payload=ascii_json(ERASED))
    _count(erasure, [(FAILED, len(found))])
    erasure.reached = {"after": found[-1].pk} if found else {}
    return len(found) < ROWS


def _forget(held: HeldRecord) -> None:
    closed = {} if held.status in HeldRecord.OPEN else {"status": held.status}
    HeldRecord.objects.filter(pk=held.pk).update(
        **{**HeldRecord.WHEN_ERASED, "status": HeldRecord.Status.DISCARDED, **closed},
        payload_version=F("payload_version") + 1,
        messages={"record": ["has been erased"]},
        message="has been erased",
        queued_in=None,
        changed_at=timezone.now(),
    )
    Failure.objects.filter(held=held.pk).update(messages={"record": ["has been erased"]}, traceback="")


def _delete_previews(erasure: Erasure, person: Person) -> bool:
    """All of the streams concerned: whoever chose such a file chooses it again."""
    whole = previews_about(person).filter(part_of=None)
    pks = list(whole.order_by("pk").select_for_update().values_list("pk", flat=True))
    _count(erasure, [(PREVIEWS, len(pks))])
    whole.filter(pk__in=pks).delete()
    return True


def _wait_for_older(erasure: Erasure, person: Person) -> bool:
    """For the transactions that may have begun before the suppression, which this one comes after. SQLite has one
    writer.
    """
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        if "since" not in erasure.reached:
            cursor.execute("SELECT clock_timestamp()")
            erasure.reached = {"since": cursor.fetchone()[0].isoformat()}
        cursor.execute(OLDER, [erasure.reached["since"]])
        has_older: bool = cursor.fetchone()[0]
    if has_older:
        time.sleep(POLL)
    return not has_older


POLL = 0.1
OLDER = """
    SELECT EXISTS (
        SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL
        AND pid <> pg_backend_pid() AND xact_start < %s::timestamptz
    )"""
"""Whether a transaction that writes, or locks rows, is older."""


# What was written about it.


def _clean_history(erasure: Erasure, person: Person) -> bool:
    """In the next rows of one of the tables."""
    name = erasure.reached.get("table") or next(iter(history_tables()))
    places, last = search(history_table(name), person.wanted(erasure.names), erasure.reached.get("after"))
    model = history_tables()[name]
    for pk in sorted({int(place.row) for place in places}):
        row = model._default_manager.select_for_update().get(pk=pk)
        columns = columns_about(person, row)
        for column in columns:
            field = model._meta.get_field(column)
            cleaned = person.wanted(erasure.names).cleaned(getattr(row, column))
            setattr(row, column, cleaned[: field.max_length] if getattr(field, "max_length", None) else cleaned)
        row.save(update_fields=columns)
        _count(erasure, [(NOTES, 1)])
    erasure.reached, is_done = _next_place(list(history_tables()), name, last)
    return is_done


# The proof.


def _search_before(erasure: Erasure, person: Person) -> bool:
    """Everything, as it is found."""
    return _search(erasure, person, lambda places: _add_numbers(erasure, places))


def _search_after(erasure: Erasure, person: Person) -> bool:
    """Everything once more: what is left stands in what others have written, which is theirs."""
    return _search(erasure, person, lambda places: _add_places(erasure, places))


def _search(erasure: Erasure, person: Person, add: Callable[[list[Place]], None]) -> bool:
    known = {table.name: table for table in tables()}
    name = erasure.reached.get("table") or next(iter(known))
    ours = {(Erasure._meta.db_table, str(erasure.pk))}
    places, last = search(known[name], person.wanted(erasure.names), erasure.reached.get("after"), besides=ours)
    add(places)
    erasure.reached, is_done = _next_place(list(known), name, last)
    return is_done


def _next_place(names: Sequence[str], name: str, last: Any) -> tuple[dict[str, Any], bool]:
    if last is not None:
        return {"table": name, "after": last}, False
    later = names[names.index(name) + 1 :]
    return ({"table": later[0]}, False) if later else ({}, True)


def _add_numbers(erasure: Erasure, places: Iterable[Place]) -> None:
    for name, number in numbers(places).items():
        erasure.before[name] = erasure.before.get(name, 0) + number


def _add_places(erasure: Erasure, places: Iterable[Place]) -> None:
    erasure.left = [*erasure.left, *map(asdict, places)][:MAX_PLACES]


STAGES: dict[str, AnyStage] = {
    "search": _search_before,
    "stored rows": _delete_rows,
    "deliveries": _blank_deliveries,
    "open batches": _wait_for_older,
    "late rows": _delete_rows,
    "failed records": _blank_held,
    "previews": _delete_previews,
    "history": _clean_history,
    "second search": _search_after,
}
"""In this order; each may be done again from its beginning."""

"""Everything that is held about one person, wherever it stands: read a few rows at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.contrib.admin.models import LogEntry
from django.db.models import F, Q, QuerySet, Value

from enrichment import previews
from enrichment.models import BulkAction, DataAccess, Erasure, HeldRecord
from enrichment.subjects.search import Table, Wanted, everywhere
from ingestion import streams
from ingestion.models import Delivery, Upload, UploadPreview
from ingestion.pending import BytesPosition
from ingestion.streams import Stream, Subject
from ingestion.subjects import bodies
from ingestion.subjects.mentions import is_about, streams_about, subject_key, subjects, unchanging_part

Row = Mapping[str, Any]

WINDOW = 500
WINDOW_BYTES = 16_000_000
"""Deliveries looked at together, and bytes of their bodies."""
CHUNK = 200
"""Rows read together."""
MIN_NAME = 3
"""Characters of a name that is worth looking for in other texts."""


class UnknownKind(ValueError):
    """No stream has such subjects; the message names those there are."""


@dataclass(frozen=True)
class Person:
    kind: str
    key: str

    @classmethod
    def of(cls, kind: str, key: str) -> Person:
        """Raises UnknownKind, and ValueError for an empty key."""
        if kind not in subjects():
            raise UnknownKind(f"Nobody is a {kind}: it is one of {', '.join(subjects())}.")
        if not (key := subject_key(key)):
            raise ValueError("The key is empty.")
        return cls(kind, key)

    @property
    def stream(self) -> Stream:
        return subjects()[self.kind][0]

    @property
    def subject(self) -> Subject:
        return subjects()[self.kind][1]

    @cached_property
    def fields(self) -> dict[str, list[str]]:
        """Stream → fields of its records in which the key may be."""
        return streams_about(self.kind)

    def is_in(self, stream: str, item: Any) -> bool:
        """Whether a payload of the stream is about the person."""
        return is_about(streams.get(stream), item, self.kind, self.key)

    def wanted(self, names: Sequence[str] = ()) -> Wanted:
        return Wanted(self.key, tuple(names))

    # What is stored.

    def rows_of_streams(self) -> dict[str, QuerySet[Any]]:
        """Stream → its rows about the person, or that refer to a row about the person, in order of reference."""
        found: dict[str, QuerySet[Any]] = {}
        for stream in streams.all_streams():
            about = Q()
            for name in self.fields.get(stream.name, ()):
                about |= Q(**{name: self.key})
            for reference in stream.references:
                if reference.stream in found and reference.stream != self.stream.name:
                    about |= Q(**{f"{reference.field}__in": found[reference.stream].values("pk")})
            if about:
                found[stream.name] = stream.model._default_manager.filter(about)
        return found

    def other_rows(self) -> dict[str, QuerySet[Any]]:
        """What the domain holds besides."""
        return dict(self.subject.rows(self.key))

    def names(self) -> list[str]:
        """As the stored row has them."""
        row = self.stream.model._default_manager.filter(**{self.subject.field: self.key})
        return names_in(self.subject, row.values(*self.subject.names).first() if self.subject.names else None)


def names_in(subject: Subject, record: Any) -> list[str]:
    """The person's names in a record of their stream, valid or not."""
    values = [record.get(name) for name in subject.names] if isinstance(record, Mapping) else []
    return [value for value in values if isinstance(value, str) and len(value) >= MIN_NAME]


# Bodies of deliveries.


def delivery_windows(person: Person, after: int = 0) -> Iterator[list[int]]:
    """Ids of deliveries that may have records about such persons, in order, a few together."""
    deliveries = Delivery.objects.filter(stream__in=person.fields).exclude(format=Delivery.Format.HELD).order_by("pk")
    while ahead := list(deliveries.filter(pk__gt=after).values_list("pk", "size")[:WINDOW]):
        taken: list[int] = []
        space = WINDOW_BYTES
        for pk, size in ahead:
            if taken and size > space:
                break
            taken.append(pk)
            space -= size
        after = taken[-1]
        yield taken


def deliveries_with(key: str, pks: Sequence[int]) -> list[int]:
    """Of these deliveries those whose bodies may have the key in them, however it is spelled: the part that no spelling
    changes, or an escape, behind which it may be.
    """
    if not (part := unchanging_part(key)):
        return sorted(pks)
    needles = [part.encode(), b"\\"]
    some = Delivery.objects.filter(pk__in=pks)
    has_it = Q()
    plain = some.filter(is_deflated=False)
    for number, needle in enumerate(needles):
        plain = plain.alias(**{f"at_{number}": BytesPosition(F("body"), Value(needle))})
        has_it |= Q(**{f"at_{number}__gt": 0})
    found = list(plain.filter(has_it).values_list("pk", flat=True))
    for delivery in some.filter(is_deflated=True).only("body", "is_deflated", "size").iterator(chunk_size=1):
        content = delivery.content
        found += [delivery.pk] if any(needle in content for needle in needles) else []
    return sorted(found)


def positions_in(person: Person, delivery: Delivery) -> dict[int, Any]:
    """Position in the body → the record, of those about the person."""
    items = enumerate(bodies.items(delivery.content, ndjson=delivery.is_ndjson))
    return {position: item for position, item in items if person.is_in(delivery.stream, item)}


def records_sent(person: Person) -> Iterator[Row]:
    """The records about the person in bodies of deliveries, with what their sender was told about them."""
    for window in delivery_windows(person):
        for pk in deliveries_with(person.key, window):
            delivery = Delivery.objects.get(pk=pk)
            refused = delivery.refused_positions
            for position, record in positions_in(person, delivery).items():
                yield {
                    "delivery": pk,
                    "position": position,
                    "stream": delivery.stream,
                    "client": delivery.client,
                    "received_at": delivery.received_at,
                    "upload": delivery.upload_id,
                    "row": delivery.row_of(position) if delivery.upload_id else None,
                    "was_refused": position in refused,
                    "record": record,
                    "idempotent_answer": bodies.answer_about(delivery.answer, position),
                }


# Failed records.


def held_about(person: Person, after: int = 0) -> Iterator[HeldRecord]:
    """The failed records about the person, or whose original was, in order of id."""
    part = json.dumps(unchanging_part(person.key))[1:-1]
    matching = Q(payload__contains=part) | Q(original_payload__contains=part)
    matching |= Q(payload__contains="\\\\") | Q(original_payload__contains="\\\\")  # it may be escaped in a text
    matching |= Q(missing_stream=person.stream.name, missing_key=person.key)
    found = HeldRecord.objects.filter(matching, stream__in=person.fields).order_by("pk")
    while rows := list(found.filter(pk__gt=after)[:CHUNK]):
        after = rows[-1].pk
        yield from (held for held in rows if is_held_about(person, held) or was_held_about(person, held))


def is_held_about(person: Person, held: HeldRecord) -> bool:
    waits_for_it = (held.missing_stream, held.missing_key) == (person.stream.name, person.key)
    return waits_for_it or person.is_in(held.stream, json.loads(held.payload))


def was_held_about(person: Person, held: HeldRecord) -> bool:
    return held.original_payload is not None and person.is_in(held.stream, json.loads(held.original_payload))


def failed_records(person: Person) -> Iterator[Row]:
    for held in held_about(person):
        columns = {name: getattr(held, name) for name in ("stream", "key", "client", "status", "stage", "code")}
        yield {
            "failed_record": held.pk,
            "delivery": held.delivery_id,
            "position": held.position,
            **columns,
            "messages": held.messages,
            "record": json.loads(held.payload),
            "record_as_sent": json.loads(held.original_payload) if held.original_payload else None,
            "attempts": list(held.failures.values("delivery", "at", "stage", "code", "messages")),
        }


# Files.


def uploads_about(person: Person) -> QuerySet[Upload]:
    """Those of which all records are about the person."""
    return Upload.objects.filter(**{f"given__{person.subject.field}": person.key}, stream__in=person.fields)


def previews_about(person: Person) -> QuerySet[UploadPreview]:
    """Those in which the person may be: of the streams concerned, all. They are hours old, at most."""
    return UploadPreview.objects.filter(stream__in=person.fields)


def rows_previewed(person: Person) -> Iterator[Row]:
    """The person's rows in files that are previewed."""
    of_files = previews_about(person).exclude(format=Upload.Format.SET).exclude(ready_at=None)
    for preview in of_files.order_by("pk"):
        with ExitStack() as opened:
            for chunk in previews.reopen(preview, opened).chunks():
                for row, line in zip(chunk.rows, chunk.lines, strict=True):
                    if person.is_in(preview.stream, record := json.loads(line)):
                        yield {"preview": preview.pk, "file": preview.name, "row": row, "record": record}


# History.

HISTORY: dict[type[Any], tuple[str, ...]] = {
    LogEntry: ("object_id", "object_repr", "change_message"),
    BulkAction: ("filter", "change", "reason", "last_error"),
    DataAccess: ("query",),
    Upload: ("given", "reading"),
    Delivery: ("last_error",),
}
"""Model → columns in which we, or members of staff, have written about records."""


def history_tables() -> dict[str, type[Any]]:
    return {model._meta.db_table: model for model in HISTORY}


def history_table(name: str) -> Table:
    model = history_tables()[name]
    return Table(name=name, key=model._meta.pk.column, texts=HISTORY[model])


def history(person: Person) -> Iterator[Row]:
    """What is written about the person in the history of the admin, bulk actions, uploads and errors."""
    wanted = person.wanted(person.names())
    for name, model in history_tables().items():
        for place in everywhere(wanted, [history_table(name)]):
            row = model._default_manager.get(pk=place.row)
            if place.column in columns_about(person, row):
                yield {"table": name, "row": place.row, "column": place.column, "text": getattr(row, place.column)}


def columns_about(person: Person, row: Any) -> tuple[str, ...]:
    """Those of a row of the history in which the person's key may be meant: an entry about another kind of row has the
    id of that.
    """
    columns = HISTORY[type(row)]
    if not isinstance(row, LogEntry):
        return columns
    of_rows = [*person.rows_of_streams().values(), *person.other_rows().values()]
    about = {rows.model for rows in of_rows} | {Erasure}
    is_about = row.content_type is not None and row.content_type.model_class() in about
    return columns if is_about else tuple(column for column in columns if column != "object_id")


# All of it.


def sources(person: Person) -> dict[str, QuerySet[Any] | Callable[[Person], Iterator[Row]]]:
    """What it is → where it comes from, in the order in which it is listed."""
    return {
        **{f"stored {name}": rows for name, rows in person.rows_of_streams().items()},
        **{f"stored {name}": rows for name, rows in person.other_rows().items()},
        "records in deliveries": records_sent,
        "failed records": failed_records,
        "uploads": uploads_about(person),
        "rows in previews": rows_previewed,
        "history": history,
    }


def read(person: Person, source: QuerySet[Any] | Callable[[Person], Iterator[Row]]) -> Iterator[Row]:
    if isinstance(source, QuerySet):
        yield from source.order_by("pk").values().iterator(chunk_size=CHUNK)
    else:
        yield from source(person)


@dataclass
class Survey:
    """How much is held."""

    numbers: dict[str, int] = field(default_factory=dict)
    is_all: bool = True
    """False if time was over before everything had been looked at: there may be more."""

    @property
    def total(self) -> int:
        return sum(self.numbers.values())


def survey(person: Person, seconds: float | None = None) -> Survey:
    """Counts what is held; what is not counted along an index for about so many seconds."""
    found, end = Survey(), None if seconds is None else time.monotonic() + seconds
    for name, source in sources(person).items():
        if isinstance(source, QuerySet):
            found.numbers[name] = source.count()
            continue
        found.numbers[name] = 0
        for _ in source(person):
            found.numbers[name] += 1
            if end is not None and time.monotonic() >= end:
                found.is_all = False
                break
    return found

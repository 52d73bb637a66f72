"""What must be stored once everything is worked off: all that was accepted, as it was sent, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

from enrichment.models import HeldRecord
from fuzz.answers import is_batch, refused, unpacked
from fuzz.contract import CONTRACTS, InvalidError, UnreadableError, UnsureError, is_equal, items_of, row_of, verdict
from fuzz.inputs import Answer, Input
from ingestion.models import Delivery, Upload
from ingestion.streams import get
from tests.records import assert_nothing_vanished

Place: TypeAlias = "tuple[int, int]"
"""Delivery and position."""
Sent: TypeAlias = "tuple[Input, Sequence[Answer]]"
OF_DATABASE = ("conflict", "constraint", "unstorable", "enrich_error", "crashed_worker")
"""Codes of records that their schema has let pass and that then could not be stored."""
BY_TIME: Mapping[str, tuple[str, ...]] = {"entries": ("library", "kind"), "listens": ("user_id", "played_at")}
"""Fields by which a stored row is found, of streams whose keys are computed."""
_plain = re.compile(r"[A-Za-z]{2}[A-Za-z .]{0,40}[a-z]")
_no_text = {"null", "none", "nan", "true", "false", "yes", "no"}


@dataclass
class Kept:
    """What is stored, read at once."""

    before: set[int]
    """Deliveries that were there before the inputs."""
    deliveries: dict[int, Delivery] = field(default_factory=Delivery.objects.in_bulk)
    held: list[HeldRecord] = field(default_factory=lambda: list(HeldRecord.objects.prefetch_related("failures")))

    @cached_property
    def sent(self) -> dict[int, list[Any]]:
        """The records of each delivery, as they are kept."""
        found = {}
        for pk, delivery in self.deliveries.items():
            if delivery.format != Delivery.Format.HELD:
                found[pk] = items_of(delivery.content, ndjson=delivery.format == Delivery.Format.NDJSON)
        return found

    @cached_property
    def payloads(self) -> dict[str, dict[Place, Any]]:
        """stream → the accepted records, as sent or as fixed."""
        fixed = {
            (each.delivery_id, each.position): json.loads(each.payload) for each in self.held if each.payload_version
        }
        found: dict[str, dict[Place, Any]] = {name: {} for name in CONTRACTS}
        for pk, items in self.sent.items():
            out = set(json.loads(self.deliveries[pk].refused))
            of_stream = found[self.deliveries[pk].stream]
            of_stream |= {(pk, i): fixed.get((pk, i), item) for i, item in enumerate(items) if i not in out}
        return found

    @cached_property
    def rows(self) -> dict[str, list[Any]]:
        return {name: list(get(name).model._default_manager.all()) for name in CONTRACTS}

    @cached_property
    def keys(self) -> dict[str, set[str]]:
        return {name: {row.pk for row in rows} for name, rows in self.rows.items()}


def faults(sent: Sequence[Sent], before: set[int]) -> Iterator[str]:
    kept = Kept(before)
    try:
        assert_nothing_vanished()
    except AssertionError as error:
        yield f"Outcomes do not add up: {error}"
    for delivery in kept.deliveries.values():
        if delivery.processed_at is None:
            yield f"Delivery {delivery.pk} of {delivery.stream} is not processed: {delivery.last_error}"
    yield from faults_of_posts(kept, sent)
    yield from faults_of_files(kept, sent)
    yield from faults_of_held(kept)
    for name in CONTRACTS:
        yield from faults_of_rows(kept, name)
        yield from faults_of_winners(kept, name) if CONTRACTS[name].key else faults_of_missing(kept, name)


# What was answered is what is kept.


def faults_of_posts(kept: Kept, sent: Sequence[Sent]) -> Iterator[str]:
    answered = set()
    for given, (first, *_) in sent:
        if given.kind == "post" and first.status == 202:
            answered.add(pk := first.json["delivery"])
            yield from faults_of_delivery(kept, given, first, kept.deliveries.get(pk))
    own = {pk for pk, each in kept.deliveries.items() if not each.upload_id and each.client.startswith("key:")}
    if unanswered := own - answered - kept.before:
        yield f"Deliveries {unanswered} are kept, though no request was answered with them"


def faults_of_delivery(kept: Kept, given: Input, answer: Answer, delivery: Delivery | None) -> Iterator[str]:
    if delivery is None:
        yield f"Delivery {answer.json['delivery']} is not there"
        return
    if bytes(delivery.content) != unpacked(given):
        yield f"Delivery {delivery.pk} is kept with another body: {bytes(delivery.content)[:500]!r}"
        return
    items = kept.sent[delivery.pk]
    errors = refused(given, answer, len(items)) if is_batch(given) else set()
    out = set() if "invalid=dead-letter" in given.options else errors
    if set(json.loads(delivery.refused)) != out or delivery.count != len(items) - len(out):
        yield f"Delivery {delivery.pk} has {delivery.count} records without {delivery.refused}; answered was {out}"


def faults_of_files(kept: Kept, sent: Sequence[Sent]) -> Iterator[str]:
    uploads = Upload.objects.in_bulk()
    answered = set()
    for given, answers in sent:
        if given.kind != "file" or answers[0].status not in (200, 201) or answers[0].json.get("dry_run"):
            if given.cells is not None:
                yield f"A table is refused: {answers[0].content[:500]!r}"
            continue
        for status in answers[0].json["uploads"]:
            answered |= {status["id"], *(part["id"] for part in status["parts"])}
            yield from faults_of_upload(kept, given, status)
    for each in uploads.values():
        if (
            each.client.startswith("key:")
            and each.pk not in answered
            and any(d.upload_id == each.pk for d in kept.deliveries.values())
        ):
            yield f"Upload {each.pk} has deliveries, though its sender was refused"
        if each.finished_at is None and any(d.upload_id == each.pk for d in kept.deliveries.values()):
            yield f"Upload {each.pk} is kept in part"


def faults_of_upload(kept: Kept, given: Input, status: Mapping[str, Any]) -> Iterator[str]:
    ids = {status["id"], *(part["id"] for part in status["parts"])}
    deliveries = sorted((each for each in kept.deliveries.values() if each.upload_id in ids), key=lambda each: each.pk)
    count = sum(each.count for each in deliveries)
    if count != status["total"]:
        yield f"Upload {status['id']} says {status['total']} rows; kept are {count}"
    if not given.is_usual:
        return
    payloads = [item for each in deliveries for item in kept.sent[each.pk]]
    if given.cells is not None:
        yield from faults_of_cells(given, payloads)
    elif "text" not in given.content_type and "json" in given.content_type:
        yield from faults_of_items(given, payloads)


def faults_of_cells(given: Input, payloads: Sequence[Any]) -> Iterator[str]:
    """Plain words of a table arrive as they are; what other cells are is read in another way by each field."""
    if len(payloads) != len(given.cells or ()):
        yield f"Of {len(given.cells or ())} rows {len(payloads)} are kept"
        return
    for row, payload in zip(given.cells or (), payloads, strict=True):
        for name, cell in row.items():
            is_plain = _plain.fullmatch(cell) and cell.lower() not in _no_text
            if is_plain and payload.get(name) not in (cell, [cell]):
                yield f"The cell {cell!r} of {name} became {payload.get(name)!r}"


def faults_of_items(given: Input, payloads: Sequence[Any]) -> Iterator[str]:
    try:
        items = items_of(given.body, ndjson="ndjson" in given.content_type)
    except UnreadableError:
        return
    if items != list(payloads) and not any("(raw)" in str(item) for item in (*items, *payloads)):
        yield f"The records of a file are kept as others: {items!r} as {list(payloads)!r}"


# What is kept is what is stored.


def faults_of_held(kept: Kept) -> Iterator[str]:
    for each in kept.held:
        if each.code in OF_DATABASE:
            failures = [failure.traceback or failure.messages for failure in each.failures.all()]
            yield f"{each.code} of {each}: {each.payload[:500]}: {failures}"
        elif each.status in HeldRecord.OPEN and not each.payload_version and each.queued_in is None:
            payload = json.loads(each.payload)
            if verdict(each.stream, payload) and not missing(kept, each.stream, row_of(each.stream, payload)):
                yield f"{each} is held, though it is valid: {each.message}: {each.payload[:500]}"


def missing(kept: Kept, stream: str, row: Mapping[str, Any]) -> list[str]:
    references = CONTRACTS[stream].references
    return [name for name, target in references.items() if row[name] not in kept.keys[target]]


def faults_of_rows(kept: Kept, stream: str) -> Iterator[str]:
    """Each row has the fields of the record that it says it is from, as they are read here."""
    for row in kept.rows[stream]:
        payload = kept.payloads[stream].get((row.delivery, row.position))
        if payload is None:
            yield f"{stream} {row.pk} is of no accepted record ({row.delivery}, {row.position})"
            continue
        try:
            expected = row_of(stream, payload)
        except UnsureError:
            continue
        except InvalidError as error:
            yield f"{stream} {row.pk} is stored though it is invalid ({error}): {payload!r}"
            continue
        for name, value in expected.items():
            if not is_equal(value, found := getattr(row, name)):
                yield f"{stream} {row.pk}: {name} is stored as {found!r}, expected {value!r} of {payload!r}"
        if (
            stream == "sessions"
            and expected["scheduled_start"].utcoffset().total_seconds() != row.scheduled_offset * 60
        ):
            yield f"{stream} {row.pk}: the offset is stored as {row.scheduled_offset} of {payload!r}"


def faults_of_winners(kept: Kept, stream: str) -> Iterator[str]:
    """Of the valid records of a key the newest is stored."""
    contract, unsure = CONTRACTS[stream], set()
    left_out = {(each.delivery_id, each.position) for each in kept.held if each.stream == stream and stays_out(each)}
    fixed = {(each.delivery_id, each.position) for each in kept.held if each.payload_version}
    newest: dict[str, tuple[Any, int, int]] = {}
    for (pk, position), payload in kept.payloads[stream].items():
        try:
            row = row_of(stream, payload)
        except UnsureError:
            unsure.add(nfc_key(payload, contract.key))
            continue
        except InvalidError:
            continue
        key = row[contract.key]
        if (pk, position) in fixed:
            unsure.add(key)
        elif (pk, position) not in left_out and not missing(kept, stream, row):
            version = (row.get("updated_at") or kept.deliveries[pk].received_at, pk, position)
            newest[key] = max(newest.get(key, version), version)
    stored = {row.pk: (row.delivery, row.position) for row in kept.rows[stream]}
    for key, version in newest.items():
        if key not in unsure and stored.get(key) != version[1:]:
            yield f"{stream} {key}: stored is {stored.get(key)}, the newest accepted record is {version}"


def stays_out(held: HeldRecord) -> bool:
    return held.status == HeldRecord.Status.DISCARDED or held.status in HeldRecord.OPEN


def nfc_key(payload: Any, name: str) -> str:
    from unicodedata import normalize

    key = payload.get(name)
    return normalize("NFC", key) if isinstance(key, str) else ""


def faults_of_missing(kept: Kept, stream: str) -> Iterator[str]:
    """Of streams whose keys are computed: a row is there for each valid record."""
    names = BY_TIME[stream]
    stored = {tuple(getattr(row, name) for name in names) for row in kept.rows[stream]}
    left_out = {(each.delivery_id, each.position) for each in kept.held if stays_out(each)}
    for place, payload in kept.payloads[stream].items():
        if place not in left_out and verdict(stream, payload):
            row = row_of(stream, payload)
            if tuple(row[name] for name in names) not in stored:
                yield f"{stream}: no row is stored of {payload!r}"

"""The ledger: what the client was told against what the database holds, once nothing is pending any more.

Each check answers what is wrong, a line for each; faults/tests/test_ledger.py has seen each of them answer something.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, cached_property
from itertools import chain, zip_longest
from typing import Any

from django.db.models import Count, Exists, OuterRef, Q, Sum
from django.utils import timezone

from enrichment.latency import COLUMNS
from enrichment.lookups.models import Lookup
from enrichment.models import HeldRecord, MinuteStat, StoredRecord
from enrichment.uploads import progress_of
from faults.client import Notes
from faults.records import Fate, Post, Sent, film_number
from ingestion import streams
from ingestion.models import OUTCOMES, Delivery, Upload
from ingestion.payload_warnings import payload_warnings
from ingestion.payloads import parse_accepted
from ingestion.streams import Context, Stream
from ingestion.validation import key_of, validate
from movies.models import LibraryFilm
from music.models import Artist, Listen, Listener
from music.tests import service
from standins.server import Server, busiest

Status = HeldRecord.Status
Key = tuple[str, str]
"""A stream's name, and the key of a record."""
Findings = Iterator[str]


@dataclass(frozen=True)
class Arrival:
    """A record as it arrived: `sent` at a position of a delivery."""

    sent: Sent
    key: str
    delivery: int
    position: int
    received_at: datetime
    is_of_file: bool

    @property
    def stream(self) -> Stream:
        return streams.get(self.sent.stream)

    @property
    def version(self) -> tuple[datetime, int, int]:
        """Computed from what was sent, and by nothing of the pipeline's."""
        given = None if self.stream.immutable else self.sent.payload.get("updated_at")
        return (datetime.fromisoformat(given) if given else self.received_at, self.delivery, self.position)

    @property
    def references(self) -> list[Key]:
        return [(each.stream, self.sent.payload[each.field]) for each in self.stream.references]

    def __str__(self) -> str:
        return f"{self.sent.stream} {self.key} (delivery {self.delivery}, position {self.position})"


@dataclass
class Ledger:
    notes: Notes
    now: datetime = field(default_factory=timezone.now)

    def findings(self) -> Iterator[str]:
        """All that is wrong; none: nothing is."""
        return chain.from_iterable(check(self) for check in CHECKS)

    # What arrived.

    @cached_property
    def deliveries(self) -> dict[int, Delivery]:
        """The client's, by their numbers."""
        found = Delivery.objects.filter(
            client=self.notes.client, source=Delivery.Source.CLIENT, pk__gt=self.notes.since
        )
        return {delivery.pk: delivery for delivery in found.order_by("pk")}

    @cached_property
    def uploads(self) -> dict[str, Upload]:
        names = {upload_name(post) for post in self.notes.posts if post.form == "file"}
        uploads = {delivery.upload_id for delivery in self.deliveries.values() if delivery.upload_id}
        return {each.name: each for each in Upload.objects.filter(pk__in=uploads, name__in=names)}

    @cached_property
    def arrivals(self) -> list[Arrival]:
        return [arrival for delivery in self.deliveries.values() for arrival in self._of(delivery)]

    def _of(self, delivery: Delivery) -> Iterator[Arrival]:
        refused, is_of_file = delivery.refused_positions, delivery.upload_id is not None
        for position, payload in enumerate(payloads(delivery)):
            sent = self.sent.get((delivery.stream, canonical(payload)))
            if position not in refused and sent:
                key = key_of(streams.get(delivery.stream), payload)
                yield Arrival(sent, key, delivery.pk, position, delivery.received_at, is_of_file)

    @cached_property
    def sent(self) -> dict[tuple[str, str], Sent]:
        return {
            (record.stream, canonical(record.payload)): record for post in self.notes.posts for record in post.records
        }

    # What has to come of it.

    @cached_property
    def newest(self) -> dict[Key, Arrival]:
        """What has to be stored: of each key the newest record that can be."""
        found: dict[Key, Arrival] = {}
        for name in streams.names():  # in order of reference
            of_stream = [arrival for arrival in self.arrivals if arrival.sent.stream == name]
            for arrival in sorted(of_stream, key=lambda each: each.version):
                if arrival.sent.fate is Fate.GOOD and all(key in found for key in arrival.references):
                    found[name, arrival.key] = arrival
        return found

    def is_storable(self, arrival: Arrival) -> bool:
        return arrival.sent.fate is Fate.GOOD and all(key in self.newest for key in arrival.references)

    @cached_property
    def rows(self) -> dict[Key, StoredRecord]:
        """The rows of all keys that arrived."""
        keys: dict[str, set[str]] = defaultdict(set)
        for arrival in self.arrivals:
            keys[arrival.sent.stream].add(arrival.key)
        found: dict[Key, Any] = {}
        for name, of_stream in keys.items():
            rows = streams.get(name).model._default_manager.filter(pk__in=of_stream)
            found |= {(name, str(row.pk)): row for row in rows}
        return found

    @cached_property
    def held(self) -> dict[tuple[int, int], HeldRecord]:
        found = HeldRecord.objects.filter(delivery__in=self.deliveries)
        return {(record.delivery_id, record.position): record for record in found}


def upload_name(post: Post) -> str:
    return f"records-{post.number}.ndjson"


def canonical(payload: Any) -> str:
    return json.dumps(payload, sort_keys=True)


def payloads(delivery: Delivery) -> list[Any]:
    return parse_accepted(delivery.content, ndjson=delivery.format == Delivery.Format.NDJSON)


# ── P1: what was accepted is kept, and nothing else is ──


def accepted_is_kept(ledger: Ledger) -> Findings:
    for post in ledger.notes.posts:
        if post.number not in ledger.notes.accepted:
            if post.expected_status != 422:
                yield f"kept: post {post.number} to {post.path} was never answered"
        elif post.form == "file":
            yield from _file_is_kept(ledger, post)
        else:
            for number in ledger.notes.accepted[post.number]:
                delivery = ledger.deliveries.get(number)
                if delivery is None:
                    yield f"kept: delivery {number} of post {post.number} is lost"
                elif bytes(delivery.content) != post.body or delivery.count != len(post.accepted):
                    yield f"kept: delivery {number} is not what post {post.number} sent"


def _file_is_kept(ledger: Ledger, post: Post) -> Findings:
    upload = ledger.uploads.get(upload_name(post))
    if upload is None:
        yield f"kept: the file of post {post.number} is lost"
        return
    stored = [
        payload for each in ledger.deliveries.values() if each.upload_id == upload.pk for payload in payloads(each)
    ]
    if stored != [record.payload for record in post.records]:
        yield f"kept: upload {upload.pk} has other records than the file of post {post.number}"
    if upload.finished_at is None:
        yield f"kept: upload {upload.pk} is unfinished, although its sender was answered"


def nothing_else_is_kept(ledger: Ledger) -> Findings:
    """A post without an Idempotency-Key may be kept as often as it was sent; one with it, and a file, once."""
    times = Counter(bytes(each.content) for each in ledger.deliveries.values() if each.upload_id is None)
    posts: dict[bytes, list[Post]] = defaultdict(list)
    for post in ledger.notes.posts:
        if post.form != "file" and post.accepted:
            posts[post.body].append(post)
    for body, number in times.items():
        most = sum(1 if post.idempotency_key else ledger.notes.attempts[post.number] for post in posts[body])
        if number > most:
            yield f"once: kept {number} times, sent {most} times: {body[:100]!r}"
    told: dict[int, set[int]] = {post: set(numbers) for post, numbers in ledger.notes.accepted.items()}
    for post in ledger.notes.posts:
        if post.idempotency_key and len(told.get(post.number, ())) > 1:
            yield f"once: the answers to post {post.number} name deliveries {sorted(told[post.number])}"
    unknown = [each for each in ledger.deliveries.values() if each.upload_id and each.upload_id not in _pks(ledger)]
    for delivery in unknown:
        yield f"once: delivery {delivery.pk} is of an upload that nobody sent"


def _pks(ledger: Ledger) -> set[int]:
    return {upload.pk for upload in ledger.uploads.values()}


# ── P2, P3: each record has one outcome ──


def each_has_one_outcome(ledger: Ledger) -> Findings:
    held = Counter(delivery for delivery, _ in ledger.held)
    for delivery in ledger.deliveries.values():
        if delivery.processed_at is None or delivery.started_at is not None or delivery.pending:
            yield f"outcome: delivery {delivery.pk} has {delivery.pending} records without an outcome"
        if delivery.held != held[delivery.pk] or delivery.skipped:
            yield f"outcome: delivery {delivery.pk} counts {delivery.held} held records and has {held[delivery.pk]}"
    for arrival in ledger.arrivals:
        if not ledger.is_storable(arrival) and (arrival.delivery, arrival.position) not in ledger.held:
            yield f"outcome: {arrival} is neither stored nor held"


def each_row_was_inserted_once(ledger: Ledger) -> Findings:
    """Of all clients, since the database was new."""
    for stream in streams.all_streams():
        inserted = Delivery.objects.filter(stream=stream.name).aggregate(sum=Sum("inserted", default=0))["sum"]
        rows = stream.model._default_manager.count()
        if inserted != rows:
            yield f"outcome: {inserted} records of {stream.name} were inserted, {rows} rows are stored"


# ── P4: the newest is stored ──


def newest_is_stored(ledger: Ledger) -> Findings:
    for (stream, key), arrival in ledger.newest.items():
        row = ledger.rows.get((stream, key))
        if row is None:
            yield f"newest: {arrival} is lost"
        elif arrival.stream.immutable:
            if row.version not in {each.version for each in ledger.arrivals if each.key == key}:
                yield f"newest: {stream} {key} is stored from something that did not arrive"
        elif row.version != arrival.version:
            yield f"newest: {arrival} is the newest, stored is delivery {row.delivery}, position {row.position}"
    for stream, key in ledger.rows.keys() - ledger.newest.keys():
        yield f"newest: {stream} {key} is stored, although nothing that arrived could be"


# ── P5, P8, P9: fields are those of the record, and derived ones of a fresh computation ──


def fields_are_fresh(ledger: Ledger) -> Findings:
    facts = {stream.name: stream.facts() for stream in streams.all_streams()}
    for (name, key), arrival in ledger.newest.items():
        if row := ledger.rows.get((name, key)):
            context = Context(now=ledger.now, facts=facts[name], rows=dict(_referenced(ledger, arrival)))
            for column, wanted in _fresh(arrival, context).items():
                found = row.exposed_value(column)
                if found != wanted:
                    yield f"fields: {name} {key} has {column} {found!r}, which should be {wanted!r}"


def _fresh(arrival: Arrival, context: Context) -> dict[str, Any]:
    stream, payload = arrival.stream, arrival.sent.payload
    record = validate(stream, payload, context.now)
    of_payload = payload_warnings(stream, payload, record, is_of_file=arrival.is_of_file)
    own = {name: getattr(record, name) for name in stream.schema.model_fields if name in _columns(stream)}
    return {**own, **stream.enrich(record, context), "warnings": [*of_payload, *stream.warn(record, context)]}


@cache
def _columns(stream: Stream) -> set[str]:
    return {name for each in stream.model._meta.concrete_fields for name in (each.name, each.attname)}


def _referenced(ledger: Ledger, arrival: Arrival) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    for reference, key in zip(arrival.stream.references, arrival.references, strict=True):
        if row := ledger.rows.get(key):
            yield key, {name: getattr(row, name) for name in reference.reads}


# ── P6, P10, P11: held records ──


def held_records_are_right(ledger: Ledger) -> Findings:
    for arrival in ledger.arrivals:
        record = ledger.held.get((arrival.delivery, arrival.position))
        if record is None:
            continue
        wanted = _wanted_status(ledger, arrival)
        if (record.status, record.code if record.status == Status.DEAD else "") != wanted:
            yield f"held: {arrival} is {record.status} ({record.code}), which should be {' '.join(wanted).strip()}"


def _wanted_status(ledger: Ledger, arrival: Arrival) -> tuple[str, str]:
    """Status, and of a dead letter its code."""
    stored = ledger.newest.get((arrival.sent.stream, arrival.key))
    if ledger.is_storable(arrival) or (stored and stored.version >= arrival.version):
        return Status.RESOLVED, ""
    codes = {Fate.INVALID: HeldRecord.Code.INVALID, Fate.POISON: HeldRecord.Code.CRASHED_WORKER}
    code = codes.get(arrival.sent.fate)
    return (Status.DEAD, code) if code else (Status.WAITING, "")


def nothing_waits_in_vain(ledger: Ledger) -> Findings:
    """Of all clients."""
    for record in revivable():
        yield f"held: {record} waits for {record.missing_stream} {record.missing_key}, which is stored"
    for record in HeldRecord.objects.filter(queued_in__isnull=False):
        yield f"held: {record} is still queued in delivery {record.queued_in}"


def revivable() -> Iterator[HeldRecord]:
    """What waits for something that is stored."""
    for stream in streams.all_streams():
        there = stream.model._default_manager.filter(pk=OuterRef("missing_key"))
        yield from HeldRecord.objects.open().filter(Exists(there), missing_stream=stream.name, code="missing_reference")


# ── Numbers ──


def sums() -> dict[str, Counter[str]]:
    """stream → outcome → records, summed over all deliveries; `sent` are those of clients."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    sent = Sum("count", filter=Q(source=Delivery.Source.CLIENT), default=0)
    rows = Delivery.objects.values_list("stream").annotate(sent=sent).annotate(*map(Sum, OUTCOMES))
    for stream, *numbers in rows:
        found[stream] = Counter(dict(zip(("sent", *OUTCOMES), numbers, strict=True)))
    return found


def statistics_add_up(ledger: Ledger) -> Findings:
    names = ("inserted", "updated", "stale", "waiting", "dead", *COLUMNS)
    rows = MinuteStat.objects.values_list("stream").annotate(*map(Sum, names))
    minutes = {stream: dict(zip(names, numbers, strict=True)) for stream, *numbers in rows}
    for stream, counted in sums().items():
        of_stream = minutes.get(stream, dict.fromkeys(names, 0))
        told = {name: of_stream[name] for name in ("inserted", "updated", "stale")}
        told |= {"held": of_stream["waiting"] + of_stream["dead"], "sent": sum(of_stream[name] for name in COLUMNS)}
        for name, number in told.items():
            if number != counted[name]:
                yield f"statistics: {number} of {stream} {name}, by deliveries {counted[name]}"


def uploads_add_up(ledger: Ledger) -> Findings:
    posts = {upload_name(post): post for post in ledger.notes.posts if post.form == "file"}
    progress = progress_of(list(ledger.uploads.values()))
    for name, upload in ledger.uploads.items():
        numbers, sent = progress[upload.pk], len(posts[name].records)
        if (numbers.status, numbers.total, numbers.processed) != ("completed", sent, sent):
            yield f"uploads: {upload} is {numbers.status}, {numbers.processed} of {numbers.total} records, sent {sent}"
        if sum(numbers.by_status.values()) != numbers.held:
            yield f"uploads: {upload} counts {numbers.held} held records, and has {numbers.by_status}"


# ── What was looked up ──


def lookups_are_settled(ledger: Ledger) -> Findings:
    """Nothing is open, and nothing failed by a fault of the provider."""
    unsettled = Lookup.objects.filter(~Q(claim="") | Q(status__in=("open", "failed")))
    for lookup in unsettled:
        yield f"lookups: {lookup.provider} {lookup.kind} {lookup.key} is {lookup.status}: {lookup.last_error[:100]}"


def films_are_right(ledger: Ledger) -> Findings:
    libraries = {arrival.sent.payload["library"] for arrival in ledger.arrivals if arrival.sent.stream == "entries"}
    for film in LibraryFilm.objects.filter(library__in=libraries).select_related("tmdb_film"):
        number = film.tmdb_film and film.tmdb_film.tmdb_id
        if (film.match, number) != ("found", film_number(film.title)):
            yield f"lookups: {film.title!r} is {film.match}, number {number}"


def plays_add_up(ledger: Ledger) -> Findings:
    plays = Listen.objects.filter(duplicate_of=None).count()
    totals = service.totals() | {"of listeners": Listener.objects.aggregate(sum=Sum("plays", default=0))["sum"]}
    for name, number in totals.items():
        if number != plays:
            yield f"statistics: {number} plays {name}, stored are {plays}"


def artists_are_right(ledger: Ledger) -> Findings:
    numbers = {
        f"spotify-{arrival.sent.payload['artist_id']}": int(arrival.sent.payload["artist_id"][1:])
        for arrival in ledger.arrivals
        if arrival.sent.stream == "listens"
    }
    for artist in Artist.objects.filter(pk__in=numbers):
        number = numbers[artist.pk]
        wanted = ("found", service.mbid(number)) if is_at_musicbrainz(number) else ("not_found", None)
        if (artist.match, artist.mbid) != wanted:
            yield f"lookups: {artist.name} is {artist.match}, {artist.mbid}"


def is_at_musicbrainz(number: int) -> bool:
    return number % 4 != 0


def answers_are_polite(ledger: Ledger) -> Findings:
    """Only what a client can expect: no 5xx but 503 with Retry-After."""
    for answer in ledger.notes.wrong:
        yield f"answers: {answer}"


CHECKS: Sequence[Callable[[Ledger], Iterable[str]]] = (
    accepted_is_kept,
    nothing_else_is_kept,
    each_has_one_outcome,
    each_row_was_inserted_once,
    newest_is_stored,
    fields_are_fresh,
    held_records_are_right,
    nothing_waits_in_vain,
    statistics_add_up,
    uploads_add_up,
    lookups_are_settled,
    films_are_right,
    plays_add_up,
    artists_are_right,
    answers_are_polite,
)


# ── Of the system, beside its tables ──


def metrics_add_up(samples: Mapping[str, float]) -> Findings:
    """`samples`: name{label=value,…} → value, as /metrics answers them."""
    for stream, counted in sums().items():
        outcomes = {name: _of(samples, "records_total", stream, name) for name in ("inserted", "updated", "stale")}
        outcomes["held"] = sum(_of(samples, "records_total", stream, name) for name in ("waiting", "dead"))
        for name, number in outcomes.items():
            if number != counted[name]:
                yield f"metrics: {number:g} of {stream} {name}, by deliveries {counted[name]}"
        if pending := samples.get(f"tutormax_pending_records{{stream={stream}}}", 0):
            yield f"metrics: {pending:g} of {stream} are pending"
    held = HeldRecord.objects.open().values_list("code", "status", "stream").annotate(number=Count("*"))
    for code, status, stream, number in held:
        found = samples.get(f"tutormax_held_records{{code={code},status={status},stream={stream}}}", 0)
        if found != number:
            yield f"metrics: {found:g} of {stream} are {status} ({code}), stored are {number}"


def totals_add_up(answer: Mapping[str, Any]) -> Findings:
    """`answer`: of /api/stats."""
    for stream, counted in sums().items():
        found = answer["streams"][stream]["accepted"]
        if found != counted["sent"]:
            yield f"statistics: {found} of {stream} accepted by /api/stats, by deliveries {counted['sent']}"


def _of(samples: Mapping[str, float], name: str, stream: str, outcome: str) -> float:
    return samples.get(f"tutormax_{name}{{outcome={outcome},stream={stream}}}", 0)


def limits_are_kept(providers: Mapping[str, Server], rate: int, seconds: float) -> Findings:
    """L1, as the provider sees it."""
    for name, server in providers.items():
        times = [arrival.at for arrival in server.arrivals if arrival.path != "/api/token"]
        if (most := busiest(times, seconds)) > rate:
            yield f"limits: {name} got {most} requests in {seconds:g} s, allowed are {rate}"


EXPECTED = re.compile(
    r"(django\.db\.utils|psycopg(\.errors)?|psycopg2?\.\w+)\.\w+|KeyboardInterrupt|ConnectionResetError|BrokenPipeError"
)
"""The last lines of tracebacks that a database which is away, or a client that leaves, explain."""
TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n|\n)*((?!\d{4}-)\S.*)$", re.MULTILINE)
CHAINED = re.compile(r"During handling of the above exception|The above exception was the direct cause")


def logs_are_clean(logs: Mapping[str, str]) -> Findings:
    """No traceback but those of a database that was away; of a chain the last one counts."""
    for name, text in logs.items():
        found = list(TRACEBACK.finditer(text))
        for traceback, following in zip_longest(found, found[1:]):
            is_last = not following or not CHAINED.search(text, traceback.end(), following.start())
            if is_last and not EXPECTED.match(traceback[1]):
                yield f"logs: {name}: {traceback[1][:200]}"

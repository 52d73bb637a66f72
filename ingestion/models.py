from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import Exists, F, Q, Subquery, Sum
from django.db.models.functions import Now
from django.utils import timezone
from rest_framework_api_key.models import AbstractAPIKey

from ingestion.payloads import inflate, inflate_start

PART_DIVISOR = 32
MAX_CRASHES = 3
EXPIRES_SOON = timedelta(days=7)
"""How long before its expiry a key is reported as expiring."""
MAX_BATCH_BYTES = 32_000_000
"""Of the bodies processed together; a single delivery may have more."""


class ApiKey(AbstractAPIKey):
    """A client's key: stored hashed, shown once. Everything else refers to it by its prefix."""

    can_ingest = models.BooleanField(default=True, help_text="May post records.")
    can_read = models.BooleanField(default=True, help_text="May read records, deliveries and statistics.")
    streams = models.JSONField(default=list, blank=True, help_text="Limited to these streams; empty = all.")
    client = models.CharField(
        max_length=8,
        editable=False,
        db_index=True,
        help_text="Whose key it is: the prefix of the client's first key, shared by those that replace it.",
    )
    last_used_on = models.DateField(null=True, blank=True, editable=False)

    plaintext_key = ""
    """The whole key, on the instance that has just been issued and nowhere else."""

    class Meta(AbstractAPIKey.Meta):
        abstract = False

    def issue(self) -> None:
        """Gives the key its secret and stores it."""
        self.plaintext_key = str(ApiKey.objects.assign_key(self))
        self.full_clean()
        self.save(force_insert=True)

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.client = self.client or self.prefix
        super().save(*args, **kwargs)

    @property
    def expires_soon(self) -> bool:
        """It is still valid, but expires within a week."""
        if self.expiry_date is None or self.revoked:
            return False
        return timedelta() <= self.expiry_date - timezone.now() <= EXPIRES_SOON

    def build_replacement(self, name: str, expiry_date: datetime | None) -> ApiKey:
        """An unsaved key to replace this one: the same client, scopes and streams."""
        return ApiKey(
            name=name,
            client=self.client,
            can_ingest=self.can_ingest,
            can_read=self.can_read,
            streams=self.streams,
            expiry_date=expiry_date,
        )


class Throttle(models.Model):
    """How much of THROTTLE a key has used (api/throttling.py)."""

    key = models.CharField(max_length=8, primary_key=True, help_text="Its prefix.")
    due = models.FloatField(help_text="Unix time, by the database's clock.")

    def __str__(self) -> str:
        return self.key


def new_secret() -> str:
    return secrets.token_hex(32)


class ErasureSecret(models.Model):
    """One row, from the first erasure on: the key with which the keys of erased persons are hashed.

    It is kept in the database, so that a new SECRET_KEY does not let them in again, and a backup has it.
    """

    secret = models.CharField(max_length=64, default=new_secret)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return "secret of erasures"


class Suppression(models.Model):
    """A person whose data have been erased, by a keyed hash: records about them are not stored again."""

    kind = models.CharField(max_length=64, help_text="What the person is: Subject.kind of a stream.")
    digest = models.CharField(max_length=64, unique=True, help_text="HMAC-SHA-256 of kind and key, in hex.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.digest[:12]}"


@contextmanager
def raw_cursor() -> Iterator[Any]:
    """A cursor that sends values separately from the statement; Django's for PostgreSQL writes them into it."""
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.cursor() as cursor:
        yield psycopg.Cursor(connection.connection) if connection.vendor == "postgresql" else cursor


class PausedStream(models.Model):
    """A stream whose deliveries are not claimed while this row exists; new records are accepted and stored."""

    stream = models.CharField(max_length=64, primary_key=True)
    by = models.CharField(max_length=200, help_text="user:<name>.")
    reason = models.TextField(blank=True)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "control"
        default_permissions = ("view",)
        permissions = [("control_streams", "Can pause, resume and run streams")]

    def __str__(self) -> str:
        return self.stream


OUTCOMES = ("inserted", "updated", "stale", "held", "skipped")
"""The counts of a delivery: what became of its records."""
PROCESSED = F("inserted") + F("updated") + F("stale") + F("held") + F("skipped")
PENDING = F("count") - PROCESSED
"""Records of a delivery that are not yet processed (P3)."""


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """The queue's verbs. A delivery is pending until `processed_at` is set; `started_at` is the claim on it."""

    def insert(self, *, body: bytes, **columns: Any) -> Delivery:
        """Inserts one with this body and these columns, the others by the database's defaults: a single statement.

        A third of what create() costs, and a body is sent as it is, not as a literal of twice its length. Of one that
        is deflated, `size` is that of what it unpacks to.
        """
        columns = {"size": len(body), **columns, "body": body}
        delivery = Delivery(**columns)
        fields = [field for field in Delivery._meta.concrete_fields if field.name in columns]
        values = [field.get_db_prep_save(getattr(delivery, field.attname), connection) for field in fields]
        names, places = ", ".join(str(field.column) for field in fields), ", ".join(["%s"] * len(fields))
        with raw_cursor() as cursor:
            cursor.execute(f"INSERT INTO ingestion_delivery ({names}) VALUES ({places}) RETURNING id", values)  # noqa: S608
            delivery.pk = cursor.fetchone()[0]
        state = delivery._state  # noqa: SLF001 (as Model.from_db() sets it: others may refer to the delivery)
        state.adding, state.db = False, connection.alias
        return delivery

    def pending(self) -> DeliveryQuerySet:
        return self.filter(processed_at=None)

    def pending_records(self) -> int:
        """The records of these deliveries that are not yet processed."""
        return int(self.pending().aggregate(records=Sum(PENDING, default=0))["records"])

    def pending_by_client(self) -> Iterable[tuple[str, str, int, int, int]]:
        """(stream, client, source, records of these deliveries that are not yet processed, bytes)."""
        rows = self.pending().values_list("stream", "client", "source")
        return rows.annotate(records=Sum(PENDING), bytes=Sum("size"))

    def pending_among(self, streams: Iterable[str]) -> set[str]:
        """Those of these streams that have anything pending: one probe of the index for each, in one statement."""
        if not (names := list(streams)):
            return set()
        places = ", ".join(["(%s)"] * len(names))
        of_stream = "SELECT 1 FROM ingestion_delivery WHERE stream = name AND processed_at IS NULL LIMIT 1"
        with connection.cursor() as cursor:
            cursor.execute(f"WITH streams (name) AS (VALUES {places}) SELECT name, ({of_stream}) FROM streams", names)  # noqa: S608
            return {name for name, is_pending in cursor.fetchall() if is_pending}

    def due(self, stream: str, *, respect_backoff: bool = True) -> DeliveryQuerySet:
        """Pending ones of the stream, none while it is paused: not claimed (or by a worker that has died since), not
        waiting for a retry.
        """
        expired_claim = Q(started_at__lt=Now() - timedelta(seconds=settings.CLAIM_LEASE))
        # Without a reference to the delivery: asked once for the statement, and rows are read in the index's order.
        is_paused = Exists(PausedStream.objects.filter(stream=stream))
        due = self.pending().filter(~is_paused, Q(started_at=None) | expired_claim, stream=stream)
        return due.filter(Q(retry_at=None) | Q(retry_at__lte=Now())) if respect_backoff else due

    def claim(self, stream: str, records: int, *, respect_backoff: bool = True) -> list[Delivery]:
        """Claims due deliveries of a stream, lowest first: as many as make `records` records, and at least one.

        Revived records go first; those that a person reprocesses go in their turn, so that no bulk action holds up what
        clients send. Commits; the deliveries returned carry their claim (`started_at`). One that has seen a crash
        comes alone.
        """
        revivals = Q(source=Delivery.Source.REVIVAL)
        all_due = self.due(stream, respect_backoff=respect_backoff).order_by("id")
        with transaction.atomic(durable=True):
            for due in (all_due.filter(revivals), all_due.exclude(revivals)):
                if ahead := list(due.values_list("count", "size", Now())[:records]):
                    break
            else:
                return []
            wanted = _number_to_claim(ahead, records)
            found = list(due.select_for_update(skip_locked=True).defer("body")[:wanted])
            taken = _claimable_together(found, records)
            for delivery in taken:
                if delivery.started_at is not None:
                    delivery.record_crash()
                    self.filter(pk=delivery.pk).update(part=delivery.part, crash_count=delivery.crash_count)
            pks, now = [delivery.pk for delivery in taken], ahead[0][2]
            self.filter(pk__in=pks).update(started_at=now)
            bodies = dict(_bodies(pks))
        for delivery in taken:
            delivery.started_at, delivery.body = now, bodies[delivery.pk]
        return taken

    def lock_claimed(self, deliveries: Iterable[Delivery]) -> tuple[set[int], str]:
        """Locks, until the transaction ends, those that still have the claim they have here; returns their ids, and the
        secret of erasures, which is empty if nobody was ever erased.
        """
        claims = {delivery.pk: delivery.started_at for delivery in deliveries}
        locked = self.pending().filter(pk__in=claims).order_by("pk").select_for_update(skip_locked=True)
        secret = Subquery(ErasureSecret.objects.values("secret")[:1])  # with the rows: no statement of its own
        found = list(locked.values_list("pk", "started_at", secret))
        return {pk for pk, claim, _ in found if claims[pk] == claim}, next((each for *_, each in found if each), "")

    def release(self, deliveries: Iterable[Delivery], **changes: Any) -> int:
        """Ends these claims and makes the changes; deliveries that were claimed anew meanwhile are left alone."""
        by_claim: dict[datetime | None, list[int]] = {}
        for delivery in deliveries:
            by_claim.setdefault(delivery.started_at, []).append(delivery.pk)
        return sum(
            self.pending().filter(pk__in=pks, started_at=claim).update(started_at=None, **changes)
            for claim, pks in by_claim.items()
        )


def _bodies(pks: list[int]) -> list[tuple[int, Any]]:
    """(id, body) of deliveries. In binary a body takes half the bytes, and nobody has to read them as hex."""
    if connection.vendor != "postgresql":
        return list(Delivery.objects.filter(pk__in=pks).values_list("pk", "body"))
    with connection.wrap_database_errors, psycopg.Cursor(connection.connection) as cursor:
        cursor.execute("SELECT id, body FROM ingestion_delivery WHERE id = ANY(%s)", [pks], binary=True)
        return cursor.fetchall()


def _number_to_claim(ahead: Iterable[tuple[int, int, Any]], records: int) -> int:
    """How many of these deliveries, (count, size, …), make `records` records or fill the memory: at least one."""
    wanted, space = 0, MAX_BATCH_BYTES
    for count, size, *_ in ahead:
        if wanted and (records <= 0 or size > space):
            break
        wanted, records, space = wanted + 1, records - count, space - size
    return wanted


def _claimable_together(found: list[Delivery], records: int) -> list[Delivery]:
    """Of the deliveries found those to process together; one that must run alone only if it is the first."""
    if not found or found[0].must_run_alone:
        return found[:1]
    together = [delivery for delivery in found if not delivery.must_run_alone]
    return together[: _number_to_claim([(delivery.count, delivery.size, None) for delivery in together], records)]


class Upload(models.Model):
    """One file, stored as deliveries, each committed together with `offset`: how far the file has been read.

    Rows, outcomes and progress are sums over its deliveries. A set of files (an export) is an upload of format `set`
    without deliveries: its files are uploads that are `part_of` it, and what it has is the sum of what they have.
    """

    class Format(models.TextChoices):
        CSV = "csv", "CSV"
        NDJSON = "ndjson", "NDJSON"
        JSON = "json", "JSON"
        XLSX = "xlsx", "Excel"
        PARQUET = "parquet", "Parquet"
        SET = "set", "set of files"

    part_of = models.ForeignKey("self", models.CASCADE, null=True, related_name="parts", db_index=False)
    stream = models.CharField(max_length=64)
    client = models.CharField(max_length=200, help_text="As in a delivery.")
    name = models.CharField(max_length=255, help_text="Of the file, as it was called there.")
    format = models.CharField(max_length=10, choices=Format)
    size = models.PositiveBigIntegerField(help_text="Bytes of the file.")
    sha256 = models.CharField(max_length=64, help_text="Of the file, in hex.")
    fingerprint = models.CharField(
        max_length=64,
        default="",
        help_text="The same file or set is noticed by it: the SHA-256, or one over it and what was given with it.",
    )
    kind = models.CharField(max_length=64, default="", help_text="The layout by which it was read; empty for none.")
    given = models.JSONField(default=dict, help_text="Members that every record of the file has, besides its own.")
    columns = models.JSONField(default=list, help_text="Of CSV: the names in its header, in order.")
    reading = models.JSONField(
        default=dict,
        help_text="How the file was read: encoding, columns ignored and mapped, shared_keys, file_warnings, words.",
    )
    offset = models.PositiveBigIntegerField(default=0, help_text="Bytes stored as deliveries.")
    left_out = models.PositiveBigIntegerField(
        default=0, db_default=0, help_text="Rows, among these bytes, that are no records of the stream."
    )
    created_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(db_default=Now(), help_text="When `offset` last moved.")
    finished_at = models.DateTimeField(null=True, help_text="When the whole file was stored.")
    settled_at = models.DateTimeField(
        null=True, help_text="Of a file or a set: when all of its records had been processed, and what that entails."
    )

    class Meta:
        indexes = [
            models.Index(fields=["client", "-id"], name="upload_client"),
            models.Index(fields=["fingerprint"], name="upload_fingerprint"),
            models.Index(fields=["id"], name="upload_unsettled", condition=Q(settled_at=None, part_of=None)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["client", "stream", "fingerprint"],
                name="upload_unfinished_once",
                condition=Q(finished_at=None),
            ),
            models.UniqueConstraint(
                fields=["part_of", "fingerprint"], name="upload_part_once", condition=Q(part_of__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"upload {self.pk}"

    @property
    def is_set(self) -> bool:
        return self.format == self.Format.SET

    @staticmethod
    def with_parts(pk: int | str) -> models.QuerySet[Upload, Any]:
        """The upload and, of a set, its parts: their numbers, for a filter."""
        return Upload.objects.filter(Q(pk=pk) | Q(part_of=pk)).values("pk")


class UploadPreview(models.Model):
    """A file that a person has chosen and not yet uploaded: kept for a few hours, until all of its rows have been
    checked and the person has decided. The workers check it in steps; the chunks that are left are still to be checked.
    """

    part_of = models.ForeignKey("self", models.CASCADE, null=True, related_name="files")
    stream = models.CharField(max_length=64)
    client = models.CharField(max_length=200, help_text="Who chose it, as in a delivery: nobody else sees it.")
    name = models.CharField(max_length=255)
    format = models.CharField(max_length=10, choices=Upload.Format)
    size = models.PositiveBigIntegerField(help_text="Bytes, unpacked and in UTF-8.")
    sha256 = models.CharField(max_length=64)
    encoding = models.CharField(max_length=20, blank=True)
    source_notes = models.JSONField(default=list)
    kind = models.CharField(max_length=64, blank=True, help_text="As in an upload.")
    given = models.JSONField(default=dict, help_text="As in an upload.")
    named_fields = models.JSONField(default=dict, help_text="Of these, what the person has named.")
    mapping = models.JSONField(default=dict, help_text="column → field, besides the columns mapped by their names.")
    first_look = models.JSONField(default=dict, help_text="Columns, first rows and notes, for the page.")
    rows = models.PositiveBigIntegerField(default=0)

    created_at = models.DateTimeField(db_default=Now())
    ready_at = models.DateTimeField(null=True, help_text="When all of it was saved.")
    result = models.JSONField(default=dict, help_text="What the check has found so far.")
    finished_at = models.DateTimeField(null=True, help_text="When the check was done, or given up.")
    error = models.TextField(blank=True, help_text="Why it was given up.")

    class Meta:
        indexes = [
            models.Index(fields=["client", "id"], name="preview_client"),
            models.Index(fields=["id"], name="preview_unfinished", condition=Q(finished_at=None)),
        ]

    def __str__(self) -> str:
        return f"preview {self.pk}"

    @property
    def is_set(self) -> bool:
        return self.format == Upload.Format.SET


class PreviewPart(models.Model):
    """Some bytes of a previewed file, compressed; where a layout reads its items, of what that makes of them
    (ingestion.files.record_file.packed).
    """

    preview = models.ForeignKey(UploadPreview, models.CASCADE, related_name="parts", db_index=False)
    number = models.PositiveIntegerField()
    body = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["preview", "number"], name="preview_part_once")]

    def __str__(self) -> str:
        return f"part {self.number} of preview {self.preview_id}"


class PreviewChunk(models.Model):
    """Records of a previewed file that are still to be checked."""

    preview = models.ForeignKey(UploadPreview, models.CASCADE, related_name="chunks")
    body = models.BinaryField(help_text="NDJSON, compressed.")
    rows = models.TextField(help_text="JSON: the row of each record.")

    def __str__(self) -> str:
        return f"chunk {self.pk} of preview {self.preview_id}"


class ColumnMapping(models.Model):
    """Of which field a column is, as somebody has decided for the files of a stream that they upload."""

    client = models.CharField(max_length=200, help_text="As in a delivery.")
    stream = models.CharField(max_length=64)
    column = models.CharField(max_length=100)
    field = models.CharField(max_length=100)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["client", "stream", "column"], name="column_mapped_once")]

    def __str__(self) -> str:
        return f"{self.column} → {self.field}"


class Delivery(models.Model):
    """What was accepted in one request, stored as sent: records of one stream (or, made by us, held records' ids)."""

    class Source(models.IntegerChoices):
        """Where a delivery comes from; revived records are claimed first."""

        REVIVAL = 0, "revived records"
        BULK_ACTION = 1, "bulk action"
        CLIENT = 2, "client"

    class Format(models.TextChoices):
        JSON = "json", "JSON"
        NDJSON = "ndjson", "NDJSON"
        HELD = "held", "IDs of failed records"

    stream = models.CharField(max_length=64)
    source = models.PositiveSmallIntegerField(choices=Source, default=Source.CLIENT, db_default=Source.CLIENT)
    client = models.CharField(max_length=200, help_text="key:<prefix>, user:<name> or system.")
    format = models.CharField(max_length=10, choices=Format, default=Format.JSON, db_default=Format.JSON)
    body = models.BinaryField(editable=True, help_text="To be read as `content`.")
    is_deflated = models.BooleanField(default=False, db_default=False, help_text="The body is kept compressed (zlib).")
    size = models.PositiveIntegerField(default=0, db_default=0, help_text="Bytes of the body, inflated.")
    refused = models.TextField(
        default="[]", db_default="[]", help_text="JSON: positions in the body that were refused."
    )
    count = models.PositiveIntegerField(help_text="Accepted records.")
    received_at = models.DateTimeField(db_default=Now())
    processed_at = models.DateTimeField(null=True)

    upload = models.ForeignKey(Upload, models.PROTECT, null=True, related_name="deliveries", db_index=False)
    first_row = models.PositiveBigIntegerField(
        null=True, help_text="Of an upload: the row of its first record, as a spreadsheet counts (the header is row 1)."
    )
    gaps = models.TextField(
        default="[]",
        db_default="[]",
        help_text="JSON: [position, empty rows between that record and the one before], where there are any.",
    )

    # Safe to retry: what tells a repeated request, and the answer it gets again.
    idempotency_key = models.CharField(max_length=255, null=True)
    request_hash = models.CharField(
        max_length=64, default="", db_default="", help_text="SHA-256 of method, path, query and body."
    )
    answer = models.TextField(default="", db_default="", help_text="JSON, as first sent.")

    # The claim and how far the work is. In no index and no index predicate, so that updates stay cheap.
    started_at = models.DateTimeField(null=True)
    position = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Items of the body before this one are done."
    )
    part = models.PositiveIntegerField(null=True, help_text="Since a crash or timeout: claimed alone, so many records.")
    crash_count = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Crashes of the present part of one record."
    )
    failure_count = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Errors in a row that were not the record's."
    )
    retry_at = models.DateTimeField(null=True)
    last_error = models.TextField(default="", db_default="", help_text="The last such error.")

    inserted = models.PositiveIntegerField(default=0, db_default=0)
    updated = models.PositiveIntegerField(default=0, db_default=0)
    stale = models.PositiveIntegerField(default=0, db_default=0)
    held = models.PositiveIntegerField(default=0, db_default=0)
    skipped = models.PositiveIntegerField(
        default=0, db_default=0, help_text="Held records that were closed or fixed meanwhile."
    )

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index(fields=["stream", "id"], name="delivery_pending", condition=Q(processed_at=None)),
            models.Index(fields=["stream", "id"], name="delivery_revived", condition=Q(processed_at=None, source=0)),
            models.Index(fields=["client", "-id"], name="delivery_client"),
            models.Index(fields=["source", "-id"], name="delivery_ours", condition=~Q(source=2)),
            models.Index(fields=["upload", "id"], name="delivery_upload", condition=Q(upload__isnull=False)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["client", "idempotency_key"],
                name="delivery_sent_once",
                condition=Q(idempotency_key__isnull=False),
            ),
            models.CheckConstraint(
                name="delivery_adds_up",
                condition=Q(processed_at=None) | Q(count=PROCESSED),
            ),
        ]

    def __str__(self) -> str:
        return f"delivery {self.pk}"

    @property
    def content(self) -> bytes:
        """The body as it was sent, or as the rows of a file were written. ValueError if it is damaged."""
        body = bytes(self.body)
        return inflate(body, self.size) if self.is_deflated else body

    def beginning(self, start: bytes, limit: int) -> bytes:
        """At most so many of the first bytes of `content`, given as many of the body as it is kept."""
        return inflate_start(start, limit) if self.is_deflated else start[:limit]

    @property
    def done(self) -> int:
        return sum(getattr(self, outcome) for outcome in OUTCOMES)

    @property
    def pending(self) -> int:
        """Records not yet processed."""
        return self.count - self.done

    @property
    def status(self) -> str:
        return "pending" if self.processed_at is None else "processed"

    def row_of(self, position: int) -> int:
        """The row of the uploaded file in which the record at this position stands."""
        skipped: int = sum(number for before, number in json.loads(self.gaps) if before <= position)
        return (self.first_row or 1) + position + skipped

    @property
    def must_run_alone(self) -> bool:
        """It has seen a crash or a timeout, or a dead worker's claim has just expired."""
        return self.part is not None or self.started_at is not None

    def record_crash(self) -> None:
        """Its worker died: next it is claimed whole and alone, then in ever smaller parts, one record thrice."""
        if self.part is None:
            self.part = self.pending
        elif self.part > 1:
            self.part = max(1, self.part // PART_DIVISOR)
        else:
            self.crash_count += 1

    @property
    def next_record_is_poison(self) -> bool:
        return self.crash_count >= MAX_CRASHES

    @property
    def is_ndjson(self) -> bool:
        return self.format == self.Format.NDJSON

    @property
    def refused_positions(self) -> set[int]:
        return set(json.loads(self.refused))


class Doorbell(models.Model):
    """One row: when the workers were rung, when a task last answered (the cluster's heartbeat), and until when a worker
    looks for records by itself.
    """

    rung_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)
    watched_until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return "doorbell"

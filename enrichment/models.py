from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from pydantic import BaseModel

from enrichment import latency
from enrichment.lookups import models as _lookups  # noqa: F401 (tables of this app)
from enrichment.minutes import Minutes, MinutesQuerySet
from ingestion.models import Delivery, Upload
from ingestion.payloads import ERASED, ascii_json
from ingestion.text import plain


class Bytes(models.Func):
    """The length of a text in ASCII, which PostgreSQL knows without reading it."""

    function = "OCTET_LENGTH"
    output_field = models.IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, function="LENGTH", **context)


class StoredRecord(models.Model):
    """Base of every stream's model: the version that decides which of two records with one key is newer."""

    version_at = models.DateTimeField(editable=False)
    delivery = models.BigIntegerField(editable=False, help_text="The delivery that this version came from.")
    position = models.IntegerField(editable=False)
    client = models.CharField(
        max_length=200,
        default="",
        db_default="",
        editable=False,
        help_text="Who sent this version, as in its delivery.",
    )
    warnings = models.JSONField(
        default=list, blank=True, editable=False, help_text="Unusual values that are not errors."
    )
    stored_at = models.DateTimeField(
        default=timezone.now, db_index=True, editable=False, help_text="When the row last changed."
    )

    exposed_as: ClassVar[Mapping[str, str]] = {}
    """field → the attribute that clients read as this field, if it is not the one of that name."""

    class Meta:
        abstract = True

    @property
    def version(self) -> tuple[Any, int, int]:
        return (self.version_at, self.delivery, self.position)

    def as_record(self, schema: type[BaseModel]) -> BaseModel:
        """The record this row was stored from, so that it can be enriched again."""
        return schema.model_construct(**{name: self.exposed_value(name) for name in schema.model_fields})

    def exposed_value(self, name: str) -> Any:
        """The value that clients read as this field."""
        return getattr(self, self.exposed_as.get(name, name))


class HeldRecordQuerySet(models.QuerySet["HeldRecord"]):
    def open(self) -> Self:
        return self.filter(status__in=HeldRecord.OPEN)

    def dead(self) -> Self:
        return self.filter(status=HeldRecord.Status.DEAD)

    def waiting(self) -> Self:
        return self.filter(status=HeldRecord.Status.WAITING)

    def matching(self, criteria: Mapping[str, Any]) -> Self:
        """Those that match a bulk action's filter. KeyError for a name not in SELECTABLE_BY: none may be ignored."""
        criteria = {SELECTABLE_BY[name]: value for name, value in criteria.items()}
        if (upload := criteria.get(SELECTABLE_BY["upload"])) is not None:
            criteria[SELECTABLE_BY["upload"]] = Upload.with_parts(upload)
        return self.filter(**criteria)


SELECTABLE_BY = {
    "ids": "pk__in",
    "status": "status",
    "stream": "stream",
    "stage": "stage",
    "code": "code",
    "message": "message",
    "key": "key",
    "client": "client",
    "delivery": "delivery",
    "upload": "delivery__upload__in",
    "missing_stream": "missing_stream",
    "missing_key": "missing_key",
    "held_after": "held_at__gte",
    "held_before": "held_at__lt",
}
"""What the filter of a bulk action may name → the lookup."""


class HeldRecord(models.Model):
    """A record that could not be stored yet. Its status changes only by updates guarded by the status."""

    class Status(models.TextChoices):
        WAITING = "waiting", "waiting"
        DEAD = "dead", "dead"
        RESOLVED = "resolved", "resolved"
        DISCARDED = "discarded", "discarded"

    OPEN = (Status.WAITING, Status.DEAD)

    class Stage(models.TextChoices):
        VALIDATE = "validate", "validate"
        ENRICH = "enrich", "enrich"
        UPSERT = "upsert", "upsert"

    class Code(models.TextChoices):
        """Why a record is held: a closed list, part of the API."""

        INVALID = "invalid", "invalid"
        TOO_LARGE = "too_large", "too large"
        MISSING_REFERENCE = "missing_reference", "missing reference"
        CRASHED_WORKER = "crashed_worker", "crashed worker"
        ENRICH_ERROR = "enrich_error", "enrich error"
        CONFLICT = "conflict", "conflict"
        CONSTRAINT = "constraint", "constraint"
        UNSTORABLE = "unstorable", "unstorable"
        ERASED = "erased", "erased"

    WHEN_ERASED: ClassVar[Mapping[str, Any]] = {
        "key": "",
        "payload": ascii_json(ERASED),
        "original_payload": None,
        "code": Code.ERASED,
        "missing_stream": "",
        "missing_key": "",
        "discard_reason": "Erased: it was about a person whose data are not to be stored.",
    }
    """The columns of one about a person whose data have been erased."""

    stream = models.CharField(max_length=64)
    key = models.CharField(max_length=64, blank=True, help_text="Cleaned; empty if the record has none.")
    client = models.CharField(max_length=200, help_text="Who sent it, as in its delivery.")
    delivery = models.ForeignKey(Delivery, models.PROTECT, related_name="held_records")
    position = models.PositiveIntegerField(help_text="Position in the delivery, from 0.")
    received_at = models.DateTimeField(help_text="When the delivery was received.")
    version_at = models.DateTimeField(help_text="updated_at of the record if it can be read, else received_at.")
    payload = models.TextField(help_text="JSON in ASCII.")
    original_payload = models.TextField(null=True, help_text="As sent, kept when the payload is fixed.")
    payload_version = models.PositiveIntegerField(default=0, help_text="Counts the fixes.")

    status = models.CharField(max_length=10, choices=Status)
    stage = models.CharField(max_length=10, choices=Stage)
    code = models.CharField(max_length=20, choices=Code)
    messages = models.JSONField(default=dict, help_text="field: [messages] of the last failure.")
    message = models.CharField(max_length=200, help_text="The first message, on one line: records are grouped by it.")
    missing_stream = models.CharField(max_length=64, blank=True)
    missing_key = models.CharField(max_length=64, blank=True)
    held_at = models.DateTimeField(db_default=Now())
    waiting_since = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(db_default=Now())
    attempts = models.PositiveIntegerField(default=1)

    queued_in = models.BigIntegerField(null=True, help_text="The pending delivery that will reprocess it.")
    resolved_by = models.BigIntegerField(null=True, help_text="The delivery that stored it or a newer one.")
    outcome = models.CharField(max_length=10, blank=True, help_text="The outcome when it was stored.")
    discard_reason = models.TextField(blank=True)

    objects = HeldRecordQuerySet.as_manager()

    class Meta:
        verbose_name = "failed record"
        permissions = [
            ("reprocess", "Can reprocess failed records"),
            ("discard", "Can discard failed records"),
            ("fix", "Can fix failed records"),
            ("refresh", "Can refresh derived fields"),
        ]
        constraints = [models.UniqueConstraint(fields=["delivery", "position"], name="held_once")]
        indexes = [
            models.Index(fields=["stream", "key"], name="held_open_key", condition=Q(status__in=("waiting", "dead"))),
            models.Index(fields=["key"], name="held_key"),
            models.Index(
                fields=["status", "client", "-id", "held_at", "stream", "code"],
                name="held_open_client",
                condition=Q(status__in=("waiting", "dead")),
            ),
            models.Index(
                fields=["missing_stream", "missing_key", "status", "stream", "waiting_since"],
                name="held_open_missing",
                condition=Q(status__in=("waiting", "dead")) & ~Q(missing_stream=""),
            ),
            models.Index(
                "status",
                "code",
                "stream",
                "held_at",
                # Besides what finds them, what they are counted by: the rows themselves, with payloads, stay unread.
                "stage",
                "client",
                "queued_in",
                "id",
                name="held_open_code",
                condition=Q(status__in=("waiting", "dead")),
            ),
            models.Index(
                "status",
                "message",
                "stream",
                "held_at",
                # Likewise.
                "code",
                "stage",
                "client",
                "queued_in",
                "id",
                name="held_open_message",
                condition=Q(status__in=("waiting", "dead")),
            ),
            models.Index(fields=["status", "-id"], name="held_status"),
            models.Index(fields=["queued_in"], name="held_queued", condition=Q(queued_in__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.stream} {plain(self.key) or 'without ID'} (delivery {self.delivery_id}, #{self.position + 1})"


class DeadLetter(HeldRecord):
    class Meta:
        proxy = True


class WaitingRecord(HeldRecord):
    class Meta:
        proxy = True


class Failure(models.Model):
    """One failed attempt of a held record."""

    held = models.ForeignKey(HeldRecord, models.CASCADE, related_name="failures")
    delivery = models.BigIntegerField(help_text="The delivery in which the attempt was made.")
    at = models.DateTimeField(db_default=Now())
    stage = models.CharField(max_length=10, choices=HeldRecord.Stage)
    code = models.CharField(max_length=20, choices=HeldRecord.Code)
    messages = models.JSONField(default=dict)
    code_version = models.CharField(max_length=40)
    traceback = models.TextField(blank=True)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.code} in {self.stage}"


class BulkActionQuerySet(models.QuerySet["BulkAction"]):
    def unfinished(self) -> Self:
        return self.filter(finished_at=None)


class BulkAction(models.Model):
    """One decision about held records, carried out in steps, and its audit row: who, which filter, how many, result.

    Left to do are the open records that match the filter and whose ids are above `reached`, up to `up_to`.
    """

    class Kind(models.TextChoices):
        REPROCESS = "reprocess", "reprocess"
        DISCARD = "discard", "discard"
        FIX = "fix", "fix"

    kind = models.CharField(max_length=10, choices=Kind)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True)
    by = models.CharField(max_length=200, help_text="user:<name> or command.")
    filter = models.JSONField(default=dict, help_text="What selected the records: names of SELECTABLE_BY.")
    change = models.JSONField(default=dict, help_text="Of a fix: what was changed.")
    reason = models.TextField(blank=True)
    total = models.PositiveIntegerField(default=0, help_text="Held records that matched when it was created.")
    count = models.PositiveIntegerField(default=0, help_text="Held records acted on.")
    deliveries = models.ManyToManyField(Delivery)
    acted_on = models.ManyToManyField(HeldRecord, related_name="bulk_actions")
    at = models.DateTimeField(db_default=Now())

    up_to = models.BigIntegerField(default=0, help_text="The newest held record that it acts on.")
    reached = models.BigIntegerField(default=0, help_text="Held records up to this one are done.")
    finished_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True, help_text="The error of the last step, which is tried again.")

    objects = BulkActionQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["id"], name="bulk_action_unfinished", condition=Q(finished_at=None))]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class ErasureQuerySet(models.QuerySet["Erasure"]):
    def unfinished(self) -> Self:
        return self.filter(finished_at=None)


class Erasure(models.Model):
    """One person erased, in steps, and the audit row: who did it, why, and how much. Once it is done, a keyed hash is
    all that it has of the person.
    """

    kind = models.CharField(max_length=64, help_text="What the person is: Subject.kind of a stream.")
    digest = models.CharField(max_length=64, help_text="As in the suppression.")
    key = models.CharField(max_length=64, blank=True, help_text="The person’s key, until it is done.")
    names = models.JSONField(default=list, help_text="The person’s names and addresses, until it is done.")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True)
    by = models.CharField(max_length=200, help_text="user:<name> or command.")
    reason = models.TextField(blank=True)
    started_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(db_default=Now(), help_text="When its last step was done.")
    finished_at = models.DateTimeField(null=True)
    stage = models.CharField(max_length=20)
    reached = models.JSONField(default=dict, help_text="How far the present stage is.")
    erased = models.JSONField(default=dict, help_text="Kind of row → how many.")
    before = models.JSONField(default=dict, help_text="Where the person stood before: table.column → rows.")
    left = models.JSONField(default=list, help_text="Where the person still stands: table, row, column, key or name.")
    last_error = models.TextField(blank=True, help_text="The error of the last step, which is tried again.")
    lifted_at = models.DateTimeField(null=True, help_text="Since when records about the person are stored again.")
    lifted_by = models.CharField(max_length=200, blank=True)

    objects = ErasureQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "personal data"
        default_permissions = ()
        permissions = [
            ("erase_subjects", "Can export and erase what is held about a person"),
            ("view_personal_data", "Can see names, email addresses and free texts"),
        ]
        indexes = [
            models.Index(fields=["digest"], name="erasure_digest"),
            models.Index(fields=["id"], name="erasure_unfinished", condition=Q(finished_at=None)),
        ]

    def __str__(self) -> str:
        return f"erasure {self.pk}"


class Pruning(models.Model):
    """One run of retention: what was completed before `before` is deleted, in small steps."""

    by = models.CharField(max_length=200, help_text="user:<name>, command or schedule.")
    before = models.DateTimeField()
    started_at = models.DateTimeField(db_default=Now())
    changed_at = models.DateTimeField(db_default=Now(), help_text="When its last step was done.")
    finished_at = models.DateTimeField(null=True)
    reached = models.JSONField(default=dict, help_text="The present table, and the last row read in it.")
    deleted = models.JSONField(default=dict, help_text="Deleted rows by kind: {'deliveries': n, …}.")

    class Meta:
        verbose_name = "retention run"
        verbose_name_plural = "retention"
        default_permissions = ("view",)
        permissions = [("prune", "Can delete what is older than the retention")]

    def __str__(self) -> str:
        return f"retention run {self.pk}"


class DataAccess(models.Model):
    """Somebody took rows out, or looked at what a failed record holds. Deleted by retention."""

    class Kind(models.TextChoices):
        EXPORT = "export", "export"
        PAYLOAD = "payload", "failed payload"

    at = models.DateTimeField(db_default=Now())
    by = models.CharField(max_length=200, help_text="key:<prefix>, user:<name> or command.")
    kind = models.CharField(max_length=10, choices=Kind)
    what = models.CharField(max_length=200, help_text="The stream, list or file.")
    record = models.BigIntegerField(null=True, help_text="Of a look: the failed record; empty: those of a page.")
    query = models.JSONField(default=dict, help_text="The filter and what else was asked for.")
    format = models.CharField(max_length=10, blank=True)
    rows = models.PositiveBigIntegerField(
        null=True, help_text="Of an export: read for it until it ended; empty: its process was killed."
    )

    class Meta:
        verbose_name = "data access"
        verbose_name_plural = "data access"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class RetentionRule(models.Model):
    """How long what belongs to a stream is kept, where that differs from the usual."""

    stream = models.CharField(max_length=64, primary_key=True)
    delivery_days = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Processed deliveries and closed failed records; empty: RETENTION."
    )
    dead_letter_days = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Dead letters are discarded after so long; empty: never."
    )
    stored_days = models.PositiveSmallIntegerField(
        null=True,
        blank=True,
        help_text="Stored records whose version is older are deleted, unless others refer to them; empty: never.",
    )

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.stream


class MinuteStat(Minutes):
    """The records processed in one minute, by stream: sums of the deliveries' counts, added in the same transaction.

    Totals and /metrics are sums over all rows and may never fall: old rows are merged into one a day, never deleted.
    """

    OUTCOMES = ("inserted", "updated", "stale", "waiting", "dead")
    LATENCIES = (*latency.COLUMNS, "seconds")
    counted_by = "stream"
    counters = OUTCOMES + LATENCIES

    stream = models.CharField(max_length=64)
    inserted = models.PositiveIntegerField(default=0)
    updated = models.PositiveIntegerField(default=0)
    stale = models.PositiveIntegerField(default=0)
    waiting = models.PositiveIntegerField(default=0, help_text="Records newly held, waiting.")
    dead = models.PositiveIntegerField(default=0, help_text="Records newly held, dead.")

    # Records that clients sent, by the time from their arrival until they were first stored or held.
    within_250ms = models.PositiveIntegerField(default=0)
    within_500ms = models.PositiveIntegerField(default=0)
    within_1s = models.PositiveIntegerField(default=0)
    within_2s = models.PositiveIntegerField(default=0)
    within_5s = models.PositiveIntegerField(default=0)
    within_10s = models.PositiveIntegerField(default=0)
    within_30s = models.PositiveIntegerField(default=0)
    within_1m = models.PositiveIntegerField(default=0)
    within_5m = models.PositiveIntegerField(default=0)
    within_30m = models.PositiveIntegerField(default=0)
    within_1h = models.PositiveIntegerField(default=0)
    over_1h = models.PositiveIntegerField(default=0)
    seconds = models.FloatField(default=0, help_text="The sum of these times over all records.")

    objects: ClassVar[MinutesQuerySet[MinuteStat]] = MinutesQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [models.UniqueConstraint(fields=["minute", "stream"], name="minute_once")]

    def __str__(self) -> str:
        return f"{self.stream} {self.minute:%Y-%m-%d %H:%M}"

    @property
    def records(self) -> int:
        """Processed in this minute, reprocessed ones included."""
        return sum(getattr(self, name) for name in self.OUTCOMES)


class ClusterStatus(models.Model):
    """What a running cluster says of itself every two seconds, signed by django-q2 (enrichment/cluster/)."""

    key = models.CharField(max_length=200, primary_key=True)
    status = models.TextField()
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.key


def range_check(model: str, field: str, minimum: float, maximum: float) -> models.CheckConstraint:
    """A constraint of a stored record: the field lies between the two."""
    return models.CheckConstraint(
        condition=Q(**{f"{field}__gte": minimum, f"{field}__lte": maximum}),
        name=f"{model}_{field}",
        violation_error_message=f"{field} must be from {minimum} to {maximum}.",
    )


def choice_check(model: str, field: str, choices: type[models.TextChoices]) -> models.CheckConstraint:
    """A constraint of a stored record: the field is one of the choices."""
    return models.CheckConstraint(
        condition=Q(**{f"{field}__in": choices.values}),
        name=f"{model}_{field}",
        violation_error_message=f"{field} must be one of: {', '.join(choices.values)}.",
    )

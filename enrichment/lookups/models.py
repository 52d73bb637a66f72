"""Questions to outside services, with their answers; and the state of these services, shared by all processes.

Imported by enrichment/models.py: the tables belong to that app.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Self

from django.db import connection, models
from django.db.models import Q
from django.db.models.functions import Now

from enrichment.minutes import Minutes, MinutesQuerySet
from enrichment.statements import batched
from ingestion.models import Upload
from ingestion.text import plain

MAX_KEY = 500
"""Characters: an index of PostgreSQL takes no more than 2,700 bytes."""


class LookupQuerySet(models.QuerySet["Lookup"]):
    def open(self) -> Self:
        """Never answered."""
        return self.filter(status=Lookup.Status.OPEN)

    def due(self) -> Self:
        """To be asked now; of paused, stopped and absent providers, too."""
        return self.filter(due_at__lte=Now())

    def lock(self, pks: Iterable[int], *, shared: bool = False) -> list[Lookup]:
        """Reads these and locks them until the transaction ends, in order of id: whoever locks several does so by this.

        Shared, others may lock them likewise, but nobody answers them.
        """
        table = connection.ops.quote_name(self.model._meta.db_table)
        rows: list[Lookup] = []
        for part in batched(sorted(pks)):
            if shared and connection.vendor == "postgresql":  # Django has no such lock
                rows += self.raw(f"SELECT * FROM {table} WHERE id = ANY(%s) ORDER BY id FOR SHARE", [part])  # noqa: S608
            else:  # SQLite's write lock is held already
                rows += self.filter(pk__in=part).order_by("pk").select_for_update(no_key=True)
        return rows

    def of_uploads(self, uploads: Iterable[int]) -> Self:
        """Those that records of these uploads asked, whoever asked first."""
        return self.filter(pk__in=LookupUpload.objects.filter(upload__in=uploads).values("lookup"))


class Lookup(models.Model):
    """One question to a provider, asked once for everybody, and its answer, which is asked for again when it expires.

    An answer is stored only by who holds the claim on the row. A person's choice (`chosen_at`) is locked: it is never
    asked again, until a person undoes it.
    """

    class Status(models.TextChoices):
        OPEN = "open", "open"
        FOUND = "found", "found"
        NOT_FOUND = "not_found", "not found"
        AMBIGUOUS = "ambiguous", "ambiguous"
        FAILED = "failed", "failed"

    SETTLED = (Status.FOUND, Status.NOT_FOUND, Status.AMBIGUOUS, Status.FAILED)

    class Fault(models.TextChoices):
        """Whose error the last one was."""

        QUESTION = "question", "question"
        PROVIDER = "provider", "provider"
        CODE = "code", "code"

    provider = models.CharField(max_length=32)
    kind = models.CharField(max_length=32)
    key = models.CharField(max_length=MAX_KEY)
    question = models.JSONField(default=dict, help_text="What the provider is asked, besides kind and key.")

    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN, db_default=Status.OPEN)
    answer = models.JSONField(null=True, help_text="As found, reduced to what is needed.")
    candidates = models.JSONField(default=list, help_text="What a person may choose from.")
    score = models.FloatField(null=True, help_text="How sure the answer is: 0 to 1.")
    how = models.CharField(max_length=64, blank=True, help_text="The rule that found it.")
    next = models.ForeignKey(
        "self", models.SET_NULL, null=True, related_name="previous", help_text="The lookup that the answer led to."
    )

    due_at = models.DateTimeField(
        null=True,
        db_default=Now(),
        help_text="When it is asked (again), or, while claimed, when the claim expires; null: never.",
    )
    turn = models.BigIntegerField(default=0, db_default=0, help_text="Open lookups are asked in this order.")
    asked_again = models.BooleanField(default=False, db_default=False, help_text="By a person: before all refreshes.")
    claim = models.CharField(max_length=32, blank=True, db_default="", help_text="Of the runner that is asking it.")

    tries = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="Failures in a row that were its own.")
    misses = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="Answers in a row: not found.")
    failures = models.PositiveSmallIntegerField(default=0, db_default=0, help_text="Errors in a row, whosever.")
    failed_at = models.DateTimeField(null=True, help_text="When the last of these errors happened.")
    fault = models.CharField(max_length=10, choices=Fault, blank=True, db_default="")
    last_error = models.TextField(blank=True, db_default="")

    created_at = models.DateTimeField(db_default=Now())
    asked_at = models.DateTimeField(null=True, help_text="When it was last sent to the provider.")
    answered_at = models.DateTimeField(null=True, help_text="When the present answer was stored.")
    gone_at = models.DateTimeField(null=True, help_text="When the provider no longer knew what it had found before.")

    chosen_by = models.CharField(max_length=200, blank=True, db_default="", help_text="user:<name> or command.")
    chosen_at = models.DateTimeField(null=True)

    uploads = models.ManyToManyField(Upload, through="LookupUpload", related_name="lookups")

    objects = LookupQuerySet.as_manager()

    class Meta:
        permissions = [
            ("choose_answers", "Can choose among ambiguous answers"),
            ("ask_again", "Can have lookups asked again"),
        ]
        constraints = [models.UniqueConstraint(fields=["provider", "kind", "key"], name="lookup_once")]
        indexes = [
            models.Index(fields=["provider", "turn", "id"], name="lookup_queue", condition=Q(status="open")),
            models.Index(fields=["provider", "due_at"], name="lookup_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=["provider", "due_at"], name="lookup_again", condition=Q(asked_again=True)),
            models.Index(fields=["provider", "status", "-id"], name="lookup_status"),
            models.Index(fields=["key"], name="lookup_key"),
            models.Index(fields=["provider", "answered_at"], name="lookup_answered"),
            models.Index(fields=["fault"], name="lookup_code_error", condition=Q(fault="code")),
        ]

    def __str__(self) -> str:
        return plain(f"{self.provider} {self.kind} {self.key}")

    @property
    def is_settled(self) -> bool:
        """It has been answered, if only by: failed."""
        return self.status in Lookup.SETTLED

    @property
    def is_chosen(self) -> bool:
        """By a person, and so locked."""
        return self.chosen_at is not None


class AmbiguousLookup(Lookup):
    class Meta:
        proxy = True


class LookupUpload(models.Model):
    """A record of the upload asked the question, first or not."""

    lookup = models.ForeignKey(Lookup, models.CASCADE)
    upload = models.ForeignKey(Upload, models.CASCADE)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["upload", "lookup"], name="lookup_upload_once")]

    def __str__(self) -> str:
        return f"lookup {self.lookup_id} of upload {self.upload_id}"


class ProviderState(models.Model):
    """What all processes know of one provider: its next free slot, and why it is not being asked."""

    provider = models.CharField(max_length=32, primary_key=True)
    next_slot = models.FloatField(default=0, db_default=0, help_text="Unix time, by the database's clock.")
    blocked_until = models.DateTimeField(null=True, help_text="As the provider asked for (429, Retry-After).")

    paused_at = models.DateTimeField(null=True)
    paused_by = models.CharField(
        max_length=200, blank=True, default="", db_default="", help_text="user:<name> or command."
    )
    paused_reason = models.TextField(blank=True, default="", db_default="")

    stopped_at = models.DateTimeField(null=True, help_text="When it refused the key (401, 403).")
    stopped_key = models.CharField(
        max_length=64, blank=True, default="", db_default="", help_text="A hash of the refused key."
    )

    away_since = models.DateTimeField(null=True, help_text="The first error of the provider without a success since.")
    away_until = models.DateTimeField(null=True, help_text="When it is tried again.")
    away_count = models.PositiveIntegerField(default=0, db_default=0, help_text="Such errors in a row.")

    last_error = models.TextField(blank=True, default="", db_default="")
    last_error_at = models.DateTimeField(null=True)
    last_success_at = models.DateTimeField(null=True, help_text="When it last answered a question.")
    last_run_at = models.DateTimeField(null=True, help_text="When a runner last looked for work for it.")

    class Meta:
        verbose_name = "provider"
        default_permissions = ("view",)
        permissions = [("control_providers", "Can pause, resume and run providers")]

    def __str__(self) -> str:
        return self.provider


class LookupMinute(Minutes):
    """What was asked and answered in one minute, by provider."""

    ANSWERS = ("found", "not_found", "ambiguous", "failed")
    counted_by = "provider"
    counters = ("requests", "throttled", "errors", *ANSWERS)

    provider = models.CharField(max_length=32)
    requests = models.PositiveIntegerField(default=0)
    throttled = models.PositiveIntegerField(default=0, help_text="Of the requests those answered with 429.")
    errors = models.PositiveIntegerField(default=0, help_text="Of the requests those without a usable answer.")
    found = models.PositiveIntegerField(default=0)
    not_found = models.PositiveIntegerField(default=0)
    ambiguous = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)

    objects: ClassVar[MinutesQuerySet[LookupMinute]] = MinutesQuerySet.as_manager()  # type: ignore[assignment]

    class Meta:
        constraints = [models.UniqueConstraint(fields=["minute", "provider"], name="lookup_minute_once")]

    def __str__(self) -> str:
        return f"{self.provider} {self.minute:%Y-%m-%d %H:%M}"

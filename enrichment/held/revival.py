"""Revives held records whose reference has arrived, closes superseded ones, and lets waiting ones expire (P6, P11).

Called after a commit, and by the sweep: of two transactions that need each other's rows, the later one sees both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, Subquery
from django.utils import timezone

from enrichment.held.requeue import by_stream, queue
from enrichment.models import HeldRecord, HeldRecordQuerySet
from ingestion import doorbell, streams
from ingestion.models import Delivery
from ingestion.streams import Stream

Status, Stage, Code = HeldRecord.Status, HeldRecord.Stage, HeldRecord.Code
CHUNK = 1000
"""The most held records of one delivery."""


def reconcile(stream: Stream, stored: Collection[str], held: Collection[int]) -> None:
    """After a commit: revives records that wait for those just stored, and closes those that they supersede. Of the
    records just held it revives or closes those for which another commit has stored what they need.
    """
    if not held and not HeldRecord.objects.open().exists():
        return
    just_held = Q(pk__in=held)
    revive(stream.name, HeldRecord.objects.filter(just_held | Q(missing_stream=stream.name, missing_key__in=stored)))
    for reference in stream.references:
        revive(reference.stream, HeldRecord.objects.filter(just_held))
    close_superseded(stream, HeldRecord.objects.filter(just_held | Q(key__in=stored)))


def reconcile_all() -> None:
    """Makes up for a crash between a commit and its reconciling."""
    for stream in streams.all_streams():
        revive(stream.name, HeldRecord.objects.all())
        close_superseded(stream, HeldRecord.objects.all())


def revive(missing_stream: str, records: HeldRecordQuerySet) -> int:
    """Queues those of the records, waiting or dead, whose missing record of that stream is stored by now."""
    referred = streams.get(missing_stream).model._default_manager.filter(pk=OuterRef("missing_key"))
    ready = records.open().filter(Exists(referred), missing_stream=missing_stream, code=Code.MISSING_REFERENCE)
    revived = 0
    for name, pks in by_stream(ready.filter(queued_in=None)).items():
        for chunk in _chunks(pks):
            revived += sum(delivery.count for delivery in queue(name, chunk, Delivery.Source.REVIVAL))
    if revived:
        doorbell.ring()
    return revived


def close_superseded(stream: Stream, records: HeldRecordQuerySet) -> int:
    """Resolves those of the open records for whose key a record is stored that is not older (P11)."""
    same_time = Q(version_at=OuterRef("version_at"))
    not_older = (
        Q(version_at__gt=OuterRef("version_at"))
        | same_time & Q(delivery__gt=OuterRef("delivery_id"))
        | same_time & Q(delivery=OuterRef("delivery_id"), position__gte=OuterRef("position"))
    )
    newer = stream.model._default_manager.filter(not_older, pk=OuterRef("key"))
    superseded = records.open().filter(Exists(newer), stream=stream.name)
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
    """Records that have waited longer than REFERENCE_WAIT become dead; a late arrival revives them even then."""
    now = timezone.now()
    expired = HeldRecord.objects.waiting().filter(
        waiting_since__lt=now - timedelta(seconds=settings.REFERENCE_WAIT), queued_in=None
    )
    return expired.update(status=Status.DEAD, changed_at=now)


def _chunks(pks: Iterable[int]) -> Iterator[Sequence[int]]:
    everything = list(pks)
    return (everything[start : start + CHUNK] for start in range(0, len(everything), CHUNK))

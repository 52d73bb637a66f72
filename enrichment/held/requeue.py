"""Puts held records into deliveries, which are processed like any other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from django.db import transaction

from enrichment.models import Bytes, HeldRecord, HeldRecordQuerySet
from ingestion.models import Delivery
from ingestion.payloads import ascii_json

CHUNK_BYTES = 16_000_000
"""The most bytes of payloads in one delivery of several held records: a worker reads them at once."""


def by_stream(records: HeldRecordQuerySet) -> dict[str, list[int]]:
    """stream → ids of these records, in order."""
    pks: dict[str, list[int]] = defaultdict(list)
    for name, pk in records.order_by("pk").values_list("stream", "pk"):
        pks[name].append(pk)
    return pks


def queue(stream: str, pks: Collection[int], source: Delivery.Source) -> list[Delivery]:
    """Puts those of these records that are open and not queued yet into as few deliveries as possible, perhaps none."""
    with transaction.atomic():
        free = HeldRecord.objects.open().filter(pk__in=pks, queued_in=None).order_by("pk").select_for_update()
        return [_deliver(stream, chunk, source) for chunk in _by_bytes(free.values_list("pk", Bytes("payload")))]


def _by_bytes(sizes: Iterable[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Splits these (id, bytes), in order, into chunks of at most CHUNK_BYTES."""
    chunks: list[list[tuple[int, int]]] = []
    space = 0
    for pk, size in sizes:
        if not chunks or size > space:
            chunks.append([])
            space = CHUNK_BYTES
        chunks[-1].append((pk, size))
        space -= size
    return chunks


def _deliver(stream: str, named: Sequence[tuple[int, int]], source: Delivery.Source) -> Delivery:
    """One delivery of these (id, bytes), locked by the caller. Its size is the sum: so much is read to process it."""
    pks = [pk for pk, _ in named]
    delivery = Delivery.objects.insert(
        stream=stream,
        source=source,
        client="system",
        format=Delivery.Format.HELD,
        body=ascii_json(pks).encode(),
        size=sum(size for _, size in named),
        count=len(pks),
    )
    HeldRecord.objects.open().filter(pk__in=pks, queued_in=None).update(queued_in=delivery.pk)
    return delivery

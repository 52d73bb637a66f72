"""Held records put into deliveries, which take them the one way of every record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from django.db import transaction

from enrichment.models import Bytes, HeldRecord, HeldRecordQuerySet
from ingestion.models import Delivery
from ingestion.payloads import ascii_json

CHUNK_BYTES = 16_000_000
"""Of payloads of the held records named by one delivery, where it names more than one: what a worker reads at once."""


def by_stream(among: HeldRecordQuerySet) -> dict[str, list[int]]:
    """stream → ids in order, of the records among these."""
    pks: dict[str, list[int]] = defaultdict(list)
    for name, pk in among.order_by("pk").values_list("stream", "pk"):
        pks[name].append(pk)
    return pks


def queue(stream: str, pks: Collection[int], source: Delivery.Source) -> list[Delivery]:
    """Puts those of these records that are still open and in no delivery into as few as may be; none where none are."""
    with transaction.atomic():
        free = HeldRecord.objects.open().filter(pk__in=pks, queued_in=None).order_by("pk").select_for_update()
        return [_deliver(stream, chunk, source) for chunk in _by_bytes(free.values_list("pk", Bytes("payload")))]


def _by_bytes(sizes: Iterable[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """These (id, bytes) in their order, cut where more than CHUNK_BYTES would be together."""
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
    """One delivery of these (id, bytes), locked by the caller. Its size is theirs: so much is read to work on it."""
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

"""Records about persons whose data have been erased: neither stored nor kept, whichever way they came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from enrichment.pipeline.item import Item, Rejection
from ingestion.models import Delivery
from ingestion.payloads import ERASED, parse_accepted
from ingestion.streams import Stream
from ingestion.subjects import bodies, suppression


def reject(stream: Stream, items: Sequence[Item], secret: str) -> None:
    """Rejects those of the items, valid or not, and takes them out of the bodies they came in, with what was refused at
    the door. The deliveries are locked.
    """
    present = [item for item in items if not item.outcome]
    places: dict[int, set[int]] = defaultdict(set)
    for index, mention in suppression.find(stream, [item.payload for item in present], secret).items():
        item = present[index]
        item.payload, item.record = ERASED, None
        item.rejection = Rejection.erased(mention.field, suppression.message_of(mention))
        if item.held is None:
            places[item.delivery.pk].add(item.position)
    for delivery in {item.delivery.pk: item.delivery for item in items if item.held is None}.values():
        if delivery.refused != "[]":
            places[delivery.pk] |= _refused(stream, delivery, secret)
        if places[delivery.pk]:
            bodies.blank_delivery(delivery, places[delivery.pk])


def _refused(stream: Stream, delivery: Delivery, secret: str) -> set[int]:
    """The positions of records about such persons that were refused, and are in the body all the same."""
    payloads = parse_accepted(delivery.content, ndjson=delivery.is_ndjson)
    positions = sorted(delivery.refused_positions)
    found = suppression.find(stream, [payloads[position] for position in positions], secret)
    return {positions[index] for index in found}

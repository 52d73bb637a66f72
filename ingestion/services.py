"""accept(): takes in what a client posts. When it returns, the records are durably stored, as they were sent.

Every delivery, also of uploads and of held records, is written by Delivery.objects.insert().
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

from ingestion import backlog, doorbell
from ingestion.models import Delivery
from ingestion.payloads import ascii_json
from ingestion.streams import Stream
from ingestion.subjects import bodies
from ingestion.validation import ValidationReport, check


@dataclass(frozen=True, kw_only=True)
class Acceptance(ValidationReport):
    delivery: Delivery


def accept(
    stream: Stream,
    items: list[Any],
    body: bytes,
    *,
    fmt: Delivery.Format,
    client: str,
    keep_invalid: bool = False,
    in_transaction: Callable[[Acceptance], None] | None = None,
    **columns: Any,
) -> Acceptance:
    """Stores `body`, whose parsed items are `items`, as one delivery with these columns; returns after its commit.

    Invalid items are rejected, or with `keep_invalid` accepted, to become dead letters; those about persons whose data
    have been erased are not even kept in the body. `in_transaction` is called before the commit. Raises NoValidRecords
    and backlog.BacklogFull.
    """
    backlog.raise_if_full([stream.name], client)
    checked = check(stream, items, keep_invalid=keep_invalid)
    if checked.suppressed:
        body = bodies.blank(body, checked.suppressed, ndjson=fmt == Delivery.Format.NDJSON)
    with transaction.atomic(durable=True) if in_transaction else require_autocommit():
        delivery = Delivery.objects.insert(
            stream=stream.name,
            client=client,
            format=fmt,
            body=body,
            refused=ascii_json(checked.refused),
            count=checked.count,
            **columns,
        )
        accepted = Acceptance(**vars(checked), delivery=delivery)
        if in_transaction:
            in_transaction(accepted)
    backlog.note_accepted(stream.name, client, checked.count, len(body))
    doorbell.ring_for_records()
    return accepted


@contextmanager
def require_autocommit() -> Iterator[None]:
    """Like atomic(durable=True), for a single statement that commits by itself: one round trip instead of three."""
    blocks: list[Any] = connection.atomic_blocks
    if any(not block._from_testcase for block in blocks):  # noqa: SLF001 (what Django's own durable=True asks)
        raise RuntimeError("Not durable: the surrounding transaction could still be rolled back.")
    yield

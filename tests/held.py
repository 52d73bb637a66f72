"""Held records made by hand, and bulk actions on them done at once, for tests."""

from itertools import count
from typing import Any

from django.utils import timezone

from enrichment.held import bulk_actions
from enrichment.models import BulkAction, HeldRecord
from enrichment.pipeline.item import Rejection
from ingestion.messages import Message
from ingestion.models import ApiKey, Delivery
from ingestion.payloads import ascii_json
from ingestion.streams import get

_numbers = count()


def valid(stream: str = "tutors", **changes: Any) -> dict[str, Any]:
    return {**get(stream).example, **changes}


def hold(payload: Any = None, **fields: Any) -> HeldRecord:
    """A dead tutor, invalid for its email, unless the fields say otherwise."""
    stream = fields.get("stream", "tutors")
    payload = valid(stream, email="no address") if payload is None else payload
    now = timezone.now()
    delivery = Delivery.objects.create(
        stream=stream, client="key:abc", body=ascii_json([payload]).encode(), count=1, held=1, processed_at=now
    )
    number = next(_numbers)
    usual: dict[str, Any] = {
        "stream": stream,
        "key": f"T-{number}",
        "client": delivery.client,
        "delivery": delivery,
        "position": 0,
        "received_at": now,
        "version_at": now,
        "payload": payload if isinstance(payload, str) else ascii_json(payload),
        "status": HeldRecord.Status.DEAD,
        "stage": HeldRecord.Stage.VALIDATE,
        "code": HeldRecord.Code.INVALID,
        "messages": {"email": ["value is not a valid email address"]},
    }
    usual |= fields
    rejection = Rejection(
        usual["stage"], usual["code"], usual["messages"], missing_stream=usual.get("missing_stream", "")
    )
    held = HeldRecord.objects.create(**{"message": rejection.message, **usual})
    held.failures.create(
        delivery=delivery.pk, stage=held.stage, code=held.code, messages=held.messages, code_version="0.1.0"
    )
    return held


def wait(**fields: Any) -> HeldRecord:
    """A session that waits for its tutor."""
    usual = {
        "stream": "sessions",
        "status": HeldRecord.Status.WAITING,
        "code": HeldRecord.Code.MISSING_REFERENCE,
        "messages": {"tutor_id": [Message("tutor T-9 does not exist (yet)", general="tutor does not exist (yet)")]},
        "missing_stream": "tutors",
        "missing_key": "T-9",
        "waiting_since": timezone.now(),
    }
    return hold(valid("sessions"), **{**usual, **fields})


def key_named(name: str) -> ApiKey:
    key = ApiKey(name=name)
    key.issue()
    return key


def reprocess(criteria: dict[str, Any], *, by: str) -> BulkAction:
    """Reprocesses the open held records that match, and that are not queued already; the whole bulk action at once."""
    return bulk_actions.run_to_completion(bulk_actions.create(BulkAction.Kind.REPROCESS, criteria, by=by))


def discard(criteria: dict[str, Any], *, by: str, reason: str) -> BulkAction:
    """Discards the open held records that match; the whole bulk action at once."""
    return bulk_actions.run_to_completion(bulk_actions.create(BulkAction.Kind.DISCARD, criteria, by=by, reason=reason))

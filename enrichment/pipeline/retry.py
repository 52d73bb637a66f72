"""What is retried after an error that is not a record's (P10): when, and in how large parts."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from datetime import timedelta

from django.db import Error, connection
from django.db.models.functions import Now

from enrichment.pipeline.faults import Fault, classify, timed_out
from ingestion.messages import MAX_MESSAGE
from ingestion.models import PART_DIVISOR, Delivery
from ingestion.text import strip_unstorable

MAX_RETRY_PAUSE = 60
"""Seconds; the pauses before retries double from 1 s up to it."""
RELEASE_DELAYS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
"""Seconds between attempts to release a claim while the database is away: together well below CLAIM_LEASE."""

logger = logging.getLogger(__name__)


def release_for_retry(deliveries: Sequence[Delivery], error: BaseException) -> tuple[Fault, str]:
    """Releases the claims, to be retried after a pause: alone if one of them may be at fault. Returns whose error it
    was, and the message that is kept.
    """
    fault = classify(error)
    if fault not in (Fault.STORE, Fault.CODE):
        fault = Fault.CODE  # a record's error that escaped its savepoint is a bug
    last_error = f"{fault.value}: {type(error).__name__}: {strip_unstorable(str(error), MAX_MESSAGE)}"
    if fault is Fault.CODE:
        logger.error("A batch was released because of an error in the code.", exc_info=error)
    else:
        logger.warning("A batch was released: %s", last_error)
    apart = fault is Fault.CODE or timed_out(error)
    for delay in RELEASE_DELAYS:
        time.sleep(delay)
        try:
            for delivery in deliveries:
                seconds = min(MAX_RETRY_PAUSE, 2 ** min(delivery.failure_count, 10))
                part = _smaller_part(delivery) if apart else delivery.part
                changes = {"failure_count": delivery.failure_count + 1, "retry_at": Now() + timedelta(seconds=seconds)}
                Delivery.objects.release([delivery], part=part, last_error=last_error, **changes)
            break
        except Error:
            connection.close()
    return fault, last_error


def _smaller_part(delivery: Delivery) -> int:
    """How many records the next try takes of a delivery that failed or timed out: all at first, then ever fewer."""
    return delivery.pending if delivery.part is None else max(1, delivery.part // PART_DIVISOR)

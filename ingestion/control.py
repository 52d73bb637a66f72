"""Streams paused, resumed and run at once. What arrives for a paused one is kept, and nobody claims it."""

from __future__ import annotations

from django.db.models import Q
from django.db.models.functions import Now

from ingestion import doorbell
from ingestion.models import Delivery, PausedStream


def pause(stream: str, *, by: str, reason: str) -> bool:
    """From here on nobody claims its deliveries; a batch in hand is finished. False: it was paused already."""
    _, is_new = PausedStream.objects.get_or_create(stream=stream, defaults={"by": by, "reason": reason})
    return is_new


def resume(stream: str) -> bool:
    """The workers take it up at once. False: it was not paused."""
    deleted, _ = PausedStream.objects.filter(stream=stream).delete()
    run_now(stream)
    return bool(deleted)


def run_now(stream: str) -> int:
    """Wakes the workers, and lets what is in a pause after an error be tried at once; returns how many deliveries."""
    in_pause = Q(retry_at__gt=Now(), started_at=None)
    freed = Delivery.objects.pending().filter(in_pause, stream=stream).update(retry_at=None)
    doorbell.wake_now()
    return freed

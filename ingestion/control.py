"""Pausing, resuming and running streams. Records for a paused stream are accepted and stored, but not processed."""

from __future__ import annotations

from django.db.models import Q
from django.db.models.functions import Now

from ingestion import doorbell
from ingestion.models import Delivery, PausedStream


def pause(stream: str, *, by: str, reason: str) -> bool:
    """Its deliveries are no longer claimed; the current batch is finished. False: it was paused already."""
    _, is_new = PausedStream.objects.get_or_create(stream=stream, defaults={"by": by, "reason": reason})
    return is_new


def resume(stream: str) -> bool:
    """Continues at once. False: it was not paused."""
    deleted, _ = PausedStream.objects.filter(stream=stream).delete()
    run_now(stream)
    return bool(deleted)


def run_now(stream: str) -> int:
    """Wakes the workers, and ends the back-off of failed deliveries; returns how many had one."""
    in_backoff = Q(retry_at__gt=Now(), started_at=None)
    freed = Delivery.objects.pending().filter(in_backoff, stream=stream).update(retry_at=None)
    doorbell.wake_now()
    return freed

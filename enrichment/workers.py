"""Which clusters and workers are running, as django-q2 reports them, and what is scheduled."""

from __future__ import annotations

import logging
from datetime import UTC, timedelta
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.utils import timezone
from django_q.models import Schedule
from django_q.status import Stat

from enrichment import stats
from enrichment.lookups import status
from ingestion import doorbell
from ingestion.models import PausedStream

logger = logging.getLogger(__name__)


def worker_stats(visible: stats.Visible = ()) -> dict[str, Any]:
    """For the API and the admin. `alive` and `last_run` come from what a task wrote into the database, `clusters` from
    what the clusters report in the cache every few seconds: None if that cannot be read.
    """
    last_run, found = doorbell.heartbeat(), clusters()
    alive = doorbell.is_alive(last_run)
    interval = timedelta(seconds=settings.SWEEP_INTERVAL)
    paused = PausedStream.objects.order_by("stream").values_list("stream", flat=True)
    return {
        "alive": alive,
        "last_run": last_run,
        "next_run": max(last_run + interval, timezone.now()) if alive and last_run else None,
        "interval_seconds": settings.SWEEP_INTERVAL,
        "clusters": found,
        "workers": None if found is None else sum(cluster["workers"] for cluster in found),
        "paused_streams": [name for name in paused if not visible or name in visible],
        "paused_providers": status.paused(),
        "providers": status.provider_statuses(),
        "schedules": list(Schedule.objects.order_by("next_run", "pk").values("name", "func", "next_run", "repeats")),
    }


def clusters() -> list[dict[str, Any]] | None:
    """Those of this installation (signed with our SECRET_KEY). None if the cache cannot be read."""
    try:
        return [_cluster(stat) for stat in Stat.get_all()]
    except (OperationalError, InterfaceError):  # the database is unavailable
        raise
    except Exception:  # whatever unpickling raises on the data of another version, or of somebody else
        logger.warning("What the cache says of the clusters cannot be read.", exc_info=True)
        return None


def _cluster(stat: Stat) -> dict[str, Any]:
    return {
        "id": str(stat.cluster_id),
        "host": str(stat.host),
        "pid": int(stat.pid),
        "status": str(stat.status).lower(),
        "workers": len(stat.workers),
        "started_at": stat.tob.astimezone(UTC),
        "reincarnations": int(stat.reincarnations),
    }

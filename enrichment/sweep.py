"""What the cluster's main process does every minute: makes up for lost rings and crashes, and lets days pass."""

import logging
from collections.abc import Callable
from typing import cast

from enrichment.held import revival
from enrichment.models import MinuteStat
from enrichment.refresh import refresh_daily
from ingestion import doorbell

logger = logging.getLogger(__name__)


def sweep() -> None:
    """One round. Each step is independent: one that fails is logged and made up for by the next round."""
    steps = (revival.expire_waiting, revival.reconcile_all, refresh_daily, MinuteStat.objects.merge_days)
    for step in (*steps, doorbell.ring):
        try:
            cast("Callable[[], object]", step)()
        except Exception:  # a mistake in one step must not keep the bell from being rung
            logger.exception("The sweep's %s failed; the next round will make up for it.", step.__name__)

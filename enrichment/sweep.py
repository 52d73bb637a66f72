"""What qcluster's main process does every minute: makes up for lost signals and crashes, and for days that pass."""

import logging
from collections.abc import Callable
from typing import cast

from enrichment.held import revival
from enrichment.lookups.models import LookupMinute
from enrichment.models import MinuteStat
from enrichment.refresh import refresh_daily
from ingestion import doorbell

logger = logging.getLogger(__name__)


def sweep() -> None:
    """One round. The steps are independent: one that fails is logged and tried again in the next round."""
    steps = (
        revival.expire_waiting,
        revival.reconcile_all,
        refresh_daily,
        MinuteStat.objects.merge_days,
        LookupMinute.objects.merge_days,
    )
    for step in (*steps, doorbell.ring):
        try:
            cast("Callable[[], object]", step)()
        except Exception:  # a bug in one step must not keep the workers from being called
            logger.exception("The sweep's %s failed; the next round tries it again.", step.__name__)

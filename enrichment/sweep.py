"""What qcluster's main process does every minute: makes up for lost signals and crashes, and for days that pass."""

import logging
from collections.abc import Callable
from typing import cast

from django.conf import settings
from django.db import connection

from enrichment import previews
from enrichment.held import revival
from enrichment.lookups.models import LookupMinute
from enrichment.models import MinuteStat
from enrichment.refresh import refresh_daily
from ingestion import doorbell

logger = logging.getLogger(__name__)


LOCK_TIMEOUT = 5
"""Seconds that a step waits for a row which another process has locked; the next round comes to it again."""


def sweep() -> None:
    """One round. The workers are called first. The steps are independent: one that fails is logged and tried again in
    the next round.
    """
    limit_waiting()
    steps = (
        revival.expire_waiting,
        revival.reconcile_all,
        refresh_daily,
        MinuteStat.objects.merge_days,
        LookupMinute.objects.merge_days,
        previews.delete_expired,
    )
    for step in (doorbell.ring, *steps, doorbell.ring):
        try:
            cast("Callable[[], object]", step)()
        except Exception:  # a bug in one step must not keep the workers from being called
            logger.exception("The sweep's %s failed; the next round tries it again.", step.__name__)


def limit_waiting() -> None:
    """A step that waits for a lock must not hold up the others, or for so long that the workers count as hanging.

    A pooler would give the session, with its setting, to others: there the role has to have one.
    """
    if connection.vendor == "postgresql" and not settings.TRANSACTION_POOLING:
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{LOCK_TIMEOUT}s"])

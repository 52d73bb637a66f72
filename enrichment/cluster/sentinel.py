"""django-q2's cluster, made safe against processes that are killed, and results that a stranger has written."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from django.db.models.functions import Now
from django_q import cluster
from django_q.conf import Conf
from django_q.models import Task

from enrichment.models import ClusterStatus
from ingestion import doorbell

IDLE = -1
"""What a worker's timer says while it waits at the task queue."""

logger = logging.getLogger(__name__)


class Sentinel(cluster.Sentinel):  # type: ignore[misc]
    """Where a killed process cannot be replaced the whole cluster ends, for its supervisor to start a new one.

    A worker that waits at the task queue may hold the queue's lock, which goes with it: no other ever gets a task. With
    the monitor goes the lock of the results: no task is acknowledged any more, and SIGTERM ends nothing. A worker that
    was at work holds neither, and is replaced.
    """

    def start(self) -> None:
        ClusterStatus.objects.using(Conf.ORM).filter(expires_at__lt=Now()).delete()
        super().start()

    def reincarnate(self, process: Any) -> None:
        if (signal := killed_by(process)) and getattr(getattr(process, "timer", None), "value", IDLE) == IDLE:
            logger.critical("Process %s was killed by signal %d: the cluster ends.", process.pid, signal)
            for each in (*self.pool, self.monitor, self.pusher):
                each.kill()
            sys.stderr.flush()
            os._exit(1)
        super().reincarnate(process)
        doorbell.ring()  # it may have been watching, or have had a ring that is lost with it


def killed_by(process: Any) -> int:
    """The signal that ended it; 0 where it runs, or has ended by itself."""
    return max(0, -(process.exitcode or 0))


def never_unpickle_tasks() -> None:
    """Arguments and results of finished tasks are pickled, and not signed: nobody reads them, so they read as None."""
    for name in ("args", "kwargs", "result"):
        Task._meta.get_field(name).from_db_value = lambda value, expression, connection: None

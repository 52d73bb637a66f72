"""django-q2's cluster, made safe against processes that are killed, clocks that differ, and a database that is away."""

from __future__ import annotations

import logging
import os
import sys
import time
from datetime import timedelta
from typing import Any

from django.db import Error, connections
from django.db.models.functions import Now
from django.utils import timezone
from django_q import cluster
from django_q.brokers.orm import ORM
from django_q.conf import Conf

IDLE = -1
"""What a worker's timer says while it waits at the task queue."""

logger = logging.getLogger(__name__)


class Sentinel(cluster.Sentinel):  # type: ignore[misc]
    """Where a killed process cannot be replaced the whole cluster ends, for its supervisor to start a new one.

    A worker that waits at the task queue may hold the queue's lock, which goes with it: no other ever gets a task. With
    the monitor goes the lock of the results: no task is acknowledged any more, and SIGTERM ends nothing. A worker that
    was at work holds neither, and is replaced.
    """

    def reincarnate(self, process: Any) -> None:
        if (signal := killed_by(process)) and getattr(getattr(process, "timer", None), "value", IDLE) == IDLE:
            logger.critical("Process %s was killed by signal %d: the cluster ends.", process.pid, signal)
            for each in (*self.pool, self.monitor, self.pusher):
                each.kill()
            sys.stderr.flush()
            os._exit(1)
        super().reincarnate(process)


def killed_by(process: Any) -> int:
    """The signal that ended it; 0 where it runs, or has ended by itself."""
    return max(0, -(process.exitcode or 0))


class Broker(ORM):  # type: ignore[misc]
    """django-q2's broker in the database, with one clock: the database's. By those of the processes a task of a web
    server whose clock is ahead would wait so long, and one of a worker's would run twice.

    On SQLite all processes share one machine, and so one clock.
    """

    def now(self) -> Any:
        return Now() if connections[Conf.ORM].vendor == "postgresql" else timezone.now()

    def enqueue(self, task: str) -> int:
        rows = self.get_connection()
        return int(rows.create(key=self.list_key or Conf.CLUSTER_NAME, payload=task, lock=self.now()).pk)

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Tasks, locked for RETRY seconds. With the database away none, instead of an error after which the pusher
        would sleep for ten seconds and end.
        """
        try:
            due = self.get_connection().filter(key=self.list_key, lock__lt=self.now()).order_by("pk")[: Conf.BULK]
            tasks = [(task.pk, task.payload) for task in due if self.lock(task)]
        except Error:
            logger.warning("The queue cannot be read; it is tried again.", exc_info=True)
            connections[Conf.ORM].close()
            tasks = []
        if tasks:
            return tasks
        time.sleep(Conf.POLL)
        return None

    def lock(self, task: Any) -> bool:
        """Whether no other cluster was faster."""
        same = self.get_connection().filter(id=task.id, lock=task.lock)
        return bool(same.update(lock=self.now() + timedelta(seconds=Conf.RETRY)))

    def queue_size(self) -> int:
        return int(self.get_connection().filter(key=self.list_key, lock__lte=self.now()).count())

    def lock_size(self) -> int:
        return int(self.get_connection().filter(key=self.list_key, lock__gt=self.now()).count())

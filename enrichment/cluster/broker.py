"""The task queue in the database: nothing that is in it makes a process run code that is not ours."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any

import psycopg
from django.conf import settings
from django.db import Error, connections
from django.db.models.functions import Now
from django.utils import timezone
from django_q import brokers
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.signing import BadSignature, SignedPackage

from enrichment.models import ClusterStatus
from ingestion.doorbell import DRAIN_TASK

PRUNE_TASK = "enrichment.tasks.prune"
TASKS = (DRAIN_TASK, PRUNE_TASK)
"""All that a worker runs, whatever a schedule or a row of the queue names."""
CHANNEL = "tutormax_tasks"
"""On which PostgreSQL notifies those who wait for tasks."""
LISTEN_SECONDS = 1.0
"""In which an idle cluster asks once, and after which one that is to stop notices it."""
LIFETIME = timedelta(seconds=15)
"""After it a cluster that says nothing more of itself is gone."""

logger = logging.getLogger(__name__)


class Statuses(brokers.Broker):  # type: ignore[misc]
    """What clusters say of themselves: in a table of ours, not in the cache, which would unpickle whatever is in it."""

    def now(self) -> Any:
        return Now() if connections[Conf.ORM].vendor == "postgresql" else timezone.now()

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """Every GUARD_CYCLE seconds, and by one process alone: so in one statement."""
        changes = {"status": value, "expires_at": self.now() + LIFETIME}
        rows = ClusterStatus.objects.using(Conf.ORM)
        if not rows.filter(key=key).update(**changes):
            rows.create(key=key, **changes)

    def get_stat(self, key: str) -> str | None:
        return next(iter(self.statuses().filter(key=key)), None)

    def get_stats(self, pattern: str) -> list[str]:
        return list(self.statuses().order_by("key"))

    def statuses(self) -> Any:
        return ClusterStatus.objects.using(Conf.ORM).filter(expires_at__gt=self.now()).values_list("status", flat=True)


class Broker(Statuses, ORM):  # type: ignore[misc]
    """django-q2's broker in the database, with one clock: the database's. By those of the processes a task of a web
    server whose clock is ahead would wait so long, and one of a worker's would run twice.

    On SQLite all processes share one machine, and so one clock.

    Who waits for a task is notified of it: PostgreSQL need not be asked again and again, and a record is processed at
    once.
    """

    listening: Any = None
    """The connection on which this process is notified."""

    def enqueue(self, task: str) -> int:
        rows = self.get_connection()
        pk = int(rows.create(key=self.list_key or Conf.CLUSTER_NAME, payload=task, lock=self.now()).pk)
        if connections[Conf.ORM].vendor == "postgresql":
            with connections[Conf.ORM].cursor() as cursor:
                cursor.execute(f"NOTIFY {CHANNEL}")
        return pk

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Tasks, locked for RETRY seconds. With the database away none, instead of an error after which the pusher
        would sleep for ten seconds and end.
        """
        try:
            rows = self.get_connection()
            self.listen()
            due = rows.filter(key=self.list_key, lock__lt=self.now()).order_by("pk")[: Conf.BULK]
            tasks = [(task.pk, task.payload) for task in due if self.lock(task) and self.may_run(task)]
        except Error:
            logger.warning("The queue cannot be read; it is tried again.", exc_info=True)
            connections[Conf.ORM].close()
            tasks = []
        if not tasks:
            self.wait()
        return tasks or None

    def listen(self) -> None:
        """To be called before the queue is read, so that no task is queued unheard in between."""
        connection = connections[Conf.ORM]
        if connection.vendor != "postgresql" or settings.TRANSACTION_POOLING:
            return
        connection.ensure_connection()
        if connection.connection is not self.listening:
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {CHANNEL}")
            self.listening = connection.connection

    def wait(self) -> None:
        """For a task. Notified at most LISTEN_SECONDS, for a notification may be lost, as with a connection."""
        raw = connections[Conf.ORM].connection
        if self.listening is None or raw is not self.listening:
            time.sleep(Conf.POLL)
            return
        try:
            for _ in raw.notifies(timeout=LISTEN_SECONDS, stop_after=1):
                pass
        except psycopg.Error:
            connections[Conf.ORM].close()

    def lock(self, task: Any) -> bool:
        """Whether no other cluster was faster."""
        same = self.get_connection().filter(id=task.id, lock=task.lock)
        return bool(same.update(lock=self.now() + timedelta(seconds=Conf.RETRY)))

    def may_run(self, row: Any) -> bool:
        if not (is_ours := is_our_task(row.payload)):
            self.delete(row.pk)
        return is_ours

    def queue_size(self) -> int:
        return int(self.get_connection().filter(key=self.list_key, lock__lte=self.now()).count())

    def lock_size(self) -> int:
        return int(self.get_connection().filter(key=self.list_key, lock__gt=self.now()).count())


def is_our_task(payload: str | bytes) -> bool:
    """Whether it is one of our own tasks; any other is not run. Only what is signed is unpacked."""
    try:
        task = SignedPackage.loads(payload)
        if task["func"] in TASKS and not (task["args"] or task["kwargs"] or task.get("hook") or task.get("chain")):
            return True
    except (BadSignature, LookupError, TypeError, ValueError):
        pass
    logger.critical("The task queue has a task that is none of ours: it is deleted, not run.")
    return False

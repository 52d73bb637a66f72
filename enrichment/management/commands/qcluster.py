import logging
import os
import sys
import threading
import time
from datetime import timedelta
from typing import Any

import psutil
from django.conf import settings
from django.core.management.base import CommandError
from django.db import Error, connection
from django.utils import timezone
from django_q import cluster as django_q_cluster
from django_q.cluster import Cluster
from django_q.management.commands.qcluster import Command as QClusterCommand

from enrichment.cluster.sentinel import Sentinel
from enrichment.lookups import runner
from enrichment.sweep import sweep
from ingestion import doorbell

logger = logging.getLogger(__name__)


class Command(QClusterCommand):  # type: ignore[misc]
    help = "Runs the workers (django-q2) with sweep, lookups and watchdog. Stop with SIGTERM to this process only."

    def handle(self, *args: Any, **options: Any) -> None:
        if options.get("cluster_name"):
            os.environ["Q_CLUSTER_NAME"] = options["cluster_name"]
        django_q_cluster.Sentinel = Sentinel  # Cluster.start() has no parameter for it
        cluster = Cluster()
        try:
            cluster.start()
        except RuntimeError as error:  # the database is away: its supervisor tries it again
            raise CommandError(str(error)) from None
        if options.get("run_once"):
            cluster.stop()
        with runner.in_background():  # here, for a task that waits for a provider would hold a worker
            watch(cluster)
        if cluster.sentinel.exitcode:
            sys.exit(1)


def watch(cluster: Cluster) -> None:
    """Sweeps every SWEEP_INTERVAL while the cluster lives; ends the process when no task ran for WATCH_PATIENCE.

    A cluster that hangs is deaf to SIGTERM: its children are killed, and the exit code 1 asks the supervisor for a new
    one.
    """
    next_sweep = next_check = time.monotonic()
    patience = Patience()
    sweeper: threading.Thread | None = None
    while cluster.sentinel.is_alive():
        now = time.monotonic()
        if now >= next_sweep and not (sweeper and sweeper.is_alive()):
            sweeper = threading.Thread(target=_sweep, daemon=True)
            sweeper.start()
            next_sweep = now + settings.SWEEP_INTERVAL
        if now >= next_check:
            next_check = now + settings.SWEEP_INTERVAL
            if patience.is_over():
                logger.critical("No task has run for %s s: the workers hang and are killed.", settings.WATCH_PATIENCE)
                _kill_children()
                sys.stderr.flush()
                os._exit(1)
        time.sleep(0.5)


class Patience:
    """With workers that run no task: WATCH_PATIENCE, in all of which the database was there. While it is away no task
    can run, so patience begins anew when it is back.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()

    def is_over(self) -> bool:
        """Whether nobody has answered the sweep's rings for so long."""
        try:
            heartbeat = doorbell.heartbeat()
        except Error:
            connection.close()
            self.began = time.monotonic()
            return False
        if time.monotonic() - self.began < settings.WATCH_PATIENCE:
            return False
        return heartbeat is None or timezone.now() - heartbeat > timedelta(seconds=settings.WATCH_PATIENCE)


def _sweep() -> None:
    try:
        sweep()
    except Exception:
        logger.exception("The sweep failed; it will run again shortly.")
    finally:
        connection.close()


def _kill_children() -> None:
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue

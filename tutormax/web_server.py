"""gunicorn's configuration (`gunicorn --config=python:tutormax.web_server`), and its worker, which drops no request
when it stops.
"""

from __future__ import annotations

import time
from types import FrameType

from gunicorn.workers.gthread import ThreadWorker

from ingestion import capacity
from tutormax.settings import DRAIN_TIME, WEB_PROCESSES, WEB_THREADS

FINISH_TIME = 6
"""Seconds that running requests have to finish, once the process accepts no more of them."""


class DrainingWorker(ThreadWorker):  # type: ignore[misc]
    """After SIGTERM it still answers for DRAIN_TIME, while /health says 503 so that load balancers turn elsewhere. Then
    it takes what has connected already, refuses new connections, and finishes what it has begun.
    """

    drain_until: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Of SIGTERM. No thread is started here: the main thread, interrupted, may hold the lock that it takes."""
        if self.drain_until is None:
            capacity.draining.set()
            self.drain_until = time.monotonic() + DRAIN_TIME
        if DRAIN_TIME == 0:
            super().handle_exit(sig, frame)

    def notify(self) -> None:
        """Called at least once a second."""
        super().notify()
        if self.drain_until is not None and time.monotonic() >= self.drain_until:
            self.alive = False

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not (enabled or self.alive):
            self.accept_all()

    def accept_all(self) -> None:
        """Connections that the kernel has taken would be reset with the socket. It is closed at once: one that is open
        and from which nobody accepts would take further ones.
        """
        for listener in self.sockets:
            number = -1
            while number != self.nr_conns:
                number = self.nr_conns
                self.accept(listener)
            listener.close()


wsgi_app = "tutormax.wsgi"
access_log_format = "%(h)s %(m)s %(s)s %(b)s %(M)s %({x-request-id}o)s"
"""Where somebody switches it on: no paths, which have identifiers. Our own line of the request has its route.
"""
forwarder_headers = ""
"""None: a header SCRIPT_NAME would make /x/admin/ to /admin/, past the path rules of a proxy, or end in a 500."""
worker_class = DrainingWorker
workers = WEB_PROCESSES
threads = WEB_THREADS
graceful_timeout = DRAIN_TIME + FINISH_TIME
control_socket_disable = True

"""Django's PostgreSQL, with connections that tell a server which is silent from one which is busy.

A server that is stopped, or whose packets are dropped, neither answers nor ends a connection, and libpq waits for ever.
TCP's own timeouts do not help (the kernel of a stopped server still acknowledges), nor does a statement_timeout (the
server's to keep), and a limit for every statement would end exports and reports that are only long. So whoever has
heard nothing for a moment asks over a second connection whether anybody is there. Without an answer it gives up with an
OperationalError: a 503 for clients, a batch given back by workers. Together with a connect_timeout of 3 s (for each
address that the host's name has) no request waits longer than 4 s for a silent server: an old connection is given up
after half a second, and when a new one has failed all others fail at once for a moment, so that neither several
attempts in one request nor the requests that wait for a thread add up.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any, TypeVar

import psycopg
from django.db.backends.postgresql import base

SILENCE = 0.5
"""Seconds without a sign of the server before it is asked; a server that is busy is asked again every COUNT_TTL."""
COUNT_TTL = 5.0
ANSWER = 1.5
"""Seconds to connect, and to answer."""
PAUSE = 1.0
"""Seconds without a new attempt after a server did not let us in."""
SSL_REQUEST = struct.pack("!ii", 8, 80877103)
"""What every PostgreSQL, and every pool in front of one, answers before it wants to know who is there."""

T = TypeVar("T")


class Connection(psycopg.Connection[Any]):
    asks = True
    """Whether a silent server is asked, or given up at once."""
    meanwhile: Callable[[], None] | None = None
    """What is done once while the server works on the next statement: no query, and it raises no Exception."""

    def wait(self, gen: Generator[Any, Any, T], interval: float = 0.1, timeout: float | None = None) -> T:
        return super().wait(self._listen(gen), interval, timeout)

    def _listen(self, gen: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        """Does what `gen` does, which is sent a falsy value for every interval in which nothing was heard."""
        try:
            wanted = next(gen)  # what is short has been sent now
            self._use_the_time()
            patience_ends = monotonic() + SILENCE
            while True:
                if ready := (yield wanted):
                    patience_ends = monotonic() + SILENCE
                elif monotonic() > patience_ends:
                    if not (self.asks and is_there(self.info.hostaddr or self.info.host, self.info.port)):
                        self.close()
                        raise psycopg.OperationalError("The database server is silent.")
                    patience_ends = monotonic() + COUNT_TTL
                wanted = gen.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result

    def _use_the_time(self) -> None:
        work, self.meanwhile = self.meanwhile, None
        if work:
            work()


def is_there(host: str, port: int) -> bool:
    is_path = host.startswith("/")
    try:
        with socket.socket(socket.AF_UNIX) if is_path else socket.create_connection((host, port), ANSWER) as sock:
            sock.settimeout(ANSWER)
            if is_path:
                sock.connect(f"{host}/.s.PGSQL.{port}")
            sock.sendall(SSL_REQUEST)
            return bool(sock.recv(1))
    except OSError:
        return False


class DatabaseWrapper(base.DatabaseWrapper):
    next_attempt = 0.0
    """For all threads of the process."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Connection:
        if monotonic() < DatabaseWrapper.next_attempt:
            raise psycopg.OperationalError("The database server was silent a moment ago.")
        try:
            connection: Connection = super().get_new_connection(conn_params)
        except psycopg.errors.ConnectionTimeout:
            DatabaseWrapper.next_attempt = monotonic() + PAUSE
            raise
        # Django has no setting for the class. This and Connection.wait() rely on internals of Django and psycopg:
        # pyproject.toml pins Django 5.2 and psycopg 3.3. Run tests/test_database_away.py before raising either.
        connection.__class__ = Connection
        return connection

    def is_usable(self) -> bool:
        """The health check before a request's first statement, without a round trip where nothing speaks against it.

        A server that has gone has closed the connection, and so there is something to read. What is asked then, a
        SELECT 1, is not worth asking twice, since a new connection asks as well.
        """
        if self.connection is None or self.connection.closed:
            return False
        if not self.errors_occurred and not something_to_read(self.connection.fileno()):
            return True
        self.connection.asks = False
        try:
            return bool(super().is_usable())
        finally:
            self.connection.asks = True


def something_to_read(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))

"""What a request may take of a web server: slots and computing time for heavy ones, a time limit for each statement.

Uploads and downloads take at most half of a process's threads: a thread is held as long as the client sends or reads,
and with all of them held nobody else is answered. For the same reason one client has at most half of these. A search
without an index must not hold a thread either.
"""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from socket import MSG_PEEK
from typing import Any, TypeVar
from weakref import WeakSet

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from ingestion.payloads import TooLarge
from ingestion.refusals import RequestRejected

RETRY_AFTER = 10
"""Seconds until a client should try again when no slot is free."""
MIN_COMPUTING, COMPUTING_PER_MB = 60, 10
"""Seconds of a processor that checking files may take: of a request, and more for each megabyte that it brought. A file
that packs to next to nothing can have billions of rows.
"""
LOOK_EVERY = 1.0
"""Seconds between two looks whether the client is still there."""
draining = threading.Event()
"""Set once this process is being stopped: it still answers, and asks to be sent no more."""

_lock = threading.Lock()
taken: WeakSet[Slot] = WeakSet()
"""The slots that are held; one of an answer that was never closed is gone with it."""


class Busy(Exception):
    """No slot is free: the request is not begun."""

    status = 503

    def __init__(self, whose: str = "") -> None:
        super().__init__(f"Too many{whose} uploads and downloads are running. Try again in {RETRY_AFTER} seconds.")


class ClientBusy(Busy):
    """None is free for this client, who holds as many as one may; others are not affected."""

    status = 429

    def __init__(self) -> None:
        super().__init__(" of your")


def slots() -> int:
    return max(1, settings.WEB_THREADS // 2)


def slots_of_one() -> int:
    return max(1, slots() // 2)


class Slot:
    """A slot that the client holds until release(), which may be called more than once. Raises Busy when none is free,
    ClientBusy when the client holds its share already.
    """

    def __init__(self, client: str) -> None:
        self.client = client
        with _lock:
            if sum(slot.client == client for slot in taken) >= slots_of_one() < slots():
                raise ClientBusy
            if len(taken) >= slots():
                raise Busy
            taken.add(self)

    def release(self) -> None:
        with _lock:
            taken.discard(self)


@contextmanager
def heavy_request(client: str, meta: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Holds a slot of the client; with the request's META, what it does is given up at check_effort() once it takes too
    much.
    """
    slot = Slot(client)
    token = _effort.set(Effort(meta) if meta is not None else None)
    try:
        yield
    finally:
        _effort.reset(token)
        slot.release()


class Effort:
    """What a request has taken so far, and whether anybody waits for its answer."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        given = str(meta.get("CONTENT_LENGTH") or "")
        length = min(int(given), settings.MAX_UPLOAD_BYTES) if given.isdecimal() else 0  # it may have 4,000 digits
        self.limit = MIN_COMPUTING + COMPUTING_PER_MB * length / 1_000_000
        self.began, self.looked = time.thread_time(), time.monotonic()
        self.socket = meta.get("gunicorn.socket")

    def check(self) -> None:
        if time.thread_time() - self.began > self.limit:
            seconds = f"{self.limit:.0f} seconds"
            raise TooLarge(f"Checking the file takes more than {seconds}: split it, or send it unpacked.")
        if self.socket is not None and time.monotonic() - self.looked > LOOK_EVERY:
            self.looked = time.monotonic()
            if has_left(self.socket):
                raise RequestRejected(400, "The client has closed the connection.")


_effort: ContextVar[Effort | None] = ContextVar("effort", default=None)


def check_effort() -> None:
    """To be called now and then while a file is read. Raises TooLarge, and RequestRejected where nobody waits for it
    any more. Outside of heavy requests it does nothing.
    """
    if effort := _effort.get():
        effort.check()


@contextmanager
def to_the_end() -> Iterator[None]:
    """What is begun here is done whatever it takes, and whoever leaves."""
    token = _effort.set(None)
    try:
        yield
    finally:
        _effort.reset(token)


def has_left(sock: Any) -> bool:
    """Whether the client has closed the connection (of TLS it is not known: a proxy in front ends it)."""
    ready = select.poll()
    ready.register(sock, select.POLLIN)
    try:
        return bool(ready.poll(0)) and sock.recv(1, MSG_PEEK) == b""
    except ValueError:
        return False
    except OSError:
        return True


Part = TypeVar("Part", str, bytes)


class Download(Iterator[Part]):
    """The parts of an answer, which hold a slot until close(): servers call it whatever has become of the answer.

    `make` begins to read them when there is a slot. Their statements may take as long as they do. `at_end` is called by
    close(), and must not raise.
    """

    def __init__(
        self, client: str, make: Callable[[], Iterator[Part]], *, at_end: Callable[[], None] = lambda: None
    ) -> None:
        self.slot, self.at_end = Slot(client), at_end
        try:
            lift_statement_limit()
            self.parts: Iterator[Part] = make()
        except BaseException:
            self.close()
            raise

    def __next__(self) -> Part:
        return next(self.parts)

    def close(self) -> None:
        self.at_end()
        self.slot.release()
        restore_statement_limit()


def limit_statements() -> None:
    """Limits the statements of all connections that this process makes from now on to STATEMENT_TIMEOUT."""
    connection_created.connect(_limit_statements, dispatch_uid="ingestion.capacity")


def _limit_statements(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    """An error is raised: whoever wanted the connection must not find none."""
    connection.limits_statements = connection.vendor == "postgresql"  # type: ignore[attr-defined]
    _set_timeout(connection, settings.STATEMENT_TIMEOUT)


def lift_statement_limit() -> None:
    """For a download, of which each chunk is a statement that reads as long as it takes."""
    connection.ensure_connection()
    _set_timeout(connection, 0)


def restore_statement_limit() -> None:
    if connection.connection is None:
        return  # the next one is limited when it is made
    try:
        _set_timeout(connection, settings.STATEMENT_TIMEOUT)
    except (DatabaseError, InterfaceError):
        connection.close()


def _set_timeout(connection: BaseDatabaseWrapper, seconds: int) -> None:
    if getattr(connection, "limits_statements", False) and settings.STATEMENT_TIMEOUT:
        with connection.cursor() as cursor:
            cursor.execute(f"SET statement_timeout = '{seconds}s'")

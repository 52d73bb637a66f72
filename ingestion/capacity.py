"""What a request may take of a web server: slots for heavy ones, and a time limit for each statement.

Uploads and downloads take at most half of a process's threads: a thread is held as long as the client sends or reads,
and with all of them held nobody else is answered. A search without an index must not hold one either.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakSet

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

RETRY_AFTER = 10
"""Seconds until a client should try again when no slot is free."""

_lock = threading.Lock()
taken: WeakSet[Slot] = WeakSet()
"""The slots that are held; one of an answer that was never closed is gone with it."""


class Busy(Exception):
    """No slot is free: the request is not begun."""

    def __init__(self) -> None:
        super().__init__(f"Too many uploads and downloads are running. Try again in {RETRY_AFTER} seconds.")


def slots() -> int:
    return max(1, settings.WEB_THREADS // 2)


class Slot:
    """A slot that is held until release(), which may be called more than once. Raises Busy when none is free."""

    def __init__(self) -> None:
        with _lock:
            if len(taken) >= slots():
                raise Busy
            taken.add(self)

    def release(self) -> None:
        with _lock:
            taken.discard(self)


@contextmanager
def heavy_request() -> Iterator[None]:
    slot = Slot()
    try:
        yield
    finally:
        slot.release()


class Download(Iterator[str]):
    """The parts of an answer, which hold a slot until close(): servers call it whatever has become of the answer.

    `make` begins to read them when there is a slot. Their statements may take as long as they do.
    """

    def __init__(self, make: Callable[[], Iterator[str]]) -> None:
        self.slot = Slot()
        try:
            lift_statement_limit()
            self.parts = make()
        except BaseException:
            self.close()
            raise

    def __next__(self) -> str:
        return next(self.parts)

    def close(self) -> None:
        self.slot.release()
        restore_statement_limit()


def limit_statements() -> None:
    """Limits the statements of all connections that this process makes from now on to STATEMENT_TIMEOUT."""
    connection_created.connect(_limit_statements, dispatch_uid="ingestion.capacity")


def _limit_statements(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    connection.limits_statements = connection.vendor == "postgresql"  # type: ignore[attr-defined]
    restore_statement_limit(connection)


def lift_statement_limit() -> None:
    """For a download, of which each chunk is a statement that reads as long as it takes."""
    connection.ensure_connection()
    _set_timeout(connection, 0)


def restore_statement_limit(connection: BaseDatabaseWrapper = connection) -> None:
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

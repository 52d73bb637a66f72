"""Slots for heavy requests: uploads and downloads take at most half of a web process's threads.

A thread is held as long as the client sends or reads, and with all of them held nobody else is answered.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakSet

from django.conf import settings

from ingestion import statements

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
            statements.lift_limit()
            self.parts = make()
        except BaseException:
            self.close()
            raise

    def __next__(self) -> str:
        return next(self.parts)

    def close(self) -> None:
        self.slot.release()
        statements.restore_limit()

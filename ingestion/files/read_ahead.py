"""Reading on while the database stores what was read: processor and disk are not needed by turns, but together."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def read_ahead(items: Iterator[T]) -> Generator[T]:
    """The same items, of which the next is made in a thread while this one is used: one more is in memory.

    What `items` does runs in that thread, with the caller's context variables. It may read the database, by a
    connection of its own, which is closed at the end. Its error is raised where the item would come.
    """

    def make() -> list[T]:
        return list(islice(items, 1))

    context = copy_context()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as thread:
        try:
            coming = thread.submit(context.run, make)
            while made := coming.result():
                coming = thread.submit(context.run, make)
                yield from made
        finally:
            thread.submit(connections.close_all)

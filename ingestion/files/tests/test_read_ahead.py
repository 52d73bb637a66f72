"""The next item is made while this one is used, and nothing else changes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import ContextVar

import pytest
from django.db import connection

from ingestion.files.read_ahead import read_ahead

WAIT = 30
"""Seconds after which a test gives up."""


def test_all_items_come_in_their_order() -> None:
    assert list(read_ahead(iter(range(1000)))) == list(range(1000))
    assert list(read_ahead(iter(()))) == []
    assert list(read_ahead(iter((None, 0, "")))) == [None, 0, ""]


def test_the_next_item_is_made_while_this_one_is_used_and_no_more() -> None:
    made: list[int] = []
    second = threading.Event()

    def items() -> Iterator[int]:
        for number in range(4):
            made.append(number)
            yield number
            if number == 0:
                second.set()

    reading = read_ahead(items())
    assert next(reading) == 0
    assert second.wait(WAIT)
    reading.close()
    assert made == [0, 1]


def test_an_error_comes_behind_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("damaged")

    reading = read_ahead(items())
    assert next(reading) == 1
    with pytest.raises(ValueError, match="damaged"):
        next(reading)


def test_items_are_made_with_the_callers_context() -> None:
    variable = ContextVar("variable", default="none")
    variable.set("mine")
    assert list(read_ahead(variable.get() for _ in range(2))) == ["mine", "mine"]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_connection_that_making_an_item_opens_is_closed() -> None:
    opened = []

    def items() -> Iterator[int]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
            opened.append(connection.connection)
            yield 1
        yield 2

    reading = read_ahead(items())
    assert next(reading) == 1
    assert not opened[0].closed
    reading.close()
    assert opened[0].closed

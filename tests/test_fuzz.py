"""Two thousand mangled inputs, always the same; the long run is `make fuzz`, others each time."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import transaction

from fuzz.run import QUICK, Result, Senders, run

pytestmark = pytest.mark.django_db
INPUTS = 2000


@contextmanager
def taken_back() -> Iterator[None]:
    """Undoes what is stored; a savepoint, since in an atomic block of ours no durable one would be allowed."""
    savepoint = transaction.savepoint()
    try:
        yield
    finally:
        transaction.savepoint_rollback(savepoint)


def test_mangled_inputs_do_no_harm() -> None:
    result = Result()
    for result in run(Senders(), taken_back, range(INPUTS), seed=1, weights=QUICK, max_failures=1):
        assert not result.failures, result.failures[0][0][:20_000]
    assert sum(result.statuses.values()) >= INPUTS
    assert min(result.rows.values()) > 100, result.rows

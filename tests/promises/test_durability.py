"""P1: what is accepted is durable."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from tests.records import deliver
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.django_db(transaction=True)


def test_it_accepts_nothing_inside_another_transaction() -> None:
    """There a COMMIT would not be one."""
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        deliver("tutors", tutor())


def test_commits_reach_the_disk() -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA synchronous")
            assert cursor.fetchone() == (2,)  # FULL
            return
        cursor.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = off")
        try:
            connection.close()
            with connection.cursor() as fresh:
                fresh.execute("SHOW synchronous_commit")
                assert fresh.fetchone() == ("on",)
        finally:
            with connection.cursor() as fresh:
                fresh.execute("ALTER ROLE CURRENT_USER RESET synchronous_commit")

"""Empties the database, and what the process remembers of it, after a test that commits, in place of Django's flush.

flush truncates every table and installs everything anew, permissions and all: seconds on a busy machine, whatever the
test has stored. Here only those tables are touched that have rows, and what `migrate` has installed is put back where a
test has changed it. Sequences go on, as they do after a flush.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper
from django.test import TransactionTestCase

from ingestion.subjects import suppression
from tutoring import catalogue

MANY = 10_000
"""Dead rows that later tests would have to read past; a table with so many is vacuumed."""
Rows = list[tuple[Any, ...]]


@contextmanager
def cleaning() -> Iterator[None]:
    """Meanwhile tests that commit leave the database as it is now."""
    tables, installed = present()

    def clean(test: TransactionTestCase) -> None:
        restore(tables, installed)
        catalogue.clear_cache()
        suppression.reset_cache()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", clean)
        yield


def present() -> tuple[list[str], dict[str, Rows]]:
    """All tables, and the rows of those that have any."""
    tables = sorted(connection.introspection.django_table_names(only_existing=True, include_views=False))
    with connection.cursor() as cursor:
        return tables, {table: _rows(cursor, table) for table in _filled(cursor, tables)}


def restore(tables: Sequence[str], installed: dict[str, Rows]) -> None:
    """Leaves in these tables the rows installed and no others."""
    full = []
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL session_replication_role = replica")  # no foreign key is checked row by row
        for table in _filled(cursor, tables):
            if table not in installed:
                cursor.execute(f"DELETE FROM {_quoted(table)}")
                full += [table] if cursor.rowcount > MANY else []
        for table, rows in installed.items():
            if _rows(cursor, table) != rows:
                cursor.execute(f"DELETE FROM {_quoted(table)}")
                cursor.executemany(f"INSERT INTO {_quoted(table)} VALUES ({', '.join(['%s'] * len(rows[0]))})", rows)
    if full and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(f"VACUUM {', '.join(map(_quoted, full))}")


def _filled(cursor: CursorWrapper, tables: Sequence[str]) -> list[str]:
    """Those that have rows."""
    cursor.execute(
        " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {_quoted(table)})" for table in tables)
    )
    return [table for (table,) in cursor.fetchall()]


def _rows(cursor: CursorWrapper, table: str) -> Rows:
    cursor.execute(f"SELECT * FROM {_quoted(table)} ORDER BY 1")
    return list(cursor.fetchall())


def _quoted(table: str) -> str:
    return connection.ops.quote_name(table)

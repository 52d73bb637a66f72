"""How long a statement of a web server may take on PostgreSQL: a search without an index must not hold a thread."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created


def limit_statements() -> None:
    """Limits the statements of all connections that this process makes from now on to STATEMENT_TIMEOUT."""
    connection_created.connect(_limit, dispatch_uid="ingestion.statements")


def _limit(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    connection.limits_statements = connection.vendor == "postgresql"  # type: ignore[attr-defined]
    restore_limit(connection)


def lift_limit() -> None:
    """For a download, of which each chunk is a statement that reads as long as it takes."""
    connection.ensure_connection()
    _set_timeout(connection, 0)


def restore_limit(connection: BaseDatabaseWrapper = connection) -> None:
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

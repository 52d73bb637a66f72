"""Shared by the tests of the promises: a transaction beside the test's own, planned errors, rows made by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import django.db
import psycopg
import pytest
from django.db import OperationalError, connection, models, transaction
from django.utils import timezone
from django_q.models import OrmQ

from enrichment.held import revival
from enrichment.pipeline import upsert as persist
from ingestion.streams import Context, StoredRow, get
from ingestion.validation import validate
from tests.servers import PATIENCE, wait_until
from tutoring.models import Student
from tutoring.tests.factories import tutor

T = TypeVar("T")


def tutors(number: int) -> list[dict[str, Any]]:
    return [tutor(tutor_id=f"tutor_{i:04}") for i in range(number)]


def beside(act: Callable[[], T]) -> Future[T]:
    """Runs `act` in a thread, on a connection of its own, where it waits for a lock for less than PATIENCE."""

    def run() -> T:
        try:
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SELECT set_config('lock_timeout', %s, false)", [f"{PATIENCE - 10}s"])
            return act()
        finally:
            connection.close()

    pool = ThreadPoolExecutor(1)
    answer = pool.submit(run)
    pool.shutdown(wait=False)
    return answer


def elsewhere(act: Callable[[], T]) -> T:
    """What `act` answers in another transaction than ours."""
    return beside(act).result(PATIENCE)


def is_free(rows: models.QuerySet[Any], *, no_key: bool = False) -> bool:
    """Whether another transaction could change these rows now; with `no_key`, all of them but their keys."""

    def ask() -> bool:
        try:
            with transaction.atomic():
                return bool(list(rows.all().select_for_update(nowait=True, no_key=no_key)))
        except OperationalError:
            return False

    return elsewhere(ask)


def wait_until_blocked() -> None:
    """Waits until another transaction waits for ours."""
    query = "SELECT pid FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"

    def blocked() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(query)
            return bool(cursor.fetchall())

    wait_until(blocked, "the other waits for a lock")


def record_of(stream: str, item: dict[str, Any]) -> Any:
    return validate(get(stream), item, timezone.now())


def row_of(stream: str, item: dict[str, Any], **version: Any) -> dict[str, Any]:
    """A row as the pipeline hands it to persist.store, without derived fields."""
    first = {"version_at": datetime(2025, 1, 1, tzinfo=UTC), "delivery": 1, "position": 0}
    derived = get(stream).enrich(record_of(stream, item), Context(now=timezone.now()))
    return {**persist.defaults(get(stream)), **vars(record_of(stream, item)), **derived, **first, **version}


def one_student_of_each(rows: Sequence[StoredRow], context: Context) -> None:
    """Stream.stored of tutors: with a key that has been there before it fails."""
    version = {"version_at": context.now, "delivery": 0, "position": 0}
    Student.objects.bulk_create([Student(student_id=row.columns["tutor_id"], **version) for row in rows])


def rings() -> int:
    """How many tasks the doorbell has queued."""
    return int(OrmQ.objects.count())


def never_reconcile(patch: pytest.MonkeyPatch) -> None:
    """As if the workers died after their commits."""
    patch.setattr(revival, "reconcile", lambda *args: None)


def sql_error(kind: str, state: str) -> Exception:
    error: Exception = getattr(django.db, kind)(f"planted {state}")
    error.__cause__ = psycopg.Error()
    error.__cause__.sqlstate = state
    return error


def sqlite_error(kind: str, name: str) -> Exception:
    error: Exception = getattr(django.db, kind)(f"planted {name}")
    error.__cause__ = sqlite3.Error()
    error.__cause__.sqlite_errorname = name
    return error

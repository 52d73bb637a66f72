"""System checks: errors (E) for settings that cannot work, warnings (W) for those that risk data or security."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DatabaseError, connections

from ingestion import streams

Apps = Sequence[AppConfig] | None
MIN_LEASE = 10
"""Seconds in which a batch must be read and validated before its worker counts as crashed."""

MIN_RETENTION = 86_400


@register()
def check_sqlite(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    database = settings.DATABASES["default"]
    if database["ENGINE"] != "django.db.backends.sqlite3":
        return []
    name = str(database["NAME"])
    if ":memory:" in name or "mode=memory" in name:
        hint = "Name a file, as in sqlite:///tutormax.sqlite3, or PostgreSQL."
        return [
            Error("The web server and the workers cannot share a database in memory.", hint=hint, id="tutormax.E001")
        ]
    directory = Path(name).absolute().parent
    if not os.access(directory, os.W_OK | os.X_OK):
        hint = "Create the directory or make it writable: SQLite writes files beside the database."
        return [Error(f"SQLite cannot write to {directory}.", hint=hint, id="tutormax.E002")]
    return []


@register()
def check_pool(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    if not settings.DATABASES["default"].get("OPTIONS", {}).get("pool"):
        return []
    hint = "Remove pool from DATABASE_URL; use a pooler such as PgBouncer in front of PostgreSQL instead."
    return [Error("qcluster hangs with psycopg's connection pool.", hint=hint, id="tutormax.E003")]


@register()
def check_watch(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    if settings.WATCH_PATIENCE > settings.SWEEP_INTERVAL:
        return []
    hint = "Use at least three times SWEEP_INTERVAL."
    message = "WATCH_PATIENCE must be longer than SWEEP_INTERVAL, or idle workers are taken for hanging and killed."
    return [Error(message, hint=hint, id="tutormax.E004")]


@register()
def check_lease(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    if settings.CLAIM_LEASE >= MIN_LEASE:
        return []
    message = f"With CLAIM_LEASE below {MIN_LEASE} s a slow batch is taken for a crash and retried in parts."
    return [checks.Warning(message, id="tutormax.W001")]


@register()
def check_retention(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    if settings.RETENTION == 0 or settings.RETENTION >= MIN_RETENTION:
        return []
    message = "With RETENTION below one day, late retries are not recognized by their Idempotency-Key."
    hint = "Use a week or more; 0 keeps everything forever."
    return [checks.Warning(message, hint=hint, id="tutormax.W005")]


@register()
def check_client_limit(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    if settings.MAX_CLIENT_PENDING_RECORDS < settings.MAX_PENDING_RECORDS:
        return []
    message = "With MAX_CLIENT_PENDING_RECORDS not below MAX_PENDING_RECORDS one client can shut out the others."
    return [checks.Warning(message, hint="Use half of MAX_PENDING_RECORDS or less.", id="tutormax.W006")]


@register()
def check_exposure(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if "*" in settings.ALLOWED_HOSTS:
        hint = "List the hosts that clients use."
        found.append(checks.Warning("ALLOWED_HOSTS accepts any Host header.", hint=hint, id="tutormax.W002"))
    if settings.DEBUG and not set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}:
        hint = "Do not set DEBUG where others can reach the server."
        found.append(checks.Warning("DEBUG shows internals of the system to anyone.", hint=hint, id="tutormax.W003"))
    return found


@register(Tags.urls)
def check_stream_names(app_configs: Apps, **kwargs: Any) -> list[CheckMessage]:
    """A fixed path of the API that is missing in RESERVED_NAMES would hide a stream, or be hidden by it."""
    from api.urls import fixed_paths  # which needs the streams

    fixed = {str(path.pattern).lstrip("^").split("/")[0] for path in fixed_paths}
    hint = "Rename the stream, and add the path to ingestion.streams.RESERVED_NAMES."
    return [
        Error(f"The stream {name} has the name of a path of the API.", hint=hint, id="tutormax.E005")
        for name in sorted(fixed & set(streams.readable_names()))
    ]


@register(Tags.database)
def check_durable(app_configs: Apps, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Run by `migrate` and `check --database default`."""
    return [message for alias in databases or () for message in _check_commit(alias)]


def _check_commit(alias: str) -> list[CheckMessage]:
    connection = connections[alias]
    if connection.vendor != "postgresql":
        return []
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT name FROM pg_settings WHERE name IN ('synchronous_commit', 'fsync') AND setting = 'off'"
            )
            names = sorted(name for (name,) in cursor.fetchall())
    except DatabaseError:
        return []  # the command itself reports that
    message = "With {} off, PostgreSQL may lose records that were answered with 202."
    return [checks.Warning(message.format(name), id="tutormax.W004") for name in names]

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import run_checks
from django.db import connection
from pytest_django import Settings

from ingestion import streams


def _ids(**options: Any) -> set[str]:
    return {str(message.id) for message in run_checks(**options) if str(message.id).startswith("tutormax.")}


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Changes what the settings say of the database, SQLite if nothing else is said; nothing is asked of it."""

    def change(**changes: Any) -> None:
        for name, value in ({"ENGINE": "django.db.backends.sqlite3", "OPTIONS": {}} | changes).items():
            monkeypatch.setitem(settings.DATABASES["default"], name, value)

    return change


def test_it_finds_nothing_in_the_defaults() -> None:
    assert _ids() == set()


@pytest.mark.parametrize("name", [":memory:", "file:shared?mode=memory&cache=shared"])
def test_it_refuses_a_database_in_memory(database: Callable[..., None], name: str) -> None:
    database(NAME=name)
    assert _ids() == {"tutormax.E001"}


def test_it_refuses_a_directory_that_is_not_there(database: Callable[..., None], tmp_path: Path) -> None:
    database(NAME=tmp_path / "db.sqlite3")
    assert _ids() == set()
    database(NAME=tmp_path / "missing" / "db.sqlite3")
    assert _ids() == {"tutormax.E002"}


def test_it_refuses_a_connection_pool(database: Callable[..., None]) -> None:
    database(ENGINE="django.db.backends.postgresql", NAME="x", OPTIONS={"pool": True})
    assert _ids() == {"tutormax.E003"}


@pytest.mark.parametrize(("patience", "found"), [(60, {"tutormax.E004"}), (61, set())])
def test_the_watch_must_outlast_a_sweep(settings: Settings, patience: int, found: set[str]) -> None:
    settings.SWEEP_INTERVAL, settings.WATCH_PATIENCE = 60, patience
    assert _ids() == found


def test_it_warns_when_one_client_may_fill_the_queue(settings: Settings) -> None:
    settings.MAX_CLIENT_PENDING_RECORDS = settings.MAX_PENDING_RECORDS
    assert _ids() == {"tutormax.W006"}


@pytest.mark.parametrize(("lease", "found"), [(9, {"tutormax.W001"}), (10, set())])
def test_it_warns_of_a_short_lease(settings: Settings, lease: int, found: set[str]) -> None:
    settings.CLAIM_LEASE = lease
    assert _ids() == found


@pytest.mark.parametrize(("seconds", "found"), [(0, set()), (86_399, {"tutormax.W005"}), (86_400, set())])
def test_it_warns_of_a_short_retention(settings: Settings, seconds: int, found: set[str]) -> None:
    settings.RETENTION = seconds
    assert _ids() == found


def test_it_warns_of_open_doors(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    assert _ids() == {"tutormax.W002"}
    settings.ALLOWED_HOSTS, settings.DEBUG = ["tutormax.example"], True
    assert _ids() == {"tutormax.W003"}
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1"]
    assert _ids() == set()


@pytest.mark.postgresql
@pytest.mark.django_db
def test_it_warns_when_a_commit_is_not_durable() -> None:
    def asked() -> list[str]:
        messages = run_checks(databases=["default"], include_deployment_checks=False)
        return [message.msg for message in messages if message.id == "tutormax.W004"]

    assert all("synchronous_commit" not in message for message in asked())
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
    assert any("synchronous_commit" in message for message in asked())


def test_a_stream_cannot_have_the_name_of_a_path_of_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(streams._streams, "stats", replace(streams.get("tutors"), name="stats"))
    assert _ids() == {"tutormax.E005"}

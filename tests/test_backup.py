"""A backup that is made while records arrive is restored into a new database and worked on: nothing lost or doubled."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError
from django.db import connection

from conftest import NewDatabase
from tests.api import ask
from tests.commands import run
from tests.servers import Cluster, WebServer, find_postgres, manage, wait_until
from tutoring.tests.factories import tutor

RECORDS = 20
"""Of each delivery: one of them is invalid, one is an older version of one in the delivery before."""
PROGRAMS = f"{find_postgres()}:{os.environ['PATH']}"


def records(number: int) -> list[dict[str, Any]]:
    keys = [f"{number}-{i}" for i in range(RECORDS - 2)]
    valid = [tutor(tutor_id=key, updated_at="2025-03-01T00:00:00Z") for key in keys]
    again = tutor(tutor_id=f"{max(number - 1, 0)}-1", updated_at="2025-02-01T00:00:00Z")
    return [*valid, tutor(tutor_id=f"{number}-x", email="nobody"), again]


class Sender:
    """Posts deliveries with keys of their own, and notes those that are acknowledged."""

    def __init__(self, server: WebServer, key: str) -> None:
        self.url, self.key = f"{server.url}/api/tutors/batch?invalid=dead-letter", key
        self.acknowledged: list[int] = []

    def post(self, number: int) -> int:
        headers = {"Idempotency-Key": f"delivery-{number}"}
        status, _, answer = ask(self.url, self.key, records(number), **headers)
        assert status in (200, 202), answer
        self.acknowledged.append(number)
        return int(answer["delivery"])

    @contextmanager
    def sending(self) -> Iterator[None]:
        stop = threading.Event()

        def send() -> None:
            for number in range(10_000):
                if stop.is_set():
                    return
                self.post(number)
                time.sleep(0.2)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@pytest.mark.postgresql
def test_a_backup_under_load_is_restored_and_worked_on(new_database: NewDatabase, tmp_path: Path) -> None:
    source, target = new_database(), new_database()
    key = manage("create_api_key", "test", database_url=source).stdout.split()[-1]
    with WebServer(source) as server, Cluster(source):
        sender = Sender(server, key)
        with sender.sending():
            wait_until(lambda: one(source, "SELECT count(*) > 40 FROM tutoring_tutor"), "the workers work")
            before = len(sender.acknowledged)
            path = manage("backup", str(tmp_path), database_url=source, PATH=PROGRAMS).stdout.strip()
            wait_until(lambda: len(sender.acknowledged) > before + 3, "records arrive afterwards")
    restore(path, target)
    assert [file.name for file in tmp_path.iterdir()] == [Path(path).name]
    restored = one(target, "SELECT count(*) FROM ingestion_delivery")
    assert before <= restored <= len(sender.acknowledged)
    with WebServer(target) as server:
        again = Sender(server, key)
        deliveries = {again.post(number) for number in sender.acknowledged}  # as clients repeat what they have sent
    manage("enrich_pending", database_url=target, CLAIM_LEASE="1")
    sent = len(sender.acknowledged)
    assert len(deliveries) == one(target, "SELECT count(*) FROM ingestion_delivery") == sent > restored
    assert one(target, "SELECT count(*) FROM ingestion_delivery WHERE processed_at IS NULL") == 0
    assert one(target, "SELECT count(*) FROM tutoring_tutor") == sent * (RECORDS - 2)
    assert one(target, "SELECT sum(inserted) FROM ingestion_delivery") == sent * (RECORDS - 2)
    assert one(target, "SELECT sum(updated + stale) FROM ingestion_delivery") == sent
    assert one(target, "SELECT min(version_at) FROM tutoring_tutor") == datetime(2025, 3, 1, tzinfo=UTC)
    assert one(target, "SELECT count(*) FROM enrichment_heldrecord WHERE status = 'dead'") == sent


def restore(path: str, url: str) -> None:
    """As docs/deployment.md says, into a database that has nothing."""
    with psycopg.connect(url, autocommit=True) as database:
        database.execute("DROP SCHEMA public CASCADE")
        database.execute("CREATE SCHEMA public")
    command = ["pg_restore", "--no-owner", "--exit-on-error", f"--dbname={url}", path]
    subprocess.run(command, env={**os.environ, "PATH": PROGRAMS}, check=True)


def one(url: str, query: str) -> Any:
    with psycopg.connect(url) as database:
        row = database.execute(query.encode()).fetchone()
    assert row
    return row[0]


@pytest.mark.django_db
class TestCommand:
    def test_old_backups_are_deleted_and_other_files_are_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", PROGRAMS)
        names = ("tutormax-1.dump", "tutormax-2.dump.part", "tutormax-notes.txt")
        old, young, other = (tmp_path / name for name in names)
        for path in (old, young, other):
            path.touch()
        for path in (old, other):
            os.utime(path, (0, 0))
        written = run("backup", str(tmp_path), "--keep", "7").strip()
        assert sorted(tmp_path.iterdir()) == sorted([Path(written), young, other])
        assert Path(written).stat().st_mode & 0o077 == 0

    @pytest.mark.postgresql
    def test_one_that_fails_leaves_nothing_and_the_password_is_no_argument(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "bin" / "pg_dump"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments; exit 3\n')
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        (tmp_path / "to").mkdir()
        with pytest.raises(CommandError, match=r"pg_dump has failed \(exit code 3\)"):
            run("backup", str(tmp_path / "to"))
        arguments = (tmp_path / "arguments").read_text()
        assert str(connection.settings_dict["NAME"]) in arguments
        assert str(connection.settings_dict["PASSWORD"]) not in arguments

    @pytest.mark.postgresql
    def test_without_pg_dump_it_says_what_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(CommandError, match="install PostgreSQL's client programs"):
            run("backup", str(tmp_path))
        assert list(tmp_path.iterdir()) == []

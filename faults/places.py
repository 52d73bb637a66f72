"""Where the database of fault runs is: a server and disks of its own, so that they may fail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faults.disks import run, small_disk
from tests.servers import PostgreSQL, temporary_directory

DISK, LOG_DISK = 768, 640
"""Megabytes of the disks that can be filled."""


@dataclass(frozen=True)
class Place:
    database_url: str
    server: PostgreSQL | None = None
    disk: Path | None = None
    """That of the tables, or of SQLite's file."""
    log_disk: Path | None = None
    """That of PostgreSQL's log."""


@contextlib.contextmanager
def on_postgresql() -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        options = {"fsync": "on", "full_page_writes": "on", "max_wal_size": "256MB"}
        server = stack.enter_context(PostgreSQL(**options))

        def stop() -> None:
            server.stop("immediate")  # its files are there

        disk = stack.enter_context(small_disk(DISK, server.user, stop))
        log_disk = stack.enter_context(small_disk(LOG_DISK, server.user, stop))
        if log_disk:
            move_log(server, log_disk / "files" / "log")
        server.start()
        with server.connect() as connection:
            if disk:
                connection.execute(f"CREATE TABLESPACE small LOCATION '{disk / 'files'}'".encode())
            connection.execute(f"CREATE DATABASE run{' TABLESPACE small' if disk else ''}".encode())
        yield Place(server.url("run"), server, disk, log_disk)


def move_log(server: PostgreSQL, to: Path) -> None:
    """Before its first start."""
    log = server.data / "pg_wal"
    assert run("cp", "-a", str(log), str(to)) and run("rm", "-r", str(log)), "the log could not be moved"
    log.symlink_to(to)


@contextlib.contextmanager
def on_sqlite() -> Iterator[Place]:
    with temporary_directory() as directory, small_disk(DISK) as disk:
        yield Place(f"sqlite:///{disk / 'files' if disk else directory}/run.sqlite3", disk=disk)

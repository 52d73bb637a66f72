import os
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection
from django.db.backends.postgresql.client import DatabaseClient
from django.utils import timezone

DAY = 86_400


class Command(BaseCommand):
    help = "Writes a consistent copy of the database into a directory, while everything runs, and prints its path."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("directory", type=Path)
        parser.add_argument("--keep", type=int, default=14, metavar="DAYS", help="older ones are deleted (14)")

    def handle(self, *args: Any, directory: Path, keep: int, **options: Any) -> None:
        if not directory.is_dir():
            raise CommandError(f"{directory} is not a directory: create it first.")
        is_postgresql = connection.vendor == "postgresql"
        suffix = "dump" if is_postgresql else "sqlite3"
        path = directory / f"tutormax-{timezone.now():%Y%m%dT%H%M%SZ}.{suffix}"
        part = path.with_name(f"{path.name}.part")
        os.umask(0o077)
        (dump if is_postgresql else copy)(part)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.rename(path)
        delete_older(directory, time.time() - keep * DAY)
        self.stdout.write(str(path))


def dump(path: Path) -> None:
    """With the password in the environment: everybody can read the arguments of a process."""
    options = ["--format=custom", "--no-owner", f"--file={path}"]
    (_, *arguments), environment = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, options)
    try:
        subprocess.run(["pg_dump", *arguments], env={**os.environ, **(environment or {})}, check=True)  # noqa: S603, S607
    except FileNotFoundError:
        raise CommandError("There is no pg_dump here: install PostgreSQL's client programs.") from None
    except subprocess.CalledProcessError as error:
        path.unlink(missing_ok=True)
        raise CommandError(f"pg_dump has failed (exit code {error.returncode}).") from None


def copy(path: Path) -> None:
    with closing(sqlite3.connect(path)) as target:
        connection.ensure_connection()
        connection.connection.backup(target)


def delete_older(directory: Path, limit: float) -> None:
    for path in directory.glob("tutormax-*"):
        if path.suffix in (".dump", ".sqlite3", ".part") and path.stat().st_mtime < limit:
            path.unlink()

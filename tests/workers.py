"""Worker processes (tests/worker.py) on the database of the test that starts them."""

from __future__ import annotations

from django.db import connection

from tests import forks
from tests.servers import PATIENCE, ProjectProcess


def database_url() -> str:
    """The address of this test's own database, for other processes."""
    config = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{config['NAME']}"
    return f"postgres://{config['USER']}:{config['PASSWORD']}@{config['HOST']}:{config['PORT']}/{config['NAME']}"


def worker(*options: str, **environment: str) -> ProjectProcess:
    forks.load(database_url=database_url(), **environment)  # some tests kill one worker after the other
    return ProjectProcess("-m", "tests.worker", *options, database_url=database_url(), **environment)


def run_workers(number: int, *options: str, **environment: str) -> None:
    workers = [worker(*options, **environment) for _ in range(number)]
    for process in workers:
        assert process.popen.wait(3 * PATIENCE) == 0, process.log()
        process.stop()

"""pytest plugin (`-p tests.database`): the database of the test run, there before Django reads its settings.

A PostgreSQL of its own, or with TEST_DATABASE=sqlite a SQLite file; never the one a DATABASE_URL outside names. Only
the main process starts a server: the workers of pytest-xdist inherit its address.
"""

import contextlib
import os
from collections.abc import Iterator

import pytest

from tests.forks import setting_names
from tests.guard import guard
from tests.servers import PostgreSQL, temporary_directory


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Iterator[None]:
    options = early_config.known_args_namespace
    if "PYTEST_XDIST_WORKER" not in os.environ:
        for name in setting_names():
            os.environ.pop(name, None)
        os.environ |= {"SECRET_KEY": "of the tests", "TEST_DIRECTORY": "", "DATABASE_URL": "sqlite://"}
        if not (options.help or options.version or options.collectonly):
            _start(early_config)
    return (yield)


def _start(config: pytest.Config) -> None:
    config.add_cleanup(guard().close)
    stack = contextlib.ExitStack()
    config.add_cleanup(stack.close)
    os.environ["TEST_DIRECTORY"] = str(stack.enter_context(temporary_directory()))
    if os.environ.get("TEST_DATABASE") == "sqlite":
        os.environ["DATABASE_URL"] = f"sqlite:///{os.environ['TEST_DIRECTORY']}/db.sqlite3"
    else:
        server = stack.enter_context(PostgreSQL())
        server.start()
        os.environ["DATABASE_URL"] = server.url("tutormax")


def pytest_report_header() -> str:
    return f"database: {os.environ['DATABASE_URL'].partition(':')[0]}"

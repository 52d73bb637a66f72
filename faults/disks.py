"""Disks that can be full: file systems of their own, each in a file."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.guard import guard
from tests.servers import PATIENCE


@contextlib.contextmanager
def small_disk(
    megabytes: int, user: pwd.struct_passwd | None = None, before_end: Callable[[], object] = lambda: None
) -> Iterator[Path | None]:
    """Where it is mounted, with a folder `files` of the user's; None where we may not mount one. `before_end` sees to
    it that nobody uses it any more.
    """
    directory = Path(tempfile.mkdtemp(prefix="tutormax-disk-"))
    guard().add("directory", directory)
    image, mounted = directory / "image", directory / "mounted"
    mounted.mkdir()
    directory.chmod(0o755)
    with image.open("wb") as file:
        file.truncate(megabytes * 1_000_000)
    made = run("mkfs.ext4", "-q", "-m", "0", str(image)) and run("mount", "-o", "loop", str(image), str(mounted))
    try:
        if made:
            guard().add("mount", mounted)
            files = mounted / "files"
            files.mkdir()
            if user:
                os.chown(files, user.pw_uid, user.pw_gid)
        yield mounted if made else None
    finally:
        if made:
            before_end()
            run("umount", str(mounted))
            guard().drop("mount", mounted)
        guard().drop("directory", directory)
        image.unlink()
        mounted.rmdir()
        directory.rmdir()


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """Not a byte is left on the disk."""
    ballast = disk / "ballast"
    try:
        space = os.statvfs(disk)
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, space.f_bavail * space.f_frsize)
        with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        yield
    finally:
        ballast.unlink(missing_ok=True)


def run(*command: str) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True, timeout=PATIENCE).returncode == 0
    except OSError:
        return False

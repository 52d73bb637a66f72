"""python -m music.tests.killed_export FOLDER: exports there, and is killed at its first step; again, at its second …

Prints for each how the tables were afterwards: `whole`, or what is wrong; and `completed` where there is no further
step. A step is the opening of a file to write, a new folder, a file renamed or deleted.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import django

STEPS = {"open", "os.mkdir", "os.rename", "os.remove"}
TABLES = ("tracks_played", "spotify_artists", "mbz_artist_info")
MAX_STEPS = 100


def main() -> None:
    folder = Path(sys.argv[1])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutormax.settings")
    django.setup()
    for step in range(MAX_STEPS):
        child = os.fork()  # Polars is not loaded yet: its threads would not survive this
        if not child:
            export_until(folder, step)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            print("completed" if status == 0 else f"ended with {status}")
            return
        print(state(folder), flush=True)


def export_until(folder: Path, last: int) -> None:
    """Ends this process: killed before the step of that number, or with code 0 if there are not so many."""
    steps = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal steps
        if (
            event in STEPS
            and str(folder) in str(arguments[0])
            and not (event == "open" and arguments[1] in ("r", "rb"))
        ):
            if steps == last:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1

    from music.parquet.export import export
    from music.parquet.tables import TABLES as ALL

    sys.addaudithook(count)
    export(folder, [table for table in ALL if table.name in TABLES])
    os._exit(0)


def state(folder: Path) -> str:
    """Readers see one whole file in each table's folder."""
    for name in TABLES:
        files = list((folder / name).glob("*.parquet"))
        if len(files) != 1:
            return f"{name} has {len(files)} files"
        data = files[0].read_bytes()
        if data[:4] != b"PAR1" or data[-4:] != b"PAR1":
            return f"{name} is broken"
    return "whole"


if __name__ == "__main__":
    main()

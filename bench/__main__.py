"""make bench: the parts that make up the aims, one after the other, and a table of all figures beside them.

Each part is a process, with a database of its own; its ratios are of rounds by turns in that one run. Ends with an
error if a part does, not if a figure falls short of its aim.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from bench.measure import SUMMARY, row, table
from tests.servers import temporary_directory

PARTS = (
    ("pipeline",),
    ("history",),
    ("latency", "20"),
    ("sqlite",),
    ("intake", "brief"),
)
NEEDED = {"intake": ("wrk", "redis-server", "redis-cli")}
"""Programs that a part needs: on Debian `apt-get install wrk redis-server`."""
ALONE = ("history memory", "partitions")
"""What belongs to the aims as well, but takes longer."""


def main() -> int:
    failed, left_out = [], []
    with temporary_directory() as directory:
        summary = directory / "summary"
        summary.touch()
        for name, *arguments in PARTS:
            if missing := [program for program in NEEDED.get(name, ()) if not shutil.which(program)]:
                left_out.append(f"bench.{name}, which needs {' and '.join(missing)}")
                continue
            part, began = " ".join((f"bench.{name}", *arguments)), time.monotonic()
            print(f"\n## {part} (load {os.getloadavg()[0]:.1f})\n", flush=True)
            command = (sys.executable, "-m", f"bench.{name}", *arguments)
            if subprocess.run(command, env={**os.environ, SUMMARY: str(summary)}, check=False).returncode:
                failed.append(part)
            print(f"\n({time.monotonic() - began:.0f} s)", flush=True)
        print("\n## All figures, by round")
        tell(summary)
    print(f"\nNot run here: {', '.join(f'python -m bench.{each}' for each in ALONE)}.")
    if left_out:
        print(f"Left out: {', '.join(left_out)}.")
    if failed:
        print(f"Ended with an error: {', '.join(failed)}.")
    return 1 if failed else 0


def tell(summary: Path) -> None:
    table("", "by round", "aim, of the median", "reached")
    for line in summary.read_text().splitlines():
        row(*json.loads(line))


if __name__ == "__main__":
    sys.exit(main())

"""python -m fuzz [INPUTS]: mangled requests, files and forms, in process, on a database of its own.

After every two hundred all is worked off, and what is stored is compared with a reading of its own (fuzz/contract.py).
The seed is printed; `--seed` repeats a run. Inputs after which something is wrong are written to files, as few as show
it: `--replay FILE` sends them alone. TEST_DATABASE=sqlite is SQLite in place of PostgreSQL.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from random import SystemRandom

from tests.servers import PostgreSQL, manage, temporary_directory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("inputs", type=int, nargs="?", default=100_000)
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6))
    parser.add_argument("--first", type=int, default=0, help="number of the first input (0)")
    parser.add_argument("--folder", type=Path, default=Path(".run/fuzz"), help="for inputs that fail (.run/fuzz)")
    parser.add_argument("--replay", type=Path, help="file of inputs to send")
    options = parser.parse_args()
    with ExitStack() as stack:
        os.environ |= {"DATABASE_URL": database(stack), "DJANGO_SETTINGS_MODULE": "tutormax.settings"}
        os.environ["SECRET_KEY"] = "of mangled inputs"
        manage("migrate", "--verbosity=0", database_url=os.environ["DATABASE_URL"])
        import django

        django.setup()
        failed = replay(options.replay) if options.replay else run(options)
    sys.exit(failed)


def database(stack: ExitStack) -> str:
    if os.environ.get("TEST_DATABASE") == "sqlite":
        return f"sqlite:///{stack.enter_context(temporary_directory())}/db.sqlite3"
    server = stack.enter_context(PostgreSQL())
    server.start()
    with server.connect() as connection:
        connection.execute("CREATE DATABASE fuzz")
    return server.url("fuzz")


def run(options: argparse.Namespace) -> bool:
    """Whether something is wrong."""
    from fuzz import inputs
    from fuzz.run import GROUP, Result, Senders
    from fuzz.run import run as run_groups

    print(f"{options.inputs:,} inputs, seed {options.seed}", flush=True)
    started, result, shown = time.monotonic(), Result(), 0
    numbers = range(options.first, options.first + options.inputs)
    senders = Senders()
    for count, result in enumerate(run_groups(senders, committed(), numbers, seed=options.seed), start=1):
        for text, fewest in result.failures[shown:]:
            options.folder.mkdir(parents=True, exist_ok=True)
            shown += 1
            file = options.folder / f"{options.seed}-{shown}.ndjson"
            inputs.write(file, fewest)
            print(f"{len(fewest)} inputs fail: python -m fuzz --replay {file}\n{text[:4000]}\n", flush=True)
        if count % 25 == 0:
            print(f"{count * GROUP:,} inputs, {time.monotonic() - started:.0f} s", flush=True)
    print(f"{sum(result.statuses.values()):,} answers in {time.monotonic() - started:.0f} s, {shown} failures")
    print("  answers: " + ", ".join(f"{name}: {number:,}" for name, number in sorted(result.statuses.items())))
    print("  rows compared: " + ", ".join(f"{name} {number:,}" for name, number in sorted(result.rows.items())))
    return shown > 0


def replay(file: Path) -> bool:
    from fuzz import inputs
    from fuzz.run import Senders, faults_of

    found = faults_of(Senders(), committed(), inputs.read(file))
    print("\n".join(found) or "Nothing is wrong.")
    return bool(found)


def committed() -> Callable[[], AbstractContextManager[None]]:
    """A database in which inputs are committed as ever, and that is then as it is now."""
    from tests.cleaning import present, restore

    tables, installed = present()

    @contextmanager
    def clean() -> Iterator[None]:
        try:
            yield
        finally:
            restore(tables, installed)

    return clean


if __name__ == "__main__":
    main()

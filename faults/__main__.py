"""make faults: runs of a whole system under faults, each followed by the ledger. See docs/reliability.md.

python -m faults --seed 1 --runs 50 --write     (run 7 of these again: --seed 7 --runs 1)
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from random import Random

from faults.places import on_postgresql, on_sqlite


def main() -> None:
    options = read_options()
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(on_sqlite() if options.database == "sqlite" else on_postgresql())
        os.environ |= {"DATABASE_URL": place.database_url, "DJANGO_SETTINGS_MODULE": "tutormax.settings"}
        os.environ |= {"SECRET_KEY": "of the fault runs", "LOG_LEVEL": "WARNING"}
        import django

        django.setup()
        from faults import runs

        sys.exit(runs.run_all(place, options))


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m faults", description="Fault runs of a whole system.")
    parser.add_argument("--seed", type=int, default=Random().randrange(10**6), help="of the first run; the next: + 1")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--minutes", type=float, default=0, help="no run begins after them; 0: no limit")
    parser.add_argument("--faults", type=int, default=3, help="in each run")
    parser.add_argument("--only", action="append", default=[], help="a kind of fault, or the beginning of its name")
    parser.add_argument("--default-settings", action="store_true", help="rather than those that recover quickly")
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--broker", choices=("orm", "redis"), default="orm", help="where the task queue is")
    parser.add_argument("--write", action="store_true", help="the results into docs/reliability.md")
    parser.add_argument("--keep-logs", type=Path, help="a folder for them, if anything is wrong")
    options = parser.parse_args()
    if options.write and options.database == "sqlite":
        parser.error("--write is for runs on PostgreSQL.")
    return options


if __name__ == "__main__":
    main()

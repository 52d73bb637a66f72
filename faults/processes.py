"""python -m faults.processes web|cluster …: a process of the system as it is, but for what faults need.

A certain tutor kills the worker that enriches it; and with CLOCK_AHEAD all clocks of the process but the monotonic
one are so many seconds ahead.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta


def main() -> None:
    kind, *arguments = sys.argv[1:]
    if ahead := float(os.environ.get("CLOCK_AHEAD", "0")):
        import time_machine

        time_machine.travel(datetime.now(UTC) + timedelta(seconds=ahead)).start()
    if kind == "web":
        from gunicorn.app.wsgiapp import run

        sys.argv = ["gunicorn", *arguments]
        run()
    else:
        run_cluster()


def run_cluster() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutormax.settings")
    import django

    django.setup()
    from django.core.management import CommandError, call_command

    from faults.records import POISON
    from tests.worker import plant_killer

    plant_killer(POISON)
    try:
        call_command("qcluster")
    except CommandError as error:  # as manage.py does
        sys.exit(str(error))


if __name__ == "__main__":
    main()

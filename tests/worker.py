"""A worker for tests: `python -m tests.worker` is enrich_pending, which a record of the name `--kill-on` kills as a
crash would; or with tutors that are immutable, each of which makes a student.
"""

import argparse
import dataclasses
import os
import signal
from typing import Any

import django


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutormax.settings")
    django.setup()
    from django.core.management import call_command

    parser = argparse.ArgumentParser()
    parser.add_argument("--kill-on")
    parser.add_argument("--records", type=int)
    parser.add_argument("--immutable", action="store_true")
    options = parser.parse_args()
    if options.kill_on:
        plant_killer(options.kill_on)
    if options.immutable:
        make_immutable()
    call_command("enrich_pending", batch_size=options.records)


def plant_killer(name: str) -> None:
    from ingestion import streams

    real = streams.get("tutors")

    def enrich(record: Any, context: Any) -> dict[str, Any]:
        if record.name == name:
            os.kill(os.getpid(), signal.SIGKILL)
        return real.enrich(record, context)

    streams._streams["tutors"] = dataclasses.replace(real, enrich=enrich)


def make_immutable() -> None:
    from ingestion import streams
    from tests.promises.helpers import one_student_of_each

    real = streams.get("tutors")
    streams._streams["tutors"] = dataclasses.replace(real, immutable=True, stored=one_student_of_each)


if __name__ == "__main__":
    main()

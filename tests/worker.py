"""Worker processes for tests, forked by a program that has loaded the project: that takes a second of CPU time, and
some tests kill one worker after the other.

`python -m tests.worker` reads a request from each line of its standard input, a list in JSON, and answers with a line:
`["start", <file for its output>, <option>, …]` with the process's id; `["poll", <id>]` with its exit code as subprocess
has it, or null while it runs. A worker is enrich_pending, which a record of the name `--kill-on` kills as a crash
would; or with tutors that are immutable, each of which makes a student.
"""

import argparse
import dataclasses
import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any

import django


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutormax.settings")
    django.setup()
    import_module("enrichment.management.commands.enrich_pending")
    for line in sys.stdin:
        request, *parameters = json.loads(line)
        print(json.dumps(start(*parameters) if request == "start" else poll(*parameters)), flush=True)


def start(output: str, *options: str) -> int:
    pid = os.fork()
    if pid == 0:
        run(output, options)
    with suppress(OSError):  # it has done that itself, and may have ended
        os.setpgid(pid, pid)
    return pid


def poll(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def run(output: str, options: tuple[str, ...]) -> None:
    """The new process: works in a group of its own, and ends."""
    code = 1
    try:
        os.setpgid(0, 0)
        for path, flags, descriptors in ((os.devnull, os.O_RDONLY, (0,)), (output, os.O_WRONLY, (1, 2))):
            opened = os.open(path, flags)
            for descriptor in descriptors:
                os.dup2(opened, descriptor)
            os.close(opened)
        work(*options)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def work(*arguments: str) -> None:
    from django.core.management import call_command

    parser = argparse.ArgumentParser()
    parser.add_argument("--kill-on")
    parser.add_argument("--records", type=int)
    parser.add_argument("--immutable", action="store_true")
    options = parser.parse_args(arguments)
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

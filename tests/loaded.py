"""A program that has loaded the project, which takes a second of CPU time, and forks the processes that tests start.

`python -m tests.loaded` reads a request from each line of its standard input, a list in JSON, and answers with a line.
`["start", <arguments of python>, <environment>, <file for its output>, <file for its errors>]` starts a process in a
group of its own, and is answered with its id; `["poll", <id>]` with its exit code as subprocess has it, or null while
it runs. The process does what `python manage.py …`, `python -m …` or `python -c …` does in that environment. Of the
settings only DATABASE_URL may be another than here: the others have been read.
"""

import json
import os
import runpy
import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import Any

import django


def main() -> None:
    requests, answers = os.fdopen(os.dup(0)), os.dup(1)
    connect(0, os.devnull, os.O_RDONLY)
    connect(1, os.devnull, os.O_WRONLY)
    load()
    while line := requests.readline():
        match json.loads(line):
            case ["poll", pid]:
                answer = poll(pid)
            case ["start", *parameters]:
                assert threading.active_count() == 1, "of several threads only one would go on in the new process"
                answer = os.fork()
                if answer == 0:
                    requests.close()
                    os.close(answers)
                    become(*parameters)
                    return
                with suppress(OSError):  # it has done that itself, and may have ended
                    os.setpgid(answer, answer)
        os.write(answers, (json.dumps(answer) + "\n").encode())


def load() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutormax.settings")
    django.setup()
    from django.core.management import load_command_class
    from django.urls import get_resolver

    assert get_resolver().url_patterns  # which imports all views
    load_command_class("enrichment", "qcluster")
    import_module("gunicorn.app.wsgiapp")


def poll(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def become(arguments: list[str], environment: dict[str, str], output: str, errors: str) -> None:
    """What the new process does. It ends by returning or raising, as any program of Python."""
    os.setpgid(0, 0)
    connect(1, output, os.O_WRONLY | os.O_APPEND)
    connect(2, errors, os.O_WRONLY | os.O_APPEND)
    os.environ.clear()
    os.environ.update(environment)
    use_database(environment["DATABASE_URL"])
    match arguments:
        case ["-c", script, *rest]:
            sys.argv = ["-c", *rest]
            exec(compile(script, "<string>", "exec"), {"__name__": "__main__"})
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [program, *rest]:
            sys.argv = [program, *rest]
            runpy.run_path(program, run_name="__main__")


def connect(descriptor: int, path: str, flags: int) -> None:
    opened = os.open(path, flags)
    os.dup2(opened, descriptor)
    os.close(opened)


def use_database(url: str) -> None:
    """No connection was made before, and the settings of all are kept in one dictionary."""
    from django.db import connections

    from tutormax.settings import database

    settings: Any = connections.settings["default"]
    new = connections.configure_settings({"default": database(url)})["default"]
    assert new["ENGINE"] == settings["ENGINE"]
    settings.clear()
    settings.update(new)
    with suppress(AttributeError):
        del connections["default"]


if __name__ == "__main__":
    main()

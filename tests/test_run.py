"""`manage.py run`, which is what `make run` starts: in a copy of the project, with a port and a database of its own."""

import json
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from conftest import NewDatabase
from tests.servers import PATIENCE, ROOT, Process, free_port, wait_until

pytestmark = pytest.mark.postgresql

STARTED = "Press Ctrl-C to stop."
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".run", ".*_cache", ".coverage*", ".hypothesis", "staticfiles")
SMALL = {"WEB_PROCESSES": "1", "WORKERS": "1"}
"""Starts with fewer processes, each of which loads the project."""
Start = Callable[..., Process]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the project without anything of an earlier run."""
    return Path(shutil.copytree(ROOT, tmp_path / "tutormax", ignore=NOT_COPIED))


@pytest.fixture
def start(directory: Path) -> Iterator[Start]:
    """Starts `manage.py run` in the copy, on its default database unless the environment says otherwise."""
    started = []

    def start(**environment: str) -> Process:
        command = (sys.executable, "manage.py", "run")
        defaults = {"DATABASE_URL": "", "SECRET_KEY": "", "DEMO": "no"}
        started.append(Process(command, defaults | environment, cwd=directory))
        return started[-1]

    yield start
    for process in started:
        process.stop()


def _running(process: Process) -> str:
    """What it has said when it says that all runs."""

    def screen() -> str:
        assert process.popen.poll() is None, process.log()
        return process.log() if STARTED in process.log() else ""

    return str(wait_until(screen, "everything runs", timeout=3 * PATIENCE))


def _family(process: Process) -> list[psutil.Process]:
    """It and all that it has started: at the least gunicorn and its two workers, qcluster and its sentinel."""
    parent = psutil.Process(process.pid)
    wait_until(lambda: len(parent.children(recursive=True)) >= 5, "all processes are there")
    return [parent, *parent.children(recursive=True)]


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def _end(process: Process, number: signal.Signals) -> None:
    """Ends it as a terminal or a supervisor would: every process is gone with it, and the exit is a clean one."""
    family = _family(process)
    process.popen.send_signal(number)
    assert process.popen.wait(PATIENCE) == 0
    assert _alive(family) == []


def _credentials(directory: Path) -> dict[str, str]:
    file = directory / ".run" / "credentials.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def _counts(screen: str) -> dict[str, int]:
    return {name: int(number) for name, number in re.findall(r"^  (\w+) +(\d+)$", screen, re.MULTILINE)}


def _films(screen: str) -> str:
    """The address of the library of the demo."""
    found = re.search(r"^  Films +(http://127.0.0.1:\d+/uploads/\S+)$", screen, re.MULTILINE)
    assert found
    return found[1]


def _music(screen: str) -> str:
    """The address of a listener of the demo."""
    found = re.search(r"^  Music +(http://\S+)$", screen, re.MULTILINE)
    assert found
    return found[1]


def _assert_music_is_looked_up(screen: str, directory: Path, environment: Mapping[str, str]) -> None:
    login = _credentials(directory)
    assert f"{login['TUTORMAX_URL']}/admin/music/listener/" in _music(screen)
    wait_until(lambda: not _rows("artists?match=open", login), "the artists of the demo are looked up", timeout=180)
    (first_artist, *_) = _rows("artists?match=found&country_code_missing=false", login)
    assert first_artist["genres"] and first_artist["continent_code"]
    assert {artist["name"] for artist in _rows("artists?match=ambiguous", login)} == {"Juniper", "Mirage", "Nord"}
    _assert_enrich_music_asks_the_stand_ins(directory, environment)


def _rows(path: str, login: dict[str, str]) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Api-Key {login['TUTORMAX_API_KEY']}"}
    request = urllib.request.Request(f"{login['TUTORMAX_URL']}/api/{path}", headers=headers)
    with urllib.request.urlopen(request) as response:
        found: list[dict[str, Any]] = json.load(response)["results"]
    return found


def _page(url: str) -> str:
    with urllib.request.urlopen(url) as response:
        return str(response.read().decode())


def _shell(script: str, directory: Path) -> str:
    return subprocess.run(["sh", "-ec", script], cwd=directory, capture_output=True, text=True, check=True).stdout


def _assert_enrich_music_asks_the_stand_ins(directory: Path, environment: Mapping[str, str]) -> None:
    database = shlex.quote(environment["DATABASE_URL"])
    enrich = f"DATABASE_URL={database} {sys.executable} manage.py enrich_music --json"
    results = json.loads(_shell(f"set -a; . .run/stand_ins.env; set +a; {enrich}", directory))["processor_results"]
    names = ("spotify", "musicbrainz", "geographic")
    assert {name: results[name]["status"] for name in names} == dict.fromkeys(names, "completed")


@pytest.mark.parametrize("database", ["the default", "PostgreSQL"])
def test_the_first_start_shows_the_demo_and_the_second_keeps_it(
    start: Start, directory: Path, new_database: NewDatabase, database: str
) -> None:
    environment = {"PORT": str(free_port()), "DATABASE_URL": new_database() if database == "PostgreSQL" else ""}
    environment["TMDB_RATE"] = "50/1"  # the stand-in's
    first = start(**environment, DEMO="yes")
    screen = _running(first)
    counts = _counts(screen)
    assert counts["posted"] > 1000
    assert counts["posted"] == sum(counts.values()) - counts["posted"]
    posted = re.search(r"^Posted ([\d,]+)", screen, re.MULTILINE)
    in_files = re.search(r"(\d+) of those posted are rows of uploaded files", screen)
    assert posted and in_files
    assert int(posted[1].replace(",", "")) + int(in_files[1]) == counts["posted"]
    by_code = re.findall(r"([a-z_]+) (\d+)", screen.partition("dead by code: ")[2].partition("\n")[0])
    assert sum(int(number) for _, number in by_code) == counts["dead"] > 0
    planted = re.search(r"faulty on purpose: (.*)\.", screen)
    assert planted
    expected = {what: int(number) for number, what in (part.split(" ", 1) for part in planted[1].split("; "))}
    assert counts["dead"] == expected["dead: invalid"]
    assert counts["waiting"] == expected["waiting"]
    # One that waited until a newer one was stored is closed.
    assert (
        sum(counts.get(name, 0) for name in ("updated", "stale", "closed")) == expected["updated"] + expected["stale"]
    )

    login = _credentials(directory)
    assert login["TUTORMAX_URL"] == f"http://127.0.0.1:{environment['PORT']}"
    assert login["TUTORMAX_ADMIN_USER"] == "admin"
    assert f"user admin, password {login['TUTORMAX_ADMIN_PASSWORD']}\n" in screen
    curl = re.search(r"^  (curl .*)$", screen, re.MULTILINE)
    assert curl
    answer = subprocess.run(shlex.split(curl[1]), capture_output=True, text=True, check=True)
    assert '"success":true' in answer.stdout.replace(" ", "")
    for path in ("/admin/login/", "/docs"):
        with urllib.request.urlopen(login["TUTORMAX_URL"] + path) as response:
            assert response.status == 200
    post, get = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[:2]
    get = f"{post.splitlines()[0]}\n{get}"  # in the same terminal
    assert '"delivery"' in _shell(post, directory)
    wait_until(lambda: '"experience_level"' in _shell(get, directory), "the README's tutor is enriched")
    films = _films(screen)
    wait_until(lambda: "All films looked up" in _page(films), "the films of the demo are looked up")
    assert "Demo data, not from TMDB." in _page(films)
    assert _page(films).count('id="ambiguous"') == _page(films).count('id="not_found"') == 1
    _assert_music_is_looked_up(screen, directory, environment)
    _end(first, signal.SIGINT)
    assert first.log().endswith("Stopped.\n")

    second = start(**environment, DEMO="yes")
    screen = _running(second)
    assert "Posting" not in screen
    assert _credentials(directory) == login
    assert _films(screen) == films
    kept = _counts(screen)
    assert (kept["posted"], kept["inserted"]) == (counts["posted"] + 2, counts["inserted"] + 1)
    assert kept["updated"] + kept["stale"] == counts["updated"] + counts["stale"] + 1  # the same tutor twice
    assert (kept["waiting"], kept["dead"]) == (counts["waiting"], counts["dead"])
    _end(second, signal.SIGTERM)


REAL = {"TMDB_API_KEY": "0123456789abcdef" * 2, "MUSICBRAINZ_CONTACT": "a@example.org"}


@pytest.mark.parametrize("environment", [{"DEMO": "no"}, {"DEMO": "yes", **REAL}])
def test_nothing_stands_in_for_others_unasked(
    start: Start, directory: Path, new_database: NewDatabase, environment: dict[str, str]
) -> None:
    database = new_database()
    with psycopg.connect(database) as connection:  # so that no demo is posted
        connection.execute(
            "INSERT INTO ingestion_delivery (stream, client, body, count, inserted, processed_at, refused, gaps)"
            " VALUES ('tutors', 'x', '', 1, 1, now(), '[]', '[]')"
        )
    process = start(PORT=str(free_port()), DATABASE_URL=database, **SMALL, **environment)
    screen = _running(process)
    assert "  Films " not in screen and "  Music " not in screen
    assert not any("standins" in " ".join(each.cmdline()) for each in _family(process))
    assert not list(directory.glob(".run/stand_ins.env"))
    _end(process, signal.SIGTERM)


def test_what_ends_is_started_again(start: Start) -> None:
    process = start(PORT=str(free_port()))
    _running(process)
    for name in ("qcluster", "gunicorn"):
        _family(process)
        _assert_started_again(process, name)
    _end(process, signal.SIGTERM)


def _assert_started_again(process: Process, name: str) -> None:
    said = process.log().count("restarting in")
    (victim,) = _named(process, name)
    orphans = victim.children(recursive=True)
    victim.kill()
    wait_until(lambda: process.log().count("restarting in") > said, "the end is noticed")
    wait_until(lambda: not _alive(orphans), "what it has left behind is gone")
    wait_until(lambda: any(each.children() for each in _named(process, name)), "it runs again")


def _named(process: Process, name: str) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if name in " ".join(child.cmdline())]


def test_a_port_in_use_is_said_in_a_sentence(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(PORT=str(port))
        assert process.popen.wait(PATIENCE) == 1
    assert process.log() == f"CommandError: Port {port} is in use. Use another one: make run PORT={port + 1}\n"


def test_a_second_one_is_refused_and_nothing_runs_on_when_the_first_is_killed(start: Start, directory: Path) -> None:
    port = str(free_port())
    first = start(PORT=port, **SMALL)
    _running(first)
    second = start(PORT=str(free_port()))
    assert second.popen.wait(PATIENCE) == 1
    where = f"{directory}/.run and port {port}"
    assert second.log() == f"CommandError: Another make run is using {where}. Stop it first.\n"
    assert first.popen.poll() is None
    family = _family(first)
    first.popen.send_signal(signal.SIGKILL)
    wait_until(lambda: not _alive(family), "web server and cluster end")


def test_a_database_that_is_away_is_said_in_a_sentence(start: Start) -> None:
    process = start(PORT=str(free_port()), DATABASE_URL=f"postgres://nobody@127.0.0.1:{free_port()}/none")
    assert process.popen.wait(PATIENCE) == 1
    assert "CommandError: The database cannot be used: " in process.log()
    assert "Traceback" not in process.log()


def test_accounts_of_others_are_left_alone(start: Start, directory: Path, new_database: NewDatabase) -> None:
    database = new_database()
    environment = {"PORT": str(free_port()), "DATABASE_URL": database, **SMALL}
    process = start(**environment)
    _running(process)
    process.stop()
    with psycopg.connect(database) as connection:
        before = connection.execute("SELECT password FROM auth_user WHERE username = 'admin'").fetchone()
    shutil.rmtree(directory / ".run")
    process = start(**environment)
    _running(process)
    process.stop()
    assert _credentials(directory)["TUTORMAX_ADMIN_USER"] == "admin2"
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT password FROM auth_user WHERE username = 'admin'").fetchone() == before

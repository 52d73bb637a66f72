import contextlib
import errno
import fcntl
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection
from tqdm import tqdm

from ingestion.models import Delivery
from tutormax import env
from tutormax.runner import credentials, films, music
from tutormax.runner.credentials import Credentials
from tutormax.runner.stand_ins import StandIns, write_settings
from tutormax.runner.summary import counts, progress, screen
from tutormax.runner.supervisor import Child, stop

WEB_TIMEOUT = 60
"""Seconds until the web server must answer."""
REPORT_INTERVAL = 5
"""Seconds between two lines of progress, where there is no terminal."""
tqdm.monitor_interval = 0  # no thread: children are started by fork
DEMO = {"tutors": 60, "students": 200, "days": 14, "seed": 1, "faults": True}


class Command(BaseCommand):
    help = "Prepares the database, then runs the web server and the workers until Ctrl-C (make run)."

    def handle(self, *args: Any, **options: Any) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell without job control has it ignored
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.default_int_handler)
        try:
            with exclusive_lock(settings.RUN_DIR):
                self.run()
        except KeyboardInterrupt:
            self.say("Stopped.")

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def run(self) -> None:
        if settings.HTTPS:
            raise CommandError("make run serves plain HTTP on this machine only: leave HTTPS out.")
        check_port(settings.PORT)
        self.say("Preparing the database …")
        login = prepare(f"http://127.0.0.1:{settings.PORT}")
        stand_ins = self.stand_ins()
        environment = {name: value for each in stand_ins for name, value in each.environment.items()}
        settings_file = settings.RUN_DIR / "stand_ins.env"
        write_settings(settings_file, environment)
        web = web_server(environment)
        children = [web, cluster(environment), *(child for each in stand_ins for child in each.children)]
        try:
            for child in children:
                child.start()
            wait_for_web(web, login.url)
            if demo_is_wanted(login):
                self.post_demo(login)
            self.wait_for_work(children)
            self.say(screen(login, counts(), films.link(login.url), music.link(login.url)))
            connection.close()
            while True:
                self.restart_dead(children)
                time.sleep(0.5)
        except KeyboardInterrupt:
            self.say("\nStopping …")
            raise
        finally:
            stop(children, self.say)
            settings_file.unlink(missing_ok=True)

    def stand_ins(self) -> list[StandIns]:
        """Of the demo, for the services that no setting names."""
        found = []
        if is_demo() and not settings.TMDB_API_KEY:
            found.append(films.stand_ins())
        if found or settings.TMDB_API_KEY:
            films.note_source("stand-in" if found else "TMDB")
        if is_demo() and not music.has_providers():
            found.append(music.stand_ins())
        return found

    def restart_dead(self, children: list[Child]) -> None:
        for child in children:
            child.restart_if_dead(self.say)

    def post_demo(self, login: Credentials) -> None:
        self.say("Posting demo data through the API; some is faulty or late on purpose (skip it with DEMO=no) …")
        demo_marker().write_text(login.key_prefix)
        output = StringIO()
        call_command("generate_data", **DEMO, post=login.url, key=login.api_key, stdout=output)
        report = settings.RUN_DIR / "demo.txt"
        report.write_text(output.getvalue())
        for line in output.getvalue().splitlines():
            if line.startswith("Posted ") or " faulty on purpose: " in line:
                self.say(line)
        self.say(f"The faults are listed in {report}.")
        self.say("Uploading a made-up export of films …")
        films.upload_export(login)
        if not music.has_providers():
            self.say("Uploading made-up listening histories …")
            music.upload_histories(login)
        demo_marker().unlink()

    def wait_for_work(self, children: list[Child]) -> None:
        """Until nothing is pending, twice in a row: late references requeue waiting records after the commit."""
        idle, reported_at = 0, time.monotonic()
        with tqdm(desc="enriched", unit=" records", unit_scale=True, disable=None, leave=False) as bar:
            while idle < 2:
                accepted, pending, trouble = progress()
                bar.total, bar.n = accepted, accepted - pending
                bar.set_postfix_str(trouble)
                if bar.disable and pending and time.monotonic() - reported_at > REPORT_INTERVAL:
                    reported_at = time.monotonic()
                    self.say(f"{accepted - pending} of {accepted} records enriched {trouble}".rstrip())
                idle = 0 if pending else idle + 1
                self.restart_dead(children)
                time.sleep(0.5)


@contextlib.contextmanager
def exclusive_lock(directory: Path) -> Iterator[None]:
    """Holds the directory's lock; CommandError if another `make run` has it. A lock ends with its process."""
    directory.mkdir(exist_ok=True)
    directory.chmod(0o700)  # it holds the database, too
    with (directory / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            where = f"{directory} and port {lock.read()}"
            raise CommandError(f"Another make run is using {where}. Stop it first.") from None
        lock.truncate(0)
        lock.write(f"{settings.PORT}")
        lock.flush()
        yield


def check_port(port: int) -> None:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError as error:
            what = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
            raise CommandError(f"Port {port} {what}. Use another one: make run PORT={port + 1}") from None


def prepare(url: str) -> Credentials:
    """Migrates the database and creates the account and the key; they are in the file before anything else happens."""
    path = settings.RUN_DIR / "credentials.env"
    try:
        call_command("migrate", verbosity=0, interactive=False, skip_checks=False)
        login = credentials.ensure_valid(Credentials.read(path), url)
    except DatabaseError as error:
        raise CommandError(f"The database cannot be used: {str(error).strip()}") from None
    login.write(path)
    return login


def web_server(environment: Mapping[str, str]) -> Child:
    command = (
        *(sys.executable, "-m", "gunicorn", "--config=python:tutormax.web_server"),
        f"--bind=127.0.0.1:{settings.PORT}",
    )
    hosts = ",".join({*settings.ALLOWED_HOSTS, "127.0.0.1", "localhost"})
    environment = {"ALLOWED_HOSTS": hosts, "DRAIN_TIME": "0", **environment}
    return Child("The web server", command, settings.RUN_DIR / "web.log", environment)


def cluster(environment: Mapping[str, str]) -> Child:
    command = (sys.executable, str(settings.BASE_DIR / "manage.py"), "qcluster")
    return Child("qcluster", command, settings.RUN_DIR / "qcluster.log", environment)


def wait_for_web(child: Child, url: str) -> None:
    deadline = time.monotonic() + WEB_TIMEOUT
    while time.monotonic() < deadline and child.is_running():
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health/live", timeout=5):  # noqa: S310
            return
        time.sleep(0.1)
    raise CommandError(f"The web server does not respond. Last lines of {child.log}:\n{child.last_lines()}")


def demo_marker() -> Path:
    """Exists while the demo is posted, and after an interrupted demo; contains the prefix of the key used."""
    return settings.RUN_DIR / "demo"


def demo_is_wanted(login: Credentials) -> bool:
    """On the first start, and again if it was interrupted: the same records end in the same rows."""
    interrupted = demo_marker().exists() and demo_marker().read_text() == login.key_prefix
    return is_demo() and (interrupted or not Delivery.objects.exists())


def is_demo() -> bool:
    """Unless DEMO=no."""
    wanted = env.string("DEMO", "yes").lower()
    if wanted not in ("yes", "no"):
        raise CommandError(f"DEMO must be yes or no, not {wanted!r}.")
    return wanted == "yes"

"""The system under test: PostgreSQL, web server, two clusters and the services they ask, each of which may fail."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil
import psycopg

from faults.records import MAX_FILMS, artist_numbers, film_of
from music.tests import service
from standins import musicbrainz, spotify, tmdb
from standins.server import Server
from tests.servers import PostgreSQL, Process, RedisServer, free_port, wait_until

QUICK = {"CLAIM_LEASE": "4", "SWEEP_INTERVAL": "2", "WATCH_PATIENCE": "15"}
"""Settings under which a crash is made up for within seconds, so that a run takes no longer."""
RATE = 20
"""Requests a second that each service allows."""
RESTART_PAUSE = 1.0
"""Seconds until a process that has ended is started anew, as by systemd."""


class Service:
    """A process that is started anew whenever it ends; all that it ever wrote is kept."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self.name, self.command, self.environment = name, command, dict(environment)
        self.past, self.read = "", 0
        self.restarts = 0
        self.lock = threading.Lock()
        self.ended: float | None = None
        self.process = Process(command, self.environment)

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return self.past + self.process.log()

    def unread_log(self) -> str:
        """What it has written since this was asked last."""
        with self.lock:
            text = self.log()[self.read :]
            self.read += len(text)
        return text

    def is_running(self) -> bool:
        return self.process.popen.poll() is None

    def tend(self) -> None:
        """Starts it anew if it has ended, after a pause; what is left of its group is killed first."""
        with self.lock:
            if self.is_running():
                self.ended = None
            elif self.ended is None:
                self.ended = time.monotonic()
            elif time.monotonic() - self.ended > RESTART_PAUSE:
                self._start_anew()

    def restart(self, **environment: str) -> None:
        """Ends it in good order, and starts it with these variables besides its own."""
        with self.lock:
            self.process.stop(timeout=15)
            self._start_anew(environment)

    def stop(self) -> None:
        self.process.stop(timeout=15)

    def _start_anew(self, environment: Mapping[str, str] | None = None) -> None:
        self.process.kill()
        self.past += self.process.log()
        self.ended, self.restarts = None, self.restarts + 1
        self.process = Process(self.command, self.environment | dict(environment or {}))

    def workers(self) -> list[psutil.Process]:
        """The children of its children: of a cluster its workers, monitor and pusher."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [
                grandchild for child in psutil.Process(self.pid).children() for grandchild in child.children()
            ] or psutil.Process(self.pid).children()
        return []

    def send(self, number: int) -> None:
        """A signal to all of its processes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


class System:
    """Everything that runs on a migrated database; the services that are asked know so many `runs`."""

    def __init__(
        self,
        database_url: str,
        runs: int,
        settings: Mapping[str, str] = QUICK,
        *,
        clusters: int = 2,
        postgres: PostgreSQL | None = None,
        disk: Path | None = None,
        log_disk: Path | None = None,
        redis: RedisServer | None = None,
    ) -> None:
        self.database_url, self.runs, self.settings = database_url, runs, settings
        self.number_of_clusters = clusters
        self.postgres, self.disk, self.log_disk, self.redis = postgres, disk, log_disk, redis
        """The server, the disk of its tables or of SQLite's file, that of its log, and a Redis, where they may fail."""
        self.is_sqlite = database_url.startswith("sqlite:")
        self.postgres_lock = threading.Lock()
        """Held by a fault of the database: one at a time."""

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._start(stack)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *of_an_error: object) -> None:
        self.stack.close()

    def _start(self, stack: contextlib.ExitStack) -> None:
        environment = {
            "DATABASE_URL": self.database_url,
            "SECRET_KEY": "of the fault runs",
            "LOG_LEVEL": "WARNING",
            **({"REDIS_URL": self.redis.url} if self.redis else {}),
            **self.settings,
            **self._services(stack),
        }
        self.url = f"http://127.0.0.1:{free_port()}"
        bind = f"--bind={self.url.removeprefix('http://')}"
        program = (sys.executable, "-m", "faults.processes")
        command = (*program, "web", "--config=python:tutormax.web_server", bind)
        self.web = Service("web", command, environment | {"DRAIN_TIME": "0"})
        self.clusters = [
            Service(f"cluster {number}", (*program, "cluster"), environment)
            for number in range(1, self.number_of_clusters + 1)
        ]
        self.services = [self.web, *self.clusters]
        for each in self.services:
            stack.callback(each.stop)
        wait_until(self.answers, "the web server answers")
        self.is_tending = True
        threading.Thread(target=self._tend, daemon=True).start()
        stack.callback(self._end_tending)

    def _services(self, stack: contextlib.ExitStack) -> dict[str, str]:
        """The stand-ins, which know the films and artists of all runs; the settings that name them."""
        films = [film_of(run, number) for run in range(self.runs) for number in range(MAX_FILMS)]
        numbers = [number for run in range(self.runs) for number in artist_numbers(run)]
        music = [
            thing for number in numbers for thing in (service.at_spotify(number), service.album_at_spotify(number))
        ]
        known = [service.band(number) for number in numbers if number % 4]
        self.tmdb = stack.enter_context(tmdb.start(films))
        self.spotify = stack.enter_context(spotify.start(spotify.Spotify(music)))
        self.musicbrainz = stack.enter_context(Server(musicbrainz.MusicBrainz(known, [], service.AREAS)))
        return {
            "TMDB_URL": self.tmdb.url,
            "TMDB_API_KEY": "any",
            "SPOTIFY_URL": self.spotify.url,
            "SPOTIFY_ACCOUNTS_URL": self.spotify.url,
            "SPOTIFY_CLIENT_ID": "id",
            "SPOTIFY_CLIENT_SECRET": "secret",
            "MUSICBRAINZ_URL": self.musicbrainz.url,
            "MUSICBRAINZ_CONTACT": "music@example.org",
            **{f"{name}_RATE": f"{RATE}/1" for name in ("TMDB", "SPOTIFY", "MUSICBRAINZ")},
        }

    @property
    def providers(self) -> dict[str, Server]:
        return {"TMDB": self.tmdb, "Spotify": self.spotify, "MusicBrainz": self.musicbrainz}

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/health", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def connect(self) -> psycopg.Connection:
        """To the database of the system, in autocommit mode."""
        return psycopg.connect(self.database_url, autocommit=True)

    def accepts(self) -> bool:
        """Whether the database takes connections."""
        try:
            self.connect().close()
        except psycopg.Error:
            return False
        return True

    def delete_from(self, *tables: str) -> None:
        if self.is_sqlite:
            opened: Any = contextlib.closing(sqlite3.connect(self.database_url.removeprefix("sqlite:///"), timeout=20))
        else:
            opened = self.connect()
        with opened as connection:
            for table in tables:
                connection.execute(f"DELETE FROM {table}")
            connection.commit()

    def postgres_processes(self) -> list[psutil.Process]:
        assert self.postgres
        number = int((self.postgres.data / "postmaster.pid").read_text().split()[0])
        postmaster = psutil.Process(number)
        return [postmaster, *postmaster.children()]

    def _tend(self) -> None:
        while self.is_tending:
            for each in self.services:
                each.tend()
            time.sleep(0.2)

    def _end_tending(self) -> None:
        self.is_tending = False
        time.sleep(0.5)


def signal_all(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)

"""A database that neither answers nor hangs up: 503 soon, and all is well by itself when it answers again."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from conftest import NewDatabase
from ingestion.payloads import ascii_json
from tests.elsewhere import new_key
from tests.servers import PATIENCE, Cluster, WebServer, wait_until
from tutoring.tests.factories import tutor
from tutormax.postgresql.base import is_there

pytestmark = pytest.mark.postgresql


class Line:
    """A line to the database that can fall silent: whatever is sent is taken, connections too, and nothing comes back.

    To a client that is a server which is stopped, and what was sent to it meanwhile it gets when it goes on.
    """

    def __init__(self, database_url: str) -> None:
        self.target = urlsplit(database_url)
        self.speaks = threading.Event()
        self.speaks.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = database_url.replace(f":{self.target.port}/", f":{self.listener.getsockname()[1]}/")
        self.connections = 0
        self.threads = [self._start(self._accept)]

    def close(self) -> None:
        self.speaks.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(30)
        self.listener.close()

    def _start(self, task: Callable[..., None], *args: socket.socket) -> threading.Thread:
        thread = threading.Thread(target=task, args=args, daemon=True)
        thread.start()
        return thread

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client = self.listener.accept()[0]
                self.connections += 1
                self.threads.append(self._start(self._join, client))

    def _join(self, client: socket.socket) -> None:
        address = (self.target.hostname or "", self.target.port or 0)
        with client, contextlib.suppress(OSError), socket.create_connection(address) as server:
            up = self._start(self._pass_on, client, server)
            self._pass_on(server, client)
            up.join()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                self.speaks.wait()
                target.sendall(data)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


class Client:
    """A client of the API that also has a session, as a browser has."""

    def __init__(self, web: WebServer, database_url: str) -> None:
        self.address = urlsplit(web.url).netloc
        key = new_key(database_url)
        self.headers = {"Authorization": f"Api-Key {key}", "Cookie": f"sessionid={'s' * 32}"}

    def __call__(self, path: str, record: Any = None) -> int:
        """The status of the answer, which must come before the client gives up; one that waits keeps it for minutes."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE)
        with contextlib.closing(connection):
            body = None if record is None else ascii_json(record)
            headers = {**self.headers, "Content-Type": "application/json"}
            connection.request("GET" if body is None else "POST", path, body, headers)
            return connection.getresponse().status


@pytest.fixture
def database_url(new_database: NewDatabase) -> str:
    return new_database()


@pytest.fixture
def line(database_url: str) -> Iterator[Line]:
    with contextlib.closing(Line(database_url)) as line:
        yield line


@pytest.fixture
def client(line: Line, database_url: str) -> Iterator[Client]:
    """A client of a web server at the end of that line."""
    with WebServer(line.url) as web:
        yield Client(web, database_url)


GETS = ("/health", "/api/tutors", "/api/tutors/absent", "/api/queue/stats", "/admin/")
OK = [200, 200, 404, 200, 302]


def test_a_silent_database_is_a_503_until_it_speaks_again(line: Line, client: Client, database_url: str) -> None:
    """Web server and cluster get over it by themselves."""
    with Cluster(line.url, CLAIM_LEASE="3", SWEEP_INTERVAL="1") as cluster:
        assert client("/api/tutors", tutor(tutor_id="before")) == 202
        wait_until(lambda: stored(database_url, "before"), "the cluster works")
        assert [client(path) for path in GETS * 2] == OK * 2  # most threads of the server then have a connection
        line.speaks.clear()
        with ThreadPoolExecutor(12) as clients:
            gets = [clients.submit(client, path) for path in GETS * 4]
            posts = [clients.submit(client, "/api/tutors", tutor()) for _ in range(4)]
            assert {future.result() for future in [*gets, *posts]} == {503}
            assert client("/health/live") == 200
        wait_until(lambda: "silent" in cluster.log() or "timeout expired" in cluster.log(), "the cluster notices")
        line.speaks.set()
        wait_until(lambda: client("/api/tutors", tutor(tutor_id="after")) == 202, "records are taken in again")
        wait_until(lambda: [client(path) for path in GETS] == OK, "all is well again")
        wait_until(lambda: stored(database_url, "after"), "the cluster works again")


def stored(database_url: str, key: str) -> bool:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT 1 FROM tutoring_tutor WHERE tutor_id = %s", [key]).fetchone()
        return row is not None


@contextlib.contextmanager
def waiting_post(client: Client, database_url: str) -> Iterator[tuple[psycopg.Connection, Future[int]]]:
    """(Who holds the lock that a post is waiting for, the post's answer to be)."""
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with (
        psycopg.connect(database_url) as holder,
        psycopg.connect(database_url, autocommit=True) as observer,
        ThreadPoolExecutor(1) as clients,
    ):
        holder.execute("LOCK TABLE ingestion_delivery IN SHARE MODE")
        post = clients.submit(client, "/api/tutors", tutor())
        wait_until(lambda: observer.execute(waiting).fetchone(), "the post waits for the lock")
        yield holder, post


def test_a_busy_database_is_waited_for_but_not_one_that_falls_silent(
    line: Line, client: Client, database_url: str
) -> None:
    """The same post waits for the same lock; the second time nobody is there to say so."""
    with waiting_post(client, database_url) as (holder, post):
        connections = line.connections
        wait_until(lambda: line.connections > connections, "the server is asked whether it is there")
        holder.rollback()
        assert post.result() == 202
    with waiting_post(client, database_url) as (holder, post):
        line.speaks.clear()
        assert post.result() == 503
        line.speaks.set()
    wait_until(lambda: client("/api/tutors", tutor()) == 202, "records are taken in again")


def test_a_server_that_answers_is_there(tmp_path: Path) -> None:
    path = str(tmp_path)
    assert not is_there(path, 5432)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{path}/.s.PGSQL.5432")
        server.listen()
        with ThreadPoolExecutor(1) as threads:
            threads.submit(_answer, server)
            assert is_there(path, 5432)


def _answer(server: socket.socket) -> None:
    with server.accept()[0] as client:
        client.recv(8)
        client.sendall(b"N")


def _hang_up(server: socket.socket) -> None:
    server.accept()[0].close()


def test_a_server_that_refuses_or_hangs_up_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with ThreadPoolExecutor(1) as threads:
            threads.submit(_hang_up, server)
            assert not is_there("127.0.0.1", port)
    assert not is_there("127.0.0.1", port)

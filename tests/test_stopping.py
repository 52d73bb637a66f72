"""Web server and workers stop within ten seconds, and no request is dropped on the way."""

from __future__ import annotations

import http.client
import signal
import socket
import threading
import time
from collections import Counter
from contextlib import closing
from functools import partial
from typing import Self
from urllib.parse import urlsplit

import psycopg
import pytest

from conftest import NewDatabase
from ingestion.payloads import ascii_json
from tests.api import ask
from tests.servers import Cluster, Process, WebServer, manage, wait_until
from tutoring.tests.factories import tutor

MAX_STOP = 20
"""Seconds from SIGTERM to the end of a process: ten, and as many for a machine that has other work."""


@pytest.mark.postgresql
def test_web_server_and_workers_stop_under_load_and_drop_nothing(new_database: NewDatabase) -> None:
    url = new_database()
    key = manage("create_api_key", "test", database_url=url).stdout.split()[-1]
    with WebServer(url, DRAIN_TIME="2") as server, Cluster(url) as cluster, SlowClient(server, key) as slow:
        load = Load(server, key, clients=4)
        wait_until(lambda: load.answers[202] > 20, "the load runs")
        wait_until(lambda: ask(f"{server.url}/health")[2]["cluster"], "the workers run")
        began = time.monotonic()
        for process in (server, cluster):
            process.popen.send_signal(signal.SIGTERM)
        wait_until(lambda: ask(f"{server.url}/health")[0] == 503, "it says that it stops", timeout=1.5)
        status, headers, health = ask(f"{server.url}/health")
        assert (status, health["status"], health["database"]) == (503, "draining", True)
        assert int(headers["Retry-After"]) > 0
        assert ask(f"{server.url}/health/live")[0] == 200
        before = load.answers[202]
        wait_until(lambda: load.answers[202] > before, "it still takes records")
        wait_until(lambda: is_refused(server), "it takes no more connections")
        assert slow.answer().startswith(b"HTTP/1.1 202")
        for process in (server, cluster):
            wait_until(partial(has_ended, process), "it has ended")
        assert time.monotonic() - began < MAX_STOP
        assert (server.popen.returncode, cluster.popen.returncode) == (0, 0)
        load.join()
    assert load.dropped == []
    assert set(load.answers) == {202}
    assert deliveries(url) == load.answers[202] + 1


class Load:
    """Clients that post without a pause, each time over a new connection, until none is taken any more."""

    def __init__(self, server: WebServer, key: str, clients: int) -> None:
        self.address = address_of(server)
        self.headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
        self.answers: Counter[int] = Counter()
        self.dropped: list[str] = []
        self.threads = [threading.Thread(target=self.post, args=(number,)) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def post(self, client: int) -> None:
        for number in range(100_000):
            connection = http.client.HTTPConnection(*self.address, timeout=30)
            try:
                connection.connect()
            except ConnectionRefusedError:
                return
            with closing(connection):
                try:
                    body = ascii_json(tutor(tutor_id=f"{client}-{number}"))
                    connection.request("POST", "/api/tutors", body, self.headers)
                    self.answers[connection.getresponse().status] += 1
                except (OSError, http.client.HTTPException) as error:
                    self.dropped.append(repr(error))

    def join(self) -> None:
        for thread in self.threads:
            thread.join(30)


class SlowClient:
    """Has sent half of a request, and sends the rest when it is asked for the answer."""

    def __init__(self, server: WebServer, key: str) -> None:
        self.body = ascii_json(tutor()).encode()
        head = (
            f"POST /api/tutors HTTP/1.1\r\nHost: localhost\r\nAuthorization: Api-Key {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
        )
        self.socket = socket.create_connection(address_of(server), timeout=30)
        self.socket.sendall(head.encode() + self.body[:10])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.socket.close()

    def answer(self) -> bytes:
        self.socket.sendall(self.body[10:])
        return self.socket.recv(10_000)


def address_of(server: WebServer) -> tuple[str, int]:
    address = urlsplit(server.url)
    return address.hostname or "", address.port or 0


def is_refused(server: WebServer) -> bool:
    try:
        socket.create_connection(address_of(server), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def has_ended(process: Process) -> bool:
    return process.popen.poll() is not None


def deliveries(url: str) -> int:
    with psycopg.connect(url) as database:
        row = database.execute("SELECT count(*) FROM ingestion_delivery").fetchone()
    return int(row[0]) if row else 0

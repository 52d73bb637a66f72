"""Clients that leave, or that neither read nor send, beside a web server of ours."""

from __future__ import annotations

import contextlib
import socket
import time
from urllib.parse import urlsplit

import psycopg
import pytest

from conftest import NewDatabase
from tests.api import ask
from tests.elsewhere import new_key
from tests.records import INSERT_STUDENTS
from tests.servers import PATIENCE, WebServer, wait_until
from tutormax.middleware import MAX_DRAIN_TIME

TIMEOUT = 2


def connected(server: WebServer, buffer: int | None = None) -> socket.socket:
    address = urlsplit(server.url)
    sock = socket.socket()
    if buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.settimeout(PATIENCE)
    sock.connect((address.hostname or "", address.port or 0))
    return sock


def request(method: str, path: str, key: str, *headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: Api-Key {key}", *headers, "", ""]
    return "\r\n".join(lines).encode()


@pytest.mark.postgresql
def test_who_reads_nothing_is_cut_off_and_gives_the_slot_back(new_database: NewDatabase) -> None:
    url = new_database()
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(INSERT_STUDENTS)
    key = new_key(url)
    with WebServer(url, CLIENT_TIMEOUT=str(TIMEOUT), WEB_THREADS="2") as server:
        path = "/api/students?format=csv&fields=name"

        def status() -> int:
            return ask(f"{server.url}{path}&student_id=none", key)[0]

        readers = [connected(server, buffer=4096) for _ in range(2 * 2)]
        for reader in readers:
            reader.sendall(request("GET", path, key))
        wait_until(lambda: status() == 503, "all slots are held")
        assert ask(f"{server.url}/health/live")[0] == 200
        wait_until(lambda: [status() for _ in range(4)] == [200] * 4, "the slots are free again")
        for reader in readers:
            with contextlib.suppress(ConnectionError):
                while reader.recv(1_000_000):
                    pass  # what was on its way; then the connection has an end
            reader.close()


def test_slow_uploads_of_one_client_do_not_shut_out_the_others(new_database: NewDatabase) -> None:
    url = new_database()
    slow, other = new_key(url), new_key(url)
    path, row = "/api/uploads?stream=students&name=f.csv", b"student_id,name\nS1,Kim\n"
    with WebServer(url) as server, contextlib.ExitStack() as opened:
        senders = [opened.enter_context(connected(server)) for _ in range(8)]
        for sender in senders:  # each begins a file, and sends no more of it
            sender.sendall(request("POST", path, slow, "Content-Type: text/csv", "Content-Length: 1000") + row)

        def upload(key: str) -> int:
            return ask(f"{server.url}{path}", key, row, Content_Type="text/csv")[0]

        wait_until(lambda: [upload(slow) for _ in range(8)] == [429] * 8, "the client's slots are held")
        assert [upload(other) for _ in range(8)] == [201] + [409] * 7
        for sender in senders:
            sender.close()
        wait_until(lambda: upload(slow) in (201, 409), "they are free again")


def test_who_is_refused_and_sends_on_slowly_is_answered_in_seconds(new_database: NewDatabase) -> None:
    with WebServer(new_database()) as server, connected(server) as sock:
        sock.sendall(request("POST", "/api/students", "none", "Content-Type: text/csv", "Content-Length: 1000"))
        sock.settimeout(0.2)
        deadline, answer = time.monotonic() + MAX_DRAIN_TIME + PATIENCE, b""
        while not answer and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                sock.sendall(b" ")
                answer = sock.recv(1000)
        assert answer.startswith(b"HTTP/1.1 401 ")


def test_who_sends_nothing_is_cut_off(new_database: NewDatabase) -> None:
    url = new_database()
    key = new_key(url)
    with WebServer(url, CLIENT_TIMEOUT=str(TIMEOUT)) as server, connected(server) as sock:
        sock.sendall(request("POST", "/api/students", key, "Content-Type: application/json", "Content-Length: 1000"))
        began = time.monotonic()
        answer = sock.recv(1000)
        assert time.monotonic() - began >= TIMEOUT - 0.5
        assert b" 202 " not in answer


@pytest.mark.parametrize("query", ["&dry_run=true", ""])
def test_a_file_is_not_checked_to_the_end_for_who_has_left(new_database: NewDatabase, query: str) -> None:
    url = new_database()
    key = new_key(url)
    body = b"student_id,name\n" + b"a,b\n" * 6_000_000  # half a minute of work
    with WebServer(url) as server:
        with connected(server) as sock:
            path = f"/api/uploads?stream=students&name=f.csv{query}"
            sock.sendall(request("POST", path, key, "Content-Type: text/csv", f"Content-Length: {len(body)}") + body)
            time.sleep(0.5)
        wait_until(lambda: "POST /api/uploads 400" in server.log(), "it is given up")
        assert ask(f"{server.url}/api/uploads", key)[2]["results"] == []

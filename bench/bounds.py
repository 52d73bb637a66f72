"""What one request, one key and one slow reader may take: python -m bench.bounds"""

from __future__ import annotations

import gzip
import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers import PostgreSQL, WebServer, manage

READERS = 12
MB = 1_000_000


def main() -> None:
    with PostgreSQL() as postgres:
        postgres.start()
        with postgres.connect() as connection:
            connection.execute("CREATE DATABASE bounds")
        url = postgres.url("bounds")
        manage("migrate", "--verbosity=0", database_url=url)
        key = manage("create_api_key", "bounds", database_url=url).stdout.strip().splitlines()[-1]
        with postgres.connect("bounds") as connection:
            connection.execute(STUDENTS)
        with WebServer(url, LOG_LEVEL="ERROR") as server:
            measure(server, key)


STUDENTS = """
    INSERT INTO tutoring_student (student_id, name, version_at, delivery, position, stored_at, warnings, is_stub)
    SELECT 'S' || n, repeat('x', 200), now(), 1, n, now(), '[]', false FROM generate_series(1, 200000) n
"""


def measure(server: WebServer, key: str) -> None:
    head = b"student_id,name\nS1,Kim\n"
    upload = f"{server.url}/api/uploads?stream=students"
    batch = f"{server.url}/api/students/batch"
    show("1 MB of blank lines", server, lambda: post(upload, head + b"\n" * MB, "text/csv", key))
    for name, row in (("blank rows", b",\n"), ("rows of one cell", b"a\n"), ("rows of an ID", b"a,\n")):
        check = partial(post, f"{upload}&dry_run=true", head + row * (MB // len(row)), "text/csv", key)
        show(f"1 MB of {name}, checked", server, check)
    packed = gzip.compress(head + b"\n" * 30 * MB)
    show("ten gzip files of 30 MB of blank lines", server, lambda: post(*form(server, packed, 10), key))
    show("31 MB of [],", server, lambda: post(batch, b"[" + b"[]," * (10 * MB) + b"[]]", "application/json", key))
    login = f"{server.url}/admin/login/"
    show("300 MB to the login page", server, lambda: post(login, *multipart(b"x" * 300 * MB, 1)))
    readers = [slow_reader(server, key) for _ in range(READERS)]
    time.sleep(2)
    for _ in range(3):
        began = time.perf_counter()
        with urllib.request.urlopen(f"{server.url}/health/live", timeout=30) as response:
            took = 1000 * (time.perf_counter() - began)
            print(f"/health/live beside {READERS} readers: {response.status} after {took:.0f} ms")
        time.sleep(1)
    for reader in readers:
        reader.close()


def show(name: str, server: WebServer, ask: Callable[[], str]) -> None:
    began = time.perf_counter()
    answer = ask()
    print(f"{name}: {answer} after {time.perf_counter() - began:.2f} s, largest process {peak(server)} MB")


def post(url: str, data: bytes, kind: str, key: str = "") -> str:
    headers = {"Content-Type": kind, "Cookie": f"csrftoken={'a' * 32}"}
    if key:
        headers["Authorization"] = f"Api-Key {key}"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=600) as response:
            return str(response.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except (OSError, http.client.HTTPException) as error:
        return f"connection closed ({type(error).__name__})"


def multipart(content: bytes, number: int) -> tuple[bytes, str]:
    parts = [b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\nstudents\r\n']
    for each in range(number):
        head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{each}.csv.gz"\r\n\r\n'
        parts += [head.encode(), content, b"\r\n"]
    return b"".join([*parts, b"--b--\r\n"]), "multipart/form-data; boundary=b"


def form(server: WebServer, content: bytes, number: int) -> tuple[str, bytes, str]:
    return f"{server.url}/api/uploads", *multipart(content, number)


def slow_reader(server: WebServer, key: str) -> socket.socket:
    """Asks for all students, and reads nothing."""
    address = urlsplit(server.url)
    sock = socket.create_connection((address.hostname or "", address.port or 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    request = f"GET /api/students?format=csv HTTP/1.1\r\nHost: localhost\r\nAuthorization: Api-Key {key}\r\n\r\n"
    sock.sendall(request.encode())
    return sock


def peak(server: WebServer) -> int:
    """Of the web server's processes the largest memory so far, in MB."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    found = [Path(f"/proc/{pid}/status").read_text() for pid in children]
    lines = [line for text in found for line in text.splitlines() if line.startswith("VmHWM")]
    return max(int(line.split()[1]) // 1000 for line in lines)


if __name__ == "__main__":
    main()

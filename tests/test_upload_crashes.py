"""Uploads over real HTTP whose web server is killed, whose bodies break off, and that come twice at once."""

from __future__ import annotations

import io
import json
import random
import socket
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from ingestion.payloads import inflate
from tests.api import ask
from tests.elsewhere import new_key
from tests.files import csv_of
from tests.servers import ProjectProcess, WebServer, manage, wait_until
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.postgresql

ROWS = 30_000


class System:
    """A database with a key, and what is kept in it."""

    def __init__(self, database_url: str) -> None:
        self.url = database_url
        self.key = new_key(database_url)

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(statement.encode()).fetchall()

    def kept(self) -> int:
        return int(self.query("SELECT coalesce(sum(count), 0) FROM ingestion_delivery")[0][0])

    def has_kept(self, rows: int) -> bool:
        return self.kept() >= rows

    def assert_each_row_is_kept_once(self, rows: int = ROWS) -> None:
        kept = self.query("SELECT first_row, count FROM ingestion_delivery ORDER BY first_row")
        first = following = kept[0][0]
        for first_row, count in kept:
            assert first_row == following
            following += count
        assert first in (1, 2)  # of CSV the header is row 1
        assert following == first + rows
        keys = [record["tutor_id"] for record in self.records()]
        assert (len(keys), len(set(keys))) == (rows, rows)

    def records(self) -> list[dict[str, Any]]:
        bodies = self.query("SELECT body, size FROM ingestion_delivery WHERE is_deflated")
        return [json.loads(line) for body, size in bodies for line in inflate(body, size).split(b"\n")]

    def send(self, web: WebServer, body: bytes, path: str = "/api/uploads?stream=tutors") -> tuple[int, Any]:
        """(status, answer); status 0 where there is none."""
        url = f"{web.url}{path}"
        headers = {"Authorization": f"Api-Key {self.key}", "Content-Type": "application/octet-stream"}
        try:
            response = urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=300)
        except urllib.error.HTTPError as error:
            response = error
        except OSError:
            return 0, None
        with response:
            return response.status, json.load(response)


@pytest.fixture
def system(new_database: Callable[[], str]) -> System:
    return System(new_database())


@pytest.fixture(scope="module")
def body() -> bytes:
    header, row = csv_of([tutor(tutor_id="NUMBER")]).split(b"\r\n")[:2]
    return b"\n".join([header, *(row.replace(b"NUMBER", b"T-%d" % i) for i in range(ROWS))])


def test_an_upload_whose_server_is_killed_goes_on_when_the_file_comes_again(system: System, body: bytes) -> None:
    chance = random.Random(3)
    for _ in range(2):
        with WebServer(system.url) as web:
            wanted = system.kept() + chance.randrange(1, 6000)
            sender = threading.Thread(target=system.send, args=(web, body))
            sender.start()
            wait_until(partial(system.has_kept, wanted), "more is kept", every=0.005)
            web.kill()
            sender.join()
        assert 0 < system.kept() < ROWS
    with WebServer(system.url) as web:
        [told] = ask(f"{web.url}/api/uploads", system.key)[2]["results"]
        assert told["status"] == "receiving"
        status, answer = system.send(web, body)
        assert (status, answer["uploads"][0]["id"], answer["uploads"][0]["total"]) == (201, told["id"], ROWS)
        assert system.send(web, body)[0] == 409
    system.assert_each_row_is_kept_once()


def test_a_set_whose_server_is_killed_goes_on_when_it_comes_again(system: System) -> None:
    """Twice, in whichever part it is: with the library that the first attempt has made, and each row once."""
    rows = b"".join(b"2025-01-01,Film %d,2001,https://boxd.it/%d\n" % (i, i) for i in range(ROWS // 2))
    content = b"Date,Name,Year,Letterboxd URI\n" + rows
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name in ("watched.csv", "likes/films.csv"):
            zipped.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    sent = archive.getvalue()
    chance = random.Random(4)
    for wanted in (chance.randrange(1, ROWS // 2), chance.randrange(ROWS // 2, ROWS - 6000)):
        with WebServer(system.url) as web:
            sender = threading.Thread(target=system.send, args=(web, sent, "/api/uploads?name=export.zip"))
            sender.start()
            wait_until(partial(system.has_kept, wanted), "more is kept", every=0.005)
            web.kill()
            sender.join()
        assert 0 < system.kept() < ROWS
    with WebServer(system.url) as web:
        [told] = ask(f"{web.url}/api/uploads", system.key)[2]["results"]
        assert told["status"] == "receiving" and len(told["parts"]) == 2
        status, answer = system.send(web, sent, "/api/uploads?name=export.zip")
        assert (status, answer["uploads"][0]["id"], answer["uploads"][0]["total"]) == (201, told["id"], ROWS)
        assert system.send(web, sent, "/api/uploads?name=export.zip")[0] == 200
    records = system.records()
    assert len(records) == ROWS
    assert len({(record["library"], record["exported_on"]) for record in records}) == 1
    assert len({(record["kind"], record["letterboxd_uri"]) for record in records}) == ROWS


def test_of_two_with_the_same_file_at_once_one_takes_it_in(system: System, body: bytes) -> None:
    with WebServer(system.url) as web:
        statuses: list[int] = []

        def send() -> None:
            statuses.append(system.send(web, body)[0])

        senders = [threading.Thread(target=send) for _ in range(4)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        assert statuses.count(201) == 1
        assert set(statuses) <= {201, 409, 429, 503}  # 429, 503: no slot was free
    system.assert_each_row_is_kept_once()


def test_nothing_of_a_body_that_breaks_off_is_kept(system: System) -> None:
    content = csv_of([tutor()])
    form = (
        b'--x\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntutors\r\n'
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n' + content
    )
    with WebServer(system.url) as web:
        for sent, content_type in [(content, "text/csv"), (form, "multipart/form-data; boundary=x")]:
            address = urlsplit(web.url)
            with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
                lines = [
                    "POST /api/uploads?stream=tutors HTTP/1.1",
                    "Host: localhost",
                    f"Authorization: Api-Key {system.key}",
                    f"Content-Type: {content_type}",
                    f"Content-Length: {len(sent) + 1000}",
                    "Connection: close",
                    "\r\n",
                ]
                connection.sendall("\r\n".join(lines).encode() + sent)
                connection.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 400 "), answer
            assert b"ended" in answer
        assert system.query("SELECT count(*) FROM ingestion_upload") == [(0,)]


def test_the_command_takes_in_a_file_and_goes_on_after_a_kill(system: System, body: bytes, tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(body)
    arguments = ("ingest_file", str(file), "--stream", "tutors")
    with ProjectProcess("manage.py", *arguments, database_url=system.url) as process:
        wait_until(lambda: system.kept() > ROWS / 4, "a part is kept", every=0.005)
        process.kill()
    assert 0 < system.kept() < ROWS
    done = manage(*arguments, database_url=system.url)
    assert f"Upload 1: {ROWS} rows imported: 0 inserted" in done.stdout
    assert f"{ROWS} pending" in done.stdout and "No workers are running" in done.stdout
    system.assert_each_row_is_kept_once()
    refused = manage(*arguments, database_url=system.url, check=False)
    assert (
        refused.returncode == 1 and "was already imported as upload 1" in refused.stderr and "--again" in refused.stderr
    )

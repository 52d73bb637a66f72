"""python -m bench.uploads [ROWS]: a file of sessions over HTTP, on a PostgreSQL, web server and qcluster of its own.

First undisturbed but for a kill -9 of the qcluster while it enriches; then a second file, with a kill -9 of the web
server while it takes it in, sent again. Both must end with rows = inserted + updated + stale + waiting + dead.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bench.database import database, new_key
from tests.servers import Cluster, Process, WebServer, temporary_directory, wait_until

REFERRED = 500


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with temporary_directory() as directory, database() as (_, url):
        bench = Bench(url, new_key())
        with WebServer(url) as web, Cluster(url) as cluster:
            bench.post_referred(web)
            bench.undisturbed(web, cluster, make_file(directory / "first.csv", rows, "A"), rows)
        with WebServer(url) as web, Cluster(url):
            bench.web_killed(web, make_file(directory / "second.csv", rows // 4, "B"), rows // 4)


class Bench:
    def __init__(self, database_url: str, key: str) -> None:
        self.database_url, self.key = database_url, key

    def undisturbed(self, web: WebServer, cluster: Process, file: Path, rows: int) -> None:
        before = peak_memory(web)
        began = time.monotonic()
        status, answer = self.send(web, file)
        took = time.monotonic() - began
        assert status == 201, answer
        [upload] = answer["uploads"]
        size = file.stat().st_size
        print(f"{rows:,} rows, {size / 1e6:.0f} MB: 201 after {took:.1f} s, {rows / took:,.0f} rows/s")
        print(f"web processes, peak of memory: {before:.0f} MB before, {peak_memory(web):.0f} MB after")
        killed = False
        while True:
            now = self.ask(web, f"/api/uploads/{upload['id']}")
            seconds, percent = time.monotonic() - began, now["progress_percent"]
            print(f"  {seconds:5.0f} s {now['status']}, {percent} %, eta {now['eta_seconds']}", flush=True)
            if now["status"] == "completed":
                break
            if not killed and now["progress_percent"] > 50:
                cluster.kill()
                cluster = Cluster(self.database_url)
                killed = True
                print("  kill -9 of the qcluster, and another one started")
            time.sleep(5)
        cluster.stop()
        print(f"processed after {time.monotonic() - began:.0f} s")
        self.check(now, rows)

    def web_killed(self, web: WebServer, file: Path, rows: int) -> None:
        sender = threading.Thread(target=lambda: self.send(web, file))
        sender.start()
        wait_until(lambda: self.kept() > rows * 0.3, "a part of the file is kept", timeout=600, every=0.01)
        web.kill()
        sender.join()
        print(f"kill -9 of the web server with {self.kept():,} of {rows:,} rows kept")
        with WebServer(self.database_url) as again:
            status, answer = self.send(again, file)
            assert status == 201, answer
            url = f"/api/uploads/{answer['uploads'][0]['id']}"
            print(f"sent again: {status}, {answer['uploads'][0]['total']:,} rows")
            done = "all is processed"
            wait_until(lambda: self.ask(again, url)["status"] == "completed", done, timeout=3600, every=2)
            self.check(self.ask(again, url), rows)

    def check(self, now: dict[str, Any], rows: int) -> None:
        names = ("inserted", "updated", "stale", "waiting", "dead")
        print(f"{rows:,} rows = " + " + ".join(f"{now[name]:,} {name}" for name in names))
        assert rows == now["total"] == sum(now[name] for name in names)
        with psycopg.connect(self.database_url) as connection:
            size = connection.execute(
                "SELECT sum(size), sum(pg_column_size(body)) FROM ingestion_delivery WHERE upload_id = %s", [now["id"]]
            ).fetchone()
            assert size
            print(f"kept as {size[0] / rows:.0f} bytes of JSON a row, deflated to {size[1] / rows:.0f}")
            kept = connection.execute(
                "SELECT first_row, count FROM ingestion_delivery WHERE upload_id = %s ORDER BY id", [now["id"]]
            ).fetchall()
        following = kept[0][0]
        for first_row, count in kept:
            assert first_row == following, "a row twice, or lost"
            following += count

    def kept(self) -> int:
        """The rows of the newest upload that are kept."""
        with psycopg.connect(self.database_url) as connection:
            found = connection.execute(
                "SELECT sum(count) FROM ingestion_delivery WHERE upload_id ="
                " (SELECT max(id) FROM ingestion_upload WHERE name = 'second.csv')"
            ).fetchone()
        return int((found and found[0]) or 0)

    def send(self, web: WebServer, file: Path) -> tuple[int, Any]:
        with suppress(OSError, http.client.HTTPException), open(file, "rb") as body:
            return self.request(web, f"/api/uploads?stream=sessions&name={file.name}", body, file.stat().st_size)
        return 0, None

    def ask(self, web: WebServer, path: str) -> Any:
        return self.request(web, path)[1]

    def request(self, web: WebServer, path: str, body: Any = None, size: int = 0) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(web.url.removeprefix("http://"), timeout=3600)
        headers = {"Authorization": f"Api-Key {self.key}", "Content-Type": "text/csv", "Content-Length": str(size)}
        connection.request("POST" if body else "GET", path, body, headers)
        response = connection.getresponse()
        return response.status, json.load(response)

    def post_referred(self, web: WebServer) -> None:
        for stream, key in (("tutors", "tutor_id"), ("students", "student_id")):
            example = _example(stream)
            body = "\n".join(json.dumps({**example, key: f"{key}_{i}"}) for i in range(REFERRED)).encode()
            path = f"/api/uploads?stream={stream}&name={stream}.ndjson"
            assert self.request(web, path, body, len(body))[0] == 201


def _example(stream: str) -> dict[str, Any]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutormax.settings")
    import django

    django.setup()
    from ingestion.streams import get

    return dict(get(stream).example)


def make_file(path: Path, rows: int, prefix: str) -> Path:
    """Sessions of which one in a thousand is invalid, and one in a thousand refers to a tutor that does not exist."""
    with open(path, "w") as file:
        file.writelines(_lines(rows, prefix))
    return path


def _lines(rows: int, prefix: str) -> Iterator[str]:
    example = _example("sessions")
    yield ",".join(name.replace("_", " ").title() for name in example) + "\n"
    tail = ",".join(
        str(value).lower() if isinstance(value, bool) else str(value) for value in list(example.values())[5:]
    )
    for i in range(rows):
        tutor = f"tutor_id_{i % REFERRED}" if i % 1000 != 1 else "nobody"
        minutes = 60 if i % 1000 != 2 else "an hour"
        start = f"2025-03-{i % 28 + 1:02}T15:{i % 60:02}:00-05:00"
        yield f"{prefix}-{i},{tutor},student_id_{i % REFERRED},{start},{minutes},{tail}\n"


def peak_memory(web: Process) -> float:
    """The largest that any one of its processes has ever been, in MB."""
    processes = [psutil.Process(web.pid), *psutil.Process(web.pid).children(recursive=True)]
    return max(_high_water(process.pid) for process in processes)


def _high_water(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


if __name__ == "__main__":
    main()

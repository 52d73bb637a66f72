"""python -m bench.latency [SECONDS]: from a POST until its record is stored, at a steady 100 records a second.

A web server and a qcluster with the default settings, on a PostgreSQL of their own with `fsync`. Sessions, one in each
POST, at fixed times, by connections that are kept alive. It begins when the POST was due to be sent, and ends when the
row was committed (`track_commit_timestamp`). Before that, what an idle qcluster takes.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import quantiles
from typing import Any

import psutil
import psycopg

from bench.database import database, new_key
from tests.servers import Cluster, WebServer, wait_until

RATE = 100
"""Records a second."""
CLIENTS = 8
IDLE_SECONDS, SETTLE = 20, 5
MAX_P50, MAX_P95 = 0.050, 0.200
"""Seconds, until the row is committed."""
MAX_IDLE = 0.01
"""Of a core, for an idle qcluster."""
STORED = """
    SELECT session_id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM tutoring_tutoringsession
    WHERE session_id LIKE 'latency-%'
"""


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with database(track_commit_timestamp="on") as (server, url):
        from tutoring.tests.factories import student, tutor

        key = new_key()
        with server.connect("bench") as tables, WebServer(url) as web, Cluster(url) as cluster:
            clients = [Client(web.url, key) for _ in range(CLIENTS)]
            clients[0].post("tutors", tutor())
            clients[0].post("students", student())
            wait_until(lambda: number(tables, "tutoring_student") and number(tables, "tutoring_tutor"), "stored")
            idle = idle_share(cluster)
            reached = measure(tables, clients, seconds, cluster)
    if not reached or idle > MAX_IDLE:
        raise SystemExit(f"The aims are {MAX_P50 * 1000:.0f} ms, {MAX_P95 * 1000:.0f} ms and {MAX_IDLE:.0%}.")


class Client:
    def __init__(self, url: str, key: str) -> None:
        self.connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
        self.headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}

    def post(self, stream: str, record: Any) -> None:
        body = json.dumps(record)
        try:
            status, answer = self._post(stream, body)
        except (BrokenPipeError, http.client.RemoteDisconnected):  # the server has closed what was idle
            self.connection.close()
            status, answer = self._post(stream, body)
        assert status == 202, answer

    def _post(self, stream: str, body: str) -> tuple[int, bytes]:
        self.connection.request("POST", f"/api/{stream}", body, self.headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()


def measure(tables: psycopg.Connection, clients: list[Client], seconds: int, cluster: Cluster) -> bool:
    """Whether the aim is reached."""
    before, began = processor(cluster), time.time() + 1
    with ThreadPoolExecutor(len(clients)) as threads:
        parts = [
            threads.submit(send, client, place, began, seconds * RATE // len(clients))
            for place, client in enumerate(clients)
        ]
        sent = {key: times for part in parts for key, times in part.result().items()}
    wait_until(lambda: number(tables, "tutoring_tutoringsession") >= len(sent), "all are stored")
    worked = (processor(cluster) - before) / seconds
    stored: dict[str, float] = dict(tables.execute(STORED).fetchall())
    answered = percentiles(answer - due for due, answer in sent.values())
    ends = percentiles(stored[key] - due for key, (due, _) in sent.items())
    print(f"{len(sent):,} POSTs, {RATE} a second: 202 after {shown(answered)}; stored after {shown(ends)}", flush=True)
    print(f"the qcluster took {worked:.0%} of a core", flush=True)
    return ends[49] <= MAX_P50 and ends[94] <= MAX_P95


def send(client: Client, place: int, began: float, posts: int) -> dict[str, tuple[float, float]]:
    """record → (when it was due, when it was answered); those of all clients are spread evenly."""
    from tutoring.tests.factories import session

    times = {}
    for count in range(posts):
        due = began + (count * CLIENTS + place) / RATE
        time.sleep(max(0.0, due - time.time()))
        key = f"latency-{place}-{count}"
        client.post("sessions", session(session_id=key))
        times[key] = (due, time.time())
    return times


def percentiles(values: Any) -> list[float]:
    return quantiles(values, n=100)


def shown(of: list[float]) -> str:
    return f"{of[49] * 1000:.0f} ms (p50), {of[94] * 1000:.0f} ms (p95), {of[98] * 1000:.0f} ms (p99)"


def number(tables: psycopg.Connection, table: str) -> int:
    row = tables.execute(f"SELECT count(*) FROM {table}").fetchone()
    tables.commit()
    return int(row[0]) if row else 0


def idle_share(cluster: Cluster) -> float:
    """The share of a core that the processes of the qcluster take with nothing to do."""
    time.sleep(SETTLE)
    before = processor(cluster)
    time.sleep(IDLE_SECONDS)
    share = (processor(cluster) - before) / IDLE_SECONDS
    print(f"an idle qcluster takes {share:.2%} of a core", flush=True)
    return share


def processor(cluster: Cluster) -> float:
    """Seconds of processors of all its processes."""
    root = psutil.Process(cluster.pid)
    return sum(sum(process.cpu_times()[:4]) for process in (root, *root.children(recursive=True)))


if __name__ == "__main__":
    main()

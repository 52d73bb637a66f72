"""python -m bench.latency [SECONDS]: from a POST until its record is stored, at a steady 100 records a second.

A web server and a qcluster with the default settings, on a PostgreSQL of their own with `fsync`. Sessions, one in each
POST, at fixed times, by connections that are kept alive. It begins when the POST was due to be sent, and ends when the
row was committed (`track_commit_timestamp`). Before that, what an idle qcluster takes.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import quantiles
from typing import Any

import psycopg

from bench import records
from bench.client import Client
from bench.database import database, new_key
from bench.measure import judge, processor
from tests.servers import Cluster, WebServer, wait_until

RATE = 100
"""Records a second."""
CLIENTS = 8
IDLE_SECONDS, SETTLE = 20, 5
MAX_P50, MAX_P95 = 50, 200
"""Milliseconds, until the row is committed."""
MAX_IDLE = 1
"""Percent of a core, for an idle qcluster."""
STORED = """
    SELECT session_id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM tutoring_tutoringsession
    WHERE session_id LIKE 'latency-%'
"""


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    with database(track_commit_timestamp="on") as (server, url):
        key = new_key()
        with server.connect("bench") as tables, WebServer(url) as web, Cluster(url) as cluster:
            clients = [Client(web.url, key) for _ in range(CLIENTS)]
            clients[0].post("tutors", records.example("tutors"))
            clients[0].post("students", records.example("students"))
            wait_until(lambda: number(tables, "tutoring_student") and number(tables, "tutoring_tutor"), "stored")
            judge("idle qcluster, % of a core", [100 * idle_share(cluster)], at_most=MAX_IDLE)
            measure(tables, clients, seconds, cluster)


def measure(tables: psycopg.Connection, clients: list[Client], seconds: int, cluster: Cluster) -> None:
    before, began = processor(cluster.pid), time.time() + 1
    with ThreadPoolExecutor(len(clients)) as threads:
        parts = [
            threads.submit(send, client, place, began, seconds * RATE // len(clients))
            for place, client in enumerate(clients)
        ]
        sent = {key: times for part in parts for key, times in part.result().items()}
    wait_until(lambda: number(tables, "tutoring_tutoringsession") >= len(sent), "all are stored")
    worked = (processor(cluster.pid) - before) / seconds
    stored: dict[str, float] = dict(tables.execute(STORED).fetchall())
    answered = percentiles(answer - due for due, answer in sent.values())
    ends = percentiles(stored[key] - due for key, (due, _) in sent.items())
    print(f"{len(sent):,} POSTs, {RATE} a second: 202 after {shown(answered)}; stored after {shown(ends)}", flush=True)
    print(f"the qcluster took {worked:.0%} of a core", flush=True)
    for name, place, limit in (("p50", 49, MAX_P50), ("p95", 94, MAX_P95)):
        judge(f"latency at {RATE} records a second, {name} in ms", [1000 * ends[place]], at_most=limit)


def send(client: Client, place: int, began: float, posts: int) -> dict[str, tuple[float, float]]:
    """record → (when it was due, when it was answered); those of all clients are spread evenly."""
    times = {}
    for count in range(posts):
        due = began + (count * CLIENTS + place) / RATE
        time.sleep(max(0.0, due - time.time()))
        key = f"latency-{place}-{count}"
        client.post("sessions", records.example("sessions", session_id=key))
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
    before = processor(cluster.pid)
    time.sleep(IDLE_SECONDS)
    return (processor(cluster.pid) - before) / IDLE_SECONDS


if __name__ == "__main__":
    main()

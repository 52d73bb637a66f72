"""python -m bench.sqlite [SESSIONS]: end to end on SQLite: a web server and a qcluster of two workers.

Two clients post sessions in batches of 500 as fast as they are answered, and beside them two more post single ones. The
records/s count from the first POST until all are stored. It ends with an error unless every POST was answered with 202,
all is stored, and nobody wrote "database is locked".
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from bench import records
from bench.client import Client
from bench.database import new_key, set_up
from bench.measure import judge, note, processor
from tests.servers import Cluster, WebServer, manage, temporary_directory, wait_until

AIM = 3_000
ROUNDS, BATCH, CLIENTS, PATIENCE = 3, 500, 2, 900
PAUSE = 0.05
"""Seconds between the single POSTs of a client."""


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 30_000
    with temporary_directory() as directory:
        path = directory / "bench.sqlite3"
        url = f"sqlite:///{path}"
        manage("migrate", "--verbosity=0", database_url=url)
        set_up(url)
        key = new_key()
        with WebServer(url) as web, Cluster(url, WORKERS="2") as cluster, sqlite3.connect(path) as tables:
            client = Client(web.url, key)
            for stream, some in records.people():
                client.post(f"{stream}/batch", some)
            wait_until(lambda: not pending(tables), "tutors and students are stored")
            rates, statuses = [], Counter[int]()
            for round_ in range(ROUNDS):
                before, began = processor(web.pid, cluster.pid), time.monotonic()
                answers, sent = post(web, key, f"r{round_}-", number)
                took_in = time.monotonic() - began
                statuses += answers
                wait_until(lambda: not pending(tables), "all are processed", PATIENCE, every=0.2)
                took = time.monotonic() - began
                rates.append(sent / took)
                print(
                    f"{sent:,} sessions taken in within {took_in:.1f} s, stored within {took:.1f} s: {rates[-1]:,.0f}"
                    f" records/s, {1e6 * (processor(web.pid, cluster.pid) - before) / sent:.0f} µs of processors each",
                    flush=True,
                )
            [(wrong,)] = tables.execute("SELECT count(*) FROM ingestion_delivery WHERE inserted <> count")
            cluster.stop()
            web.stop()
            locked = sum(log.lower().count("locked") for log in (web.log(), cluster.log()))
    judge("SQLite, web and two workers, records/s end to end", rates, at_least=AIM)
    note("SQLite, POSTs by answer; lines that say “locked”", f"{dict(statuses)}; {locked}", "202 alone; 0")
    if wrong or locked or set(statuses) != {202}:
        raise SystemExit(f"{wrong} deliveries are not stored as sent.\n{web.log()[-2000:]}\n{cluster.log()[-2000:]}")


def post(web: WebServer, key: str, prefix: str, number: int) -> tuple[Counter[int], int]:
    """Answers by status, and how many sessions were accepted."""
    statuses, accepted, lock = Counter[int](), Counter[str](), threading.Lock()
    made = records.sessions(prefix, number)
    bodies = [json.dumps(made[start : start + BATCH]) for start in range(0, number, BATCH)]
    done = threading.Event()

    def send(client: Client, path: str, body: str, of_it: int) -> None:
        status, _ = client.send(path, body)
        with lock:
            statuses[status] += 1
            accepted["records"] += of_it if status == 202 else 0

    def batches(place: int) -> None:
        client = Client(web.url, key)
        for body in bodies[place::CLIENTS]:
            send(client, "sessions/batch", body, BATCH)

    def singles(place: int) -> None:
        client, count = Client(web.url, key), 0
        while not done.is_set():
            [record] = records.sessions(f"{prefix}single-{place}-{count}-", 1)
            send(client, "sessions", json.dumps(record), 1)
            count += 1
            time.sleep(PAUSE)

    with ThreadPoolExecutor(2 * CLIENTS) as threads:
        in_batches = [threads.submit(batches, place) for place in range(CLIENTS)]
        alone = [threads.submit(singles, place) for place in range(CLIENTS)]
        try:
            for each in in_batches:
                each.result()
        finally:
            done.set()
        for each in alone:
            each.result()
    return statuses, accepted["records"]


def pending(tables: sqlite3.Connection) -> bool:
    return bool(
        tables.execute("SELECT EXISTS (SELECT 1 FROM ingestion_delivery WHERE processed_at IS NULL)").fetchone()[0]
    )


if __name__ == "__main__":
    main()

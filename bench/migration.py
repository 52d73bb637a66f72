"""python -m bench.migration [ROWS]: a large table is migrated while clients post and workers store.

A web server and a qcluster on a PostgreSQL of their own, 20 sessions a second. Measured is how long each waits for its
202, and until its row is committed: before, while a column and an index are added as migrations do it, and, for
comparison, while PostgreSQL builds an index in the plain way.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from bench.client import Client
from bench.database import database, new_key
from bench.latency import STORED, percentiles
from bench.records import example
from tests.servers import Cluster, WebServer, wait_until

RATE = 20
"""Records a second."""
QUIET_SECONDS = 20
REFERRED = {"tutor_id": "T-1", "student_id": "ST-1"}


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with database(track_commit_timestamp="on") as (server, url):
        from bench.reading import FILL

        with server.connect("bench") as tables:
            for statement in FILL.format(rows=rows, client="key:bench").split(";")[:3]:  # tutors, students, sessions
                tables.execute(statement)
            tables.execute("ANALYZE")
            with WebServer(url) as web, Cluster(url):
                measure(tables, Client(web.url, new_key()))


def measure(tables: psycopg.Connection, client: Client) -> None:
    client.post("sessions", example("sessions", session_id="latency-first", **REFERRED))
    wait_until(lambda: stored(tables), "the qcluster works")
    for name, work in PHASES.items():
        with posting(client, name) as sent:
            began = time.monotonic()
            work()
            took = time.monotonic() - began
        wait_until(lambda sent=sent: stored(tables) >= sent.keys(), "all are stored")  # type: ignore[misc]
        times: dict[str, float] = dict(tables.execute(STORED).fetchall())
        waits = [answer - due for due, answer in sent.values()]
        answered = percentiles(waits)
        ends = percentiles(times[key] - due for key, (due, _) in sent.items())
        longest = max(times[key] - due for key, (due, _) in sent.items())
        print(
            f"{name}: {took:.1f} s, {len(sent)} POSTs; 202 after {answered[49] * 1000:.0f} ms (p50), "
            f"{answered[94] * 1000:.0f} ms (p95), {max(waits):.2f} s (longest); "
            f"stored after {ends[49] * 1000:.0f} ms (p50), {ends[94] * 1000:.0f} ms (p95), {longest:.2f} s (longest)",
            flush=True,
        )


def stored(tables: psycopg.Connection) -> set[str]:
    return {key for key, _ in tables.execute(STORED).fetchall()}


@contextmanager
def posting(client: Client, name: str) -> Iterator[dict[str, tuple[float, float]]]:
    """record → (when it was due, when it was answered), of all that are posted meanwhile."""
    sent: dict[str, tuple[float, float]] = {}
    done = threading.Event()

    def post() -> None:
        due = time.time()
        while not done.is_set():
            time.sleep(max(0.0, due - time.time()))
            key = f"latency-{name}-{len(sent)}"
            client.post("sessions", example("sessions", session_id=key, **REFERRED))
            sent[key] = (due, time.time())
            due += 1 / RATE

    thread = threading.Thread(target=post)
    thread.start()
    try:
        yield sent
    finally:
        done.set()
        thread.join()


def add_column() -> None:
    from django.db import migrations, models

    field = models.CharField(max_length=20, default="", db_default="")
    run(migrations.AddField("tutoringsession", "room", field))


def add_index() -> None:
    from django.db import models

    from ingestion.migrations._online import AddIndexOnline

    run(AddIndexOnline("tutoringsession", models.Index(fields=["subject", "-scheduled_start"], name="bench_online")))


def add_index_plainly() -> None:
    from django.db import migrations, models

    index = models.Index(fields=["subject", "-scheduled_start"], name="bench_plain")
    run(migrations.AddIndex("tutoringsession", index))


def run(operation: Any) -> None:
    """As `migrate` does."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    before = MigrationExecutor(connection).loader.project_state()
    after = before.clone()
    operation.state_forwards("tutoring", after)
    with connection.schema_editor(atomic=operation.atomic) as editor:
        operation.database_forwards("tutoring", editor, before, after)
    connection.close()


PHASES: dict[str, Callable[[], object]] = {
    "nothing": lambda: time.sleep(QUIET_SECONDS),
    "a column with a default": add_column,
    "an index, online": add_index,
    "an index, in the plain way": add_index_plainly,
}


if __name__ == "__main__":
    main()

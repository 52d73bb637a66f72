"""python -m bench.clusters [SESSIONS]: four qclusters of one worker each beside each other, as on four machines.

Half of the sessions come in batches, half one by one. First on PostgreSQL itself; then, where it is installed, behind a
PgBouncer that pools transactions; then, likewise, with the task queue in Redis. It ends with an error unless each
session was stored once.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import psycopg

from bench.client import Client
from bench.database import MAKE_KEY, set_up
from bench.latency import number
from bench.measure import processor
from bench.records import example
from tests.servers import (
    Cluster,
    PostgreSQL,
    Process,
    RedisServer,
    WebServer,
    free_port,
    manage,
    server_user,
    wait_until,
)

CLUSTERS = 4
BATCH = 500
PATIENCE = 600
PGBOUNCER = """
[databases]
* = host=127.0.0.1 port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
user = {user}
auth_type = plain
auth_file = {users}
pool_mode = transaction
default_pool_size = 10
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
"""
OUTCOMES = """
    SELECT count(*), sum(count), sum(inserted), sum(updated + stale + held + skipped) FROM ingestion_delivery
    WHERE stream = 'sessions' AND processed_at IS NOT NULL
"""


def main() -> None:
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    with PostgreSQL(fsync="on") as server:
        server.start()
        set_up(server.url("bench"))
        for name, program, prepare in (
            ("PostgreSQL", "postgres", directly),
            ("PgBouncer, pooling transactions", "pgbouncer", pooled),
            ("PostgreSQL, the task queue in Redis", "redis-server", queued_in_redis),
        ):
            if program != "postgres" and not shutil.which(program):
                print(f"{name}: left out, since {program} is not installed")
                continue
            with server.connect() as connection:
                connection.execute("DROP DATABASE IF EXISTS bench WITH (FORCE)")
                connection.execute("CREATE DATABASE bench")
            manage("migrate", "--verbosity=0", database_url=server.url("bench"))
            with prepare(server) as environment:
                print(f"{name}: {measure(server, environment, sessions)}", flush=True)


@contextmanager
def directly(server: PostgreSQL) -> Iterator[dict[str, str]]:
    yield {"database_url": server.url("bench")}


@contextmanager
def queued_in_redis(server: PostgreSQL) -> Iterator[dict[str, str]]:
    with RedisServer() as redis:
        redis.start()
        yield {"database_url": server.url("bench"), "REDIS_URL": redis.url}


@contextmanager
def pooled(server: PostgreSQL) -> Iterator[dict[str, str]]:
    users, settings, own = server.home / "users.txt", server.home / "pgbouncer.ini", free_port()
    users.write_text(f'"tutormax" "{server.password}"\n')
    user = server_user().pw_name
    settings.write_text(PGBOUNCER.format(port=server.port, own=own, users=users, user=user))
    for file in (users, settings):
        os.chown(file, server_user().pw_uid, -1)
    url = urlsplit(server.url("bench"))._replace(netloc=f"tutormax:{server.password}@127.0.0.1:{own}").geturl()
    with Process(("pgbouncer", str(settings)), {}):
        wait_until(lambda: answers(url), "PgBouncer answers")
        yield {"database_url": url, "TRANSACTION_POOLING": "true"}


def answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def measure(server: PostgreSQL, environment: dict[str, str], sessions: int) -> str:
    key = manage("shell", "-v0", "-c", MAKE_KEY, database_url=server.url("bench")).stdout.strip()
    with ExitStack() as stack:
        database = stack.enter_context(server.connect("bench"))
        web = stack.enter_context(WebServer(**environment))
        clusters = [stack.enter_context(Cluster(**environment, WORKERS="1")) for _ in range(CLUSTERS)]
        client = Client(web.url, key)
        client.post("tutors", example("tutors"))
        client.post("students", example("students"))
        wait_until(lambda: number(database, "tutoring_student") and number(database, "tutoring_tutor"), "stored")
        before, began = [processor(cluster.pid) for cluster in clusters], time.monotonic()
        for start in range(0, sessions // 2, BATCH):
            client.post("sessions/batch", [example("sessions", session_id=f"b-{start + i}") for i in range(BATCH)])
        for count in range(sessions - sessions // 2):
            client.post("sessions", example("sessions", session_id=f"s-{count}"))
        wait_until(lambda: number(database, "tutoring_tutoringsession") >= sessions, "all are stored", PATIENCE)
        took = time.monotonic() - began
        wait_until(lambda: database.execute(OUTCOMES).fetchone()[1] == sessions, "all are processed")  # type: ignore[index]
        deliveries, records, inserted, others = database.execute(OUTCOMES).fetchone() or (0, 0, 0, 0)
        worked = [processor(cluster.pid) - start for cluster, start in zip(clusters, before, strict=True)]
    if (records, inserted, others) != (sessions, sessions, 0):
        raise SystemExit(f"{records} records came to {inserted} inserted and {others} others.")
    shares = ", ".join(f"{each / sum(worked):.0%}" for each in worked)
    return (
        f"{records:,} sessions in {deliveries:,} deliveries stored once each in {took:.0f} s; work by cluster {shares}"
    )


if __name__ == "__main__":
    main()

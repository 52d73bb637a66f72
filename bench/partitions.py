"""python -m bench.partitions [DELIVERIES]: deliveries in partitions, as docs/scaling.md says (bench/partitions.sql).

A database that is in use is converted; a web server and a qcluster go on with it, across partitions; one of them is
dropped while clients post. It ends with an error if anything that was promised is not kept. Then what it costs and
saves, beside a database without partitions, by turns.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import psycopg

from bench import records
from bench.client import Client
from bench.database import database, multiply, new_key, use
from bench.measure import Job, Spent, in_processes, judge, note, row, table
from bench.pipeline import drain
from tests.servers import Cluster, PostgreSQL, WebServer, manage, wait_until

SQL = Path(__file__).with_suffix(".sql")
IDS = 50
"""Of a partition, where it is tried."""
PARTITIONS, NUMBER, ROUNDS = 20, 15_000, 3
KEY = "Idempotency-Key"
AGE = "interval '40 days'"


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with database() as (server, url):
        for stream, some in (*records.people(), ("sessions", records.sessions("first-", 1))):
            records.accept_all(stream, some)
            drain(stream)
        use("postgres")
        with server.connect() as connection:
            for name in ("plain", "partitioned"):
                connection.execute(f"CREATE DATABASE {name} TEMPLATE bench")
        use("bench")
        try_out(server, url)
        compare(server, number)


# ── That it works ──


def try_out(server: PostgreSQL, url: str) -> None:
    key = new_key()
    with server.connect("bench") as tables:
        with WebServer(url) as web, Cluster(url, WORKERS="1"):
            before(Client(web.url, key), tables)
        convert(tables)
        for _ in range(3):
            tables.execute("SELECT add_delivery_partition(%s)", [IDS])
        assert "No migrations to apply" in manage("migrate", database_url=url).stdout
        with WebServer(url) as web, Cluster(url, WORKERS="1"), ThreadPoolExecutor(9) as threads:
            client = Client(web.url, key)
            across(client, web, key, tables, threads)
            age(tables)
            drop(web, key, tables, threads)
            after(client, tables)
            pruned(client, tables, url)
    print("Converted, used across partitions, dropped beside clients, and used again: all is as promised.", flush=True)


def before(client: Client, tables: psycopg.Connection) -> None:
    """A database in use: what is stored, a repeatable request, and two records that wait, of which one is discarded."""
    from enrichment.held import bulk_actions

    client.post("sessions/batch", records.sessions("early-", 500))
    assert sent(client, "early") == sent(client, "early")
    client.post("sessions", records.example("sessions", session_id="waits", tutor_id="late", student_id="student_id_1"))
    client.post("sessions", records.example("sessions", session_id="discarded", tutor_id="nobody"))
    settled(tables)
    act = bulk_actions.create("discard", {"missing_key": "nobody"}, by="bench", reason="Nobody comes.")
    assert bulk_actions.run_to_completion(act).count == 1


def convert(tables: psycopg.Connection) -> None:
    tables.execute(SQL.read_text())


def across(client: Client, web: WebServer, key: str, tables: psycopg.Connection, threads: ThreadPoolExecutor) -> None:
    """More single POSTs than two partitions hold; the first key again; one that is used by eight at once."""
    assert sent(client, "early") == sent(client, "early"), "a key from before is recognized"
    for record in records.sessions("across-", 2 * IDS + 10):
        client.post("sessions", record)
    at_once = [threads.submit(sent, Client(web.url, key), "at-once") for _ in range(8)]
    assert len({each.result()["delivery"] for each in at_once}) == 1
    for record in records.sessions("more-", IDS):
        client.post("sessions", record)
    assert sent(client, "early")["delivery"] < sent(client, "at-once")["delivery"]
    settled(tables)
    tables.execute("SELECT add_delivery_partition(%s)", [IDS])  # behind what there was no partition for
    assert sent(client, "early")["delivery"] == sent(client, "early")["delivery"]
    assert sent(client, "late") == sent(client, "late")
    assert one(tables, "SELECT count(*) FROM ingestion_delivery_default")
    settled(tables)
    used = one(tables, "SELECT count(DISTINCT tableoid) FROM ingestion_delivery")
    doubled = one(
        tables,
        "SELECT count(*) - count(DISTINCT (client, idempotency_key)) FROM ingestion_delivery"
        " WHERE idempotency_key IS NOT NULL",
    )
    assert used == 6, used
    assert doubled == 0, doubled
    assert one(tables, "SELECT count(*) FROM tutoring_tutoringsession WHERE session_id LIKE 'across-%'") == 2 * IDS + 10


def age(tables: psycopg.Connection) -> None:
    """The first partition as if it was of long ago."""
    tables.execute(f"UPDATE enrichment_heldrecord SET changed_at = changed_at - {AGE} WHERE status = 'discarded'")
    tables.execute(
        f"UPDATE ingestion_delivery_0 SET received_at = received_at - {AGE}, processed_at = processed_at - {AGE}"
    )


def drop(web: WebServer, key: str, tables: psycopg.Connection, threads: ThreadPoolExecutor) -> None:
    """While four clients post. What has to stay is the delivery of the record that waits."""
    try:
        tables.execute("CALL drop_delivery_partition('ingestion_delivery_default', now() - interval '30 days')")
    except psycopg.errors.RaiseException:
        pass
    else:
        raise AssertionError("A partition of young deliveries was dropped.")
    assert one(tables, "CALL drop_delivery_partition('ingestion_delivery_default', now() + interval '1 day')") == 0
    stored, done = one(tables, "SELECT count(*) FROM tutoring_tutoringsession"), Event()
    posting = [threads.submit(post_until, Client(web.url, key), f"beside-{place}-", done) for place in range(4)]
    try:
        time.sleep(1)
        began = time.monotonic()
        kept = one(tables, "CALL drop_delivery_partition('ingestion_delivery_0', now() - interval '30 days')")
        took = time.monotonic() - began
        time.sleep(1)
    finally:
        done.set()
    waits = [wait for each in posting for wait in each.result()]
    settled(tables)
    assert kept == 1, kept
    assert one(tables, "SELECT count(*) FROM ingestion_delivery_0") == 1
    assert one(tables, "SELECT count(*) FROM tutoring_tutoringsession") == stored + len(waits)
    print(
        f"Dropped in {took:.2f} s beside {len(waits)} POSTs, all of them answered with 202 and stored; the longest took"
        f" {1000 * max(waits):.0f} ms",
        flush=True,
    )


def after(client: Client, tables: psycopg.Connection) -> None:
    """The waiting record is still there and is stored when its tutor comes; a dropped key is new."""
    client.post("tutors", records.example("tutors", tutor_id="late"))
    wait_until(
        lambda: one(tables, "SELECT count(*) FROM tutoring_tutoringsession WHERE session_id = 'waits'"), "revived"
    )
    settled(tables)
    new = sent(client, "early")["delivery"]
    assert new > sent(client, "at-once")["delivery"]
    assert new == sent(client, "early")["delivery"]
    lost = one(
        tables,
        "SELECT count(*) FROM enrichment_heldrecord LEFT JOIN ingestion_delivery AS d ON d.id = delivery_id"
        " WHERE d.id IS NULL",
    )
    assert lost == 0, lost


def pruned(client: Client, tables: psycopg.Connection, url: str) -> None:
    """What is not dropped is deleted as before, with its key."""
    first = sent(client, "pruned")["delivery"]
    settled(tables)
    old = f"received_at = received_at - {AGE}, processed_at = processed_at - {AGE}"
    tables.execute(f"UPDATE ingestion_delivery SET {old} WHERE id <= %s", [first])
    tables.execute(f"UPDATE enrichment_heldrecord SET changed_at = changed_at - {AGE}")
    manage("prune", database_url=url)
    left = one(tables, f"SELECT count(*) FROM ingestion_delivery WHERE id <= {first}")
    assert left == 0, left
    assert sent(client, "pruned")["delivery"] > first


def sent(client: Client, key: str) -> dict[str, Any]:
    """The answer to a session sent with this Idempotency-Key."""
    client.headers[KEY] = key
    try:
        status, answer = client.send("sessions", json.dumps(records.sessions(f"{key}-", 1)[0]))
    finally:
        del client.headers[KEY]
    assert status == 202, answer
    return dict(json.loads(answer))


def post_until(client: Client, prefix: str, done: Event) -> list[float]:
    """Seconds that each POST took."""
    waits: list[float] = []
    while not done.is_set():
        began = time.monotonic()
        client.post("sessions", records.sessions(f"{prefix}{len(waits)}-", 1)[0])
        waits.append(time.monotonic() - began)
    return waits


def settled(tables: psycopg.Connection) -> None:
    wait_until(
        lambda: not one(tables, "SELECT count(*) FROM ingestion_delivery WHERE processed_at IS NULL"), "processed"
    )


def one(tables: psycopg.Connection, statement: str) -> int:
    found = tables.execute(statement).fetchone()
    assert found is not None
    return int(found[0])


# ── What it costs and saves ──


def compare(server: PostgreSQL, number: int) -> None:
    """Two databases with as many processed deliveries, one of them in partitions."""
    spent: dict[tuple[str, str], list[Spent]] = {}
    for name in ("plain", "partitioned"):
        with server.connect(name) as tables:
            tables.execute("UPDATE ingestion_delivery SET received_at = received_at - interval '90 days'")
            tables.execute("UPDATE ingestion_delivery SET processed_at = received_at")
            if name == "partitioned":
                convert(tables)
                for _ in range(PARTITIONS + 2):
                    tables.execute("SELECT add_delivery_partition(%s)", [number // PARTITIONS])
        use(name)
        multiply("ingestion_delivery", number, received_at=f"now() - {AGE}", processed_at=f"now() - {AGE}")
    for round_ in range(ROUNDS):
        made = {size: records.sessions(f"{size}-{round_}-", NUMBER // (1 if size > 1 else 10)) for size in (1000, 1)}
        for name in ("plain", "partitioned") if round_ % 2 else ("partitioned", "plain"):
            use(name)
            for size, some in made.items():
                jobs: dict[str, Job] = {"intake": partial(_accept, some, size), "pipeline": _drain}
                for work, job in jobs.items():
                    kind = f"{work}, deliveries of {size:,}"
                    spent.setdefault((kind, name), []).append(in_processes(len(some), [job]))
    table(f"sessions, {number:,} processed deliveries", "records/s", "µs: Python", "PostgreSQL")
    for (kind, name), found in sorted(spent.items()):
        rates, best = sorted(each.rate for each in found), min(found, key=lambda each: each.processor)
        row(f"{kind}, {name}", f"{rates[0]:,.0f} to {rates[-1]:,.0f}", f"{best.python:.1f}", f"{best.postgresql:.1f}")
    for kind in sorted({kind for kind, _ in spent}):
        pairs = list(zip(spent[kind, "partitioned"], spent[kind, "plain"], strict=True))
        judge(
            f"{kind}, plain / {PARTITIONS} partitions, by processor time", [b.processor / a.processor for a, b in pairs]
        )
    note("prune, then VACUUM", _cost(server, "plain", _prune))
    note("dropping all partitions", _cost(server, "partitioned", _drop_all))


def _cost(server: PostgreSQL, name: str, work: Any) -> str:
    with server.connect(name) as tables:
        number = one(tables, "SELECT count(*) FROM ingestion_delivery")
        lsn, began = tables.execute("SELECT pg_current_wal_lsn()").fetchone(), time.monotonic()
        work(server.url(name), tables)
        took = time.monotonic() - began
        number -= one(tables, "SELECT count(*) FROM ingestion_delivery")
        found = tables.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), %s) / 1e6", lsn).fetchone()
        return f"{number:,} deliveries in {took:.1f} s, {float(found[0]) if found else 0:,.1f} MB of WAL"


def _prune(url: str, tables: psycopg.Connection) -> None:
    manage("prune", database_url=url)
    tables.execute("VACUUM ingestion_delivery")


def _drop_all(url: str, tables: psycopg.Connection) -> None:
    names = (
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ingestion_delivery'::regclass ORDER BY 1"
    )
    for (name,) in tables.execute(names).fetchall():
        if one(tables, f"SELECT count(*) FROM (SELECT FROM {name} LIMIT 1) AS found"):
            try:
                tables.execute(f"CALL drop_delivery_partition('{name}', now() - interval '30 days')")
            except psycopg.errors.RaiseException:  # the newest one
                continue


def _accept(made: list[records.Record], size: int) -> Iterator[None]:
    yield
    records.accept_all("sessions", made, size)


def _drain() -> Iterator[None]:
    yield
    drain("sessions")


if __name__ == "__main__":
    main()

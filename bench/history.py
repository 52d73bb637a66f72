"""python -m bench.history [DELIVERIES]: whether cost grows with what is there: an empty database beside one with a
million processed deliveries and twice as many stored sessions, by turns; then intake beside `prune`.

`python -m bench.history memory` instead: the memory of one worker over a million records.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import psutil
import psycopg

from bench import records
from bench.client import Client
from bench.database import database, multiply, new_key, use
from bench.measure import Job, Spent, in_processes, judge, note, row, table
from bench.pipeline import drain
from tests.servers import PostgreSQL, Process, ProjectProcess, WebServer

NUMBER, ROUNDS = 30_000, 3
MIN_SHARE, MIN_BESIDE_PRUNE = 0.85, 0.9
SECONDS, CLIENTS, BATCH = 6, 8, 500
MEMORY_RECORDS, MEMORY_STEP, MAX_GROWTH = 1_000_000, 100_000, 20
OLD = "now() - interval '31 days' - ({number} - i) * interval '1 second'"
DATABASES = {"as empty": "bench", "with history": "history"}


def main() -> None:
    limits = ("MAX_PENDING_RECORDS", "MAX_CLIENT_PENDING_RECORDS", "MAX_CLIENT_PENDING_BYTES")
    os.environ |= {"LOG_LEVEL": "WARNING", **dict.fromkeys(limits, "1000000000000")}
    with database() as (server, _):
        if sys.argv[1:] == ["memory"]:
            measure_memory(server)
            return
        number = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
        for stream, some in (*records.people(), ("sessions", records.sessions("first-", 1))):
            records.accept_all(stream, some)
            drain(stream)
        use("postgres")
        with server.connect() as connection:
            connection.execute("CREATE DATABASE history TEMPLATE bench")
        use("history")
        fill(number)
        for ids, of in {"ids that grow": growing, "random ids": scattered}.items():
            compare(ids, of)
        beside_prune(server)


def fill(number: int) -> None:
    """Copies of a processed delivery and of a stored session, which refer to tutors and students that are there."""
    from django.utils import timezone

    from ingestion.models import Delivery

    began = time.monotonic()
    long_ago = timezone.now() - timedelta(days=100)
    Delivery.objects.update(received_at=long_ago, processed_at=long_ago)  # `prune` stops at the first that is young
    at = OLD.format(number=number)
    multiply("ingestion_delivery", number, received_at=at, processed_at=at)
    multiply(
        "tutoring_tutoringsession",
        2 * number,
        session_id="md5(i::text)",
        tutor_id=f"'tutor_id_' || i % {records.REFERRED}",
        student_id=f"'student_id_' || i * 7919::bigint % {records.REFERRED}",
        scheduled_start="now() - i % 1000000 * interval '1 minute'",
        stored_at="now() - interval '60 days' + i * interval '1 second'",
        delivery="i / 2",
    )
    print(f"{number:,} deliveries and {2 * number:,} sessions made in {time.monotonic() - began:.0f} s", flush=True)


def growing(round_: str) -> list[records.Record]:
    return records.sessions(f"z-{round_}-", NUMBER)


def scattered(round_: str) -> list[records.Record]:
    """No two that come together are near each other in an index, as with UUIDs."""
    return [{**each, "session_id": os.urandom(16).hex()} for each in growing(round_)]


def compare(ids: str, make: Callable[[str], list[records.Record]]) -> None:
    spent: dict[tuple[str, str], list[Spent]] = {}
    for round_ in range(ROUNDS):
        made = make(f"{ids}-{round_}")
        for name in sorted(DATABASES, reverse=bool(round_ % 2)):
            use(DATABASES[name])
            jobs: dict[str, Job] = {"intake": partial(_accept, made), "pipeline": _drain}
            for work, job in jobs.items():
                spent.setdefault((work, name), []).append(in_processes(NUMBER, [job]))
    table(f"sessions, {ids}", "records/s", "µs: Python", "PostgreSQL")
    for (work, name), found in sorted(spent.items()):
        rates, best = sorted(each.rate for each in found), min(found, key=lambda each: each.processor)
        row(f"{work}, {name}", f"{rates[0]:,.0f} to {rates[-1]:,.0f}", f"{best.python:.1f}", f"{best.postgresql:.1f}")
    for work in ("intake", "pipeline"):
        pairs = list(zip(spent[work, "with history"], spent[work, "as empty"], strict=True))
        of = f"{work}, {ids}, with history / as empty"
        judge(f"{of}, by the clock", [old.rate / new.rate for old, new in pairs], at_least=MIN_SHARE)
        judge(f"{of}, by processor time", [new.processor / old.processor for old, new in pairs], at_least=MIN_SHARE)


def _accept(made: list[records.Record]) -> Iterator[None]:
    yield
    records.accept_all("sessions", made)


def _drain() -> Iterator[None]:
    yield
    drain("sessions")


# ── Beside prune ──


def beside_prune(server: PostgreSQL) -> None:
    """As much as eight clients can post, without workers, with and without a run of retention, by turns."""
    use("history")
    url, key = server.url("history"), new_key()
    batch = json.dumps(records.sessions("prune-", BATCH))
    loads = {
        "batches of 500": ("sessions/batch", batch),
        "single POSTs": ("sessions", json.dumps(records.sessions("prune-", 1)[0])),
    }
    with WebServer(url) as web, ThreadPoolExecutor(CLIENTS) as threads, server.connect("history") as tables:
        for load, (path, body) in loads.items():
            rates: dict[bool, list[float]] = {False: [], True: []}
            deleted = 0
            post_for(web, key, path, body, threads)
            for round_ in range(ROUNDS):
                for with_prune in (False, True) if round_ % 2 == 0 else (True, False):
                    before = _oldest(tables)
                    prune = ProjectProcess("manage.py", "prune", database_url=url) if with_prune else None
                    while prune and _oldest(tables) == before:
                        assert prune.popen.poll() is None, prune.log()
                        time.sleep(0.1)
                    rates[with_prune].append(post_for(web, key, path, body, threads))
                    if prune:
                        prune.stop()
                    deleted += _oldest(tables) - before
            shares = [beside / alone for alone, beside in zip(*rates.values(), strict=True)]
            print(
                f"{load}: {_range(rates[False])} a second alone, {_range(rates[True])} beside prune, which deletes"
                f" {deleted:,} deliveries"
            )
            judge(f"intake, {load}, beside prune / alone", shares, at_least=MIN_BESIDE_PRUNE)


def post_for(web: WebServer, key: str, path: str, body: str, threads: ThreadPoolExecutor) -> float:
    """POSTs a second."""
    end = time.monotonic() + SECONDS

    def post() -> int:
        client, posts = Client(web.url, key), 0
        while time.monotonic() < end:
            client.post_body(path, body)
            posts += 1
        return posts

    began = time.monotonic()
    posts = sum(each.result() for each in [threads.submit(post) for _ in range(CLIENTS)])
    return posts / (time.monotonic() - began)


def _oldest(tables: psycopg.Connection) -> int:
    found = tables.execute("SELECT min(id) FROM ingestion_delivery").fetchone()
    return int(found[0]) if found else 0


def _range(rates: list[float]) -> str:
    return f"{min(rates):,.0f} to {max(rates):,.0f}"


# ── Memory ──


def measure_memory(server: PostgreSQL) -> None:
    """Of `enrich_pending`, which does what a worker does, but for a million records without a new process."""
    from ingestion.models import Delivery

    for stream, some in records.people():
        records.accept_all(stream, some)
        drain(stream)
    for start in range(0, MEMORY_RECORDS, MEMORY_STEP):
        records.accept_all("sessions", records.sessions(f"m{start}-", MEMORY_STEP))
    url = server.url("bench")
    table("records", "MB of its own")
    with Process((sys.executable, "manage.py", "enrich_pending", "--json"), {"DATABASE_URL": url}) as worker:
        process, found, step = psutil.Process(worker.pid), [], 1
        while worker.popen.poll() is None:
            done = MEMORY_RECORDS - Delivery.objects.filter(stream="sessions").pending_records()
            if done >= step * MEMORY_STEP and step * MEMORY_STEP < MEMORY_RECORDS:
                found.append(process.memory_full_info().uss / 1e6)
                row(f"{done:,}", f"{found[-1]:.1f}")
                step = done // MEMORY_STEP + 1
            time.sleep(0.05)
        assert worker.popen.returncode == 0, worker.log()
    judge(
        "MB that a worker grows by after its first 100,000 of a million records",
        [max(found) - found[0]],
        at_most=MAX_GROWTH,
    )
    note("MB of a worker", f"{min(found):.0f} to {max(found):.0f}")


if __name__ == "__main__":
    main()

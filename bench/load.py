"""python -m bench.load [FACTOR …]: a day of 3,000 sessions and their feedback in one hour, and many times as many.

Each factor (1, 10, 100, 300) for a minute, with the posts of that minute evenly spread. Each record is a POST of its
own, sent when its time has come, whatever became of those before (an open load). Web server and two clusters are as by
default, on a PostgreSQL with fsync. Then, with a low MAX_PENDING_RECORDS and without workers: how it gives way.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from bench.database import database, new_key, postmaster
from bench.measure import processor
from tests.servers import PATIENCE, Cluster, Process, WebServer, wait_until

SESSIONS = 3_000
"""Of a day, each with its feedback, within an hour."""
WINDOW = 60
"""Seconds that each factor is tried for."""
FACTORS = (1, 10, 100, 300)
CONNECTIONS = 48
TUTORS, STUDENTS = 50, 200
MAX_PENDING = 2_000


@dataclass
class Seen:
    """What the client saw in one window."""

    latencies: list[float] = field(default_factory=list)
    """Seconds from when a post was due until its 202."""
    statuses: Counter[int] = field(default_factory=Counter)
    """0: no answer."""
    retry_after: Counter[str] = field(default_factory=Counter)
    """Of the refusals."""
    lock: threading.Lock = field(default_factory=threading.Lock)


def main() -> None:
    factors = [int(each) for each in sys.argv[1:]] or FACTORS
    os.environ["LOG_LEVEL"] = "WARNING"
    with database() as (server, url):
        with contextlib.ExitStack() as stack:
            web = stack.enter_context(WebServer(url))
            clusters = [stack.enter_context(Cluster(url)) for _ in range(2)]
            processes = {
                "web": [web.pid],
                "workers": [each.pid for each in clusters],
                "PostgreSQL": [postmaster(server)],
            }
            key = new_key()
            people(web, key)
            for factor in factors:
                measure(web, key, factor, processes)
        with WebServer(url, MAX_PENDING_RECORDS=str(MAX_PENDING)) as web:
            give_way(web, key)


def people(web: Process, key: str) -> None:
    from tutoring.tests.factories import student, tutor

    for stream, records in {
        "tutors": [tutor(tutor_id=f"t{number}") for number in range(TUTORS)],
        "students": [student(student_id=f"u{number}") for number in range(STUDENTS)],
    }.items():
        status, _ = post(web, key, f"/api/{stream}/batch", records)
        assert status == 202
    wait_until_idle()


def records(number: int, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """So many, a session and then its feedback."""
    from tutoring.tests.factories import feedback, session

    for each in range(number // 2):
        keys = {"tutor_id": f"t{each % TUTORS}", "student_id": f"u{each % STUDENTS}", "session_id": f"{name}-s{each}"}
        yield "sessions", session(**keys)
        yield "feedback", feedback(feedback_id=f"{name}-f{each}", **keys)


def post(web: Process, key: str, path: str, record: Any) -> tuple[int, str]:
    """(status, Retry-After); 0 without an answer."""
    assert isinstance(web, WebServer)
    connection = http.client.HTTPConnection(urlsplit(web.url).netloc, timeout=PATIENCE)
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json"}
    with contextlib.closing(connection):
        try:
            connection.request("POST", path, json.dumps(record).encode(), headers)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return 0, ""
        return response.status, response.getheader("Retry-After") or ""


def load(web: Process, key: str, to_post: Sequence[tuple[str, Any]], seconds: float) -> Seen:
    seen, started = Seen(), time.monotonic()

    def send(number: int) -> None:
        due = started + seconds * number / len(to_post)
        time.sleep(max(0.0, due - time.monotonic()))
        stream, record = to_post[number]
        status, retry_after = post(web, key, f"/api/{stream}", record)
        with seen.lock:
            seen.statuses[status] += 1
            if status == 202:
                seen.latencies.append(time.monotonic() - due)
            else:
                seen.retry_after[retry_after] += 1

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(send, range(len(to_post))))
    return seen


def measure(web: Process, key: str, factor: int, processes: dict[str, list[int]]) -> None:
    number = max(2, round(2 * SESSIONS * factor * WINDOW / 3600))
    to_post = list(records(number, f"x{factor}"))
    before, began = {name: processor(*pids) for name, pids in processes.items()}, time.monotonic()
    seen = load(web, key, to_post, WINDOW)
    took = time.monotonic() - began
    drained = wait_until_idle()
    cores = {name: (processor(*pids) - before[name]) / took for name, pids in processes.items()}
    stored, p50, p95 = end_to_end(f"x{factor}-")
    intake = sorted(seen.latencies)
    print(
        f"x{factor}: {number / WINDOW:.1f} posts/s, answers {dict(seen.statuses)} {dict(seen.retry_after)};"
        f" intake p50 {1000 * share(intake, 0.5):.0f} ms, p95 {1000 * share(intake, 0.95):.0f} ms;"
        f" arrival to stored p50 {p50:.2f} s, p95 {p95:.2f} s; {stored} stored, idle after {drained:.1f} s; cores: "
        + ", ".join(f"{name} {used:.2f}" for name, used in cores.items()),
        flush=True,
    )


def give_way(web: Process, key: str) -> None:
    """With no workers the pending records reach the limit; then 503 says when to come again."""
    seen = load(web, key, list(records(3 * MAX_PENDING, "full")), 20)
    times = ", ".join(f"{name} s ({number})" for name, number in seen.retry_after.items())
    print(f"no workers, at most {MAX_PENDING:,} pending: {dict(seen.statuses)}, Retry-After {times}")


def end_to_end(prefix: str) -> tuple[int, float, float]:
    """(rows, median, p95) of the seconds from arrival until stored, by the database's clock."""
    from django.db import connection

    parts = " UNION ALL ".join(
        f"SELECT stored_at - received_at AS took FROM tutoring_{table} AS row "
        f"JOIN ingestion_delivery ON ingestion_delivery.id = row.delivery WHERE {column} LIKE %s"
        for table, column in (("tutoringsession", "session_id"), ("feedback", "feedback_id"))
    )
    of = "EXTRACT(epoch FROM percentile_cont({}) WITHIN GROUP (ORDER BY took))"
    with connection.cursor() as cursor:
        statement = f"SELECT count(*), {of.format(0.5)}, {of.format(0.95)} FROM ({parts}) AS rows"
        cursor.execute(statement, [f"{prefix}%"] * 2)
        number, p50, p95 = cursor.fetchone()
    return number, float(p50), float(p95)


def wait_until_idle() -> float:
    """Seconds until no record is pending or waiting."""
    from enrichment.models import HeldRecord
    from ingestion.models import Delivery

    began = time.monotonic()
    wait_until(
        lambda: not Delivery.objects.pending().exists() and not HeldRecord.objects.open().exists(),
        "all is processed",
        timeout=10 * PATIENCE,
        every=0.1,
    )
    return time.monotonic() - began


def share(ordered: Sequence[float], part: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")


if __name__ == "__main__":
    main()

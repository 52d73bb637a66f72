"""python -m bench.pipeline [RECORDS [ROUNDS]]: the pipeline (validate, enrich, upsert, count) beside bare COPY of the
rows that it stored, with one and with two processes on each side, by turns.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench import records
from bench.database import database
from bench.measure import Job, Spent, in_processes, judge, row, table

WORKERS = {1: 0.7, 2: 0.8}
"""Processes on each side → the aim."""
Made = dict[str, list[records.Record]]
"""stream → records, in the order in which workers take the streams."""


@dataclass(frozen=True)
class Workload:
    make: Callable[[str, int], Made]
    tables: Sequence[str]
    """Where its rows are stored, in order of reference."""
    share: float = 1
    """Of the number of records: less of those that take longer."""


STEPS = ("next_part", "validate", "resolve", "enrich", "count", "reconcile", "store_with_consequences")
LOOKUPS = "enrichment_lookup"
WORKLOADS = {
    "sessions": Workload(
        lambda prefix, number: {"sessions": records.sessions(prefix, number)}, ["tutoring_tutoringsession"]
    ),
    "all tutoring streams": Workload(
        records.mix, ["tutoring_tutor", "tutoring_student", "tutoring_tutoringsession", "tutoring_feedback"]
    ),
    "entries": Workload(
        lambda prefix, number: {"entries": records.entries(prefix, number)},
        ["movies_library", LOOKUPS, "movies_libraryfilm", "movies_entry"],
        share=0.5,
    ),
    "plays": Workload(
        lambda prefix, number: {"listens": records.plays(prefix, number)},
        [LOOKUPS]
        + [
            f"music_{name}"
            for name in ("listener", "artist", "album", "listen", "artistmonth", "albummonth", "hourmonth")
        ],
    ),
}


def main() -> None:
    number, rounds = (int(each) for each in [*sys.argv[1:], *("60000", "3")[len(sys.argv) - 1 :]])
    with database():
        prepare(number)
        for name, workload in WORKLOADS.items():
            compare(name, workload, int(number * workload.share), rounds)
        where_the_time_goes(number)


def prepare(number: int) -> None:
    """The rows that records refer to; and everything is run once."""
    for stream, some in records.people():
        records.accept_all(stream, some)
        drain(stream)
    for made in ({"sessions": records.old(number)}, *(each.make(f"{name}-", 2000) for name, each in WORKLOADS.items())):
        for stream, some in made.items():
            records.accept_all(stream, some)
            drain(stream)


def compare(name: str, workload: Workload, number: int, rounds: int) -> None:
    sides: dict[str, list[Spent]] = {}
    rows = 0
    for round_ in range(rounds):
        for workers in WORKERS:
            made = workload.make(f"{name}-{round_}-{workers}-", number)
            sides.setdefault("accept", []).append(in_processes(number, [partial(_accept, made)]))
            since = _snapshot()
            ours = in_processes(number, [partial(_drain, list(made))] * workers)
            _check()
            theirs, rows = copy_again(workload.tables, since, number, workers)
            sides.setdefault(f"pipeline, {workers}", []).append(ours)
            sides.setdefault(f"COPY, {workers}", []).append(theirs)
    table(f"{name}: {rows / number:.2f} rows a record", "records/s", "µs: Python", "PostgreSQL")
    for side, spent in sides.items():
        rates, best = sorted(each.rate for each in spent), min(spent, key=lambda each: each.processor)
        row(side, f"{rates[0]:,.0f} to {rates[-1]:,.0f}", f"{best.python:.1f}", f"{best.postgresql:.1f}")
    for workers, aim in WORKERS.items():
        pairs = list(zip(sides[f"pipeline, {workers}"], sides[f"COPY, {workers}"], strict=True))
        of = f"{name}, pipeline / COPY, {workers} beside {workers}"
        judge(f"{of}, by the clock", [ours.rate / bare.rate for ours, bare in pairs], at_least=aim)
        judge(f"{of}, by processor time", [bare.processor / ours.processor for ours, bare in pairs], at_least=aim)
    pairs = list(zip(sides["pipeline, 2"], sides["COPY, 1"], strict=True))
    judge(f"{name}, pipeline / COPY, 2 beside 1, by the clock", [ours.rate / bare.rate for ours, bare in pairs])


def drain(stream: str) -> None:
    from enrichment.pipeline.batch import process_batch
    from ingestion.streams import get

    while process_batch(get(stream)):
        pass


def _drain(streams: Sequence[str]) -> Iterator[None]:
    yield
    for stream in streams:
        drain(stream)


def _accept(made: Made) -> Iterator[None]:
    yield
    for stream, some in made.items():
        records.accept_all(stream, some)


def _check() -> None:
    from django.db.models import F, Q

    from ingestion.models import Delivery

    odd = Delivery.objects.filter(~Q(inserted=F("count")) | Q(processed_at=None))
    assert not odd.exists(), odd.values("stream", "count", "inserted", "held", "last_error").first()


def _snapshot() -> int:
    """What a later transaction writes has this `xmin` or a later one."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return int(cursor.fetchone()[0])


def copy_again(tables: Sequence[str], since: int, number: int, processes: int) -> tuple[Spent, int]:
    """COPY, in transactions of a thousand rows each, of the rows written since then into the same tables, from which
    they were taken out: the same indexes, constraints and references. Also returns how many rows there are.
    """
    from django.db import connection

    with connection.cursor() as cursor:
        counts = [_execute(cursor, f"SELECT count(*) FROM {each} WHERE {WRITTEN}", since) for each in tables]

    def take_out() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")  # or older rows that refer to them were in the way
            for each in reversed(tables):
                cursor.execute(f"DELETE FROM {each} WHERE {WRITTEN}", [since])
            cursor.execute("SET session_replication_role = origin")
            for each in tables:
                cursor.execute(f"VACUUM ANALYZE {each}")

    jobs: list[Job] = [partial(_copy, tables, since, place, processes) for place in range(processes)]
    return in_processes(number, jobs, when_ready=take_out), sum(counts)


WRITTEN = "xmin::text::bigint >= %s"


def _execute(cursor: Any, statement: str, *values: object) -> int:
    cursor.execute(statement, values)
    return int(cursor.fetchone()[0])


def _copy(tables: Sequence[str], since: int, place: int, processes: int) -> Iterator[None]:
    """Of the parts of each table this process takes those whose turn is its own."""
    from django.db import connection

    with connection.cursor() as cursor:
        parts = []
        for each in tables:
            cursor.execute(f"SELECT * FROM {each} WHERE {WRITTEN} ORDER BY ctid", [since])
            found = [_as_sent(values) for values in cursor.fetchall()]
            starts = range(place * records.DELIVERY, len(found), processes * records.DELIVERY)
            parts.append([found[start : start + records.DELIVERY] for start in starts])
        yield
        for each, of_it in zip(tables, parts, strict=True):
            for part in of_it:
                with cursor.copy(f"COPY {each} FROM STDIN") as writer:
                    for values in part:
                        writer.write_row(values)
            yield  # the next table refers to this one


def _as_sent(values: tuple[object, ...]) -> tuple[object, ...]:
    from ingestion.payloads import ascii_json

    return tuple(ascii_json(value) if isinstance(value, list | dict) else value for value in values)


def where_the_time_goes(number: int) -> None:
    """Microseconds a record of one more round, by step: on the clock, and of them in Python's own time. The last but
    one has `upsert` in it.
    """
    from enrichment.pipeline import batch, outcomes, upsert
    from ingestion.models import DeliveryQuerySet

    steps = [(DeliveryQuerySet, "claim"), (outcomes, "record"), (upsert, "upsert")]
    steps += [(batch, f"_{name}") for name in STEPS]
    real = [(owner, name, getattr(owner, name)) for owner, name in steps]
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for workload_name, workload in WORKLOADS.items():
        made = workload.make(f"{workload_name}-steps-", int(number * workload.share))
        for stream, some in made.items():
            records.accept_all(stream, some)
        spent: dict[str, list[float]] = {}
        for owner, name, work in real:
            setattr(owner, name, _timed(spent.setdefault(name.lstrip("_"), [0.0, 0.0]), work))
        everything = _timed(spent.setdefault("everything", [0.0, 0.0]), drain)
        for stream in made:
            everything(stream)
        for owner, name, work in real:
            setattr(owner, name, work)
        each = 1e6 / sum(map(len, made.values()))
        found[workload_name] = {step: (clock * each, python * each) for step, (clock, python) in spent.items()}
    table("µs a record: by the clock (of them Python)", *WORKLOADS)
    for step in found["sessions"]:
        times = [found[name][step] for name in WORKLOADS]
        row(step, *(f"{clock:.1f} ({python:.1f})" for clock, python in times))


def _timed(clocks: list[float], work: Callable[..., Any]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return work(*args, **kwargs)
        finally:
            clocks[0] += time.perf_counter() - wall
            clocks[1] += time.process_time() - cpu

    return timed


if __name__ == "__main__":
    main()

"""The pipeline (validate, enrich, upsert, count) beside bare COPY of the rows that it stored."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import psutil
from django.db import connection
from django.db.models import F, Sum

from enrichment.pipeline import batch, outcomes, upsert
from enrichment.pipeline.batch import process_batch
from ingestion.models import Delivery, DeliveryQuerySet
from ingestion.payloads import ascii_json
from ingestion.services import accept
from ingestion.streams import get
from tutoring.tests.factories import session, student, tutor

DELIVERY = 1000
ROUNDS = 3
REFERRED = 500


def run(number: int) -> None:
    """Prints records/s of `number` new sessions, best and worst of three rounds, for COPY and for the pipeline, and the
    processor time that a record takes of Python and of PostgreSQL.
    """
    prepare()
    spent: dict[str, list[Spent]] = {"accept": [], "pipeline": [], "COPY": []}
    for round_ in range(ROUNDS):
        records = _sessions(round_, number)
        spent["accept"].append(measured(number, lambda records=records: _accept("sessions", records)))  # type: ignore[misc]
        spent["pipeline"].append(measured(number, lambda: _drain("sessions")))
        totals = Delivery.objects.filter(stream="sessions").aggregate(done=Sum(F("inserted")), count=Sum("count"))
        assert totals["done"] == totals["count"] == number * (round_ + 1), totals
        spent["COPY"].append(_copy_again(f"s{round_}_", number))
    for name, found in spent.items():
        rates, best = [each.rate for each in found], min(found, key=lambda each: each.python + each.postgresql)
        print(
            f"{name:10} {max(rates):>9,.0f} records/s best, {min(rates):>9,.0f} worst of {ROUNDS}; processor time: "
            f"{best.python:.1f} µs of Python + {best.postgresql:.1f} µs of PostgreSQL"
        )
    _where_the_time_goes(number)
    pairs = list(zip(spent["pipeline"], spent["COPY"], strict=True))
    print("pipeline / COPY, by round: " + ", ".join(f"{ours.rate / bare.rate:.2f}" for ours, bare in pairs))
    print("by processor time: " + ", ".join(f"{bare.processor / ours.processor:.2f}" for ours, bare in pairs))


def prepare() -> None:
    """The tutors and students that sessions refer to."""
    for stream, record in (("tutors", tutor), ("students", student)):
        key = get(stream).key
        _accept(stream, [record(**{key: f"{key}_{i}"}) for i in range(REFERRED)])
        _drain(stream)


def _sessions(round_: int, number: int) -> list[dict[str, object]]:
    return [
        session(
            session_id=f"s{round_}_{i:07}",
            tutor_id=f"tutor_id_{i % REFERRED}",
            student_id=f"student_id_{i % REFERRED}",
        )
        for i in range(number)
    ]


def _where_the_time_goes(number: int) -> None:
    """Prints microseconds a record of one more round, by step: on the clock, and of them in Python's own time."""
    spent: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        clocks = spent.setdefault(name, [0.0, 0.0])

        def timed_work(*args: Any, **kwargs: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            try:
                return work(*args, **kwargs)
            finally:
                clocks[0] += time.perf_counter() - wall
                clocks[1] += time.process_time() - cpu

        return timed_work

    _accept("sessions", _sessions(ROUNDS, number))
    steps = [(DeliveryQuerySet, "claim"), (outcomes, "record"), (upsert, "upsert")]
    steps += [(batch, f"_{name}") for name in ("next_part", "validate", "resolve", "enrich", "count", "reconcile")]
    real = [(owner, name, getattr(owner, name)) for owner, name in steps]
    for owner, name, work in real:
        setattr(owner, name, timed(name, work))
    timed("everything", _drain)("sessions")
    for owner, name, work in real:
        setattr(owner, name, work)
    for name, (wall, cpu) in spent.items():
        print(f"  {name:10} {wall / number * 1e6:6.1f} µs a record, {cpu / number * 1e6:6.1f} of them in Python")


class Spent(NamedTuple):
    """Of a record: by the clock, and processor time of this process and of its connection's; microseconds."""

    clock: float
    python: float
    postgresql: float

    @property
    def rate(self) -> float:
        return 1e6 / self.clock

    @property
    def processor(self) -> float:
        return self.python + self.postgresql


def measured(number: int, work: Callable[[], object]) -> Spent:
    server = psutil.Process(connection.connection.info.backend_pid)
    before = sum(server.cpu_times()[:2])
    clock, python = time.perf_counter(), time.process_time()
    work()
    clock, python = time.perf_counter() - clock, time.process_time() - python
    postgresql = sum(server.cpu_times()[:2]) - before
    return Spent(*(seconds / number * 1e6 for seconds in (clock, python, postgresql)))


def _accept(stream: str, records: list[dict[str, object]]) -> None:
    for start in range(0, len(records), DELIVERY):
        part = records[start : start + DELIVERY]
        accept(get(stream), part, ascii_json(part).encode(), fmt=Delivery.Format.JSON, client="bench")


def _drain(stream: str) -> None:
    while process_batch(get(stream)):
        pass


def _copy_again(prefix: str, number: int) -> Spent:
    """COPY, in transactions of a delivery each, of a round's rows into the same table, from which they
    were taken out: the same indexes, constraints and references.
    """
    with connection.cursor() as cursor:
        like = [prefix + "%"]
        cursor.execute("SELECT * FROM tutoring_tutoringsession WHERE session_id LIKE %s ORDER BY session_id", like)
        rows = [_as_sent(row) for row in cursor.fetchall()]
        assert len(rows) == number
        cursor.execute("DELETE FROM tutoring_tutoringsession WHERE session_id LIKE %s", like)
        cursor.execute("VACUUM ANALYZE tutoring_tutoringsession")

        def copy() -> None:
            for start in range(0, number, DELIVERY):
                with cursor.copy("COPY tutoring_tutoringsession FROM STDIN") as stream:
                    for row in rows[start : start + DELIVERY]:
                        stream.write_row(row)

        return measured(number, copy)


def _as_sent(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(ascii_json(value) if isinstance(value, list) else value for value in row)

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
from tutoring.tests.factories import feedback, session, student, tutor

Record = dict[str, object]
DELIVERY = 1000
ROUNDS = 3
REFERRED = 500


def run(number: int) -> None:
    """Prints records/s of `number` new sessions, and of as many records of all streams of the domain together, best and
    worst of three rounds, for COPY and for the pipeline, and the processor time that a record takes.
    """
    prepare()
    print("Sessions:")
    compare(lambda round_: {"sessions": _sessions(f"s{round_}_", number)})
    print("Tutors, students, sessions and feedback, 1 : 4 : 10 : 5:")
    compare(lambda round_: _mix(f"m{round_}_", number))
    _where_the_time_goes(number)


def compare(make: Callable[[int], dict[str, list[Record]]]) -> None:
    """Prints how each round's records, by stream and in order of reference, go through the pipeline and by COPY."""
    spent: dict[str, list[Spent]] = {"accept": [], "pipeline": [], "COPY": []}
    for round_ in range(ROUNDS):
        records = make(round_)
        number = sum(map(len, records.values()))
        spent["accept"].append(measured(number, lambda records=records: _accept_all(records)))  # type: ignore[misc]
        spent["pipeline"].append(measured(number, lambda records=records: _drain_all(records)))  # type: ignore[misc]
        totals = Delivery.objects.aggregate(done=Sum(F("inserted")), count=Sum("count"))
        assert totals["done"] == totals["count"], totals
        spent["COPY"].append(_copy_again(records))
    for name, found in spent.items():
        rates, best = [each.rate for each in found], min(found, key=lambda each: each.processor)
        print(
            f"{name:10} {max(rates):>9,.0f} records/s best, {min(rates):>9,.0f} worst of {ROUNDS}; processor time: "
            f"{best.python:.1f} µs of Python + {best.postgresql:.1f} µs of PostgreSQL"
        )
    pairs = list(zip(spent["pipeline"], spent["COPY"], strict=True))
    print("pipeline / COPY, by round: " + ", ".join(f"{ours.rate / bare.rate:.2f}" for ours, bare in pairs))
    print("by processor time: " + ", ".join(f"{bare.processor / ours.processor:.2f}" for ours, bare in pairs))


def prepare() -> None:
    """The tutors and students that sessions refer to."""
    for stream, record in (("tutors", tutor), ("students", student)):
        key = get(stream).key
        _accept(stream, [record(**{key: f"{key}_{i}"}) for i in range(REFERRED)])
        _drain(stream)


def _sessions(prefix: str, number: int) -> list[Record]:
    return [
        session(
            session_id=f"{prefix}{i:07}",
            tutor_id=f"tutor_id_{i % REFERRED}",
            student_id=f"student_id_{i % REFERRED}",
        )
        for i in range(number)
    ]


def _mix(prefix: str, number: int) -> dict[str, list[Record]]:
    """Feedback is on sessions of the mix."""
    sessions = _sessions(prefix, number // 2)
    about = [{name: each[name] for name in ("session_id", "tutor_id", "student_id")} for each in sessions]
    return {
        "tutors": [tutor(tutor_id=f"{prefix}{i:07}") for i in range(number // 20)],
        "students": [student(student_id=f"{prefix}{i:07}") for i in range(number // 5)],
        "sessions": sessions,
        "feedback": [feedback(feedback_id=f"{prefix}{i:07}", **about[i]) for i in range(number // 4)],
    }


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

    _accept("sessions", _sessions(f"s{ROUNDS}_", number))
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


def _accept_all(records: dict[str, list[Record]]) -> None:
    for stream, some in records.items():
        _accept(stream, some)


def _accept(stream: str, records: list[Record]) -> None:
    for start in range(0, len(records), DELIVERY):
        part = records[start : start + DELIVERY]
        accept(get(stream), part, ascii_json(part).encode(), fmt=Delivery.Format.JSON, client="bench")


def _drain_all(records: dict[str, list[Record]]) -> None:
    for stream in records:
        _drain(stream)


def _drain(stream: str) -> None:
    while process_batch(get(stream)):
        pass


def _copy_again(records: dict[str, list[Record]]) -> Spent:
    """COPY, in transactions of a delivery each, of the rows of these records into the same tables, from which they were
    taken out: the same indexes, constraints and references.
    """
    with connection.cursor() as cursor:
        rows = {stream: _take_out(cursor, stream, some) for stream, some in reversed(records.items())}

        def copy() -> None:
            for stream in records:
                for start in range(0, len(rows[stream]), DELIVERY):
                    with cursor.copy(f"COPY {_table(stream)} FROM STDIN") as writer:
                        for row in rows[stream][start : start + DELIVERY]:
                            writer.write_row(row)

        return measured(sum(map(len, records.values())), copy)


def _take_out(cursor: Any, stream: str, records: list[Record]) -> list[tuple[object, ...]]:
    table, key = _table(stream), get(stream).key
    keys = [[record[key] for record in records]]
    cursor.execute(f"SELECT * FROM {table} WHERE {key} = ANY(%s) ORDER BY {key}", keys)
    rows = [_as_sent(row) for row in cursor.fetchall()]
    assert len(rows) == len(records)
    cursor.execute(f"DELETE FROM {table} WHERE {key} = ANY(%s)", keys)
    cursor.execute(f"VACUUM ANALYZE {table}")
    return rows


def _table(stream: str) -> str:
    return get(stream).model._meta.db_table


def _as_sent(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(ascii_json(value) if isinstance(value, list) else value for value in row)

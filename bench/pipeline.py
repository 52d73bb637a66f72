"""The pipeline (validate, enrich, upsert, count) beside bare COPY of the rows that it stored."""

import time
from collections.abc import Callable
from typing import Any

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
    """Prints records/s of `number` new sessions, best and worst of three rounds, for COPY and for the pipeline."""
    for stream, record in (("tutors", tutor), ("students", student)):
        key = get(stream).key
        _accept(stream, [record(**{key: f"{key}_{i}"}) for i in range(REFERRED)])
        _drain(stream)
    rates: dict[str, list[float]] = {"accept": [], "pipeline": [], "COPY": []}
    for round_ in range(ROUNDS):
        records = _sessions(round_, number)
        rates["accept"].append(_rate(number, lambda records=records: _accept("sessions", records)))  # type: ignore[misc]
        rates["pipeline"].append(_rate(number, lambda: _drain("sessions")))
        totals = Delivery.objects.filter(stream="sessions").aggregate(done=Sum(F("inserted")), count=Sum("count"))
        assert totals["done"] == totals["count"] == number * (round_ + 1), totals
        rates["COPY"].append(_copy_again(f"s{round_}_", number))
    for name, found in rates.items():
        print(f"{name:10} {max(found):>9,.0f} records/s best, {min(found):>9,.0f} worst of {ROUNDS}")
    _where_the_time_goes(number)
    ratios = [ours / bare for ours, bare in zip(rates["pipeline"], rates["COPY"], strict=True)]
    print("pipeline / COPY, by round: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))


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


def _rate(number: int, work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return number / (time.perf_counter() - started)


def _accept(stream: str, records: list[dict[str, object]]) -> None:
    for start in range(0, len(records), DELIVERY):
        part = records[start : start + DELIVERY]
        accept(get(stream), part, ascii_json(part).encode(), fmt=Delivery.Format.JSON, client="bench")


def _drain(stream: str) -> None:
    while process_batch(get(stream)):
        pass


def _copy_again(prefix: str, number: int) -> float:
    """Records/s of COPY, in transactions of a delivery each, of a round's rows into the same table, from which they
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

        return _rate(number, copy)


def _as_sent(row: tuple[object, ...]) -> tuple[object, ...]:
    return tuple(ascii_json(value) if isinstance(value, list) else value for value in row)

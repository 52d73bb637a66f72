"""What benchmarks have in common: work in processes beside each other, what it takes, and figures beside aims."""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil

SUMMARY = "BENCH_SUMMARY"
"""The environment variable with the path of a file for `judge`; set by `make bench`."""
Job = Callable[[], Iterator[None]]
"""What it does before its first `yield` is not measured; at each further one the processes wait for each other."""


class Spent(NamedTuple):
    """Of a record: by the clock, and the processor time of our processes and of their connections; microseconds."""

    clock: float
    python: float
    postgresql: float

    @property
    def rate(self) -> float:
        return 1e6 / self.clock

    @property
    def processor(self) -> float:
        return self.python + self.postgresql


def in_processes(records: int, jobs: Sequence[Job], *, when_ready: Callable[[], object] = lambda: None) -> Spent:
    """What it takes until all jobs are done, each in a process of its own with its own connection. `when_ready` is
    called here once all have come to their first `yield`.
    """
    from django.db import connections

    connections.close_all()  # or both sides would speak on them
    context = multiprocessing.get_context("fork")
    start, between = context.Barrier(len(jobs) + 1), context.Barrier(len(jobs))
    results = context.SimpleQueue()
    processes = [context.Process(target=_do, args=(job, start, between, results), daemon=True) for job in jobs]
    for process in processes:
        process.start()
    start.wait()
    when_ready()
    start.wait()
    began = time.perf_counter()
    found = [results.get() for _ in jobs]
    clock = time.perf_counter() - began
    for process in processes:
        process.join()
    if None in found:
        raise RuntimeError("A process of the benchmark has failed.")
    return Spent(*(1e6 * seconds / records for seconds in (clock, *map(sum, zip(*found, strict=True)))))


def _do(job: Job, start: Any, between: Any, results: Any) -> None:
    from django.db import connection

    gc.freeze()
    gc.set_threshold(100_000)  # as workers do
    try:
        connection.ensure_connection()
        server = psutil.Process(connection.connection.info.backend_pid)
        work = job()
        next(work)
        start.wait()
        start.wait()
        python, postgresql = time.process_time(), sum(server.cpu_times()[:2])
        for _ in work:
            between.wait()
        results.put((time.process_time() - python, sum(server.cpu_times()[:2]) - postgresql))
    except BaseException:
        traceback.print_exc()
        results.put(None)
        start.abort()
        between.abort()


def processor(*pids: int) -> float:
    """Seconds of processors that these processes and their children have taken, those that have ended included."""
    roots = [psutil.Process(pid) for pid in pids]
    return sum(_spent_by(process) for root in roots for process in (root, *root.children(recursive=True)))


def _spent_by(process: psutil.Process) -> float:
    """With what its ended children have spent."""
    try:
        return float(sum(process.cpu_times()[:4]))
    except psutil.NoSuchProcess:  # it has just ended
        return 0.0


def table(*columns: str) -> None:
    print("\n" + _row(columns) + "\n" + _row(["---"] * len(columns)), flush=True)


def row(*cells: str) -> None:
    print(_row(cells), flush=True)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def judge(what: str, figures: Sequence[float], *, at_least: float | None = None, at_most: float | None = None) -> None:
    """Prints figures by round beside the aim for their median, and notes it for the summary of `make bench`."""
    reached = at_least is None or median(figures) >= at_least
    reached = reached and (at_most is None or median(figures) <= at_most)
    limits = [f"≥ {at_least:g}" for _ in [0] if at_least is not None]
    limits += [f"≤ {at_most:g}" for _ in [0] if at_most is not None]
    aim = ", ".join(limits) or "none"
    note(what, ", ".join(shown(each) for each in figures), aim, "" if aim == "none" else "yes" if reached else "no")


def shown(figure: float) -> str:
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.2f}"


def note(what: str, figures: str, aim: str = "none", reached: str = "") -> None:
    print(f"{what}: {figures}; aim {aim}{', reached: ' + reached if reached else ''}", flush=True)
    if path := os.environ.get(SUMMARY):
        with Path(path).open("a") as file:
            file.write(json.dumps([what, figures, aim, reached]) + "\n")

"""python -m bench.intake [singles|brief]: what the way in takes over HTTP, beside FastAPI + Redis, from the same client
by turns.

A million records through ours, with the memory of its web processes before and after; then single POSTs and batches to
both, by 16 connections; then to ours with a qcluster at work. With `singles`, single POSTs alone, in more rounds; with
`brief`, single POSTs and the largest batches. What was answered for is counted in the database and in Redis. See
bench/README.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from bench.database import MAKE_KEY, postmaster
from bench.measure import judge, processor
from tests.servers import (
    ROOT,
    Cluster,
    PostgreSQL,
    Process,
    WebServer,
    free_port,
    manage,
    temporary_directory,
    wait_until,
)
from tutoring.synthetic.generate import generate

CONNECTIONS = 16
ROUNDS, ROUNDS_OF_SINGLES = 3, 7
LOADS = {"single": (0, 5_000), "batches of 500": (500, 300), "batches of 5,000": (5_000, 30)}
"""Records in a body (0: one record alone), bodies in a round."""
BRIEFLY = {"singles": (["single"], ROUNDS_OF_SINGLES), "brief": (["single", "batches of 5,000"], ROUNDS)}
MILLION = (5_000, 200)
MIN_SINGLES, MAX_MICROSECONDS = 0.5, 33
"""Of the rate of single POSTs to FastAPI + Redis; of processor time of a record in large batches."""
VENV = ROOT / ".venv" / "bench"


@dataclass(frozen=True, kw_only=True)
class System:
    name: str
    url: str
    web: Process
    store: int
    """The process of the database: its children work for it."""
    kept: Callable[[], int]
    """How many records it has."""
    empty: Callable[[], object]
    loads: tuple[str, ...] = tuple(LOADS)
    authorization: str = ""


@dataclass(frozen=True)
class Result:
    rate: float
    """Records a second."""
    p50: float
    p99: float
    """Milliseconds until the answer."""
    web: float
    store: float
    """Milliseconds of processor for a body."""


@dataclass
class Bench:
    directory: Path
    sessions: Path
    runs: Iterator[int] = field(default_factory=lambda: iter(range(10**6)))

    def load(self, system: System, records: int, bodies: int) -> Result:
        """Posts the bodies and sees that all that was answered for is kept."""
        kept, web, store = system.kept(), processor(system.web.pid), processor(system.store)
        path = "/api/sessions/batch" if records else "/api/sessions"
        options = ("-t1", f"-c{CONNECTIONS}", "-d3600s", "--timeout=600s", f"--script={ROOT / 'bench' / 'post.lua'}")
        arguments = (str(self.sessions), str(records), str(bodies), f"{next(self.runs)}-")
        done = subprocess.run(
            ["wrk", *options, system.url + path, "--", *arguments],
            env=os.environ | {"AUTHORIZATION": system.authorization},
            capture_output=True,
            text=True,
            check=True,
        )
        told = json.loads(done.stdout.splitlines()[-1])
        web, store = processor(system.web.pid) - web, processor(system.store) - store
        number = bodies * max(records, 1)
        assert (told["answered"], told["failed"]) == (bodies, 0), f"{told}\n{system.web.log()}"
        assert system.kept() - kept == number, (system.kept(), kept, number)
        ms = 1000 / bodies
        return Result(number / told["seconds"], told["p50"], told["p99"], web * ms, store * ms)


def main(mode: str = "") -> None:
    missing = [program for program in ("wrk", "redis-server", "redis-cli") if not shutil.which(program)]
    if missing:
        sys.exit(f"Missing: {', '.join(missing)}. On Debian: apt-get install wrk redis-server")
    install()
    # A line of log for each request on neither side; and room for what no qcluster works off.
    os.environ |= {"SECRET_KEY": "of the benchmark", "LOG_LEVEL": "WARNING", "MAX_PENDING_RECORDS": "100000000"}
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(temporary_directory())
        bench = Bench(directory, write_sessions(directory / "sessions"))
        url, ours = start_ours(stack)
        if mode:
            compare(bench, [ours, *start_theirs(stack, directory)], *BRIEFLY[mode])
            return
        bench.load(ours, 0, 300)
        take_a_million(bench, ours)
        compare(bench, [ours, *start_theirs(stack, directory)], list(LOADS), ROUNDS)
        with Cluster(url):
            enrich_meanwhile(bench, ours)


def install() -> None:
    """The other side's virtual environment; again whenever what it is made of has changed."""
    wanted = [ROOT / "bench" / "requirements.txt", ROOT / "requirements.txt"]
    mark = VENV / "installed"
    if mark.exists() and all(mark.stat().st_mtime > path.stat().st_mtime for path in wanted):
        return
    print(f"Installing FastAPI into {VENV} …", flush=True)
    venv.create(VENV, clear=True, with_pip=True)
    pip = (VENV / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    versions = VENV / "versions.txt"  # without the hashes: with them pip would want one of every package
    theirs, ours = (dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE)) for path in wanted)
    versions.write_text("".join(f"{name}=={pin}\n" for name, pin in (ours | theirs).items()))
    subprocess.run([*pip, "--requirement", wanted[0], "--constraint", versions], check=True)
    mark.touch()


def write_sessions(path: Path) -> Path:
    """A line for each session: its JSON after the id."""
    sessions = (record for stream, records in generated() if stream == "sessions" for record in records)
    with path.open("w") as file:
        for record in sessions:
            rest = {name: value for name, value in record.items() if name != "session_id"}
            file.write(f'",{json.dumps(rest, separators=(",", ":"))[1:]}\n')
    return path


def generated() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    return generate(tutors=200, students=800, days=5, seed=1, until=datetime.now(UTC).date())


# ── The two systems ──


def start_ours(stack: contextlib.ExitStack) -> tuple[str, System]:
    """On a PostgreSQL as it is installed, but for its memory; no qcluster, as there is no consumer of Redis either."""
    server = stack.enter_context(PostgreSQL(fsync="on", full_page_writes="on", shared_buffers="256MB"))
    server.start()
    with server.connect() as connection:
        connection.execute("CREATE DATABASE bench")
    url = server.url("bench")
    manage("migrate", "--verbosity=0", database_url=url)
    key = manage("shell", "-v0", "-c", MAKE_KEY, database_url=url).stdout.strip()
    database = stack.enter_context(server.connect("bench"))

    def kept() -> int:
        row = database.execute("SELECT coalesce(sum(count), 0) FROM ingestion_delivery WHERE source = 2").fetchone()
        return int(row[0]) if row else 0

    return url, System(
        name="TutorMax",
        web=(web := stack.enter_context(WebServer(url))),
        url=web.url,
        store=postmaster(server),
        kept=kept,
        empty=lambda: database.execute("TRUNCATE ingestion_delivery CASCADE"),
        authorization=f"Api-Key {key}",
    )


def start_theirs(stack: contextlib.ExitStack, directory: Path) -> list[System]:
    """Redis keeps all in memory and writes nothing to disk. Twice: as the design is, and with the RPUSHes of a batch
    sent together.
    """
    port = str(free_port())
    redis = Process(["redis-server", "--port", port, "--save", "", "--appendonly", "no", "--dir", str(directory)], {})
    stack.enter_context(redis)

    def ask(*words: str) -> str:
        return subprocess.run(["redis-cli", "-p", port, *words], capture_output=True, text=True, check=False).stdout

    wait_until(lambda: ask("ping").strip() == "PONG", "Redis answers")
    systems = []
    for name, pipeline in (("FastAPI + Redis", ""), ("  RPUSHes together", "yes")):
        url = f"http://127.0.0.1:{free_port()}"
        options = ("--workers=2", "--log-level=warning", "--no-access-log", f"--port={url.rpartition(':')[2]}")
        command = (str(VENV / "bin" / "python"), "-m", "uvicorn", *options, "bench.endpoint:app")
        web = stack.enter_context(Process(command, {"REDIS_PORT": port, "PIPELINE": pipeline}))
        wait_until(partial(answers, web, f"{url}/health"), "uvicorn answers")
        systems.append(
            System(
                name=name,
                url=url,
                web=web,
                store=redis.pid,
                kept=lambda: int(ask("llen", "sessions")),
                empty=lambda: ask("flushall"),
                loads=tuple(load for load in LOADS if load != "single" or not pipeline),
            )
        )
    return systems


def answers(web: Process, url: str) -> bool:
    assert web.popen.poll() is None, web.log()
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


# ── What is measured ──


def compare(bench: Bench, systems: list[System], loads: list[str], rounds: int) -> None:
    for system in systems:
        bench.load(system, 0, 300)
        bench.load(system, 500, 4)
        system.empty()
    for name in loads:
        records, bodies = LOADS[name]
        taking_part = [system for system in systems if name in system.loads]
        results: dict[str, list[Result]] = {system.name: [] for system in taking_part}
        for round_ in range(rounds):
            for system in taking_part if round_ % 2 == 0 else reversed(taking_part):
                results[system.name].append(bench.load(system, records, bodies))
                system.empty()
        tell(name, results)


def tell(name: str, results: dict[str, list[Result]]) -> None:
    unit = "POSTs/s" if name == "single" else "records/s"
    print(f"\n{name + ', ' + unit:28} median     low    high   p50 ms   p99 ms   web CPU ms   store CPU ms", flush=True)
    for system, found in results.items():
        rates = [result.rate for result in found]
        columns = [statistics.median(getattr(result, of) for result in found) for of in ("p50", "p99", "web", "store")]
        numbers = f"{statistics.median(rates):7,.0f} {min(rates):7,.0f} {max(rates):7,.0f}"
        print(f"{system:27} {numbers} {columns[0]:8.1f} {columns[1]:8.1f} {columns[2]:12.2f} {columns[3]:14.2f}")
    ours, *others = results.items()
    for system, theirs in others:
        pairs = list(zip(ours[1], theirs, strict=True))
        ratios = [mine.rate / other.rate for mine, other in pairs]
        of_processor = [(other.web + other.store) / (mine.web + mine.store) for mine, other in pairs]
        of = f"{name}, {ours[0]} / {system.strip()}"
        judge(f"{of}, by the clock", ratios, at_least=MIN_SINGLES if name == "single" else None)
        judge(f"{of}, by processor time", of_processor)
    if records := LOADS[name][0]:
        microseconds = [1000 * (result.web + result.store) / records for result in ours[1]]
        judge(f"{name}, µs of processors a record", microseconds, at_most=MAX_MICROSECONDS if records > 500 else None)


def take_a_million(bench: Bench, system: System) -> None:
    records, bodies = MILLION
    before = memory(system.web)
    result = bench.load(system, records, bodies)
    after = memory(system.web)
    system.empty()
    print(f"{records * bodies:,} records in batches of {records:,}: {result.rate:,.0f} records/s")
    print(
        "web processes, MB of their own: " + ", ".join(f"{b:.0f} → {a:.0f}" for b, a in zip(before, after, strict=True))
    )


def enrich_meanwhile(bench: Bench, system: System) -> None:
    """The same with a qcluster at work, on records whose tutors and students are there."""
    for stream, people in generated():
        if stream in ("tutors", "students"):
            post(system, stream, people)
    print("\nwith a qcluster at work")
    for name, (records, bodies) in LOADS.items():
        result = bench.load(system, records, bodies)
        print(f"{name:27} {result.rate:7,.0f} a second, p50 {result.p50:.1f} ms, p99 {result.p99:.1f} ms", flush=True)


def post(system: System, stream: str, records: list[dict[str, Any]]) -> None:
    headers = {"Authorization": system.authorization, "Content-Type": "application/json"}
    request = urllib.request.Request(f"{system.url}/api/{stream}/batch", json.dumps(records).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        assert json.load(response)["count"] == len(records)


def memory(web: Process) -> list[float]:
    """Megabytes that each process has for itself: the main one, then its workers."""
    root = psutil.Process(web.pid)
    return [process.memory_full_info().uss / 1e6 for process in (root, *root.children())]


if __name__ == "__main__":
    main(*sys.argv[1:])

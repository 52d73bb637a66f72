"""The faults: each strikes, lasts, and heals before it returns what it has seen."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import psutil
import psycopg
from redis.exceptions import RedisError

from faults.disks import full
from faults.system import Service, System, signal_all
from faults.upgrade import upgrade_for
from standins import server as standin

Strike = Callable[[System, Random], str]
CLOCK = 120
"""Seconds that a clock is ahead."""
TABLES = ("tutoring_student", "tutoring_tutor", "tutoring_tutoringsession")


@dataclass(frozen=True)
class Kind:
    name: str
    strike: Strike
    missing: Callable[[System], str] = lambda system: ""
    """Why it cannot be tried here; empty: it can."""


# ── Processes ──


def kill_worker(system: System, rng: Random) -> str:
    """Any of the cluster's children: a worker at work or idle, the monitor, the pusher."""
    workers = rng.choice(system.clusters).workers()
    if not workers:
        return "was just starting"
    signal_all([rng.choice(workers)], signal.SIGKILL)
    return ""


def kill_cluster(system: System, rng: Random) -> str:
    rng.choice(system.clusters).send(signal.SIGKILL)
    return ""


def kill_main_process(system: System, rng: Random) -> str:
    """Its children live on until the supervisor kills what is left."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(rng.choice(system.clusters).pid, signal.SIGKILL)
    return ""


def kill_all_clusters(system: System, rng: Random) -> str:
    for cluster in system.clusters:
        cluster.send(signal.SIGKILL)
    return ""


def kill_web_server(system: System, rng: Random) -> str:
    system.web.send(signal.SIGKILL)
    return ""


def kill_web_worker(system: System, rng: Random) -> str:
    """One of gunicorn's processes, with the requests in it."""
    children = _children(system.web)
    signal_all(rng.sample(children, min(1, len(children))), signal.SIGKILL)
    return ""


def freeze_cluster(system: System, rng: Random) -> str:
    """For longer than CLAIM_LEASE: others take over its claims before it goes on."""
    cluster = rng.choice(system.clusters)
    cluster.send(signal.SIGSTOP)
    time.sleep(rng.uniform(5, 7))
    cluster.send(signal.SIGCONT)
    return ""


def _children(service: Service) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(service.pid).children()
    return []


# ── The database ──


def stop_postgresql(system: System, rng: Random) -> str:
    """As in a crash: what was not committed is gone, and it recovers when it starts."""
    assert system.postgres
    with system.postgres_lock:
        system.postgres.stop("immediate")
        time.sleep(rng.uniform(0.5, 4))
        system.postgres.start()
    return ""


def freeze_postgresql(system: System, rng: Random) -> str:
    with system.postgres_lock:
        processes = system.postgres_processes()
        signal_all(processes, signal.SIGSTOP)
        time.sleep(rng.uniform(2, 6))
        signal_all(processes, signal.SIGCONT)
    return ""


def cut_connections(system: System, rng: Random) -> str:
    cut = 0
    with system.postgres_lock, system.connect() as connection:
        for _ in range(rng.randint(1, 5)):
            [(number,)] = connection.execute(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            ).fetchall()
            cut += number
            time.sleep(rng.uniform(0.1, 0.8))
    return f"{cut} connections"


def cancel_statements(system: System, rng: Random) -> str:
    """SQLSTATE 57014, as when a statement takes too long."""
    cancelled = 0
    with system.postgres_lock, system.connect() as connection:
        for _ in range(200):
            [(number,)] = connection.execute(
                "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity "
                "WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()"
            ).fetchall()
            cancelled += number
            time.sleep(0.01)
    return f"{cancelled} statements"


def provoke_deadlocks(system: System, rng: Random) -> str:
    """Another session locks rows and tables against the order of ours, and is never the victim itself."""
    with system.postgres_lock, system.connect() as watch:
        before = _deadlocks(watch)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            with contextlib.suppress(psycopg.Error), system.connect() as other, other.transaction():
                other.execute("SET LOCAL deadlock_timeout = '30s'")
                other.execute("LOCK TABLE enrichment_heldrecord, enrichment_minutestat IN SHARE ROW EXCLUSIVE MODE")
                time.sleep(rng.uniform(0.05, 0.3))
                other.execute("LOCK TABLE tutoring_student, tutoring_tutor IN SHARE ROW EXCLUSIVE MODE")
                other.execute("LOCK TABLE ingestion_delivery IN SHARE ROW EXCLUSIVE MODE")
        watch.execute("SELECT pg_stat_clear_snapshot()")
        time.sleep(0.6)  # statistics are written twice a second
        return f"{_deadlocks(watch) - before} deadlocks"


def _deadlocks(connection: psycopg.Connection) -> int:
    [(number,)] = connection.execute(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ).fetchall()
    return int(number)


def lock_a_table(system: System, rng: Random) -> str:
    """For longer than lock_timeout: SQLSTATE 55P03."""
    with system.postgres_lock, system.connect() as other, other.transaction():
        table = rng.choice(TABLES)
        other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        time.sleep(rng.uniform(5.5, 7))
    return table


def fail_serialization(system: System, rng: Random) -> str:
    """New transactions are serializable for a while: SQLSTATE 40001 where two of them meet."""
    with system.postgres_lock, system.connect() as connection:
        before = _rollbacks(connection)
        for setting, seconds in (("= 'serializable'", 5.0), ("TO DEFAULT", 0.0)):
            change = f"ALTER DATABASE {connection.info.dbname} SET default_transaction_isolation {setting}"
            connection.execute(change.encode())
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            time.sleep(seconds)
        time.sleep(0.6)
        return f"{_rollbacks(connection) - before} transactions rolled back"


def _rollbacks(connection: psycopg.Connection) -> int:
    [(number,)] = connection.execute(
        "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
    ).fetchall()
    return int(number)


def change_schema(system: System, rng: Random) -> str:
    """To that of a next version, while this one works, and back again."""
    with system.postgres_lock:
        upgrade_for(rng.uniform(2, 4))
    return ""


def no_server(system: System) -> str:
    return no_postgresql(system) or ("" if system.postgres else "PostgreSQL is not ours")


def no_postgresql(system: System) -> str:
    return "the database is SQLite" if system.is_sqlite else ""


def no_disk(system: System) -> str:
    return "" if system.disk else "no file system could be mounted (needs root)"


def no_log_disk(system: System) -> str:
    return no_postgresql(system) or ("" if system.log_disk else "no file system could be mounted (needs root)")


def fill_disk(system: System, rng: Random) -> str:
    """That of the tables, not that of the log in which PostgreSQL writes first: SQLSTATE 53100."""
    assert system.disk
    with system.postgres_lock, full(system.disk):
        time.sleep(rng.uniform(3, 5))
    return ""


def fill_log_disk(system: System, rng: Random) -> str:
    """That of PostgreSQL's log: it crashes with the first record for which there is no space, and cannot start again
    until there is.
    """
    assert system.postgres and system.log_disk
    with system.postgres_lock:
        with full(system.log_disk):
            until = time.monotonic() + rng.uniform(3, 5)
            while time.monotonic() < until:
                with contextlib.suppress(psycopg.Error), system.connect() as connection:
                    connection.execute("SELECT pg_switch_wal()")
                time.sleep(0.1)
            seen = "it went on" if system.accepts() else "it stopped"
        while not system.accepts():
            if not system.postgres.is_running():
                system.postgres.start()
            time.sleep(0.1)
    return seen


# ── The task queue, clocks ──


def empty_task_queue(system: System, rng: Random) -> str:
    for _ in range(10):
        with contextlib.suppress(psycopg.Error, sqlite3.Error):  # other faults may cut it, too
            system.delete_from("django_q_ormq")
        time.sleep(0.3)
    return ""


def flush_redis(system: System, rng: Random) -> str:
    assert system.redis
    flushed = 0
    for _ in range(10):
        with contextlib.suppress(RedisError), system.redis.connect() as redis:  # it may be stopped, too
            flushed += redis.dbsize()
            redis.flushall()
        time.sleep(0.3)
    return f"{flushed} queues with tasks"


def stop_redis(system: System, rng: Random) -> str:
    assert system.redis
    system.redis.stop()
    time.sleep(rng.uniform(2, 6))
    system.redis.start()
    return ""


def no_redis(system: System) -> str:
    return "" if system.redis else "the task queue is in the database, without --broker redis"


def no_table(system: System) -> str:
    return "the task queue is in Redis" if system.redis else ""


def delete_doorbell(system: System, rng: Random) -> str:
    system.delete_from("ingestion_doorbell", "django_q_ormq")
    return ""


def clock_ahead(system: System, rng: Random) -> str:
    """Of one cluster or of the web server."""
    service = rng.choice(system.services)
    service.restart(CLOCK_AHEAD=str(CLOCK))
    time.sleep(6)
    service.restart()
    return service.name


# ── Services that are asked ──


def break_providers(system: System, rng: Random) -> str:
    """Each fails in a way of its own for some seconds."""
    ways: dict[str, Callable[[], standin.Fault]] = {
        "503": lambda: standin.error(503),
        "429": lambda: standin.error(429, Retry_After="1"),
        "cut": lambda: standin.cut(rng.choice((0, 0.5))),
        "no JSON": standin.not_json,
        "half of its JSON": standin.broken_json,
        "9 MB": standin.too_big,
        "slow": lambda: standin.slow(2.0),
    }
    chosen = {name: rng.choice(list(ways)) for name in system.providers}
    for name, way in chosen.items():
        system.providers[name].fail(ways[way](), times=None)
    time.sleep(rng.uniform(2, 5))
    for server in system.providers.values():
        server.heal()
    return ", ".join(f"{name}: {way}" for name, way in chosen.items())


def strike_nothing(system: System, rng: Random) -> str:
    """The poisoned record is among those that the client posts."""
    return ""


POISONED = Kind("a record kills its worker", strike_nothing)
KINDS = (
    Kind("worker killed", kill_worker),
    Kind("cluster killed", kill_cluster),
    Kind("main process of a cluster killed", kill_main_process),
    Kind("both clusters killed", kill_all_clusters),
    Kind("web server killed", kill_web_server),
    Kind("process of the web server killed", kill_web_worker),
    Kind("cluster frozen", freeze_cluster),
    Kind("PostgreSQL crashed", stop_postgresql, no_server),
    Kind("PostgreSQL frozen", freeze_postgresql, no_server),
    Kind("connections cut", cut_connections, no_postgresql),
    Kind("statements cancelled", cancel_statements, no_postgresql),
    Kind("deadlocks", provoke_deadlocks, no_postgresql),
    Kind("table locked", lock_a_table, no_postgresql),
    Kind("serialization failures", fail_serialization, no_postgresql),
    Kind("disk full", fill_disk, no_disk),
    Kind("disk of PostgreSQL's log full", fill_log_disk, no_log_disk),
    Kind("newer schema", change_schema, no_postgresql),
    Kind("task queue emptied", empty_task_queue, no_table),
    Kind("Redis flushed", flush_redis, no_redis),
    Kind("Redis stopped", stop_redis, no_redis),
    Kind("doorbell deleted", delete_doorbell),
    Kind("clock 2 min ahead", clock_ahead),
    Kind("providers broken", break_providers),
    POISONED,
)


@dataclass
class Struck:
    """A fault of a run, and what came of it."""

    kind: Kind
    at: float
    """Seconds after the run's start."""
    seen: str = ""
    error: str = ""

    def __str__(self) -> str:
        return f"{self.kind.name} ({self.seen})" if self.seen else self.kind.name


def choose(rng: Random, number: int, seed: int, kinds: Sequence[Kind], seconds: float) -> list[Struck]:
    """So many faults at random instants; the first of them by turns, so that each kind comes once in so many runs."""
    first = kinds[seed % len(kinds)]
    others = rng.sample([kind for kind in kinds if kind is not first], number - 1)
    return [Struck(kind, rng.uniform(1, seconds)) for kind in (first, *others)]


@contextlib.contextmanager
def striking(system: System, faults: list[Struck], rng: Random) -> Iterator[None]:
    """Has each fault strike at its instant; at the end all of them have healed."""
    threads = []
    for fault in faults:
        seed = rng.random()

        def strike(fault: Struck = fault, seed: float = seed) -> None:
            time.sleep(fault.at)
            try:
                fault.seen = fault.kind.strike(system, Random(seed))
            except Exception as error:  # one that could not strike, since another was faster
                fault.error = f"{type(error).__name__}: {error}".splitlines()[0]

        threads.append(threading.Thread(target=strike))
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()

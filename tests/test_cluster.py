"""The whole system as processes: web server, database and qcluster, each of which may fail."""

from __future__ import annotations

import contextlib
import signal
import time
import urllib.error
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import psycopg
import pytest

from tests import forks
from tests.posting import Client, stored
from tests.servers import PATIENCE, Cluster, PostgreSQL, WebServer, manage, wait_until
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.postgresql


def quick(url: str, **environment: str) -> Cluster:
    """One that notices soon what has ended; forked, since some tests start one after the other."""
    environment = {"CLAIM_LEASE": "3", "SWEEP_INTERVAL": "1", **environment}
    forks.load(database_url=url, **environment)
    return Cluster(url, **environment)


@pytest.fixture
def system(new_database: Callable[[], str]) -> Iterator[tuple[str, Client]]:
    """(address of the database, client) of a running web server; the test starts the clusters."""
    url = new_database()
    with WebServer(url) as web:
        yield url, Client(web, url)


def world(number: int) -> list[tuple[str, list[dict[str, Any]]]]:
    """Linked records of every stream, children first."""
    keys = [{"session_id": f"s{i}", "tutor_id": f"t{i}", "student_id": f"u{i}"} for i in range(number)]
    return [
        ("feedback", [feedback(feedback_id=f"f{i}", **key) for i, key in enumerate(keys)]),
        ("sessions", [session(**key) for key in keys]),
        ("students", [student(student_id=key["student_id"]) for key in keys]),
        ("tutors", [tutor(tutor_id=key["tutor_id"]) for key in keys]),
    ]


def open_held(url: str) -> int:
    with psycopg.connect(url) as connection:
        query = "SELECT count(*) FROM enrichment_heldrecord WHERE status IN ('waiting', 'dead')"
        return int(connection.execute(query).fetchone()[0])  # type: ignore[index]


def test_records_posted_are_stored_by_the_cluster(system: tuple[str, Client]) -> None:
    url, client = system
    with Cluster(url):
        for stream, records in world(50):
            client.post(stream, *records)
        wait_until(lambda: set(stored(url).values()) == {50}, "everything is stored")
        assert client("/api/sessions/s7")["is_weekend"] in (True, False)
        assert client("/health")["status"] == "healthy"
    assert open_held(url) == 0


def test_a_running_task_ends_in_good_order(system: tuple[str, Client]) -> None:
    url, client = system
    with Cluster(url) as cluster:
        client.post("tutors", tutor())
        wait_until(lambda: stored(url)["tutors"], "the cluster works")
        for stream, records in world(300):
            client.post(stream, *records)
        cluster.popen.send_signal(signal.SIGTERM)
        assert cluster.popen.wait(PATIENCE) == 0
    with psycopg.connect(url) as connection:
        marks = connection.execute("SELECT count(*) FROM ingestion_delivery WHERE started_at IS NOT NULL").fetchone()
    assert marks == (0,)


def test_django_q_s_rows_may_be_deleted(system: tuple[str, Client]) -> None:
    url, client = system
    with psycopg.connect(url, autocommit=True) as connection, quick(url):
        for stream, records in world(20):
            client.post(stream, *records)
            connection.execute("DELETE FROM django_q_ormq")
        wait_until(lambda: set(stored(url).values()) == {20}, "everything is stored")


def test_postgresql_stops_and_starts_in_mid_run(postgres: PostgreSQL) -> None:
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE run")
    url = postgres.url("run")
    manage("migrate", "--verbosity=0", database_url=url)
    with WebServer(url) as web, contextlib.ExitStack() as stack:
        client = Client(web, url)
        cluster = stack.enter_context(quick(url))

        def all_stored() -> bool:
            nonlocal cluster
            cluster = _alive(stack, cluster, url)
            return stored(url)["tutors"] >= 2000

        for i in range(40):
            client.post("tutors", *(tutor(tutor_id=f"t{i}_{j}") for j in range(50)))
            if i in (10, 25):
                postgres.stop("immediate" if i == 10 else "fast")
                with pytest.raises(urllib.error.HTTPError) as away:
                    client("/api/tutors", tutor())
                with away.value:
                    assert (away.value.code, away.value.headers["Retry-After"]) == (503, "5")
                time.sleep(1)  # the outage lasts
                postgres.start()
            cluster = _alive(stack, cluster, url)
        wait_until(all_stored, "everything is stored", timeout=3 * PATIENCE, every=0.5)
        assert stored(url)["tutors"] == 2000
        assert open_held(url) == 0
        wait_until(client.idle, "nothing is pending")


def _alive(stack: contextlib.ExitStack, cluster: Cluster, url: str) -> Cluster:
    """The cluster, or as a supervisor does a new one in its place."""
    return cluster if cluster.popen.poll() is None else stack.enter_context(quick(url))


def test_an_idle_worker_killed_hangs_nothing_for_long(system: tuple[str, Client]) -> None:
    """kill -9 of the worker that waits at the task queue leaves its lock taken; the watch ends the cluster."""
    url, client = system
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(quick(url, WATCH_PATIENCE="6"))
        wait_until(lambda: client("/health")["cluster"], "the cluster has answered")
        for process in psutil.Process(cluster.pid).children(recursive=True):
            if process.pid != psutil.Process(cluster.pid).children()[0].pid:
                process.kill()
        client.post("tutors", tutor())

        def recovered() -> bool:
            nonlocal cluster
            if cluster.popen.poll() is not None:
                assert cluster.popen.returncode == 1
                cluster = stack.enter_context(quick(url, WATCH_PATIENCE="6"))
            return stored(url)["tutors"] == 1

        wait_until(recovered, "the record is stored all the same")


@pytest.mark.parametrize("number", [0, 1], ids=["worker", "monitor"])
def test_a_process_that_cannot_be_replaced_ends_its_cluster(system: tuple[str, Client], number: int) -> None:
    """Beside another cluster, whose heartbeat hides that this one is deaf: at once, not after WATCH_PATIENCE."""
    url, client = system
    with Cluster(url, WORKERS="1"), Cluster(url, WORKERS="1") as cluster:
        wait_until(lambda: client("/health")["cluster"], "a cluster has answered")

        def processes() -> list[psutil.Process]:
            """The idle worker, monitor and pusher, in the order of their start."""
            [sentinel] = psutil.Process(cluster.pid).children() or [psutil.Process(cluster.pid)]
            found = sorted(sentinel.children(), key=lambda each: (each.create_time(), each.pid))
            return found if len(found) == 3 else []

        wait_until(processes, "the processes are there")
        time.sleep(1)  # the worker has come to the queue
        processes()[number].kill()
        assert cluster.popen.wait(PATIENCE) == 1
        client.post("tutors", tutor())
        wait_until(lambda: stored(url)["tutors"] == 1, "the other cluster works")


def test_a_worker_killed_while_it_watches_is_replaced_and_rung_for(system: tuple[str, Client]) -> None:
    """Records that come meanwhile ring nobody, and here no sweep comes to their help."""
    url, client = system
    with (
        Cluster(url, WORKERS="1", SWEEP_INTERVAL="3600", WATCH_PATIENCE="7200") as cluster,
        psycopg.connect(url, autocommit=True) as connection,
    ):
        query = """
            SELECT watched_until > now(), watched_until > now() + interval '0.5 s', (SELECT count(*) FROM django_q_ormq)
            FROM ingestion_doorbell
        """

        def watches() -> bool:
            watched, for_a_while, tasks = connection.execute(query).fetchone() or (False, False, 0)
            if not watched and not tasks:
                client.post("tutors", tutor())
            return bool(for_a_while) and tasks == 1  # its own: no other will be run

        wait_until(watches, "the worker watches")
        [sentinel] = psutil.Process(cluster.pid).children()
        min(sentinel.children(), key=lambda each: (each.create_time(), each.pid)).kill()
        connection.execute(
            "UPDATE ingestion_doorbell SET watched_until = now() + interval '9 s'"
        )  # however slow we are
        client.post("students", student())
        wait_until(lambda: stored(url)["students"] == 1, "the record is stored")


def test_an_outage_longer_than_the_watch_s_patience_ends_no_cluster(postgres: PostgreSQL) -> None:
    """One that cannot start meanwhile says so in a line, and ends for its supervisor to try again."""
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE run")
    url = postgres.url("run")
    manage("migrate", "--verbosity=0", database_url=url)
    with WebServer(url) as web, quick(url, WATCH_PATIENCE="5") as cluster:
        client = Client(web, url)
        wait_until(lambda: client("/health")["cluster"], "the cluster has answered")
        postgres.stop("fast")
        with Cluster(url) as late:
            time.sleep(9)
            assert late.popen.wait(PATIENCE) == 1
        assert "CommandError: Q Cluster" in late.log()
        assert "RuntimeError" not in late.log()
        postgres.start()
        client.post("tutors", tutor())
        wait_until(lambda: stored(url)["tutors"] == 1, "the record is stored")
        assert cluster.popen.poll() is None, cluster.log()


def test_what_was_answered_202_survives_a_crash_of_everything(postgres: PostgreSQL) -> None:
    """P1: web server and database are killed while clients post."""
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE run")
    url = postgres.url("run")
    manage("migrate", "--verbosity=0", database_url=url)
    answered: list[int] = []

    def post(number: int) -> None:
        with contextlib.suppress(OSError):
            while True:
                answered.append(client.post("tutors", tutor(tutor_id=f"t{number}_{len(answered)}")))

    with WebServer(url) as web:
        client = Client(web, url)
        with ThreadPoolExecutor() as pool:
            for number in range(4):
                pool.submit(post, number)
            wait_until(lambda: len(answered) > 100, "100 deliveries are accepted")
            postgres.stop("immediate")
            web.kill()
    postgres.start()
    with psycopg.connect(url) as connection:
        kept = {pk for (pk,) in connection.execute("SELECT id FROM ingestion_delivery").fetchall()}
    assert set(answered) <= kept

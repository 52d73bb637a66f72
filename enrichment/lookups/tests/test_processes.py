"""Several processes ask one provider, and some of them are killed."""

from __future__ import annotations

import signal
import time
from collections import Counter

import pytest
from django.db import transaction

from enrichment.lookups import want
from enrichment.lookups.models import Lookup, ProviderState
from standins.server import Server, busiest
from tests.oracle import PROGRAM
from tests.servers import PATIENCE, Process, wait_until
from tests.workers import database_url

pytestmark = pytest.mark.django_db(transaction=True)


def start(server: Server, rate: str, *command: str, **environment: str) -> Process:
    return Process((*PROGRAM, server.url, rate, *command), {"DATABASE_URL": database_url(), **environment})


def kill(process: Process) -> None:
    process.popen.send_signal(signal.SIGKILL)
    process.popen.wait()


def ask(number: int) -> None:
    with transaction.atomic():
        want("oracle", "age", [f"k{n:03}" for n in range(number)])


def test_three_processes_stay_within_the_limit(server: Server) -> None:
    ask(30)
    processes = [start(server, "20/4", "lookups", "run") for _ in range(3)]
    for process in processes:
        assert process.popen.wait(3 * PATIENCE) == 0, process.log()
        process.stop()
    assert set(Lookup.objects.values_list("status", flat=True)) == {"found"}
    assert Lookup.objects.filter(kind="detail").count() == 30
    assert Counter(Counter((a.path, a.query["q"]) for a in server.arrivals).values()) == {1: 60}
    assert busiest([arrival.at for arrival in server.arrivals], 4) <= 20


def test_what_is_stored_is_not_asked_again_after_a_kill(server: Server) -> None:
    ask(60)
    processes = [start(server, "40/1", "lookups", "run", CLAIM_LEASE="3") for _ in range(3)]
    wait_until(lambda: len(server.arrivals) > 20, "they are asking")
    kill(processes[0])
    wait_until(lambda: len(server.arrivals) > 40, "the others go on")
    kill(processes[1])
    killed_at = time.monotonic()
    stored = set(Lookup.objects.filter(status="found").values_list("kind", "key"))
    assert 0 < len(stored) < 120
    assert processes[2].popen.wait(3 * PATIENCE) == 0, processes[2].log()
    for process in processes:
        process.stop()
    assert set(Lookup.objects.values_list("status", "claim")) == {("found", "")}
    assert Lookup.objects.filter(kind="detail").count() == 60
    assert Lookup.objects.filter(kind="age", next__kind="detail").count() == 60
    later = {(a.path[1:], a.query["q"]) for a in server.arrivals if a.at > killed_at + 0.5}
    assert not later & stored
    asked = Counter((a.path, a.query["q"]) for a in server.arrivals)
    assert sum(asked.values()) - len(asked) <= 2 * 16  # at most what the two had under way


def test_qcluster_asks_beside_its_workers_and_stops_within_seconds(server: Server) -> None:
    ask(300)
    with start(server, "10/1", "qcluster") as cluster:
        wait_until(lambda: Lookup.objects.filter(status="found").count() > 5, "it is asking")
        assert ProviderState.objects.get(provider="oracle").last_run_at is not None
        started = time.monotonic()
        cluster.stop()
        assert time.monotonic() - started < 15
        assert cluster.popen.returncode == 0
    assert not Lookup.objects.exclude(claim="").exists()
    arrivals = len(server.arrivals)
    assert Lookup.objects.filter(status="found").count() >= arrivals - 16

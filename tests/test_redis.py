"""With REDIS_URL the task queue is in Redis. It only wakes the workers: stopped, flushed or with strangers' tasks, it
costs no record.
"""

from __future__ import annotations

import base64
import logging
import os
import pickle
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.db.models.functions import Now
from django_q.conf import Conf
from django_q.signing import SignedPackage
from django_q.tasks import async_task
from pytest_django import Settings

from api.metrics import system_metrics
from enrichment.cluster import redis_broker
from enrichment.cluster.broker import TASKS
from enrichment.cluster.redis_broker import RedisBroker
from ingestion import doorbell
from ingestion.models import Doorbell
from tests.posting import Client, stored
from tests.records import counts, deliver
from tests.servers import Cluster, RedisServer, WebServer, wait_until
from tutoring.tests.factories import student, tutor

QUICK = {"CLAIM_LEASE": "3", "SWEEP_INTERVAL": "1"}
LIST = f"django_q:{Conf.CLUSTER_NAME}:q"


@pytest.fixture
def system(new_database: Callable[[], str], redis: RedisServer) -> Iterator[tuple[str, Client, dict[str, str]]]:
    """(address of the database, client, environment) of a web server; the test starts the clusters."""
    environment = {"database_url": new_database(), "REDIS_URL": redis.url}
    with WebServer(**environment) as web:
        yield environment["database_url"], Client(web, environment["database_url"]), environment


@pytest.mark.postgresql
def test_records_are_stored_by_tasks_in_redis_also_when_a_worker_is_killed(
    system: tuple[str, Client, dict[str, str]],
) -> None:
    """While it watches: the cluster replaces it and rings, since here no sweep does."""
    url, client, environment = system
    alone = {"WORKERS": "1", "SWEEP_INTERVAL": "3600", "WATCH_PATIENCE": "7200"}
    with Cluster(**environment, **alone) as cluster, psycopg.connect(url, autocommit=True) as connection:
        client.post("tutors", tutor())
        wait_until(lambda: stored(url)["tutors"] == 1, "the first is stored")
        assert client("/health")["cluster"] is True
        assert connection.execute("SELECT count(*) FROM django_q_ormq").fetchone() == (0,)
        assert connection.execute("SELECT count(*) FROM enrichment_clusterstatus").fetchone() == (1,)

        def watches() -> bool:
            client.post("tutors", tutor())
            time.sleep(0.2)
            query = "SELECT watched_until > now() + interval '0.5 s' FROM ingestion_doorbell"
            return bool((connection.execute(query).fetchone() or [False])[0])

        wait_until(watches, "the worker watches")
        [sentinel] = psutil.Process(cluster.pid).children()
        min(sentinel.children(), key=lambda each: (each.create_time(), each.pid)).kill()
        connection.execute("UPDATE ingestion_doorbell SET watched_until = now() + interval '9 s'")
        client.post("students", student())
        wait_until(lambda: stored(url)["students"] == 1, "the record is stored")


@pytest.mark.postgresql
def test_redis_stopped_keeps_nobody_from_accepting_or_storing(
    system: tuple[str, Client, dict[str, str]], redis: RedisServer
) -> None:
    url, client, environment = system
    with Cluster(**environment, **QUICK) as cluster:
        client.post("tutors", tutor(tutor_id="before"))
        wait_until(lambda: stored(url)["tutors"] == 1, "it is stored")
        redis.stop()
        for number in range(20):
            client.post("tutors", tutor(tutor_id=f"meanwhile {number}"))
        wait_until(lambda: stored(url)["tutors"] == 21, "they are stored meanwhile")
        redis.start()
        client.post("tutors", tutor(tutor_id="after"))
        wait_until(lambda: stored(url)["tutors"] == 22, "it is stored")
        wait_until(lambda: "Redis is back" in cluster.log(), "the pusher has noticed")
        assert cluster.popen.poll() is None
        assert "Traceback" not in cluster.log()


@pytest.mark.postgresql
def test_a_cluster_starts_while_redis_is_away(system: tuple[str, Client, dict[str, str]], redis: RedisServer) -> None:
    url, client, environment = system
    redis.stop()
    client.post("tutors", tutor())
    with Cluster(**environment):
        wait_until(lambda: stored(url)["tutors"] == 1, "it is stored")


@pytest.mark.postgresql
def test_redis_flushed_is_made_up_for_by_the_sweep(
    system: tuple[str, Client, dict[str, str]], redis: RedisServer
) -> None:
    url, client, environment = system
    client.post("tutors", tutor())
    assert redis.connect().llen(LIST) == 1
    redis.connect().flushall()
    with Cluster(**environment, **QUICK):
        wait_until(lambda: stored(url)["tutors"] == 1, "it is stored")


@pytest.mark.postgresql
def test_a_redis_that_is_full_keeps_nobody_from_storing(
    system: tuple[str, Client, dict[str, str]], redis: RedisServer
) -> None:
    """It takes no task, and still says that there is none. Here no later sweep comes to help."""
    url, client, environment = system
    with Cluster(**environment, SWEEP_INTERVAL="3600", WATCH_PATIENCE="7200") as cluster:
        client.post("tutors", tutor(tutor_id="before"))
        wait_until(lambda: stored(url)["tutors"] == 1, "it is stored")
        redis.connect().config_set("maxmemory-policy", "noeviction")
        redis.connect().config_set("maxmemory", 1)
        time.sleep(3)  # nobody watches any more
        client.post("tutors", tutor(tutor_id="meanwhile"))
        wait_until(lambda: stored(url)["tutors"] == 2, "it is stored meanwhile", timeout=30)
        assert "Traceback" not in cluster.log()


# ── The broker alone ──


@pytest.fixture
def broker(redis: RedisServer, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisBroker]:
    """By which this process rings, too."""
    settings.REDIS_URL = redis.url
    monkeypatch.setattr(Conf, "BROKER_CLASS", "enrichment.cluster.redis_broker.RedisBroker")
    monkeypatch.setattr(RedisBroker, "tried_again_at", 0.0)
    RedisBroker.get_connection.cache_clear()
    yield RedisBroker()
    RedisBroker.get_connection.cache_clear()


def test_our_own_tasks_are_run_and_no_others(
    broker: RedisBroker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for task in TASKS:
        async_task(task, broker=broker)
        [(_, payload)] = broker.dequeue() or []
        assert SignedPackage.loads(payload)["func"] == task
    poison = tmp_path / "done"
    async_task("os.mkdir", str(poison), broker=broker)
    broker.enqueue(base64.b64encode(pickle.dumps(Poison(poison))).decode())
    broker.connection.rpush(LIST, b"\xff\x00")
    assert [broker.dequeue() for _ in range(3)] == [None] * 3
    assert len([record for record in caplog.records if record.levelno == logging.CRITICAL]) == 3
    assert broker.queue_size() == 0
    assert not poison.exists()


class Poison:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.django_db(transaction=True)
def test_while_redis_is_away_records_are_accepted_and_looked_for(
    broker: RedisBroker, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Doorbell.objects.update(rung_at=None, watched_until=None)
    assert (broker.ping(), broker.dequeue()) == (True, None)
    redis.stop()
    assert counts(deliver("tutors", tutor())) == {"pending": 1}
    assert doorbell.state() == (True, False), "only one in ten seconds tries"
    assert not broker.ping()
    for _ in range(2):
        [(number, payload)] = broker.dequeue() or []
        assert (number, SignedPackage.loads(payload)["func"]) == (None, doorbell.DRAIN_TASK)
    assert len([record for record in caplog.records if record.name == redis_broker.__name__]) == 1, "once"
    assert not any(record.exc_info for record in caplog.records)
    for message in ("Redis is away", "just been away"):
        with pytest.raises(ConnectionError, match=message):
            broker.enqueue("")
    redis.start()
    doorbell.acknowledge()
    assert broker.dequeue() is None
    monkeypatch.setattr(RedisBroker, "tried_again_at", 0.0)
    doorbell.wake_now()
    assert len(broker.dequeue() or []) == 1


@pytest.mark.django_db(transaction=True)
def test_a_ring_that_nobody_has_heard_is_made_up_for(broker: RedisBroker, caplog: pytest.LogCaptureFixture) -> None:
    Doorbell.objects.update(rung_at=None, watched_until=None)
    deliver("tutors", tutor())
    broker.connection.flushall()
    assert broker.dequeue() is None, "it may still be on its way"
    Doorbell.objects.update(rung_at=Now() - doorbell.UNHEARD)
    [(_, payload)] = broker.dequeue() or []
    assert SignedPackage.loads(payload)["func"] == doorbell.DRAIN_TASK
    doorbell.acknowledge()
    assert broker.dequeue() is None


@pytest.mark.django_db
def test_metrics_tell_whether_redis_answers(broker: RedisBroker, redis: RedisServer, settings: Settings) -> None:
    def found() -> list[float]:
        return [each.samples[0].value for each in system_metrics() if each.name == "tutormax_redis_up"]

    assert found() == [1]
    redis.stop()
    assert found() == [0]
    settings.REDIS_URL = ""
    assert found() == []


def test_a_redis_that_is_silent_holds_nobody_up_for_long(broker: RedisBroker, redis: RedisServer) -> None:
    assert redis.process
    psutil.Process(redis.process.pid).suspend()
    try:
        with pytest.raises(ConnectionError, match="Redis is away"):
            broker.enqueue("")
    finally:
        psutil.Process(redis.process.pid).resume()

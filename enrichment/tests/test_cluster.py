"""Who can write to the database gets no code run: a poisoned row of each kind does nothing."""

from __future__ import annotations

import base64
import logging
import os
import pickle
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ, Schedule, Success, Task
from django_q.scheduler import scheduler
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from enrichment.cluster.broker import PRUNE_TASK, TASKS, Broker
from enrichment.management.commands.qcluster import Patience
from enrichment.models import ClusterStatus
from enrichment.workers import clusters
from ingestion.models import Doorbell
from tests.workers import database_url

pytestmark = pytest.mark.django_db


class Poison:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def poison(tmp_path: Path) -> Poison:
    return Poison(tmp_path / "done")


@pytest.fixture
def broker() -> Broker:
    OrmQ.objects.all().delete()
    return Broker()


def test_the_poison_works(poison: Poison) -> None:
    pickle.loads(pickle.dumps(poison))
    assert poison.path.exists()


def test_our_own_tasks_are_run(broker: Broker) -> None:
    for task in TASKS:
        async_task(task, broker=broker)
        [(_, payload)] = broker.dequeue() or []
        assert SignedPackage.loads(payload)["func"] == task


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_who_waits_for_a_task_is_notified(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enrichment.cluster.broker.LISTEN_SECONDS", 600)
    waits, found = threading.Event(), []

    class Waiting(Broker):
        def wait(self) -> None:
            waits.set()
            super().wait()

    def work() -> None:
        waiting = Waiting()
        found.extend([waiting.dequeue(), waiting.dequeue()])
        connection.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert waits.wait(30)
    async_task(TASKS[0], broker=broker)
    thread.join(30)
    assert [len(tasks or ()) for tasks in found] == [0, 1]


def test_a_row_of_the_queue_that_is_not_signed_is_deleted(broker: Broker, poison: Poison) -> None:
    for payload in (base64.b64encode(pickle.dumps(poison)).decode(), "", "a:b:c"):
        broker.enqueue(payload)
        assert broker.dequeue() is None
    assert not OrmQ.objects.exists()
    assert not poison.path.exists()


@pytest.mark.django_db(transaction=True)  # the scheduler closes the connection
@pytest.mark.parametrize(
    "columns",
    [
        {"func": "os.mkdir", "args": "'{path}'"},
        {"func": PRUNE_TASK, "hook": "os.mkdir"},
        {"func": PRUNE_TASK, "args": "'{path}'"},
        {"func": PRUNE_TASK, "kwargs": "{{'q_options': {{'chain': [('os.mkdir', ('{path}',))]}}}}"},
    ],
    ids=["function", "hook", "arguments", "chain"],
)
def test_a_schedule_of_a_stranger_is_not_run(
    columns: dict[str, str], broker: Broker, poison: Poison, caplog: pytest.LogCaptureFixture
) -> None:
    Schedule.objects.all().delete()
    filled = {name: value.format(path=poison.path) for name, value in columns.items()}
    Schedule.objects.create(next_run=timezone.now() - timedelta(minutes=1), schedule_type=Schedule.DAILY, **filled)
    scheduler(broker)
    assert OrmQ.objects.count() == 1
    assert broker.dequeue() is None
    assert not OrmQ.objects.exists()
    assert [record.levelno for record in caplog.records if "none of ours" in record.message] == [logging.CRITICAL]
    assert not poison.path.exists()


def test_results_of_tasks_are_not_unpickled(client: Client, poison: Poison) -> None:
    now = timezone.now()
    Task.objects.create(id="a" * 32, name="x", func=PRUNE_TASK, started=now, stopped=now, success=True)
    packed = base64.b64encode(pickle.dumps(poison)).decode()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE django_q_task SET result = %s, args = %s, kwargs = %s", [packed] * 3)
    task = Success.objects.get()
    assert (task.result, task.args, task.kwargs) == (None, None, None)
    client.force_login(User.objects.create_superuser("root"))
    for page in ("/admin/django_q/success/", f"/admin/django_q/success/{task.pk}/change/"):
        assert client.get(page).status_code == 200
    assert not poison.path.exists()


def test_the_status_of_a_cluster_is_not_unpickled_unless_we_have_signed_it(poison: Poison) -> None:
    packed = base64.b64encode(pickle.dumps(poison)).decode()
    ClusterStatus.objects.create(key="x", status=packed, expires_at=timezone.now() + timedelta(days=1))
    assert not clusters()
    assert not poison.path.exists()


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_patience_with_silent_workers_begins_anew_when_the_database_is_back() -> None:
    """However shortly it has been back: they could not work before."""
    Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": timezone.now() - timedelta(hours=1)})
    patience = Patience()
    assert not patience.is_over()
    patience.began -= settings.WATCH_PATIENCE
    assert patience.is_over()
    with psycopg.connect(database_url(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])
    assert not patience.is_over()
    assert not patience.is_over()
    patience.began -= settings.WATCH_PATIENCE
    assert patience.is_over()

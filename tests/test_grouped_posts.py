"""Posts that come at the same time are inserted together (api/plain_posts/group.py): each is kept, or its client is
told that it may not be; whatever happens to the others, to the thread that sends them, and to the database.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import Error, IntegrityError, InterfaceError, OperationalError, connection
from django.db.models.functions import Now
from pytest_django import Settings

from api.plain_posts import group
from api.plain_posts.door import FIND_KEY
from api.plain_posts.group import Kept
from ingestion.models import ApiKey, Delivery, Doorbell
from tests.api import ask, new_key
from tests.elsewhere import execute
from tests.elsewhere import new_key as key_for
from tests.servers import PostgreSQL, WebServer, manage, wait_until
from tutoring.tests.factories import student

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

BAD = b'{"bad": true}'


class Sender(threading.Thread):
    """Inserts one delivery, as a thread of a web server does."""

    outcome: Any = None

    def __init__(self, key: ApiKey, body: bytes = b"{}", stream: str = "students") -> None:
        super().__init__()
        self.key, self.body, self.stream = key, body, stream
        self.start()

    def run(self) -> None:
        try:
            with contextlib.suppress(SystemExit):
                self.outcome = group.insert(self.stream, f"key:{self.key.client}", self.body, self.key)
        finally:
            connection.close()


def verified(**fields: Any) -> ApiKey:
    key: ApiKey = ApiKey.objects.raw(FIND_KEY, [new_key(**fields).partition(".")[0]])[0]
    return key


@contextlib.contextmanager
def held_up() -> Iterator[None]:
    """Until its end, the thread that is in the database waits there."""
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("LOCK TABLE ingestion_delivery IN SHARE ROW EXCLUSIVE MODE")
        yield


def held_up_ones() -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'relation'"
        )
        return len(cursor.fetchall())


def first_and_others(key: ApiKey, others: list[tuple[ApiKey, bytes]]) -> list[Sender]:
    """One that is in the database, and others that wait for it; to be called within held_up()."""
    senders = [Sender(key)]
    wait_until(held_up_ones, "the first is in the database")
    for number, (other, body) in enumerate(others, start=1):
        senders.append(Sender(other, body))
        wait_until(lambda number=number: len(group._waiting) == number, "the others wait")  # type: ignore[misc]
    return senders


def outcomes(senders: list[Sender]) -> list[Any]:
    for sender in senders:
        sender.join()
    assert not group._waiting
    assert not group._led
    return [sender.outcome for sender in senders]


def commits(deliveries: list[int]) -> list[int]:
    """The transaction of each."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT id, xmin::text::bigint FROM ingestion_delivery WHERE id = ANY(%s)", [deliveries])
        found = dict(cursor.fetchall())
    return [found[delivery] for delivery in deliveries]


@pytest.mark.parametrize("pooling", [False, True])
def test_those_that_wait_are_sent_together_and_each_is_kept(pooling: bool, settings: Settings) -> None:
    settings.TRANSACTION_POOLING = pooling
    key, other = verified(), verified()
    with held_up():
        bodies = [json.dumps({"number": number}).encode() for number in range(20)]
        senders = first_and_others(key, [((key, other)[number % 2], body) for number, body in enumerate(bodies)])
    kept = [outcome.delivery for outcome in outcomes(senders)]
    deliveries = Delivery.objects.in_bulk(kept)
    for sender, number in zip(senders, kept, strict=True):
        delivery = deliveries[number]
        assert bytes(delivery.body) == sender.body
        assert (delivery.client, delivery.stream) == (f"key:{sender.key.client}", "students")
        assert (delivery.size, delivery.count, delivery.format) == (len(sender.body), 1, "json")
    transactions = commits(kept)
    assert [transactions.count(each) for each in dict.fromkeys(transactions)] == [1, group.MAX_POSTS, 4]


def test_large_ones_do_not_hold_up_the_others() -> None:
    key = verified()
    with held_up():
        senders = first_and_others(key, [(key, b"x" * 60_000) for _ in range(6)])
    transactions = commits([outcome.delivery for outcome in outcomes(senders)])
    assert [transactions.count(each) for each in dict.fromkeys(transactions)] == [1, 4, 2]


@pytest.mark.parametrize("change", [{"revoked": True}, {"can_ingest": False}, {"streams": ["tutors"]}])
def test_a_key_that_is_changed_while_its_post_waits_stores_nothing(change: dict[str, Any]) -> None:
    key, other = verified(), verified()
    with held_up():
        senders = first_and_others(other, [(key, b"{}"), (other, b"{}"), (key, b"{}")])
        ApiKey.objects.filter(pk=key.pk).update(**change)
    first, changed, kept, also_changed = outcomes(senders)
    assert changed == also_changed == Kept(None)
    assert {first.delivery, kept.delivery} == set(Delivery.objects.values_list("pk", flat=True))


def refuse(condition: str, when: str = "", sqlstate: str = "23514") -> None:
    """A trigger that refuses some rows, at COMMIT if it is a constraint."""
    kind = "CONSTRAINT TRIGGER refuse AFTER" if when else "TRIGGER refuse BEFORE"
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" RAISE EXCEPTION 'refused' USING ERRCODE = '{sqlstate}'; END $$"
        )
        row = f"FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION refuse()"
        cursor.execute(f"CREATE {kind} INSERT ON ingestion_delivery {when} {row}")


@pytest.fixture
def _accept_again(transactional_db: None) -> Iterator[None]:
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER refuse ON ingestion_delivery")


@pytest.mark.usefixtures("_accept_again")
@pytest.mark.parametrize("when", ["", "DEFERRABLE INITIALLY DEFERRED"])
def test_a_row_that_is_refused_harms_no_other(when: str) -> None:
    """Also where only the COMMIT fails: its error comes behind the statement's own answer."""
    refuse(f"NEW.body = '{BAD.decode()}'", when)
    key = verified()
    with held_up():
        senders = first_and_others(key, [(key, b"{}"), (key, BAD), (key, b"{}")])
    first, second, bad, third = outcomes(senders)
    assert isinstance(bad, IntegrityError)
    kept = {first.delivery, second.delivery, third.delivery}
    assert kept == set(Delivery.objects.values_list("pk", flat=True))


@pytest.mark.usefixtures("_accept_again")
@pytest.mark.parametrize("when", ["", "DEFERRABLE INITIALLY DEFERRED"])
def test_an_error_of_the_database_is_told_to_all(when: str) -> None:
    refuse(f"NEW.body = '{BAD.decode()}'", when, sqlstate="53100")
    key = verified()
    with held_up():
        senders = first_and_others(key, [(key, b"{}"), (key, BAD), (key, b"{}")])
    first, *others = outcomes(senders)
    assert all(isinstance(each, OperationalError) for each in others)
    assert [first.delivery] == list(Delivery.objects.values_list("pk", flat=True))
    assert isinstance(outcomes([Sender(key)])[0], Kept)


@pytest.mark.usefixtures("_accept_again")
@pytest.mark.parametrize("seconds", [0, 0.1])
def test_a_doorbell_that_was_read_long_before_the_commit_is_read_again(seconds: float) -> None:
    """It may have been answered meanwhile, by a worker who did not see the record yet."""
    Doorbell.objects.update(rung_at=Now())
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$"
        )
        cursor.execute(
            "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON ingestion_delivery DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
    key = verified()
    outcomes([Sender(key)])  # its connection has been made, and the statement prepared
    assert {outcomes([Sender(key)])[0].is_known for _ in range(20)} >= {seconds == 0}


def test_a_connection_that_is_cut_is_an_error_of_its_group_alone() -> None:
    key = verified()
    with held_up():
        senders = first_and_others(key, [(key, b"{}"), (key, b"{}")])
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event = 'relation'"
            )
    first, *others = outcomes(senders)
    assert isinstance(first, Error)
    assert {each.delivery for each in others} == set(Delivery.objects.values_list("pk", flat=True))


def test_a_connection_that_was_cut_while_it_was_idle_is_made_anew() -> None:
    """As after a restart of the database: nothing was sent on it, so nobody need send again."""
    key = verified()
    connection.ensure_connection()

    def cut() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        connection.close()

    pid = connection.connection.info.backend_pid
    with ThreadPoolExecutor(1) as pool:
        pool.submit(cut).result()
    assert isinstance(group.insert("students", "key:x", b"{}", key), Kept)


def end(sender: Sender) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(sender.ident or 0), ctypes.py_object(SystemExit))
    sender.join()


def test_a_thread_that_ends_leaves_nobody_waiting(settings: Settings) -> None:
    """Not those in its group, of which nobody knows whether they are kept, and not those that came after them."""
    settings.TRANSACTION_POOLING = True  # to prepare a statement takes the lock for itself
    key = verified()
    with ThreadPoolExecutor() as pool, contextlib.ExitStack() as stack:
        with held_up():
            first, second, third = senders = first_and_others(key, [(key, b"{}"), (key, b"{}")])
            again = pool.submit(stack.enter_context, held_up())
            wait_until(lambda: held_up_ones() == 2, "it queues behind the first")
        again.result()
        wait_until(held_up_ones, "the second is in the database, with the third")
        senders.append(Sender(key))
        wait_until(lambda: len(group._waiting) == 1, "the fourth waits")
        end(second)
        third.join()
    outcomes(senders)
    assert second.outcome is None
    assert isinstance(third.outcome, InterfaceError)
    kept = Delivery.objects.values_list("pk", flat=True)
    assert {first.outcome.delivery, senders[3].outcome.delivery} <= set(kept)


@pytest.mark.parametrize("what", ["the web server", "the database"])
def test_what_is_answered_for_is_kept_whatever_is_killed(what: str, postgres: PostgreSQL) -> None:
    with postgres.connect() as database:
        database.execute("CREATE DATABASE killed TEMPLATE template0")
    url = postgres.url("killed")
    manage("migrate", "--verbosity=0", database_url=url)
    key = key_for(url)
    answered: list[int] = []
    stopped = threading.Event()
    with WebServer(url, WEB_PROCESSES="1", WEB_THREADS="8") as web, ThreadPoolExecutor(8) as pool:

        def send(number: int) -> None:
            while not stopped.is_set():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    status, _, body = ask(f"{web.url}/api/students", key, student(student_id=f"s{number}"))
                    if status == 202:
                        answered.append(body["delivery"])

        done = [pool.submit(send, number) for number in range(8)]
        wait_until(lambda: len(answered) > 200, "many have been answered")
        if what == "the web server":
            web.kill()
        else:
            postgres.restart("immediate")
            number = len(answered)
            wait_until(lambda: len(answered) > number + 50, "it goes on")
        stopped.set()
        for each in done:
            each.result()
    [(kept,)] = execute(url, "SELECT array_agg(id) FROM ingestion_delivery", [])
    assert set(answered) <= set(kept)
    assert len(answered) == len(set(answered))
    [(groups,)] = execute(url, "SELECT count(*) - count(DISTINCT xmin::text) FROM ingestion_delivery", [])
    assert groups > 0

"""Deliveries of POSTs that come at the same time, inserted by one statement and one commit.

The first thread sends its own at once. Those that come while it is in the database are sent together by the next one:
nobody waits for more to come. Each learns the outcome of its own after the commit of all.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, InterfaceError, connections
from psycopg.generators import execute
from psycopg.pq import ExecStatus, Format

from ingestion import doorbell
from ingestion.models import ApiKey
from ingestion.services import require_autocommit

MAX_POSTS = 16
MAX_BYTES = 262_144
"""Of a group: what is small does not wait for much."""
OF_THE_RECORD = ("22", "23")
"""Classes of SQLSTATE: errors of one of the rows, not of the database."""

# The key's row in the very version in which the view has verified it: if anything in it has changed (revoked, expiry,
# scope, streams), nothing is inserted, and the view decides. One statement, which commits by itself.
INSERT = """
    WITH posts (position, stream, client, body, size, prefix, version, place) AS (VALUES {posts}),
    verified AS (
        SELECT posts.*, nextval('ingestion_delivery_id_seq') AS id FROM posts
        JOIN ingestion_apikey AS key ON key.prefix = posts.prefix AND key.xmin = version AND key.ctid = place
    ),
    kept AS (
        INSERT INTO ingestion_delivery (id, stream, client, format, body, size, count)
        SELECT id, stream, client, 'json', body, size, 1 FROM verified
    )
    SELECT position, id, (
        SELECT rung_at BETWEEN now() - around AND now() + around OR watched_until BETWEEN now() AND now() + around
        FROM ingestion_doorbell, make_interval(secs => $1::int) AS around WHERE id = 1
    ) FROM verified
"""
TYPES = ("text", "text", "bytea", "int", "text", "xid", "tid")
FORMATS = [Format.BINARY if kind == "bytea" else Format.TEXT for kind in TYPES]
RING_SECONDS = b"%d" % doorbell.RING_TIMEOUT.total_seconds()

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    delivery: int | None
    """None: the key is not what it was, and nothing is stored."""
    is_known: bool = True
    """To the workers: that there is work. Who learned of it long before the commit may have looked too early."""


@dataclass(slots=True, eq=False)
class Post:
    """A delivery to be inserted, and what has become of it."""

    values: list[bytes]
    outcome: Kept | Error = field(default_factory=lambda: InterfaceError("The thread that stored it has ended."))
    leads: bool = False
    """Whether its thread is to send what waits."""
    woken: Any = field(default_factory=threading.Lock)
    """Held until its thread has something to do again."""

    @property
    def size(self) -> int:
        return len(self.values[TYPES.index("bytea")])


_lock = threading.Lock()
_waiting: deque[Post] = deque()
_led = False
"""Whether a thread is in the database, or on its way there."""


def insert(stream: str, client: str, body: bytes, key: ApiKey) -> Kept | Error:
    """Returns after the commit. After an error it may be stored, as nobody knows what has become of the commit."""
    texts = (stream, client, str(len(body)), key.prefix, key.version, key.place)  # type: ignore[attr-defined]
    values = [text.encode() for text in texts]
    values.insert(TYPES.index("bytea"), body)
    post = Post(values)
    join(post)
    if not post.leads:
        post.woken.acquire()  # by now it is stored, or leads
    if post.leads:
        lead(post)
    return post.outcome


def join(post: Post) -> None:
    global _led  # noqa: PLW0603
    with _lock:
        if _led:
            post.woken.acquire()
            _waiting.append(post)
        else:
            _led = post.leads = True


def lead(post: Post) -> None:
    """Sends its own and what waits. Whatever happens, the next one leads then, and all of the group are woken."""
    group = [post]
    try:
        gather(group)
        send(group)
    except Exception:
        logger.exception("Storing posts failed; their clients are asked to send them again.")
    finally:
        hand_over()
        for other in group[1:]:
            other.woken.release()


def gather(group: list[Post]) -> None:
    size = group[0].size
    with _lock:
        while _waiting and len(group) < MAX_POSTS and (size := size + _waiting[0].size) <= MAX_BYTES:
            group.append(_waiting.popleft())


def hand_over() -> None:
    global _led  # noqa: PLW0603
    with _lock:
        following = _waiting.popleft() if _waiting else None
        _led = following is not None
    if following:
        following.leads = True
        following.woken.release()


def send(group: list[Post]) -> None:
    """An error of a row is that of one post: then each is sent alone. Any other error is that of all."""
    connection = connections[DEFAULT_DB_ALIAS]  # once: each look-up of this thread's costs as much as the lock
    try:
        with require_autocommit(), connection.wrap_database_errors:
            if connection.connection is not None and has_been_cut(connection.connection):
                connection.close()
            connection.ensure_connection()
            kept = run(connection.connection, group)
    except Error as error:
        if len(group) > 1 and sqlstate(error)[:2] in OF_THE_RECORD:
            for post in group:
                send([post])
            return
        for post in group:
            post.outcome = error
        return
    for position, post in enumerate(group):
        post.outcome = kept.get(position, Kept(None))


def has_been_cut(database: Any) -> bool:
    """Whether it has something to say although nothing was asked: that the server closes it. (Django's health check
    would ask, which takes as long as the statement.)
    """
    try:
        ready = select.poll()
        ready.register(database.fileno(), select.POLLIN)
        return bool(ready.poll(0))
    except psycopg.Error:  # it is closed already
        return True


def sqlstate(error: Error) -> str:
    return getattr(error.__cause__, "sqlstate", None) or ""


def run(database: Any, group: list[Post]) -> dict[int, Kept]:
    """By position in the group. A step below psycopg's cursors, which cost as much as the statement."""
    pgconn, number = database.pgconn, len(group)
    values = [RING_SECONDS, *(value for post in group for value in post.values)]
    formats = [Format.TEXT, *FORMATS * number]
    if settings.TRANSACTION_POOLING:
        began = time.monotonic()
        pgconn.send_query_params(statement(number), values, param_formats=formats)
    else:
        prepared: set[int] = vars(database).setdefault("prepared_posts", set())
        name = b"posts_%d" % number
        if number not in prepared:
            pgconn.send_prepare(name, statement(number))
            results_of(database)
            prepared.add(number)
        began = time.monotonic()
        pgconn.send_query_prepared(name, values, param_formats=formats)
    (result,) = results_of(database)
    is_recent = time.monotonic() - began < doorbell.LAST_LOOK / 2
    rows = [[result.get_value(row, column) for column in range(3)] for row in range(result.ntuples)]
    return {int(position): Kept(int(delivery), is_recent and is_known == b"t") for position, delivery, is_known in rows}


def results_of(database: Any) -> list[Any]:
    """All of them: one of a failed COMMIT comes behind that of the statement."""
    try:
        results = database.wait(execute(database.pgconn))
    except psycopg.Error:
        raise
    except BaseException:
        database.close()  # the answer is still to come
        raise
    for result in results:
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise psycopg.errors.error_from_result(result)
    return results  # type: ignore[no-any-return]


@cache
def statement(number: int) -> bytes:
    """For a group of so many."""
    rows = []
    for position in range(number):
        first = 2 + position * len(TYPES)
        places = ", ".join(f"${first + index}::{kind}" for index, kind in enumerate(TYPES))
        rows.append(f"({position}, {places})")
    return INSERT.format(posts=", ".join(rows)).encode()

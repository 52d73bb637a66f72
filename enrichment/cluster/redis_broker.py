"""The task queue in Redis, where REDIS_URL says so. No record depends on it."""

from __future__ import annotations

import logging
import time
from functools import cache
from types import SimpleNamespace
from typing import Any

import redis
from django.conf import settings
from django.db import Error, connection
from django_q.brokers.redis_broker import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from enrichment.cluster.broker import LISTEN_SECONDS, Statuses, is_our_task
from ingestion import doorbell

PATIENCE = 1.0
"""Seconds for Redis to take a connection, or to answer."""
PAUSE = 2.0
"""Seconds after a failure in which who rings does not try again."""

logger = logging.getLogger(__name__)


class RedisBroker(Statuses, Redis):  # type: ignore[misc]
    """django-q2's broker in Redis, which only wakes: what is taken from it, or flushed, is gone.

    While Redis is away its pusher looks for work in the database by itself, every LISTEN_SECONDS; while it has no task,
    for a ring in the database that nobody has heard: one that was flushed, or that a Redis which is full did not take.
    """

    is_away = False
    tried_again_at = 0.0
    """By the clock of this process, when a task may be queued again after it has failed."""

    @staticmethod
    @cache
    def get_connection(list_key: str | None = None) -> Any:
        """One for all brokers of this process; a fork makes its own. One that was cut is made anew once."""
        timeouts = {"socket_connect_timeout": PATIENCE, "socket_timeout": LISTEN_SECONDS + PATIENCE}
        return redis.from_url(settings.REDIS_URL, **timeouts, retry=Retry(NoBackoff(), 1))

    def enqueue(self, task: str) -> int:
        """Raises ConnectionError. After one at once for a while: with packets that are dropped each try takes time."""
        if time.monotonic() < RedisBroker.tried_again_at:
            raise ConnectionError("Redis has just been away; it is tried again shortly.")
        try:
            return int(self.connection.rpush(self.list_key, task))
        except redis.RedisError as error:
            RedisBroker.tried_again_at = time.monotonic() + PAUSE
            raise ConnectionError(f"Redis is away: {error}") from None

    def dequeue(self) -> list[tuple[None, str | bytes]] | None:
        try:
            _, payload = self.connection.blpop(self.list_key, round(LISTEN_SECONDS)) or (None, None)
        except redis.RedisError as error:
            if not self.is_away:
                logger.warning("Redis is away (%s); meanwhile the database is asked for work.", error)
            self.is_away = True
            time.sleep(LISTEN_SECONDS)
            return [(None, drain_task())]
        if self.is_away:
            logger.warning("Redis is back.")
            self.is_away = False
        if payload is None:
            return [(None, drain_task())] if is_unheard() else None
        return [(None, payload)] if is_our_task(payload) else None

    def ping(self) -> bool:
        """A cluster starts without it, too."""
        try:
            return bool(self.connection.ping())
        except redis.RedisError:
            return False


def is_unheard() -> bool:
    """As the doorbell says; False with the database away."""
    try:
        return doorbell.is_unheard()
    except Error:
        connection.close()
        return False


def drain_task() -> str:
    """A task as doorbell.enqueue_drain() would queue it."""
    queued: list[str] = []
    doorbell.enqueue_drain(broker=SimpleNamespace(enqueue=queued.append, list_key=""))
    return queued[0]

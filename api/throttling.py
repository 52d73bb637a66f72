"""THROTTLE: the maximum number of requests per second and key, over all processes and machines together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from ingestion.models import ApiKey
from ingestion.refusals import RequestRejected

if TYPE_CHECKING:
    from rest_framework.views import APIView

CLOCKS = {
    "postgresql": "extract(epoch FROM clock_timestamp())",
    "sqlite": "((julianday('now') - 2440587.5) * 86400.0)",
}
# Each request makes its key due 1/THROTTLE s later; a key that is due a second ahead has had its share. The row's lock
# sees to it that no two requests judge by the same state. (A tenth of a step is for rounding. Nothing is ever due more
# than 3 s ahead, unless the clock was put back: then it begins anew.) Other limits have longer windows than a second.
TAKE = """
    INSERT INTO ingestion_throttle AS kept (key, due) VALUES (%(key)s, {clock} + %(step)s)
    ON CONFLICT (key) DO UPDATE
    SET due = CASE WHEN kept.due BETWEEN {clock} AND {clock} + 3 * %(window)s THEN kept.due ELSE {clock} END + %(step)s
    WHERE kept.due NOT BETWEEN {clock} + %(window)s - 0.9 * %(step)s AND {clock} + 3 * %(window)s
    RETURNING due
"""


class PerKey(BaseThrottle):
    """Runs after the permission check and before the body is read. Staff are not throttled."""

    def allow_request(self, request: Request, view: APIView) -> bool:
        limit = settings.THROTTLE
        if limit and isinstance(request.auth, ApiKey) and not take(request.auth.prefix, limit):
            message = f"Rate limit of {limit} requests per second exceeded."
            raise RequestRejected(429, message, headers={"Retry-After": "1"})  # there is room after 1/limit s
        return True


def take(key: str, requests: int, seconds: float = 1.0) -> bool:
    """Whether one more request is allowed, of so many in so many seconds; only then is it counted.

    After so long without requests a key may send all of them at once. A key has at most 8 characters: those of API keys
    are letters and digits.
    """
    statement = TAKE.format(clock=CLOCKS[connection.vendor])
    with connection.cursor() as cursor:
        cursor.execute(statement, {"key": key, "step": seconds / requests, "window": seconds})
        return cursor.fetchone() is not None

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
# than 3 s ahead, unless the clock was put back: then it begins anew.)
TAKE = """
    INSERT INTO ingestion_throttle AS kept (key, due) VALUES (%(key)s, {clock} + %(step)s)
    ON CONFLICT (key) DO UPDATE
    SET due = CASE WHEN kept.due BETWEEN {clock} AND {clock} + 3 THEN kept.due ELSE {clock} END + %(step)s
    WHERE kept.due NOT BETWEEN {clock} + 1 - 0.9 * %(step)s AND {clock} + 3
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


def take(key: str, per_second: int) -> bool:
    """Whether one more request is allowed; only then is it counted.

    After a second without requests a key may send a second's worth at once.
    """
    statement = TAKE.format(clock=CLOCKS[connection.vendor])
    with connection.cursor() as cursor:
        cursor.execute(statement, {"key": key, "step": 1 / per_second})
        return cursor.fetchone() is not None

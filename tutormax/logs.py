"""What the log says of requests: their ids in every line, one line for each, and never a body or a key."""

import logging
import re
import time
import uuid
from contextvars import ContextVar
from typing import Any

from django.http import HttpRequest

MAX_PATH = 200
# Not what looks like a key: ids are written into the log.
VALID_ID = re.compile(r"(?![A-Za-z0-9]{8}\.[A-Za-z0-9]{32}$)[A-Za-z0-9._-]{1,128}")
logger = logging.getLogger("tutormax.requests")


class ServedRequest:
    """A request that is being served, until its answer has been sent."""

    def __init__(self, request: HttpRequest) -> None:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        self.id = given if VALID_ID.fullmatch(given) else uuid.uuid4().hex
        self.request, self.started, self.status = request, time.perf_counter(), 0

    @property
    def client(self) -> str:
        """Who asked, if it is known by now: nobody is looked for on account of the log."""
        key, user = getattr(self.request, "auth", None), getattr(self.request, "_cached_user", None)
        if key:
            return f"key:{key.prefix}"
        return f"user:{user.get_username()}" if user and user.is_authenticated else "-"


current: ContextVar[ServedRequest | None] = ContextVar("current", default=None)


def log_request(**kwargs: Any) -> None:
    """Receives request_finished, which comes when the answer, be it a stream, has been sent."""
    if served := current.get():
        level = logging.WARNING if served.status >= 500 else logging.INFO
        path = served.request.path[:MAX_PATH]  # without the query string, where a client may have put anything
        took = (time.perf_counter() - served.started) * 1000
        logger.log(level, "%s %s %d %.0f ms %s", served.request.method, path, served.status, took, served.client)
        current.set(None)


class RequestFilter(logging.Filter):
    """Gives each line the id of its request, and does not let what clients do wrong pass for a warning."""

    def filter(self, record: logging.LogRecord) -> bool:
        served = current.get()
        record.request_id = served.id if served else "-"
        if not 400 <= getattr(record, "status_code", 0) < 500:
            return True
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.exc_info = record.exc_text = None
        # Most of these say no more than the request's own line.
        return record.name != "django.request" and logging.getLogger().isEnabledFor(logging.INFO)


class SingleLineFormatter(logging.Formatter):
    """What clients send cannot pass for a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        if not record.message.isprintable():
            record.message = record.message.encode("unicode_escape").decode()
        return super().formatMessage(record)

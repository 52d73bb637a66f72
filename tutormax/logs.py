"""Logging of requests: their id in every line, one line for each request, and never a body or a key."""

import logging
import re
import time
import uuid
from contextvars import ContextVar
from typing import Any

from django.http import HttpRequest

MAX_PATH = 200
SECRET_PATH = re.compile(r"((?:/|%2F)uploads(?:/|%2F)+)(?![0-9]{1,19}(?![\w-]))[^\s/?#%&\"'<>]+", re.IGNORECASE)
"""A person's link: who knows it sees their page. Numbers are those of uploads in the API."""
# Nothing that looks like an API key: ids are logged.
VALID_ID = re.compile(r"(?![A-Za-z0-9]{8}\.[A-Za-z0-9]{32}$)[A-Za-z0-9._-]{1,128}")
logger = logging.getLogger("tutormax.requests")


class ServedRequest:
    """A request, from its arrival until the response has been sent."""

    def __init__(self, request: HttpRequest) -> None:
        given = request.META.get("HTTP_X_REQUEST_ID", "")
        self.id = given if VALID_ID.fullmatch(given) else uuid.uuid4().hex
        self.request, self.started, self.status = request, time.perf_counter(), 0

    @property
    def client(self) -> str:
        """The key or user, if already known: nothing is queried for the log."""
        key, user = getattr(self.request, "auth", None), getattr(self.request, "_cached_user", None)
        if key:
            return f"key:{key.prefix}"
        return f"user:{user.get_username()}" if user and user.is_authenticated else "-"


current: ContextVar[ServedRequest | None] = ContextVar("current", default=None)


def log_request(**kwargs: Any) -> None:
    """Receives request_finished, which is sent after the whole response, streamed ones included."""
    if served := current.get():
        level = logging.WARNING if served.status >= 500 else logging.INFO
        path = served.request.path[:MAX_PATH]  # without the query string: it may have secrets
        took = (time.perf_counter() - served.started) * 1000
        logger.log(level, "%s %s %d %.0f ms %s", served.request.method, path, served.status, took, served.client)
        current.set(None)


class RequestFilter(logging.Filter):
    """Adds the request id to each line, and lowers warnings about clients' errors (4xx) to INFO."""

    def filter(self, record: logging.LogRecord) -> bool:
        served = current.get()
        record.request_id = served.id if served else "-"
        if not 400 <= getattr(record, "status_code", 0) < 500:
            return True
        record.levelno, record.levelname = logging.INFO, "INFO"
        record.exc_info = record.exc_text = None
        # Most of these add nothing to the request's own line.
        return record.name != "django.request" and logging.getLogger().isEnabledFor(logging.INFO)


class SingleLineFormatter(logging.Formatter):
    """Escapes control characters, so that clients cannot forge lines, and masks people's links, whoever logs them."""

    def format(self, record: logging.LogRecord) -> str:
        """Masks the line with its traceback."""
        return SECRET_PATH.sub(r"\1…", super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        if not record.message.isprintable():
            record.message = record.message.encode("unicode_escape").decode()
        return super().formatMessage(record)

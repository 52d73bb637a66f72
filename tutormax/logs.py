"""Logging of requests: their id in every line, one line for each request, and never a body, a key, or the identifier of
a record, which may be that of a person.
"""

from __future__ import annotations

import logging
import re
import time
import uuid
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import ResolverMatch

from ingestion.streams import all_readables

if TYPE_CHECKING:
    from api.plain_posts.door import PlainPost  # when all apps have been loaded, which is later

MAX_PATH = 200
SECRET_PATH = re.compile(r"((?:/|%2F)uploads(?:/|%2F)+)(?![0-9]{1,19}(?![\w-]))[^\s/?#%&\"'<>]+", re.IGNORECASE)
"""A person's link: who knows it sees their page. Numbers are those of uploads in the API."""
# Nothing that looks like an API key: ids are logged.
VALID_ID = re.compile(r"(?![A-Za-z0-9]{8}\.[A-Za-z0-9]{32}$)[A-Za-z0-9._-]{1,128}")
NAMING_NO_RECORD = frozenset({"id", "stream", "prefix", "provider", "app_label"})
"""Parts of an address that are no identifiers of records: our own numbers, names of ours, prefixes of API keys."""
MAX_UNKNOWN = 2
"""Segments that are logged of a path which is none of ours: after them there may be an identifier."""
logger = logging.getLogger("tutormax.requests")


class ServedRequest:
    """A request, from its arrival until the response has been sent."""

    def __init__(self, request: HttpRequest | PlainPost) -> None:
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


def route_of(request: HttpRequest | PlainPost) -> str:
    """The path with names in place of identifiers: /api/students/{student_id}."""
    path, match = request.path, request.resolver_match
    if path.startswith(str(settings.STATIC_URL)):
        return path[:MAX_PATH]
    if match is None or match.url_name is None:
        beginning = "/".join(path.split("/")[: MAX_UNKNOWN + 1])
        return (path if path.rstrip("/") == beginning.rstrip("/") else f"{beginning}/…")[:MAX_PATH]
    for name, value in reversed(match.kwargs.items()):
        before, found, after = path.rpartition(str(value))
        if found and name not in NAMING_NO_RECORD and not _is_our_number(match, str(value)):
            path = f"{before}{{{_name_of(match, name)}}}{after}"
    return path[:MAX_PATH]


def _is_our_number(match: ResolverMatch, value: str) -> bool:
    """Of a delivery, a failed record, a user: on pages that are not about the records of a domain."""
    parts = match.route.split("/")
    return value.isdecimal() and parts[0] == "admin" and parts[1] not in _domains()


@cache
def _domains() -> frozenset[str]:
    return frozenset(readable.model._meta.app_label for readable in all_readables())


def _name_of(match: ResolverMatch, name: str) -> str:
    """As the API's description calls it."""
    stream = getattr(match.func, "initkwargs", {}).get("stream")
    return stream.key if stream and name == "key" else name


def log_request(**kwargs: Any) -> None:
    """Receives request_finished, which is sent after the whole response, streamed ones included."""
    if served := current.get():
        level = logging.WARNING if served.status >= 500 else logging.INFO
        path = route_of(served.request)  # without the query string: it may have secrets
        took = (time.perf_counter() - served.started) * 1000
        logger.log(level, "%s %s %d %.0f ms %s", served.request.method, path, served.status, took, served.client)
        current.set(None)


class RequestFilter(logging.Filter):
    """Adds the request id to each line, lowers warnings about clients' errors (4xx) to INFO, and takes identifiers out
    of the paths that Django logs.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        served = current.get()
        record.request_id = served.id if served else "-"
        if isinstance(request := getattr(record, "request", None), HttpRequest) and isinstance(record.args, tuple):
            paths = (request.path, request.path.encode("unicode_escape").decode("ascii"))
            record.args = tuple(route_of(request) if arg in paths else arg for arg in record.args)
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

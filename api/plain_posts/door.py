"""Single POSTs in the plain case, answered before Django: without its request, middleware, and REST framework.

What is not plain in every respect goes to the view, untouched: other headers than the usual ones, a key that the view
has not just verified, a record that is invalid, a full backlog, SQLite. The view's rules, words and headers stay the
only ones: the answer is made by its own functions, and the headers are those of its last answer to such a request.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework.renderers import JSONRenderer

from api.errors import database_error_response
from api.plain_posts import group
from api.records import IngestView
from ingestion import backlog, doorbell, streams
from ingestion.models import ApiKey
from ingestion.payloads import parse_json
from ingestion.streams import Stream
from ingestion.validation import check

MAX_BODY = 65_536
MAX_KNOWN = 1000
PLAIN_HEADERS = frozenset(
    f"HTTP_{name}"
    for name in (
        *("ACCEPT", "ACCEPT_ENCODING", "ACCEPT_LANGUAGE", "AUTHORIZATION", "CONNECTION", "HOST", "KEEP_ALIVE"),
        *("USER_AGENT", "X_REQUEST_ID", "X_FORWARDED_FOR", "X_FORWARDED_HOST", "X_FORWARDED_PORT", "X_FORWARDED_PROTO"),
        *("X_REAL_IP", "FORWARDED", "VIA", "TRACEPARENT", "TRACESTATE"),
    )
)
"""Headers that change nothing in how a POST is answered, or that are looked at here."""
ACCEPTS_JSON = ("*/*", "application/json", "application/json, */*")
OF_ONE_ANSWER = ("content-length", "x-request-id", "x-api-key-expires")
FIND_KEY = "SELECT *, xmin::text AS version, ctid::text AS place FROM ingestion_apikey WHERE prefix = %s"

_path = re.compile(r"/api/([a-z][a-z0-9_-]{0,63})/?")
_renderer = JSONRenderer()


@dataclass(slots=True)
class PlainPost:
    """A POST in which nothing needs the view, by its head alone. What a log asks of a request, it has."""

    META: dict[str, Any]
    path: str
    stream: Stream
    auth: ApiKey | None = None
    method: str = "POST"
    resolver_match: None = None

    @property
    def credentials(self) -> bytes:
        return hashlib.sha256(self.META["HTTP_AUTHORIZATION"].encode("utf-8", "surrogateescape")).digest()

    @property
    def address(self) -> tuple[str | None, ...]:
        """All that Django makes of the address of its answer, and of HTTPS."""
        get = self.META.get
        return self.stream.name, get("HTTP_HOST"), get("wsgi.url_scheme"), get("HTTP_X_FORWARDED_PROTO")


@dataclass(frozen=True, slots=True)
class Learned:
    """Of an answer of the view."""

    headers: list[tuple[str, str]]
    status_url: bytes
    """JSON, without the delivery's id and what follows it."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class Known:
    """What this process has learned from answers of the view."""

    keys: dict[bytes, ApiKey] = field(default_factory=dict)
    """SHA-256 of the Authorization header → the verified key, with the version of the row that it was read from."""
    answers: dict[tuple[str | None, ...], Learned] = field(default_factory=dict)


known = Known()


def recognize(environ: dict[str, Any]) -> PlainPost | None:
    if environ["REQUEST_METHOD"] != "POST" or (path := _path.fullmatch(environ["PATH_INFO"])) is None:
        return None
    get = environ.get
    if get("QUERY_STRING") or get("CONTENT_TYPE") != "application/json" or get("SCRIPT_NAME"):
        return None
    length = int(given) if (given := get("CONTENT_LENGTH") or "").isdecimal() else 0
    if not 0 < length <= min(MAX_BODY, settings.MAX_BODY_BYTES):
        return None
    if any(name.startswith("HTTP_") for name in environ.keys() - PLAIN_HEADERS):
        return None
    if get("HTTP_ACCEPT", "*/*") not in ACCEPTS_JSON or "HTTP_AUTHORIZATION" not in environ:
        return None
    if settings.THROTTLE or connection.vendor != "postgresql" or path[1] not in streams.names():
        return None
    return PlainPost(environ, path[0], streams.get(path[1]))


def answer(post: PlainPost) -> Answer | None:
    """The answer to a valid record, stored and committed; None: the view is to answer, and nothing is stored."""
    key, learned = known.keys.get(post.credentials), known.answers.get(post.address)
    if key is None or learned is None or not may_post(key, post.stream):
        return None
    if (body := read_body(post.META)) is None:
        return None
    try:
        connection.close_if_unusable_or_obsolete()  # as Django at the beginning of a request
        item = parse_json(body)
        if not isinstance(item, dict) or backlog.find_refusal(post.stream.name, client_of(key)):
            return None
        checked = check(post.stream, [item])
        content = _renderer.render(IngestView(stream=post.stream).answer([item], checked))
    except Exception:
        return None  # the view meets the same, and has the words for it
    post.auth = key
    outcome = group.insert(post.stream.name, client_of(key), body, key)
    if isinstance(outcome, Error):  # it may be stored: nothing else is tried
        return with_headers(database_error_response(outcome), learned)
    if outcome.delivery is None:
        known.keys.pop(post.credentials, None)
        post.auth = None
        return None
    backlog.note_accepted(post.stream.name, client_of(key), 1, len(body))
    if not outcome.is_known:
        doorbell.ring_for_records()
    number = outcome.delivery
    content = b'%b,"delivery":%d,"status_url":%b%d"}' % (content[:-1], number, learned.status_url, number)
    return Answer(202, "Accepted", [*learned.headers, ("Content-Length", str(len(content)))], content)


def read_body(environ: dict[str, Any]) -> bytes | None:
    """None: it ends early, or the client sends no more. It is put back for the view, which finds the same."""
    length = int(environ["CONTENT_LENGTH"])
    try:
        body: bytes = environ["wsgi.input"].read(length)
    except OSError:
        body = b""
    environ["wsgi.input"] = io.BytesIO(body)
    return body if len(body) == length else None


def may_post(key: ApiKey, stream: Stream) -> bool:
    """Whether the view would find nothing to refuse, to note or to add: by the clock, and by the key's version."""
    if not key.can_ingest or (key.streams and stream.name not in key.streams):
        return False
    return key.last_used_on == timezone.localdate() and not key.has_expired and not key.expires_soon


def client_of(key: ApiKey) -> str:
    return f"key:{key.client}"


def learn(post: PlainPost, request: HttpRequest, response: HttpResponseBase) -> None:
    """Keeps what the view has verified and answered. The row is read again, for its version: and judged again, since it
    may have been changed in the meantime.
    """
    verified = getattr(request, "auth", None)
    if response.status_code != 202 or not isinstance(verified, ApiKey) or not isinstance(response, HttpResponse):
        return
    if verified.expires_soon:
        return  # each of its answers says so
    _, _, credentials = post.META["HTTP_AUTHORIZATION"].strip().partition(" ")
    try:
        key = next(iter(ApiKey.objects.raw(FIND_KEY, [verified.prefix])), None)
    except Error:  # the record is stored, whatever the database does now
        return
    if key is None or key.revoked or not key.is_valid(credentials.strip()):
        return
    if max(len(known.keys), len(known.answers)) >= MAX_KNOWN:
        known.keys.clear()
        known.answers.clear()
    known.keys[post.credentials] = key
    headers = [(name, value) for name, value in response.items() if name.lower() not in OF_ONE_ANSWER]
    status_url, slash, _ = json.loads(response.content)["status_url"].rpartition("/")
    known.answers[post.address] = Learned(headers, json.dumps(status_url + slash).encode()[:-1])


def with_headers(response: HttpResponse, learned: Learned) -> Answer:
    headers: Mapping[str, str] = dict(learned.headers) | dict(response.items())
    return Answer(response.status_code, response.reason_phrase, list(headers.items()), response.content)

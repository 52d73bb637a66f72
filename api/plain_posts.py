"""Single POSTs in the plain case, answered early: without most of the middleware, Django REST framework, and two of the
three statements.

What is not plain in every respect goes to the view, untouched: other headers than the usual ones, a key that the view
has not just verified, a record that is invalid, a full backlog, SQLite. The view's rules, words and headers stay the
only ones: the answer is made by its own functions, and the headers are those of its last answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.db import Error, connection
from django.http import HttpRequest, HttpResponse, UnreadablePostError
from django.urls import reverse
from django.utils import timezone
from rest_framework.renderers import JSONRenderer

from api.errors import database_error_response
from api.records import IngestView
from ingestion import backlog, doorbell, streams
from ingestion.models import ApiKey
from ingestion.payloads import ParseError, TooLarge, parse_json
from ingestion.services import require_autocommit
from ingestion.streams import Stream
from ingestion.validation import NoValidRecords, check

MAX_BODY = 65_536
MAX_KEYS = 1000
PLAIN_HEADERS = frozenset(
    f"HTTP_{name}"
    for name in (
        *("ACCEPT", "ACCEPT_ENCODING", "ACCEPT_LANGUAGE", "AUTHORIZATION", "CONNECTION", "HOST", "KEEP_ALIVE"),
        *("USER_AGENT", "X_REQUEST_ID", "X_FORWARDED_FOR", "X_FORWARDED_HOST", "X_FORWARDED_PORT", "X_FORWARDED_PROTO"),
        *("X_REAL_IP", "FORWARDED", "VIA", "TRACEPARENT", "TRACESTATE"),
    )
)
"""Headers that change nothing in how a POST is answered, or that are looked at here."""
ACCEPTS_JSON = ("", "*/*", "application/json", "application/json, */*")

# The key's row in the very version in which the view has verified it: if anything in it has changed (revoked, expiry,
# scope, streams), nothing is inserted, and the view decides. One statement, which commits by itself.
INSERT = """
    INSERT INTO ingestion_delivery (stream, client, format, body, size, count)
    SELECT $1::text, $2::text, 'json', $3::bytea, $4::int, 1
    FROM ingestion_apikey WHERE prefix = $5::text AND xmin = $6::xid AND ctid = $7::tid
    RETURNING id, (
        SELECT rung_at > now() - make_interval(secs => $8::int) OR watched_until > now()
        FROM ingestion_doorbell WHERE id = 1
    )
"""
FIND_KEY = "SELECT *, xmin::text AS written_by, ctid::text AS place FROM ingestion_apikey WHERE prefix = %s"

RING_SECONDS = int(doorbell.RING_TIMEOUT.total_seconds())

_path = re.compile(r"/api/([a-z][a-z0-9_-]{0,63})/?")
GetResponse = Callable[[HttpRequest], HttpResponse]


@dataclass
class Known:
    """What this process has learned from answers of the view."""

    keys: dict[bytes, ApiKey] = field(default_factory=dict)
    """SHA-256 of the Authorization header → the verified key, with the version of the row that it was read from."""
    headers: dict[tuple[str, bool], dict[str, str]] = field(default_factory=dict)
    """(stream, by HTTPS) → the headers of an answer, but for its length."""


def answer_plain_posts(get_response: GetResponse) -> GetResponse:
    """Comes right behind `request_id`, whose header and log line are the same for all."""
    known = Known()

    def middleware(request: HttpRequest) -> HttpResponse:
        stream = plain_stream(request)
        if stream is None:
            return get_response(request)
        if response := answer(request, stream, known):
            return response
        response = get_response(request)
        if response.status_code == 202:
            learn(request, response, stream, known)
        return response

    return middleware


def plain_stream(request: HttpRequest) -> Stream | None:
    """The stream of a POST in which nothing needs the view, by its head alone."""
    meta = request.META
    if request.method != "POST" or (path := _path.fullmatch(request.path_info)) is None:
        return None
    if meta.get("QUERY_STRING") or meta.get("CONTENT_TYPE") != "application/json":
        return None
    if not 0 < int(length if (length := meta.get("CONTENT_LENGTH") or "").isdecimal() else 0) <= MAX_BODY:
        return None
    if any(value and name not in PLAIN_HEADERS and name.startswith("HTTP_") for name, value in meta.items()):
        return None
    if meta.get("HTTP_ACCEPT", "") not in ACCEPTS_JSON or "HTTP_AUTHORIZATION" not in meta:
        return None
    if settings.THROTTLE or connection.vendor != "postgresql" or path[1] not in streams.names():
        return None
    return streams.get(path[1])


def answer(request: HttpRequest, stream: Stream, known: Known) -> HttpResponse | None:
    """The answer to a valid record, stored and committed; None: the view is to answer, and nothing is stored."""
    key = known.keys.get(fingerprint(request))
    headers = known.headers.get((stream.name, request.is_secure()))
    if key is None or headers is None or not may_post(key, stream) or (settings.HTTPS and not request.is_secure()):
        return None
    try:
        request.get_host()  # raises for one that is not allowed
        body = request.body
        item = parse_json(body)
        if not isinstance(item, dict) or backlog.find_refusal(stream.name, client_of(key)):
            return None
        checked = check(stream, [item])
    except (DisallowedHost, UnreadablePostError, ParseError, TooLarge, NoValidRecords):
        return None
    try:
        delivery, is_known = insert(stream, body, key)
    except Error as error:  # it may be stored: nothing else is tried
        request.auth = key  # type: ignore[attr-defined]  # for the log
        return with_headers(database_error_response(error), headers)
    if delivery is None:
        known.keys.pop(fingerprint(request), None)
        return None
    request.auth = key  # type: ignore[attr-defined]
    backlog.note_accepted(stream.name, client_of(key), 1, len(body))
    if not is_known:
        doorbell.ring_for_records()
    status_url = request.build_absolute_uri(reverse("delivery", args=[delivery]))
    content = IngestView(stream=stream).answer([item], checked) | {"delivery": delivery, "status_url": status_url}
    response = HttpResponse(JSONRenderer().render(content), status=202, headers=headers)
    response["Content-Length"] = str(len(response.content))
    return response


def fingerprint(request: HttpRequest) -> bytes:
    return hashlib.sha256(request.META["HTTP_AUTHORIZATION"].encode("utf-8", "surrogateescape")).digest()


def may_post(key: ApiKey, stream: Stream) -> bool:
    """Whether the view would find nothing to refuse, to note or to add: by the clock, and by the key's version."""
    if not key.can_ingest or (key.streams and stream.name not in key.streams):
        return False
    return key.last_used_on == timezone.localdate() and not key.has_expired and not key.expires_soon


def client_of(key: ApiKey) -> str:
    return f"key:{key.client}"


def insert(stream: Stream, body: bytes, key: ApiKey) -> tuple[int | None, bool]:
    """(the delivery's id, whether the workers know that there is work); no id where the key is not what it was."""
    version = (key.written_by, key.place)  # type: ignore[attr-defined]  # of the row: no column of the model
    values = (stream.name, client_of(key), body, len(body), key.prefix, *version, RING_SECONDS)
    with require_autocommit(), connection.wrap_database_errors, connection.cursor():
        database = connection.connection
        if not settings.TRANSACTION_POOLING:
            database.prepare_threshold = 0  # Django switches it off, since its own statements are all different
        try:
            row = psycopg.RawCursor(database).execute(INSERT, values).fetchone()
        finally:
            database.prepare_threshold = None
    return (None, True) if row is None else (row[0], bool(row[1]))


def learn(request: HttpRequest, response: HttpResponse, stream: Stream, known: Known) -> None:
    """Keeps what the view has verified and answered. The row is read again, for its version: and judged again, since it
    may have been changed in the meantime.
    """
    verified = getattr(request, "auth", None)
    if not isinstance(verified, ApiKey):
        return
    _, _, credentials = request.META["HTTP_AUTHORIZATION"].strip().partition(" ")
    key = next(iter(ApiKey.objects.raw(FIND_KEY, [verified.prefix])), None)
    if key is None or key.revoked or not key.is_valid(credentials.strip()):
        return
    if len(known.keys) >= MAX_KEYS:
        known.keys.clear()
    known.keys[fingerprint(request)] = key
    headers = {name: value for name, value in response.items() if name != "Content-Length"}
    known.headers[(stream.name, request.is_secure())] = headers


def with_headers(response: HttpResponse, headers: dict[str, str]) -> HttpResponse:
    for name, value in headers.items():
        if name not in response:
            response[name] = value
    return response

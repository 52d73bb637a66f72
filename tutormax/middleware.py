import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC
from socket import SHUT_RD
from threading import Timer
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from api.errors import bad_request, error_response
from ingestion.models import ApiKey
from tutormax import logs

MAX_DRAIN = 64_000_000
"""Bytes of a rejected body that are still read, so that the client receives the answer."""
MAX_DRAIN_TIME = 5.0
"""Seconds that this may take: who sends slowly must not hold the thread, refused as it is."""
CHUNK = 65_536
ANY_HOST = re.compile(r"/(health(/live)?|metrics)/?")

GetResponse = Callable[[HttpRequest], HttpResponse]


def request_id(get_response: GetResponse) -> GetResponse:
    """Gives each request an id, the client's or a new one, for the response and every log line."""

    def middleware(request: HttpRequest) -> HttpResponse:
        served = logs.ServedRequest(request)
        logs.current.set(served)
        response = get_response(request)
        served.status = response.status_code
        response["X-Request-ID"] = served.id
        add_expiry_header(request, response)
        set_private_cache(request, response)
        return response

    return middleware


def add_expiry_header(request: HttpRequest, response: HttpResponse) -> None:
    """Tells the client when its API key expires, from a week before."""
    key = getattr(request, "auth", None)
    if isinstance(key, ApiKey) and key.expiry_date and key.expires_soon:
        response["X-Api-Key-Expires"] = key.expiry_date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def set_private_cache(request: HttpRequest, response: HttpResponse) -> None:
    """Responses that depend on a session or a key must not be cached, or be found there after logout."""
    session = getattr(request, "session", None)
    by_key = request.path_info.startswith(("/api/", "/metrics"))
    if by_key:
        patch_vary_headers(response, ["Authorization", "Cookie"])
    if (by_key or (session is not None and session.accessed)) and not response.has_header("Cache-Control"):
        response["Cache-Control"] = "private, no-store"


def answer_any_host(get_response: GetResponse) -> GetResponse:
    """Load balancers, Kubernetes and Prometheus ask by address, and some cannot be given a Host header: what they ask
    for is answered whatever the name. Nothing in these answers depends on it.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if ANY_HOST.fullmatch(request.path_info):
            name = next((name.lstrip(".") for name in settings.ALLOWED_HOSTS if name != "*"), "localhost")
            request.META["HTTP_HOST"] = name
        return get_response(request)

    return middleware


def reject_malformed(get_response: GetResponse) -> GetResponse:
    """Rejects requests that no view expects and that would end in a 500, and reads the rest of the body.

    Comes before the middleware of sessions and static files, which would fail on them, too.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        response = reject(request) or get_response(request)
        read_rest_of_body(request)
        return response

    return middleware


def reject(request: HttpRequest) -> HttpResponse | None:
    if "\0" in request.path_info:
        return error_response(404, "Not found.")
    if "%00" in request.META.get("QUERY_STRING", ""):
        return refuse_query(request)
    if any("\0" in value for value in request.COOKIES.values()):
        return error_response(400, "A cookie must not contain a NUL character.")
    if (request.content_params or {}).get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        return error_response(415, "The charset must be UTF-8.")
    return None


def refuse_query(request: HttpRequest) -> HttpResponse:
    """A page for browsers, JSON for all others."""
    if "text/html" in request.headers.get("Accept", "") and not request.path_info.startswith("/api"):
        return bad_request(request, BadRequest("The address of this page must not contain %00."))
    return error_response(400, "The query string must not contain a NUL character.")


def read_rest_of_body(request: HttpRequest) -> None:
    """A server that closes a connection with unread data resets it, and the client loses the answer."""
    body = request.META.get("wsgi.input")
    if getattr(body, "left", None) == 0 or not {"CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING"} & set(request.META):
        return
    stream = body if body and request.META.get("wsgi.input_terminated") else request
    left = MAX_DRAIN
    # An error: the client has disconnected, or sends invalid chunks.
    with suppress(Exception), end_of_input(request.META.get("gunicorn.socket"), MAX_DRAIN_TIME):
        while left > 0 and (chunk := stream.read(CHUNK)):
            left -= len(chunk)


@contextmanager
def end_of_input(sock: Any, seconds: float) -> Iterator[None]:
    """After that time nothing more is read from the socket. (A time-out of each read does not do: it begins anew with
    every byte.)
    """

    def end() -> None:
        with suppress(OSError):
            sock.shutdown(SHUT_RD)

    timer = Timer(seconds, end)
    if sock is not None:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()

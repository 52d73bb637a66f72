import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers

from api.errors import error_response
from ingestion.models import ApiKey
from tutormax import logs

MAX_DRAIN = 64_000_000
"""Bytes of a refused body that are read to its end, so that the client gets to see why it is refused."""
CHUNK = 65_536
ANY_HOST = re.compile(r"/(health(/live)?|metrics)/?")

GetResponse = Callable[[HttpRequest], HttpResponse]


def request_id(get_response: GetResponse) -> GetResponse:
    """Gives each request an id, the client's or a new one: it is in the answer and in every line of the log."""

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
    """Tells the client that uses it when its key expires, a week ahead."""
    key = getattr(request, "auth", None)
    if isinstance(key, ApiKey) and key.expiry_date and key.expires_soon:
        response["X-Api-Key-Expires"] = key.expiry_date.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def set_private_cache(request: HttpRequest, response: HttpResponse) -> None:
    """What a session or a key had a part in is for its owner alone, and not to be found after the logout."""
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
    """Refuses what no view expects (Django or the database would answer 500), and reads what no view has read.

    Comes before all that trips over the same: sessions, static files.
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
        return error_response(400, "The query string must not contain a NUL character.")
    if any("\0" in value for value in request.COOKIES.values()):
        return error_response(400, "A cookie must not contain a NUL character.")
    if (request.content_params or {}).get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        return error_response(415, "The charset must be UTF-8.")
    return None


def read_rest_of_body(request: HttpRequest) -> None:
    """Reads the rest of the body: a server that closes on unread data resets the connection, answer and all."""
    stream = request.META["wsgi.input"] if request.META.get("wsgi.input_terminated") else request
    left = MAX_DRAIN
    with suppress(Exception):  # the client has gone, or sends chunks that are none: the server's own errors
        while left > 0 and (chunk := stream.read(CHUNK)):
            left -= len(chunk)

"""The one shape of every error of the API, for exceptions in views and for what Django rejects by itself."""

import logging
import sys
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import BadRequest, DisallowedHost, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse, UnreadablePostError
from django.template.loader import render_to_string
from django.utils import timezone
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import APIException, MethodNotAllowed, NotAuthenticated, UnsupportedMediaType
from rest_framework.response import Response

from api.headers import why_no_key
from ingestion.backlog import BacklogFull, ClientLimitReached
from ingestion.capacity import RETRY_AFTER as RETRY_WHEN_BUSY
from ingestion.capacity import Busy
from ingestion.payloads import ParseError, TooLarge
from ingestion.refusals import RequestRejected

RETRY_AFTER = 5
"""Seconds until a client should try again when the database is unavailable."""
CODES = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    411: "length_required",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "throttled",
    500: "error",
    503: "unavailable",
}
BAD_REQUEST = "Malformed request."
DATABASE_UNAVAILABLE = "The database is unavailable or busy; try again."
STATEMENT_TIMED_OUT = "57014"
TOO_SLOW = "The database took too long to find this. Narrow it down, for example by a range of time, or try again."
DATABASE_ERRORS = (OperationalError, InterfaceError)
REJECTIONS: tuple[tuple[type[Exception], int, str], ...] = (
    (ParseError, 400, ""),  # with its own message
    (TooLarge, 413, ""),
    (Http404, 404, "Not found."),
    (PermissionDenied, 403, "Permission denied."),
    (DisallowedHost, 400, "The host name of this address is not among ALLOWED_HOSTS."),
    (RequestDataTooBig, 413, "The body is too large."),
    (UnreadablePostError, 400, "The body ended early."),
    (SuspiciousOperation, 400, BAD_REQUEST),  # the base of two of those above
)
logger = logging.getLogger(__name__)


def error_body(
    status: int, message: str, fields: Mapping[str, list[str]] | None = None, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    error: dict[str, Any] = {"code": CODES.get(status, "error"), "message": message}
    if fields:
        error["fields"] = fields
    return {"success": False, "error": error, **(more or {}), "timestamp": timezone.now()}


def error_response(status: int, message: str) -> HttpResponse:
    """The error shape outside the views of the API."""
    response = JsonResponse(error_body(status, message), status=status, headers=_default_headers(status))
    response["Content-Length"] = str(len(response.content))
    return response


def database_error_response(error: Exception) -> HttpResponse:
    """What a view of the API answers when the database fails with this error."""
    rejection = _rejection(error) or RequestRejected(503, DATABASE_UNAVAILABLE)
    return error_response(rejection.status, rejection.message)


def handle_exception(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER. None, for an error of ours, lets Django log it and answer 500."""
    rejection = _from_drf(exc, context) if isinstance(exc, APIException) else _rejection(exc)
    if rejection is None:
        return None
    body = error_body(rejection.status, rejection.message, rejection.fields, rejection.more)
    return Response(body, status=rejection.status, headers={**_default_headers(rejection.status), **rejection.headers})


def _rejection(exc: Exception) -> RequestRejected | None:
    """What a client is answered; None where the error is neither the client's nor the database's."""
    if isinstance(exc, RequestRejected):
        return exc
    if isinstance(exc, DATABASE_ERRORS):
        if getattr(exc.__cause__, "sqlstate", "") == STATEMENT_TIMED_OUT:
            return RequestRejected(503, TOO_SLOW)
        logger.warning("The database is unavailable or busy: %s", exc)
        return RequestRejected(503, DATABASE_UNAVAILABLE)
    if isinstance(exc, BacklogFull):
        status = 429 if isinstance(exc, ClientLimitReached) else 503
        return RequestRejected(status, str(exc), headers={"Retry-After": str(exc.retry_after)})
    if isinstance(exc, Busy):
        return RequestRejected(exc.status, str(exc), headers={"Retry-After": str(RETRY_WHEN_BUSY)})
    for kind, status, message in REJECTIONS:
        if isinstance(exc, kind):
            return RequestRejected(status, message or str(exc))
    return None


def _from_drf(exc: APIException, context: Mapping[str, Any]) -> RequestRejected:
    challenge = getattr(exc, "auth_header", None)
    headers = {"WWW-Authenticate": challenge} if challenge else {}
    return RequestRejected(exc.status_code, _message(exc, context), headers=headers)


def _message(exc: APIException, context: Mapping[str, Any]) -> str:
    if isinstance(exc, UnsupportedMediaType):
        accepted = [parser.media_type for parser in context["view"].parser_classes]
        return f"Unsupported media type: send {' or '.join(accepted)}."
    if isinstance(exc, NotAuthenticated):
        return why_no_key(context["request"])
    if isinstance(exc, MethodNotAllowed):
        return f"Method not allowed: use {' or '.join(context['view'].allowed_methods)}."
    return str(exc.detail)


def _default_headers(status: int) -> dict[str, str]:
    return {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}


@csrf_exempt
def unknown_path(request: HttpRequest) -> HttpResponse:
    """The view of every path under /api that no other view has."""
    return error_response(404, "Unknown path. GET / lists the endpoints.")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _is_api(request):
        rejection = _rejection(exception) or RequestRejected(400, BAD_REQUEST)
        return error_response(rejection.status, rejection.message)
    if isinstance(exception, BadRequest):
        message = str(exception)
    else:
        message = (_rejection(exception) or RequestRejected(400, BAD_REQUEST)).message
    return HttpResponseBadRequest(render_to_string("400.html", {"message": message}))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return unknown_path(request) if _is_api(request) else defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Called while the exception is being handled: a database that is unavailable is a 503 here as well."""
    if isinstance(sys.exception(), DATABASE_ERRORS):
        return error_response(503, DATABASE_UNAVAILABLE)
    if _is_api(request):
        return error_response(500, "Internal error; it has been logged.")
    return defaults.server_error(request)


def _is_api(request: HttpRequest) -> bool:
    return request.path_info == "/api" or request.path_info.startswith("/api/")

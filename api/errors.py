"""The one shape of every error of the API, for exceptions in views and for what Django refuses by itself."""

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

from ingestion.backlog import BacklogFull
from ingestion.payloads import ParseError, TooLarge
from ingestion.refusals import RequestRejected

RETRY_AFTER = 5
"""Seconds until a client should try again when the database is away."""
RETRY_WHEN_FULL = 30
"""Seconds until a client should try again when too much is pending."""
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
BAD_REQUEST = "The request makes no sense."
DATABASE_UNAVAILABLE = "The database is away or busy: try again."
DATABASE_ERRORS = (OperationalError, InterfaceError)
REJECTIONS: tuple[tuple[type[Exception], int, str], ...] = (
    (ParseError, 400, ""),  # its own words
    (TooLarge, 413, ""),
    (Http404, 404, "There is nothing here."),
    (PermissionDenied, 403, "You may not do this."),
    (DisallowedHost, 400, "ALLOWED_HOSTS does not have the name in the address."),
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
    """The error shape where no view of the API is at work."""
    headers = {"Retry-After": str(RETRY_AFTER)} if status == 503 else {}
    response = JsonResponse(error_body(status, message), status=status, headers=headers)
    response["Content-Length"] = str(len(response.content))
    return response


def handle_exception(exc: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's EXCEPTION_HANDLER. None, for a mistake of ours, lets Django log it and answer 500."""
    if not isinstance(exc, APIException):
        if (rejection := _rejection(exc)) is None:
            return None
        exc = rejection
    message = _message(exc, context)
    fields, more = getattr(exc, "fields", None), getattr(exc, "more", None)
    body = error_body(exc.status_code, message, fields, more)
    return Response(body, status=exc.status_code, headers=_headers(exc))


def _rejection(exc: Exception) -> RequestRejected | None:
    """What a client is told about an exception that is none of DRF's; None where it is not the client's or the
    database's.
    """
    if isinstance(exc, DATABASE_ERRORS):
        logger.warning("The database is away or busy: %s", exc)
        return RequestRejected(503, DATABASE_UNAVAILABLE)
    if isinstance(exc, BacklogFull):
        return RequestRejected(503, str(exc), headers={"Retry-After": str(RETRY_WHEN_FULL)})
    for kind, status, message in REJECTIONS:
        if isinstance(exc, kind):
            return RequestRejected(status, message or str(exc))
    return None


def _message(exc: APIException, context: Mapping[str, Any]) -> str:
    if isinstance(exc, UnsupportedMediaType):
        accepted = [parser.media_type for parser in context["view"].parser_classes]
        return f"Unsupported media type: send {' or '.join(accepted)}."
    if isinstance(exc, NotAuthenticated):
        return "Send an API key: Authorization: Api-Key <prefix>.<secret>."
    if isinstance(exc, MethodNotAllowed):
        return f"Not allowed here: use {' or '.join(context['view'].allowed_methods)}."
    return str(exc.detail)


def _headers(exc: APIException) -> dict[str, str]:
    headers = {"Retry-After": str(RETRY_AFTER)} if exc.status_code == 503 else {}
    if challenge := getattr(exc, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    return headers | dict(getattr(exc, "headers", {}))


@csrf_exempt
def unknown_path(request: HttpRequest) -> HttpResponse:
    """The view of every path under /api that no other view has."""
    return error_response(404, "There is nothing here. GET / lists the endpoints.")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if _is_api(request):
        rejection = _rejection(exception) or RequestRejected(400, BAD_REQUEST)
        return error_response(rejection.status_code, str(rejection.detail))
    message = str(exception) if isinstance(exception, BadRequest) else BAD_REQUEST
    return HttpResponseBadRequest(render_to_string("400.html", {"message": message}))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return unknown_path(request) if _is_api(request) else defaults.page_not_found(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Called while the exception is being handled: a database that is away is a 503 here as well."""
    if isinstance(sys.exception(), DATABASE_ERRORS):
        return error_response(503, DATABASE_UNAVAILABLE)
    if _is_api(request):
        return error_response(500, "This is a mistake of ours; it has been logged.")
    return defaults.server_error(request)


def _is_api(request: HttpRequest) -> bool:
    return request.path_info == "/api" or request.path_info.startswith("/api/")

"""What a request may take before anybody knows who sends it, and how much of a process the large ones may hold."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from api.auth import is_staff
from api.errors import error_response
from ingestion import capacity

SMALL_BODY = 1_000_000
"""Bytes that anybody may send: a form without files."""

GetResponse = Callable[[HttpRequest], HttpResponse]


class LimitBodies:
    """Outside /api/, where the views ask for a key first, Django reads forms to the disk before any view is called: to
    look for a CSRF token. So who is no member of staff may send SMALL_BODY, who is one MAX_UPLOAD_BYTES, and large
    forms take one of the slots for heavy requests. Comes behind AuthenticationMiddleware; what it refuses is not read.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = body_length(request)
        has_files = request.content_type == "multipart/form-data"
        if is_api(request) or (length <= SMALL_BODY and not has_files):
            return self.get_response(request)
        limit = settings.MAX_UPLOAD_BYTES if is_staff(request.user) else SMALL_BODY
        if length > limit:
            return too_large(request, limit)
        if not has_files:
            return self.get_response(request)
        try:
            with capacity.heavy_request():
                return self.get_response(request)
        except capacity.Busy as error:
            return self.process_exception(request, error) or error_response(503, str(error))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Of a view outside the API: a download for which there is no slot."""
        if not isinstance(exception, capacity.Busy):
            return None
        page = render(request, "busy.html", {"message": str(exception)}, status=503)
        page["Retry-After"] = str(capacity.RETRY_AFTER)
        return page


def body_length(request: HttpRequest) -> int:
    length = request.META.get("CONTENT_LENGTH") or ""
    return int(length) if length.isdecimal() else 0


def is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")


def too_large(request: HttpRequest, limit: int) -> HttpResponse:
    if "text/html" not in request.META.get("HTTP_ACCEPT", ""):
        return error_response(413, f"The body is too large: at most {limit} bytes are accepted here.")
    context = {"limit": limit, "is_staff": is_staff(request.user)}
    return render(request, "413.html", context, status=413)

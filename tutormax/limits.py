"""What a request may take before anybody knows who sends it, and how much of a process the large ones may hold."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.crypto import salted_hmac

from api.auth import is_staff
from api.errors import error_response
from api.throttling import take
from ingestion import capacity
from tutormax.lockout import client_address

SMALL_BODY = 1_000_000
"""Bytes that anybody may send: a form without files."""
PUBLIC_FORM = "/uploads"
MAX_PUBLIC_BODY = 20_000_000
"""Bytes that anybody may send to the public form, where there is one (PUBLIC_UPLOADS)."""
PUBLIC_BODIES = 20
"""How many files one address may send there in an hour."""
HOUR = 3600.0

GetResponse = Callable[[HttpRequest], HttpResponse]


class LimitBodies:
    """Outside /api/, where the views ask for a key first, Django reads forms to the disk before any view is called: to
    look for a CSRF token. So who is no member of staff may send SMALL_BODY, who is one MAX_UPLOAD_BYTES, and large
    forms take one of the slots for heavy requests, of the person or of the address. The public form takes
    MAX_PUBLIC_BODY, PUBLIC_BODIES times an hour. Comes behind AuthenticationMiddleware; what it refuses is not read.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        length = body_length(request)
        has_files = request.content_type == "multipart/form-data"
        if is_api(request) or (length <= SMALL_BODY and not has_files):
            return self.get_response(request)
        limit = limit_of(request)
        if length > limit:
            return too_large(request, limit)
        if is_public_upload(request) and not has_share_left(request):
            return too_many(request)
        if not has_files:
            return self.get_response(request)
        try:
            with capacity.heavy_request(sender_of(request), request.META):
                return self.get_response(request)
        except capacity.Busy as error:
            return self.process_exception(request, error) or error_response(error.status, str(error))

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Of a view outside the API: a request for which there is no slot."""
        if not isinstance(exception, capacity.Busy):
            return None
        page = render(request, "busy.html", {"message": str(exception)}, status=exception.status)
        page["Retry-After"] = str(capacity.RETRY_AFTER)
        return page


def body_length(request: HttpRequest) -> int:
    length = request.META.get("CONTENT_LENGTH") or ""
    return int(length) if length.isdecimal() else 0


def is_api(request: HttpRequest) -> bool:
    return request.path_info.startswith("/api/")


def limit_of(request: HttpRequest) -> int:
    if is_staff(request.user):
        return int(settings.MAX_UPLOAD_BYTES)
    return min(MAX_PUBLIC_BODY, settings.MAX_UPLOAD_BYTES) if is_public_upload(request) else SMALL_BODY


def is_public_upload(request: HttpRequest) -> bool:
    """By somebody who is no member of staff."""
    is_form = bool(settings.PUBLIC_UPLOADS) and request.path_info.rstrip("/") == PUBLIC_FORM
    return is_form and not is_staff(request.user)


def has_share_left(request: HttpRequest) -> bool:
    return take(address_of(request), PUBLIC_BODIES, HOUR)


def sender_of(request: HttpRequest) -> str:
    """Whose slot a form takes: as in a delivery, but of anybody without an account the address."""
    return f"user:{request.user.get_username()}" if request.user.is_authenticated else address_of(request)


def address_of(request: HttpRequest) -> str:
    """A hash: the address itself is kept nowhere."""
    address = salted_hmac("tutormax.limits", client_address(request) or "", algorithm="sha256").hexdigest()
    return f"~{address[:7]}"


def too_many(request: HttpRequest) -> HttpResponse:
    message = f"Too many uploads from your address: at most {PUBLIC_BODIES} an hour. Try again later."
    page = render(request, "busy.html", {"message": message}, status=429)
    page["Retry-After"] = str(int(HOUR / PUBLIC_BODIES))
    return page


def too_large(request: HttpRequest, limit: int) -> HttpResponse:
    if "text/html" not in request.META.get("HTTP_ACCEPT", ""):
        return error_response(413, f"The body is too large: at most {limit} bytes are accepted here.")
    context = {"limit": limit, "is_staff": is_staff(request.user), "is_public": is_public_upload(request)}
    return render(request, "413.html", context, status=413)

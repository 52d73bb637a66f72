"""What all pages of a library have in common: they are found by their link alone, and tell nobody about it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate

from csp.constants import NONE, SELF
from csp.decorators import csp
from django.conf import settings
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase

from api.auth import is_staff
from movies import libraries, tmdb
from movies.models import Library

View = Callable[Concatenate[HttpRequest, ...], HttpResponseBase]


def private_page(*, referrer: str = "no-referrer") -> Callable[[View], View]:
    """For views of these pages. A page with a form needs referrer="same-origin": without any, browsers hide the origin
    by which the server tells its own forms.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def private(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            response = csp(policy())(view)(request, *args, **kwargs)
            response["X-Robots-Tag"] = "noindex, nofollow"
            response["Referrer-Policy"] = referrer
            response["Cache-Control"] = "private, no-store"
            return response

        return private

    return decorate


def policy() -> dict[str, Any]:
    """Nothing but what this server has, and posters."""
    return {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "connect-src": [SELF],
        "img-src": [SELF, *([tmdb.PICTURES] if settings.POSTERS else [])],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }


def find_library(token: str) -> Library:
    """Notes that somebody has looked at it: it is kept from then on for as long as anew."""
    library = Library.objects.filter(token=token).first()
    if library is None:
        raise Http404
    libraries.seen(library)
    return library


def may_upload(request: HttpRequest) -> bool:
    """Everybody where PUBLIC_UPLOADS says so, else whoever may upload in the admin."""
    return bool(settings.PUBLIC_UPLOADS) or (is_staff(request.user) and request.user.has_perm("ingestion.add_delivery"))

"""What django-axes, which locks out who guesses passwords, is told of our server."""

from ipaddress import ip_address
from typing import Any

from axes.helpers import get_cool_off
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def client_address(request: HttpRequest) -> str | None:
    """Where a log-in comes from: behind the proxy of HTTPS=true, what that proxy has added to X-Forwarded-For.

    What stands before it the client may have made up, and so get ever new tries, or shut out somebody else.
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    for address in (forwarded if settings.HTTPS else "", request.META.get("REMOTE_ADDR", "")):
        try:
            return str(ip_address(address))
        except ValueError:
            continue
    return None


def lockout_response(request: HttpRequest, response: HttpResponse, credentials: Any) -> HttpResponse:
    pause = get_cool_off(request)
    page = render(request, "locked_out.html", {"minutes": pause.seconds // 60}, status=429)
    page["Retry-After"] = str(pause.seconds)
    return page

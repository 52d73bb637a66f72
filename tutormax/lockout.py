"""Settings for django-axes, which locks out clients that guess passwords."""

from ipaddress import ip_address
from typing import Any

from axes.helpers import get_cool_off
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def client_address(request: HttpRequest) -> str | None:
    """The address a login comes from: behind the proxy (HTTPS=true), the last entry of X-Forwarded-For.

    Earlier entries can be forged by the client, to get more attempts or to lock out somebody else.
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

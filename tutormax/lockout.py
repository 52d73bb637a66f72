"""Settings for django-axes, which locks out clients that guess passwords."""

from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from django.conf import settings
from django.db.models import Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

MAX_FAILURES = 50
"""Failed logins from one address, under whatever names."""


def client_address(request: HttpRequest) -> str | None:
    """The address a login comes from: behind the proxy (HTTPS=true), the last entry of X-Forwarded-For.

    Earlier entries can be forged by the client, to get more attempts or to lock out somebody else.
    """
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
    for address in (forwarded if settings.HTTPS else "", request.META.get("REMOTE_ADDR", "")):
        try:
            return network_of(ip_address(address))
        except ValueError:
            continue
    return None


def network_of(address: IPv4Address | IPv6Address) -> str:
    """The address; of IPv6 its /64, which is what one subscriber has, and may choose addresses in at will."""
    if isinstance(address, IPv4Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((address, 64), strict=False).network_address)


class LockoutHandler(AxesDatabaseHandler):  # type: ignore[misc]
    """Locks out by user name and address, as set, and an address alone after MAX_FAILURES."""

    def is_locked(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        return super().is_locked(request, credentials) or failures_from(client_address(request)) >= MAX_FAILURES


def failures_from(address: str | None) -> int:
    """Failed logins from this address within the time of a lockout."""
    since = timezone.now() - timedelta(hours=settings.AXES_COOLOFF_TIME)
    attempts = AccessAttempt.objects.filter(ip_address=address, attempt_time__gte=since)
    return int(attempts.aggregate(failures=Sum("failures_since_start", default=0))["failures"])


def lockout_response(request: HttpRequest, response: HttpResponse, credentials: Any) -> HttpResponse:
    pause = get_cool_off(request)
    page = render(request, "locked_out.html", {"minutes": pause.seconds // 60}, status=429)
    page["Retry-After"] = str(pause.seconds)
    return page

"""Sessions of people who have given the password, but not the second factor that they need, are nobody's."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.http import HttpRequest, HttpResponse
from django.utils.functional import SimpleLazyObject

from console.second_factor import devices

GetResponse = Callable[[HttpRequest], HttpResponse]


def require_second_factor(get_response: GetResponse) -> GetResponse:
    """Comes right behind authentication, so that the admin, the API and the documents ask the same question. The pages
    of the second factor find the person in `request.unverified_user`.
    """

    def middleware(request: HttpRequest) -> HttpResponse:
        if settings.SECOND_FACTOR != "off":
            request.user = SimpleLazyObject(partial(verified, request, request.user))  # type: ignore[assignment]
        return get_response(request)

    return middleware


def verified(request: HttpRequest, user: Any) -> Any:
    if not user.is_authenticated or devices.may_pass(request.session, user):
        return user
    request.unverified_user = user  # type: ignore[attr-defined]
    return AnonymousUser()

"""Sessions end SESSION_IDLE_TIME after the last thing that their person did: a page that refreshes itself is nobody."""

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

SEEN = "seen"
"""In a session: when its end was last moved, in seconds since 1970."""
RENEWALS = 100
"""How often at most the end is moved in SESSION_IDLE_TIME: each time is a write."""
BY_ITSELF = "X-Refresh"
"""The header of what a page asks without a person (refresh.js)."""

GetResponse = Callable[[HttpRequest], HttpResponse]


def renew_session(get_response: GetResponse) -> GetResponse:
    """Moves the end of the session, if a person has asked for something that depends on it."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        session = request.session
        if session.accessed and BY_ITSELF not in request.headers and is_due(session.get(SEEN)):
            session[SEEN] = time.time()
        return response

    return middleware


def is_due(seen: float | None) -> bool:
    """None: nobody is logged in."""
    return seen is not None and time.time() - seen > settings.SESSION_COOKIE_AGE / RENEWALS


def note_login(request: HttpRequest, **kwargs: Any) -> None:
    """Receives user_logged_in."""
    request.session[SEEN] = time.time()

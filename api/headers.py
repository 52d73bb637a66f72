"""Headers that look like ours: who sends one believes that it is understood, and gets a warning that it is not."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache

from django.http import HttpRequest
from rest_framework.request import Request

from ingestion.text import plain

IDEMPOTENCY_KEY, AUTHORIZATION = "Idempotency-Key", "Authorization"
LIKE_A_KEY = re.compile(r"(X-)?(Api-?(Key|Token)|Auth(-Key|-Token|entication)?|Access-Token|Token|Key)", re.IGNORECASE)
"""Where other services have the API key."""
IN_THE_ADDRESS = ("api_key", "apikey", "api-key", "key", "token", "access_token")
SIMILAR = 0.8
SEND_A_KEY = "Send an API key: Authorization: Api-Key <prefix>.<secret>."
MAX_SHOWN = 60


def misspelt(request: HttpRequest | Request, header: str) -> str:
    """The name of a header that was probably meant to be this one, which is not there; empty without one."""
    if header in request.headers:
        return ""
    return next((plain(name[:MAX_SHOWN]) for name in request.headers if _is_like(name, header)), "")


@lru_cache(maxsize=1000)
def _is_like(name: str, header: str) -> bool:
    ours, other = (_letters(each) for each in (header, name))
    if other.startswith("proxy"):
        return False
    if ours in other or (header == IDEMPOTENCY_KEY and "idempoten" in other):
        return True
    return SequenceMatcher(a=other, b=ours).ratio() >= SIMILAR


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold().removeprefix("x")


def warning_of_misspelt(request: Request) -> str:
    """That a retry of this request will be taken for another one; empty where nothing is misspelt."""
    name = misspelt(request, IDEMPOTENCY_KEY)
    return f"unknown header: {name}; did you mean {IDEMPOTENCY_KEY}?" if name else ""


def why_no_key(request: HttpRequest | Request) -> str:
    """What to do about a request in which no API key was found. What was sent is not repeated: it may be one."""
    if AUTHORIZATION in request.headers:
        return f"{_scheme_of(request.headers[AUTHORIZATION])} {SEND_A_KEY}"
    found = misspelt(request, AUTHORIZATION) or next(filter(LIKE_A_KEY.fullmatch, request.headers), "")
    if found:
        return f"Unknown header {found}. {SEND_A_KEY}"
    if any(name.lower() in IN_THE_ADDRESS for name in request.GET):
        return f"A key in the address is not read. {SEND_A_KEY}"
    return SEND_A_KEY


def _scheme_of(value: str) -> str:
    scheme, _, rest = value.strip().partition(" ")
    if rest and scheme.isalpha() and len(scheme) < 20:
        return f"The scheme of Authorization is {scheme}, not Api-Key."
    return "Authorization has no scheme that is known here."

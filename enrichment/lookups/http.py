"""HTTP for providers: each request takes a slot of the limit, and each error belongs to somebody (see errors.py).

Neither addresses nor headers get into messages or logs: the key may be in either.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from django.conf import settings
from urllib3.connection import HTTPConnection, HTTPSConnection

from enrichment.lookups import limits, providers
from enrichment.lookups.errors import KeyRefused, ProviderError, ProviderUnavailable, QuestionError, Throttled
from enrichment.lookups.limits import Slots
from enrichment.lookups.providers import MAX_THREADS, Provider
from ingestion.text import cut_short, strip_unstorable

__all__ = ["KeyRefused", "ProviderError", "ProviderUnavailable", "QuestionError", "Throttled", "get_json", "post_form"]

CONNECT_TIMEOUT = 5.0
READ_TIMEOUT = 15.0
"""Seconds between two pieces of an answer."""
TOTAL_TIMEOUT = 30.0
"""Seconds for a request, from its slot to the end of the answer."""
MAX_BODY_BYTES = 8_000_000
MAX_REDIRECTS = 3
MAX_REFUSALS = 3
"""Answers 429 in a row to one request; after that the question is given back."""
MAX_QUOTED = 200
"""Characters of the provider's own message that are repeated in ours."""
MIN_SECRET = 6
"""What a request holds is not repeated if the provider does: every value of so many characters."""


class Answered:
    """An answer that has been read."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body


def get_json(
    provider: str,
    path_or_url: str,
    params: Mapping[str, str | int | float | bool] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Any:
    """The JSON that the provider answers. A path is appended to the provider's address.

    For `ask` alone: waits for a slot, and after a 429 for another one. Raises ProviderError.
    """
    query = {
        name: str(value).lower() if value is True or value is False else str(value)
        for name, value in (params or {}).items()
    }
    url = urljoin(
        f"{providers.get(provider).base_url}/", path_or_url if "://" in path_or_url else path_or_url.lstrip("/")
    )
    if query:
        url += ("&" if "?" in url else "?") + urlencode(query, errors="replace")
    return _json(provider, url, headers or {}, None, list(query.values()))


def post_form(provider: str, url: str, form: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Any:
    """The JSON answered to a form, as services give out tokens. As `get_json` otherwise; `url` is a whole address."""
    sent = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    return _json(provider, url, sent, urlencode(form).encode(), list(form.values()))


def _json(provider: str, url: str, headers: Mapping[str, str], form: bytes | None, secrets: Sequence[str]) -> Any:
    asked, slots = providers.get(provider), limits.slots_for(provider)
    sent = {"User-Agent": f"TutorMax/{settings.VERSION}", "Accept": "application/json", "Accept-Encoding": "gzip"}
    try:
        answered = _answer(asked, slots, url, {**sent, **headers}, form)
        found = _read(asked, answered, [*secrets, *headers.values()])
    except Throttled:
        raise
    except ProviderError:
        slots.count("errors")
        raise
    slots.succeeded()
    return found


def _answer(provider: Provider, slots: Slots, url: str, headers: Mapping[str, str], form: bytes | None) -> Answered:
    """The first answer that is neither 429 nor a redirect to the same host."""
    redirects = refusals = 0
    while True:
        slots.take()
        answered = _request(provider, url, headers, form)
        if answered.status == 429:
            slots.block(_retry_after(provider, answered))
            refusals += 1
            if refusals == MAX_REFUSALS:
                raise Throttled(f"{provider} answered 429 {MAX_REFUSALS} times in a row.")
        elif form is None and answered.status in (301, 302, 303, 307, 308):
            target = _target(url, answered)
            redirects += 1
            if redirects > MAX_REDIRECTS:
                raise ProviderUnavailable(f"{provider} redirects in a circle.")
            if not target or urlsplit(target)[:2] != urlsplit(url)[:2]:
                raise ProviderUnavailable(f"{provider} redirects to another host: check its address in the settings.")
            url = target
        else:
            if answered.status == 503 and (seconds := _retry_after(provider, answered)):
                slots.block(seconds)
            return answered


def _target(url: str, redirect: Answered) -> str:
    """Empty for what is no address."""
    try:
        return urljoin(url, redirect.headers.get("Location", ""))
    except ValueError:
        return ""


def _retry_after(provider: Provider, answered: Answered) -> float | None:
    header, date = answered.headers.get("Retry-After"), answered.headers.get("Date")
    return limits.retry_after(header, date, provider.max_retry_after)


def _read(provider: Provider, answered: Answered, secrets: Iterable[str]) -> Any:
    """The JSON of a good answer. Raises what another one means."""
    status = answered.status
    if 200 <= status < 300:
        try:
            return json.loads(answered.body, parse_constant=_no_json)
        except (ValueError, RecursionError):
            pass
        raise ProviderUnavailable(f"{provider} answered something that is no JSON.")
    message = f"{provider} answered {status}{_quoted(answered.body, secrets)}"
    if status in (401, 403):
        raise KeyRefused(message, status)
    if 400 <= status < 500 and status not in (408, 425):
        raise QuestionError(message, status)
    raise ProviderUnavailable(message)


def _no_json(constant: str) -> Any:
    raise ValueError(constant)


def _quoted(body: bytes, secrets: Iterable[str]) -> str:
    """What the provider says of the error, where it is JSON; without what we have sent."""
    try:
        said = json.loads(body)
        while isinstance(said, dict):
            names = ("status_message", "message", "error_description", "error", "errors")
            said = next((said[name] for name in names if said.get(name)), "")
    except (ValueError, RecursionError):
        return "."
    if not isinstance(said, str) or not said:
        return "."
    for secret in secrets:
        if len(secret) >= MIN_SECRET:
            said = said.replace(secret, "…").replace(secret.removeprefix("Bearer "), "…")
    return f": {cut_short(' '.join(strip_unstorable(said).split()), MAX_QUOTED)}"


def _request(provider: Provider, url: str, headers: Mapping[str, str], form: bytes | None) -> Answered:
    """One request. ProviderUnavailable without a complete answer in time: raised where no other error is being handled,
    so that no traceback shows the address.
    """
    _of_thread.deadline = time.monotonic() + TOTAL_TIMEOUT
    try:
        return _send(url, headers, form)
    except (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError) as error:
        why = _why(error)
    finally:
        _in_flight.pop(threading.get_ident(), None)
    raise ProviderUnavailable(f"{provider} {why}.")


def _send(url: str, headers: Mapping[str, str], form: bytes | None) -> Answered:
    timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT, read=READ_TIMEOUT)
    response = _manager(_proxy(url)).urlopen(
        "GET" if form is None else "POST",
        url,
        body=form,
        headers=headers,
        redirect=False,
        retries=False,
        timeout=timeout,
        preload_content=False,
    )
    try:
        body = _body(response)
    except BaseException:
        response.close()  # what is left of it is not waited for
        raise
    response.release_conn()
    return Answered(response.status, response.headers, body)


def _body(response: urllib3.BaseHTTPResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := response.read1(65_536):
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise _TooLarge
        if time.monotonic() > _of_thread.deadline:
            raise TimeoutError
    return b"".join(parts)


class _TooLarge(ValueError):
    pass


def _why(error: Exception) -> str:
    if isinstance(error, _TooLarge):
        return f"answered with more than {MAX_BODY_BYTES // 1_000_000} MB"
    if time.monotonic() > _of_thread.deadline:
        return f"did not answer within {TOTAL_TIMEOUT:.0f} s"
    match error:
        case urllib3.exceptions.SSLError():
            return "has no certificate that can be trusted"
        case urllib3.exceptions.NewConnectionError() | urllib3.exceptions.ConnectTimeoutError():
            return "cannot be reached"
        case urllib3.exceptions.ProxyError():
            return "cannot be reached through the proxy"
        case urllib3.exceptions.TimeoutError() | TimeoutError():
            return f"did not answer within {READ_TIMEOUT:.0f} s"
        case _:
            return "cut the connection, or answered something that is not HTTP"


# Connections. The read timeout is for each piece of an answer, so that one that drips could last for ever: whoever
# runs threads calls `cut_overdue` every second.


class _OfThread(threading.local):
    deadline = 0.0


_of_thread = _OfThread()
_in_flight: dict[int, tuple[float, HTTPConnection]] = {}
"""Thread → when its request must be over, and the connection."""


class _Connection(HTTPConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        _in_flight[threading.get_ident()] = (_of_thread.deadline, self)
        super().request(*args, **kwargs)


class _SecureConnection(HTTPSConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        _in_flight[threading.get_ident()] = (_of_thread.deadline, self)
        super().request(*args, **kwargs)


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


def cut_overdue() -> None:
    """Cuts the connections of requests that have lasted for longer than TOTAL_TIMEOUT."""
    now = time.monotonic()
    for deadline, connection in list(_in_flight.values()):
        if now > deadline and (sock := connection.sock) is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _proxy(url: str) -> str:
    """The proxy that the environment names for the address (HTTPS_PROXY, NO_PROXY), or nothing."""
    parts = urlsplit(url)
    return "" if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme, "")


@cache
def _manager(proxy: str) -> urllib3.PoolManager:
    manager = urllib3.ProxyManager(proxy, maxsize=MAX_THREADS) if proxy else urllib3.PoolManager(maxsize=MAX_THREADS)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
    return manager

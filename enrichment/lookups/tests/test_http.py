from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from enrichment.lookups import http, limits
from enrichment.lookups.errors import KeyRefused, ProviderError, ProviderUnavailable, QuestionError, Throttled
from enrichment.lookups.models import ProviderState
from enrichment.lookups.tests.conftest import Declare
from standins.server import Fault, Response, Server, broken_json, cut, error, not_json, redirect, slow, too_big

pytestmark = pytest.mark.django_db

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def get(declare: Declare, server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    declare(url=server.url + "/")
    monkeypatch.setattr(http, "READ_TIMEOUT", 0.5)

    def get(path: str = "/age", **params: Any) -> Any:
        return http.get_json("oracle", path, {"api_key": KEY, **params}, {"Authorization": f"Bearer {KEY}"})

    return get


def test_an_answer_is_json(get: Callable[..., Any], server: Server) -> None:
    answer = get("age", q="Ça & là + ½", page=2, adult=False)
    assert answer == {"path": "/age", "api_key": KEY, "q": "Ça & là + ½", "page": "2", "adult": "false"}
    assert get(f"{server.url}/elsewhere?a=b", q="c") == {"path": "/elsewhere", "a": "b", "api_key": KEY, "q": "c"}


def test_an_answer_may_be_compressed(get: Callable[..., Any], server: Server) -> None:
    body = gzip.compress(json.dumps({"cast": ["x" * 1000] * 1000}).encode())
    server.fail(Fault(Response(200, body, {"Content-Encoding": "gzip"})))
    assert len(get()["cast"]) == 1000


@pytest.mark.parametrize(
    ("fault", "expected", "message"),
    [
        (error(400, {"status_message": "Bad query."}), QuestionError, "The oracle answered 400: Bad query."),
        (error(404), QuestionError, "The oracle answered 404."),
        (error(405), QuestionError, "The oracle answered 405."),
        (error(422, {"errors": ["page"]}), QuestionError, "The oracle answered 422."),
        (error(401, {"error": {"message": "No key"}}), KeyRefused, "The oracle answered 401: No key"),
        (error(403), KeyRefused, "The oracle answered 403."),
        (error(408), ProviderUnavailable, "The oracle answered 408."),
        (error(500, b"<h1>" + b"[" * 50_000), ProviderUnavailable, "The oracle answered 500."),
        (error(502), ProviderUnavailable, "The oracle answered 502."),
        (error(504), ProviderUnavailable, "The oracle answered 504."),
        (error(300), ProviderUnavailable, "The oracle answered 300."),
        (cut(0), ProviderUnavailable, "cut the connection"),
        (cut(0.5), ProviderUnavailable, "cut the connection"),
        (broken_json(), ProviderUnavailable, "no JSON"),
        (not_json(), ProviderUnavailable, "no JSON"),
        (Fault(Response(200, b"")), ProviderUnavailable, "no JSON"),
        (Fault(Response(204, b"")), ProviderUnavailable, "no JSON"),
        (Fault(Response(200, b'{"a": NaN}')), ProviderUnavailable, "no JSON"),
        (Fault(Response(200, b"[" * 200_000)), ProviderUnavailable, "no JSON"),
        (Fault(Response(200, b'"\xff"')), ProviderUnavailable, "no JSON"),
        (Fault(Response(200, b"x", {"Content-Encoding": "gzip"})), ProviderUnavailable, "no JSON"),
        (too_big(), ProviderUnavailable, "more than 8 MB"),
        (
            Fault(Response(200, gzip.compress(b"[" + b" " * 50_000_000 + b"]"), {"Content-Encoding": "gzip"})),
            ProviderUnavailable,
            "more than 8 MB",
        ),
        (redirect("http://127.0.0.1:9/age"), ProviderUnavailable, "another host"),
        (redirect("https://127.0.0.1/age"), ProviderUnavailable, "another host"),
        (redirect("file:///etc/passwd"), ProviderUnavailable, "another host"),
        (redirect("http://[nowhere"), ProviderUnavailable, "another host"),
        (slow(1.0), ProviderUnavailable, "did not answer within"),
    ],
)
def test_an_error_is_somebodys(
    get: Callable[..., Any], server: Server, fault: Fault, expected: type[ProviderError], message: str
) -> None:
    server.fail(fault)
    with pytest.raises(ProviderError) as raised:
        get()
    assert type(raised.value) is expected
    assert message in str(raised.value)
    if expected is QuestionError:
        assert isinstance(raised.value, QuestionError)
        assert f" {raised.value.status}" in str(raised.value)
    assert get()["path"] == "/age"  # the connection is none that is left half read


def test_a_redirect_on_the_same_host_is_followed(get: Callable[..., Any], server: Server) -> None:
    server.fail(redirect("/new", 301))
    assert get()["path"] == "/new"
    server.fail(redirect("/age"), times=None)
    with pytest.raises(ProviderUnavailable, match="in a circle"):
        get()


def test_nobody_answers(declare: Declare) -> None:
    declare(url="http://127.0.0.1:9")
    with pytest.raises(ProviderUnavailable, match="The oracle cannot be reached"):
        http.get_json("oracle", "/age")


def test_the_key_is_in_no_log_and_no_error(
    get: Callable[..., Any], server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    echo = {"status_message": f"Invalid key {KEY}, or Bearer {KEY}."}
    location = redirect(f"http://127.0.0.1:9/?api_key={KEY}")
    for fault in (error(401, echo), error(500, echo), error(404, echo), cut(0), slow(1), too_big(), location):
        server.fail(fault)
        with pytest.raises(ProviderError) as raised:
            get()
        current: BaseException | None = raised.value
        while current:  # also what a log would not show
            assert KEY not in "".join(traceback.format_exception(current, chain=False))
            current = current.__context__
    get()
    assert KEY not in caplog.text


def test_a_429_is_waited_for_and_asked_again(get: Callable[..., Any], server: Server) -> None:
    server.fail(error(429, Retry_After="1"))
    get()
    first, second = server.arrivals
    assert 1 <= second.at - first.at < 5
    assert ProviderState.objects.get().blocked_until is not None


def test_a_long_429_is_a_date_and_nobody_sleeps(get: Callable[..., Any], server: Server) -> None:
    server.fail(error(429, Retry_After="300"))
    started = time.monotonic()
    with pytest.raises(Throttled):
        get()
    assert time.monotonic() - started < 5
    state = ProviderState.objects.get()
    assert state.blocked_until is not None
    assert 290 < state.blocked_until.timestamp() - time.time() <= 300
    assert 290 < state.next_slot - time.time() <= 301


def test_a_429_for_everything_ends(get: Callable[..., Any], server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FIRST_PAUSE", 0.05)
    server.fail(error(429), times=None)
    with pytest.raises(Throttled):
        get()
    assert len(server.arrivals) == http.MAX_REFUSALS


@contextlib.contextmanager
def dripping(begin: bytes) -> Iterator[str]:
    """The address of a server that sends these bytes, and then one more every 50 ms."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(begin)
                while True:
                    time.sleep(0.05)
                    connection.sendall(b"x")

        threading.Thread(target=drip, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    "begin",
    [b"", b"HTTP/1.1 200 OK\r\nX-Header: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"],
)
def test_an_answer_that_drips_is_cut(declare: Declare, monkeypatch: pytest.MonkeyPatch, begin: bytes) -> None:
    monkeypatch.setattr(http, "TOTAL_TIMEOUT", 0.5)
    over = threading.Event()

    def cut_overdue() -> None:  # as a runner does
        while not over.wait(0.1):
            http.cut_overdue()

    threading.Thread(target=cut_overdue, daemon=True).start()
    with dripping(begin) as url:
        declare(url=url)
        started = time.monotonic()
        with pytest.raises(ProviderUnavailable):
            http.get_json("oracle", "/age")
        assert time.monotonic() - started < 5
    over.set()

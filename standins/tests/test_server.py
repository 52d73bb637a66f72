"""The stand-in is a server as its clients find it: it logs what arrives, and fails on demand."""

import http.client
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from standins import server as stand_in
from standins.server import Request, Response, Server, busiest
from tests.servers import ROOT


def echo(request: Request) -> Response:
    return Response(200, {"path": request.path, "query": dict(request.query), "body": request.body.decode()})


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(echo) as running:
        yield running


def get(server: Server, path: str = "/a?b=c") -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(server.url + path, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


def test_it_answers_and_logs(server: Server) -> None:
    before = time.monotonic()
    status, body = get(server, "/3/x?query=%C3%84%20b")
    assert (status, json.loads(body)) == (200, {"path": "/3/x", "query": {"query": "Ä b"}, "body": ""})
    [arrival] = server.arrivals
    assert (arrival.path, arrival.status) == ("/3/x", 200)
    assert before < arrival.at < time.monotonic()


def test_a_body_that_is_posted_arrives(server: Server) -> None:
    with urllib.request.urlopen(server.url + "/token", data=b"a=b", timeout=10) as answer:
        assert json.load(answer)["body"] == "a=b"


def test_errors_come_as_often_as_ordered(server: Server) -> None:
    server.fail(stand_in.error(503), times=2)
    assert [get(server)[0] for _ in range(3)] == [503, 503, 200]
    server.fail(stand_in.error(500), times=None)
    assert [get(server)[0] for _ in range(3)] == [500] * 3
    server.heal()
    assert get(server)[0] == 200


def test_a_fault_is_for_the_requests_it_fits(server: Server) -> None:
    server.fail(stand_in.error(404), when=lambda request: request.path == "/b")
    assert [get(server, path)[0] for path in ("/a", "/b", "/b")] == [200, 404, 200]


def test_headers_of_an_error_are_sent(server: Server) -> None:
    server.fail(stand_in.error(429, Retry_After="-3"))
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(server.url, timeout=10)
    with refused.value:
        assert refused.value.headers["Retry-After"] == "-3"


def test_a_slow_answer_is_late(server: Server) -> None:
    server.fail(stand_in.slow(0.3))
    before = time.monotonic()
    assert get(server)[0] == 200
    assert time.monotonic() - before >= 0.3


@pytest.mark.parametrize("keep", [0, 0.5])
def test_an_answer_is_cut(server: Server, keep: float) -> None:
    server.fail(stand_in.cut(keep))
    with pytest.raises((http.client.IncompleteRead, http.client.RemoteDisconnected)):
        get(server)
    assert get(server)[0] == 200


def test_answers_that_are_no_json(server: Server) -> None:
    for fault in (stand_in.broken_json(), stand_in.not_json()):
        server.fail(fault)
        with pytest.raises(json.JSONDecodeError):
            json.loads(get(server)[1])


def test_an_answer_may_be_too_big(server: Server) -> None:
    server.fail(stand_in.too_big())
    assert len(get(server)[1]) > 8_000_000


def ask_again(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/")
    connection.getresponse()


def test_connections_end_with_the_server() -> None:
    with Server(echo) as server:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        connection.request("GET", "/")
        connection.getresponse().read()
    with pytest.raises((http.client.HTTPException, OSError)):
        ask_again(connection)
    connection.close()


def test_the_busiest_window() -> None:
    assert busiest([], 10) == 0
    assert busiest([0, 1, 2, 9.9, 10.5], 10) == 4
    assert busiest([0, 10], 10) == 1
    assert busiest([5, 5, 5], 1) == 3


def test_as_a_child_process(tmp_path: Path) -> None:
    log = tmp_path / "arrivals"
    command = [sys.executable, "-m", "standins.tmdb", "--log", str(log)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/3/movie/900000001?api_key=any", timeout=10) as answer:
            assert json.load(answer)["title"] == "A Trip to the Moon"
        at, status, path, query = json.loads(log.read_text())
        assert (status, path, query) == (200, "/3/movie/900000001", {"api_key": "any"})
        assert 0 < time.monotonic() - at < 10
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0

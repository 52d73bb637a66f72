"""A small HTTP server that stands in for an outside service: with a log of arrivals, and faults on demand.

It runs in threads of this process (`with Server(answer) as server`) or, through the modules of the services, as a child
process. Times are those of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

MAX_BODY_BYTES = 1_000_000


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes = b""
    pairs: Sequence[tuple[str, str]] = ()
    """The query in full: a name may come more than once."""

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.pairs if each == name]


@dataclass(frozen=True)
class Response:
    """`body` is bytes as they are, or a value that is sent as JSON."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def encoded(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Arrival:
    at: float
    method: str
    path: str
    query: Mapping[str, str]
    status: int


Answer = Callable[[Request], Response]
Condition = Callable[[Request], bool]


@dataclass
class Fault:
    """What happens in place of the answer, or to it, to the next `times` requests (None: to all) that `when` fits."""

    response: Response | None = None
    delay: float = 0
    """Seconds before the answer."""
    keep: float | None = None
    """The part of the answer's bytes that is sent before the connection is cut."""
    times: int | None = 1
    when: Condition = lambda request: True


def error(status: int, body: Any = None, **headers: str) -> Fault:
    """`error(429, Retry_After="3")`: an answer with this status and these headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(response=Response(status, {} if body is None else body, named))


def slow(seconds: float) -> Fault:
    return Fault(delay=seconds)


def cut(keep: float = 0.5) -> Fault:
    """The connection ends in the middle of the answer; with keep=0 before its first byte."""
    return Fault(keep=keep)


def broken_json() -> Fault:
    return Fault(response=Response(200, b'{"page": 1, "results": ['))


def not_json() -> Fault:
    page = b"<!doctype html><title>Be right back</title>"
    return Fault(response=Response(200, page, {"Content-Type": "text/html"}))


def too_big(size: int = 9_000_000) -> Fault:
    return Fault(response=Response(200, b'{"results": "' + b"x" * size + b'"}'))


def redirect(location: str, status: int = 302) -> Fault:
    return Fault(response=Response(status, {}, {"Location": location}))


class Server:
    """The stand-in: `answer` is its protocol. `url` has no slash at its end; port 0 takes a free one."""

    def __init__(self, answer: Answer, port: int = 0, log: Path | None = None) -> None:
        self.answer = answer
        self.arrivals: list[Arrival] = []
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._log = log.open("a", encoding="utf-8") if log else None
        self._http = _HttpServer(("127.0.0.1", port), _Handler)
        self._http.stand_in = self
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *of_an_error: object) -> None:
        self._http.shutdown()
        self.close()

    def serve(self) -> None:
        """Answer until interrupted."""
        try:
            self._http.serve_forever()
        finally:
            self.close()

    def close(self) -> None:
        self._http.end_connections()
        self._http.server_close()
        if self._log:
            self._log.close()

    def fail(self, fault: Fault, *, times: int | None = 1, when: Condition | None = None) -> None:
        """Have the next `times` requests meet this fault; None: all until `heal`. Earlier faults come first."""
        fault.times, fault.when = times, when or fault.when
        with self._lock:
            self._faults.append(fault)

    def heal(self) -> None:
        with self._lock:
            self._faults.clear()

    def forget(self) -> None:
        """Empty the log of arrivals."""
        with self._lock:
            self.arrivals.clear()

    def respond(self, request: Request) -> tuple[Response, Fault | None]:
        """The answer, or that of the fault whose turn it is; the arrival is noted."""
        at = time.monotonic()
        fault = self._next_fault(request)
        response = (fault and fault.response) or self.answer(request)
        arrival = Arrival(at, request.method, request.path, request.query, response.status)
        with self._lock:
            self.arrivals.append(arrival)
            if self._log:
                self._log.write(json.dumps([arrival.at, arrival.status, arrival.path, arrival.query]) + "\n")
                self._log.flush()
        return response, fault

    def _next_fault(self, request: Request) -> Fault | None:
        with self._lock:
            for fault in self._faults:
                if not fault.when(request):
                    continue
                if fault.times is not None:
                    fault.times -= 1
                    if not fault.times:
                        self._faults.remove(fault)
                return fault
        return None


def busiest(times: Sequence[float], seconds: float) -> int:
    """The most arrivals in any window of this many seconds."""
    window: deque[float] = deque()
    most = 0
    for moment in sorted(times):
        window.append(moment)
        while window[0] <= moment - seconds:
            window.popleft()
        most = max(most, len(window))
    return most


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256
    stand_in: Server

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no error of ours."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def end_connections(self) -> None:
        for connection in list(self._open):
            _end(connection)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side may be faster
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    timeout = 60

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the arrivals are the log."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        size = min(int(self.headers.get("Content-Length") or 0), MAX_BODY_BYTES)
        headers = {name.lower(): value for name, value in self.headers.items()}
        pairs = parse_qsl(parts.query, keep_blank_values=True)
        body = self.rfile.read(size)
        request = Request(self.command, parts.path, dict(pairs), headers, body, pairs)
        response, fault = self.server.stand_in.respond(request)
        if fault and fault.delay:
            time.sleep(fault.delay)
        self._send(response, None if fault is None else fault.keep)

    def _send(self, response: Response, keep: float | None) -> None:
        body = response.encoded()
        if keep == 0:
            self.close_connection = True
            return
        self.send_response(response.status, _phrase(response.status))
        for name, value in {"Content-Type": "application/json;charset=utf-8", **response.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if keep is None:
            self.wfile.write(body)
        else:
            self.wfile.write(body[: int(len(body) * keep)])
            self.close_connection = True


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def child_options(description: str | None) -> argparse.ArgumentParser:
    """The options that all stand-ins have as child processes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="0 (the default) takes a free one")
    parser.add_argument("--log", type=Path, help="gets a line of JSON for each arrival: [time, status, path, query]")
    return parser


def serve_child(answer: Answer, options: argparse.Namespace) -> None:
    """Write the address as one line to standard output, then serve until SIGTERM or Ctrl-C."""
    server = Server(answer, options.port, options.log)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(server.url, flush=True)
        server.serve()
    except KeyboardInterrupt:
        pass

"""Servers of the demo that stand in for outside services."""

from __future__ import annotations

import shlex
import socket
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from django.conf import settings
from django.core.management.base import CommandError

from tutormax.runner.credentials import Credentials
from tutormax.runner.supervisor import Child


@dataclass(frozen=True)
class StandIns:
    """The servers, and the settings by which web server and workers ask them in place of the services."""

    children: Sequence[Child]
    environment: dict[str, str]


def stand_in(service: str) -> tuple[Child, str]:
    """The process and its address."""
    port = free_port()
    command = (sys.executable, "-m", f"standins.{service.lower()}", f"--port={port}")
    log = settings.RUN_DIR / f"{service.lower()}.log"
    child = Child(f"The stand-in for {service}", command, log, {"PYTHONPATH": str(settings.BASE_DIR)})
    return child, f"http://127.0.0.1:{port}"


def write_settings(path: Path, environment: Mapping[str, str]) -> None:
    """For other commands beside `make run`, which are to ask the same servers; no file without them."""
    path.unlink(missing_ok=True)
    if environment:
        path.write_text("".join(f"{name}={shlex.quote(value)}\n" for name, value in environment.items()))


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def upload(login: Credentials, file: Path, what: str, **query: str) -> None:
    """Uploads a file of the demo; again, it is the same upload."""
    parameters = urlencode({**query, "name": file.name})
    headers = {"Authorization": f"Api-Key {login.api_key}", "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{login.url}/api/uploads?{parameters}", file.read_bytes(), headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60):  # noqa: S310
            pass
    except OSError as error:
        raise CommandError(f"The {what} of the demo could not be uploaded: {error}") from None

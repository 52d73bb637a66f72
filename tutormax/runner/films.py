"""The films of `make run`: a server that stands in for TMDB where there is no key, and a made-up export."""

from __future__ import annotations

import socket
import sys
import urllib.request
from dataclasses import dataclass
from urllib.parse import urlencode

from django.conf import settings
from django.core.management.base import CommandError

from enrichment.lookups import ask_again
from enrichment.lookups.models import Lookup
from movies import tmdb
from movies.models import Library
from standins.export import name_of_export, write_export
from tutormax.runner.credentials import Credentials
from tutormax.runner.supervisor import Child

LIBRARY = "demo"
ANY_KEY = "demo"
"""The stand-in takes any key."""


@dataclass(frozen=True)
class StandIn:
    """The server, and the settings by which web server and workers ask it in place of TMDB."""

    child: Child
    environment: dict[str, str]


def stand_in() -> StandIn:
    port = free_port()
    command = (sys.executable, "-m", "standins.tmdb", f"--port={port}")
    child = Child(
        "The stand-in for TMDB", command, settings.RUN_DIR / "tmdb.log", {"PYTHONPATH": str(settings.BASE_DIR)}
    )
    return StandIn(child, {"TMDB_URL": f"http://127.0.0.1:{port}", "TMDB_API_KEY": ANY_KEY})


def note_source(name: str) -> None:
    """Has all films asked for again where the last start asked somebody else: data of the two must not mix."""
    marker = settings.RUN_DIR / "tmdb"
    if marker.exists() and marker.read_text() != name:
        ask_again(Lookup.objects.filter(provider=tmdb.NAME), by="command")
    marker.write_text(name)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def upload_export(login: Credentials) -> None:
    """Uploads the made-up export; again, it is the same upload."""
    file = write_export(settings.RUN_DIR / name_of_export())
    query = urlencode({"library": LIBRARY, "name": file.name})
    headers = {"Authorization": f"Api-Key {login.api_key}", "Content-Type": "application/octet-stream"}
    request = urllib.request.Request(f"{login.url}/api/uploads?{query}", file.read_bytes(), headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=60):  # noqa: S310
            pass
    except OSError as error:
        raise CommandError(f"The films of the demo could not be uploaded: {error}") from None


def link(url: str) -> str:
    """The page of the demo's library, as long as there is one."""
    library = Library.objects.filter(name=LIBRARY).first()
    return f"{url}/uploads/{library.token}" if library else ""

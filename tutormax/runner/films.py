"""The films of `make run`: a server that stands in for TMDB where there is no key, and a made-up export."""

from __future__ import annotations

from django.conf import settings

from enrichment.lookups import ask_again
from enrichment.lookups.models import Lookup
from movies import tmdb
from movies.models import Library
from standins.export import name_of_export, write_export
from tutormax.runner.credentials import Credentials
from tutormax.runner.stand_ins import StandIns, stand_in, upload

LIBRARY = "demo"
ANY_KEY = "demo"
"""The stand-in takes any key."""


def stand_ins() -> StandIns:
    child, address = stand_in("TMDB")
    return StandIns([child], {"TMDB_URL": address, "TMDB_API_KEY": ANY_KEY})


def note_source(name: str) -> None:
    """Has all films asked for again where the last start asked somebody else: data of the two must not mix."""
    marker = settings.RUN_DIR / "tmdb"
    if marker.exists() and marker.read_text() != name:
        ask_again(Lookup.objects.filter(provider=tmdb.NAME), by="command")
    marker.write_text(name)


def upload_export(login: Credentials) -> None:
    file = write_export(settings.RUN_DIR / name_of_export())
    upload(login, file, "films", library=LIBRARY)


def link(url: str) -> str:
    """The page of the demo's library, as long as there is one."""
    library = Library.objects.filter(name=LIBRARY).first()
    return f"{url}/uploads/{library.token}" if library else ""

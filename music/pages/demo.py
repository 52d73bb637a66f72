"""Whether what pages show is the demo's."""

from urllib.parse import urlsplit

from django.conf import settings

CONTACT = "demo@example.org"
"""By which the demo asks its stand-in for MusicBrainz: a mirror on this machine is asked by another one."""
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def is_demo() -> bool:
    """Whether servers on this machine stand in for MusicBrainz and Spotify: what they say of artists is invented."""
    is_here = urlsplit(settings.MUSICBRAINZ_URL).hostname in THIS_MACHINE
    return is_here and CONTACT == settings.MUSICBRAINZ_CONTACT


def stand_in(service: str, setting: str) -> str:
    """For pages of operators; empty unless it is so."""
    return f"{setting} is not set; a server on this machine stands in for {service}." if is_demo() else ""

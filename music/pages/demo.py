"""Whether what pages show is the demo's."""

from urllib.parse import urlsplit

from django.conf import settings

THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def is_demo() -> bool:
    """Whether this machine stands in for MusicBrainz or Spotify: what it says of artists is invented."""
    addresses = (settings.MUSICBRAINZ_URL, settings.SPOTIFY_URL)
    return any(urlsplit(address).hostname in THIS_MACHINE for address in addresses)

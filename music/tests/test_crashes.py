"""Processes that look up artists and are killed: no answer that was stored is asked for again."""

from __future__ import annotations

import sys

import pytest

from enrichment.lookups.models import Lookup
from music.models import Artist
from music.tests.service import AREAS, Services, band, play, services
from standins.musicbrainz import MusicBrainz
from tests.records import send
from tests.servers import Process, wait_until
from tests.workers import database_url

pytestmark = pytest.mark.django_db(transaction=True)
ARTISTS = 30


def runner(there: Services) -> Process:
    environment = {
        "DATABASE_URL": database_url(),
        "CLAIM_LEASE": "1",
        "MUSICBRAINZ_CONTACT": "music@example.org",
        "MUSICBRAINZ_URL": there.musicbrainz.url,
        "MUSICBRAINZ_RATE": "30/1",
    }
    return Process((sys.executable, "manage.py", "lookups", "run"), environment)


def settled() -> set[str]:
    """Paths of the questions that have stored answers."""
    rows = Lookup.objects.exclude(status="open").filter(provider="musicbrainz", kind__in=("artist", "area"))
    return {f"/ws/2/{kind}/{key}" for kind, key in rows.values_list("kind", "key")}


def test_no_stored_answer_is_asked_for_twice() -> None:
    bands = [band(number) for number in range(ARTISTS)]
    with services(of_musicbrainz=MusicBrainz(bands, areas=AREAS), SPOTIFY_CLIENT_ID="") as there:
        send("listens", *(play(n, n, artist_mbid=bands[n].id, album_id=None) for n in range(ARTISTS)))
        process = runner(there)
        wait_until(lambda: len(settled()) >= ARTISTS / 3, "it has stored answers", every=0.01)
        process.kill()
        answered, before = settled(), len(there.paths("musicbrainz"))
        process = runner(there)
        assert process.popen.wait(60) == 0, process.log()
        process.stop()
        assert not answered & set(there.paths("musicbrainz")[before:])
    assert len(settled()) == ARTISTS + len(AREAS)
    assert set(Artist.objects.values_list("match", "city")) == {("found", "Bristol")}

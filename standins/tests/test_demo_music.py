"""The demo's listening histories: reproducible, as people listen, and of artists from real places."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import re
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from music.geography.places import DATA
from music.layouts import read_recently_played, read_spotify_history
from music.matching import SPECIAL
from standins.listeners import LISTENERS, plays_of, write_histories
from standins.music import NAMESAKES, PLACES, VARIOUS, artists, at_musicbrainz
from tests.servers import ROOT


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {listener.name: file for listener, file in write_histories(tmp_path_factory.mktemp("histories"))}


def test_they_are_the_same_each_time(files: dict[str, Path], tmp_path: Path) -> None:
    again = {listener.name: file for listener, file in write_histories(tmp_path)}
    assert {name: file.read_bytes() for name, file in files.items()} == {
        name: file.read_bytes() for name, file in again.items()
    }


def test_each_play_is_one_that_layouts_read(files: dict[str, Path]) -> None:
    for listener in LISTENERS:
        if listener.as_api:
            items = json.loads(files[listener.name].read_bytes())["items"]
            read = [read_recently_played(item) for item in items]
        else:
            with zipfile.ZipFile(files[listener.name]) as archive:
                items = [item for name in archive.namelist() for item in json.loads(archive.read(name))]
            read = [read_spotify_history(item) for item in items]
            assert 0.01 < read.count(None) / len(read) < 0.06  # podcasts
        records = [record for record in read if record]
        assert len(records) == len({(each["played_at"], each["track_id"]) for each in records}) > 4000
        assert [each["track_name"] for each in records] == [play.track.title for play in plays_of(listener)]


def test_people_sleep_and_have_favourites() -> None:
    for listener in LISTENERS:
        plays = plays_of(listener)
        by_hour = Counter(play.end.hour for play in plays)
        assert sum(by_hour[hour] for hour in range(1, 6)) < 0.1 * len(plays) < by_hour[20] + by_hour[21]
        assert 0.08 < sum(play.ms < 30_000 for play in plays) / len(plays) < 0.15
        by_artist = Counter(play.track.artist.name for play in plays).most_common()
        assert sum(number for _, number in by_artist[:20]) > 0.3 * len(plays)
        assert len(by_artist) > 150


def test_names_and_ids_are_well_formed_and_unlike() -> None:
    known = artists()
    assert len({artist.id for artist in known}) == len({artist.name for artist in known}) == len(known) > 250
    tracks = [track for artist in known for track in artist.tracks]
    assert len({track.id for track in tracks}) == len({track.isrc for track in tracks}) == len(tracks)
    assert all(re.fullmatch("[0-9A-Za-z]{22}", track.id) for track in tracks)
    assert VARIOUS in SPECIAL


def test_places_are_cities_of_geonames() -> None:
    rows = (line.split("\t") for line in gzip.decompress((DATA / "cities.tsv.gz").read_bytes()).decode().splitlines())
    there = {int(row[2]): row[0] for row in rows}
    assert {place.geonames: place.country_code for place in PLACES}.items() <= there.items()


def test_musicbrainz_lacks_some_and_has_two_of_some() -> None:
    found = at_musicbrainz().artists
    names = Counter(artist.name for artist in found)
    assert {name for name, number in names.items() if number > 1} == {name for name, *_ in NAMESAKES}
    missing = {artist.name for artist in artists()} - set(names)
    assert 5 < len(missing) < 30
    assert 20 < sum(not artist.pages for artist in found) < 100


@pytest.mark.parametrize(
    ("module", "path", "expected"),
    [
        ("spotify", "/api/token", 400),
        ("musicbrainz", f"/ws/2/artist/{VARIOUS}?fmt=json", 200),
    ],
)
def test_each_is_a_process(module: str, path: str, expected: int) -> None:
    command = [sys.executable, "-m", f"standins.{module}"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            address = urlsplit(process.stdout.readline().strip())
            with contextlib.closing(http.client.HTTPConnection(str(address.hostname), address.port)) as connection:
                connection.request("GET", path, headers={"User-Agent": "test (a@example.org)"})
                with connection.getresponse() as response:
                    assert response.status == expected
        finally:
            process.terminate()

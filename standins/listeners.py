"""Made-up listening histories for the demo, as Spotify exports them: the same plays for the same seed and day.

`python -m standins.listeners FOLDER` writes the files. Two years of three people whose taste changes with the seasons,
who listen in the evening and on the way to work, skip, hear podcasts and are on holiday at times.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import random
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from standins.music import Artist, Track, artists

DAYS = 730
DEFAULT_DAY = date(2025, 6, 30)
WEEKDAY = (1, 0, 0, 0, 0, 1, 5, 10, 9, 4, 3, 3, 4, 4, 3, 3, 5, 9, 10, 9, 10, 12, 10, 5)
WEEKEND = (6, 3, 1, 0, 0, 0, 0, 1, 3, 6, 8, 8, 7, 7, 7, 7, 7, 7, 8, 9, 10, 11, 11, 9)
"""How likely a session begins in each hour."""
SEASON = 91
"""Days after which other artists are the favourites."""
SKIPPED, PODCASTS = 0.11, 0.03
ON_HOLIDAY = frozenset((*range(200, 212), *range(560, 575)))
"""Days without music."""
COMPILATION = "Songs of the Harbour"
IN_A_FILE = 4000


@dataclass(frozen=True)
class Listener:
    name: str
    sessions: float
    """A day."""
    taste: Sequence[str]
    as_api: bool = False
    """The plays are answers of Spotify's API, which have the IDs of artists and albums and ISRCs."""


LISTENERS = (
    Listener("anna", 1.8, ("indie rock", "dream pop", "post-punk", "trip hop", "folk", "shoegaze", "city pop")),
    Listener("ben", 1.3, ("jazz", "bossa nova", "mpb", "afrobeat", "highlife", "ethio-jazz", "tango", "desert blues")),
    Listener("chris", 0.9, ("techno", "electronic", "ambient", "hip hop", "krautrock", "dub"), as_api=True),
)


@dataclass(frozen=True)
class Play:
    track: Track
    end: datetime
    ms: int
    artist_name: str
    shuffle: bool


def plays_of(listener: Listener, last_day: date = DEFAULT_DAY) -> list[Play]:
    """In order of time."""
    chosen = random.Random(listener.name)  # noqa: S311
    all_artists = artists()
    seasons = [_favourites(chosen, listener, all_artists) for _ in range(math.ceil(DAYS / SEASON))]
    found: list[Play] = []
    for number in range(DAYS):
        day = last_day - timedelta(days=DAYS - 1 - number)
        if number in ON_HOLIDAY:
            continue
        weights = seasons[number // SEASON]
        for hour in sorted(_hours(chosen, day, listener.sessions)):
            start = datetime.combine(day, time(hour, chosen.randrange(60), chosen.randrange(60)), UTC)
            start = max(start, found[-1].end + timedelta(seconds=20)) if found else start
            found += _session(chosen, all_artists, weights, start)
    return found


def _favourites(chosen: random.Random, listener: Listener, all_artists: Sequence[Artist]) -> list[float]:
    """A weight for each artist: few are heard most, by taste and as the season has it."""
    weights = []
    for artist in all_artists:
        liked = 9.0 if set(artist.genres) & set(listener.taste) else 0.4
        always = random.Random(listener.name + artist.name).paretovariate(1.1)  # noqa: S311
        weights.append(liked * min(always, 20) * chosen.choice((0.05, 0.3, 1, 1, 3)))
    return weights


def _hours(chosen: random.Random, day: date, sessions: float) -> list[int]:
    weights = WEEKEND if day.weekday() >= 5 else WEEKDAY
    number = sum(chosen.random() < sessions / 4 for _ in range(4))
    return chosen.choices(range(24), weights, k=number)


def _session(
    chosen: random.Random, all_artists: Sequence[Artist], weights: Sequence[float], start: datetime
) -> Iterator[Play]:
    """An album from its beginning, or a mix."""
    (first,) = chosen.choices(all_artists, weights)
    is_album = chosen.random() < 0.35
    if is_album:
        tracks = list(chosen.choice(first.albums).tracks)
    else:
        mixed = chosen.choices(all_artists, weights, k=chosen.randint(3, 11))
        tracks = [chosen.choice(artist.tracks) for artist in [first, *mixed]]
    for track in tracks:
        is_skipped = chosen.random() < SKIPPED
        seconds = chosen.randint(3, 28) if is_skipped else track.seconds
        start += timedelta(seconds=seconds)
        name = "Various Artists" if chosen.random() < 0.004 else track.artist.name
        yield Play(track, start, 1000 * seconds + chosen.randrange(1000), name, not is_album)


# Files.


def write_histories(directory: Path, last_day: date = DEFAULT_DAY) -> list[tuple[Listener, Path]]:
    return [(listener, _write(directory, listener, last_day)) for listener in LISTENERS]


def _write(directory: Path, listener: Listener, last_day: date) -> Path:
    plays = plays_of(listener, last_day)
    if listener.as_api:
        path = directory / f"recently_played_{listener.name}.json"
        path.write_text(json.dumps({"items": [_as_answer(play) for play in plays]}))
        return path
    path = directory / f"spotify_history_{listener.name}.zip"
    path.write_bytes(_zipped(listener, plays))
    return path


def _zipped(listener: Listener, plays: Sequence[Play]) -> bytes:
    """The same bytes for the same plays."""
    chosen = random.Random(f"podcasts of {listener.name}")  # noqa: S311
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, some in enumerate(_pieces(plays)):
            rows = [row for play in some for row in _rows(chosen, play)]
            years = f"{some[0].end.year}-{some[-1].end.year}"
            name = f"Spotify Extended Streaming History/Streaming_History_Audio_{years}_{number}.json"
            archive.writestr(zipfile.ZipInfo(name, (2025, 7, 1, 0, 0, 0)), json.dumps(rows), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def _pieces(plays: Sequence[Play]) -> Iterator[Sequence[Play]]:
    return (plays[first : first + IN_A_FILE] for first in range(0, len(plays), IN_A_FILE))


def _rows(chosen: random.Random, play: Play) -> Iterator[dict[str, Any]]:
    """As Spotify's extended history has them; some are podcasts."""
    common = {
        "platform": "demo",
        "conn_country": "ZZ",
        "ip_addr": "192.0.2.1",
        "reason_start": "trackdone",
        "reason_end": "trackdone",
        "shuffle": play.shuffle,
        "offline": False,
        "incognito_mode": False,
        "master_metadata_track_name": None,
        "master_metadata_album_artist_name": None,
        "master_metadata_album_album_name": None,
        "spotify_track_uri": None,
        "episode_name": None,
        "episode_show_name": None,
        "spotify_episode_uri": None,
        "skipped": play.ms < 30_000,
    }
    yield common | {
        "ts": f"{play.end:%Y-%m-%dT%H:%M:%SZ}",
        "ms_played": play.ms,
        "master_metadata_track_name": play.track.title,
        "master_metadata_album_artist_name": play.artist_name,
        "master_metadata_album_album_name": (
            COMPILATION if play.artist_name != play.track.artist.name else play.track.album.title
        ),
        "spotify_track_uri": f"spotify:track:{play.track.id}",
    }
    if chosen.random() < PODCASTS:
        yield common | {
            "ts": f"{play.end + timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}",
            "ms_played": 600_000,
            "episode_name": "An episode",
            "episode_show_name": "A podcast that does not exist",
        }


def _as_answer(play: Play) -> dict[str, Any]:
    """As Spotify's API has it, without what nobody reads."""
    track, album, artist = play.track, play.track.album, play.track.artist
    return {
        "played_at": f"{play.end:%Y-%m-%dT%H:%M:%S}.{play.ms % 1000:03}Z",
        "context": None,
        "track": {
            "id": track.id,
            "name": track.title,
            "type": "track",
            "uri": f"spotify:track:{track.id}",
            "duration_ms": 1000 * track.seconds,
            "external_ids": {"isrc": track.isrc},
            "popularity": 0,
            "album": {"id": album.id, "name": album.title, "uri": f"spotify:album:{album.id}"},
            "artists": [{"id": artist.id, "name": artist.name}],
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    write_histories(parser.parse_args().directory)

"""Made-up listening histories in the files that Spotify, ListenBrainz and Last.fm give to people.

`python -m standins.histories DIRECTORY` writes one of each kind. Artists, titles and IDs are invented; the members of
the files are those of real ones, with what is there besides the plays: podcasts, addresses, device names.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
import uuid
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

Files: TypeAlias = "dict[str, bytes]"
"""path → contents"""

ADDRESS = "203.0.113.77"
DEVICE = "Demo-Player/1.0 (unit 4711)"
BEGINNING = datetime(2023, 1, 1, 7, 0, tzinfo=UTC)
WORDS = ("Amber", "Böse", "Copper", "Delta", "Écho", "Fjord", "Glass", "Harbour", "Indigo", "Juniper")
LASTFM_HEADER = ("uts", "utc_time", "artist", "artist_mbid", "album", "album_mbid", "track", "track_mbid")


@dataclass(frozen=True, kw_only=True)
class Play:
    """When a track ended, and which one it was."""

    at: datetime
    track: str
    artist: str
    album: str
    number: int
    """Of the track: its IDs are made of it."""
    ms_played: int = 180_000

    @property
    def track_id(self) -> str:
        return spotify_id("T", self.number)

    @property
    def begun(self) -> datetime:
        return self.at - timedelta(milliseconds=self.ms_played)


def spotify_id(letter: str, number: int) -> str:
    return f"{letter}{number:021}"


def mbid(number: int) -> str:
    return str(uuid.UUID(int=(0x4000 << 64) | (0x8000 << 48) | number))


def make_plays(number: int, seed: int = 1, beginning: datetime = BEGINNING) -> list[Play]:
    """Plays of some hundred tracks of thirty artists, a few minutes apart."""
    chance = random.Random(seed)  # noqa: S311  # made up, not secret
    plays, at = [], beginning
    for _ in range(number):
        track = min(int(chance.expovariate(1 / 60)), 599)
        artist = track // 20
        at += timedelta(milliseconds=chance.randrange(200_000, 2_000_000))
        name = f"The {WORDS[artist % 10]} {WORDS[(artist // 10 + 3) % 10]}s"
        album = f"{WORDS[track // 10 % 10]} {track // 10}"
        ms_played = chance.choice((180_000, 211_373, 4_000))
        plays.append(Play(at=at, track=f"Song № {track}", artist=name, album=album, number=track, ms_played=ms_played))
    return plays


def history_item(play: Play | None, *, at: datetime = BEGINNING, is_old: bool = False) -> dict[str, Any]:
    """An item of Spotify's extended streaming history; without a play, a podcast. Before 2023 it had more members."""
    at = play.at if play else at
    own = {"ip_addr": ADDRESS}
    if is_old:
        own = {"username": "demo-listener", "ip_addr_decrypted": ADDRESS, "user_agent_decrypted": DEVICE}
    return {
        "ts": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "platform": DEVICE,
        "ms_played": play.ms_played if play else 1_200_000,
        "conn_country": "GB",
        **own,
        "master_metadata_track_name": play.track if play else None,
        "master_metadata_album_artist_name": play.artist if play else None,
        "master_metadata_album_album_name": play.album if play else None,
        "spotify_track_uri": f"spotify:track:{play.track_id}" if play else None,
        "episode_name": None if play else "Of all things",
        "episode_show_name": None if play else "Demo Talk",
        "spotify_episode_uri": None if play else f"spotify:episode:{spotify_id('E', 1)}",
        **({} if is_old else dict.fromkeys(("audiobook_title", "audiobook_uri", "audiobook_chapter_uri"))),
        "reason_start": "trackdone",
        "reason_end": "trackdone",
        "shuffle": False,
        "skipped": False,
        "offline": False,
        "offline_timestamp": 1672556400,
        "incognito_mode": False,
    }


def spotify_history(plays: Sequence[Play], podcasts: int = 0, per_file: int = 10_000) -> Files:
    """The archive of the extended streaming history: the podcasts are among the first plays."""
    items = [history_item(play) for play in plays]
    for number in range(podcasts):
        items.insert(2 * number, history_item(None, at=BEGINNING + timedelta(hours=number)))
    folder = "Spotify Extended Streaming History"
    parts = [items[start : start + per_file] for start in range(0, len(items), per_file)]
    files = {f"{folder}/Streaming_History_Audio_2023_{i}.json": _json(part) for i, part in enumerate(parts)}
    return {**files, f"{folder}/ReadMeFirst_ExtendedStreamingHistory.pdf": b"%PDF-1.4\n%\xe2\xe3\n"}


def endsong(plays: Iterable[Play]) -> bytes:
    """A file of the extended streaming history as it was before 2023."""
    return _json([history_item(play, is_old=True) for play in plays])


def spotify_account(plays: Iterable[Play]) -> Files:
    """The archive of the account data, of which only one file has plays of music."""
    items = [
        {
            "endTime": f"{play.at:%Y-%m-%d %H:%M}",
            "artistName": play.artist,
            "trackName": play.track,
            "msPlayed": play.ms_played,
        }
        for play in plays
    ]
    talk = {"endTime": "2023-01-05 08:00", "podcastName": "Demo Talk", "episodeName": "One", "msPlayed": 1}
    return {
        "Spotify Account Data/StreamingHistory_music_0.json": _json(items),
        "Spotify Account Data/StreamingHistory_podcast_0.json": _json([talk]),
        "Spotify Account Data/Userdata.json": _json({"username": "demo-listener", "email": "demo@example.org"}),
    }


def recently_played(plays: Iterable[Play]) -> bytes:
    """An answer of Spotify's API, with a local file at its end."""
    items: list[dict[str, Any]] = [
        {
            "track": {
                "id": play.track_id,
                "uri": f"spotify:track:{play.track_id}",
                "name": play.track,
                "type": "track",
                "duration_ms": play.ms_played,
                "popularity": 40,
                "external_ids": {"isrc": f"GBDEM23{play.number:05}"},
                "artists": [
                    {"id": spotify_id("A", play.number // 20), "name": play.artist},
                    {"id": spotify_id("A", 99), "name": "Somebody Else"},
                ],
                "album": {
                    "id": spotify_id("B", play.number // 10),
                    "uri": f"spotify:album:{spotify_id('B', play.number // 10)}",
                    "name": play.album,
                },
            },
            "played_at": f"{play.at:%Y-%m-%dT%H:%M:%S}.123Z",
            "context": {"type": "playlist", "uri": "spotify:playlist:demo"} if play.number % 2 else None,
        }
        for play in plays
    ]
    items.append({"track": None, "played_at": "2023-01-05T08:00:00.000Z", "context": None})
    return _json({"items": items, "next": None, "cursors": {"after": "1", "before": "2"}, "limit": 50, "href": ""})


def listen(play: Play) -> dict[str, Any]:
    """An item of ListenBrainz: one in three is of a player that knows its IDs, one in three is not mapped."""
    kind = play.number % 3
    info: Mapping[str, Any] = {"submission_client": "demo", "duration": play.ms_played // 1000}
    if kind == 0:
        info = {
            "duration_ms": play.ms_played,
            "isrc": f"GBDEM23{play.number:05}",
            "spotify_id": f"https://open.spotify.com/track/{play.track_id}",
            "spotify_artist_ids": [f"https://open.spotify.com/artist/{spotify_id('A', play.number // 20)}"],
            "music_service": "spotify.com",
        }
    mapping = {
        "recording_name": play.track,
        "recording_mbid": mbid(1000 + play.number),
        "release_mbid": mbid(2000 + play.number),
        "artist_mbids": [mbid(play.number // 20)],
        "artists": [{"artist_credit_name": play.artist, "join_phrase": "", "artist_mbid": mbid(play.number // 20)}],
    }
    return {
        "listened_at": play.begun.timestamp(),
        "inserted_at": play.at.timestamp() + 3.25,
        "track_metadata": {
            "track_name": play.track,
            "artist_name": play.artist,
            "release_name": play.album,
            "recording_msid": mbid(3000 + play.number),
            "additional_info": info,
            "mbid_mapping": mapping if kind < 2 else None,
        },
    }


def listenbrainz(plays: Iterable[Play], username: str = "demo-listener") -> Files:
    """The archive of an export: a file for each month."""
    months: dict[str, list[bytes]] = {}
    for play in plays:
        line = json.dumps(listen(play), ensure_ascii=False).encode()
        months.setdefault(f"listens/{play.begun.year}/{play.begun.month}.jsonl", []).append(line)
    return {
        "user.json": json.dumps({"user_id": 12345, "username": username}).encode() + b"\n",
        **{path: b"\n".join(lines) + b"\n" for path, lines in months.items()},
        "feedback.jsonl": _line(recording_msid=mbid(3001), recording_mbid=None, score=1, created=1672556400),
        "pinned_recording.jsonl": _line(recording_msid=mbid(3002), blurb_content="Listen!", created=1672556400),
    }


def listenbrainz_json(plays: Iterable[Play]) -> bytes:
    """The single file of exports before 2025."""
    items = [{**listen(play), "listened_at": int(play.begun.timestamp())} for play in plays]
    return _json(items)


def lastfm(plays: Iterable[Play], *, with_header: bool = True) -> bytes:
    """A table of scrobbles. Without a header it has the columns of another program: artist, album, track, time."""
    rows = []
    for play in plays:
        shown = f"{play.begun.day:02} {play.begun:%b %Y, %H:%M}"
        own = mbid(play.number // 20) if play.number % 2 else ""
        full = (int(play.begun.timestamp()), shown, play.artist, own, play.album, "", play.track, "")
        rows.append(full if with_header else (play.artist, play.album, play.track, shown))
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([LASTFM_HEADER, *rows] if with_header else rows)
    return out.getvalue().encode()


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=2).encode()


def _line(**members: Any) -> bytes:
    return json.dumps(members).encode() + b"\n"


def zipped(files: Files) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, body in files.items():
            archive.writestr(zipfile.ZipInfo(path, (2025, 6, 30, 8, 30, 0)), body, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def write_all(folder: Path, number: int = 2000, seed: int = 1) -> list[Path]:
    """One file of each kind."""
    plays = make_plays(number, seed)
    files = {
        "my_spotify_data.zip": zipped(spotify_history(plays, podcasts=number // 50)),
        "endsong_0.json": endsong(plays),
        "my_account_data.zip": zipped(spotify_account(plays)),
        "recently_played.json": recently_played(plays[-50:]),
        "listenbrainz_demo-listener.zip": zipped(listenbrainz(plays)),
        "scrobbles.csv": lastfm(plays),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, body in files.items():
        (folder / name).write_bytes(body)
    return [folder / name for name in files]


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes made-up listening histories, one file of each kind.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--plays", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    print(*write_all(options.folder, options.plays, options.seed), sep="\n")


if __name__ == "__main__":
    main()

"""python -m bench.parquet [PLAYS]: writing the tables of music as Parquet, beside Polars reading and writing the plays.

Plays are made by SQL in a PostgreSQL of its own. Each side is a process, so that its peak memory is its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.database import database, postmaster
from bench.measure import processor
from tests.servers import ROOT, PostgreSQL

ROUNDS = 3
MAX_RATIO = 3.0
MAX_MB = 250.0
ARTISTS = 10_000
FILL = """
INSERT INTO music_artist (artist_key, name, plays, spotify_ids, match, how, genres, stored_at, mbid)
SELECT 'spotify-' || left(md5('artist' || i), 22), 'Artist ' || i, 0, '[]', 'found', 'url', '[]', now(),
    md5('mbid' || i)::uuid::text
FROM generate_series(1, {artists}) AS i;

INSERT INTO music_listen (listen_id, user_id, played_at, track_id, track_uri, track_isrc, track_name, album_id,
    album_uri, album, artist_id, artist, duration_ms, popularity, request_cursor, play_source, artist_key, hour,
    weekday, is_skip, track_key, version_at, delivery, position, warnings, stored_at)
SELECT to_char(at, 'YYYYMMDD"T"HH24MISSUS') || '-' || left(md5(track), 16), 'ada', at, track, 'spotify:track:' || track,
    upper(left(md5(track), 12)), 'Title of the track ' || i % 50000, album, 'spotify:album:' || album,
    'Title of the album ' || i % 20000, artist, 'Artist ' || number, 120000 + i % 240000, i % 100,
    (extract(epoch FROM at) * 1000)::bigint::text, 'spotify', 'spotify-' || artist, extract(hour FROM at),
    extract(isodow FROM at) - 1, false, left(md5(track), 16), now(), 1 + i / 2000, i % 2000, '[]', now()
FROM generate_series(1, {plays}) AS i,
    LATERAL (SELECT 1 + (i::bigint * 7919) % {artists} AS number,
        timestamptz '2012-01-01 00:00:00.123+00' + i * interval '41 seconds' AS at) AS one,
    LATERAL (SELECT left(md5('track' || i::bigint * 104729 % 50000), 22) AS track,
        left(md5('album' || i % 20000), 22) AS album, left(md5('artist' || number), 22) AS artist) AS two;

ANALYZE;
"""
POLARS = "import polars, sys; polars.read_parquet(sys.argv[1]).write_parquet(sys.argv[2])"


def main() -> None:
    plays = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with database() as (server, _), tempfile.TemporaryDirectory() as name:
        with server.connect("bench") as connection:
            connection.execute(FILL.format(plays=plays, artists=ARTISTS))
        reached = measure(plays, Path(name), server)
    if not reached:
        raise SystemExit(f"The aim is at most {MAX_RATIO:g} × Polars, and {MAX_MB:g} MB.")


def measure(plays: int, folder: Path, server: PostgreSQL) -> bool:
    """Whether the aim is reached."""
    tables = folder / "tables"
    ratios, peaks = [], []
    for _ in range(ROUNDS):
        before = processor(postmaster(server))
        ours, peak, worked = timed("manage.py", "export_music", "--data-path", str(tables))
        worked += processor(postmaster(server)) - before
        file = tables / "tracks_played" / "tracks_played.parquet"
        theirs, its_peak, it_worked = timed("-c", POLARS, str(file), str(folder / "copy.parquet"))
        print(
            f"{plays:,} plays, {file.stat().st_size / 1e6:.0f} MB: export_music {ours:.1f} s ({worked:.1f} s of"
            f" processors, PostgreSQL's included), {peak:.0f} MB; Polars reading and writing {theirs:.1f} s"
            f" ({it_worked:.1f} s), {its_peak:.0f} MB: {ours / theirs:.2f} × ({worked / it_worked:.2f} ×)",
            flush=True,
        )
        ratios.append(ours / theirs)
        peaks.append(peak)
    return sorted(ratios)[ROUNDS // 2] <= MAX_RATIO and max(peaks) <= MAX_MB


def timed(*arguments: str) -> tuple[float, float, float]:
    """Of a process of this Python: seconds, peak megabytes, seconds of processors."""
    started = time.monotonic()
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    took = time.monotonic() - started
    if status:
        raise SystemExit(f"{arguments} ended with {status}.")
    return took, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()

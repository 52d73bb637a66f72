"""python -m bench.parquet_in [PLAYS …]: a Parquet file of plays until it is kept, beside Polars alone.

Polars reads the file and writes it as NDJSON to the disk, in a process of its own; TutorMax imports it by `ingest_file`
into a PostgreSQL of its own, with `fsync`: read to its end twice, kept as deliveries, each committed. By turns, three
rounds. Memory is the peak of the process. With `--one-group` all rows are in one row group; with `--store` the plays of
the last round are stored as well, by one `enrich_pending`, whose peak is printed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import polars as pl
import psycopg

from bench.database import database
from tests.servers import ROOT, temporary_directory

MAX_RATIO = 3.0
MAX_MB = 250.0
PART = 250_000
POLARS = "import polars, sys; polars.read_parquet(sys.argv[1]).write_ndjson(sys.argv[2])"
BEGINNING = datetime(2015, 1, 1, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plays", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--one-group", action="store_true")
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with temporary_directory() as folder, database() as (_, url):
        reached = []
        for plays in options.plays:
            # In a process of its own, since the peak of this one would count as that of those it starts.
            with ProcessPoolExecutor(1, get_context("spawn")) as other:
                file = other.submit(make_file, folder, plays, one_group=options.one_group).result()
            reached.append(measure(url, file, plays, options.rounds))
            if options.store:
                reached.append(store(url, plays))
    if not all(reached):
        raise SystemExit(f"The aim is at most {MAX_RATIO:g} × Polars, and {MAX_MB:g} MB.")


def measure(url: str, file: Path, plays: int, rounds: int) -> bool:
    """Whether the aim is reached."""
    ratios, peaks = [], []
    for _ in range(rounds):
        with psycopg.connect(url) as connection:
            connection.execute("DELETE FROM ingestion_delivery")
        theirs, their_peak = timed(["-c", POLARS, str(file), str(file.with_suffix(".ndjson"))])
        ours, peak = timed(["manage.py", "ingest_file", "--again", str(file)], DATABASE_URL=url)
        assert kept(url) == plays
        print(
            f"{plays:,} plays, {file.stat().st_size / 1e6:.0f} MB: kept in {ours:.1f} s, {peak:.0f} MB; "
            f"Polars {theirs:.1f} s, {their_peak:.0f} MB: {ours / theirs:.2f} ×",
            flush=True,
        )
        ratios.append(ours / theirs)
        peaks.append(peak)
    return sorted(ratios)[rounds // 2] <= MAX_RATIO and max(peaks) <= MAX_MB


def store(url: str, plays: int) -> bool:
    """Whether the memory of the aim is enough to store what is kept."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE music_listen")
    took, peak = timed(["manage.py", "enrich_pending"], DATABASE_URL=url)
    stored = number(url, "SELECT count(*) FROM music_listen")
    assert stored == plays, stored
    print(f"{plays:,} plays stored in {took:.1f} s, {plays / took:,.0f} a second, {peak:.0f} MB", flush=True)
    return peak <= MAX_MB


def kept(url: str) -> int:
    """The rows of the newest upload."""
    of_newest = "upload_id = (SELECT max(id) FROM ingestion_upload)"
    return number(url, f"SELECT sum(count) FROM ingestion_delivery WHERE {of_newest}")


def number(url: str, question: str) -> int:
    with psycopg.connect(url) as connection:
        found = connection.execute(question.encode()).fetchone()
    return int((found and found[0]) or 0)


def timed(arguments: Sequence[str], **environment: str) -> tuple[float, float]:
    """Seconds and peak megabytes of a process of this Python."""
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MAX_PENDING_RECORDS": "1000000000", **environment},
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{arguments} ended with {status}.")
    return time.monotonic() - started, usage.ru_maxrss / 1024


def make_file(folder: Path, plays: int, *, one_group: bool) -> Path:
    """The plays of sixty thousand tracks, the most of them of a few."""
    chance = random.Random(1)
    parts = [_plays(chance, start, min(PART, plays - start)) for start in range(0, plays, PART)]
    file = folder / f"plays-{plays}.parquet"
    pl.concat(parts).write_parquet(file, row_group_size=plays if one_group else PART)
    return file


def _plays(chance: random.Random, first: int, number: int) -> pl.DataFrame:
    tracks = [min(int(chance.expovariate(1 / 8000)), 59_999) for _ in range(number)]
    ids = [_id("track", track) for track in tracks]
    return pl.DataFrame(
        {
            "user_id": ["listener-1"] * number,
            "track_id": ids,
            "track_uri": [f"spotify:track:{each}" for each in ids],
            "track_isrc": [f"GBAYE{track:07d}" if track % 10 else None for track in tracks],
            "track_name": [f"Söng of the number {7 * track} (Remastered)" for track in tracks],
            "album_id": [_id("album", track // 10) for track in tracks],
            "album": [f'Album {track // 10} of "quotes"' for track in tracks],
            "artist_id": [_id("artist", track // 30) for track in tracks],
            "artist": [f"The Artist Nr {track // 30}" for track in tracks],
            "duration_ms": [180_000 + track for track in tracks],
            "played_at": [BEGINNING + timedelta(milliseconds=35_123 * (first + i)) for i in range(number)],
            "popularity": [track % 100 for track in tracks],
            "request_cursor": [str(first + i) for i in range(number)],
            "play_source": ["spotify"] * number,
        },
        schema_overrides={"played_at": pl.Datetime("us", "UTC")},
    )


def _id(kind: str, number: int) -> str:
    return hashlib.md5(f"{kind}{number}".encode(), usedforsecurity=False).hexdigest()[:22]


if __name__ == "__main__":
    main()

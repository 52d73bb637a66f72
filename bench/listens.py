"""python -m bench.listens [RECORDS]: plays through the pipeline, beside as many sessions, by turns in one run.

Plays of one listener, of 5,000 artists, 10,000 albums and 50,000 tracks, in order of time: artists, albums, roll-ups
and questions are written with them. One worker, on a PostgreSQL of its own.
"""

from __future__ import annotations

import os
import random
import sys
from datetime import UTC, datetime, timedelta
from statistics import median

from tests.servers import PostgreSQL, manage

ROUNDS = 3
MIN_SHARE = 0.8
ARTISTS, ALBUMS, IN_A_ROW = 5_000, 10_000, 5
FIRST = datetime(2015, 1, 1, tzinfo=UTC)


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    with PostgreSQL(fsync="on", full_page_writes="on", shared_buffers="256MB") as server:
        server.start()
        with server.connect() as connection:
            connection.execute("CREATE DATABASE bench")
        os.environ |= {"DATABASE_URL": server.url("bench"), "DJANGO_SETTINGS_MODULE": "tutormax.settings"}
        manage("migrate", "--verbosity=0", database_url=os.environ["DATABASE_URL"])
        import django

        django.setup()
        shares = measure(number)
    if median(shares) < MIN_SHARE:
        raise SystemExit(f"The aim is {MIN_SHARE} of the records/s of sessions.")


def measure(number: int) -> list[float]:
    from bench import pipeline

    pipeline.prepare()
    shares = []
    for round_ in range(ROUNDS):
        rates, processor = {}, {}
        for stream, records in (
            ("sessions", pipeline._sessions(f"s{round_}_", number)),
            ("listens", plays(round_, number)),
        ):
            pipeline._accept(stream, records)
            spent = pipeline.measured(number, lambda stream=stream: pipeline._drain(stream))  # type: ignore[misc]
            rates[stream], processor[stream] = spent.rate, spent.processor
        shares.append(rates["listens"] / rates["sessions"])
        print(
            f"sessions {rates['sessions']:,.0f} records/s, plays {rates['listens']:,.0f}: {shares[-1]:.2f} of it; "
            f"processor time {processor['sessions']:.1f} and {processor['listens']:.1f} µs",
            flush=True,
        )
    return shares


def plays(round_: int, number: int) -> list[dict[str, object]]:
    """Five tracks of an album one after the other; a few albums often, most of them seldom."""
    chance = random.Random(round_)
    found: list[dict[str, object]] = []
    album = 0
    for count in range(number):
        if count % IN_A_ROW == 0:
            album = int(ALBUMS * chance.random() ** 2)
        track, artist = album * IN_A_ROW + count % IN_A_ROW, album % ARTISTS
        found.append(
            {
                "user_id": "ada",
                "played_at": (FIRST + timedelta(minutes=3 * (round_ * number + count))).isoformat(),
                "track_id": f"T{track:021}",
                "track_uri": f"spotify:track:T{track:021}",
                "track_isrc": f"GBXYZ{track:07}",
                "track_name": f"Title of the track {track}",
                "album_id": f"L{album:021}",
                "album_uri": f"spotify:album:L{album:021}",
                "album": f"Title of the album {album}",
                "artist_id": f"A{artist:021}",
                "artist": f"Artist {artist}",
                "duration_ms": 180_000 + track,
                "popularity": track % 100,
                "play_source": "spotify",
            }
        )
    return found


if __name__ == "__main__":
    main()

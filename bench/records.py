"""Records for benchmarks: valid, and of what prepare() has stored."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

Record = dict[str, object]
DELIVERY = 1000
REFERRED = 500
FILMS, FILMS_OF_A_LIBRARY, TITLES = ("watched", "ratings", "diary"), 1_000, 20_000
ARTISTS, ALBUMS, IN_A_ROW, LISTENERS = 5_000, 10_000, 5, 4
FIRST = datetime(2015, 1, 1, tzinfo=UTC)


def example(stream: str, **changes: object) -> Record:
    from ingestion.streams import get

    return {**get(stream).example, **changes}


def sessions(prefix: str, number: int) -> list[Record]:
    return [
        example(
            "sessions",
            session_id=f"{prefix}{i:07}",
            tutor_id=f"tutor_id_{i % REFERRED}",
            student_id=f"student_id_{i % REFERRED}",
        )
        for i in range(number)
    ]


def mix(prefix: str, number: int) -> dict[str, list[Record]]:
    """Tutors, students, sessions and feedback, 1 : 4 : 10 : 5. Feedback is on sessions with the prefix "old-"."""
    about = [{name: each[name] for name in ("session_id", "tutor_id", "student_id")} for each in old(number)]
    return {
        "tutors": [example("tutors", tutor_id=f"{prefix}{i:07}") for i in range(number // 20)],
        "students": [example("students", student_id=f"{prefix}{i:07}") for i in range(number // 5)],
        "sessions": sessions(prefix, number // 2),
        "feedback": [example("feedback", feedback_id=f"{prefix}{i:07}", **each) for i, each in enumerate(about)],
    }


def old(number: int) -> list[Record]:
    """The sessions that feedback of a mix refers to."""
    return sessions("old-", number // 4)


def entries(prefix: str, number: int) -> list[Record]:
    """Libraries of a thousand films each, of which every one is watched, rated and in the diary."""
    of_a_library = len(FILMS) * FILMS_OF_A_LIBRARY
    return [
        {
            "library": f"{prefix}{i // of_a_library}",
            "kind": FILMS[i % of_a_library // FILMS_OF_A_LIBRARY],
            "title": f"The film of number {(film := (i // of_a_library * 7919 + i % FILMS_OF_A_LIBRARY) % TITLES)}",
            "year": 1950 + film % 70,
            "letterboxd_uri": f"https://boxd.it/{film:05}",
            "rating": 0.5 + film % 10 / 2,
            "watched_on": "2025-02-14",
            "added_on": "2025-02-15",
        }
        for i in range(number)
    ]


def plays(prefix: str, number: int) -> list[Record]:
    """Of four listeners, one after the other. Five tracks of an album one after the other; a few albums often, most
    of them seldom.
    """
    chance = random.Random(prefix)
    found: list[Record] = []
    album = 0
    for count in range(number):
        if count % IN_A_ROW == 0:
            album = int(ALBUMS * chance.random() ** 2)
        track, artist = album * IN_A_ROW + count % IN_A_ROW, album % ARTISTS
        found.append(
            {
                "user_id": f"{prefix}{count * LISTENERS // number}",
                "played_at": (FIRST + timedelta(minutes=3 * count)).isoformat(),
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


def people() -> Iterator[tuple[str, list[Record]]]:
    """The tutors and students that sessions refer to."""
    yield "tutors", [example("tutors", tutor_id=f"tutor_id_{i}") for i in range(REFERRED)]
    yield "students", [example("students", student_id=f"student_id_{i}") for i in range(REFERRED)]


def accept_all(stream: str, records: list[Record], size: int = DELIVERY) -> None:
    from ingestion.models import Delivery
    from ingestion.payloads import ascii_json
    from ingestion.services import accept
    from ingestion.streams import get

    for start in range(0, len(records), size):
        part = records[start : start + size]
        accept(get(stream), part, ascii_json(part).encode(), fmt=Delivery.Format.JSON, client="bench")

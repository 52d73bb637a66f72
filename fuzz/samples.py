"""Valid records to begin with, of every stream: its example, synthetic ones, and the same with other keys."""

from __future__ import annotations

from datetime import date
from functools import cache
from random import Random
from typing import Any

from ingestion.streams import all_streams, get
from tutoring.synthetic.people import Plan
from tutoring.synthetic.regular import regular

PLAN = Plan(tutors=2, students=4, days=5, seed=1, until=date(2025, 6, 1))
VERSIONS = ("2025-03-01T10:00:00Z", "2025-03-02T10:00:00+02:00", "2025-03-02", "2025-03-01T10:00:00.5Z")
FIRST = ("tutors", "students", "sessions")
"""Streams to which others refer."""
KINDS = ("watched", "ratings", "diary", "reviews", "likes", "watchlist", "import")


@cache
def pool(stream: str) -> list[dict[str, Any]]:
    made = [record for name, records in regular(PLAN) for record in records if name == stream]
    return [dict(get(stream).example), *made]


def stored_first() -> dict[str, list[dict[str, Any]]]:
    """What is stored before the inputs, so that references are found."""
    return {name: pool(name)[:5] for name in FIRST}


def stream_name(chance: Random) -> str:
    return chance.choice(all_streams()).name


def record(chance: Random, stream: str) -> dict[str, Any]:
    """A valid one; few keys, so that records meet others of the same key."""
    found = dict(chance.choice(pool(stream)) if chance.random() < 0.3 else get(stream).example)
    number = chance.randrange(30)
    if get(stream).key_of is None:
        found[get(stream).key] += f"-{number}" if chance.random() < 0.8 else ""
    elif stream == "entries":
        found |= {
            "title": f"Film {number}",
            "kind": chance.choice(KINDS),
            "letterboxd_uri": f"https://boxd.it/{number}",
        }
    else:
        found |= {"played_at": f"2025-01-{1 + number:02}T02:55:58.123Z"}
    if "updated_at" in found and chance.random() < 0.6:
        found["updated_at"] = chance.choice(VERSIONS)
    elif chance.random() < 0.3:
        found.pop("updated_at", None)
    return found

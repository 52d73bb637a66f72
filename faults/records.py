"""What the client posts in one run: records of all streams, in versions, shuffled, and what should become of each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from random import Random
from typing import Any, Literal

from music.tests.service import play
from standins.tmdb import Film
from tutoring.tests.factories import feedback, session, student, tutor

POISON = "kills its worker"
"""The name of a tutor whose record kills whoever enriches it (faults/processes.py)."""
NOBODY = "nobody"
"""The end of the key of a tutor or session that never comes."""
MAX_FILMS, MAX_ARTISTS = 30, 10
"""New ones in each run."""
SUBJECTS = ("Algebra", "Physics", "Spanish", "Writing", "Juggling")
FILE_STREAMS = ("tutors", "students", "sessions", "feedback")
INVALID_SHARE = 0.04
LOST_REFERENCES = 0.03


class Fate(StrEnum):
    GOOD = "good"
    INVALID = "invalid"
    POISON = "poison"


@dataclass(frozen=True)
class Sent:
    stream: str
    payload: dict[str, Any]
    fate: Fate = Fate.GOOD


Form = Literal["one", "batch", "ndjson", "file"]


@dataclass(frozen=True)
class Post:
    number: int
    stream: str
    records: Sequence[Sent]
    form: Form
    keep_invalid: bool = False
    idempotency_key: str = ""

    @property
    def body(self) -> bytes:
        payloads = [record.payload for record in self.records]
        match self.form:
            case "one":
                return json.dumps(payloads[0]).encode()
            case "batch":
                return json.dumps(payloads).encode()
        return "\n".join(map(json.dumps, payloads)).encode()

    @property
    def path(self) -> str:
        if self.form == "file":
            return f"/api/uploads?stream={self.stream}&name=records-{self.number}.ndjson&missing=clear"
        kept = "?invalid=dead-letter" if self.keep_invalid else ""
        return f"/api/{self.stream}{'' if self.form == 'one' else '/batch'}{kept}"

    @property
    def content_type(self) -> str:
        return "application/x-ndjson" if self.form in ("ndjson", "file") else "application/json"

    @property
    def accepted(self) -> list[Sent]:
        """Those of its records that are taken in: invalid ones only as dead letters."""
        if self.keep_invalid or self.form == "file":
            return list(self.records)
        return [record for record in self.records if record.fate is not Fate.INVALID]

    @property
    def expected_status(self) -> int:
        if not self.accepted:
            return 422
        return 201 if self.form == "file" else 202


def posts(rng: Random, prefix: str, run: int, size: int, *, poison: bool = False) -> list[Post]:
    """`size` keys of each stream; streams and versions in no order, so that children come before their parents."""
    records = [
        *_tutors(rng, prefix, size),
        *_students(rng, prefix, size),
        *_sessions(rng, prefix, size),
        *_feedback(rng, prefix, size),
        *_entries(rng, prefix, run, size),
        *_listens(rng, prefix, run, size),
    ]
    rng.shuffle(records)
    found = list(_packed(rng, records))
    if poison:
        bad = tutor(tutor_id=f"{prefix}-poison", name=POISON)
        found.append(("tutors", [Sent("tutors", bad, Fate.POISON)]))
    rng.shuffle(found)
    return [_post(rng, prefix, number, stream, of_it) for number, (stream, of_it) in enumerate(found)]


def _packed(rng: Random, records: Sequence[Sent]) -> Iterator[tuple[str, list[Sent]]]:
    """Records of one stream at a time, as many as a client happens to send at once."""
    by_stream: dict[str, list[Sent]] = {}
    for record in records:
        by_stream.setdefault(record.stream, []).append(record)
    for stream, of_it in by_stream.items():
        start = 0
        while start < len(of_it):
            number = rng.choice((1, 1, 1, 1, 1, 2, 3, 5, 10, 30))
            yield stream, of_it[start : start + number]
            start += number


def _post(rng: Random, prefix: str, number: int, stream: str, records: list[Sent]) -> Post:
    forms: list[Form] = ["one"] if len(records) == 1 else ["batch", "batch", "ndjson"]
    if len(records) > 1 and stream in FILE_STREAMS:
        forms.append("file")
    form = rng.choice(forms)
    key = f"{prefix}-{number}" if form != "file" and rng.random() < 0.6 else ""
    return Post(number, stream, records, form, form != "file" and rng.random() < 0.5, key)


def _moment(rng: Random) -> datetime:
    return datetime(2025, 1, 1, tzinfo=UTC) + timedelta(seconds=rng.randrange(300 * 86_400))


def _versions(rng: Random) -> list[dict[str, str]]:
    """What decides which is newer: `updated_at`, or without it the time of arrival."""
    count = rng.choice((1, 1, 2, 3))
    return [{} if rng.random() < 0.2 else {"updated_at": _moment(rng).isoformat()} for _ in range(count)]


def _without_times(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in ("created_at", "updated_at")}


def _spoiled(rng: Random, record: Sent, **spoiled: Any) -> Sent:
    if rng.random() >= INVALID_SHARE:
        return record
    return Sent(record.stream, record.payload | spoiled, Fate.INVALID)


def _tutors(rng: Random, prefix: str, size: int) -> Iterator[Sent]:
    # Whole days since then do not change while the run lasts.
    at = f"T{(datetime.now(UTC).hour + 12) % 24:02}:00:00Z"
    for number in range(size):
        for version, times in enumerate(_versions(rng)):
            days = (datetime.now(UTC) - timedelta(days=rng.randrange(2, 800))).date()
            changes = {
                "tutor_id": f"{prefix}-t{number}",
                "name": f"Tutor {number}, version {version}",
                "subjects": rng.sample(SUBJECTS, rng.randint(1, 3)),
                "onboarding_date": f"{days}{at}",
                "age": rng.randint(18, 80),
            }
            today = {"updated_at": datetime.now(UTC).isoformat()} if rng.random() < 0.2 else {}
            record = Sent("tutors", {**_without_times(tutor(**changes)), **times, **today})
            yield _spoiled(rng, record, age=7)


def _students(rng: Random, prefix: str, size: int) -> Iterator[Sent]:
    for number in range(size):
        for version, times in enumerate(_versions(rng)):
            changes = {"student_id": f"{prefix}-u{number}", "name": f"Student {number}, version {version}"}
            record = Sent("students", {**_without_times(student(**changes)), **times})
            yield _spoiled(rng, record, age=1000)


def _key(rng: Random, prefix: str, letter: str, size: int) -> str:
    lost = letter != "u" and rng.random() < LOST_REFERENCES
    return f"{prefix}-{NOBODY}" if lost else f"{prefix}-{letter}{rng.randrange(size)}"


def _sessions(rng: Random, prefix: str, size: int) -> Iterator[Sent]:
    for number in range(size):
        for times in _versions(rng):
            start = _moment(rng).astimezone(timezone(timedelta(hours=rng.randint(-8, 9))))
            late = rng.randrange(12)
            changes = {
                "session_id": f"{prefix}-s{number}",
                "tutor_id": _key(rng, prefix, "t", size),
                "student_id": _key(rng, prefix, "u", size),
                "scheduled_start": start.isoformat(),
                "actual_start": (start + timedelta(minutes=late)).isoformat(),
                "actual_end": (start + timedelta(minutes=late + rng.randint(20, 80))).isoformat(),
                "late_start_minutes": late,
                "subject": rng.choice(SUBJECTS),
            }
            record = Sent("sessions", {**_without_times(session(**changes)), **times})
            yield _spoiled(rng, record, duration_minutes=-1)


def _feedback(rng: Random, prefix: str, size: int) -> Iterator[Sent]:
    for number in range(size):
        for _ in range(rng.choice((1, 1, 2))):
            changes: dict[str, Any] = {
                "feedback_id": f"{prefix}-f{number}",
                "session_id": _key(rng, prefix, "s", size),
                "tutor_id": _key(rng, prefix, "t", size),
                "student_id": _key(rng, prefix, "u", size),
                "overall_rating": rng.randint(1, 5),
                "patience_rating": rng.randint(1, 5),
                "submitted_at": _moment(rng).isoformat(),
            }
            if rng.random() < 0.2:
                changes["session_scheduled_start"] = _moment(rng).isoformat()
            record = Sent("feedback", _without_times(feedback(**changes)))
            yield _spoiled(rng, record, overall_rating=9)


def film_of(run: int, number: int) -> Film:
    """A film that the stand-in for TMDB knows; its title is that of the entries about it."""
    of_all = run * MAX_FILMS + number
    return Film(100_000 + of_all, f"Invented story {of_all}", f"{1950 + of_all % 70}-03-01", votes=500, runtime=90)


def _entries(rng: Random, prefix: str, run: int, size: int) -> Iterator[Sent]:
    for number in range(min(size, MAX_FILMS)):
        film = film_of(run, number)
        for kind in rng.sample(("watched", "ratings", "likes"), 2):
            for times in _versions(rng):
                yield Sent(
                    "entries",
                    {
                        "library": prefix,
                        "kind": kind,
                        "title": film.title,
                        "year": int(film.date[:4]),
                        "letterboxd_uri": f"https://boxd.it/{prefix}-{number}",
                        **({"rating": rng.randint(1, 10) / 2} if kind == "ratings" else {}),
                        **times,
                    },
                )


def artist_numbers(run: int) -> range:
    return range(run * MAX_ARTISTS + 1, (run + 1) * MAX_ARTISTS + 1)


def _listens(rng: Random, prefix: str, run: int, size: int) -> Iterator[Sent]:
    for artist in artist_numbers(run)[:size]:
        for minute in rng.sample(range(5000), 5):
            record = Sent("listens", play(artist, minute, user_id=prefix))
            yield from [record] * rng.choice((1, 1, 2))


def film_number(title: str) -> int:
    """That of `film_of` with this title."""
    return 100_000 + int(title.rpartition(" ")[2])

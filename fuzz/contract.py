"""The records of the documented contract, read a second time and in another way than the product reads them.

Nothing here calls the product's schemas: what both get wrong in the same way would not be found.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, TypeAlias


class InvalidError(ValueError):
    """The contract says that it is invalid."""


class UnsureError(ValueError):
    """The contract does not say, or only by a rule that is not read here."""


class UnreadableError(ValueError):
    """A body that is not JSON, as the contract has it."""


Read: TypeAlias = "Callable[[Any], Any]"
"""A value of JSON → what is stored."""
Row: TypeAlias = "dict[str, Any]"
MAX_DEPTH = 100
LIMITS: dict[Read, list[Any]] = {}
"""Reader → values at its limits, and just beyond them."""
NEAR_NOW = timedelta(minutes=10)
"""The product's clock is read at another moment."""
_time = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?(Z|z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)
_plain_address = re.compile(r"[a-z0-9]+(\.[a-z0-9]+)*@([a-z0-9]+\.)+[a-z]{2,10}")


def without_format_characters(text: str) -> str:
    """Names are stored without what cannot be seen; which characters these are is not read here."""
    return "".join(each for each in text if unicodedata.category(each) != "Cf").strip()


def storable(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidError("is no text")
    if "\0" in value or any("\ud800" <= each <= "\udfff" for each in value):
        raise InvalidError("cannot be stored")
    return value


def text(least: int, most: int) -> Read:
    def read(value: Any) -> str:
        shown = storable(value).strip()
        seen = without_format_characters(shown)
        if len(seen) > most or (least and not shown):
            raise InvalidError("length")
        if shown != seen and (len(shown) > most or not seen):
            raise UnsureError("invisible characters may count")
        return shown

    LIMITS[read] = ["x" * length for length in {0, least, most, most + 1}]
    return read


def identifier(value: Any) -> str:
    name = storable(value)
    printable = name.isprintable() and "/" not in name and name == name.strip()
    if not printable or not 1 <= len(name) <= 64 or name in (".", "..", "batch"):
        raise InvalidError("is no identifier")
    return unicodedata.normalize("NFC", name)


def address(value: Any) -> str:
    name = storable(value)
    if "@" not in name or not name.isprintable() or len(name) > 254:
        raise InvalidError("is no address")
    if not _plain_address.fullmatch(name):
        raise UnsureError("an unusual address")
    return name


def number(least: float, most: float) -> Read:
    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise InvalidError("is no number within the limits")
        return value

    LIMITS[read] = [least, most, least - 0.5, most + 0.5, float(most)]
    return read


def whole(least: int, most: int) -> Read:
    def read(value: Any) -> int:
        found = number(least, most)(value)
        if found != int(found):
            raise InvalidError("is no whole number")
        return int(found)

    LIMITS[read] = [least, most, least - 1, most + 1, least + 0.5, float(most)]
    return read


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidError("is neither true nor false")
    return value


def one_of(*choices: str) -> Read:
    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise InvalidError("is none of the choices")
        return value

    return read


def list_of(read_item: Read, least: int, most: int) -> Read:
    def read(value: Any) -> list[Any]:
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise InvalidError("is no list of so many")
        return [read_item(item) for item in value]

    LIMITS[read] = [["Algebra"] * length for length in {0, least, most, most + 1}]
    LIMITS[read] += [[item] for item in LIMITS.get(read_item, [])]
    return read


def moment(value: Any) -> datetime:
    if not isinstance(value, str) or not re.match(r"\d{4}", value, re.ASCII) or not value.isascii():
        raise InvalidError("is no time")
    found = _time.fullmatch(value)
    if not found:
        raise UnsureError("another form of ISO 8601, or none")
    year, month, day, hour, minute, second, fraction, offset = found.groups(default="")
    try:
        naive = datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))  # noqa: DTZ001
        at = naive.replace(microsecond=int(f"{fraction:0<6}"[:6]), tzinfo=zone_of(offset))
    except ValueError:
        raise (UnsureError("24 o'clock") if hour == "24" else InvalidError("no such day or time")) from None
    if not 1970 <= year_in_utc(at) < 2100:
        raise InvalidError("before 1970 or after 2099")
    return at


def zone_of(offset: str) -> timezone:
    """Without an offset UTC, which is the server's time zone here."""
    if offset in ("", "Z", "z"):
        return UTC
    hours, minutes = int(offset[1:3]), int(offset[3:].strip(":") or 0)
    if minutes > 59 or hours >= 16:
        raise InvalidError("no such offset")
    distance = timedelta(hours=hours, minutes=minutes)
    return timezone(-distance if offset[0] == "-" else distance)


def year_in_utc(at: datetime) -> int:
    try:
        return at.astimezone(UTC).year
    except OverflowError:
        return 0


def moment_until(lead: timedelta) -> Read:
    def read(value: Any) -> datetime:
        at, latest = moment(value), datetime.now(UTC) + lead
        if abs(at - latest) < NEAR_NOW:
            raise UnsureError("about now")
        if at > latest:
            raise InvalidError("in the future")
        return at

    return read


def day(value: Any) -> date:
    if not isinstance(value, str) or not re.fullmatch(r"\d{4}-\d\d-\d\d", value, re.ASCII):
        raise InvalidError("is no day")
    try:
        found = date.fromisoformat(value)
    except ValueError:
        raise InvalidError("no such day") from None
    if found.year > 2100:
        raise InvalidError("too late")
    return found


read_link = text(0, 500)


def link(value: Any) -> str:
    found: str = read_link(value)
    if found and not found.rpartition("://")[2].removeprefix("www.").rstrip("/"):
        raise InvalidError("is a link to nothing") if "://" not in found else UnsureError("a link to nothing")
    return found


def matching(pattern: str, read_text: Read) -> Read:
    def read(value: Any) -> str:
        found: str = read_text(value)
        if found and not re.fullmatch(pattern, without_format_characters(found), re.ASCII):
            raise InvalidError("has another form")
        return found

    return read


@dataclass(frozen=True)
class Contract:
    """What is said of a stream's records."""

    fields: Mapping[str, Read]
    required: Sequence[str]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    """Empty: computed, and not sent."""
    references: Mapping[str, str] = field(default_factory=dict)
    """field → stream."""
    rules: Callable[[Row], bool] = lambda row: True
    """Whether the fields fit together."""
    complete: Callable[[Row], Row] = lambda row: row
    """What is stored of fields that others decide about."""


past = moment_until(timedelta(minutes=5))
rating = whole(1, 5)
dates = {"created_at": past, "updated_at": past}


def session_fits(row: Row) -> bool:
    start, end, late = row["actual_start"], row["actual_end"], row["late_start_minutes"]
    if (row["no_show"] and start) or (start and end and end <= start):
        return False
    return late is None or late <= row["duration_minutes"]


def entry_fits(row: Row) -> bool:
    named = row["title"] or row["letterboxd_uri"] or row["tmdb_id"] or row["imdb_id"]
    return bool(named) and (row["rating"] is None or row["rating"] * 2 % 1 == 0)


def complete_entry(row: Row) -> Row:
    of_ten = row["rating10"] and row["rating10"] / 2
    return row | {"rating": row["rating"] or of_ten, "updated_at": row["updated_at"] or row["exported_on"]}


LIMITS[link] = [*LIMITS[read_link], "/", "www.", "https://www./", "İ" * 500]
CONTRACTS: Mapping[str, Contract] = {
    "tutors": Contract(
        fields={
            "tutor_id": identifier,
            "name": text(1, 255),
            "email": address,
            "subjects": list_of(text(1, 100), 1, 10),
            "onboarding_date": past,
            "status": one_of("active", "inactive", "suspended", "churned"),
            "age": whole(18, 100),
            "location": text(0, 255),
            "education_level": text(0, 100),
            "subject_type": one_of("STEM", "Language", "TestPrep"),
            "behavioral_archetype": one_of("high_performer", "at_risk", "new_tutor", "steady", "churner"),
            "baseline_sessions_per_week": whole(0, 50),
            **dates,
        },
        required=("tutor_id", "name", "email", "subjects", "onboarding_date"),
        defaults={"status": "active"},
        key="tutor_id",
    ),
    "students": Contract(
        fields={
            "student_id": identifier,
            "name": text(1, 255),
            "age": whole(3, 120),
            "grade_level": text(0, 50),
            "subjects_interested": list_of(text(0, 100), 0, 50),
            **dates,
        },
        required=("student_id", "name"),
        key="student_id",
    ),
    "sessions": Contract(
        fields={
            "session_id": identifier,
            "tutor_id": identifier,
            "student_id": identifier,
            "scheduled_start": moment_until(timedelta(days=30)),
            "duration_minutes": whole(0, 300),
            "subject": text(1, 100),
            "session_number": whole(1, 2**31 - 1),
            "is_first_session": boolean,
            "no_show": boolean,
            "actual_start": past,
            "actual_end": past,
            "session_type": one_of("1-on-1", "group", "workshop"),
            "tutor_initiated_reschedule": boolean,
            "late_start_minutes": whole(0, 60),
            "engagement_score": number(0, 1),
            "learning_objectives_met": boolean,
            "technical_issues": boolean,
            **dates,
        },
        required=("session_id", "tutor_id", "student_id", "scheduled_start", "duration_minutes", "subject"),
        defaults={
            "session_type": "1-on-1",
            **dict.fromkeys(("is_first_session", "no_show", "tutor_initiated_reschedule", "technical_issues"), False),
        },
        key="session_id",
        references={"tutor_id": "tutors", "student_id": "students"},
        rules=session_fits,
    ),
    "feedback": Contract(
        fields={
            **dict.fromkeys(("feedback_id", "session_id", "student_id", "tutor_id"), identifier),
            "overall_rating": rating,
            "submitted_at": past,
            "session_scheduled_start": moment,
            "subject_knowledge_rating": rating,
            "communication_rating": rating,
            "patience_rating": rating,
            "engagement_rating": rating,
            "helpfulness_rating": rating,
            "is_first_session": boolean,
            "free_text_feedback": text(0, 5000),
            "would_recommend": boolean,
            "improvement_areas": list_of(text(0, 100), 0, 10),
            "created_at": past,
        },
        required=("feedback_id", "session_id", "student_id", "tutor_id", "overall_rating", "submitted_at"),
        defaults={"is_first_session": False},
        key="feedback_id",
        references={"session_id": "sessions", "student_id": "students", "tutor_id": "tutors"},
        rules=lambda row: not row["is_first_session"] or row["would_recommend"] is not None,
    ),
    "entries": Contract(
        fields={
            "library": identifier,
            "kind": one_of("watched", "ratings", "diary", "reviews", "likes", "watchlist", "import"),
            "exported_on": past,
            "letterboxd_uri": link,
            "tmdb_id": whole(1, 2**31 - 1),
            "imdb_id": matching("tt[0-9]+", text(1, 20)),
            "title": text(0, 255),
            "year": whole(1, 9999),
            "directors": list_of(text(0, 255), 0, 50),
            "rating": number(0.5, 5),
            "rating10": whole(1, 10),
            "rewatch": boolean,
            "tags": list_of(text(0, 100), 0, 200),
            "review": text(0, 100_000),
            "watched_on": day,
            "added_on": day,
            "orphaned": boolean,
            "deleted": boolean,
            "updated_at": past,
        },
        required=("library", "kind"),
        defaults={"rewatch": False, "orphaned": False, "deleted": False},
        rules=entry_fits,
        complete=complete_entry,
    ),
    "listens": Contract(
        fields={
            "user_id": identifier,
            "played_at": past,
            "track_id": text(0, 64),
            "track_uri": text(0, 200),
            "track_isrc": text(0, 20),
            "track_name": text(0, 1000),
            "album_id": text(0, 64),
            "album_uri": text(0, 200),
            "album": text(0, 1000),
            "artist_id": text(0, 64),
            "artist_mbid": matching("[0-9A-Za-z-]+", text(0, 36)),
            "artist": text(0, 1000),
            "duration_ms": whole(0, 2**53 - 1),
            "ms_played": whole(0, 2**53 - 1),
            "popularity": whole(0, 100),
            "request_cursor": text(0, 200),
            "play_source": text(0, 200),
        },
        required=("user_id", "played_at"),
        rules=lambda row: bool(row["track_id"] or row["track_name"]),
    ),
}


def row_of(stream: str, payload: Any) -> Row:
    """What is to be stored. Raises InvalidError, or UnsureError where only the latter may be said."""
    contract = CONTRACTS[stream]
    if not isinstance(payload, dict):
        raise InvalidError("is no object")
    if any(name in payload for name in ("(unreadable)", "(raw)")):
        raise UnsureError("a reserved member")
    row, unsure = {}, False
    for name, read in contract.fields.items():
        value = payload.get(name)
        try:
            row[name] = contract.defaults.get(name) if value is None else read(value)
        except UnsureError:
            row[name], unsure = None, True
        if value is None and name in contract.required:
            raise InvalidError(f"{name} is required")
    if unsure:
        raise UnsureError("a field")
    if not contract.rules(row):
        raise InvalidError("the fields do not fit together")
    return contract.complete(row)


def verdict(stream: str, payload: Any) -> bool | None:
    """Whether it is valid; None: the contract as it is read here does not say."""
    try:
        row_of(stream, payload)
    except UnsureError:
        return None
    except InvalidError:
        return False
    return True


def is_equal(expected: Any, stored: Any) -> bool:
    """None and an empty text are as good as each other; what cannot be seen is not compared."""
    if isinstance(expected, str) and isinstance(stored, str):
        return stored == stored.strip() and without_format_characters(expected) == without_format_characters(stored)
    if isinstance(expected, list) and isinstance(stored, list):
        return len(expected) == len(stored) and all(map(is_equal, expected, stored))
    if expected in (None, "") and stored in (None, ""):
        return True
    return isinstance(expected, bool) == isinstance(stored, bool) and bool(expected == stored)


# Bodies.


def items_of(body: bytes, *, ndjson: bool) -> list[Any]:
    """The records in a body. Raises UnreadableError."""
    if ndjson:
        return [value_of(line) for line in body.split(b"\n") if line.strip()]
    value = value_of(body)
    return value if isinstance(value, list) else [value]


def value_of(body: bytes) -> Any:
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(str(error)) from None
    if depth_of(value) > MAX_DEPTH:
        raise UnreadableError("nested too deep")
    return value


def _refuse(name: str) -> Any:
    raise UnreadableError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    if abs(value := float(digits)) == float("inf"):
        raise UnreadableError("too large a number")
    return value


def depth_of(value: Any) -> int:
    """How many lists and objects stand in each other."""
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, list | dict)]:
        depth += 1
        level = [inner for each in level for inner in (each.values() if isinstance(each, dict) else each)]
    return depth

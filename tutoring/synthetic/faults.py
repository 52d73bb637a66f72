"""Records that are faulty on purpose, and the expected outcome of each."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import count, groupby
from typing import Any

from tutoring.synthetic.people import Plan
from tutoring.synthetic.regular import Batch, batches, regular
from tutoring.synthetic.texts import CATEGORIES

# ── Faults ──

COPIES = 3
"""Records of each kind of fault."""
KEY_FIELDS = {"tutors": "tutor_id", "students": "student_id", "sessions": "session_id", "feedback": "feedback_id"}
KEY_PREFIXES = {"tutors": "T", "students": "P", "sessions": "S", "feedback": "F"}
Changes = Mapping[str, Any]
"""Field: its new value, REMOVED, or a function of the record."""
REMOVED = object()


def shift_time(name: str, **by: float) -> Callable[[Mapping[str, Any]], str]:
    """The time in that field, shifted by timedelta(**by)."""
    return lambda record: (datetime.fromisoformat(record[name]) + timedelta(**by)).isoformat()


# Stream: kind: what makes a good record one that the schema refuses.
INVALID: Mapping[str, Mapping[str, Changes]] = {
    "tutors": {
        "required field missing": {"email": REMOVED},
        "null in a required field": {"name": None},
        "invalid email": {"email": "nora.at.example.org"},
        "number as text": {"age": "34"},
        "number out of range": {"age": 17},
        "number of 400 digits": {"baseline_sessions_per_week": 10**399},
        "text in place of a list": {"subjects": "Algebra"},
        "empty list": {"subjects": []},
        "unknown status": {"status": "retired"},
        "onboarding in the future": {"onboarding_date": "2099-01-01"},
        "not a time": {"created_at": "yesterday"},
        "the year 9999": {"updated_at": "9999-12-31T23:59:59-12:00"},
        "NUL character": {"name": "Nora\0Diaz"},
        "lone surrogate": {"location": "Lis\ud83dbon"},
        "text too long": {"location": "Llanfair" * 32},
        "identifier with a slash": {"tutor_id": "T/1"},
    },
    "students": {
        "required field missing": {"name": REMOVED},
        "boolean as number": {"age": True},
        "number out of range": {"age": 121},
        "numbers in a list of texts": {"subjects_interested": [1, 2]},
        "identifier too long": {"student_id": "P" * 65},
    },
    "sessions": {
        "required field missing": {"tutor_id": REMOVED},
        "number as text": {"duration_minutes": "60"},
        "number out of range": {"duration_minutes": 301},
        "score out of range": {"engagement_score": 1.2},
        "text as boolean": {"technical_issues": "no"},
        "unknown type": {"session_type": "lecture"},
        "session number 0": {"session_number": 0, "is_first_session": False},
        "late by more than its duration": {"late_start_minutes": 45, "duration_minutes": 30},
        "end before start": {"actual_end": shift_time("actual_start", minutes=-1)},
        "no-show that was held": {"no_show": True},
        "scheduled years ahead": {"scheduled_start": "2099-01-05T10:00:00+00:00"},
        "digits as time": {"scheduled_start": "20260105"},
        "NUL character": {"subject": "Alge\0bra"},
    },
    "feedback": {
        "required field missing": {"overall_rating": REMOVED},
        "rating above 5": {"overall_rating": 6},
        "rating of 0": {"overall_rating": 0},
        "rating as text": {"overall_rating": "5"},
        "category out of range": {"patience_rating": 9},
        "first session without would_recommend": {"is_first_session": True, "would_recommend": REMOVED},
        "too many improvement areas": {"improvement_areas": ["pacing"] * 11},
        "text too long": {"free_text_feedback": "Well, " * 900},
        "lone surrogate": {"free_text_feedback": "Thank you \udc4d"},
        "submitted in the future": {"submitted_at": "2099-01-05T10:00:00+00:00"},
        "empty identifier": {"feedback_id": ""},
    },
}
# Items that are not even objects.
NON_OBJECTS = ("T-00001", 42, ["tutor_id", "T-00001"])
# Stream: kind: what makes a good record one that is stored with a warning.
SUSPICIOUS: Mapping[str, Mapping[str, Changes]] = {
    "tutors": {
        "unusual age": {"age": 71},
        "unusual baseline": {"baseline_sessions_per_week": 45},
        "subject not in the catalogue": {"subjects": ["Beekeeping"]},
        "created before onboarding": {"created_at": "2001-09-01T09:00:00+00:00"},
    },
    "sessions": {
        "unusual duration": {"duration_minutes": 50},
        "held but no actual start": {"actual_start": REMOVED, "actual_end": REMOVED},
        "start off by more than the lateness": {
            "late_start_minutes": 0,
            "actual_start": shift_time("scheduled_start", minutes=20),
            "actual_end": shift_time("scheduled_start", minutes=50),
        },
        "first session with number 7": {"is_first_session": True, "session_number": 7},
        "no-show with engagement": {
            "no_show": True,
            "actual_start": REMOVED,
            "actual_end": REMOVED,
            "late_start_minutes": REMOVED,
            "engagement_score": 0.8,
        },
        "subject not in the catalogue": {"subject": "Beekeeping"},
    },
    "feedback": {
        "rating far from the categories": {
            **dict.fromkeys(CATEGORIES, 2),
            "overall_rating": 5,
            "would_recommend": True,
        },
        "poor rating without text": {
            **dict.fromkeys(CATEGORIES, 2),
            "overall_rating": 2,
            "would_recommend": False,
            "improvement_areas": ["preparation"],
            "free_text_feedback": REMOVED,
        },
        "poor first session without improvement areas": {
            **dict.fromkeys(CATEGORIES, 3),
            "overall_rating": 3,
            "is_first_session": True,
            "would_recommend": False,
            "free_text_feedback": "I am not sure yet.",
            "improvement_areas": REMOVED,
        },
        "recommended in spite of the rating": {
            **dict.fromkeys(CATEGORIES, 1),
            "overall_rating": 1,
            "would_recommend": True,
            "improvement_areas": ["preparation"],
            "free_text_feedback": "We did not get anywhere today.",
        },
        "submitted before the session": {"submitted_at": shift_time("submitted_at", days=-10)},
    },
}


class Outcome(StrEnum):
    """Expected outcome of a faulty record. The split between updated and stale depends on the order of processing."""

    DEAD = "dead: invalid"
    WAITING = "waiting"
    LATER = "inserted later"
    INSERTED = "inserted"
    WARNED = "inserted, with a warning"
    UPDATED = "updated"
    STALE = "stale"


@dataclass(frozen=True)
class Fault:
    """Faulty records of one kind."""

    kind: str
    stream: str
    expected: Outcome
    records: list[Any]


def in_batches(faults: Iterable[Fault]) -> Iterator[Batch]:
    """The faults' records in order, those of one stream that follow each other in one batch."""
    for stream, group in groupby(faults, key=lambda fault: fault.stream):
        yield from batches(stream, [record for fault in group for record in fault.records])


def plant(plan: Plan) -> list[Fault]:
    """Every kind of bad and late record, in the order to post them, after the records of regular(plan).

    They are changed copies of the plan's first records with keys of their own, and refer to the plan's records: fixed,
    each can be stored. ValueError where the plan makes no feedback to copy.
    """
    models = first_records(plan)
    numbers = count(1)

    def new(stream: str, like: int, **changes: Any) -> dict[str, Any]:
        record = models[stream][like % len(models[stream])]
        key = f"{KEY_PREFIXES[stream]}{plan.seed}-x{next(numbers):04d}"
        own = {"email": f"{key.lower()}@example.org"} if stream == "tutors" else {}
        return record | {KEY_FIELDS[stream]: key} | own | changes

    other_tutors = [new("tutors", like) for like in range(COPIES)]
    mismatched = [new("feedback", like, tutor_id=other_tutors[like]["tutor_id"]) for like in range(COPIES)]
    faults = [Fault("without sessions", "tutors", Outcome.INSERTED, other_tutors)]
    for stream in KEY_FIELDS:
        faults += plant_invalid(stream, new)
        faults += plant_versions(stream, models[stream], new)
    faults.append(Fault("of another tutor than the session's", "feedback", Outcome.WARNED, mismatched))
    return faults + plant_late(new, plan.seed)


New = Callable[..., dict[str, Any]]
"""new(stream, like, **changes): a copy of a good record of the stream, with a key of its own and these changes.

Feedback made `like` a number is that of the session made `like` the same number.
"""


def first_records(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """Some of the plan's first records by stream; the sessions are those the feedback is of, in the same order."""
    models: dict[str, list[dict[str, Any]]] = {stream: [] for stream in KEY_FIELDS}
    for stream, records in regular(plan):
        models[stream] += records
        if stream == "feedback":
            break
    else:
        raise ValueError("There is no feedback to make faults from: ask for more tutors or days.")
    sessions = {session["session_id"]: session for session in models["sessions"]}
    return models | {"sessions": [sessions[feedback["session_id"]] for feedback in models["feedback"]]}


def apply_changes(record: dict[str, Any], changes: Changes) -> dict[str, Any]:
    values = {name: value(record) if callable(value) else value for name, value in changes.items()}
    return {name: value for name, value in (record | values).items() if value is not REMOVED}


def plant_invalid(stream: str, new: New) -> Iterator[Fault]:
    for kinds, expected in ((INVALID[stream], Outcome.DEAD), (SUSPICIOUS.get(stream, {}), Outcome.WARNED)):
        for kind, changes in kinds.items():
            yield Fault(kind, stream, expected, [apply_changes(new(stream, like), changes) for like in range(COPIES)])
    if stream == "tutors":
        yield Fault("no object", stream, Outcome.DEAD, list(NON_OBJECTS))


def plant_versions(stream: str, models: list[dict[str, Any]], new: New) -> Iterator[Fault]:
    """Records that are there already: again, newer, older."""
    again, newer, older = ([models[(COPIES * turn + n) % len(models)] for n in range(COPIES)] for turn in range(3))
    twice = [new(stream, like) for like in range(COPIES)]
    yield Fault("new record", stream, Outcome.INSERTED, twice)
    yield Fault("the same record again, in the same delivery", stream, Outcome.STALE, twice)
    yield Fault("a stored record again", stream, Outcome.UPDATED, again)
    if stream != "feedback":  # which has no updated_at: what arrives later is newer
        yield Fault("newer version", stream, Outcome.UPDATED, versions(newer, minutes=1))
        yield Fault("older version after a newer", stream, Outcome.STALE, versions(older, days=-1))


def versions(records: list[dict[str, Any]], **later: float) -> list[dict[str, Any]]:
    return [apply_changes(record, {"updated_at": shift_time("updated_at", **later)}) for record in records]


def plant_late(new: New, seed: int) -> list[Fault]:
    """Records whose references come later, or never. All that comes late comes in the last three batches."""
    turns = range(COPIES)
    never = {stream: f"{KEY_PREFIXES[stream]}{seed}-never" for stream in KEY_FIELDS}
    tutors, students = ([new(stream, like) for like in turns] for stream in ("tutors", "students"))
    chain_tutors = [new("tutors", like) for like in turns]
    sessions = [new("sessions", like) for like in turns]
    of_tutors = [new("sessions", like, tutor_id=tutors[like]["tutor_id"]) for like in turns]
    of_students = [new("sessions", like, student_id=students[like]["student_id"]) for like in turns]
    chain_sessions = [new("sessions", like, tutor_id=chain_tutors[like]["tutor_id"]) for like in turns]
    return [
        Fault(
            "of a session that never comes",
            "feedback",
            Outcome.WAITING,
            [new("feedback", like, session_id=never["sessions"]) for like in turns],
        ),
        Fault("before its session", "feedback", Outcome.LATER, feedback_for(new, sessions)),
        Fault("before its session before its tutor", "feedback", Outcome.LATER, feedback_for(new, chain_sessions)),
        Fault(
            "of a tutor that never comes",
            "sessions",
            Outcome.WAITING,
            [new("sessions", like, tutor_id=never["tutors"]) for like in turns],
        ),
        Fault(
            "of a student that never comes",
            "sessions",
            Outcome.WAITING,
            [new("sessions", like, student_id=never["students"]) for like in turns],
        ),
        Fault("before its tutor", "sessions", Outcome.LATER, of_tutors + chain_sessions),
        Fault("before its student", "sessions", Outcome.LATER, of_students),
        Fault("after its feedback", "sessions", Outcome.INSERTED, sessions),
        Fault("after its session", "tutors", Outcome.INSERTED, tutors + chain_tutors),
        Fault("after its session", "students", Outcome.INSERTED, students),
    ]


def feedback_for(new: New, sessions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("session_id", "tutor_id", "student_id")
    return [new("feedback", like, **{name: session[name] for name in names}) for like, session in enumerate(sessions)]

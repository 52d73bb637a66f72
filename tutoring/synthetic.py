"""Synthetic tutors, students, sessions and feedback: linked, lifelike, and the same for the same seed.

Nothing here reads the clock: every moment lies before 00:00 UTC of `until`, all chance comes from random.Random(seed).
"""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum
from functools import cache
from itertools import chain, count, groupby
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

Batch = tuple[str, list[Any]]
"""A stream's name and records of it, to be posted in one go."""

BATCH_RECORDS = 500


@dataclass(frozen=True, kw_only=True)
class Archetype:
    """How a kind of tutor behaves. Shares lie between 0 and 1; ranges are inclusive."""

    share: float
    weekly: tuple[int, int]
    """Sessions a week."""
    tenure: tuple[int, int]
    """Days since onboarding."""
    no_show: float
    reschedule: float
    late: float
    """Share of sessions that start more than 5 minutes late."""
    latest: int
    """Minutes."""
    engagement: tuple[float, float]
    rating: float
    """What their sessions are rated in the mean, before the session's own luck."""
    technical_issues: float = 0.04
    leaves: float = 0.0
    """Share of those who stop teaching within the days generated, with `left_as` as status."""
    left_as: str = "inactive"


ARCHETYPES = {
    "high_performer": Archetype(
        share=0.30,
        weekly=(16, 30),
        tenure=(120, 1800),
        no_show=0.01,
        reschedule=0.02,
        late=0.03,
        latest=9,
        engagement=(0.75, 1.0),
        rating=4.7,
    ),
    "at_risk": Archetype(
        share=0.20,
        weekly=(10, 22),
        tenure=(60, 900),
        no_show=0.15,
        reschedule=0.25,
        late=0.35,
        latest=25,
        engagement=(0.35, 0.70),
        rating=3.5,
        technical_issues=0.12,
        leaves=0.08,
        left_as="suspended",
    ),
    "new_tutor": Archetype(
        share=0.25,
        weekly=(10, 24),
        tenure=(1, 29),
        no_show=0.05,
        reschedule=0.10,
        late=0.15,
        latest=15,
        engagement=(0.55, 0.85),
        rating=4.0,
        technical_issues=0.08,
    ),
    "steady": Archetype(
        share=0.20,
        weekly=(14, 28),
        tenure=(100, 1500),
        no_show=0.03,
        reschedule=0.05,
        late=0.08,
        latest=10,
        engagement=(0.60, 0.90),
        rating=4.3,
        leaves=0.02,
    ),
    "churner": Archetype(
        share=0.05,
        weekly=(5, 14),
        tenure=(45, 700),
        no_show=0.25,
        reschedule=0.40,
        late=0.40,
        latest=30,
        engagement=(0.20, 0.55),
        rating=2.9,
        technical_issues=0.12,
        leaves=0.60,
        left_as="churned",
    ),
}

WEEKDAYS = (1.15, 1.20, 1.20, 1.10, 0.70, 0.90, 0.75)
"""Sessions on Monday … Sunday, beside an average day."""
PARTS_OF_DAY = {"morning": 0.20, "afternoon": 0.35, "evening": 0.45}
HOURS = {"morning": (6, 12), "afternoon": (12, 17), "evening": (17, 22)}
"""When the sessions of a part of the day begin and end, by the tutor's clock."""
DURATIONS = {30: 0.20, 45: 0.20, 60: 0.45, 90: 0.15}
SESSION_TYPES = {"1-on-1": 0.86, "group": 0.10, "workshop": 0.04}

FEEDBACK = 0.85
NO_TEXT = 0.315
"""Share of ratings of 3 and more; those of 1 and 2 always say why. Makes 30 % of all."""
NEW_STUDENTS = 0.35
"""Share of students who have had no session before the days generated."""
SECOND_TUTOR = 0.40
"""Share of students who learn from a second tutor."""

# Zone: share of tutors, cities. Zones west of UTC end their last day after midnight UTC: see last_day().
ZONES: Mapping[str, tuple[float, tuple[str, ...]]] = {
    "America/New_York": (0.28, ("New York", "Boston", "Philadelphia", "Atlanta", "Miami")),
    "America/Chicago": (0.20, ("Chicago", "Houston", "Minneapolis", "Nashville")),
    "America/Los_Angeles": (0.22, ("Los Angeles", "Seattle", "San Diego", "Portland")),
    "Europe/London": (0.12, ("London", "Leeds", "Bristol", "Edinburgh")),
    "Asia/Kolkata": (0.12, ("Pune", "Chennai", "Bengaluru", "Kolkata")),
    "Australia/Sydney": (0.06, ("Sydney", "Newcastle", "Wollongong")),
}

# Type: subject: youngest age of a student, topics.
SUBJECTS: Mapping[str, Mapping[str, tuple[int, tuple[str, ...]]]] = {
    "STEM": {
        "Mathematics": (7, ("fractions", "long division", "word problems", "percentages")),
        "Algebra": (12, ("linear equations", "factoring", "inequalities", "systems of equations")),
        "Calculus": (16, ("limits", "the chain rule", "integration by parts", "related rates")),
        "Geometry": (11, ("similar triangles", "circle theorems", "proofs", "areas and volumes")),
        "Physics": (14, ("Newton's laws", "electric circuits", "projectile motion", "energy and work")),
        "Chemistry": (14, ("balancing equations", "the mole", "acids and bases", "chemical bonds")),
        "Biology": (13, ("cell division", "genetics", "photosynthesis", "the nervous system")),
        "Computer Science": (12, ("loops", "recursion", "sorting", "binary numbers")),
    },
    "Language": {
        "English": (7, ("reading comprehension", "grammar", "vocabulary", "punctuation")),
        "Writing": (9, ("essay outlines", "topic sentences", "editing a draft", "citing sources")),
        "Literature": (13, ("Macbeth", "poetry analysis", "character study", "themes and symbols")),
        "Spanish": (9, ("the past tenses", "ser and estar", "conversation", "object pronouns")),
        "French": (9, ("the passé composé", "pronunciation", "conversation", "irregular verbs")),
    },
    "TestPrep": {
        "SAT Prep": (15, ("the reading section", "the math section", "pacing", "grammar questions")),
        "ACT Prep": (15, ("the science section", "the math section", "pacing", "the English section")),
        "AP Test Prep": (15, ("free-response questions", "document questions", "timed practice", "past papers")),
        "GRE Prep": (20, ("quantitative comparison", "text completion", "the analytical essay", "vocabulary")),
    },
}
SUBJECT_TYPES = {"STEM": 0.50, "Language": 0.28, "TestPrep": 0.22}
YOUNGEST = {subject: youngest for subjects in SUBJECTS.values() for subject, (youngest, _) in subjects.items()}
TOPICS = {subject: topics for subjects in SUBJECTS.values() for subject, (_, topics) in subjects.items()}

EDUCATION = {"Bachelor's degree": 0.45, "Master's degree": 0.30, "Doctorate": 0.08, "Undergraduate student": 0.17}

FIRST_NAMES = (
    *("Amara", "Ben", "Carla", "Daniel", "Elena", "Farid", "Grace", "Hugo", "Ines", "Jamal", "Keiko", "Liam", "Maya"),
    *("Noah", "Olga", "Priya", "Quentin", "Rosa", "Samir", "Tessa", "Uma", "Victor", "Wen", "Ximena", "Yusuf", "Zoë"),
    *("Aiden", "Beatriz", "Chidi", "Dana", "Esther", "Felix", "Greta", "Hannah", "Ivan", "Joy", "Kofi", "Leïla"),
    *("Marcus", "Nadia", "Omar", "Paula", "Renée", "Sofía", "Thomas", "Vera", "William", "Yara"),
)
LAST_NAMES = (
    *("Adams", "Baker", "Chen", "Diaz", "Evans", "Fischer", "García", "Hughes", "Ibrahim", "Johnson", "Kim", "Lopez"),
    *("Mehta", "Nguyen", "O'Brien", "Patel", "Quinn", "Rossi", "Singh", "Taylor", "Usman", "Vargas", "Walker", "Xu"),
    *("Young", "Zimmer", "Almeida", "Brown", "Cohen", "Davies", "Edwards", "Ferrari", "Green", "Hernández", "Iyer"),
    *("Jones", "Kowalski", "Lee", "Müller", "Nowak", "Okafor", "Peterson", "Reid", "Santos", "Tanaka", "Weber"),
)

# Rating: what is said.
TEXTS: Mapping[int, tuple[str, ...]] = {
    5: (
        "{tutor} made {topic} easy to understand. I finally get it!",
        "Excellent session on {topic}. {tutor} is patient and very well prepared.",
        "The best {subject} session so far. We worked through {topic} step by step.",
        "{tutor} found exactly what I was missing about {topic}. Highly recommended.",
        "Loved it. The examples on {topic} really helped, and I can do the homework on my own now.",
    ),
    4: (
        "Good session. {tutor} explained {topic} well.",
        "I feel more confident with {topic} now. A little more practice would help.",
        "Helpful {subject} session, clear explanations of {topic}.",
        "{tutor} answered all my questions about {topic}.",
        "We made good progress with {topic}.",
    ),
    3: (
        "It was okay. Some of {topic} is still unclear to me.",
        "{tutor} knows {subject}, but went through {topic} too fast.",
        "An average session; I had hoped for more exercises on {topic}.",
        "Parts of it helped. I will have to read up on {topic} again.",
    ),
    2: (
        "I am still confused about {topic} after this session.",
        "{tutor} did not seem prepared for {topic}.",
        "Not what I expected from this {subject} session: little explanation, few examples.",
        "Hard to follow. We jumped around and never finished {topic}.",
    ),
    1: (
        "This was a waste of time. I learned nothing about {topic}.",
        "{tutor} was distracted and could not explain {topic}.",
        "Very disappointed with this {subject} session. I would like another tutor.",
    ),
}
LATE_TEXT = "We started {late} minutes late."
ISSUES_TEXT = "The connection kept dropping."
BEHIND_TEXT = "We did not get to what we had planned."
DONE_TEXT = "We covered everything we had planned."
FIRST_TEXT = "A great first session."

CATEGORIES = {
    "subject_knowledge_rating": "subject knowledge",
    "communication_rating": "communication",
    "patience_rating": "patience",
    "engagement_rating": "engagement",
    "helpfulness_rating": "helpfulness",
}
IMPROVEMENTS = (
    "pacing",
    "more examples",
    "clearer explanations",
    "preparation",
    "more practice",
    "checking understanding",
)

# ── Faults ──

COPIES = 3
"""Records of each kind of fault."""

KEYS = {"tutors": "tutor_id", "students": "student_id", "sessions": "session_id", "feedback": "feedback_id"}
LETTERS = {"tutors": "T", "students": "P", "sessions": "S", "feedback": "F"}

Changes = Mapping[str, Any]
"""Field: its new value, ABSENT, or a function of the record."""
ABSENT = object()


def shifted(name: str, **by: float) -> Callable[[Mapping[str, Any]], str]:
    """The time in that field, shifted by timedelta(**by)."""
    return lambda record: (datetime.fromisoformat(record[name]) + timedelta(**by)).isoformat()


# Stream: kind: what makes a good record one that the schema refuses.
INVALID: Mapping[str, Mapping[str, Changes]] = {
    "tutors": {
        "required field missing": {"email": ABSENT},
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
        "required field missing": {"name": ABSENT},
        "boolean as number": {"age": True},
        "number out of range": {"age": 121},
        "numbers in a list of texts": {"subjects_interested": [1, 2]},
        "identifier too long": {"student_id": "P" * 65},
    },
    "sessions": {
        "required field missing": {"tutor_id": ABSENT},
        "number as text": {"duration_minutes": "60"},
        "number out of range": {"duration_minutes": 301},
        "score out of range": {"engagement_score": 1.2},
        "text as boolean": {"technical_issues": "no"},
        "unknown type": {"session_type": "lecture"},
        "session number 0": {"session_number": 0, "is_first_session": False},
        "late by more than its duration": {"late_start_minutes": 45, "duration_minutes": 30},
        "end before start": {"actual_end": shifted("actual_start", minutes=-1)},
        "no-show that was held": {"no_show": True},
        "scheduled years ahead": {"scheduled_start": "2099-01-05T10:00:00+00:00"},
        "digits as time": {"scheduled_start": "20260105"},
        "NUL character": {"subject": "Alge\0bra"},
    },
    "feedback": {
        "required field missing": {"overall_rating": ABSENT},
        "rating above 5": {"overall_rating": 6},
        "rating of 0": {"overall_rating": 0},
        "rating as text": {"overall_rating": "5"},
        "category out of range": {"patience_rating": 9},
        "first session without would_recommend": {"is_first_session": True, "would_recommend": ABSENT},
        "too many improvement areas": {"improvement_areas": ["pacing"] * 11},
        "text too long": {"free_text_feedback": "Well, " * 900},
        "lone surrogate": {"free_text_feedback": "Thank you \udc4d"},
        "submitted in the future": {"submitted_at": "2099-01-05T10:00:00+00:00"},
        "empty identifier": {"feedback_id": ""},
    },
}
# A whole item that is no record.
NO_OBJECTS = ("T-00001", 42, ["tutor_id", "T-00001"])

# Stream: kind: what makes a good record one that is stored with a warning.
DOUBTFUL: Mapping[str, Mapping[str, Changes]] = {
    "tutors": {
        "unusual age": {"age": 71},
        "unusual baseline": {"baseline_sessions_per_week": 45},
        "subject not in the catalogue": {"subjects": ["Beekeeping"]},
        "created before onboarding": {"created_at": "2001-09-01T09:00:00+00:00"},
    },
    "sessions": {
        "unusual duration": {"duration_minutes": 50},
        "held but no actual start": {"actual_start": ABSENT, "actual_end": ABSENT},
        "start off by more than the lateness": {
            "late_start_minutes": 0,
            "actual_start": shifted("scheduled_start", minutes=20),
            "actual_end": shifted("scheduled_start", minutes=50),
        },
        "first session with number 7": {"is_first_session": True, "session_number": 7},
        "no-show with engagement": {
            "no_show": True,
            "actual_start": ABSENT,
            "actual_end": ABSENT,
            "late_start_minutes": ABSENT,
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
            "free_text_feedback": ABSENT,
        },
        "poor first session without improvement areas": {
            **dict.fromkeys(CATEGORIES, 3),
            "overall_rating": 3,
            "is_first_session": True,
            "would_recommend": False,
            "free_text_feedback": "I am not sure yet.",
            "improvement_areas": ABSENT,
        },
        "recommended in spite of the rating": {
            **dict.fromkeys(CATEGORIES, 1),
            "overall_rating": 1,
            "would_recommend": True,
            "improvement_areas": ["preparation"],
            "free_text_feedback": "We did not get anywhere today.",
        },
        "submitted before the session": {"submitted_at": shifted("submitted_at", days=-10)},
    },
}


class Outcome(StrEnum):
    """What becomes of a planted record. How many are updated and how many stale depends on the order of work."""

    DEAD = "dead: invalid"
    WAITING = "waiting"
    LATER = "inserted later"
    INSERTED = "inserted"
    WARNED = "inserted, with a warning"
    UPDATED = "updated"
    STALE = "stale"


@dataclass(frozen=True)
class Fault:
    """Planted records of one kind."""

    kind: str
    stream: str
    expected: Outcome
    records: list[Any]


@dataclass(frozen=True)
class Plan:
    """What is to be made. `until`: the first day of which there is nothing any more."""

    tutors: int
    students: int
    days: int
    seed: int
    until: date

    @property
    def horizon(self) -> datetime:
        return datetime.combine(self.until, time(), UTC)


@dataclass(kw_only=True, eq=False)
class Tutor:
    id: str
    name: str
    kind: str
    """The archetype."""
    zone: str
    subject_type: str
    subjects: list[str]
    weekly: int
    onboarding: date
    created_at: datetime
    leaves: date | None
    """The last day they teach, where they stop."""
    roster: list[tuple["Student", str]] = field(default_factory=list)
    """Their students, each with the subject they learn."""

    def teaches_on(self, day: date) -> bool:
        return day >= self.onboarding + timedelta(days=2) and (self.leaves is None or day <= self.leaves)


@dataclass(kw_only=True, eq=False)
class Student:
    id: str
    age: int
    zone: str
    created_at: datetime
    sessions: int
    """How many they have had."""
    subjects: list[str] = field(default_factory=list)

    def learns(self, subject: str, tutor: Tutor) -> None:
        tutor.roster.append((self, subject))
        if subject not in self.subjects:
            self.subjects.append(subject)


@dataclass(frozen=True, slots=True)
class Slot:
    """A session as planned, before it is known how it goes."""

    tutor: Tutor
    student: Student
    subject: str
    start: datetime
    minutes: int


def generate(tutors: int, students: int, days: int, seed: int, until: date, *, faults: bool = False) -> Iterator[Batch]:
    """Batches of at most 500 records in the order to post them: tutors, students, each day's sessions and feedback.

    The days are whole days by each tutor's own clock; the last is over by 00:00 UTC of `until`. With `faults`, what
    plant() returns comes last. No more than people and one day are kept in memory.
    """
    plan = Plan(tutors, students, days, seed, until)
    return chain(regular(plan), in_batches(plant(plan) if faults else []))


def regular(plan: Plan) -> Iterator[Batch]:
    """Batches of records in which our schemas find neither error nor warning."""
    rng = Random(plan.seed)  # noqa: S311
    tutors = make_tutors(rng, plan)
    students = make_students(rng, plan, tutors)
    yield from batches("tutors", [tutor_record(rng, tutor, plan.horizon) for tutor in tutors])
    yield from batches("students", [student_record(rng, student, plan.horizon) for student in students])
    numbers = count(1)
    for days_ago in reversed(range(plan.days)):
        slots = [
            slot for tutor in tutors for slot in slots_of_day(rng, tutor, last_day(tutor.zone, plan.until), days_ago)
        ]
        sessions, feedback = [], []
        # A student's tutors share the student's zone: by start within the day is in order of time for each student.
        for slot in sorted(slots, key=lambda slot: slot.start):
            number = f"{plan.seed}-{next(numbers):07d}"
            session = session_record(rng, slot, f"S{number}")
            sessions.append(session)
            if not session["no_show"] and rng.random() < FEEDBACK:
                feedback.append(feedback_record(rng, slot, session, f"F{number}", plan.horizon))
        yield from batches("sessions", sessions)
        yield from batches("feedback", feedback)


def batches(stream: str, records: list[Any]) -> Iterator[Batch]:
    for start in range(0, len(records), BATCH_RECORDS):
        yield stream, records[start : start + BATCH_RECORDS]


def in_batches(faults: Iterable[Fault]) -> Iterator[Batch]:
    """The faults' records in order, those of one stream that follow each other in one batch."""
    for stream, group in groupby(faults, key=lambda fault: fault.stream):
        yield from batches(stream, [record for fault in group for record in fault.records])


def last_day(zone: str, until: date) -> date:
    """The last day in `zone` whose every session is over, and recorded, by 00:00 UTC of `until`."""
    return until - timedelta(days=1 if offset_on(zone, until) >= timedelta(0) else 2)


@cache
def offset_on(zone: str, day: date) -> timedelta:
    """What clocks in `zone` are ahead of UTC at noon of `day`: no session is held while clocks change."""
    return datetime.combine(day, time(12), ZoneInfo(zone)).utcoffset() or timedelta(0)


def clock_on(zone: str, day: date) -> timezone:
    return timezone(offset_on(zone, day))


def pick(rng: Random, shares: Mapping[str, float]) -> str:
    return rng.choices(list(shares), list(shares.values()))[0]


def between(rng: Random, start: datetime, end: datetime) -> datetime:
    """A moment between the two, in whole seconds; `start` where `end` lies before it."""
    return start + timedelta(seconds=int(rng.random() * max((end - start).total_seconds(), 0)))


def apportion(rng: Random, shares: Mapping[str, float], total: int) -> list[str]:
    """Names in the proportions of their shares, as exactly as `total` allows, shuffled."""
    names: list[str] = []
    reached = 0.0
    for name, share in shares.items():
        reached += share
        names += [name] * (round(reached * total) - len(names))
    rng.shuffle(names)
    return names


def make_tutors(rng: Random, plan: Plan) -> list[Tutor]:
    kinds = apportion(rng, {kind: archetype.share for kind, archetype in ARCHETYPES.items()}, plan.tutors)
    zones = apportion(rng, {zone: share for zone, (share, _) in ZONES.items()}, plan.tutors)
    tutors: list[Tutor] = []
    for number, kind in enumerate(kinds):
        # With fewer students than tutors, tutors share students, and a student's tutors live in one zone.
        zone = zones[number % plan.students]
        tutors.append(make_tutor(rng, plan, f"T{plan.seed}-{number + 1:05d}", kind, zone))
    return tutors


def make_tutor(rng: Random, plan: Plan, key: str, kind: str, zone: str) -> Tutor:
    archetype = ARCHETYPES[kind]
    onboarding = plan.until - timedelta(days=rng.randint(*archetype.tenure))
    subject_type = pick(rng, SUBJECT_TYPES)
    subjects = list(SUBJECTS[subject_type])
    leaves = None
    if rng.random() < archetype.leaves:
        leaves = last_day(zone, plan.until) - timedelta(days=rng.randrange(plan.days))
    return Tutor(
        id=key,
        name=f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}",
        kind=kind,
        zone=zone,
        subject_type=subject_type,
        subjects=rng.sample(subjects, rng.randint(1, min(4, len(subjects)))),
        weekly=rng.randint(*archetype.weekly),
        onboarding=onboarding,
        # From noon UTC on: onboarding_date is a date, and wherever TIME_ZONE is, its midnight has passed by then.
        created_at=datetime.combine(onboarding, time(12 + rng.randrange(8), rng.randrange(60)), UTC),
        leaves=leaves,
    )


def make_students(rng: Random, plan: Plan, tutors: list[Tutor]) -> list[Student]:
    """Students, each with a tutor or more; every tutor has at least one of them."""
    by_zone: dict[str, list[Tutor]] = {}
    for tutor in tutors:
        by_zone.setdefault(tutor.zone, []).append(tutor)
    students = []
    for number in range(plan.students):
        tutor = tutors[number % plan.tutors]
        subject = rng.choice(tutor.subjects)
        student = make_student(rng, plan, f"P{plan.seed}-{number + 1:05d}", tutor.zone, subject)
        student.learns(subject, tutor)
        second = rng.choice(by_zone[tutor.zone])
        fitting = [subject for subject in second.subjects if YOUNGEST[subject] <= student.age]
        if second is not tutor and fitting and rng.random() < SECOND_TUTOR:
            student.learns(rng.choice(fitting), second)
        students.append(student)
    for number in range(plan.students, plan.tutors):
        students[number % plan.students].learns(rng.choice(tutors[number].subjects), tutors[number])
    return students


def make_student(rng: Random, plan: Plan, key: str, zone: str, subject: str) -> Student:
    is_new = rng.random() < NEW_STUDENTS
    days_before = rng.randint(3, 20) if is_new else rng.randint(40, 900)
    return Student(
        id=key,
        age=YOUNGEST[subject] + rng.randrange(6) + (15 if rng.random() < 0.08 else 0),
        zone=zone,
        created_at=plan.horizon - timedelta(days=plan.days + days_before, seconds=rng.randrange(86_400)),
        sessions=0 if is_new else rng.randint(1, 40),
    )


def tutor_record(rng: Random, tutor: Tutor, horizon: datetime) -> dict[str, Any]:
    clock = clock_on(tutor.zone, horizon.date())
    if tutor.leaves:
        updated_at = datetime.combine(tutor.leaves, time(22, 30), clock)
    else:  # most were touched by last night's run, at midnight UTC
        updated_at = horizon if rng.random() < 0.7 else between(rng, tutor.created_at, horizon)
    is_new = tutor.kind == "new_tutor"
    return {
        "tutor_id": tutor.id,
        "name": tutor.name,
        "email": email_of(tutor),
        "subjects": tutor.subjects,
        "onboarding_date": tutor.onboarding.isoformat(),
        "status": ARCHETYPES[tutor.kind].left_as if tutor.leaves else "active",
        "age": rng.randint(22, 40 if is_new else 65),
        "location": rng.choice(ZONES[tutor.zone][1]),
        "education_level": pick(rng, EDUCATION),
        "subject_type": tutor.subject_type,
        "behavioral_archetype": tutor.kind,
        "baseline_sessions_per_week": tutor.weekly,
        "created_at": tutor.created_at.astimezone(clock).isoformat(),
        "updated_at": max(updated_at, tutor.created_at).astimezone(clock).isoformat(),
    }


def email_of(tutor: Tutor) -> str:
    """The name in plain letters, with the number of the key: no two tutors share an address."""
    letters = unicodedata.normalize("NFKD", tutor.name.lower()).encode("ascii", "ignore").decode()
    return letters.replace(" ", ".").replace("'", "") + tutor.id.partition("-")[2] + "@example.org"


def student_record(rng: Random, student: Student, horizon: datetime) -> dict[str, Any]:
    clock = clock_on(student.zone, horizon.date())
    return {
        "student_id": student.id,
        "name": f"{rng.choice(FIRST_NAMES)} {rng.choice(LAST_NAMES)}",
        "age": student.age,
        "grade_level": grade_at(student.age),
        "subjects_interested": student.subjects,
        "created_at": student.created_at.astimezone(clock).isoformat(),
        "updated_at": between(rng, student.created_at, horizon).astimezone(clock).isoformat(),
    }


def grade_at(age: int) -> str:
    if age > 22:
        return "Adult"
    return "College" if age > 17 else f"Grade {age - 5}"


def slots_of_day(rng: Random, tutor: Tutor, last: date, days_ago: int) -> Iterator[Slot]:
    """What a tutor plans for one day: no two sessions overlap."""
    day = last - timedelta(days=days_ago)
    if not tutor.teaches_on(day):
        return
    midnight = datetime.combine(day, time(), clock_on(tutor.zone, day))
    sessions = int(tutor.weekly * WEEKDAYS[day.weekday()] / 7 + rng.random())
    parts = rng.choices(list(PARTS_OF_DAY), list(PARTS_OF_DAY.values()), k=sessions)
    for part, (first, last_hour) in HOURS.items():
        for minute, minutes in laid_out(rng, parts.count(part), (last_hour - first) * 60):
            student, subject = rng.choice(tutor.roster)
            yield Slot(tutor, student, subject, midnight + timedelta(hours=first, minutes=minute), minutes)


def laid_out(rng: Random, sessions: int, window: int) -> list[tuple[int, int]]:
    """(start, duration) in minutes of sessions one after another within a window; starts are quarters of an hour."""
    durations = rng.choices(list(DURATIONS), list(DURATIONS.values()), k=sessions)
    if sum(durations) > window:
        durations = [min(DURATIONS)] * sessions
    breaks = sorted(rng.randrange((window - sum(durations)) // 15 + 1) for _ in durations)
    return [(15 * pause + sum(durations[:place]), durations[place]) for place, pause in enumerate(breaks)]


def session_record(rng: Random, slot: Slot, key: str) -> dict[str, Any]:
    """The session as it went. Counts it for the student: sessions of a student must come in order of time."""
    archetype = ARCHETYPES[slot.tutor.kind]
    slot.student.sessions += 1
    booked = slot.start - timedelta(minutes=rng.randint(24 * 60, 9 * 24 * 60))
    booked = max(booked, slot.tutor.created_at, slot.student.created_at).astimezone(slot.start.tzinfo)
    record = {
        "session_id": key,
        "tutor_id": slot.tutor.id,
        "student_id": slot.student.id,
        "scheduled_start": slot.start.isoformat(),
        "duration_minutes": slot.minutes,
        "subject": slot.subject,
        "session_number": slot.student.sessions,
        "is_first_session": slot.student.sessions == 1,
        "session_type": pick(rng, SESSION_TYPES),
        "tutor_initiated_reschedule": rng.random() < archetype.reschedule,
        "no_show": rng.random() < archetype.no_show,
        "created_at": booked.isoformat(),
    }
    return record | (missed(slot) if record["no_show"] else held(rng, slot, archetype))


def missed(slot: Slot) -> dict[str, Any]:
    end = slot.start + timedelta(minutes=slot.minutes)
    return {"engagement_score": 0.0, "learning_objectives_met": False, "updated_at": end.isoformat()}


def held(rng: Random, slot: Slot, archetype: Archetype) -> dict[str, Any]:
    late = rng.choice((0, 0, 0, 0, 1, 2, 3, 4))
    if rng.random() < archetype.late:
        late = rng.randint(6, min(archetype.latest, slot.minutes // 2))
    engagement = rng.uniform(*archetype.engagement)
    start = slot.start + timedelta(minutes=late, seconds=rng.randrange(60))
    end = slot.start + timedelta(minutes=slot.minutes + rng.randint(-4, 6), seconds=rng.randrange(60))
    return {
        "late_start_minutes": late,
        "actual_start": start.isoformat(),
        "actual_end": end.isoformat(),
        "engagement_score": round(engagement, 2),
        "learning_objectives_met": rng.random() < 0.25 + 0.75 * engagement,
        "technical_issues": rng.random() < archetype.technical_issues,
        "updated_at": (end + timedelta(minutes=rng.randint(1, 20))).isoformat(),
    }


def feedback_record(rng: Random, slot: Slot, session: dict[str, Any], key: str, horizon: datetime) -> dict[str, Any]:
    rating = rating_of(rng, ARCHETYPES[slot.tutor.kind], session)
    submitted_at = submitted(rng, slot, horizon).isoformat()
    record = {
        "feedback_id": key,
        "session_id": session["session_id"],
        "student_id": slot.student.id,
        "tutor_id": slot.tutor.id,
        "overall_rating": rating,
        "is_first_session": session["is_first_session"],
        "submitted_at": submitted_at,
        "created_at": submitted_at,
    }
    for category in CATEGORIES:
        if rng.random() < 0.9:
            record[category] = min(max(rating + rng.choice((-1, 0, 0, 0, 1)), 1), 5)
    if session["is_first_session"] or rng.random() < 0.7:
        record["would_recommend"] = rating > 3 or (rating == 3 and rng.random() < 0.5)
    if rating <= 2 or rng.random() >= NO_TEXT:
        record["free_text_feedback"] = text_of(rng, slot, session, rating)
    areas = areas_of(rng, session, record)
    if areas:
        record["improvement_areas"] = areas
    return record


def rating_of(rng: Random, archetype: Archetype, session: dict[str, Any]) -> int:
    """How the student rates the session: by how tutors of that kind are rated, and by how this session went."""
    least, most = archetype.engagement
    score: float = archetype.rating + rng.gauss(0, 0.6) + (session["engagement_score"] - (least + most) / 2) * 2
    score -= 0.5 * (session["late_start_minutes"] > 5) + 0.5 * (session["late_start_minutes"] > 15)
    score += -0.5 * session["technical_issues"] + (0.2 if session["learning_objectives_met"] else -0.5)
    return min(max(round(score), 1), 5)


def submitted(rng: Random, slot: Slot, horizon: datetime) -> datetime:
    """Mostly within hours of the session, some days later, and always before the horizon."""
    recorded = slot.start + timedelta(minutes=slot.minutes + 10)
    moment = recorded + timedelta(seconds=int(3600 * hours_later(rng)))
    return moment if moment < horizon else between(rng, recorded, horizon)


def hours_later(rng: Random) -> float:
    luck = rng.random()
    if luck < 0.6:
        return rng.uniform(0, 3)
    return rng.uniform(3, 24) if luck < 0.9 else rng.uniform(24, 96)


def text_of(rng: Random, slot: Slot, session: dict[str, Any], rating: int) -> str:
    late = session["late_start_minutes"]
    text = rng.choice(TEXTS[rating])
    if rating <= 3 and late > 5:
        text += f" {LATE_TEXT}"
    if rating <= 3 and session["technical_issues"]:
        text += f" {ISSUES_TEXT}"
    if rating <= 3 and not session["learning_objectives_met"]:
        text += f" {BEHIND_TEXT}"
    if rating == 5 and session["is_first_session"]:
        text += f" {FIRST_TEXT}"
    if rating >= 4 and session["learning_objectives_met"] and rng.random() < 0.3:
        text += f" {DONE_TEXT}"
    tutor, topic = slot.tutor.name.partition(" ")[0], rng.choice(TOPICS[slot.subject])
    return text.format(tutor=tutor, subject=slot.subject, topic=topic, late=late)


def areas_of(rng: Random, session: dict[str, Any], feedback: dict[str, Any]) -> list[str]:
    """What could be better: always something at 3 and below, sometimes at 4."""
    rating = feedback["overall_rating"]
    if rating == 5 or (rating == 4 and rng.random() < 0.75):
        return []
    areas = [name for category, name in CATEGORIES.items() if feedback.get(category, rating) < rating]
    if session["late_start_minutes"] > 5:
        areas.append("punctuality")
    if session["technical_issues"]:
        areas.append("technical setup")
    return areas[:3] or [rng.choice(IMPROVEMENTS)]


def plant(plan: Plan) -> list[Fault]:
    """Every kind of bad and late record, in the order to post them, after the records of regular(plan).

    They are changed copies of the plan's first records with keys of their own, and refer to the plan's records: mended,
    each can be stored. ValueError where the plan makes no feedback to copy.
    """
    models = first_records(plan)
    numbers = count(1)

    def new(stream: str, like: int, **changes: Any) -> dict[str, Any]:
        record = models[stream][like % len(models[stream])]
        key = f"{LETTERS[stream]}{plan.seed}-x{next(numbers):04d}"
        own = {"email": f"{key.lower()}@example.org"} if stream == "tutors" else {}
        return record | {KEYS[stream]: key} | own | changes

    strangers = [new("tutors", like) for like in range(COPIES)]
    strange = [new("feedback", like, tutor_id=strangers[like]["tutor_id"]) for like in range(COPIES)]
    faults = [Fault("without sessions", "tutors", Outcome.INSERTED, strangers)]
    for stream in KEYS:
        faults += plant_invalid(stream, new)
        faults += plant_versions(stream, models[stream], new)
    faults.append(Fault("of another tutor than the session's", "feedback", Outcome.WARNED, strange))
    return faults + plant_late(new, plan.seed)


New = Callable[..., dict[str, Any]]
"""new(stream, like, **changes): a copy of a good record of the stream, with a key of its own and these changes.

Feedback made `like` a number is that of the session made `like` the same number.
"""


def first_records(plan: Plan) -> dict[str, list[dict[str, Any]]]:
    """Some of the plan's first records by stream; the sessions are those the feedback is of, in the same order."""
    models: dict[str, list[dict[str, Any]]] = {stream: [] for stream in KEYS}
    for stream, records in regular(plan):
        models[stream] += records
        if stream == "feedback":
            break
    else:
        raise ValueError("There is no feedback to make faults from: ask for more tutors or days.")
    sessions = {session["session_id"]: session for session in models["sessions"]}
    return models | {"sessions": [sessions[feedback["session_id"]] for feedback in models["feedback"]]}


def changed(record: dict[str, Any], changes: Changes) -> dict[str, Any]:
    values = {name: value(record) if callable(value) else value for name, value in changes.items()}
    return {name: value for name, value in (record | values).items() if value is not ABSENT}


def plant_invalid(stream: str, new: New) -> Iterator[Fault]:
    for kinds, expected in ((INVALID[stream], Outcome.DEAD), (DOUBTFUL.get(stream, {}), Outcome.WARNED)):
        for kind, changes in kinds.items():
            yield Fault(kind, stream, expected, [changed(new(stream, like), changes) for like in range(COPIES)])
    if stream == "tutors":
        yield Fault("no object", stream, Outcome.DEAD, list(NO_OBJECTS))


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
    return [changed(record, {"updated_at": shifted("updated_at", **later)}) for record in records]


def plant_late(new: New, seed: int) -> list[Fault]:
    """Records whose references come later, or never. All that comes late comes in the last three batches."""
    turns = range(COPIES)
    never = {stream: f"{LETTERS[stream]}{seed}-never" for stream in KEYS}
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
        Fault("before its session", "feedback", Outcome.LATER, feedback_of(new, sessions)),
        Fault("before its session before its tutor", "feedback", Outcome.LATER, feedback_of(new, chain_sessions)),
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


def feedback_of(new: New, sessions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = ("session_id", "tutor_id", "student_id")
    return [new("feedback", like, **{name: session[name] for name in names}) for like, session in enumerate(sessions)]

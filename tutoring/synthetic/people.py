"""Synthetic tutors and students."""

import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Any

from tutoring.synthetic.chance import apportion, between, clock_on, last_day, pick
from tutoring.synthetic.profiles import (
    ARCHETYPES,
    EDUCATION,
    FIRST_NAMES,
    LAST_NAMES,
    MIN_AGE,
    NEW_STUDENT_SHARE,
    SECOND_TUTOR_SHARE,
    SUBJECT_TYPES,
    SUBJECTS,
    ZONES,
)


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

    def works_on(self, day: date) -> bool:
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
        fitting = [subject for subject in second.subjects if MIN_AGE[subject] <= student.age]
        if second is not tutor and fitting and rng.random() < SECOND_TUTOR_SHARE:
            student.learns(rng.choice(fitting), second)
        students.append(student)
    for number in range(plan.students, plan.tutors):
        students[number % plan.students].learns(rng.choice(tutors[number].subjects), tutors[number])
    return students


def make_student(rng: Random, plan: Plan, key: str, zone: str, subject: str) -> Student:
    is_new = rng.random() < NEW_STUDENT_SHARE
    days_before = rng.randint(3, 20) if is_new else rng.randint(40, 900)
    return Student(
        id=key,
        age=MIN_AGE[subject] + rng.randrange(6) + (15 if rng.random() < 0.08 else 0),
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
        "email": email_for(tutor),
        "subjects": tutor.subjects,
        "onboarding_date": tutor.onboarding.isoformat(),
        "status": ARCHETYPES[tutor.kind].status_after_leaving if tutor.leaves else "active",
        "age": rng.randint(22, 40 if is_new else 65),
        "location": rng.choice(ZONES[tutor.zone][1]),
        "education_level": pick(rng, EDUCATION),
        "subject_type": tutor.subject_type,
        "behavioral_archetype": tutor.kind,
        "baseline_sessions_per_week": tutor.weekly,
        "created_at": tutor.created_at.astimezone(clock).isoformat(),
        "updated_at": max(updated_at, tutor.created_at).astimezone(clock).isoformat(),
    }


def email_for(tutor: Tutor) -> str:
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

"""The regular records, in batches to be posted in order."""

from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

from tutoring.synthetic.chance import last_day
from tutoring.synthetic.people import Plan, make_students, make_tutors, student_record, tutor_record
from tutoring.synthetic.profiles import FEEDBACK_SHARE
from tutoring.synthetic.sessions import feedback_record, session_record, slots_of_day

Batch = tuple[str, list[Any]]
"""A stream's name and records of it, to be posted in one go."""
BATCH_RECORDS = 500


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
            if not session["no_show"] and rng.random() < FEEDBACK_SHARE:
                feedback.append(feedback_record(rng, slot, session, f"F{number}", plan.horizon))
        yield from batches("sessions", sessions)
        yield from batches("feedback", feedback)


def batches(stream: str, records: list[Any]) -> Iterator[Batch]:
    for start in range(0, len(records), BATCH_RECORDS):
        yield stream, records[start : start + BATCH_RECORDS]

"""Synthetic tutors, students, sessions and feedback: linked, lifelike, and the same for the same seed.

Nothing here reads the clock: every moment lies before 00:00 UTC of `until`, all chance comes from random.Random(seed).
"""

from collections.abc import Iterator
from datetime import date
from itertools import chain

from tutoring.synthetic.faults import in_batches, plant
from tutoring.synthetic.people import Plan
from tutoring.synthetic.regular import Batch, regular


def generate(tutors: int, students: int, days: int, seed: int, until: date, *, faults: bool = False) -> Iterator[Batch]:
    """Batches of at most 500 records in the order to post them: tutors, students, each day's sessions and feedback.

    The days are whole days by each tutor's own clock; the last is over by 00:00 UTC of `until`. With `faults`, what
    plant() returns comes last. No more than people and one day are kept in memory.
    """
    plan = Plan(tutors, students, days, seed, until)
    return chain(regular(plan), in_batches(plant(plan) if faults else []))

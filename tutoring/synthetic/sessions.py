"""Synthetic sessions and their feedback."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from random import Random
from typing import Any

from tutoring.synthetic.chance import between, clock_on, pick
from tutoring.synthetic.people import Slot, Tutor
from tutoring.synthetic.profiles import (
    ARCHETYPES,
    DURATIONS,
    HOURS,
    NO_TEXT_SHARE,
    PARTS_OF_DAY,
    SESSION_TYPES,
    WEEKDAYS,
    Archetype,
)
from tutoring.synthetic.texts import CATEGORIES, feedback_text, improvement_areas_for


def slots_of_day(rng: Random, tutor: Tutor, last: date, days_ago: int) -> Iterator[Slot]:
    """What a tutor plans for one day: no two sessions overlap."""
    day = last - timedelta(days=days_ago)
    if not tutor.works_on(day):
        return
    midnight = datetime.combine(day, time(), clock_on(tutor.zone, day))
    sessions = int(tutor.weekly * WEEKDAYS[day.weekday()] / 7 + rng.random())
    parts = rng.choices(list(PARTS_OF_DAY), list(PARTS_OF_DAY.values()), k=sessions)
    for part, (first, last_hour) in HOURS.items():
        for minute, minutes in lay_out_sessions(rng, parts.count(part), (last_hour - first) * 60):
            student, subject = rng.choice(tutor.roster)
            yield Slot(tutor, student, subject, midnight + timedelta(hours=first, minutes=minute), minutes)


def lay_out_sessions(rng: Random, sessions: int, window: int) -> list[tuple[int, int]]:
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
    return record | (no_show_fields(slot) if record["no_show"] else attended_fields(rng, slot, archetype))


def no_show_fields(slot: Slot) -> dict[str, Any]:
    end = slot.start + timedelta(minutes=slot.minutes)
    return {"engagement_score": 0.0, "learning_objectives_met": False, "updated_at": end.isoformat()}


def attended_fields(rng: Random, slot: Slot, archetype: Archetype) -> dict[str, Any]:
    late = rng.choice((0, 0, 0, 0, 1, 2, 3, 4))
    if rng.random() < archetype.late:
        late = rng.randint(6, min(archetype.max_lateness, slot.minutes // 2))
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
    rating = draw_rating(rng, ARCHETYPES[slot.tutor.kind], session)
    submitted_at = submission_time(rng, slot, horizon).isoformat()
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
    if rating <= 2 or rng.random() >= NO_TEXT_SHARE:
        record["free_text_feedback"] = feedback_text(rng, slot, session, rating)
    areas = improvement_areas_for(rng, session, record)
    if areas:
        record["improvement_areas"] = areas
    return record


def draw_rating(rng: Random, archetype: Archetype, session: dict[str, Any]) -> int:
    """How the student rates the session: by how tutors of that kind are rated, and by how this session went."""
    least, most = archetype.engagement
    score: float = archetype.rating + rng.gauss(0, 0.6) + (session["engagement_score"] - (least + most) / 2) * 2
    score -= 0.5 * (session["late_start_minutes"] > 5) + 0.5 * (session["late_start_minutes"] > 15)
    score += -0.5 * session["technical_issues"] + (0.2 if session["learning_objectives_met"] else -0.5)
    return min(max(round(score), 1), 5)


def submission_time(rng: Random, slot: Slot, horizon: datetime) -> datetime:
    """Mostly within hours of the session, some days later, and always before the horizon."""
    recorded = slot.start + timedelta(minutes=slot.minutes + 10)
    moment = recorded + timedelta(seconds=int(3600 * delay_hours(rng)))
    return moment if moment < horizon else between(rng, recorded, horizon)


def delay_hours(rng: Random) -> float:
    luck = rng.random()
    if luck < 0.6:
        return rng.uniform(0, 3)
    return rng.uniform(3, 24) if luck < 0.9 else rng.uniform(24, 96)

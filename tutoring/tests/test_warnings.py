"""What is worth a warning: a case on both sides of every rule."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ingestion.streams import Context, get
from ingestion.validation import validate
from tutoring.catalogue import SUBJECTS
from tutoring.tests import factories

NOW = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)
START = datetime(2025, 3, 1, 20, 0, tzinfo=UTC)
FACTS = {"subjects": frozenset(SUBJECTS)}
ROWS = {("sessions", "S-3001"): {"scheduled_start": START, "tutor_id": "T-1001", "student_id": "ST-2001"}}


def warned(stream: str, record: dict[str, Any], rows: Any = ROWS) -> list[str]:
    """The fields that the warnings name."""
    warnings = get(stream).warn(validate(get(stream), record, NOW), Context(now=NOW, facts=FACTS, rows=rows))
    assert not any(":" in warning.partition("(")[0] or warning.endswith(".") for warning in warnings)
    return [warning.partition(" ")[0] for warning in warnings]


def no_show(**changes: Any) -> dict[str, Any]:
    absent = {"actual_start": None, "actual_end": None, "late_start_minutes": None, "engagement_score": None}
    return {"no_show": True, **absent, **changes}


def test_the_examples_have_none() -> None:
    assert warned("tutors", factories.tutor()) == []
    assert warned("students", factories.student()) == []
    assert warned("sessions", factories.session()) == []
    assert warned("feedback", factories.feedback()) == []


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"age": 21}, ["age"]),
        ({"age": 22}, []),
        ({"age": 65}, []),
        ({"age": 66}, ["age"]),
        ({"age": None}, []),
        ({"baseline_sessions_per_week": 4}, ["baseline_sessions_per_week"]),
        ({"baseline_sessions_per_week": 5}, []),
        ({"baseline_sessions_per_week": 30}, []),
        ({"baseline_sessions_per_week": 31}, ["baseline_sessions_per_week"]),
        ({"baseline_sessions_per_week": None}, []),
        ({"subjects": list(SUBJECTS[:10])}, []),
        ({"subjects": list(SUBJECTS[10:])}, []),
        ({"subjects": ["Alchemy", "Algebra", "algebra"]}, ["subjects", "subjects"]),
        ({"created_at": "2024-09-02T08:59:59Z"}, ["created_at"]),
        ({"created_at": "2024-09-02T09:00:00Z"}, []),
        ({"created_at": None}, []),
    ],
)
def test_tutors(changes: dict[str, Any], fields: list[str]) -> None:
    assert warned("tutors", factories.tutor(**changes)) == fields


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        *[({"duration_minutes": usual}, []) for usual in (30, 45, 60, 90)],
        *[({"duration_minutes": unusual}, ["duration_minutes"]) for unusual in (29, 31, 120, 300)],
        ({"subject": "Alchemy"}, ["subject"]),
        ({"session_number": 2}, ["session_number"]),
        ({"session_number": 2, "is_first_session": False}, []),
        ({"session_number": None}, []),
        (no_show(), []),
        (no_show(engagement_score=0.1), []),
        (no_show(engagement_score=0.11), ["engagement_score"]),
        ({"engagement_score": 1}, []),
        ({"actual_start": None}, ["actual_start"]),
        # yet to come: not held
        ({"actual_start": None, "actual_end": None, "scheduled_start": "2025-06-15T12:00:00.001Z"}, []),
        ({"actual_start": None, "actual_end": None, "scheduled_start": "2025-06-15T12:00:00Z"}, ["actual_start"]),
        # 2 minutes late as the example says, and 5 more
        ({"actual_start": "2025-03-01T20:07:00Z"}, []),
        ({"actual_start": "2025-03-01T20:07:01Z"}, ["actual_start"]),
        ({"actual_start": "2025-03-01T19:53:00Z"}, []),
        ({"actual_start": "2025-03-01T19:52:59Z"}, ["actual_start"]),
        ({"actual_start": "2025-03-01T20:05:00Z", "late_start_minutes": None}, []),
        ({"actual_start": "2025-03-01T20:05:01Z", "late_start_minutes": None}, ["actual_start"]),
        ({"actual_start": "2025-03-01T20:45:00Z", "late_start_minutes": 40}, []),
    ],
)
def test_sessions(changes: dict[str, Any], fields: list[str]) -> None:
    assert warned("sessions", factories.session(**changes)) == fields


def rated(overall: int, *categories: int) -> dict[str, Any]:
    names = ["subject_knowledge", "communication", "patience", "engagement", "helpfulness"]
    ratings = [*categories, *[None] * (5 - len(categories))]
    given = {f"{name}_rating": rating for name, rating in zip(names, ratings, strict=True)}
    return {"overall_rating": overall, "would_recommend": overall >= 4, "free_text_feedback": "long enough", **given}


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        (rated(5), []),
        (rated(5, 3, 4), []),  # 1.5 from their mean
        (rated(5, 3, 4, 3), ["overall_rating"]),
        (rated(2, 3, 4), []),
        (rated(2, 3, 4, 4), ["overall_rating"]),
        (rated(2) | {"free_text_feedback": "x" * 9}, ["free_text_feedback"]),
        (rated(2) | {"free_text_feedback": "x" * 10}, []),
        (rated(1) | {"free_text_feedback": None}, ["free_text_feedback"]),
        (rated(1) | {"free_text_feedback": "x" + " " * 20}, ["free_text_feedback"]),
        (rated(3) | {"free_text_feedback": None}, []),
        (rated(3) | {"improvement_areas": None}, ["improvement_areas"]),
        (rated(3) | {"improvement_areas": []}, ["improvement_areas"]),
        (rated(4) | {"improvement_areas": None}, []),
        (rated(3) | {"improvement_areas": None, "is_first_session": False}, []),
        (rated(2) | {"would_recommend": True}, ["would_recommend"]),
        (rated(3) | {"would_recommend": True}, []),
        (rated(3) | {"would_recommend": False}, []),
        (rated(4) | {"would_recommend": False}, ["would_recommend"]),
        (rated(4) | {"would_recommend": None, "is_first_session": False}, []),
        ({"submitted_at": "2025-03-01T20:00:00Z"}, []),
        ({"submitted_at": "2025-03-01T19:59:59Z"}, ["submitted_at"]),
        ({"session_scheduled_start": "2025-03-01T22:00:01Z"}, ["submitted_at"]),
        ({"submitted_at": "2025-03-01T19:59:59Z", "session_scheduled_start": "2025-03-01T19:00:00Z"}, []),
        ({"tutor_id": "T-other"}, ["tutor_id"]),
        ({"student_id": "ST-other"}, ["student_id"]),
    ],
)
def test_feedback(changes: dict[str, Any], fields: list[str]) -> None:
    assert warned("feedback", factories.feedback(**changes)) == fields


def test_what_needs_the_session_is_not_said_while_it_is_not_known() -> None:
    record = factories.feedback(submitted_at="2025-03-01T10:00:00Z", tutor_id="T-other", student_id="ST-other")
    assert warned("feedback", record) == ["submitted_at", "tutor_id", "student_id"]
    assert warned("feedback", record, rows={}) == []

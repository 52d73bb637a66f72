"""What is an error, and in which field: a case for every rule."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from pytest_django import Settings

from ingestion.messages import general_message
from ingestion.streams import get
from ingestion.validation import field_errors, validate
from tutoring.tests import factories

NOW = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)
MAKE = {
    "tutors": factories.tutor,
    "students": factories.student,
    "sessions": factories.session,
    "feedback": factories.feedback,
}
ABSENT: Any = object()
HUGE = 10**400


def ahead(**time: float) -> str:
    return (NOW + timedelta(**time)).isoformat()


def record(stream: str, **changes: Any) -> dict[str, Any]:
    return {name: value for name, value in MAKE[stream](**changes).items() if value is not ABSENT}


def errors(stream: str, item: Any) -> dict[str, list[str]]:
    """Errors by field, without the values at fault; none when it is valid."""
    try:
        validate(get(stream), item, NOW)
    except ValidationError as error:
        return {
            field: [general_message({"record": [text]}) for text in texts]
            for field, texts in field_errors(error).items()
        }
    return {}


IDENTIFIERS = [
    ("tutors", "tutor_id"),
    ("students", "student_id"),
    ("sessions", "session_id"),
    ("sessions", "tutor_id"),
    ("sessions", "student_id"),
    ("feedback", "feedback_id"),
    ("feedback", "session_id"),
    ("feedback", "student_id"),
    ("feedback", "tutor_id"),
]
REQUIRED = [
    *IDENTIFIERS,
    ("tutors", "name"),
    ("tutors", "email"),
    ("tutors", "subjects"),
    ("tutors", "onboarding_date"),
    ("students", "name"),
    ("sessions", "scheduled_start"),
    ("sessions", "duration_minutes"),
    ("sessions", "subject"),
    ("feedback", "overall_rating"),
    ("feedback", "submitted_at"),
]
PAST_TIMES = [
    ("tutors", "onboarding_date"),
    ("tutors", "created_at"),
    ("tutors", "updated_at"),
    ("students", "created_at"),
    ("students", "updated_at"),
    ("sessions", "actual_start"),
    ("sessions", "actual_end"),
    ("sessions", "created_at"),
    ("sessions", "updated_at"),
    ("feedback", "submitted_at"),
    ("feedback", "created_at"),
]
TIMES = [*PAST_TIMES, ("sessions", "scheduled_start"), ("feedback", "session_scheduled_start")]
TEXTS = [  # (…, least, most)
    ("tutors", "name", 1, 255),
    ("tutors", "location", 0, 255),
    ("tutors", "education_level", 0, 100),
    ("students", "name", 1, 255),
    ("students", "grade_level", 0, 50),
    ("sessions", "subject", 1, 100),
    ("feedback", "free_text_feedback", 0, 5000),
]
LISTS = [  # (…, (fewest, most), (shortest, longest))
    ("tutors", "subjects", (1, 10), (1, 100)),
    ("students", "subjects_interested", (0, 50), (0, 100)),
    ("feedback", "improvement_areas", (0, 10), (0, 100)),
]
WHOLES = [  # (…, least, most)
    ("tutors", "age", 18, 100),
    ("tutors", "baseline_sessions_per_week", 0, 50),
    ("students", "age", 3, 120),
    ("sessions", "duration_minutes", 0, 300),
    ("sessions", "session_number", 1, 2**31 - 1),
    ("sessions", "late_start_minutes", 0, 60),
    ("feedback", "overall_rating", 1, 5),
    ("feedback", "subject_knowledge_rating", 1, 5),
    ("feedback", "communication_rating", 1, 5),
    ("feedback", "patience_rating", 1, 5),
    ("feedback", "engagement_rating", 1, 5),
    ("feedback", "helpfulness_rating", 1, 5),
]
CHOICES = [
    ("tutors", "status", ["active", "inactive", "suspended", "churned"]),
    ("tutors", "subject_type", ["STEM", "Language", "TestPrep"]),
    ("tutors", "behavioral_archetype", ["high_performer", "at_risk", "new_tutor", "steady", "churner"]),
    ("sessions", "session_type", ["1-on-1", "group", "workshop"]),
]
FLAGS = [
    ("sessions", "is_first_session"),
    ("sessions", "no_show"),
    ("sessions", "tutor_initiated_reschedule"),
    ("sessions", "technical_issues"),
    ("sessions", "learning_objectives_met"),
    ("feedback", "is_first_session"),
    ("feedback", "would_recommend"),
]
COMPARED: dict[str, dict[str, Any]] = {  # fields that other rules compare with the one under test
    "duration_minutes": {"late_start_minutes": None},
    "late_start_minutes": {"duration_minutes": 60},
    "actual_start": {"actual_end": None},
    "actual_end": {"actual_start": None},
    "no_show": {"actual_start": None},
}


def errors_of(stream: str, field: str, value: Any) -> dict[str, list[str]]:
    return errors(stream, record(stream, **{**COMPARED.get(field, {}), field: value}))


def test_every_field_is_here() -> None:
    """A new field of a schema needs cases."""
    cases: list[tuple[Any, ...]] = [*REQUIRED, *TIMES, *TEXTS, *LISTS, *WHOLES, *CHOICES, *FLAGS]
    covered = {(case[0], case[1]) for case in cases} | {("sessions", "engagement_score")}
    assert covered == {(name, field) for name in MAKE for field in get(name).schema.model_fields}


@pytest.mark.parametrize("stream", MAKE)
def test_the_examples_are_valid(stream: str) -> None:
    assert errors(stream, record(stream)) == {}


@pytest.mark.parametrize("stream", MAKE)
def test_required_fields_alone_are_enough_and_null_is_absent(stream: str) -> None:
    required = {field for name, field in REQUIRED if name == stream}
    full = record(stream)
    alone = {name: value for name, value in full.items() if name in required}
    nulls = {name: value if name in required else None for name, value in full.items()}
    assert errors(stream, alone) == {}
    assert validate(get(stream), alone, NOW) == validate(get(stream), nulls, NOW)


@pytest.mark.parametrize(
    ("stream", "field", "default"),
    [
        ("tutors", "status", "active"),
        ("sessions", "session_type", "1-on-1"),
        ("sessions", "is_first_session", False),
        ("sessions", "no_show", False),
        ("sessions", "tutor_initiated_reschedule", False),
        ("sessions", "technical_issues", False),
        ("sessions", "learning_objectives_met", None),
        ("sessions", "late_start_minutes", None),
    ],
)
@pytest.mark.parametrize("value", [None, ABSENT])
def test_defaults(stream: str, field: str, default: Any, value: Any) -> None:
    found = getattr(validate(get(stream), record(stream, **{field: value}), NOW), field)
    assert (type(found), found) == (type(default), default)


@pytest.mark.parametrize(("stream", "field"), REQUIRED)
@pytest.mark.parametrize("value", [None, ABSENT])
def test_required(stream: str, field: str, value: Any) -> None:
    assert set(errors_of(stream, field, value)) == {field}


@pytest.mark.parametrize(("stream", "field"), IDENTIFIERS)
@pytest.mark.parametrize(
    "value",
    ["", "x" * 65, " x", "x ", "a/b", ".", "..", "batch", "a\0b", "a\nb", "\ud800", "a\u200bb", 7, True, ["x"]],
)
def test_identifiers(stream: str, field: str, value: Any) -> None:
    assert set(errors_of(stream, field, value)) == {field}


@pytest.mark.parametrize(("stream", "field"), IDENTIFIERS)
@pytest.mark.parametrize("value", ["x", "x" * 64, "Ä-1 b", "...", "Batch", "?&=%#", "語" * 64])
def test_good_identifiers(stream: str, field: str, value: str) -> None:
    assert errors_of(stream, field, value) == {}


@pytest.mark.parametrize(("stream", "field", "least", "most"), TEXTS)
def test_texts(stream: str, field: str, least: int, most: int) -> None:
    for good in ("x" * least, "x" * most, "語" * most, "line\nline"):
        assert errors_of(stream, field, good) == {}
    bad = ["x" * (most + 1), "a\0b", "\ud800", "a\udfff", 5, True, ["x"], {"x": 1}, "x" * 10_000_000]
    for value in [*bad, ""] if least else bad:
        assert set(errors_of(stream, field, value)) == {field}


@pytest.mark.parametrize(("stream", "field", "sizes", "lengths"), LISTS)
def test_lists(stream: str, field: str, sizes: tuple[int, int], lengths: tuple[int, int]) -> None:
    (fewest, most), (shortest, longest) = sizes, lengths
    for good in (["x"] * fewest, ["x"] * most, ["x" * longest], ["x" * max(shortest, 1)]):
        assert errors_of(stream, field, good) == {}
    too_many_or_no_list: list[Any] = [["x"] * (most + 1), "x", {"x": 1}, 5, ("x",), True]
    for bad in too_many_or_no_list:
        assert set(errors_of(stream, field, bad)) == {field}
    for item in ("x" * (longest + 1), "\0", "\ud800", 5, None, ["x"]):
        assert set(errors_of(stream, field, ["x", item])) == {f"{field}.1"}
    if fewest:
        assert set(errors_of(stream, field, [])) == {field}
    if shortest:
        assert set(errors_of(stream, field, [""])) == {f"{field}.0"}


@pytest.mark.parametrize(("stream", "field", "least", "most"), WHOLES)
def test_whole_numbers(stream: str, field: str, least: int, most: int) -> None:
    for good in (least, most, float(least)):
        assert errors_of(stream, field, good) == {}
    for bad in (least - 1, most + 1, least + 0.5, str(least), True, [least], HUGE, -HUGE, 1e308, float("inf")):
        assert set(errors_of(stream, field, bad)) == {field}
    assert set(errors_of(stream, field, float("nan"))) == {field}


def test_engagement_score() -> None:
    for good in (0, 1, 0.0, 0.1, 1.0, 5e-324):
        assert errors_of("sessions", "engagement_score", good) == {}
    for bad in (-0.001, 1.001, "0.5", True, HUGE, -HUGE, float("inf"), float("nan"), [0.5]):
        assert set(errors_of("sessions", "engagement_score", bad)) == {"engagement_score"}


@pytest.mark.parametrize(("stream", "field", "choices"), CHOICES)
def test_choices(stream: str, field: str, choices: list[str]) -> None:
    for choice in choices:
        assert getattr(validate(get(stream), record(stream, **{field: choice}), NOW), field) == choice
    bad_ones: list[Any] = ["", choices[0].upper() + " ", "other", 1, True, [choices[0]], {}, "\ud800", "a\0"]
    for bad in bad_ones:
        assert set(errors_of(stream, field, bad)) == {field}


@pytest.mark.parametrize(("stream", "field"), FLAGS)
def test_flags(stream: str, field: str) -> None:
    for good in (True, False):
        assert errors_of(stream, field, good) == {}
    for bad in ("true", 1, 0, 1.0, "", [True], HUGE):
        assert set(errors_of(stream, field, bad)) == {field}


@pytest.mark.parametrize(("stream", "field"), TIMES)
@pytest.mark.parametrize(
    "value",
    [
        "",
        "yesterday",
        "20250301",
        "2025-13-01",
        "2025-02-29T00:00:00Z",
        "2025-03-01T25:00:00Z",
        "2025-03-01T15:00:00+25:00",
        "2025-03-01T15:00:00+00:00:30",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+01:00",
        "2100-01-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+12:00",
        "2025-03-01T15:00:00Z\0",
        "2025-03-01\015:00:00Z",
        "2025-03-01\ud80015:00:00Z",
        "2025-\ud800",
        1_740_841_200,
        1e9,
        HUGE,
        True,
        ["2025-03-01"],
    ],
)
def test_times(stream: str, field: str, value: Any) -> None:
    assert set(errors_of(stream, field, value)) == {field}


@pytest.mark.parametrize(("stream", "field"), PAST_TIMES)
def test_past_times_may_be_five_minutes_ahead(stream: str, field: str) -> None:
    assert errors_of(stream, field, ahead(minutes=5)) == {}
    assert set(errors_of(stream, field, ahead(minutes=5, seconds=1))) == {field}


@pytest.mark.parametrize("value", ["2025-03-01", "2025-03-01T15:00", "2025-03-01 15:00:00", "1970-01-01T00:00:00Z"])
@pytest.mark.parametrize(("stream", "field"), TIMES)
def test_good_times(stream: str, field: str, value: str) -> None:
    assert errors_of(stream, field, value) == {}


def test_a_session_may_be_scheduled_30_days_ahead() -> None:
    def session(start: str) -> Any:
        return record("sessions", scheduled_start=start, actual_start=None, actual_end=None)

    assert errors("sessions", session(ahead(days=30))) == {}
    assert set(errors("sessions", session(ahead(days=30, seconds=1)))) == {"scheduled_start"}


@pytest.mark.parametrize(
    "email", ["nobody", "a@b", "@example.com", "a b@example.com", "a@example.com\0", 5, "\ud800@b.de"]
)
def test_bad_emails(email: Any) -> None:
    assert set(errors_of("tutors", "email", email)) == {"email"}


def test_an_email_has_at_most_254_characters() -> None:
    domain = ".".join(["d" * 60] * 3) + ".de"  # 185
    assert errors_of("tutors", "email", f"{'a' * 64}@{domain}") == {}
    long = ".".join(["d" * 60] * 4) + ".de"  # 246
    assert set(errors_of("tutors", "email", f"{'a' * 8}@{long}")) == {"email"}


def test_a_no_show_has_not_started() -> None:
    item = record("sessions", no_show=True)
    assert errors("sessions", item) == {"actual_start": ["must be absent when no_show is true"]}
    assert errors("sessions", {**item, "actual_start": None}) == {}


@pytest.mark.parametrize(("end", "good"), [("15:01:59", False), ("15:02:00", False), ("15:02:01", True)])
def test_a_session_ends_after_it_has_started(end: str, good: bool) -> None:
    item = record("sessions", actual_start="2025-03-01T15:02:00Z", actual_end=f"2025-03-01T{end}Z")
    assert errors("sessions", item) == ({} if good else {"actual_end": ["must be after actual_start"]})


def test_the_end_is_compared_as_a_moment_not_by_the_wall_clock() -> None:
    item = record("sessions", actual_start="2025-03-01T15:00:00-05:00", actual_end="2025-03-01T16:00:00Z")
    assert set(errors("sessions", item)) == {"actual_end"}


@pytest.mark.parametrize(("late", "duration", "good"), [(30, 30, True), (31, 30, False), (0, 0, True), (1, 0, False)])
def test_late_by_no_more_than_the_duration(late: int, duration: int, good: bool) -> None:
    item = record("sessions", late_start_minutes=late, duration_minutes=duration)
    assert errors("sessions", item) == ({} if good else {"late_start_minutes": ["must not exceed duration_minutes"]})


def test_a_rule_between_fields_is_silent_while_one_of_them_is_wrong() -> None:
    item = record("sessions", duration_minutes="60", late_start_minutes=5, actual_start="x", no_show=7)
    assert set(errors("sessions", item)) == {"duration_minutes", "actual_start", "no_show"}


@pytest.mark.parametrize("value", [None, ABSENT])
def test_a_first_session_needs_a_recommendation(value: Any) -> None:
    item = record("feedback", is_first_session=True, would_recommend=value)
    assert errors("feedback", item) == {"would_recommend": ["is required when is_first_session is true"]}
    assert errors("feedback", {**item, "is_first_session": False}) == {}


@pytest.mark.parametrize("stream", MAKE)
@pytest.mark.parametrize("item", [None, 5, HUGE, True, "text", [], [{}], float("nan")])
def test_what_is_no_object_is_an_error_of_the_whole(stream: str, item: Any) -> None:
    assert set(errors(stream, item)) == {"record"}


@pytest.mark.parametrize("stream", MAKE)
def test_unknown_fields_are_ignored(stream: str) -> None:
    item = {**record(stream), "unknown": {"\ud800": ["\0", HUGE]}, "\ud800": 1, "tenure_days": "many", "": None}
    assert errors(stream, item) == {}


@pytest.mark.parametrize(("stream", "field"), TIMES)
def test_an_offset_is_less_than_16_hours(stream: str, field: str) -> None:
    """PostgreSQL takes no other."""
    for good in ("+15:59", "-15:59", "-00:00", "+0530", "-08"):
        assert errors_of(stream, field, f"2025-03-01T15:00:00{good}") == {}
    for bad in ("+16:00", "-16:00", "+23:59", "-23:59"):
        assert set(errors_of(stream, field, f"2025-03-01T15:00:00{bad}")) == {field}


def test_naive_times_are_compared_as_moments(settings: Settings) -> None:
    """Python compares two times of one zone by the wall clock, which was put forward at 2:00 on that day."""
    settings.TIME_ZONE = "America/New_York"
    item = record("sessions", actual_start="2024-03-10T02:30:00", actual_end="2024-03-10T03:15:00")
    assert errors("sessions", item) == {"actual_end": ["must be after actual_start"]}
    made: Any = validate(get("sessions"), {**item, "actual_start": "2024-03-10T01:45:00"}, NOW)
    assert made.actual_end - made.actual_start == timedelta(minutes=30)


def test_a_zone_of_odd_seconds_gives_an_offset_of_whole_minutes(settings: Settings) -> None:
    settings.TIME_ZONE = "Africa/Monrovia"
    made: Any = validate(get("sessions"), record("sessions", scheduled_start="1971-06-01T12:00:00"), NOW)
    assert made.scheduled_start == datetime(1971, 6, 1, 12, 44, 30, tzinfo=UTC)
    assert made.scheduled_start.utcoffset() == timedelta(minutes=-45)

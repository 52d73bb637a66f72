"""The 17 derived fields against a table of edges."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from ingestion.streams import Context, get
from ingestion.validation import validate
from tutoring.tests import factories

NOW = datetime(2025, 6, 15, 12, 0, tzinfo=UTC)
SESSION_START = datetime(2025, 3, 1, 20, 0, tzinfo=UTC)
SESSION_ROW = {"scheduled_start": SESSION_START, "tutor_id": "T-1001", "student_id": "ST-2001"}


def enriched(name: str, record: dict[str, Any], *, now: datetime = NOW, session: Any = SESSION_ROW) -> dict[str, Any]:
    rows = {("sessions", "S-3001"): session} if session else {}
    return get(name).enrich(validate(get(name), record, now), Context(now=now, rows=rows))


def tutor(**changes: Any) -> dict[str, Any]:
    return enriched("tutors", factories.tutor(**changes))


def session(**changes: Any) -> dict[str, Any]:
    return enriched("sessions", factories.session(**changes))


def feedback(**changes: Any) -> dict[str, Any]:
    return enriched("feedback", factories.feedback(**changes))


@pytest.mark.parametrize(
    ("since", "days", "is_new", "level"),
    [
        (timedelta(0), 0, True, "junior"),
        (timedelta(minutes=-5), 0, True, "junior"),  # ahead of our clock: never below 0
        (timedelta(days=1, microseconds=-1), 0, True, "junior"),
        (timedelta(days=29), 29, True, "junior"),
        (timedelta(days=30, microseconds=-1), 29, True, "junior"),
        (timedelta(days=30), 30, False, "junior"),
        (timedelta(days=89), 89, False, "junior"),
        (timedelta(days=90), 90, False, "mid"),
        (timedelta(days=365), 365, False, "mid"),
        (timedelta(days=366, microseconds=-1), 365, False, "mid"),
        (timedelta(days=366), 366, False, "senior"),
    ],
)
def test_tenure(since: timedelta, days: int, is_new: bool, level: str) -> None:
    columns = tutor(onboarding_date=(NOW - since).isoformat(), created_at=None)
    assert (columns["tenure_days"], columns["is_new_tutor"], columns["experience_level"]) == (days, is_new, level)


def test_tenure_over_a_leap_day() -> None:
    record = factories.tutor(onboarding_date="2023-03-01T00:00:00Z", created_at=None, updated_at=None)
    columns = enriched("tutors", record, now=datetime(2024, 3, 1, tzinfo=UTC))
    assert (columns["tenure_days"], columns["experience_level"]) == (366, "senior")


def test_a_tenure_that_is_sent_is_ignored() -> None:
    record = factories.tutor(onboarding_date="2025-06-05T12:00:00Z", tenure_days=4000)
    assert enriched("tutors", record)["tenure_days"] == 10


@pytest.mark.parametrize("subjects", [["Algebra"], ["Algebra", "Algebra"], [f"Subject {i}" for i in range(10)]])
def test_subject_count(subjects: list[str]) -> None:
    assert tutor(subjects=subjects)["subject_count"] == len(subjects)


@pytest.mark.parametrize(
    ("updated_at", "active"),
    [
        (None, None),
        ("2025-06-15T00:00:00Z", True),
        ("2025-06-14T23:59:59.999999Z", False),
        ("2025-06-14T23:30:00-02:00", True),  # 01:30 UTC
        ("2025-06-15T01:00:00+02:00", False),  # 23:00 UTC of the day before
    ],
)
def test_active_today(updated_at: str | None, active: bool | None) -> None:
    assert tutor(updated_at=updated_at)["is_active_today"] is active


def test_today_is_the_date_in_time_zone(settings: Settings) -> None:
    now = datetime(2025, 6, 15, 23, 0, tzinfo=UTC)  # the 16th, 08:00, in Tokyo
    record = factories.tutor(updated_at="2025-06-15T15:30:00Z")  # the 16th, 00:30, in Tokyo
    assert enriched("tutors", record, now=now)["derived_on"].isoformat() == "2025-06-15"
    settings.TIME_ZONE = "Asia/Tokyo"
    columns = enriched("tutors", record, now=now)
    assert columns["is_active_today"] is True
    assert columns["derived_on"].isoformat() == "2025-06-16"
    assert enriched("tutors", factories.tutor(updated_at="2025-06-15T14:30:00Z"), now=now)["is_active_today"] is False


@pytest.mark.parametrize(
    ("start", "weekend"),
    [
        ("2025-03-07T23:59:59Z", False),  # Friday
        ("2025-03-08T00:00:00Z", True),
        ("2025-03-09T23:59:59Z", True),
        ("2025-03-10T00:00:00Z", False),
        ("2025-03-08T20:00:00-08:00", True),  # Saturday there, Sunday in UTC
        ("2025-03-09T20:00:00-08:00", True),  # Sunday there, Monday in UTC
        ("2025-03-07T20:00:00-08:00", False),  # Friday there, Saturday in UTC
        ("2025-03-10T05:00:00+09:00", False),  # Monday there, Sunday in UTC
        ("2025-03-08T05:00:00+09:00", True),  # Saturday there, Friday in UTC
    ],
)
def test_weekend_by_the_wall_clock_of_its_own_offset(start: str, weekend: bool) -> None:
    assert session(scheduled_start=start)["is_weekend"] is weekend


@pytest.mark.parametrize(
    ("hour", "part"),
    [
        (0, "night"),
        (4, "night"),
        (5, "morning"),
        (11, "morning"),
        (12, "afternoon"),
        (16, "afternoon"),
        (17, "evening"),
        (21, "evening"),
        (22, "night"),
        (23, "night"),
    ],
)
@pytest.mark.parametrize("offset", ["Z", "-08:00", "+05:30", "+14:00"])
def test_time_of_day_by_the_wall_clock_of_its_own_offset(hour: int, part: str, offset: str) -> None:
    assert session(scheduled_start=f"2025-03-05T{hour:02}:00:00{offset}")["time_of_day"] == part
    assert session(scheduled_start=f"2025-03-05T{hour:02}:59:59{offset}")["time_of_day"] == part


@pytest.mark.parametrize(("late", "is_late"), [(None, None), (0, False), (5, False), (6, True), (60, True)])
def test_late_start(late: int | None, is_late: bool | None) -> None:
    assert session(late_start_minutes=late)["is_late_start"] is is_late


@pytest.mark.parametrize(
    ("start", "end", "minutes"),
    [
        ("15:02:00", "16:01:00", 59),
        ("15:02:00", "16:01:59.999999", 59),
        ("15:02:00", "15:02:59", 0),
        ("15:02:00", None, 45),
        (None, "16:01:00", None),
        (None, None, None),
    ],
)
def test_actual_duration(start: str | None, end: str | None, minutes: int | None) -> None:
    def on_the_day(time: str | None) -> str | None:
        return time and f"2025-03-01T{time}-05:00"

    columns = session(actual_start=on_the_day(start), actual_end=on_the_day(end), duration_minutes=45)
    assert columns["actual_duration_minutes"] == minutes


def test_actual_duration_across_offsets() -> None:
    columns = session(actual_start="2025-03-01T15:00:00-05:00", actual_end="2025-03-01T21:00:00+00:00")
    assert columns["actual_duration_minutes"] == 60


def test_a_no_show_has_no_duration_and_is_not_late() -> None:
    columns = session(no_show=True, actual_start=None, actual_end=None, late_start_minutes=None, engagement_score=0)
    assert columns["actual_duration_minutes"] is None
    assert columns["is_late_start"] is None
    assert columns["time_of_day"] == "afternoon"


@pytest.mark.parametrize(
    ("start", "week", "month"),
    [
        ("2021-01-01T12:00:00Z", 53, 1),  # of 2020, which has 53
        ("2020-12-31T12:00:00Z", 53, 12),
        ("2021-01-04T00:00:00Z", 1, 1),
        ("2024-12-30T12:00:00Z", 1, 12),  # of 2025
        ("2024-02-29T12:00:00Z", 9, 2),
        ("2024-02-29T20:00:00-08:00", 9, 2),  # March in UTC
        ("2025-01-01T05:00:00+09:00", 1, 1),  # the year before in UTC
        ("2025-01-06T05:00:00+09:00", 2, 1),  # the week before in UTC
        ("2025-01-05T20:00:00-08:00", 1, 1),  # the week after in UTC
    ],
)
def test_iso_week_and_month_by_the_wall_clock_of_its_own_offset(start: str, week: int, month: int) -> None:
    columns = session(scheduled_start=start)
    assert (columns["week_of_year"], columns["month_of_year"]) == (week, month)


@pytest.mark.parametrize(
    ("start", "offset"),
    [
        ("2025-03-01T15:00:00Z", 0),
        ("2025-03-01T15:00:00-05:00", -300),
        ("2025-03-01T15:00:00+05:45", 345),
        ("2025-03-01T15:00:00-00:30", -30),
        ("2025-03-01T15:00:00+14:00", 840),
    ],
)
def test_the_offset_is_kept(start: str, offset: int) -> None:
    assert session(scheduled_start=start)["scheduled_offset"] == offset


def test_a_naive_time_is_in_time_zone(settings: Settings) -> None:
    assert session(scheduled_start="2025-03-08T23:00:00")["scheduled_offset"] == 0
    settings.TIME_ZONE = "America/Los_Angeles"
    columns = session(scheduled_start="2025-03-08T23:00:00")
    assert (columns["scheduled_offset"], columns["time_of_day"]) == (-480, "night")
    assert columns["is_weekend"] is True
    assert session(scheduled_start="2025-03-09T23:00:00")["scheduled_offset"] == -420  # summer time has begun
    assert session(scheduled_start="2025-03-09")["time_of_day"] == "night"  # a date alone is its midnight


@pytest.mark.parametrize(
    ("rating", "positive", "poor"),
    [(1, False, True), (2, False, True), (3, False, False), (4, True, False), (5, True, False)],
)
def test_positive_and_poor(rating: int, positive: bool, poor: bool) -> None:
    columns = feedback(overall_rating=rating)
    assert (columns["is_positive"], columns["is_poor"]) == (positive, poor)


@pytest.mark.parametrize(
    ("ratings", "mean", "variance"),
    [
        ([None, None, None, None, None], None, None),
        ([4, None, None, None, None], 4.0, 0.0),
        ([1, 5, None, None, None], 3.0, 4.0),
        ([5, 5, 4, None, None], 4.67, 0.22),
        ([1, 1, 1, 1, 2], 1.2, 0.16),
        ([1, 2, 3, 4, 5], 3.0, 2.0),
        ([5, 5, 4, 4, None], 4.5, 0.25),
        ([1, 1, 2, 5, None], 2.25, 2.69),
    ],
)
def test_category_ratings(ratings: list[int | None], mean: float | None, variance: float | None) -> None:
    names = ("subject_knowledge", "communication", "patience", "engagement", "helpfulness")
    columns = feedback(**{f"{name}_rating": rating for name, rating in zip(names, ratings, strict=True)})
    assert (columns["avg_category_rating"], columns["category_variance"]) == (mean, variance)


@pytest.mark.parametrize(
    ("text", "has_text"), [(None, False), ("", False), (" \t\n\u2003", False), ("x", True), (" . ", True)]
)
def test_text_feedback(text: str | None, has_text: bool) -> None:
    assert feedback(free_text_feedback=text)["has_text_feedback"] is has_text


@pytest.mark.parametrize(
    ("after", "hours"),
    [
        (timedelta(0), 0.0),
        (timedelta(hours=2), 2.0),
        (timedelta(minutes=100), 1.67),
        (timedelta(seconds=17), 0.0),
        (timedelta(seconds=-90), -0.03),  # as round() has it: 0.025 as a float is a little more
        (timedelta(hours=-26), -26.0),
        (timedelta(days=30), 720.0),
    ],
)
def test_delay_from_the_sessions_row(after: timedelta, hours: float) -> None:
    columns = feedback(submitted_at=(SESSION_START + after).isoformat())
    assert columns["feedback_delay_hours"] == hours
    assert columns["session_start_used"] == SESSION_START


def test_a_start_in_the_record_goes_before_the_sessions() -> None:
    columns = feedback(submitted_at="2025-03-01T21:00:00Z", session_scheduled_start="2025-03-01T18:30:00+01:00")
    assert columns["feedback_delay_hours"] == 3.5
    assert columns["session_start_used"] == datetime(2025, 3, 1, 17, 30, tzinfo=UTC)


def test_no_delay_while_the_session_is_not_known() -> None:
    columns = enriched("feedback", factories.feedback(), session=None)
    assert (columns["feedback_delay_hours"], columns["session_start_used"]) == (None, None)


def test_each_stream_derives_what_it_says() -> None:
    ours = {"derived_on", "is_stub", "scheduled_offset", "session_start_used"}
    derived = tutor() | enriched("students", factories.student()) | session() | feedback()
    assert len(derived.keys() - ours) == 17

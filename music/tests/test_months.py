"""Ranges of months, as addresses name them and charts divide them."""

from __future__ import annotations

from datetime import date

import pytest
from django.core.exceptions import BadRequest
from hypothesis import given
from hypothesis import strategies as st

from music.pages.months import Range, add, label, presets, read

MONTHS = st.dates(date(1970, 1, 1), date(2100, 12, 31)).map(lambda day: day.replace(day=1))
RANGES = st.tuples(MONTHS, st.integers(0, 400)).map(lambda both: Range(both[0], add(*both)))
KNOWN = Range(date(2023, 3, 1), date(2025, 2, 1))


@given(MONTHS, st.integers(-500, 500))
def test_months_are_added_over_years(month: date, number: int) -> None:
    later = add(month, number)
    assert later.day == 1
    assert (later.year - month.year) * 12 + later.month - month.month == number


@given(MONTHS)
def test_a_month_is_read_as_it_is_written(month: date) -> None:
    assert read(label(month)) == month


@pytest.mark.parametrize("text", ["", "2025", "2025-00", "2025-13", "2025-1", "0999-01", "2025-01-01", "２０２５-01"])
def test_what_is_no_month_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="is no month"):
        read(text)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({}, "2024-03 to 2025-02"),
        ({"from": "2024-05", "to": "2024-07"}, "2024-05 to 2024-07"),
        ({"from": "2024-07", "to": "2024-05"}, "2024-05 to 2024-07"),
        ({"from": "2024-07"}, "2024-07 to 2025-02"),
        ({"to": "2024-07"}, "2023-03 to 2024-07"),
        ({"from": "2024-07", "to": "2024-07"}, "2024-07"),
        ({"from": "1999-01", "to": "2030-01"}, "2023-03 to 2025-02"),
        ({"from": "1999-01", "to": "1999-02"}, "2023-03"),
    ],
)
def test_a_range_is_as_asked_for_within_what_is_known(query: dict[str, str], shown: str) -> None:
    assert str(Range.of(query, KNOWN).within(KNOWN)) == shown


@given(RANGES, st.integers(1, 40))
def test_steps_cover_each_month_once(months: Range, most: int) -> None:
    steps = months.steps(most)
    assert [month for step in steps for month in step] == list(months)
    if months.step_length(most) < 12:
        assert len(steps) <= most + 1  # one more where it begins in the middle of a quarter
    titles = [step.title(months.step_length(most)) for step in steps]
    assert len(set(titles)) == len(titles)


def test_steps_are_named_as_what_they_are() -> None:
    assert [step.title(1) for step in Range(date(2025, 1, 1), date(2025, 2, 1)).steps(24)] == ["2025-01", "2025-02"]
    assert [step.title(3) for step in KNOWN.steps(8)] == [
        *("2023 Q1", "2023 Q2", "2023 Q3", "2023 Q4"),
        *("2024 Q1", "2024 Q2", "2024 Q3", "2024 Q4", "2025 Q1"),
    ]
    assert [step.title(12) for step in KNOWN.steps(2)] == ["2023", "2024", "2025"]


def test_presets_are_the_last_year_all_and_each_year() -> None:
    found = {title: str(months.within(KNOWN)) for title, months in presets(KNOWN)}
    assert found == {
        "Last 12 months": "2024-03 to 2025-02",
        "All time": "2023-03 to 2025-02",
        "2025": "2025-01 to 2025-02",
        "2024": "2024-01 to 2024-12",
        "2023": "2023-03 to 2023-12",
    }

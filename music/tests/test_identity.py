from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.streams import get
from ingestion.validation import key_of, validate
from music.identity import album_key, key_of_record, listen_id

AT = datetime(2026, 1, 4, 2, 55, 58, 123000, tzinfo=UTC)

MOMENTS = st.datetimes(timezones=st.just(UTC)).filter(lambda moment: moment.year >= 1000)


def test_its_form() -> None:
    found = listen_id("ada", AT, track_id="CCCCCCCCCCCCCCCCCCCCC1")
    assert found == "20260104T025558123000-" + found[-16:]
    assert found == listen_id("ada", AT.astimezone(timezone(timedelta(hours=9))), track_id="CCCCCCCCCCCCCCCCCCCCC1")


def test_what_is_one_play() -> None:
    named = listen_id("ada", AT, track_name="Time", artist="Motörhead")
    assert named == listen_id("ada", AT, track_name="TIME", artist="Motorhead ")
    others = {
        listen_id("bob", AT, track_name="Time", artist="Motörhead"),
        listen_id("ada", AT, track_name="Home", artist="Motörhead"),
        listen_id("ada", AT, track_name="Time", artist="Placebo"),
        listen_id("ada", AT, track_id="Time", artist="Motörhead"),
        listen_id("ada", AT + timedelta(microseconds=1), track_name="Time", artist="Motörhead"),
        listen_id("ada", AT, track_name="TimeMotörhead"),
    }
    assert len(others) == 6 and named not in others
    assert listen_id("ada", AT, track_id="X", artist="A") == listen_id("ada", AT, track_id="X", artist="B")


@pytest.mark.parametrize(
    "members",
    [
        {"track_id": "4uLU6hMCjMI75M1A2tKUQC"},
        {"track_name": "  Time\u200b ", "artist": "Motörhead ", "user_id": "e\u0301va"},
        {"track_name": "Time", "artist": None, "played_at": "2025-01-04T02:55:58.123+02:00"},
        {"track_id": "  ", "track_name": "!!!", "artist": ""},
    ],
)
def test_a_record_has_the_key_of_its_payload(members: dict[str, Any]) -> None:
    payload = {"user_id": "ada", "played_at": "2025-01-04T02:55:58Z", **members}
    record = validate(get("listens"), payload, datetime.now(UTC))
    assert key_of_record(record) == key_of(get("listens"), payload) != ""


def test_an_id_does_not_pass_for_the_names_of_another_album() -> None:
    named = album_key(None, "Time", "Motörhead")
    assert album_key(named, "Home", "Placebo") == album_key(None, "Home", "Placebo") != named
    assert album_key(named, None, None) == ""


@given(MOMENTS, MOMENTS)
def test_it_sorts_by_time(one: datetime, other: datetime) -> None:
    ids = [listen_id("ada", moment, track_id="X") for moment in (one, other)]
    assert (ids[0][:21] < ids[1][:21]) == (one < other)
    assert all(len(each) == 38 for each in ids)

"""The registry of streams: names that the API can have paths for, and what decides which of two records is newer."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from api.urls import fixed_paths
from enrichment.versions import version_at
from ingestion import streams
from ingestion.streams import RESERVED_NAMES, Stream, all_streams, get, register
from tests.records import send, stored

BY_ARRIVAL = replace(get("tutors"), version_field=None)


@pytest.mark.parametrize("name", ["", "a/b", "Tutors", "two words", "é", "9lives", "x" * 65, *sorted(RESERVED_NAMES)])
def test_a_name_that_cannot_be_a_path_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be named"):
        register(replace(get("tutors"), name=name))
    assert name not in streams.names()


def test_every_fixed_path_of_the_api_is_reserved() -> None:
    assert {str(path.pattern).lstrip("^").split("/")[0] for path in fixed_paths} == RESERVED_NAMES


def test_a_stream_comes_after_those_it_refers_to(monkeypatch: pytest.MonkeyPatch) -> None:
    last = next(stream for stream in reversed(all_streams()) if stream.references)
    monkeypatch.setattr(streams, "_streams", {})
    with pytest.raises(ValueError, match="not registered before it"):
        register(last)


def test_two_streams_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match="registered already"):
        register(get("tutors"))


@pytest.mark.django_db
@pytest.mark.parametrize(("stream", "name"), [(get("tutors"), "new"), (BY_ARRIVAL, "old")], ids=["field", "arrival"])
def test_the_version_field_decides_which_record_is_newer(
    monkeypatch: pytest.MonkeyPatch, stream: Stream, name: str
) -> None:
    monkeypatch.setitem(streams._streams, "tutors", stream)
    record: dict[str, Any] = {**stream.example}
    send("tutors", {**record, "name": "new", "updated_at": "2025-03-02T00:00:00Z"})
    send("tutors", {**record, "name": "old", "updated_at": "2025-03-01T00:00:00Z"})
    assert stored("tutors", record["tutor_id"]).name == name


def test_the_version_of_a_held_record_is_by_the_same_rule() -> None:
    now = timezone.now()
    received_at = now - timedelta(hours=1)
    record = dict(get("tutors").example)
    assert version_at(get("tutors"), record, received_at, now).isoformat() == "2025-02-28T18:00:00+00:00"
    assert version_at(BY_ARRIVAL, record, received_at, now) == received_at

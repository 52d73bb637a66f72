"""Records without an error or a warning, to be changed by tests; they refer to each other."""

from typing import Any

from ingestion.streams import get


def _record(stream: str, changes: dict[str, Any]) -> dict[str, Any]:
    return {**get(stream).example, **changes}


def tutor(**changes: Any) -> dict[str, Any]:
    return _record("tutors", changes)


def student(**changes: Any) -> dict[str, Any]:
    return _record("students", changes)


def session(**changes: Any) -> dict[str, Any]:
    return _record("sessions", changes)


def feedback(**changes: Any) -> dict[str, Any]:
    return _record("feedback", changes)

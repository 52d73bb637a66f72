"""The catalogue of subjects, edited by administrators; a subject that is not in it causes a warning."""

import time
from collections.abc import Collection, Mapping
from typing import Any

from django.apps import apps
from django.db import connection
from django.db.models import Model

CACHE_SECONDS = 30
SUBJECTS = (
    "Mathematics",
    "Algebra",
    "Calculus",
    "Geometry",
    "Physics",
    "Chemistry",
    "Biology",
    "Computer Science",
    "English",
    "Writing",
    "Literature",
    "Spanish",
    "French",
    "SAT Prep",
    "ACT Prep",
    "AP Test Prep",
    "GRE Prep",
)

_cached: tuple[float, Mapping[str, Any]] | None = None


def facts() -> Mapping[str, Any]:
    """{"subjects": the names in the catalogue}, cached for 30 seconds; edits by other processes show by then."""
    global _cached  # noqa: PLW0603
    if connection.in_atomic_block:  # may be rolled back: must not be cached
        return _read()
    if _cached is None or _cached[0] < time.monotonic():
        _cached = (time.monotonic() + CACHE_SECONDS, _read())
    return _cached[1]


def subjects() -> Collection[str]:
    names: Collection[str] = facts()["subjects"]
    return names


def clear_cache(**_: Any) -> None:
    """Receives the signals of an edit."""
    global _cached  # noqa: PLW0603
    _cached = None


def fill_if_empty(using: str, apps: Any = apps, **_: Any) -> None:
    """Receives post_migrate: fills a catalogue that is empty (a new database, or one that was flushed)."""
    try:
        subject: type[Model] = apps.get_model("tutoring", "Subject")
    except LookupError:  # migrated back to before there was one
        return
    subjects = subject._default_manager.using(using)
    if not subjects.exists():
        subjects.bulk_create([subject(name=name) for name in SUBJECTS])
    clear_cache()


def _read() -> Mapping[str, Any]:
    subject = apps.get_model("tutoring", "Subject")
    return {"subjects": frozenset(subject._default_manager.values_list("name", flat=True))}

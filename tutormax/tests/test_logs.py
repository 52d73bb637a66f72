"""Lines of the log."""

import logging
import sys

import pytest

from tutormax.logs import SingleLineFormatter

TOKEN = "5093-x_9Qz0aTtR5vKcN2mWlpE7uYh1B"


def line(message: str, *values: object, error: BaseException | None = None) -> str:
    raised = (type(error), error, error.__traceback__) if error else None
    record = logging.LogRecord("any", logging.ERROR, "", 0, message, values, raised)
    return SingleLineFormatter("%(message)s").format(record)


@pytest.mark.parametrize(
    ("written", "masked"),
    [
        ("GET /uploads/{} 200", "GET /uploads/… 200"),
        ("Forbidden (CSRF cookie not set.): /uploads/{}/delete", "Forbidden (CSRF cookie not set.): /uploads/…/delete"),
        ("GET /UPLOADS/{}/films 404", "GET /UPLOADS/…/films 404"),
        ("to https://films.example/Uploads//{}?year=1", "to https://films.example/Uploads//…?year=1"),
        ("next=%2Fuploads%2F{}%2Ffilms", "next=%2Fuploads%2F…%2Ffilms"),
        ("GET /api/uploads/123/rejected 200", "GET /api/uploads/123/rejected 200"),
    ],
)
def test_a_link_is_masked(written: str, masked: str) -> None:
    assert line(written.format(TOKEN)) == masked
    assert line("%s", written.format(TOKEN)) == masked


def test_a_link_in_a_traceback_is_masked() -> None:
    try:
        raise ValueError(f"no page /uploads/{TOKEN}/films")
    except ValueError:
        written = line("failed", error=sys.exc_info()[1])
    assert TOKEN not in written
    assert "ValueError: no page /uploads/…/films" in written

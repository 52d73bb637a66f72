"""Lines of the log."""

import io
import logging
import sys

import pytest
from django.test import Client
from django.urls import reverse

from movies.tests.factories import library
from tutormax.logs import RequestFilter, SingleLineFormatter

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


@pytest.mark.django_db
def test_a_token_is_in_no_log() -> None:
    """Neither in the requests' own lines nor in Django's."""
    anna = library("anna")
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(SingleLineFormatter("%(name)s %(message)s"))
    handler.addFilter(RequestFilter())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        client = Client(enforce_csrf_checks=True)
        for name in ("library", "library-films", "library-delete"):
            assert client.get(reverse(name, args=[anna.token])).status_code == 200
        assert Client(enforce_csrf_checks=True).post(f"/uploads/{anna.token}/delete").status_code == 403
        assert client.get(f"/UPLOADS/{anna.token}").status_code == 404
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    text = written.getvalue()
    assert anna.token not in text, text
    assert "django.security.csrf Forbidden (CSRF cookie not set.): /uploads/…/delete" in text
    assert "/uploads/…/films" in text
    assert "/UPLOADS/… 404" in text

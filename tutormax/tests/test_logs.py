"""Lines of the log."""

import io
import logging
import sys

import pytest
from django.test import Client, RequestFactory
from django.urls import Resolver404, resolve, reverse

from movies.tests.factories import library
from tests.api import api
from tutormax.logs import RequestFilter, SingleLineFormatter, route_of

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


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/api/students/S-1", "/api/students/{student_id}"),
        ("/api/students/students/", "/api/students/{student_id}/"),
        (f"/api/students/{'x' * 300}", "/api/students/{student_id}"),
        ("/api/listens/4", "/api/listens/{listen_id}"),
        ("/api/students/batch", "/api/students/batch"),
        ("/api/students", "/api/students"),
        ("/api/deliveries/12", "/api/deliveries/12"),
        ("/api/v1/students/S-1", "/api/v1/…"),
        ("/wp-login.php", "/wp-login.php"),
        ("/admin/tutoring/student/4/change/", "/admin/tutoring/student/{object_id}/change/"),
        ("/admin/tutoring/student/S-1", "/admin/tutoring/…"),
        ("/admin/music/listener/ada/delete/", "/admin/music/listener/{object_id}/delete/"),
        ("/admin/ingestion/delivery/5/change/", "/admin/ingestion/delivery/5/change/"),
        ("/admin/ingestion/delivery/ada/change/", "/admin/ingestion/delivery/{object_id}/change/"),
        ("/static/tutormax/admin.css", "/static/tutormax/admin.css"),
    ],
)
def test_a_line_names_the_route_and_not_the_identifier(path: str, route: str) -> None:
    request = RequestFactory().get(path, {"search": "ada"})
    try:
        request.resolver_match = resolve(path)
    except Resolver404:
        request.resolver_match = None
    assert route_of(request) == route


@pytest.mark.django_db
def test_no_identifier_or_query_is_in_any_line(caplog: pytest.LogCaptureFixture) -> None:
    client = api()
    secret = "ada@example.org"
    for path in (f"/api/students/{secret}", f"/api/students?search={secret}", f"/api/students?cursor={secret}"):
        client.get(path)
    record = logging.LogRecord("django.request", logging.ERROR, "", 0, "%s: %s", ("Error", f"/api/x/y/{secret}"), None)
    record.request = RequestFactory().get(f"/api/x/y/{secret}")
    RequestFilter().filter(record)
    lines = [SingleLineFormatter("%(message)s").format(each) for each in (*caplog.records, record)]
    assert "GET /api/students/{student_id} 404" in "".join(lines) and lines[-1] == "Error: /api/x/…"
    assert not [line for line in lines if secret in line and not line.startswith("Not Found")]


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

"""The plain case of a single POST is answered before Django (api/plain_posts/): as the view answers it, and by its
rules.
"""

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from api.plain_posts import door
from ingestion import backlog
from ingestion.models import ApiKey, Delivery, Doorbell
from ingestion.streams import all_streams
from tests.api import new_key, post, refusal
from tutoring.tests.factories import student, tutor
from tutormax.wsgi import application

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]

FOR_THE_VIEW: dict[str, Any] = {"headers": {"x-not-plain": "1"}}
"""A header that nobody knows: the view answers."""


@pytest.fixture(autouse=True)
def _served(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins knowing nothing; and the connection that has its transaction stays, as with Django's client."""
    monkeypatch.setattr(connection, "close_if_unusable_or_obsolete", lambda: None)
    yield
    door.known.keys.clear()
    door.known.answers.clear()


def api(key: str | None = None) -> Client:
    """A client of the whole application, as a web server calls it."""
    client = Client(headers={"authorization": f"Api-Key {key or new_key()}"})
    client.handler = call  # type: ignore[assignment]
    return client


def call(environ: dict[str, Any]) -> HttpResponse:
    head: list[Any] = []
    environ = {name: value for name, value in environ.items() if (name, value) != ("HTTP_COOKIE", "")}
    answer = application(environ, lambda *args: head.extend(args))
    response = HttpResponse(b"".join(answer), status=int(head[0][:3]), reason=head[0][4:], headers=dict(head[1]))
    assert len(head[1]) == len({name.lower() for name, _ in head[1]})
    answer.close()
    response.wsgi_request = HttpRequest()  # type: ignore[attr-defined]
    return response


def warm(client: Client, path: str = "/api/students") -> None:
    """The view verifies the key, and answers once on that path."""
    stream = next(stream for stream in all_streams() if path.startswith(f"/api/{stream.name}"))
    assert post(client, path, stream.example).status_code == 202


def early(client: Client, path: str, body: Any, **extra: Any) -> tuple[Any, bool]:
    """(the answer, whether it was given early: without the view's own query for the key)."""
    with CaptureQueriesContext(connection) as queries:
        response = post(client, path, body, **extra)
    return response, not any("ingestion_apikey" in query["sql"] for query in queries.captured_queries)


def told(response: Any) -> tuple[int, dict[str, str], Any]:
    """What may not differ: all but ids and times."""
    headers = dict(response.headers)
    for name in ("X-Request-ID", "Content-Length"):
        headers.pop(name)
    body = dict(response.json())
    for name in ("delivery", "status_url", "timestamp"):
        body.pop(name, None)
    return response.status_code, headers, body


@pytest.mark.parametrize("stream", [stream.name for stream in all_streams()])
def test_the_answer_is_that_of_the_view(stream: str) -> None:
    client, example = api(), next(each for each in all_streams() if each.name == stream).example
    warm(client, path := f"/api/{stream}")
    for url in (path, f"{path}/"):
        response, is_early = early(client, url, example)
        assert is_early
        assert told(response) == told(post(client, url, example, **FOR_THE_VIEW))
        assert response["Content-Length"] == str(len(response.content))
        delivery = Delivery.objects.get(pk=response.json()["delivery"])
        other = Delivery.objects.latest("pk")
        for column in ("stream", "client", "format", "size", "refused", "count", "source", "upload_id", "first_row"):
            assert getattr(delivery, column) == getattr(other, column)
        assert bytes(delivery.body) == bytes(other.body) == json.dumps(example).encode()
        assert response.json()["status_url"] == f"http://testserver/api/deliveries/{delivery.pk}"


BODIES = {
    "a warning": student(colour="red"),
    "an identifier that is not in the form NFC": student(student_id="e\u0301"),
    "a name with an escape": student(name="Zo\u00eb \U0001f600"),
    "invalid": student(age=2),
    "a NUL": student(name="a\0b"),
    "a lone surrogate": student(name="\ud800"),
    "a list": [student()],
    "a number": 5,
    "an empty object": {},
    "not JSON": b"{",
    "NaN": b'{"student_id": NaN}',
    "not UTF-8": b'{"student_id": "\xff"}',
    "too deep": b"[" * 200 + b"]" * 200,
    "a byte order mark": b"\xef\xbb\xbf" + json.dumps(student()).encode(),
    "a reserved member": student(**{"(unreadable)": "x"}),
    "empty": b"",
    "large": student(name="x" * 100_000),
    "twice the same member": b'{"student_id": "a", "student_id": "b", "name": "B"}',
}


@pytest.mark.parametrize("case", BODIES)
def test_bodies_of_all_kinds_are_answered_alike(case: str) -> None:
    warm(client := api())
    first, second = (
        post(client, "/api/students", BODIES[case]),
        post(client, "/api/students", BODIES[case], **FOR_THE_VIEW),
    )
    assert told(first) == told(second)


REQUESTS: dict[str, dict[str, Any]] = {
    "another content type": {"content_type": "text/plain"},
    "a charset": {"content_type": "application/json; charset=utf-8"},
    "NDJSON": {"content_type": "application/x-ndjson"},
    "HTML wanted": {"headers": {"accept": "text/html"}},
    "nothing that there is wanted": {"headers": {"accept": "image/png"}},
    "an empty Accept": {"headers": {"accept": ""}},
    "JSON wanted": {"headers": {"accept": "application/json"}},
    "a cookie": {"headers": {"cookie": "sessionid=x"}},
    "an origin": {"headers": {"origin": "https://example.com"}},
    "a wrong host": {"headers": {"host": "example.com"}},
    "an encoding": {"headers": {"content-encoding": "br"}},
    "chunks": {"headers": {"transfer-encoding": "chunked"}},
    "a misspelt header": {"headers": {"x-idempotency-key": "1"}},
    "no key": {"headers": {"authorization": ""}},
    "a wrong key": {"headers": {"authorization": "Api-Key abc.def"}},
    "a query": {"QUERY_STRING": "invalid=dead-letter"},
    "a senseless query": {"QUERY_STRING": "x=1"},
}


@pytest.mark.parametrize("case", REQUESTS)
def test_requests_of_all_kinds_are_answered_alike(case: str) -> None:
    warm(client := api())
    extra = dict(REQUESTS[case])
    headers = extra.pop("headers", {})
    first = post(client, "/api/students", student(), headers=headers, **extra)
    second = post(client, "/api/students", student(), headers=headers | FOR_THE_VIEW["headers"], **extra)
    assert told(first) == told(second)


def test_a_key_with_its_idempotency_key_is_for_the_view() -> None:
    warm(client := api())
    first = post(client, "/api/students", student(), headers={"idempotency-key": "1"})
    again = post(client, "/api/students", student(), headers={"idempotency-key": "1"})
    assert first.json() == again.json()


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"revoked": True}, 401),
        ({"expiry_date": timezone.now() - timedelta(days=1)}, 401),
        ({"can_ingest": False}, 403),
        ({"streams": ["tutors"]}, 403),
    ],
)
def test_a_change_of_the_key_counts_at_the_very_next_post(change: dict[str, Any], status: int) -> None:
    warm(client := api())
    assert early(client, "/api/students", student())[1]
    ApiKey.objects.update(**change)
    before = Delivery.objects.count()
    refusal(post(client, "/api/students", student()), status)
    assert Delivery.objects.count() == before


def test_a_deleted_key_counts_at_the_very_next_post() -> None:
    warm(client := api())
    ApiKey.objects.all().delete()
    refusal(post(client, "/api/students", student()), 401)


def test_a_key_limited_to_streams_is_answered_early_on_these_alone() -> None:
    warm(client := api(new_key(streams=["students"])))
    assert early(client, "/api/students", student())[1]
    refusal(post(client, "/api/tutors", tutor()), 403)


def test_another_key_is_verified_for_itself() -> None:
    warm(client := api())
    wrong = client.defaults["HTTP_AUTHORIZATION"][:-1]
    refusal(post(client, "/api/students", student(), headers={"authorization": wrong}), 401)
    other = f"Api-Key {new_key()}"
    assert early(client, "/api/students", student(), headers={"authorization": other})[1] is False
    assert early(client, "/api/students", student(), headers={"authorization": other})[1]
    clients = Delivery.objects.order_by("pk").values_list("client", flat=True)
    assert clients[0] != clients[len(clients) - 1]


def test_the_first_post_of_a_day_is_for_the_view_which_notes_the_use() -> None:
    warm(client := api())
    ApiKey.objects.update(last_used_on=timezone.localdate() - timedelta(days=1))
    assert early(client, "/api/students", student())[1] is False
    assert ApiKey.objects.get().last_used_on == timezone.localdate()
    assert early(client, "/api/students", student())[1]


def test_a_key_that_expires_soon_is_announced() -> None:
    warm(client := api(new_key(expiry_date=timezone.now() + timedelta(days=2))))
    response, is_early = early(client, "/api/students", student())
    assert not is_early
    assert "X-Api-Key-Expires" in response


def test_a_full_backlog_and_the_throttle_hold(settings: Settings) -> None:
    warm(client := api())
    settings.MAX_PENDING_RECORDS = 1
    backlog.reset_cache()
    refusal(post(client, "/api/students", student()), 503)
    settings.MAX_PENDING_RECORDS, settings.THROTTLE = 1_000_000, 1
    backlog.reset_cache()
    statuses = [post(client, "/api/students", student()).status_code for _ in range(3)]
    assert 429 in statuses


def test_what_is_learned_holds_for_one_host_and_scheme() -> None:
    warm(client := api())
    for headers in ({"host": "localhost"}, {"x-forwarded-proto": "https"}):
        response, is_early = early(client, "/api/students", student(), headers=headers)
        assert (response.status_code, is_early) == (202, False)
        again, is_early = early(client, "/api/students", student(), headers=headers)
        assert is_early
        assert told(response) == told(again)
        host = headers.get("host", "testserver")
        assert again.json()["status_url"] == f"http://{host}/api/deliveries/{again.json()['delivery']}"
    refusal(post(client, "/api/students", student(), headers={"host": "example.com"}), 400)


def test_a_body_that_ends_early_is_refused() -> None:
    warm(client := api())
    before = Delivery.objects.count()
    for body in (b"", json.dumps(student()).encode()):
        extra: dict[str, Any] = {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": "1000"}
        refusal(post(client, "/api/students", student(), **extra), 400)
        refusal(post(client, "/api/students", student(), **(FOR_THE_VIEW | extra)), 400)
    assert Delivery.objects.count() == before


def test_the_request_id_is_that_of_the_client() -> None:
    warm(client := api())
    response, is_early = early(client, "/api/students", student(), headers={"x-request-id": "mine"})
    assert (response["X-Request-ID"], is_early) == ("mine", True)


def test_the_doorbell_is_rung_when_it_is_silent() -> None:
    warm(client := api())
    Doorbell.objects.update(rung_at=None)
    assert post(client, "/api/students", student()).status_code == 202
    assert Doorbell.objects.get().rung_at is not None


def test_what_is_accepted_early_counts_for_the_backlog(settings: Settings) -> None:
    warm(client := api())
    backlog.reset_cache()
    settings.MAX_PENDING_RECORDS = Delivery.objects.filter(stream="students").pending_records() + 3
    statuses = [post(client, "/api/students", student()).status_code for _ in range(4)]
    assert statuses == [202, 202, 202, 503]


def test_the_limits_of_one_client_hold(settings: Settings) -> None:
    Doorbell.objects.update(answered_at=timezone.now())
    warm(client := api())
    warm(other := api())
    backlog.reset_cache()
    settings.MAX_CLIENT_PENDING_RECORDS = 3
    statuses = [post(client, "/api/students", student()).status_code for _ in range(3)]
    assert statuses == [202, 202, 429]
    response, is_early = early(other, "/api/students", student())
    assert (response.status_code, is_early) == (202, True)


def test_it_keeps_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    warm(client := api())
    post(client, "/api/students", student())
    line = caplog.messages[-1]
    assert line.startswith("POST /api/students 202")
    assert line.endswith(f"key:{ApiKey.objects.get().prefix}")


def test_the_limit_of_bodies_holds(settings: Settings) -> None:
    warm(client := api())
    settings.MAX_BODY_BYTES = 100
    refusal(post(client, "/api/students", student(name="x" * 100)), 413)


def test_an_error_while_it_learns_changes_no_answer() -> None:
    """The record is stored: to be told otherwise, its client would send it again."""

    def cut(execute: Any, sql: str, *args: Any) -> Any:
        if "xmin" in sql:
            raise OperationalError("The connection is cut.")
        return execute(sql, *args)

    client = api()
    with connection.execute_wrapper(cut):
        warm(client)
    assert Delivery.objects.count() == 1
    warm(client)
    assert early(client, "/api/students", student())[1]

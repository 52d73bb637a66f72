"""What a client can send wrong: 4xx in the error shape, never 500, nothing stored, and the next good record goes in."""

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client

from conftest import NewDatabase
from enrichment.models import HeldRecord
from ingestion.models import Delivery
from tests.api import NDJSON, api, ask, ndjson, new_key, post, refusal
from tests.records import assert_nothing_vanished, counts, stored, work_off
from tests.servers import PATIENCE, WebServer, manage
from tutoring.tests.factories import feedback, session, student, tutor

MB = 1_000_000
JSON = "Content-Type: application/json"

Send = Callable[..., tuple[int, Any]]


def with_raw(field: str, raw: str) -> bytes:
    """A tutor in which `field` stands as the text `raw`, be it JSON or not."""
    return json.dumps(tutor(**{field: "RAW"})).replace('"RAW"', raw).encode()


UNREADABLE = {
    "not JSON": b"tutor_id=T1",
    "half": json.dumps(tutor()).encode()[:-5],
    "two values": json.dumps(tutor()).encode() * 2,
    "NaN": with_raw("age", "NaN"),
    "Infinity": with_raw("baseline_sessions_per_week", "-Infinity"),
    "1e999": with_raw("age", "1e999"),
    "a number of 5000 digits": with_raw("age", "9" * 5000),
    "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "objects nested 100,000 deep": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "nested 100,000 deep and open": b"[" * 100_000,
    "nested 101 deep in a field": with_raw("subjects", "[" * 101 + "]" * 101),
    "UTF-16": json.dumps(tutor()).encode("utf-16"),
    "UTF-16 without a mark": json.dumps(tutor()).encode("utf-16-le"),
    "UTF-32": json.dumps(tutor()).encode("utf-32"),
    "Latin-1": json.dumps(tutor(name="Zoë"), ensure_ascii=False).encode("latin-1"),
    "a bare NUL": with_raw("name", '"a\0b"'),
    "a bare surrogate": with_raw("name", '"a"').replace(b'"a"', b'"\xed\xa0\x80"'),
    "bytes that are no text": bytes(range(128, 256)),
    "a bare line break": with_raw("name", '"a\nb"'),
    "a comment": b"/* */ " + json.dumps(tutor()).encode(),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
}
INVALID = {
    "a NUL in a text": with_raw("name", r'"a\u0000b"'),
    "a NUL in the key": with_raw("tutor_id", r'"a\u0000b"'),
    "a NUL in a list": with_raw("subjects", r'["a\u0000b"]'),
    "a lone surrogate": with_raw("name", r'"\ud800"'),
    "a lone surrogate in the key": with_raw("tutor_id", r'"\udfff"'),
    "a lone surrogate in a list": with_raw("subjects", r'["\ud800"]'),
    "a number of 400 digits": with_raw("age", "9" * 400),
    "a number beyond any column": with_raw("age", str(2**63)),
    "a text of 10 MB": with_raw("name", f'"{"x" * 10 * MB}"'),
    "a key of 10 MB": with_raw("tutor_id", f'"{"x" * 10 * MB}"'),
    "a time of 10 MB": with_raw("onboarding_date", f'"{"2" * 10 * MB}"'),
    "a million subjects": with_raw("subjects", json.dumps(["a"] * MB)),
    "nested 50 deep": with_raw("subjects", "[" * 50 + "]" * 50),
    "the year 9999 with an offset": with_raw("onboarding_date", '"9999-12-31T23:59:59-12:00"'),
    "the year 1 with an offset": with_raw("onboarding_date", '"0001-01-01T00:00:00+12:00"'),
    "an offset of seconds": with_raw("onboarding_date", '"2025-01-01T00:00:00+00:00:01"'),
    "an offset beyond a day": with_raw("onboarding_date", '"2025-01-01T00:00:00+99:00"'),
    "a time as a number": with_raw("onboarding_date", "1735689600"),
    "a time as digits": with_raw("onboarding_date", '"20250101"'),
    "the 30th of February": with_raw("onboarding_date", '"2025-02-30"'),
    "a number as text": with_raw("age", '"36"'),
    "a boolean as a number": with_raw("age", "true"),
    "half a year": with_raw("age", "36.5"),
    "a list for a text": with_raw("name", "[]"),
    "an object for a text": with_raw("name", "{}"),
    "a text for a list": with_raw("subjects", '"Algebra"'),
    "null for what is required": with_raw("name", "null"),
    "an email that is none": with_raw("email", '"a@b@c"'),
    "the last of two equal keys is wrong": json.dumps(tutor()).encode()[:-1] + b', "age": 3}',
    "nothing": b"{}",
    "prototype pollution": b'{"__proto__": {"tutor_id": "x"}, "constructor": 1}',
}


@pytest.fixture
def client() -> Iterator[Client]:
    """A client whose next good record goes in, whatever it has sent before."""
    client = api()
    yield client
    assert not HeldRecord.objects.exists()
    before = Delivery.objects.count()
    assert post(client, "/api/tutors", tutor(tutor_id="next")).status_code == 202
    work_off()
    assert stored("tutors", "next") is not None
    assert Delivery.objects.count() == before + 1
    assert_nothing_vanished()


@pytest.mark.django_db
class TestRecords:
    @pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
    def test_what_cannot_be_read_is_400_whatever_is_asked(self, client: Client, body: bytes) -> None:
        for path in ("/api/tutors", "/api/tutors/batch", "/api/tutors?invalid=dead-letter"):
            refusal(post(client, path, body), 400)
        refusal(post(client, "/api/tutors/batch", ndjson(tutor()) + b"\n" + body, NDJSON), 400)
        assert not Delivery.objects.exists()

    @pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
    def test_what_is_invalid_is_422_and_names_the_field(self, client: Client, body: bytes) -> None:
        error = refusal(post(client, "/api/tutors", body), 422)
        assert error["fields"]
        assert len(json.dumps(error)) < 10_000
        response = post(client, "/api/tutors/batch", b"[" + body + b"]")
        refusal(response, 422)
        assert set(response.json()["errors"][0]["errors"]) == set(error["fields"])
        assert not Delivery.objects.exists()

    @pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
    def test_beside_it_the_good_ones_are_taken(self, body: bytes) -> None:
        client = api()
        good = [json.dumps(tutor(tutor_id=key)).encode() for key in ("a", "b")]
        response = post(client, "/api/tutors/batch", b"[" + b",".join([good[0], body, good[1]]) + b"]")
        assert (response.status_code, response.json()["count"]) == (202, 2)
        assert [error["index"] for error in response.json()["errors"]] == [1]
        work_off()
        assert counts(Delivery.objects.get()) == {"inserted": 2}
        assert_nothing_vanished()

    @pytest.mark.parametrize("body", INVALID.values(), ids=INVALID)
    def test_kept_as_a_dead_letter_it_does_no_harm_either(self, body: bytes) -> None:
        client = api()
        assert post(client, "/api/tutors?invalid=dead-letter", body).status_code == 202
        assert post(client, "/api/tutors", tutor(tutor_id="good")).status_code == 202
        work_off()
        held = HeldRecord.objects.get()
        assert held.status == "dead"
        assert stored("tutors", "good")
        assert client.get(f"/api/deliveries/{held.delivery_id}").json()["dead"] == 1
        assert_nothing_vanished()

    @pytest.mark.parametrize(
        ("stream", "record"),
        [
            ("sessions", session(scheduled_start="9999-12-31T23:59:59-12:00")),
            ("sessions", session(actual_start="2025-03-01", actual_end="0001-01-01T00:00:00+14:00")),
            ("sessions", session(session_number=10**30)),
            ("sessions", session(engagement_score=1e308)),
            ("sessions", session(duration_minutes=-(10**400))),
            ("sessions", session(tutor_id="\ud800")),
            ("feedback", feedback(overall_rating=10**400)),
            ("feedback", feedback(free_text_feedback="\0")),
            ("feedback", feedback(improvement_areas=[{}])),
            ("students", student(subjects_interested=[None])),
            ("students", student(age=2**63)),
        ],
    )
    def test_so_it_is_with_the_other_streams(self, client: Client, stream: str, record: Any) -> None:
        assert refusal(post(client, f"/api/{stream}", record), 422)["fields"]

    def test_odd_but_valid_records_come_back_as_they_were(self, client: Client) -> None:
        odd = {
            "naive": tutor(tutor_id="naive", onboarding_date="2025-01-01T10:00:00"),
            "date": tutor(tutor_id="date", onboarding_date="2025-01-01"),
            "float": tutor(tutor_id="float", age=60.0),
            "name": tutor(tutor_id="name", name="'); DROP TABLE tutoring_tutor; -- <script>\u2028😀"),
            "more": tutor(tutor_id="more", unknown={"a": [1, None]}, tenure_days=5),
            "nulls": tutor(tutor_id="nulls", age=None, location=None),
        }
        for record in odd.values():
            assert post(client, "/api/tutors", record).status_code == 202
        twice = json.dumps(tutor(tutor_id="twice")).encode()[:-1] + b', "age": 50, "age": 51}'
        assert post(client, "/api/tutors", b"\xef\xbb\xbf" + twice).status_code == 202
        work_off()
        rows = {row["tutor_id"]: row for row in client.get("/api/tutors").json()["results"]}
        assert rows["naive"]["onboarding_date"] == "2025-01-01T10:00:00Z"
        assert rows["date"]["onboarding_date"] == "2025-01-01T00:00:00Z"
        assert json.dumps(rows["float"]["age"]) == "60"
        assert rows["name"]["name"] == odd["name"]["name"]
        assert "unknown" not in rows["more"]
        assert (rows["nulls"]["age"], rows["twice"]["age"]) == (None, 51)


@pytest.mark.django_db
class TestRequests:
    @pytest.mark.parametrize(
        "path",
        ["/api/tutors/%00", "/api/%00", "/%00", "/static/%00", "/admin/%00", "/api/deliveries/1%00", "/api/tutors%0A"],
    )
    def test_hostile_paths_are_404(self, client: Client, path: str) -> None:
        assert client.get(path).status_code == 404
        assert post(client, path, tutor()).status_code == 404

    @pytest.mark.parametrize("query", ["a=%00", "%00", "page_size=%00", "cursor=%00", "q=a%00b&page=%00"])
    def test_a_nul_in_the_query_is_400(self, client: Client, query: str) -> None:
        for path in ("/api/tutors", "/api/tutors/x", "/admin/login/", "/docs", "/"):
            refusal(client.get(f"{path}?{query}"), 400)

    @pytest.mark.parametrize(
        "query", ["%", "%zz", "a=%ff", "=", "a[]=1", ";", "a=1;b=2", "\N{PILE OF POO}", "a" * 100_000]
    )
    def test_other_senseless_queries_are_400(self, client: Client, query: str) -> None:
        refusal(client.get(f"/api/tutors?{query}"), 400)
        refusal(post(client, f"/api/tutors?{query}", tutor()), 400)

    def test_a_nul_in_a_cookie_is_400(self, client: Client) -> None:
        for path in ("/api/tutors", "/admin/"):
            response = Client().get(path, headers={"cookie": r'sessionid="\000\000\000\000\000\000\000\000"'})
            refusal(response, 400)

    @pytest.mark.parametrize("cookie", ["sessionid=", "sessionid=\xff\xfe", ";;;=;", "sessionid=" + "x" * 5000])
    def test_any_other_cookie_is_no_matter(self, client: Client, cookie: str) -> None:
        refusal(Client().get("/api/tutors", headers={"cookie": cookie}), 401)

    @pytest.mark.parametrize(
        "accept",
        [";;;;", "*/*;q=\xff", "application/json;indent=99999999", "text/html;q=x", "a/b," * 5000, '"', "x" * 20_000],
    )
    def test_no_accept_header_breaks_it(self, client: Client, accept: str) -> None:
        for path in ("/api/tutors", "/", "/docs", "/health"):
            assert client.get(path, headers={"accept": accept}).status_code in (200, 406)

    @pytest.mark.parametrize("host", ["evil.example", "a b", "\xff", "[::1", ""])
    def test_another_host_is_400(self, client: Client, host: str) -> None:
        refusal(Client().get("/api/tutors", headers={"host": host}), 400)

    @pytest.mark.parametrize("charset", ["utf-16", "rot13", "latin-1", "base64", "nonsense", "", "idna", "\xff"])
    def test_another_charset_is_415(self, client: Client, charset: str) -> None:
        refusal(post(client, "/api/tutors", tutor(), f"application/json; charset={charset}"), 415)

    @pytest.mark.parametrize("method", ["FOO", "TRACE", "CONNECT", "\xff"])
    def test_a_method_that_is_none_is_405(self, client: Client, method: str) -> None:
        for path in ("/api/tutors", "/api/tutors/batch", "/health"):
            refusal(client.generic(method, path), 405)


@pytest.mark.django_db
def test_a_mistake_of_ours_has_the_shape_of_all_errors() -> None:
    key = new_key()
    assert post(api(key), "/api/tutors?invalid=dead-letter", {}).status_code == 202
    work_off()
    HeldRecord.objects.update(messages=5)  # what our code never writes
    client = Client(raise_request_exception=False, headers={"authorization": f"Api-Key {key}"})
    assert refusal(client.get(f"/api/deliveries/{Delivery.objects.get().pk}"), 500)["code"] == "error"


class TestServer:
    """What only a real server shows."""

    @pytest.fixture
    def send(self, new_database: NewDatabase) -> Iterator[Send]:
        """send(request line, headers, *parts of the body, end=False) → (status, JSON or text)."""
        url = new_database()
        key = manage("create_api_key", "test", database_url=url).stdout.strip()

        def exchange(line: str, headers: list[str], *parts: bytes, end: bool = False) -> tuple[int, Any]:
            address = urlsplit(server.url)
            own = ["Host: localhost", f"Authorization: Api-Key {key}", "Connection: close"]
            request = "\r\n".join([line, *own, *headers]) + "\r\n\r\n"
            with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
                for part in (request.encode("latin-1"), *parts):
                    connection.sendall(part)
                if end:
                    connection.shutdown(socket.SHUT_WR)
                with connection.makefile("rb") as file:
                    answer = file.read()
            head, _, body = answer.partition(b"\r\n\r\n")
            is_json = b"application/json" in head
            return int(head.split()[1]), json.loads(body) if is_json else body.decode(errors="replace")

        with WebServer(url, MAX_BODY_BYTES="1000000") as server:
            yield exchange
            status, _, stored = ask(f"{server.url}/api/tutors", key, tutor())
            assert (status, stored["delivery"]) == (202, 1)  # the first: nothing was stored before
            assert "Internal Server Error" not in server.log()

    def test_bodies_that_are_cut_or_chunked_or_too_large(self, send: Send) -> None:
        chunked, post = [JSON, "Transfer-Encoding: chunked"], "POST /api/tutors HTTP/1.1"
        status, answer = send(post, chunked, b"2\r\n{}\r\n0\r\n\r\n")
        assert (status, answer["error"]["code"]) == (411, "length_required")
        assert send(post, chunked, *[b"f4240\r\n" + b" " * MB + b"\r\n"] * 10, b"0\r\n\r\n")[0] == 411
        assert send(post, chunked, b"zz\r\n{}\r\n0\r\n\r\n")[0] == 411
        # The lines that did arrive must not pass for the whole.
        body = ndjson(tutor(tutor_id="a"), tutor(tutor_id="b"))
        headers = [f"Content-Type: {NDJSON}", f"Content-Length: {len(body)}"]
        first_line = body[: body.index(b"\n") + 1]
        status, answer = send("POST /api/tutors/batch HTTP/1.1", headers, first_line, end=True)
        assert status == 400
        assert "ended" in answer["error"]["message"]
        # A refused body is read to its end, or the answer would not arrive.
        for path, kind, refused in [
            ("/api/tutors/batch", JSON, 413),
            ("/api/tutors", "Content-Type: text/plain", 415),
            ("/api/tutors?x=1", JSON, 400),
            ("/api/tutors/x", JSON, 405),
            ("/api/films", JSON, 404),
        ]:
            length = f"Content-Length: {50 * MB}"
            status, answer = send(f"POST {path} HTTP/1.1", [kind, length], *[b" " * MB] * 50)
            assert (status, answer["success"]) == (refused, False)

    def test_headers_that_make_no_sense(self, send: Send) -> None:
        for charset in ("rot13", "utf-16", "base64", "nonsense"):
            for path in ("/api/tutors?page_size=1", "/admin/login/?next=/", "/?a=1"):
                status, answer = send(f"GET {path} HTTP/1.1", [f"Content-Type: text/plain; charset={charset}"])
                assert (status, answer["error"]["code"]) == (415, "unsupported_media_type")
        for parameter in ("a*=nosuch''%41", "a*=idna''%ff", "a*=undefined''%41"):
            assert send("GET /health/live HTTP/1.1", [f"Content-Type: x/y; {parameter}"])[0] == 200
            status, answer = send("POST /api/tutors HTTP/1.1", [f"{JSON}; {parameter}", "Content-Length: 2"], b"{}")
            assert (status, answer["error"]["code"]) == (415, "unsupported_media_type")
        query = "&".join(["a=1"] * 1001)
        for charset in ("", "; charset=utf-8"):
            status, answer = send(f"GET /api/tutors?{query} HTTP/1.1", [JSON + charset])
            assert (status, answer["success"]) == (400, False)
        for line, headers in [
            ("GET /api/tutors HTTP/1.1", ["X: a\0b"]),
            ("GET /api/tutors HTTP/1.1", ["X: a\r\n b"]),
            ("GET /api/tutors HTTP/1.1", ["no colon"]),
            ("GET /api/tutors?\xff HTTP/1.1", []),
            ("POST /api/tutors HTTP/1.1", ["Content-Length: -1"]),
            ("POST /api/tutors HTTP/1.1", ["Content-Length: x"]),
            ("POST /api/tutors HTTP/1.1", ["Content-Length: 2", "Content-Length: 3"]),
            ("POST /api/tutors HTTP/1.1", ["Content-Length: 2", "Transfer-Encoding: chunked"]),
            ("GET /api/tutors?" + "x" * 10_000 + " HTTP/1.1", []),
            ("GET /api/tutors HTTP/1.1", [f"X-{number}: x" for number in range(200)]),
        ]:
            assert 400 <= send(line, headers)[0] < 500, (line[:50], headers[:2])
        for path in ("/api/tutors", "/api/tutors/batch", "/api/uploads", "/api/sessions/upload", "/admin/login/"):
            headers = [JSON, f"Content-Length: {'9' * 4000}"]
            assert 400 <= send(f"POST {path} HTTP/1.1", headers, b"{}", end=True)[0] < 500, path
        # Of a path that would not be that of the address.
        for path, expected in (("/api/tutors", 200), ("/x/api/tutors", 404)):
            assert send(f"GET {path} HTTP/1.1", ["SCRIPT_NAME: /x"])[0] == expected

"""What every answer bears, and what the log says of requests."""

import json
import os
import re
import subprocess
import sys
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import time_machine
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from conftest import NewDatabase
from tests.api import api, ask, new_key, post
from tests.servers import ROOT, WebServer, manage, wait_until
from tutoring.tests.factories import tutor

PASSWORD = "correct horse"
ANSWERS = [
    ("/", {}, 200),
    ("/docs", {}, 200),
    ("/redoc", {}, 200),
    ("/openapi.json", {}, 200),
    ("/health/live", {}, 200),
    ("/static/tutormax/page.css", {}, 200),
    ("/admin/", {}, 302),
    ("/admin/login/", {}, 200),
    ("/admin/nothing", {}, 302),
    ("/nothing", {}, 404),
    ("/api", {}, 404),
    ("/api/nothing", {}, 404),
    ("/api/tutors", {}, 401),
    ("/api/tutors", {"accept": "text/html"}, 401),
    ("/api/tutors", {"accept": "image/png"}, 406),
    ("/api/tutors", {"host": "evil.example"}, 400),
    ("/", {"host": "evil.example"}, 400),
    ("/%00", {}, 404),
    ("/?%00", {}, 400),
    ("/", {"content-type": "text/plain; charset=rot13"}, 415),
    ("/", {"cookie": r'sessionid="\000"'}, 400),
]


def answers(*asked: tuple[str, str, dict[str, str]], **environment: str) -> Any:
    """[[status, {header: value}, {cookie: is it secure}]] of (method, path, headers), with these settings."""
    script = """
import json, sys, django
django.setup()
from django.test import Client
for method, path, headers in json.loads(sys.argv[1]):
    answer = Client(headers=headers).generic(method, path)
    cookies = {name: bool(cookie["secure"]) for name, cookie in answer.cookies.items()}
    print(json.dumps([answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, cookies]))
"""
    told = {"DJANGO_SETTINGS_MODULE": "tutormax.settings", "ALLOWED_HOSTS": "testserver,tutormax.example"}
    result = subprocess.run(
        [sys.executable, "-c", script, json.dumps(asked)],
        cwd=ROOT,
        env={**os.environ, **told, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.django_db
class TestHeaders:
    @pytest.mark.parametrize(("path", "headers", "status"), ANSWERS)
    def test_every_answer_has_an_id_and_a_policy(self, path: str, headers: dict[str, str], status: int) -> None:
        response = Client().get(path, headers=headers)
        list(response)  # a file is closed when it has been read
        assert response.status_code == status
        assert re.fullmatch("[0-9a-f]{32}", response["X-Request-ID"])
        assert "default-src 'self'" in response["Content-Security-Policy"]

    def test_each_request_has_an_id_of_its_own(self) -> None:
        assert Client().get("/health/live")["X-Request-ID"] != Client().get("/health/live")["X-Request-ID"]

    @pytest.mark.parametrize("given", ["a", "7", "x" * 128, "2f1c-4.b_Z", "-"])
    def test_a_sane_id_of_the_client_is_taken(self, given: str) -> None:
        for path in ("/health/live", "/api/tutors", "/%00"):
            assert Client().get(path, headers={"x-request-id": given})["X-Request-ID"] == given

    @pytest.mark.parametrize(
        "given", ["", "x" * 129, "a b", "a\nb", "a\r\nSet-Cookie: a=b", "é", "a,b", "<script>", "٣"]
    )
    def test_any_other_is_replaced(self, given: str) -> None:
        assert re.fullmatch("[0-9a-f]{32}", Client().get("/", headers={"x-request-id": given})["X-Request-ID"])

    def test_a_key_that_expires_within_a_week_is_said_to(self) -> None:
        end = timezone.now().replace(microsecond=0) + timedelta(days=6)
        client = api(new_key(expiry_date=end, can_ingest=False))
        for response in (
            client.get("/api/tutors"),
            client.get("/api/tutors?x=1"),
            post(client, "/api/tutors", tutor()),
        ):
            assert response["X-Api-Key-Expires"] == f"{end:%Y-%m-%dT%H:%M:%SZ}"
        for other in (new_key(), new_key(expiry_date=end + timedelta(days=2)), new_key(expiry_date=end, revoked=True)):
            assert "X-Api-Key-Expires" not in api(other).get("/api/tutors")


class TestOrigins:
    APP = "https://app.example"
    ASKED = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}

    def test_they_are_off_without_the_setting(self) -> None:
        headers = {"origin": self.APP}
        for _, found, _ in answers(("GET", "/health/live", headers), ("OPTIONS", "/api/tutors", headers | self.ASKED)):
            assert not [name for name in found if name.startswith("access-control")]
            assert "origin" not in found.get("vary", "").lower()

    def test_those_named_may_ask_the_api_and_nothing_else(self) -> None:
        app, other = {"origin": self.APP}, {"origin": "https://other.example"}
        allowed, refused = "access-control-allow-origin", 401
        preflight, answer, health, docs, admin, foreign, foreign_preflight, broken = answers(
            ("OPTIONS", "/api/tutors", app | self.ASKED),
            ("GET", "/api/tutors", app),
            ("GET", "/health/live", app),
            ("GET", "/openapi.json", app),
            ("GET", "/admin/login/", app),
            ("GET", "/api/tutors", other),
            ("OPTIONS", "/api/tutors", other | self.ASKED),
            ("GET", "/api/tutors?%00", app),
            CORS_ORIGINS=f"http://localhost:5173, {self.APP.upper()}",
        )
        assert (preflight[0], preflight[1][allowed]) == (200, self.APP)
        names = preflight[1]["access-control-allow-headers"].lower()
        for name in ("authorization", "content-type", "content-encoding", "idempotency-key", "x-request-id"):
            assert name in names
        assert preflight[1]["access-control-allow-methods"] == "GET, HEAD, POST, OPTIONS"
        for status, headers, _ in (answer, broken, health, docs):
            assert status in (200, 400, refused)
            assert headers[allowed] == self.APP
            assert "origin" in headers["vary"].lower()
            assert "X-Request-ID" in headers["access-control-expose-headers"]
            assert "Retry-After" in headers["access-control-expose-headers"]
        for _, headers, _ in (admin, foreign, foreign_preflight):
            assert allowed not in headers
        for _, headers, _ in (preflight, answer):
            assert "access-control-allow-credentials" not in headers


class TestHttps:
    HOST = {"host": "tutormax.example"}
    SECURE = HOST | {"x-forwarded-proto": "https"}

    def test_with_it_all_is_secure(self) -> None:
        plain, login, foreign = answers(
            ("GET", "/api/tutors?a=1", self.HOST),
            ("GET", "/admin/login/", self.SECURE),
            ("GET", "/", self.SECURE | {"host": "evil.example"}),
            HTTPS="true",
        )
        assert (plain[0], plain[1]["location"]) == (301, "https://tutormax.example/api/tutors?a=1")
        assert login[0] == 200
        assert login[1]["strict-transport-security"] == "max-age=31536000; includeSubDomains; preload"
        assert login[1]["x-frame-options"] == "DENY"
        assert login[2] == {"csrftoken": True}
        assert foreign[0] == 400

    def test_without_it_the_proxys_header_is_not_believed(self) -> None:
        ((status, headers, cookies),) = answers(("GET", "/admin/login/", self.SECURE))
        assert (status, cookies) == (200, {"csrftoken": False})
        assert "strict-transport-security" not in headers


@pytest.mark.django_db
class TestLogIns:
    """Ten failures lock a user name at an address for a quarter of an hour."""

    @pytest.fixture(autouse=True)
    def user(self, settings: Settings) -> User:
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # the others take their time
        return User.objects.create_superuser("ada", password=PASSWORD)

    def log_in(self, password: str, name: str = "ada", address: str = "1.1.1.1", **headers: str) -> Any:
        data = {"username": name, "password": password}
        return Client(REMOTE_ADDR=address, headers=headers).post("/admin/login/", data)

    def fail(self, times: int = 10, **more: str) -> Any:
        return [self.log_in("wrong", **more) for _ in range(times)][-1]

    def test_the_right_password_does_not_help_any_more(self) -> None:
        assert self.fail(9).status_code == 200
        response = self.fail(1)
        assert response.status_code == 429
        assert response["Retry-After"] == "900"
        assert "Try again in 15 minutes" in response.content.decode()
        assert "style=" not in response.content.decode()
        assert self.log_in(PASSWORD).status_code == 429
        assert Client(REMOTE_ADDR="1.1.1.1").get("/admin/login/").status_code == 200

    def test_others_are_not_locked_out(self) -> None:
        User.objects.create_superuser("bob", password=PASSWORD)
        self.fail()
        assert self.log_in(PASSWORD, address="2.2.2.2").status_code == 302
        assert self.log_in(PASSWORD, name="bob").status_code == 302

    def test_it_ends(self) -> None:
        self.fail()
        with time_machine.travel(timezone.now() + timedelta(minutes=14)):
            assert self.log_in(PASSWORD).status_code == 429
        with time_machine.travel(timezone.now() + timedelta(minutes=16)):
            assert self.log_in(PASSWORD).status_code == 302

    def test_a_success_wipes_the_slate_clean(self) -> None:
        self.fail(9)
        assert self.log_in(PASSWORD).status_code == 302
        assert self.fail(9).status_code == 200

    def test_without_a_proxy_a_made_up_address_is_of_no_use(self) -> None:
        for number in range(10):
            self.log_in("wrong", **{"x-forwarded-for": f"3.3.3.{number}"})
        assert self.log_in(PASSWORD).status_code == 429

    def test_behind_a_proxy_the_address_it_adds_counts(self, settings: Settings) -> None:
        settings.HTTPS = True
        proxy = "127.0.0.1"
        for number in range(10):
            self.log_in("wrong", address=proxy, **{"x-forwarded-for": f"3.3.3.{number}, 4.4.4.4"})
        assert self.log_in(PASSWORD, address=proxy, **{"x-forwarded-for": "5.5.5.5, 4.4.4.4"}).status_code == 429
        assert self.log_in(PASSWORD, address=proxy, **{"x-forwarded-for": "4.4.4.4, 5.5.5.5"}).status_code == 302

    @pytest.mark.parametrize("address", ["", "not an address", "::1"])
    def test_whatever_the_address_a_wrong_password_is_no_500(self, settings: Settings, address: str) -> None:
        settings.HTTPS = True
        forwarded = {"x-forwarded-for": f"1.1.1.1, {address}"}
        assert self.fail(10, address=address, **forwarded).status_code == 429

    def test_the_api_takes_no_passwords(self) -> None:
        for path in ("/api/tutors", "/docs"):
            client = Client(headers={"authorization": "Basic YWRhOmNvcnJlY3QgaG9yc2U=", "accept": "text/html"})
            assert client.get(path).status_code == (401 if path == "/api/tutors" else 200)
            assert "sessionid" not in client.cookies


class TestLog:
    LINE = re.compile(r"^[-0-9]+ [0-9:,]+ (\w+) \[([^]]*)\] tutormax\.requests: (.*) (\d+) \d+ ms (\S+)$", re.MULTILINE)

    def test_it_has_one_line_for_each_request(self, new_database: NewDatabase) -> None:
        url = new_database()
        key = manage("create_api_key", "test", database_url=url).stdout.strip()
        client = f"key:{key.partition('.')[0]}"
        long = "/api/tutors/" + "x" * 500
        with WebServer(url, LOG_LEVEL="DEBUG") as server:
            for name, path, body, headers in [
                ("list", "/api/tutors?search=MARKER", None, {}),
                ("post", "/api/tutors", tutor(name="MARKER"), {}),
                ("invalid", "/api/tutors", {"MARKER": 1}, {}),
                ("unknown", "/api/nothing?MARKER", None, {}),
                ("forged", "/nothing%0Aforged%1B%20line", None, {}),
                ("long", long, None, {}),
                ("host", "/admin/", None, {"host": "evil.example"}),
            ]:
                _, answered, _ = ask(server.url + path, key, body, x_request_id=name, **headers)
                assert answered["X-Request-ID"] == name
            log = wait_until(lambda: len(self.lines(server.log())) == 7 and server.log(), "all lines are there")
        assert self.lines(log) == {
            "list": ("INFO", "GET /api/tutors", "200", client),
            "post": ("INFO", "POST /api/tutors", "202", client),
            "invalid": ("INFO", "POST /api/tutors", "422", client),
            "unknown": ("INFO", "GET /api/nothing", "404", "-"),
            "forged": ("INFO", r"GET /nothing\nforged\x1b line", "404", "-"),
            "long": ("INFO", "GET /api/tutors/{tutor_id}", "404", client),
            "host": ("INFO", "GET /admin/", "400", "-"),
        }
        assert "MARKER" not in log
        assert key.partition(".")[2] not in log
        # What clients do wrong is no warning and needs no traceback; why a host was refused is said nevertheless.
        assert not re.search(r" (WARNING|ERROR) |Traceback", log)
        assert "INFO [host] django.security.DisallowedHost: Invalid HTTP_HOST header: 'evil.example'" in log

    def test_our_own_errors_are_logged_with_the_request(self, new_database: NewDatabase) -> None:
        url = new_database()
        key = manage("create_api_key", "test", database_url=url).stdout.strip()
        with WebServer(url, LOG_LEVEL="WARNING") as server:
            assert ask(server.url + "/api/tutors", key, x_request_id="good")[0] == 200
            with psycopg.connect(url) as connection:
                connection.execute("DROP TABLE tutoring_tutor CASCADE")
            status, headers, _ = ask(server.url + "/api/tutors", key, x_request_id="bad")
            assert (status, headers["X-Request-ID"]) == (500, "bad")
            assert "default-src 'self'" in headers["Content-Security-Policy"]
            assert ask(server.url + "/api/nothing", key, x_request_id="wrong")[0] == 404
            log = wait_until(lambda: "bad" in self.lines(server.log()) and server.log(), "the line is there")
        assert list(self.lines(log)) == ["bad"]
        assert "ERROR [bad] django.request: Internal Server Error: /api/tutors\nTraceback" in log
        assert "[good]" not in log
        assert "[wrong]" not in log

    def lines(self, log: str) -> dict[str, tuple[str, ...]]:
        """request id → (level, method and path, status, client), of our own requests."""
        found = {name: (level, *rest) for level, name, *rest in self.LINE.findall(log)}
        return {name: line for name, line in found.items() if len(name) < 32}

"""What nobody may take without being asked who they are, and what answers whatever the name it is called by."""

import gzip
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.test import Client
from pytest_django import Settings

from ingestion import capacity
from ingestion.files.formats import csv_reader
from ingestion.models import ApiKey
from ingestion.payloads import TooLarge
from tests.api import api, new_key, refusal
from tests.people import browser_of, person, text_of
from tests.workers import database_url
from tutoring.tests.factories import student
from tutormax.limits import SMALL_BODY

HTML = {"accept": "text/html"}


class TestHosts:
    @pytest.mark.django_db
    @pytest.mark.parametrize("host", ["10.0.0.5:8000", "[fd00::12]:8000", "ip-10-0-0-5.ec2.internal", "_", "a b"])
    @pytest.mark.parametrize("path", ["/health", "/health/", "/health/live", "/health/live/"])
    def test_health_is_answered_by_any_name(self, host: str, path: str) -> None:
        assert Client(headers={"host": host}).get(path).status_code == 200

    @pytest.mark.django_db
    def test_metrics_are_answered_by_any_name_to_a_key(self) -> None:
        anybody = Client(headers={"host": "10.1.2.3"})
        assert anybody.get("/metrics").status_code == 401
        assert api(host="10.1.2.3").get("/metrics").status_code == 200

    @pytest.mark.django_db
    def test_behind_https_they_are_answered_over_plain_http(self, settings: Settings) -> None:
        settings.SECURE_SSL_REDIRECT = True
        balancer = Client(headers={"host": "172.16.0.9:8000"})
        assert [balancer.get(path).status_code for path in ("/health", "/health/live/")] == [200, 200]
        assert api(host="172.16.0.9").get("/metrics/").status_code == 200
        assert Client().get("/guide").status_code == 301

    @pytest.mark.django_db
    @pytest.mark.parametrize("path", ["/", "/admin/login/", "/guide", "/healthy", "/health/live/x", "/metrics/x"])
    def test_all_else_stays_shut_and_names_the_setting(self, path: str) -> None:
        page = text_of(Client(headers={"host": "10.0.0.5", **HTML}).get(path), 400)
        assert "ALLOWED_HOSTS" in page

    @pytest.mark.django_db
    def test_the_api_names_the_setting_too(self) -> None:
        assert "ALLOWED_HOSTS" in refusal(api(host="10.0.0.5").get("/api/students"), 400)["message"]


def file_of(size: int) -> SimpleUploadedFile:
    return SimpleUploadedFile("students.csv", b"x" * size, "text/csv")


@pytest.fixture
def spooled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The temporary files that are made from here on."""
    made: list[str] = []
    real = tempfile.TemporaryFile

    def noted(*args: Any, **kwargs: Any) -> Any:
        made.append("file")
        return real(*args, **kwargs)

    monkeypatch.setattr(tempfile, "TemporaryFile", noted)
    return made


@pytest.mark.django_db
class TestBodies:
    @pytest.mark.parametrize(
        "path", ["/admin/login/", "/admin/nothing", "/admin/ingestion/upload/add/", "/", "/health", "/guide", "/nope"]
    )
    def test_who_is_not_logged_in_puts_nothing_large_on_the_disk(self, path: str, spooled: list[str]) -> None:
        client = Client(enforce_csrf_checks=True)
        client.cookies["csrftoken"] = "a" * 32
        response = client.post(path, {"file": file_of(SMALL_BODY + 1)})
        assert response.status_code == 413
        assert "too large" in response.json()["error"]["message"]
        assert spooled == []

    def test_who_is_logged_in_but_no_staff_does_not_either(self, spooled: list[str]) -> None:
        user = person()
        user.is_staff = False
        user.save()
        client = browser_of(user)
        assert "Log in" in text_of(client.post("/admin/login/", {"file": file_of(SMALL_BODY + 1)}, headers=HTML), 413)
        assert client.post("/api/uploads", {"stream": "students", "file": file_of(2_000)}).status_code == 401
        assert spooled == []

    def test_staff_may_send_as_much_as_an_upload_may_have(self, settings: Settings, spooled: list[str]) -> None:
        settings.MAX_UPLOAD_BYTES = 3 * SMALL_BODY
        client = browser_of(person("operator"))
        page = "/admin/ingestion/upload/add/"
        assert client.post(page, {"stream": "students", "file": file_of(SMALL_BODY)}).status_code == 200
        assert len(spooled) > 0
        spooled.clear()
        for path in (page, "/api/uploads"):
            response = client.post(path, {"stream": "students", "file": file_of(3 * SMALL_BODY)}, headers=HTML)
            assert response.status_code == 413
        assert spooled == []

    def test_a_login_still_works(self) -> None:
        person("operator").set_password("x")
        assert Client().post("/admin/login/", {"username": "a", "password": "b"}).status_code == 200


@pytest.mark.django_db
class TestSlots:
    """Half of four threads are two."""

    @pytest.fixture(autouse=True)
    def four_threads(self, settings: Settings) -> None:
        settings.WEB_THREADS = 4
        capacity.taken.clear()

    def test_no_more_uploads_and_downloads_than_half_the_threads(self) -> None:
        client = api()
        operator = browser_of(person("operator"))
        with capacity.heavy_request("key:a"), capacity.heavy_request("key:b"):
            for response in (
                client.get("/api/students?format=csv"),
                client.post("/api/uploads?stream=students", b"student_id,name\nS1,A\n", content_type="text/csv"),
            ):
                assert refusal(response, 503)["code"] == "unavailable"
                assert response["Retry-After"] == "10"
            for response in (
                operator.get("/admin/enrichment/deadletter/export/"),
                operator.post("/admin/ingestion/upload/add/", {"stream": "students", "file": file_of(10)}),
            ):
                assert "Try again in 10 seconds" in text_of(response, 503)
                assert response["Retry-After"] == "10"
            assert client.get("/api/students").status_code == 200
            assert client.get("/health/live").status_code == 200
        assert client.get("/api/students?format=csv").status_code == 200

    def test_who_holds_half_of_them_is_refused_and_nobody_else(self) -> None:
        key, ann, bob = new_key(), person("operator"), person("operator", "viewer")
        upload = ("/api/uploads?stream=students", b"student_id,name\nS1,A\n", "text/csv")
        form = {"stream": "students", "file": file_of(10)}
        with capacity.heavy_request(f"key:{ApiKey.objects.get().client}"):
            for response in (api(key).get("/api/students?format=csv"), api(key).post(*upload)):
                assert "Too many of your uploads and downloads" in refusal(response, 429)["message"]
                assert response["Retry-After"] == "10"
            assert api().post(*upload).status_code == 201
        with capacity.heavy_request(f"user:{ann.get_username()}"):
            for response in (
                browser_of(ann).get("/admin/enrichment/deadletter/export/"),
                browser_of(ann).post("/admin/ingestion/upload/add/", form),
            ):
                assert "Too many of your uploads and downloads" in text_of(response, 429)
                assert response["Retry-After"] == "10"
            assert browser_of(bob).post("/admin/ingestion/upload/add/", form).status_code == 200

    @pytest.mark.django_db(transaction=True)  # to close an answer closes the connection
    @pytest.mark.parametrize("read", [True, False])
    def test_a_download_gives_its_slot_back_read_or_not(self, read: bool) -> None:
        client = api()
        for _ in range(5):
            response = client.get("/api/students?format=ndjson")
            assert response.status_code == 200
            if read:
                assert response.getvalue() == b""
            response.close()

    def test_an_upload_that_is_refused_gives_it_back(self) -> None:
        client = api()
        for _ in range(5):
            response = client.post("/api/uploads?stream=students", b"nothing\n1\n", content_type="text/csv")
            assert response.status_code == 400
        assert client.get("/api/students?format=csv").status_code == 200


@pytest.mark.django_db
class TestPrivacy:
    @pytest.mark.parametrize("path", ["/api/students", "/api/students/S0", "/api/deliveries", "/metrics", "/api/stats"])
    def test_no_cache_keeps_what_a_key_may_see(self, path: str) -> None:
        for client in (api(), Client()):
            response = client.get(path)
            assert response["Cache-Control"] == "private, no-store"
            assert {"Authorization", "Cookie"} <= {name.strip() for name in response["Vary"].split(",")}

    def test_nor_what_was_posted(self) -> None:
        response = api(new_key()).post("/api/students", student(), content_type="application/json")
        assert response["Cache-Control"] == "private, no-store"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"[" + b"{}," * 600_000 + b"{}]", "application/json"),
        (b"[" + b"[[]]," * 300_000 + b"[]]", "application/json"),
        (b"[" + b"0," * 2_600_000 + b"0]", "application/json"),
        (b"7\n" * 1_100_000, "application/x-ndjson"),
        (b"\n" * 1_100_000 + b"{}", "application/x-ndjson"),
    ],
)
def test_a_body_of_many_tiny_values_is_refused_before_it_is_parsed(body: bytes, content_type: str) -> None:
    response = api().generic("POST", "/api/tutors/batch", body, content_type)
    assert "has more than" in refusal(response, 413)["message"]


def packed(data: bytes) -> SimpleUploadedFile:
    return SimpleUploadedFile("students.csv.gz", gzip.compress(data), "application/gzip")


@pytest.mark.django_db
class TestPackedFiles:
    HEAD = b"student_id,name\nS1,Kim\n"

    def test_all_files_of_a_request_have_one_budget(self, settings: Settings) -> None:
        settings.MAX_UPLOAD_BYTES = 1_000_000
        row = b"S%d,Kim" + b" " * 200 + b"Lee\n"
        files = [packed(self.HEAD + b"".join(row % number for number in range(1_500)) + b"S,%d" % n) for n in range(4)]
        error = refusal(api().post("/api/uploads", {"stream": "students", "file": files}), 413)
        assert "The files unpack to more than 1000000 bytes" in error["message"]
        alone = {"stream": "students", "file": packed(self.HEAD)}
        assert api().post("/api/uploads", alone).status_code == 201

    def test_nothing_unpacks_to_far_more_than_its_size(self) -> None:
        data = gzip.compress(self.HEAD + b"S2," + b"x" * 70_000_000)
        error = refusal(api().post("/api/uploads?stream=students", data, content_type="application/gzip"), 413)
        assert "200 times" in error["message"]

    @pytest.mark.parametrize("blank", [b"\n", b"\r\n", b",\n", b" ,\t\n", b",,,,\n", b'"",""\n'])
    def test_a_file_of_empty_lines_is_refused_at_once(self, blank: bytes) -> None:
        error = refusal(self.sent(self.HEAD + blank * 1_000_000), 413)
        assert "more than 100000 empty" in error["message"]

    @pytest.mark.parametrize(
        ("name", "row"),
        [("f.csv", b"a\n"), ("f.csv", b"a,b,c\n"), ("f.csv", b'a"b"\n'), ("f.ndjson", b"x\n"), ("f.ndjson", b"{}\n")],
    )
    def test_a_file_of_rows_that_are_none_is_refused_at_once(self, name: str, row: bytes) -> None:
        head = self.HEAD if name == "f.csv" else b'{"student_id": "S1", "name": "Kim"}\n'
        error = refusal(self.sent(head + row * 500_000, name), 413)
        assert "More than 100000 rows" in error["message"]

    def test_many_bad_rows_among_more_good_ones_are_no_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(csv_reader, "MAX_UNREADABLE", 10)
        rows = [f"S{number},Kim" if number % 3 else f"S{number}" for number in range(100)]
        assert self.sent(self.HEAD + "\n".join(rows).encode()).status_code == 201

    def sent(self, data: bytes, name: str = "f.csv") -> Any:
        path = f"/api/uploads?stream=students&name={name}"
        return api().post(path, gzip.compress(data), content_type="application/gzip")


@pytest.mark.django_db
class TestEffort:
    ROWS = b"student_id,name\n" + b"".join(b"S%d,Kim\n" % number for number in range(20_000))

    def test_checking_a_file_takes_a_bounded_time_of_the_processor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(capacity, "MIN_COMPUTING", 0)
        monkeypatch.setattr(capacity, "COMPUTING_PER_MB", 0)
        for query in ("", "&dry_run=true"):
            path = f"/api/uploads?stream=students{query}"
            error = refusal(api().post(path, gzip.compress(self.ROWS), content_type="application/gzip"), 413)
            assert "takes more than 0 seconds" in error["message"]
        operator = browser_of(person("operator"))
        fields = {"stream": "students", "file": SimpleUploadedFile("s.csv", self.ROWS), "_preview": "1"}
        assert "takes more than" in operator.post("/admin/ingestion/upload/add/", fields).content.decode()

    def test_what_a_request_brings_counts(self) -> None:
        small, large = (capacity.Effort({"CONTENT_LENGTH": size}).limit for size in ("1000", "100000000"))
        assert (round(small), large) == (60, 1060)

    def test_a_command_takes_as_long_as_it_takes(self) -> None:
        capacity.check_effort()

    def test_storing_is_not_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(capacity, "MIN_COMPUTING", -1)
        with capacity.heavy_request("key:a", {}):
            with pytest.raises(TooLarge):
                capacity.check_effort()
            with capacity.to_the_end():
                capacity.check_effort()


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_statements_of_a_web_server_have_a_time_limit_and_those_of_a_download_have_none(settings: Settings) -> None:
    settings.STATEMENT_TIMEOUT = 1
    connection.close()
    capacity.limit_statements()
    try:
        with pytest.raises(OperationalError, match="statement timeout"):
            _sleep(60)
        download = capacity.Download("key:a", lambda: iter(["all"]))
        _sleep(1.5)
        download.close()
        with pytest.raises(OperationalError, match="statement timeout"):
            _sleep(60)
    finally:
        connection.close()


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_connection_that_is_cut_while_it_is_made_is_an_error_of_the_database(settings: Settings) -> None:
    """Swallowed, it left no connection at all where the next statement expected one: a 500."""
    settings.STATEMENT_TIMEOUT = 30

    def cut(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
        with psycopg.connect(database_url(), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.connection.info.backend_pid])

    connection.close()
    connection_created.disconnect(dispatch_uid="ingestion.capacity")  # so that the cut comes before it
    connection_created.connect(cut)
    capacity.limit_statements()
    try:
        with pytest.raises(OperationalError):
            connection.cursor()
    finally:
        connection_created.disconnect(cut)
        connection.close()


def _sleep(seconds: float) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [seconds])

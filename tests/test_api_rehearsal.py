"""dry_run, gzip bodies, and back-pressure: what a sender may ask for, pack, and must wait for."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from enrichment.models import HeldRecord
from ingestion import backlog
from ingestion.models import ApiKey, Delivery, Doorbell, PausedStream
from tests.api import NDJSON, api, ndjson, post, refusal
from tests.files import csv_of
from tests.held import discard, hold
from tests.records import stored, work_off
from tutoring.tests.factories import session, student, tutor

pytestmark = pytest.mark.django_db
CSV = "text/csv"


@pytest.fixture
def client() -> Client:
    return api()


class TestDryRun:
    @pytest.fixture(autouse=True)
    def nothing_stored(self) -> Iterator[None]:
        yield
        assert not Delivery.objects.exists()

    def test_it_says_what_a_record_would_get(self, client: Client) -> None:
        response = post(client, "/api/tutors?dry_run=true", tutor(tutor_id="T1", age=99))
        answer = response.json()
        assert response.status_code == 200
        assert (answer["success"], answer["queued"], answer["id"]) == (True, False, "T1")
        assert "age" in answer["warnings"][0]
        assert not {"delivery", "status_url"} & set(answer)
        refusal(post(client, "/api/tutors?dry_run=true", tutor(email="nobody")), 422)

    def test_it_says_what_a_batch_would_get(self, client: Client) -> None:
        for body, kind in (([tutor(), tutor(email="nobody")], "application/json"), (ndjson(tutor(), {}), NDJSON)):
            response = post(client, "/api/tutors/batch?dry_run=true", body, kind)
            answer = response.json()
            assert response.status_code == 200
            assert (answer["count"], answer["queued"]) == (1, False)
            assert [error["index"] for error in answer["errors"]] == [1]
        refusal(post(client, "/api/tutors/batch?dry_run=true", [{}]), 422)

    def test_it_says_what_would_become_a_dead_letter(self, client: Client) -> None:
        answer = post(client, "/api/tutors?dry_run=true&invalid=dead-letter", tutor(email="nobody")).json()
        assert (answer["queued"], set(answer["errors"])) == (False, {"email"})

    def test_it_refuses_a_key_that_is_none(self, client: Client) -> None:
        headers = {"idempotency-key": "é"}
        assert "Key" in refusal(post(client, "/api/tutors?dry_run=true", tutor(), headers=headers), 400)["message"]

    @pytest.mark.parametrize("value", ["", "on", "2", "truee", "null"])
    def test_it_is_true_or_false(self, client: Client, value: str) -> None:
        error = refusal(post(client, f"/api/tutors?dry_run={value}", tutor()), 400)
        assert "dry_run" in error["fields"]


class TestGzip:
    def post(self, client: Client, body: bytes, path: str = "/api/tutors", kind: str = "application/json") -> Any:
        return post(client, path, body, kind, headers={"content-encoding": "GZip"})

    def test_it_is_unpacked(self, client: Client) -> None:
        body = json.dumps(tutor(tutor_id="T1")).encode()
        assert self.post(client, gzip.compress(body)).status_code == 202
        delivery = Delivery.objects.get()
        assert (bytes(delivery.body), delivery.size) == (body, len(body))
        work_off()
        assert stored("tutors", "T1")

    def test_several_files_one_after_the_other_are_one(self, client: Client) -> None:
        body = b"".join(gzip.compress(ndjson(tutor(tutor_id=str(number))) + b"\n") for number in range(3))
        assert self.post(client, body, "/api/tutors/batch", NDJSON).json()["count"] == 3

    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            gzip.compress(json.dumps(tutor()).encode(), mtime=0)[:-9],
            gzip.compress(json.dumps(tutor()).encode(), mtime=0)[:-4] + b"\0\0\0\0",
            gzip.compress(json.dumps(tutor()).encode(), mtime=0) + b"more",
            gzip.compress(b"", mtime=0),
            b"\x1f\x8b",
        ],
    )
    def test_what_is_no_gzip_is_400(self, client: Client, body: bytes) -> None:
        refusal(self.post(client, body), 400)
        assert not Delivery.objects.exists()

    def test_what_unpacks_to_too_much_is_413(self, client: Client, settings: Settings) -> None:
        settings.MAX_BODY_BYTES = 2000
        body = json.dumps(tutor()).encode()
        assert self.post(client, gzip.compress(body.ljust(2000))).status_code == 202
        refusal(self.post(client, gzip.compress(body.ljust(2001))), 413)
        refusal(self.post(client, gzip.compress(b" " * 1_000_000)), 413)

    @pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "nonsense"])
    def test_another_encoding_is_415_and_names_the_one(self, client: Client, encoding: str) -> None:
        response = post(client, "/api/tutors", tutor(), headers={"content-encoding": encoding})
        refusal(response, 415)
        assert response["Accept-Encoding"] == "gzip"


class TestBackPressure:
    @pytest.fixture(autouse=True)
    def fresh(self) -> Iterator[None]:
        backlog.reset_cache()
        yield
        backlog.reset_cache()

    def test_too_much_pending_is_503_until_it_is_worked_off(self, client: Client, settings: Settings) -> None:
        settings.MAX_PENDING_RECORDS = 3
        items = [tutor(tutor_id=str(number)) for number in range(3)]
        assert post(client, "/api/tutors/batch", items).status_code == 202
        response = post(client, "/api/tutors", tutor())
        error = refusal(response, 503)
        assert (response["Retry-After"], error["code"]) == ("30", "unavailable")
        assert error["message"] == "3 records of tutors are pending; the limit is 3 for each stream. Try again later."
        refusal(post(client, "/api/tutors/batch", items), 503)
        assert Delivery.objects.count() == 1
        work_off()
        backlog.reset_cache()
        assert post(client, "/api/tutors", tutor()).status_code == 202

    def test_one_stream_that_is_full_does_not_close_the_door_to_others(
        self, client: Client, settings: Settings
    ) -> None:
        settings.MAX_PENDING_RECORDS = 2
        post(client, "/api/tutors/batch", [tutor(tutor_id="a"), tutor(tutor_id="b")])
        post(client, "/api/students", student())
        for _ in range(2):  # by what this process has accepted, and by the database
            refusal(post(client, "/api/tutors", tutor()), 503)
            assert backlog.full_streams() == ["tutors"]
            backlog.reset_cache()
        assert post(client, "/api/students", student()).status_code == 202
        assert "students" in refusal(post(client, "/api/students", student()), 503)["message"]
        assert backlog.full_streams() == ["students", "tutors"]

    def test_a_repeat_and_a_dry_run_are_answered_all_the_same(self, settings: Settings) -> None:
        settings.MAX_PENDING_RECORDS = 1
        client = api(**{"idempotency-key": "1"})
        first = post(client, "/api/tutors", tutor())
        assert post(client, "/api/tutors", tutor()).json() == first.json()
        assert post(client, "/api/tutors?dry_run=true", tutor()).status_code == 200
        refusal(post(api(), "/api/tutors", tutor()), 503)

    def test_the_database_is_asked_seldom(self, client: Client, django_assert_max_num_queries: Any) -> None:
        post(client, "/api/tutors", tutor())
        backlog.reset_cache()
        with django_assert_max_num_queries(1):
            for _ in range(50):
                backlog.is_full("tutors")


class TestLimitsOfOneClient:
    @pytest.fixture(autouse=True)
    def running(self, settings: Settings) -> Iterator[None]:
        """Workers are; and the others are not refused, whatever one client does."""
        Doorbell.objects.update_or_create(pk=1, defaults={"answered_at": timezone.now()})
        backlog.reset_cache()
        yield
        for stream, record in (("students", student()), ("tutors", tutor())):
            assert post(api(), f"/api/{stream}", record).status_code == 202
        backlog.reset_cache()

    def test_pending_records_are_429_until_they_are_worked_off(self, client: Client, settings: Settings) -> None:
        settings.MAX_PENDING_RECORDS, settings.MAX_CLIENT_PENDING_RECORDS = 4, 2
        assert post(client, "/api/tutors/batch", [tutor(tutor_id="a"), tutor(tutor_id="b")]).status_code == 202
        for _ in range(2):  # by what this process has accepted, and by the database
            response = post(client, "/api/tutors", tutor())
            error = refusal(response, 429)
            assert (response["Retry-After"], error["code"]) == ("30", "throttled")
            assert error["message"].startswith(
                "2 of your records of tutors are pending; the limit is 2 for each client"
            )
            refusal(post(client, "/api/tutors/batch", [tutor()]), 429)
            refusal(post(client, "/api/uploads?stream=tutors", csv_of([tutor()]), CSV), 429)
            backlog.reset_cache()
        assert post(client, "/api/students", student()).status_code == 202
        backlog.raise_if_full(["tutors"], backlog.COMMAND)
        work_off()
        backlog.reset_cache()
        assert post(client, "/api/tutors", tutor()).status_code == 202

    def test_a_file_beyond_the_limit_does_not_shut_out_others(self, client: Client, settings: Settings) -> None:
        settings.MAX_PENDING_RECORDS, settings.MAX_CLIENT_PENDING_RECORDS = 4, 2
        body = csv_of([tutor(tutor_id=str(number)) for number in range(10)])
        assert post(client, "/api/uploads?stream=tutors", body, CSV).status_code == 201
        for _ in range(2):
            refusal(post(client, "/api/tutors", tutor()), 429)
            assert backlog.full_streams() == []
            backlog.reset_cache()

    def test_pending_bytes(self, client: Client, settings: Settings) -> None:
        assert post(client, "/api/tutors", tutor()).status_code == 202
        settings.MAX_CLIENT_PENDING_BYTES = Delivery.objects.get().size
        error = refusal(post(client, "/api/students", student()), 429)
        assert f"{settings.MAX_CLIENT_PENDING_BYTES} bytes of your records are pending" in error["message"]

    def test_while_nobody_processes_them_it_is_503(self, client: Client, settings: Settings) -> None:
        settings.MAX_CLIENT_PENDING_RECORDS = 1
        assert post(client, "/api/tutors", tutor()).status_code == 202
        PausedStream.objects.create(stream="tutors", by="user:ann")
        assert "not being processed" in refusal(post(client, "/api/tutors", tutor()), 503)["message"]
        PausedStream.objects.all().delete()
        refusal(post(client, "/api/tutors", tutor()), 429)
        Doorbell.objects.update(answered_at=None)
        refusal(post(client, "/api/tutors", tutor()), 503)

    def test_records_that_wait_are_429_until_what_they_refer_to_is_sent(
        self, client: Client, settings: Settings
    ) -> None:
        settings.MAX_CLIENT_WAITING_RECORDS, settings.MAX_CLIENT_DEAD_LETTERS = 2, 1
        waiting = [session(session_id=f"s{number}", tutor_id="T9", student_id="S9") for number in range(3)]
        assert post(client, "/api/sessions/batch", waiting[:2]).status_code == 202
        work_off()
        HeldRecord.objects.filter(key="s1").update(status=HeldRecord.Status.DEAD)  # as after REFERENCE_WAIT
        backlog.reset_cache()
        response = post(client, "/api/sessions", waiting[2])
        message = refusal(response, 429)["message"]
        assert message.startswith("2 of your records of sessions lack a record that they refer to; the limit is 2")
        assert response["Retry-After"] == "30"
        refusal(post(client, "/api/uploads?stream=sessions", csv_of([waiting[2]]), CSV), 429)
        assert len(client.get(message.rpartition("GET ")[2].split()[0]).json()["results"]) == 1
        assert post(client, "/api/tutors", tutor(tutor_id="T9")).status_code == 202  # what they wait for is not refused
        assert post(client, "/api/students", student(student_id="S9")).status_code == 202
        work_off()
        backlog.reset_cache()
        assert post(client, "/api/sessions", waiting[2]).status_code == 202

    def test_dead_letters_are_429_until_they_are_closed(self, client: Client, settings: Settings) -> None:
        settings.MAX_CLIENT_DEAD_LETTERS = 2
        post(client, "/api/tutors/batch?invalid=dead-letter", [1, 2])
        hold()
        work_off()
        backlog.reset_cache()
        response = post(client, "/api/students", student())
        message = refusal(response, 429)["message"]
        assert message.startswith("2 of your records are dead letters; the limit is 2 for each client.")
        assert response["Retry-After"] == "600"
        refusal(post(client, "/api/uploads?stream=tutors", csv_of([tutor()]), CSV), 429)
        discard({"client": f"key:{ApiKey.objects.get().client}"}, by="user:ann", reason="")
        backlog.reset_cache()
        assert post(client, "/api/students", student()).status_code == 202

"""POST: what is accepted, what is refused and how, and that nothing is stored of what is refused."""

import json
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from enrichment.models import HeldRecord
from ingestion.models import Delivery
from tests.api import NDJSON, api, ndjson, new_key, post, refusal
from tests.records import counts, stored, work_off
from tutoring.tests.factories import student, tutor

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    return api()


def test_one_record_is_accepted_and_stored(client: Client) -> None:
    response = post(client, "/api/tutors", tutor(tutor_id="T1"))
    answer = response.json()
    delivery = Delivery.objects.get()
    assert response.status_code == 202
    assert answer.pop("message")
    assert answer.pop("timestamp").endswith("Z")
    assert answer == {
        "success": True,
        "id": "T1",
        "stream": "tutors",
        "queued": True,
        "delivery": delivery.pk,
        "status_url": f"http://testserver/api/deliveries/{delivery.pk}",
        "warnings": [],
    }
    work_off()
    assert stored("tutors", "T1").delivery == delivery.pk
    status = client.get(answer["status_url"]).json()
    assert (status["status"], status["inserted"]) == ("processed", 1)


def test_the_body_is_kept_as_it_was_sent(client: Client) -> None:
    body = json.dumps(tutor(), indent=4).encode() + b"\n "
    post(client, "/api/tutors", body)
    assert bytes(Delivery.objects.get().body) == body


def test_it_says_what_is_odd_about_a_record(client: Client) -> None:
    answer = post(client, "/api/tutors", tutor(age=99)).json()
    assert len(answer["warnings"]) == 1
    assert "age" in answer["warnings"][0]


def test_an_invalid_record_is_refused_by_field(client: Client) -> None:
    error = refusal(post(client, "/api/tutors", tutor(email="nobody", age="30")), 422)
    assert error["code"] == "invalid"
    assert set(error["fields"]) == {"email", "age"}
    assert all(isinstance(messages, list) for messages in error["fields"].values())
    assert not Delivery.objects.exists()


def test_an_invalid_record_can_be_kept_as_a_dead_letter(client: Client) -> None:
    response = post(client, "/api/tutors?invalid=dead-letter", tutor(tutor_id="T1", age="30"))
    assert response.status_code == 202
    assert response.json()["id"] == "T1"
    assert "dead letter" in response.json()["message"]
    work_off()
    held = HeldRecord.objects.get()
    assert (held.key, held.status, held.code) == ("T1", "dead", "invalid")


@pytest.mark.parametrize("path", ["/api/tutors", "/api/tutors/", "/api/tutors/batch", "/api/tutors/batch/"])
def test_every_path_works_with_and_without_a_slash(client: Client, path: str) -> None:
    assert post(client, path, [tutor()] if "batch" in path else tutor()).status_code == 202


class TestBatch:
    def test_valid_items_are_taken_and_invalid_ones_named(self, client: Client) -> None:
        items = [tutor(tutor_id="a"), tutor(tutor_id="b", age=3), tutor(tutor_id="c", age=99), 5, None]
        response = post(client, "/api/tutors/batch", items)
        answer = response.json()
        delivery = Delivery.objects.get()
        assert response.status_code == 202
        assert answer["success"] is True
        assert answer["message"]
        assert (answer["count"], answer["queued"], answer["delivery"]) == (2, True, delivery.pk)
        assert answer["status_url"].endswith(f"/api/deliveries/{delivery.pk}")
        assert [(error["index"], error["id"]) for error in answer["errors"]] == [(1, "b"), (3, ""), (4, "")]
        assert set(answer["errors"][0]["errors"]) == {"age"}
        assert [(warned["index"], warned["id"]) for warned in answer["warnings"]] == [(2, "c")]
        work_off()
        assert counts(delivery) == {"inserted": 2}

    def test_ndjson_is_the_same(self, client: Client) -> None:
        body = ndjson(tutor(tutor_id="a"), tutor(tutor_id="b", age=3)) + b"\n\n" + ndjson(tutor(tutor_id="c"))
        answer = post(client, "/api/tutors/batch", body, NDJSON).json()
        assert answer["count"] == 2
        assert [error["index"] for error in answer["errors"]] == [1]
        work_off()
        assert counts(Delivery.objects.get()) == {"inserted": 2}

    def test_none_valid_is_refused_by_index(self, client: Client) -> None:
        response = post(client, "/api/tutors/batch", [tutor(age=3), {}])
        assert refusal(response, 422)["code"] == "invalid"
        errors = response.json()["errors"]
        assert [error["index"] for error in errors] == [0, 1]
        assert set(errors[1]["errors"]) >= {"tutor_id", "name"}
        assert not Delivery.objects.exists()

    def test_none_valid_can_be_kept_as_dead_letters(self, client: Client) -> None:
        answer = post(client, "/api/tutors/batch?invalid=dead-letter", [tutor(age=3), 7]).json()
        assert answer["count"] == 2
        assert [error["index"] for error in answer["errors"]] == [0, 1]
        work_off()
        assert counts(Delivery.objects.get()) == {"held": 2}

    @pytest.mark.parametrize(
        ("body", "kind"), [(b"[]", "application/json"), (b"\n \n", NDJSON), (b" [ ] ", "application/json")]
    )
    def test_an_empty_batch_is_400(self, client: Client, body: bytes, kind: str) -> None:
        refusal(post(client, "/api/tutors/batch", body, kind), 400)

    def test_too_many_records_are_413(self, client: Client, settings: Settings) -> None:
        settings.MAX_BATCH_RECORDS = 2
        items = [tutor(tutor_id=str(number)) for number in range(3)]
        assert post(client, "/api/tutors/batch", items[:2]).status_code == 202
        assert refusal(post(client, "/api/tutors/batch", items), 413)["code"] == "too_large"
        refusal(post(client, "/api/tutors/batch", ndjson(*items), NDJSON), 413)
        assert Delivery.objects.count() == 1


@pytest.mark.parametrize("path", ["/api/tutors", "/api/tutors/batch"])
class TestBody:
    """What is refused of the body itself, by both."""

    @pytest.fixture(autouse=True)
    def nothing_stored(self) -> Any:
        yield
        assert not Delivery.objects.exists()

    def test_empty_is_400(self, client: Client, path: str) -> None:
        refusal(post(client, path, b""), 400)
        refusal(post(client, path, b" \n"), 400)

    def test_not_json_is_400(self, client: Client, path: str) -> None:
        for body in (b"{", b"nonsense", b"{'a': 1}", b"[1,]", b"\xff\xfe", b"{}{}", b'{"a": NaN}', b"[Infinity]"):
            assert refusal(post(client, path, body), 400)["code"] == "bad_request"

    def test_another_kind_of_value_is_422(self, client: Client, path: str) -> None:
        wrong: Any = {} if "batch" in path else []
        for value in (wrong, "text", 5, None, True):
            refusal(post(client, path, value), 422)

    @pytest.mark.parametrize(
        "kind",
        [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/xml",
            "application/json; charset=utf-16",
            "application/json; charset=latin-1",
            "nonsense",
            ";;;",
        ],
    )
    def test_another_media_type_is_415(self, client: Client, path: str, kind: str) -> None:
        error = refusal(post(client, path, json.dumps(tutor()).encode(), kind), 415)
        assert error["code"] == "unsupported_media_type"

    def test_too_many_bytes_are_413(self, client: Client, path: str, settings: Settings) -> None:
        settings.MAX_BODY_BYTES = 1000
        refusal(post(client, path, b" " * 1001), 413)
        refusal(post(client, path, b" " * 1000), 400)  # taken, but empty

    def test_chunks_are_411(self, client: Client, path: str) -> None:
        error = refusal(client.post(path, headers={"transfer-encoding": "chunked"}, CONTENT_LENGTH=""), 411)
        assert "Content-Length" in error["message"]

    @pytest.mark.parametrize(
        "query",
        ["invalid=", "invalid=yes", "invalid=refuse&invalid=refuse", "x=1", "invalid", "format=json", "Invalid=refuse"],
    )
    def test_a_senseless_query_is_400_and_names_what_is_allowed(self, client: Client, path: str, query: str) -> None:
        error = refusal(post(client, f"{path}?{query}", tutor()), 400)
        assert "invalid" in error["message"]


def test_charset_utf8_is_fine(client: Client) -> None:
    for charset in ("utf-8", "UTF-8", '"utf-8"', "utf8"):
        assert post(client, "/api/tutors", tutor(), f"application/json; charset={charset}").status_code == 202


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("delete", "/api/tutors", {"GET", "POST", "HEAD", "OPTIONS"}),
        ("put", "/api/tutors/T1", {"GET", "HEAD", "OPTIONS"}),
        ("post", "/api/tutors/T1", {"GET", "HEAD", "OPTIONS"}),
        ("get", "/api/tutors/batch", {"POST", "OPTIONS"}),
        ("patch", "/api/queue/stats", {"GET", "HEAD", "OPTIONS"}),
        ("post", "/health", {"GET", "HEAD", "OPTIONS"}),
        ("delete", "/", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_another_method_is_405_and_says_which(client: Client, method: str, path: str, allowed: set[str]) -> None:
    response = getattr(client, method)(path)
    refusal(response, 405)
    assert set(response["Allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/films", "/api/films/batch", "/api/tutors/a/b", "/api/deliveries/x", "/api//tutors"]
)
@pytest.mark.parametrize("method", ["get", "post", "delete"])
def test_unknown_paths_are_404_with_and_without_a_key(method: str, path: str) -> None:
    for client in (Client(enforce_csrf_checks=True), api()):
        refusal(getattr(client, method)(path), 404)


def test_an_answer_it_cannot_give_is_406(client: Client) -> None:
    refusal(client.get("/api/tutors", headers={"accept": "application/xml"}), 406)
    for accept in ("text/csv", "application/xml"):
        refusal(post(client, "/api/tutors", tutor(), headers={"accept": accept}), 406)
    assert not Delivery.objects.exists()


def test_it_takes_a_stream_of_the_key_alone() -> None:
    client = api(new_key(streams=["students"]))
    assert post(client, "/api/students/batch", [student()]).status_code == 202

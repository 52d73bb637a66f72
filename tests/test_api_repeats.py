"""Idempotency-Key: a request that is sent again gets the first answer again, and nothing is done twice."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from ingestion.models import ApiKey, Delivery
from tests.api import NDJSON, api, ndjson, new_key, post, refusal
from tests.records import counts, work_off
from tutoring.tests.factories import student, tutor

pytestmark = pytest.mark.django_db

PATHS = ["/api/tutors", "/api/tutors/batch"]


@pytest.fixture
def client() -> Client:
    return api(**{"idempotency-key": "order 1"})


def body_for(path: str, *records: Any) -> Any:
    return list(records) if "batch" in path else records[0]


@pytest.mark.parametrize("path", PATHS)
def test_a_repeat_gets_the_first_answer_byte_for_byte(client: Client, path: str) -> None:
    body = body_for(path, tutor(age=99))
    first = post(client, path, body)
    again = post(client, path, body)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.content == first.content
    delivery = Delivery.objects.get()
    assert first.json()["delivery"] == delivery.pk
    work_off()
    assert post(client, path, body).content == first.content
    assert counts(delivery) == {"inserted": 1}


def test_a_repeated_request_repeats_its_errors(client: Client) -> None:
    items = [tutor(), tutor(email="nobody"), 5]
    first = post(client, "/api/tutors/batch", items).json()
    assert [error["index"] for error in first["errors"]] == [1, 2]
    assert post(client, "/api/tutors/batch", items).json() == first


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/api/tutors", tutor(name="Another"), "application/json"),
        ("/api/tutors?invalid=dead-letter", tutor(), "application/json"),
        ("/api/tutors/batch", [tutor()], "application/json"),
        ("/api/students", student(), "application/json"),
        ("/api/tutors", json.dumps(tutor()).encode() + b" ", "application/json"),
    ],
)
def test_the_key_of_another_request_is_409(client: Client, path: str, body: Any, kind: str) -> None:
    assert post(client, "/api/tutors", tutor()).status_code == 202
    error = refusal(post(client, path, body, kind), 409)
    assert error["code"] == "conflict"
    assert Delivery.objects.count() == 1


def test_the_same_bytes_as_another_kind_are_another_request(client: Client) -> None:
    line = ndjson(tutor())
    assert post(client, "/api/tutors/batch", line, NDJSON).status_code == 202
    refusal(post(client, "/api/tutors/batch", line), 409)


def test_a_slash_at_the_end_and_how_it_is_packed_and_named_make_no_difference(client: Client) -> None:
    body = json.dumps(tutor()).encode()
    first = post(client, "/api/tutors", body)
    assert post(client, "/api/tutors", body, "APPLICATION/JSON; charset=utf-8").json() == first.json()
    assert post(client, "/api/tutors/", body).json() == first.json()
    packed = post(client, "/api/tutors", gzip.compress(body), headers={"content-encoding": "gzip"})
    assert packed.json() == first.json()


def test_a_refusal_is_judged_anew(client: Client) -> None:
    refusal(post(client, "/api/tutors", tutor(email="nobody")), 422)
    assert post(client, "/api/tutors", tutor()).status_code == 202


def test_a_dry_run_keeps_no_key(client: Client) -> None:
    assert post(client, "/api/tutors?dry_run=true", tutor()).status_code == 200
    assert post(client, "/api/tutors", tutor(name="Another")).status_code == 202


def test_without_a_key_each_request_is_a_new_one() -> None:
    client = api()
    assert [post(client, "/api/tutors", tutor()).status_code for _ in range(2)] == [202, 202]
    assert Delivery.objects.count() == 2


def test_two_clients_may_take_the_same_key() -> None:
    for _ in range(2):
        assert post(api(**{"idempotency-key": "1"}), "/api/tutors", tutor()).status_code == 202
    assert Delivery.objects.count() == 2


def test_it_holds_over_a_change_of_the_api_key(client: Client) -> None:
    first = post(client, "/api/tutors", tutor())
    old = ApiKey.objects.get()
    new = new_key(client=old.client)
    old.revoked = True
    old.save()
    again = post(api(new, **{"idempotency-key": "order 1"}), "/api/tutors", tutor())
    assert again.json() == first.json()
    assert Client(headers={"authorization": f"Api-Key {new}"}).get(first.json()["status_url"]).status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "naïve", "\x7f"])
def test_what_is_no_key_is_400(key: str) -> None:
    error = refusal(post(api(**{"idempotency-key": key}), "/api/tutors", tutor()), 400)
    assert "Idempotency-Key" in error["message"]
    assert not Delivery.objects.exists()


def test_the_longest_key_is_taken() -> None:
    client = api(**{"idempotency-key": "~" * 255})
    assert [post(client, "/api/tutors", tutor()).status_code for _ in range(2)] == [202, 202]
    assert Delivery.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_both_at_once_get_one_answer() -> None:
    key = new_key()

    def send(number: int) -> Any:
        try:
            return post(api(key, **{"idempotency-key": str(number // 8)}), "/api/tutors", tutor())
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(32)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 4
    assert Delivery.objects.count() == 4

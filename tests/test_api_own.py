"""GET /api/deliveries and /api/dead-letters: what a client asks of what it has sent."""

import json
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from enrichment.held import fixing
from enrichment.models import HeldRecord
from ingestion.models import ApiKey, Delivery
from ingestion.payloads import ascii_json
from tests.api import NDJSON, api, lines, ndjson, new_key, post, refusal, table
from tests.held import hold, reprocess, wait
from tests.people import browser_of, person
from tests.records import deliver, send, stored, work_off
from tutoring.tests.factories import session, student, tutor

pytestmark = pytest.mark.django_db

PATHS = ("/api/deliveries", "/api/dead-letters")


@pytest.fixture
def client() -> Client:
    return api()


def accepted(client: Client, stream: str, *records: Any) -> int:
    """Sends a batch, invalid records and all; returns its delivery."""
    response = post(client, f"/api/{stream}/batch?invalid=dead-letter", list(records))
    assert response.status_code == 202, response.content
    return int(response.json()["delivery"])


def asked(client: Client, path: str, **query: Any) -> list[dict[str, Any]]:
    response = client.get(f"{path}?{urlencode(query)}")
    assert response.status_code == 200, response.content
    return list(response.json()["results"])


class TestDeliveries:
    def test_they_are_as_the_detail_says_newest_first(self, client: Client) -> None:
        mixed = [tutor(tutor_id="a"), tutor(tutor_id="b", age=1), 5]
        ids = [accepted(client, "tutors", *mixed), accepted(client, "sessions", session())]
        work_off()
        ids.append(accepted(client, "tutors", tutor()))
        rows = asked(client, "/api/deliveries")
        assert [row["id"] for row in rows] == ids[::-1]
        for row in rows:
            detail = client.get(f"/api/deliveries/{row['id']}").json()
            del detail["held"], detail["held_is_cut"]
            assert row == detail
        assert [rows[2][name] for name in ("count", "inserted", "dead", "pending")] == [3, 1, 2, 0]
        assert [rows[1][name] for name in ("count", "waiting", "dead")] == [1, 1, 0]
        assert (rows[0]["status"], rows[0]["pending"]) == ("pending", 1)

    def test_they_are_filtered(self, client: Client) -> None:
        first = accepted(client, "tutors", tutor())
        work_off()
        second = accepted(client, "students", student())
        since = Delivery.objects.get(pk=second).received_at.isoformat()
        for query, expected in [
            ({"status": "pending"}, [second]),
            ({"status": "processed"}, [first]),
            ({"stream": "tutors"}, [first]),
            ({"stream": "students,tutors"}, [second, first]),
            ({"stream": "feedback"}, []),
            ({"since": "2020-01-01"}, [second, first]),
            ({"since": since}, [second]),
            ({"since": "2099-01-01"}, []),
            ({"ordering": "id"}, [first, second]),
        ]:
            assert [row["id"] for row in asked(client, "/api/deliveries", **query)] == expected, query

    def test_pages_go_on_where_the_last_one_ended(self, client: Client) -> None:
        ids = [accepted(client, "tutors", tutor(tutor_id=f"t{index}")) for index in range(7)]
        for ordering, expected in (("-id", ids[::-1]), ("id", ids)):
            url, found = f"/api/deliveries?page_size=3&ordering={ordering}&count=true", []
            while url:
                page = client.get(url).json()
                assert page["count"] == 7
                found.append([row["id"] for row in page["results"]])
                url = page["next"]
            assert found == [expected[:3], expected[3:6], expected[6:]]
            back = client.get(client.get(f"/api/deliveries?page_size=6&ordering={ordering}").json()["next"]).json()
            assert [row["id"] for row in client.get(back["previous"]).json()["results"]] == expected[:6]

    @pytest.mark.parametrize("number", [1, 12])
    def test_a_list_takes_as_many_queries_however_long_it_is(
        self, client: Client, django_assert_num_queries: DjangoAssertNumQueries, number: int
    ) -> None:
        for index in range(number):
            accepted(client, "tutors", tutor(tutor_id=f"t{index}"), 5)
        work_off()
        client.get("/api/deliveries")
        with django_assert_num_queries(3):  # the key, the deliveries, their held records
            assert len(asked(client, "/api/deliveries")) == number
        with django_assert_num_queries(2):
            assert len(asked(client, "/api/dead-letters")) == number


class TestDeadLetters:
    def test_they_say_what_is_wrong_and_where_it_came_from(self, client: Client) -> None:
        delivery = accepted(client, "tutors", tutor(), tutor(tutor_id="b", age=1), [])
        work_off()
        second, first = asked(client, "/api/dead-letters")
        held = HeldRecord.objects.get(position=1)
        times = [held.held_at, held.changed_at]
        assert [datetime.fromisoformat(first.pop(name)) for name in ("held_at", "changed_at")] == times
        assert first == {
            "delivery": delivery,
            "index": 1,
            "id": "b",
            "stream": "tutors",
            "status": "dead",
            "stage": "validate",
            "code": "invalid",
            "messages": held.messages,
            "missing_stream": "",
            "missing_key": "",
            "attempts": 1,
        }
        assert list(first["messages"]) == ["age"]
        assert (second["index"], second["id"], list(second["messages"])) == (2, "", ["record"])

    def test_waiting_ones_name_what_they_wait_for(self, client: Client) -> None:
        accepted(client, "sessions", session(tutor_id="T-9"))
        work_off()
        assert asked(client, "/api/dead-letters") == []
        (row,) = asked(client, "/api/dead-letters", status="waiting")
        assert (row["missing_stream"], row["missing_key"], row["code"]) == ("tutors", "T-9", "missing_reference")
        send("tutors", tutor(tutor_id="T-9"))
        send("students", student())
        assert asked(client, "/api/dead-letters", status="waiting") == []
        assert len(asked(client, "/api/dead-letters", status="resolved")) == 1

    def test_they_are_filtered(self) -> None:
        staff = browser_of(person("viewer"))
        dead, waiting = hold(key="a"), wait(key="b")
        gone = hold(key="c", status="discarded", code="conflict")
        cases: list[tuple[dict[str, Any], str]] = [
            ({}, "a"),
            ({"status": "dead"}, "a"),
            ({"status": "waiting,discarded"}, "cb"),
            ({"status": "dead,waiting,resolved,discarded"}, "cba"),
            ({"status": "discarded", "code": "conflict,invalid"}, "c"),
            ({"code": "conflict"}, ""),
            ({"stream": "tutors"}, "a"),
            ({"stream": "sessions"}, ""),
            ({"key": "a"}, "a"),
            ({"key": "A"}, ""),
            ({"delivery": dead.delivery_id}, "a"),
            ({"delivery": waiting.delivery_id}, ""),
            ({"since": dead.held_at.isoformat()}, "a"),
            ({"since": gone.held_at.isoformat(), "status": "dead,discarded"}, "c"),
        ]
        for query, expected in cases:
            assert "".join(row["id"] for row in asked(staff, "/api/dead-letters", **query)) == expected, query

    def test_the_payload_comes_when_it_is_asked_for(self, client: Client) -> None:
        odd = r'{"tutor_id": "x", "name": "\ud800\u0000", "age": 1e5, "more": [[9007199254740993]]}'
        post(client, "/api/tutors/batch?invalid=dead-letter", f"[{odd}]".encode())
        work_off()
        assert "payload" not in asked(client, "/api/dead-letters")[0]
        raw = client.get("/api/dead-letters?payload=true")
        expected = json.loads(odd)
        assert json.loads(raw.content)["results"][0]["payload"] == expected
        assert asked(client, "/api/dead-letters", fields="payload,id")[0] == {"payload": expected, "id": "x"}
        assert lines(client.get("/api/dead-letters?payload=true&format=ndjson"))[0]["payload"] == expected
        (row,) = table(client.get("/api/dead-letters?payload=true&format=csv"))
        assert json.loads(row["payload"]) == expected
        browser = browser_of(person("viewer"))
        page = browser.get("/api/dead-letters?payload=true", headers={"accept": "text/html"})
        assert page.status_code == 200
        assert r"\ud800" in page.content.decode()

    @pytest.mark.parametrize("payload", [["\ud800"], [["a\ud800"]], json.loads("[" * 101 + "]" * 101)])
    def test_whatever_the_payload_is_it_can_be_read_and_reprocessed(self, client: Client, payload: Any) -> None:
        send("tutors", payload, keep_invalid=True)
        HeldRecord.objects.update(client=f"key:{ApiKey.objects.get().client}")
        assert asked(client, "/api/dead-letters", payload="true")[0]["payload"] == payload
        for form in ("csv", "ndjson"):
            response = client.get(f"/api/dead-letters?payload=true&format={form}")
            assert len(response.getvalue().decode().splitlines()) == (2 if form == "csv" else 1)
        reprocess({}, by="test")
        work_off()
        assert [again.attempts for again in HeldRecord.objects.dead()] == [2]

    def test_all_of_them_come_as_files(self, client: Client) -> None:
        accepted(client, "tutors", *([5] * 3), tutor(tutor_id="a;b", email="nobody"))
        work_off()
        rows = asked(client, "/api/dead-letters")
        assert lines(client.get("/api/dead-letters?format=ndjson")) == rows
        response = client.get("/api/dead-letters", headers={"accept": "text/csv"})
        assert response["Content-Disposition"] == 'attachment; filename="dead-letters.csv"'
        cells = table(response)
        assert [row["id"] for row in cells] == [row["id"] for row in rows]
        assert [json.loads(row["messages"]) for row in cells] == [row["messages"] for row in rows]
        deliveries = asked(client, "/api/deliveries")
        assert lines(client.get("/api/deliveries?format=ndjson")) == deliveries
        assert [int(row["dead"]) for row in table(client.get("/api/deliveries?format=csv"))] == [4]


class TestWhose:
    @pytest.mark.parametrize("scopes", [{"can_read": False}, {"can_ingest": False}, {}])
    def test_a_key_of_any_scope_sees_its_own_alone(self, scopes: dict[str, bool]) -> None:
        key = new_key(**scopes)
        prefix = key.partition(".")[0]
        mine = hold()
        Delivery.objects.filter(pk=mine.delivery_id).update(client=f"key:{prefix}")
        HeldRecord.objects.filter(pk=mine.pk).update(client=f"key:{prefix}")
        hold()
        deliver("tutors", tutor())
        for path, name in zip(PATHS, ("id", "delivery"), strict=True):
            assert [row[name] for row in asked(api(key), path)] == [mine.delivery_id]
            assert asked(api(), path) == []

    def test_a_key_that_replaces_another_sees_what_that_sent(self) -> None:
        first = new_key()
        accepted(api(first), "tutors", 5)
        work_off()
        second = new_key(client=first.partition(".")[0])
        for path in PATHS:
            assert asked(api(second), path) == asked(api(first), path) != []

    def test_a_key_limited_to_streams_sees_those_alone(self) -> None:
        key = new_key()
        ids = [accepted(api(key), stream, 5) for stream in ("tutors", "students")]
        work_off()
        ApiKey.objects.update(streams=["students"])
        assert [row["id"] for row in asked(api(key), "/api/deliveries")] == [ids[1]]
        assert [row["delivery"] for row in asked(api(key), "/api/dead-letters")] == [ids[1]]
        refusal(api(key).get(f"/api/deliveries/{ids[0]}"), 404)
        assert asked(api(key), "/api/deliveries", stream="tutors") == []

    def test_staff_see_all_as_far_as_they_have_the_right(self) -> None:
        Delivery.objects.filter(pk=hold().delivery_id).update(client="user:viewer")
        hold()
        viewer, nobody = browser_of(person("viewer")), browser_of(person())
        for path in PATHS:
            assert len(asked(viewer, path)) == 2
            refusal(nobody.get(path), 403)
        half = User.objects.create_user("half", is_staff=True)
        half.user_permissions.add(Permission.objects.get(codename="view_delivery"))
        assert len(asked(browser_of(half), "/api/deliveries")) == 2
        refusal(browser_of(half).get("/api/dead-letters"), 403)

    def test_a_stored_row_keeps_who_wrote_it(self) -> None:
        keys = [new_key(), new_key()]
        first, second = (f"key:{key.partition('.')[0]}" for key in keys)
        accepted(api(keys[0]), "tutors", tutor(updated_at="2025-01-02"), tutor(tutor_id="b", email="nobody"))
        work_off()
        assert stored("tutors", tutor()["tutor_id"]).client == first
        accepted(api(keys[1]), "tutors", tutor(updated_at="2025-01-01"))
        work_off()
        assert stored("tutors", tutor()["tutor_id"]).client == first
        accepted(api(keys[1]), "tutors", tutor(updated_at="2025-01-03"))
        dead = HeldRecord.objects.get()
        fixing.fix(dead, ascii_json(tutor(tutor_id="b")), dead.payload_version)
        reprocess({}, by="user:anna")
        work_off()
        assert (stored("tutors", tutor()["tutor_id"]).client, stored("tutors", "b").client) == (second, first)
        Delivery.objects.exclude(held_records__isnull=False).delete()
        administrator = browser_of(person("administrator"))
        page = administrator.get(reverse("admin:tutoring_tutor_change", args=[tutor()["tutor_id"]])).content.decode()
        assert f"test ({second})" in page
        theirs = administrator.get(reverse("admin:tutoring_tutor_changelist"), {"client": first}).context["cl"]
        assert [row.pk for row in theirs.result_list] == ["b"]
        assert "client" not in asked(api(keys[0]), "/api/tutors")[0]
        refusal(api(keys[0]).get(f"/api/tutors?client={second}"), 400)
        answer = post(api(keys[0]), "/api/tutors", {**tutor(), "client": second}).json()
        assert answer["warnings"] == ["unknown field: client"]

    @pytest.mark.parametrize("path", PATHS)
    def test_nobody_else_sees_any(self, path: str) -> None:
        refusal(Client().get(path), 401)
        refusal(browser_of(User.objects.create_user("guest")).get(path), 401)


@pytest.mark.parametrize("path", PATHS)
class TestQueries:
    def test_a_slash_at_the_end_is_no_matter(self, client: Client, path: str) -> None:
        assert client.get(f"{path}/").json() == client.get(path).json()
        assert client.head(path).status_code == 200

    @pytest.mark.parametrize(
        "query",
        [
            "status=gone",
            "status=",
            "status=DEAD",
            "stream=films",
            "stream=tutors,",
            "since=yesterday",
            "since=20250101",
            "since=9999-12-31T23:59:59-12:00",
            "client=key:abc",
            "fields=body",
            "fields=",
            "format=xml",
            "ordering=held_at",
            "ordering=stream",
            "page_size=0",
            "cursor=x",
            "cursor=WyItaWQiLG51bGwsIngiLGZhbHNlXQ==",
            "cursor=WyItaWQiLG51bGwsLTEsZmFsc2Vd",
            "cursor=WyItaWQiLG51bGwsdHJ1ZSxmYWxzZV0=",
            "cursor=WyItaWQiLG51bGwsOTIyMzM3MjAzNjg1NDc3NTgwOCxmYWxzZV0=",
            "cursor=WyItaWQiLG51bGwsMS41LGZhbHNlXQ==",
            "search=a",
            "%00=1",
            "%ED%A0%80=1",
            "=",
            "\N{PILE OF POO}",
        ],
    )
    def test_a_senseless_one_is_400(self, client: Client, path: str, query: str) -> None:
        refusal(client.get(f"{path}?{query}"), 400)

    def test_the_answer_names_what_is_allowed(self, client: Client, path: str) -> None:
        message = refusal(client.get(f"{path}?colour=red"), 400)["message"]
        for allowed in ("status", "stream", "since", "fields", "format", "ordering", "cursor"):
            assert allowed in message

    def test_it_is_read_and_never_posted(self, client: Client, path: str) -> None:
        refusal(post(client, path, {}), 405)


@pytest.mark.parametrize(
    "query",
    ["code=bad", "payload=y", "delivery=x", "delivery=-1", "delivery=" + "9" * 400, "key=", "key=%00", "id=a"],
)
def test_senseless_filters_of_dead_letters_are_400(client: Client, query: str) -> None:
    refusal(client.get(f"/api/dead-letters?{query}"), 400)


def test_ndjson_that_was_sent_is_found_by_its_index(client: Client) -> None:
    post(client, "/api/tutors/batch?invalid=dead-letter", ndjson(tutor(), {}, tutor(tutor_id="c"), 7), NDJSON)
    work_off()
    assert [row["index"] for row in asked(client, "/api/dead-letters", ordering="id")] == [1, 3]

"""Records as people and programs really send them: misspelt members, stray white space, dates without a time."""

import json
import unicodedata
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.db.models import Q
from django.test import Client
from pytest_django import Settings

from tests.api import api, new_key, post, refusal
from tests.records import stored, work_off
from tutoring.models import Student, Tutor, TutoringSession
from tutoring.tests.factories import session, student, tutor

pytestmark = pytest.mark.django_db


def warned(client: Client, path: str, record: Any) -> list[str]:
    """The warnings of a record that is accepted; those of its dry run and of its row are the same."""
    dry = post(client, f"{path}?dry_run=true", record).json()
    answer = post(client, path, record)
    assert answer.status_code == 202, answer.content
    work_off()
    row = client.get(f"{path}/{quote(answer.json()['id'], safe='')}").json()
    assert dry["warnings"] == answer.json()["warnings"] == row["warnings"]
    return list(row["warnings"])


class TestUnknownMembers:
    def test_each_is_named_with_the_likely_field(self) -> None:
        wrong = {"gradeLevel": "5", "Age": 12, "birthday": "2010-01-01"}
        assert warned(api(), "/api/students", student(**wrong)) == [
            "unknown field: gradeLevel; did you mean grade_level?",
            "unknown field: Age; did you mean age?",
            "unknown field: birthday",
        ]

    def test_a_batch_names_them_by_record(self) -> None:
        records = [student(student_id="a"), student(student_id="b", updated="2025-01-01")]
        for kind, body in (
            ("application/json", json.dumps(records)),
            ("application/x-ndjson", "\n".join(map(json.dumps, records))),
        ):
            answer = post(api(), "/api/students/batch", body.encode(), kind).json()
            assert answer["warnings"] == [
                {"index": 1, "id": "b", "warnings": ["unknown field: updated; did you mean updated_at?"]}
            ]

    def test_their_number_and_length_are_bounded(self) -> None:
        many = {f"{number:02}" + "x" * 500: 1 for number in range(40)}
        found = warned(api(), "/api/tutors", tutor(**many))
        assert len(found) == 5
        assert found[4].endswith("… (and 35 more)")
        assert max(map(len, found)) < 120

    def test_a_row_that_was_read_may_be_sent_back(self) -> None:
        client = api()
        assert warned(client, "/api/tutors", tutor(tutor_id="T-1")) == []
        row = client.get("/api/tutors/T-1").json()
        assert warned(client, "/api/tutors", row) == []

    def test_they_outlive_a_recalculation(self) -> None:
        from enrichment.refresh import refresh
        from ingestion.streams import get

        warned(api(), "/api/tutors", tutor(tutor_id="T-2", phone="1", age=70))
        refresh(get("tutors"), Q())
        assert stored("tutors", "T-2").warnings[0].startswith("unknown field: phone")
        assert len(stored("tutors", "T-2").warnings) == 2

    def test_a_header_like_ours_is_named(self) -> None:
        client = api(**{"X-Idempotency-Key": "abc"})
        answer = post(client, "/api/students", student()).json()
        assert answer["warnings"] == ["unknown header: X-Idempotency-Key; did you mean Idempotency-Key?"]
        batch = post(client, "/api/students/batch?dry_run=true", [student()]).json()
        assert "X-Idempotency-Key" in str(batch["warnings"])
        assert post(api(**{"Idempotency-Key": "abc"}), "/api/students", student()).json()["warnings"] == []

    @pytest.mark.parametrize(
        "name",
        ["Idempotent-Key", "Idempotency", "IdempotencyKey", "X-Idempotence-Key", "Idempontency-Key", "Idempotency-Kye"],
    )
    def test_so_is_one_misspelt(self, name: str) -> None:
        [warning] = post(api(**{name: "abc"}), "/api/students", student()).json()["warnings"]
        assert warning.lower() == f"unknown header: {name.lower()}; did you mean idempotency-key?"

    @pytest.mark.parametrize("name", ["X-Request-ID", "If-Match", "X-Forwarded-For", "X-Correlation-Key", "Identity"])
    def test_another_header_is_none_of_ours(self, name: str) -> None:
        assert post(api(**{name: "abc"}), "/api/students", student()).json()["warnings"] == []

    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("X-Api-Key", "{}", "Unknown header X-Api-Key."),
            ("Api-Key", "{}", "Unknown header Api-Key."),
            ("Authorisation", "Api-Key {}", "Unknown header Authorisation."),
            ("X-Authorization", "Api-Key {}", "Unknown header X-Authorization."),
            ("X-Auth-Token", "{}", "Unknown header X-Auth-Token."),
            ("Authorization", "Bearer {}", "The scheme of Authorization is Bearer, not Api-Key."),
            ("Authorization", "{}", "Authorization has no scheme that is known here."),
            ("Proxy-Authorization", "Basic {}", "Send an API key"),
        ],
    )
    def test_where_a_key_was_looked_for_in_vain_is_said(self, name: str, value: str, says: str) -> None:
        key = new_key()
        client = Client(headers={name: value.format(key)})
        for response in (client.get("/api/students"), post(client, "/api/students", student())):
            message = refusal(response, 401)["message"]
            assert message.startswith(says) and "Authorization: Api-Key <prefix>.<secret>" in message
            assert key not in response.content.decode() and key.partition(".")[2] not in response.content.decode()

    def test_a_key_in_the_address_is_not_read(self) -> None:
        message = refusal(Client().get(f"/api/students?api_key={new_key()}"), 401)["message"]
        assert message.startswith("A key in the address is not read.")


class TestTexts:
    @pytest.mark.parametrize("name", ["   ", "\u00a0\u2003", "\t\n", "\u200b", " \ufeff \u00ad"])
    def test_a_name_of_nothing_visible_is_refused(self, name: str) -> None:
        assert set(refusal(post(api(), "/api/students", student(name=name)), 422)["fields"]) == {"name"}
        assert "subjects.0" in refusal(post(api(), "/api/tutors", tutor(subjects=[name])), 422)["fields"]

    def test_white_space_and_invisible_characters_around_are_left_out(self) -> None:
        record = tutor(tutor_id="T-3", name="\u00a0 Grace\u200b Hopper\t", location=" Bern\r\n", subjects=["Algebra "])
        assert warned(api(), "/api/tutors", record) == []
        row = stored("tutors", "T-3")
        assert (row.name, row.location, row.subjects) == ("Grace Hopper", "Bern", ["Algebra"])

    def test_what_scripts_and_emoji_need_stays(self) -> None:
        names = ("می\u200cخواهم", "👩\u200d🏫 Kim", "O'Neil  Smith")
        for name in names:
            post(api(), "/api/students", student(student_id="S-4", name=name))
            work_off()
            assert stored("students", "S-4").name == name

    @pytest.mark.parametrize("sign", ["\u200b", "\ufeff", "\u202c", "\u00ad", "\u2066", "\x7f", "\n", "\u00a0"])
    @pytest.mark.parametrize(
        "address", ["{}ada@example.org", "ad{}a@example.org", "ada@exam{}ple.org", "ada@example.org{}"]
    )
    def test_no_address_has_an_invisible_character(self, sign: str, address: str) -> None:
        error = refusal(post(api(), "/api/tutors", tutor(email=address.format(sign))), 422)
        assert set(error["fields"]) == {"email"}

    def test_an_identifier_typed_in_two_ways_is_one(self) -> None:
        client = api()
        composed, decomposed = "Zoé-1", unicodedata.normalize("NFD", "Zoé-1")
        assert warned(client, "/api/students", student(student_id=composed)) == []
        answer = post(client, "/api/students", student(student_id=decomposed, name="again"))
        assert answer.json()["id"] == composed
        assert answer.json()["warnings"] == ["stored in Unicode's form NFC: student_id"]
        work_off()
        assert Student.objects.get().name == "again"
        assert client.get(f"/api/students/{quote(decomposed)}").json()["student_id"] == composed


class TestTimes:
    @pytest.mark.parametrize("text", ["2024-03-11t10:00:00z", "2024-03-11T10:00:00z", "2024-03-11 10:00:00Z"])
    def test_t_and_z_may_be_small(self, text: str) -> None:
        post(api(), "/api/tutors", tutor(tutor_id="T-5", onboarding_date=text))
        work_off()
        assert Tutor.objects.get().onboarding_date.isoformat() == "2024-03-11T10:00:00+00:00"

    @pytest.mark.parametrize(
        "text",
        [
            "2024-03-11+02:00",
            "2024-03-11-05:00",
            "2024-03-11Z",
            "2024-03-11x10:00",
            "2024-03-11_10:00:00Z",
            "20240311-0500",
        ],
    )
    def test_a_date_with_a_zone_is_no_time(self, text: str) -> None:
        assert set(refusal(post(api(), "/api/tutors", tutor(onboarding_date=text)), 422)["fields"]) == {
            "onboarding_date"
        }


class TestUpperLimits:
    @pytest.fixture
    def march(self) -> None:
        post(api(), "/api/tutors", tutor(tutor_id="T"))
        post(api(), "/api/students", student(student_id="S"))
        for number, start in enumerate(
            ("2025-03-30T00:30:00Z", "2025-03-31T00:00:00Z", "2025-03-31T23:59:59.999999Z", "2025-04-01T00:00:00Z")
        ):
            record = session(session_id=f"{number}", tutor_id="T", student_id="S", scheduled_start=start)
            assert post(api(), "/api/sessions", record).status_code == 202
        work_off()
        assert TutoringSession.objects.count() == 4

    def found(self, **query: str) -> list[str]:
        rows = api().get(f"/api/sessions?{urlencode(query)}").json()["results"]
        return [row["session_id"] for row in rows]

    def test_a_date_includes_its_whole_day(self, march: None) -> None:
        assert self.found(scheduled_start_before="2025-03-31") == ["0", "1", "2"]
        assert self.found(scheduled_start_after="2025-03-31", scheduled_start_before="2025-03-31") == ["1", "2"]
        assert self.found(scheduled_start_before="2025-03-30") == ["0"]

    def test_a_time_is_exact(self, march: None) -> None:
        assert self.found(scheduled_start_before="2025-03-31T00:00:00Z") == ["0", "1"]
        assert self.found(scheduled_start_before="2025-03-31t00:00:00z") == ["0", "1"]

    def test_the_day_is_that_of_the_time_zone_and_as_long_as_it_is(self, march: None, settings: Settings) -> None:
        settings.TIME_ZONE = "Europe/Berlin"  # 30 March 2025 has 23 hours there and ends at 22:00 UTC
        assert self.found(scheduled_start_before="2025-03-30") == ["0"]
        assert self.found(scheduled_start_after="2025-03-31", scheduled_start_before="2025-03-31") == ["1"]

    def test_so_it_is_for_when_a_row_was_stored(self, march: None) -> None:
        today = TutoringSession.objects.latest("stored_at").stored_at.date().isoformat()
        assert self.found(stored_after=today, stored_before=today) == ["0", "1", "2", "3"]


@pytest.mark.parametrize(("text", "value"), [("1", True), ("yes", True), ("TRUE", True), ("0", False), ("No", False)])
def test_true_and_false_may_be_written_as_in_csv(text: str, value: bool) -> None:
    client = api()
    post(client, "/api/students", student(student_id="a", age=9))
    post(client, "/api/students", student(student_id="b", age=None))
    work_off()
    found = client.get(f"/api/students?age_missing={text}&count={text}").json()
    assert [row["student_id"] for row in found["results"]] == (["b"] if value else ["a"])
    assert ("count" in found) is value
    assert post(client, f"/api/students?dry_run={text}", student()).status_code == (200 if value else 202)


def test_what_is_neither_is_refused() -> None:
    for query in ("age_missing=2", "count=on", "age_missing=yess"):
        assert "true, false" in refusal(api().get(f"/api/students?{query}"), 400)["message"] + str(
            api().get(f"/api/students?{query}").json()
        )


def test_search_finds_in_any_case_beyond_ascii() -> None:
    client = api()
    post(client, "/api/students", student(student_id="x1", name="ÅSA Öberg"))
    post(client, "/api/students", student(student_id="x2", name="Иван"))
    post(client, "/api/students", student(student_id="x3", name="100% \\_ Kim"))
    work_off()

    def found(text: str) -> list[str]:
        return [row["student_id"] for row in client.get(f"/api/students?search={quote(text)}").json()["results"]]

    assert found("KIM") == found("% \\_") == ["x3"]
    assert found("X1") == ["x1"]
    assert found("åsa öBERG") == ["x1"]  # the tests' own PostgreSQL is one without a language, too
    assert found("ИВАН") == ["x2"]


class TestSharedKeys:
    @pytest.mark.parametrize("content_type", ["application/json", "application/x-ndjson"])
    def test_records_of_a_batch_that_share_an_id_are_named(self, content_type: str) -> None:
        keys = ["Zo\u00e9", "b", "Zoe\u0301", "c", "b", "b"]
        records = [student(student_id=key, name=str(number)) for number, key in enumerate(keys)]
        lines = "\n".join(map(json.dumps, records)) if "ndjson" in content_type else json.dumps(records)
        for query in ("?dry_run=true", ""):
            answer = post(api(), f"/api/students/batch{query}", lines.encode(), content_type).json()
            found = {each["index"]: each["warnings"][-1] for each in answer["warnings"]}
            assert sorted(found) == [2, 4, 5]
            assert found[2].startswith("has the ID of record 0") and found[5].startswith("has the ID of record 1")

    def test_of_a_file_those_in_another_form_of_unicode_are_counted(self) -> None:
        body = "student_id,name\nZo\u00e9,a\nZoe\u0301,b\n".encode()
        [preview] = post(api(), "/api/uploads?stream=students&dry_run=true", body, "text/csv").json()["uploads"]
        assert preview["shared_keys"] == 2

    def test_the_message_counts_both(self) -> None:
        records = [student(student_id="a"), student(student_id="b", age="x")]
        answer = post(api(), "/api/students/batch", records).json()
        assert answer["success"] and answer["message"] == "1 accepted, 1 rejected: see errors."
        answer = post(api(), "/api/students/batch?invalid=dead-letter", records).json()
        assert answer["count"] == 2 and "rejected" not in answer["message"]

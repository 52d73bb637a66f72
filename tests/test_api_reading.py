"""GET: rows, filters, orderings, search, paging, details."""

from typing import Any
from urllib.parse import urlencode

import pytest
from django.db.models import JSONField
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from enrichment.rows.filters import columns_of
from ingestion.streams import all_streams, get
from ingestion.validation import key_of
from tests.api import api, new_key, refusal
from tests.records import deliver, send
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    return api()


@pytest.fixture
def family() -> None:
    """One row of every stream, which refer to each other."""
    for stream, record in [
        ("tutors", tutor()),
        ("students", student()),
        ("sessions", session()),
        ("feedback", feedback()),
        ("entries", dict(get("entries").example)),
        ("listens", dict(get("listens").example)),
    ]:
        send(stream, record)


def found(client: Client, stream: str, **query: Any) -> list[str]:
    """The keys of the rows that the query finds."""
    response = client.get(f"/api/{stream}?{urlencode(query)}")
    assert response.status_code == 200, response.content
    return [row[get(stream).key] for row in response.json()["results"]]


def all_pages(client: Client, url: str, link: str = "next") -> list[list[str]]:
    pages = []
    while url:
        answer = client.get(url).json()
        pages.append([row["tutor_id"] for row in answer["results"]])
        url = answer[link]
        assert len(pages) < 100
    return pages


class TestRow:
    def test_it_is_one_flat_object_of_what_was_sent_and_what_was_derived(self, client: Client, family: None) -> None:
        derived = {
            "tutors": {"tenure_days", "is_new_tutor", "experience_level", "subject_count", "is_active_today"},
            "students": {"is_stub"},
            "sessions": {
                "is_weekend",
                "time_of_day",
                "is_late_start",
                "actual_duration_minutes",
                "week_of_year",
                "month_of_year",
            },
            "feedback": {
                "is_positive",
                "is_poor",
                "avg_category_rating",
                "category_variance",
                "has_text_feedback",
                "feedback_delay_hours",
            },
            "entries": {"entry_id", "film_id", "gone"},
            "listens": {
                *("listen_id", "artist_key", "hour", "weekday", "is_skip", "duplicate_of"),
                *("country_code", "continent_code", "genres"),
            },
        }
        for stream in all_streams():
            (row,) = client.get(f"/api/{stream.name}").json()["results"]
            fields = set(stream.schema.model_fields) | derived[stream.name] | {"warnings", "delivery", "stored_at"}
            assert set(row) == fields
            assert client.get(f"/api/{stream.name}/{row[stream.key]}").json() == row

    def test_values_come_back_as_they_were_sent(self, client: Client, family: None) -> None:
        for stream in all_streams():
            row = client.get(f"/api/{stream.name}/{key_of(stream, stream.example)}").json()
            times = {name for name, value in stream.example.items() if isinstance(value, str) and value[10:11] == "T"}
            assert {name: row[name] for name in stream.example if name not in times} == {
                name: value for name, value in stream.example.items() if name not in times
            }

    def test_times_are_utc_but_the_start_keeps_its_offset(self, client: Client, family: None) -> None:
        row = client.get("/api/sessions/S-3001").json()
        assert row["scheduled_start"] == "2025-03-01T15:00:00-05:00"
        assert row["actual_start"] == "2025-03-01T20:02:00Z"
        assert row["stored_at"].endswith("Z")
        send("sessions", session(session_id="utc", scheduled_start="2025-03-01T15:00:00Z"))
        assert client.get("/api/sessions/utc").json()["scheduled_start"] == "2025-03-01T15:00:00Z"

    def test_it_names_the_delivery_that_brought_it(self, client: Client) -> None:
        delivery = send("tutors", tutor(age=99))
        row = client.get("/api/tutors/T-1001").json()
        assert row["delivery"] == delivery.pk
        assert len(row["warnings"]) == 1

    @pytest.mark.parametrize("size", [1, 20])
    def test_a_list_takes_as_many_queries_however_long_it_is(
        self, client: Client, django_assert_num_queries: DjangoAssertNumQueries, size: int
    ) -> None:
        send("tutors", tutor())
        send("students", student())
        send("sessions", *(session(session_id=f"s{number}") for number in range(size)))
        client.get("/api/sessions")
        with django_assert_num_queries(2):  # the key, the rows
            assert len(client.get("/api/sessions").json()["results"]) == size


class TestDetail:
    def test_a_slash_at_the_end_is_no_part_of_the_key(self, client: Client, family: None) -> None:
        assert client.get("/api/tutors/T-1001/").status_code == 200

    def test_keys_may_be_any_printable_text(self, client: Client) -> None:
        keys = ["ä b", "100%", "%41", "a?b#c", "日本", "..x", "'", '"', "a+b", "a%2Fb", "😀", "null"]
        send("tutors", *(tutor(tutor_id=key) for key in keys))
        for key in keys:
            path = "/api/tutors/" + urlencode({"": key})[1:].replace("+", "%20")
            assert client.get(path).json()["tutor_id"] == key

    @pytest.mark.parametrize(
        "key", ["nobody", "%00", "a%00b", "%0A", "%ED%A0%80", "%FF", "x" * 5000, "..", ".", "%2F", "a%2Fb", " "]
    )
    def test_anything_else_is_404(self, client: Client, family: None, key: str) -> None:
        refusal(client.get(f"/api/tutors/{key}"), 404)

    def test_a_404_says_what_the_record_waits_for(self, client: Client) -> None:
        send("sessions", session())
        message = refusal(client.get("/api/sessions/S-3001"), 404)["message"]
        assert "waiting" in message
        assert "students ST-2001" in message or "tutors T-1001" in message

    def test_a_404_says_that_the_record_is_dead(self, client: Client) -> None:
        send("tutors", tutor(tutor_id="T1", age=1), keep_invalid=True)
        message = refusal(client.get("/api/tutors/T1"), 404)["message"]
        assert "dead" in message
        assert "invalid" in message

    def test_it_takes_no_other_parameter(self, client: Client, family: None) -> None:
        assert "fields" in refusal(client.get("/api/tutors/T-1001?format=json"), 400)["message"]


class TestFilters:
    def test_every_field_of_every_stream_is_a_filter(self, client: Client, family: None) -> None:
        for stream in all_streams():
            (row,) = client.get(f"/api/{stream.name}").json()["results"]
            columns = {column.name: column.field for column in columns_of(stream)}
            for field, value in row.items():
                if value is None and isinstance(columns[field], JSONField):
                    query = {f"has_{field}": "false"}
                elif value is None:
                    query = {f"{field}_missing": "true"}
                elif isinstance(value, list):
                    query = {field: value[0]} if value else {f"has_{field}": "false"}
                else:
                    query = {field: _text(value)}
                assert found(client, stream.name, **query) == [row[stream.key]], query

    def test_lists_are_filtered_by_an_item(self, client: Client) -> None:
        send("tutors", tutor(tutor_id="a", subjects=["Algebra", "Physics"]), tutor(tutor_id="b", subjects=['x"y', "1"]))
        assert found(client, "tutors", subjects="Algebra") == ["a"]
        assert found(client, "tutors", subjects="Physics") == ["a"]
        assert found(client, "tutors", subjects='x"y') == ["b"]
        assert found(client, "tutors", subjects="1") == ["b"]
        for other in ("algebra", "Alg", "Algebra,Physics", '["Algebra"]', "%", "null", "日本"):
            assert found(client, "tutors", subjects=other) == []

    def test_lists_are_filtered_by_whether_there_is_any_item(self, client: Client) -> None:
        lists = {"some": ["Algebra"], "none": [], "null": None}
        send("students", *(student(student_id=key, subjects_interested=value) for key, value in lists.items()))
        assert found(client, "students", has_subjects_interested="true") == ["some"]
        assert found(client, "students", has_subjects_interested="false") == ["none", "null"]
        send("tutors", tutor(tutor_id="plain"), tutor(tutor_id="odd", age=99))
        assert found(client, "tutors", has_warnings="true") == ["odd"]
        assert found(client, "tutors", has_warnings="false") == ["plain"]

    def test_what_is_null_can_be_asked_for(self, client: Client) -> None:
        send("tutors", tutor(tutor_id="a", age=None, subject_type=None), tutor(tutor_id="b"))
        for field in ("age", "subject_type"):
            assert found(client, "tutors", **{f"{field}_missing": "true"}) == ["a"]
            assert found(client, "tutors", **{f"{field}_missing": "false"}) == ["b"]
        for always in ("tutor_id", "status", "onboarding_date", "tenure_days", "stored_at"):
            refusal(client.get(f"/api/tutors?{always}_missing=true"), 400)

    def test_of_choices_several_may_be_given(self, client: Client) -> None:
        send("tutors", *(tutor(tutor_id=status, status=status) for status in ("active", "churned", "inactive")))
        assert found(client, "tutors", status="churned,active") == ["active", "churned"]
        assert found(client, "tutors", status="churned,churned") == ["churned"]

    def test_columns_of_our_own_are_neither_shown_nor_filters(self, client: Client, family: None) -> None:
        for stream in all_streams():
            for hidden in ("version_at", "position", *stream.hidden):
                assert hidden not in client.get(f"/api/{stream.name}").json()["results"][0]
                refusal(client.get(f"/api/{stream.name}?{hidden}=1"), 400)

    def test_numbers_have_ranges_with_both_ends(self, client: Client) -> None:
        send("tutors", *(tutor(tutor_id=str(age), age=age) for age in (29, 30, 31)))
        assert found(client, "tutors", age=30) == ["30"]
        assert found(client, "tutors", age_min=30) == ["30", "31"]
        assert found(client, "tutors", age_max=30) == ["29", "30"]
        assert found(client, "tutors", age_min=30, age_max=30) == ["30"]

    def test_times_have_ranges_with_both_ends(self, client: Client) -> None:
        days = ("2025-01-01", "2025-01-02", "2025-01-03")
        send("tutors", *(tutor(tutor_id=day, onboarding_date=f"{day}T12:00:00Z") for day in days))
        assert found(client, "tutors", onboarding_date_after="2025-01-02T12:00:00Z") == list(days[1:])
        assert found(client, "tutors", onboarding_date_before="2025-01-02T12:00:00Z") == list(days[:2])
        assert found(client, "tutors", onboarding_date_before="2025-01-02") == list(days[:2])
        assert found(client, "tutors", onboarding_date="2025-01-02T14:00:00+02:00") == [days[1]]
        unescaped = client.get("/api/tutors?onboarding_date=2025-01-02T14:00:00+02:00").json()["results"]
        assert [row["tutor_id"] for row in unescaped] == [days[1]]

    def test_what_changed_since(self, client: Client) -> None:
        send("tutors", tutor(tutor_id="a"))
        seen = client.get("/api/tutors/a").json()["stored_at"]
        send("tutors", tutor(tutor_id="b"))
        assert found(client, "tutors", stored_after=seen) == ["a", "b"]
        later = client.get("/api/tutors/b").json()["stored_at"]
        assert found(client, "tutors", stored_after=later) == ["b"]
        assert found(client, "tutors", stored_before=seen) == ["a"]

    def test_yes_and_no(self, client: Client, family: None) -> None:
        send("sessions", session(session_id="late", late_start_minutes=10, actual_start="2025-03-01T15:10:00-05:00"))
        assert found(client, "sessions", is_late_start="true") == ["late"]
        assert found(client, "sessions", is_late_start="false") == ["S-3001"]

    def test_choices_references_and_derived_fields(self, client: Client, family: None) -> None:
        assert found(client, "tutors", experience_level="mid", status="active") in ([], ["T-1001"])
        assert found(client, "sessions", tutor_id="T-1001", time_of_day="afternoon", is_weekend="true") == ["S-3001"]
        assert found(client, "sessions", tutor_id="other") == []
        assert found(client, "feedback", overall_rating_min=4, avg_category_rating_max=4.6) == ["F-4001"]

    @pytest.mark.parametrize(
        "query",
        [
            "age=young",
            "age=",
            "age=1.5",
            "age_min=" + "9" * 400,
            "age_min=-" + "9" * 400,
            "age=" + "9" * 5000,
            "age=9223372036854775808",
            "age=NaN",
            "age=1e5",
            "age=1&age=2",
            "status=busy",
            "status=",
            "is_new_tutor=on",
            "is_new_tutor=2",
            "is_new_tutor=t",
            "is_new_tutor=",
            "onboarding_date=yesterday",
            "onboarding_date=20250101",
            "onboarding_date=1700000000",
            "onboarding_date_after=9999-12-31T23:59:59-12:00",
            "onboarding_date_after=0001-01-01T00:00:00%2B12:00",
            "onboarding_date=2025-13-01",
            "name=%00",
            "name=a%00b",
            "name=",
            "colour=red",
            "name__icontains=a",
            "status=active,",
            "status=active,busy",
            "status=active%20,churned",
            "has_warnings=10",
            "age_missing=y",
            "has_age=true",
            "warnings_missing=true",
            "Age=30",
            "format=xml",
            "format=api",
            "format=CSV",
            "format=",
            "fields=",
            "fields=name,",
            "fields=name,colour",
            "fields=name,%20age",
            "fields=version_at",
            "fields=name&fields=age",
            "limit=5",
            "%00=1",
            "%ED%A0%80=1",
        ],
    )
    def test_a_senseless_one_is_400(self, client: Client, query: str) -> None:
        refusal(client.get(f"/api/tutors?{query}"), 400)

    @pytest.mark.parametrize("query", ["age_min=99999999999999999999999", "age=-9223372036854775808"])
    def test_a_number_out_of_range_is_400(self, client: Client, query: str) -> None:
        response = client.get(f"/api/tutors?{query}")
        assert response.json()["error"]["fields"] == {query.partition("=")[0]: ["is out of range"]}

    @pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e400", "9" * 400, "1,5", "x"])
    def test_a_senseless_number_is_400(self, client: Client, value: str) -> None:
        refusal(client.get("/api/feedback", {"avg_category_rating_min": value}), 400)

    def test_numbers_beyond_a_column_are_no_matter(self, client: Client) -> None:
        send("tutors", tutor())
        assert found(client, "tutors", age=10**12) == []
        assert found(client, "tutors", age_max=2**63 - 1, age_min=1 - 2**63) == ["T-1001"]
        assert found(client, "tutors", delivery=2**63 - 1) == []

    def test_the_answer_names_what_is_allowed(self, client: Client) -> None:
        error = refusal(client.get("/api/tutors?colour=red&status=active"), 400)
        assert set(error["fields"]) == {"colour"}
        assert error["message"].startswith("Unknown parameter colour. Allowed: ")
        for allowed in ("age_min", "onboarding_date_after", "page_size", "search", "is_new_tutor", "stored_after"):
            assert allowed in error["message"]
        error = refusal(client.get("/api/tutors?status=busy"), 400)
        assert error["fields"] == {"status": ["must be one of: active, inactive, suspended, churned"]}
        assert (
            error["fields"]["status"][0]
            in refusal(client.get("/api/tutors?status=busy&age=3"), 400)["fields"]["status"]
        )

    def test_a_thousand_parameters_are_400(self, client: Client) -> None:
        refusal(client.get("/api/tutors?" + "&".join(f"a{number}=1" for number in range(1001))), 400)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class TestSearch:
    def test_it_looks_into_the_columns_of_the_stream_in_any_case(self, client: Client) -> None:
        send("tutors", tutor(tutor_id="a", name="Ada", email="x@example.com"))
        send("tutors", tutor(tutor_id="b", name="Bob", email="ada@example.com"))
        send("tutors", tutor(tutor_id="c", name="100%", email="y@example.com"))
        assert found(client, "tutors", search="ADA") == ["a", "b"]
        assert found(client, "tutors", search="%") == ["c"]
        assert found(client, "tutors", search="_") == []
        assert found(client, "tutors", search="ada", name="Bob") == ["b"]

    @pytest.mark.parametrize("stream", ["tutors", "students", "sessions", "feedback"])
    def test_it_finds_keys_and_references_of_every_stream(self, client: Client, family: None, stream: str) -> None:
        row = client.get(f"/api/{stream}").json()["results"][0]
        for column in get(stream).search:
            assert found(client, stream, search=row[column]) == [row[get(stream).key]], column

    @pytest.mark.parametrize("query", ["search=", "search=%00", "search=a&search=b"])
    def test_a_senseless_one_is_400(self, client: Client, query: str) -> None:
        refusal(client.get(f"/api/tutors?{query}"), 400)


class TestPages:
    @pytest.fixture(autouse=True)
    def rows(self) -> None:
        """25 tutors, of which 10 and 10 share one time, stored at three moments."""
        times = ["2025-01-01T00:00:00Z"] * 10 + ["2025-01-02T00:00:00Z"] * 10
        times += [f"2025-01-03T00:00:0{second}Z" for second in range(5)]
        records = [tutor(tutor_id=f"t{index:02}", onboarding_date=time) for index, time in enumerate(times)]
        for part in (records[20:], records[7:20], records[:7]):
            send("tutors", *part)

    @pytest.mark.parametrize(
        "ordering", ["tutor_id", "-tutor_id", "stored_at", "-stored_at", "onboarding_date", "-onboarding_date"]
    )
    @pytest.mark.parametrize("size", [1, 7, 10, 24, 25, 26])
    def test_each_row_is_on_one_page_forwards_and_back(self, client: Client, ordering: str, size: int) -> None:
        url = f"/api/tutors?page_size={size}&ordering={ordering}"
        pages = all_pages(client, url)
        keys = [key for page in pages for key in page]
        rows = client.get(f"/api/tutors?page_size=1000&ordering={ordering}").json()["results"]
        assert keys == [row["tutor_id"] for row in rows]
        column = ordering.removeprefix("-")
        pairs = [(row[column], row["tutor_id"]) for row in rows]
        assert pairs == sorted(pairs, reverse=ordering.startswith("-"))
        assert len(set(keys)) == 25
        assert {len(page) for page in pages[:-1]} <= {size}
        last = url
        while following := client.get(last).json()["next"]:
            last = following
        assert all_pages(client, last, "previous") == pages[::-1]

    @pytest.mark.parametrize("ordering", ["tutor_id", "-stored_at", "onboarding_date"])
    def test_pages_of_a_search_have_the_same_order(self, client: Client, ordering: str) -> None:
        send("tutors", tutor(tutor_id="a-longer-one", onboarding_date="2025-01-01"))
        url = f"/api/tutors?page_size=7&ordering={ordering}"
        pages = all_pages(client, url)
        assert all_pages(client, f"{url}&search=ada") == pages
        last = client.get(f"{url}&search=ada").json()
        while last["next"]:
            last = client.get(last["next"]).json()
        assert all_pages(client, last["previous"], "previous") == pages[-2::-1]

    def test_the_ends_have_no_links(self, client: Client) -> None:
        answer = client.get("/api/tutors").json()
        assert set(answer) == {"next", "previous", "results"}
        assert (answer["next"], answer["previous"], len(answer["results"])) == (None, None, 25)

    def test_a_page_has_100_rows_unless_told(self, client: Client) -> None:
        send("tutors", *(tutor(tutor_id=f"x{index:03}") for index in range(80)))
        assert len(client.get("/api/tutors").json()["results"]) == 100
        assert len(client.get("/api/tutors?page_size=1000").json()["results"]) == 105

    def test_links_keep_the_filters_and_the_host(self, client: Client) -> None:
        first = client.get("/api/tutors?page_size=5&onboarding_date_before=2025-01-02&status=active").json()
        assert first["next"].startswith("http://testserver/api/tutors?")
        keys = [key for page in all_pages(client, first["next"]) for key in page]
        assert keys == [f"t{index:02}" for index in range(5, 20)]

    def test_it_counts_when_asked(self, client: Client) -> None:
        assert client.get("/api/tutors?count=true&page_size=2").json()["count"] == 25
        assert client.get("/api/tutors?count=true&onboarding_date_before=2025-01-01").json()["count"] == 10
        assert "count" not in client.get("/api/tutors?count=false").json()

    def test_rows_that_come_and_go_between_pages_do_no_harm(self, client: Client) -> None:
        first = client.get("/api/tutors?page_size=10").json()
        get("tutors").model._default_manager.filter(tutor_id__in=["t09", "t10"]).delete()
        send("tutors", tutor(tutor_id="t03x"), tutor(tutor_id="t11x"))
        keys = [key for page in all_pages(client, first["next"]) for key in page]
        assert keys[:4] == ["t11", "t11x", "t12", "t13"]

    @pytest.mark.parametrize(
        "query",
        [
            "page_size=0",
            "page_size=1001",
            "page_size=-1",
            "page_size=ten",
            "page_size=" + "9" * 400,
            "page_size=٣",
            "count=y",
            "count=2",
            "ordering=age",
            "ordering=name,age",
            "ordering=--tutor_id",
            "ordering=delivery",
            "ordering=",
            "cursor=",
            "cursor=nonsense",
            "cursor=é",
            "cursor=bnVsbA==",
            "cursor=W10=",
            "cursor=" + "A" * 5000,
        ],
    )
    def test_a_senseless_parameter_is_400(self, client: Client, query: str) -> None:
        error = refusal(client.get(f"/api/tutors?{query}"), 400)
        assert list(error["fields"]) == [query.partition("=")[0]]

    @pytest.mark.parametrize("moment", ["2999-12-31T23:59:59-23:59", "1901-01-01T00:00:00+23:59"])
    def test_a_cursor_at_the_end_of_time_is_an_empty_page_or_all(self, client: Client, moment: str) -> None:
        import base64
        import json

        cursor = base64.b64encode(json.dumps(["stored_at", moment, "x", False]).encode()).decode()
        answer = client.get("/api/tutors", {"ordering": "stored_at", "cursor": cursor})
        assert answer.status_code == 200

    def test_a_tampered_cursor_is_400(self, client: Client) -> None:
        import base64
        import json

        for ordering, value in [
            ("tutor_id", ["tutor_id", None, 5, False]),
            ("tutor_id", ["tutor_id", None, "a\0", False]),
            ("tutor_id", ["tutor_id", None, "\ud800", False]),
            ("tutor_id", ["tutor_id", None, "a", 1]),
            ("tutor_id", ["tutor_id", None, "a"]),
            ("tutor_id", ["tutor_id", None, "a", False, 1]),
            ("tutor_id", {"a": 1, "b": 2, "c": 3, "d": 4}),
            ("tutor_id", "abcd"),
            ("tutor_id", ["stored_at", "2025-01-01T00:00:00+00:00", "a", False]),
            ("stored_at", ["stored_at", None, "a", False]),
            ("stored_at", ["stored_at", 5, "a", False]),
            ("stored_at", ["stored_at", "2025-01-01T00:00:00", "a", False]),
            ("stored_at", ["stored_at", "9999-12-31T23:59:59-12:00", "a", False]),
            ("stored_at", ["stored_at", "0001-01-01T00:00:00+12:00", "a", False]),
        ]:
            cursor = base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
            refusal(client.get("/api/tutors", {"ordering": ordering, "cursor": cursor}), 400)


class TestDelivery:
    def test_it_tells_what_became_of_each_record(self, client: Client) -> None:
        response = client.post(
            "/api/sessions/batch?invalid=dead-letter",
            [session(session_id="a"), session(session_id="b", tutor_id="x"), session(session_id="c", no_show=5), "d"],
            content_type="application/json",
        )
        path = response.json()["status_url"]
        before = client.get(path).json()
        assert (before["status"], before["count"], before["pending"], before["processed_at"]) == ("pending", 4, 4, None)
        send("tutors", tutor())
        send("students", student())
        answer = client.get(path).json()
        held = answer.pop("held")
        assert answer.pop("received_at") < answer.pop("processed_at")
        assert (
            answer
            == {
                "id": response.json()["delivery"],
                "stream": "sessions",
                "status": "processed",
                "count": 4,
                "inserted": 1,
                "updated": 0,
                "stale": 0,
                "waiting": 1,
                "dead": 2,
                "resolved": 0,
                "discarded": 0,
                "pending": 0,
                "held_is_cut": False,
            }
            or answer["resolved"] == 1
        )
        by_index = {each["index"]: each for each in held}
        assert by_index[1].items() >= {"id": "b", "status": "waiting", "code": "missing_reference"}.items()
        assert "tutor x does not exist (yet)" in by_index[1]["message"]
        assert by_index[2].items() >= {"id": "c", "status": "dead", "code": "invalid"}.items()
        assert "no_show" in by_index[2]["message"]
        assert by_index[3].items() >= {"id": "", "status": "dead", "code": "invalid"}.items()

    def test_indexes_are_positions_in_what_was_sent(self, client: Client) -> None:
        items = [tutor(age=1), session(tutor_id="x")]
        answer = client.post("/api/sessions/batch", items, content_type="application/json").json()
        assert [error["index"] for error in answer["errors"]] == [0]
        send("students", student())
        (held,) = client.get(answer["status_url"]).json()["held"]
        assert held["index"] == 1

    def test_it_is_shown_to_the_key_that_sent_it_and_to_staff(self, admin_client: Client) -> None:
        mine = api(new_key())
        path = mine.post("/api/tutors", tutor(), content_type="application/json").json()["status_url"]
        assert mine.get(path).status_code == 200
        refusal(api(new_key()).get(path), 404)
        assert admin_client.get(path).status_code == 200

    @pytest.mark.parametrize("id", ["0", "1", "9" * 18, "9" * 19, "9" * 5000, "x", "-1", "1.0", "%00", "٣"])
    def test_others_are_404(self, client: Client, id: str) -> None:
        refusal(client.get(f"/api/deliveries/{id}"), 404)

    def test_a_long_list_of_held_records_is_cut_and_says_so(self, client: Client) -> None:
        delivery = send("tutors", *([7] * 1001), keep_invalid=True)
        type(delivery).objects.update(client="user:admin")
        client = _staff(client)
        answer = client.get(f"/api/deliveries/{delivery.pk}").json()
        assert (answer["dead"], len(answer["held"]), answer["held_is_cut"]) == (1001, 1000, True)
        assert [each["index"] for each in answer["held"]] == list(range(1000))


def _staff(client: Client) -> Client:
    from django.contrib.auth.models import Group, User

    staff, user = Client(), User.objects.create_user("ada", is_staff=True)
    user.groups.add(Group.objects.get(name="viewer"))
    staff.force_login(user, "django.contrib.auth.backends.ModelBackend")
    return staff


def test_nothing_is_pending_of_what_is_not_delivered(client: Client) -> None:
    delivery = deliver("tutors", tutor())
    assert delivery.pending == 1
    refusal(client.get("/api/tutors/T-1001"), 404)


def test_every_read_path_that_clients_know_answers(client: Client, family: None) -> None:
    """The paths of the API for which many clients were written first."""
    for path in (
        "/",
        "/health",
        "/docs",
        "/redoc",
        "/api/queue/stats",
        "/api/tutors",
        "/api/sessions",
        "/api/feedback",
    ):
        for slash in ("", "/") if path != "/" else ("",):
            assert client.get(path + slash).status_code == 200
            assert client.head(path + slash).status_code == 200
    assert "feedback" in client.get("/api/queue/stats").json()["queues"]
    for stream in all_streams():
        assert client.head(f"/api/{stream.name}/{key_of(stream, stream.example)}").status_code == 200
        refusal(client.get(f"/api/{stream.name}/batch"), 405)


def test_filters_are_combined_across_record_and_derived_fields(client: Client, family: None) -> None:
    query = {"scheduled_start_after": "2025-03-01T15:00:00-05:00", "is_late_start": "false", "is_weekend": "true"}
    assert found(client, "sessions", **query) == ["S-3001"]
    assert found(client, "sessions", **{**query, "scheduled_start_after": "2025-03-01T20:00:01Z"}) == []
    assert found(client, "feedback", overall_rating_min=5, submitted_at_before="2025-03-02", is_poor="false") == [
        "F-4001"
    ]
    assert found(client, "tutors", experience_level="junior,mid,senior", stored_after="2025-01-01") == ["T-1001"]

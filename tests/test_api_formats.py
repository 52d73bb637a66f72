"""GET: lists as CSV and NDJSON, the fields that are wanted, what has changed since."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode, urlsplit

import psycopg
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from conftest import NewDatabase, on_sqlite
from enrichment.rows.ordering import CHUNK
from enrichment.rows.writers import cell, with_truncation_marker
from ingestion.streams import all_streams, get
from tests.api import api, lines, new_key, post, refusal, table, text
from tests.people import browser_of, person
from tests.records import INSERT_STUDENTS, send, work_off
from tests.servers import PATIENCE, WebServer, manage
from tutoring.tests.factories import feedback, session, student, tutor

NDJSON = "application/x-ndjson"
TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": f"{NDJSON}; charset=utf-8"}


@pytest.fixture
def client(db: None) -> Client:
    return api()


@pytest.fixture
def family(db: None) -> None:
    """One row of every stream, which refer to each other."""
    records = {"tutors": tutor(), "students": student(), "sessions": session(), "feedback": feedback()}
    for stream in all_streams():
        send(stream.name, records.get(stream.name, stream.example))


def many_students(number: int) -> None:
    send("students", *(student(student_id=f"s{index:05}") for index in range(number)))


class TestFormats:
    def test_ndjson_has_the_same_objects_as_the_list(self, client: Client, family: None) -> None:
        for stream in all_streams():
            path = f"/api/{stream.name}"
            assert lines(client.get(f"{path}?format=ndjson")) == client.get(path).json()["results"]

    def test_csv_has_the_same_values(self, client: Client, family: None) -> None:
        for stream in all_streams():
            (row,) = client.get(f"/api/{stream.name}").json()["results"]
            (cells,) = table(client.get(f"/api/{stream.name}?format=csv"))
            assert list(cells) == list(row)
            for name, value in row.items():
                if value is None:
                    assert cells[name] == ""
                elif isinstance(value, str):
                    assert cells[name] == value
                elif not isinstance(value, list):
                    assert json.loads(cells[name]) == value
        (cells,) = table(client.get("/api/feedback?format=csv"))
        assert cells["improvement_areas"] == "pace"

    @pytest.mark.parametrize("form", TYPES)
    def test_they_are_files_of_a_type_and_a_name(self, client: Client, family: None, form: str) -> None:
        accept = TYPES[form].partition(";")[0]
        for response in (
            client.get(f"/api/tutors?format={form}"),
            client.get("/api/tutors", headers={"accept": accept}),
            client.get("/api/tutors/", headers={"accept": f"text/x-none, {accept};q=0.5"}),
            client.get(f"/api/tutors?format={form}", headers={"accept": "application/json"}),
            client.get(f"/api/tutors?format={form}", headers={"accept": "image/png"}),
        ):
            assert (response.status_code, response["Content-Type"]) == (200, TYPES[form])
            assert response["Content-Disposition"] == f'attachment; filename="tutors.{form}"'
            assert "Accept" in response["Vary"]
            assert "Ada Lovelace" in text(response)

    def test_format_goes_before_accept(self, client: Client, family: None) -> None:
        response = client.get("/api/tutors?format=json", headers={"accept": "text/csv"})
        assert response["Content-Type"] == "application/json"
        assert client.get("/api/tutors?format=json", headers={"accept": "text/html"}).json()["results"]

    @pytest.mark.parametrize("accept", ["application/xml", "text/plain", "text/csvx", "application/ndjson"])
    def test_any_other_type_is_406(self, client: Client, accept: str) -> None:
        refusal(client.get("/api/tutors", headers={"accept": accept}), 406)

    @pytest.mark.parametrize("accept", ["text/csv", NDJSON, "*/*", "application/json"])
    def test_errors_are_json_whatever_is_asked_for(self, client: Client, accept: str) -> None:
        asked = {"accept": accept}
        error = refusal(client.get("/api/tutors?format=xml", headers=asked), 400)
        assert error["fields"] == {"format": ["must be one of: json, csv, ndjson"]}
        refusal(client.get("/api/tutors?age=young", headers=asked), 400)
        refusal(Client().get("/api/tutors", headers=asked), 401)
        refusal(Client().get("/api/tutors?format=csv"), 401)
        refusal(api(new_key(can_read=False)).get("/api/tutors", headers=asked), 403)

    @pytest.mark.parametrize("accept", ["text/csv", NDJSON])
    def test_what_is_no_list_has_no_such_form(self, client: Client, family: None, accept: str) -> None:
        asked = {"accept": accept}
        refusal(client.get("/api/tutors/T-1001", headers=asked), 406)
        refusal(post(client, "/api/tutors", tutor(), headers=asked), 406)
        refusal(post(client, "/api/tutors?format=csv", tutor()), 400)

    @pytest.mark.parametrize("form", TYPES)
    @pytest.mark.parametrize("query", ["page_size=10", "cursor=x", "count=true"])
    def test_what_belongs_to_a_page_is_refused(self, client: Client, form: str, query: str) -> None:
        error = refusal(client.get(f"/api/tutors?format={form}&{query}"), 400)
        name = query.partition("=")[0]
        assert error["message"] == f"CSV and NDJSON return all rows, unpaged: leave out {name}."
        assert error["fields"] == {name: ["is for JSON pages only"]}

    def test_without_rows_csv_has_its_header(self, client: Client) -> None:
        assert text(client.get("/api/students?format=csv&fields=student_id,name")) == "student_id,name\r\n"
        assert text(client.get("/api/students?format=ndjson")) == ""

    @pytest.mark.parametrize("form", TYPES)
    def test_head_answers_the_headers_alone(self, client: Client, family: None, form: str) -> None:
        response = client.head(f"/api/tutors?format={form}")
        assert (response.status_code, response["Content-Type"]) == (200, TYPES[form])
        assert response.getvalue() == b""
        assert client.head("/api/tutors").status_code == 200

    def test_it_is_filtered_searched_and_ordered(self, client: Client) -> None:
        send("tutors", *(tutor(tutor_id=str(age), age=age, name=f"N{age}") for age in range(30, 36)))
        query = {"age_min": 31, "age_max": 34, "search": "n3", "ordering": "-tutor_id", "format": "csv"}
        rows = table(client.get(f"/api/tutors?{urlencode(query)}"))
        assert [row["tutor_id"] for row in rows] == ["34", "33", "32", "31"]

    @pytest.mark.parametrize("ordering", ["student_id", "-student_id", "stored_at", "-stored_at"])
    def test_all_rows_come_each_once_in_a_query_for_each_chunk(
        self, client: Client, django_assert_num_queries: DjangoAssertNumQueries, ordering: str
    ) -> None:
        many_students(CHUNK + 5)
        client.get("/api/students")
        settled = 1 if ordering == "stored_at" and not on_sqlite() else 0
        with django_assert_num_queries(5 + settled):  # the key, two chunks; of the history a row, and its number
            rows = lines(client.get(f"/api/students?format=ndjson&fields=student_id&ordering={ordering}"))
        keys = [row["student_id"] for row in rows]
        assert len(set(keys)) == len(keys) == CHUNK + 5
        if "student_id" in ordering:
            assert keys == sorted(keys, reverse=ordering.startswith("-"))

    def test_a_list_that_fills_its_chunks_ends_there(self, client: Client) -> None:
        many_students(CHUNK)
        assert len(lines(client.get("/api/students?format=ndjson"))) == CHUNK

    def test_text_of_every_kind_comes_back(self, client: Client) -> None:
        odd = [
            'a"b',
            "a,b",
            "a\nb",
            "a\r\nb",
            "a\rb",
            "a\u2028b\u2029c\u0085d",
            "😀日本",
            "a  b",
            "=1+1",
            "'",
            "null",
            "a;b|c",
        ]
        send("students", *(student(student_id=f"{index:02}", name=name) for index, name in enumerate(odd)))
        marked = ["¬null" if name == "null" else name for name in odd]  # an import takes null for no value
        assert [row["name"] for row in table(client.get("/api/students?format=csv"))] == marked
        response = client.get("/api/students?format=ndjson")
        raw = text(response)
        assert raw.isascii()
        assert [json.loads(line)["name"] for line in raw.splitlines()] == odd

    def test_an_empty_text_is_marked_only_beside_null(self, client: Client) -> None:
        send("tutors", tutor(location=""), tutor(tutor_id="T-2", location=None))
        assert [row["location"] for row in table(client.get("/api/tutors?format=csv"))] == ["¬", ""]

    def test_staff_read_them_in_the_browser_as_well(self, family: None) -> None:
        browser = browser_of(person("operator"))
        assert table(browser.get("/api/tutors?format=csv"))
        page = browser.get("/api/tutors?fields=name&page_size=1", headers={"accept": "text/html"})
        assert page["Content-Type"].startswith("text/html")
        assert "Ada Lovelace" in page.content.decode()
        refusal(browser.get("/api/tutors?format=html"), 400)


class TestCells:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, None),
            (True, "true"),
            (False, "false"),
            (4.5, 4.5),
            (["a", "b c"], "a;b c"),
            (["a"], "a"),
            ([], "[]"),
            (["a;b", "c"], '["a;b","c"]'),
            (["a|b"], '["a|b"]'),
            (["[a]"], '["[a]"]'),
            (["", "a"], '["","a"]'),
            ([" a"], '[" a"]'),
            ({"a": ["b"]}, '{"a":["b"]}'),
        ],
    )
    def test_a_value_is_written_so(self, value: Any, expected: Any) -> None:
        assert cell(value) == expected

    def test_what_is_exported_can_be_uploaded(self, client: Client, family: None) -> None:
        lists = (["Algebra"], ["a;b", "c"], ["a|b"], ["[x]", "é"], [" a", "b"])
        send("tutors", *(tutor(tutor_id=f"l{index}", subjects=each) for index, each in enumerate(lists)))
        send("students", student(student_id="nulls", age=None, subjects_interested=None, name='x "y", z\nw'))
        send("students", student(student_id="empty", subjects_interested=[]))
        for stream in (each for each in all_streams() if each.key_of is None):  # the others: movies/tests
            before = client.get(f"/api/{stream.name}").json()["results"]
            exported = text(client.get(f"/api/{stream.name}?format=csv")).encode()
            answer = post(client, f"/api/uploads?stream={stream.name}", exported, "text/csv")
            assert answer.status_code == 201, answer.content
            work_off()
            after = client.get(f"/api/{stream.name}").json()["results"]
            assert client.get("/api/dead-letters").json()["results"] == []
            assert [row.pop("delivery") for row in before] != [row.pop("delivery") for row in after]
            for row in before + after:
                del row["stored_at"]
            assert after == before


class TestFields:
    def test_only_these_in_that_order(self, client: Client, family: None) -> None:
        for stream in all_streams():
            (row,) = client.get(f"/api/{stream.name}").json()["results"]
            names = list(row)[::-3]
            path, query = f"/api/{stream.name}", f"fields={','.join(names)}"
            (part,) = client.get(f"{path}?{query}").json()["results"]
            assert list(part.items()) == [(name, row[name]) for name in names]
            assert list(client.get(f"{path}/{row[stream.key]}?{query}").json().items()) == list(part.items())
            assert lines(client.get(f"{path}?{query}&format=ndjson")) == [part]
            assert list(table(client.get(f"{path}?{query}&format=csv"))[0]) == names

    def test_every_field_alone_is_as_it_is_among_all(
        self, client: Client, family: None, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for stream in all_streams():
            (row,) = client.get(f"/api/{stream.name}").json()["results"]
            for name in row:
                with django_assert_num_queries(2):  # the key, the rows: no field is read later by itself
                    assert client.get(f"/api/{stream.name}?fields={name}").json()["results"] == [{name: row[name]}]

    def test_an_unknown_one_is_400_and_names_those_there_are(self, client: Client, family: None) -> None:
        for path in ("/api/tutors?fields=name,colour", "/api/tutors/T-1001?fields=colour"):
            error = refusal(client.get(path), 400)
            assert list(error["fields"]) == ["fields"]
            assert "experience_level" in error["message"] and "derived_on" not in error["message"]

    def test_a_name_said_twice_counts_once(self, client: Client, family: None) -> None:
        assert client.get("/api/tutors/T-1001?fields=name,name").json() == {"name": "Ada Lovelace"}

    def test_no_other_column_is_read(self, client: Client, family: None) -> None:
        with CaptureQueriesContext(connection) as queries:
            client.get("/api/feedback?fields=overall_rating")
        asked = queries[-1]["sql"]
        assert "overall_rating" in asked and "free_text_feedback" not in asked

    def test_pages_work_without_the_field_they_are_ordered_by(self, client: Client) -> None:
        send("tutors", *(tutor(tutor_id=f"t{index}") for index in range(5)))
        url, names = "/api/tutors?fields=name&page_size=2&ordering=-stored_at", 0
        while url:
            answer = client.get(url).json()
            names += len(answer["results"])
            url = answer["next"]
        assert names == 5


@pytest.mark.django_db(transaction=True)
class TestChanges:
    def test_they_come_in_the_order_of_change(self) -> None:
        client = api()
        for key in ("b", "c", "a"):
            send("tutors", tutor(tutor_id=key))
        rows = client.get("/api/tutors?stored_after=2020-01-01").json()["results"]
        assert [row["tutor_id"] for row in rows] == ["b", "c", "a"]
        by_key = client.get("/api/tutors?stored_after=2020-01-01&ordering=tutor_id").json()["results"]
        assert [row["tutor_id"] for row in by_key] == ["a", "b", "c"]
        rest = client.get(f"/api/tutors?{urlencode({'stored_after': rows[1]['stored_at']})}").json()["results"]
        assert [row["tutor_id"] for row in rest] == ["c", "a"]

    @pytest.mark.postgresql
    @pytest.mark.parametrize(
        "query", ["stored_after=2020-01-01", "ordering=stored_at", "ordering=stored_at&format=ndjson"]
    )
    def test_a_list_ends_before_what_is_being_stored(self, query: str) -> None:
        """Else who remembers the last stored_at would never see a row that is older and committed later."""
        client, path = api(), f"/api/tutors?{query}"
        send("tutors", tutor(tutor_id="before"))
        slow, go_on = threading.Event(), threading.Event()
        thread = threading.Thread(target=_store_slowly, args=(slow, go_on))
        thread.start()
        try:
            assert slow.wait(PATIENCE)
            send("students", student())
            send("tutors", tutor(tutor_id="after"))
            assert _keys(client, path) == ["before"]
            assert _keys(client, "/api/tutors") == ["after", "before"]
        finally:
            go_on.set()
            thread.join()
        assert _keys(client, path) == ["before", "slow", "after"]


def _store_slowly(stored: threading.Event, go_on: threading.Event) -> None:
    """A work transaction that has stored its row and takes its time to commit."""
    from django.db import transaction

    from enrichment.pipeline import upsert
    from tutoring.models import Tutor

    try:
        with transaction.atomic():
            row = Tutor.objects.values().get()
            Tutor.objects.filter(pk="before").select_for_update().exists()
            upsert.store(get("tutors"), [{**row, "tutor_id": "slow"}])
            stored.set()
            go_on.wait(PATIENCE)
    finally:
        connection.close()


def _keys(client: Client, path: str) -> list[str]:
    response = client.get(path)
    rows = lines(response) if "ndjson" in path else response.json()["results"]
    return [row["tutor_id"] for row in rows]


class TestCutShort:
    def test_an_error_leaves_a_line_that_is_no_row(self) -> None:
        def failing() -> Iterator[str]:
            yield '{"a":1}\n'
            raise RuntimeError

        text = with_truncation_marker(failing(), '{"error":"cut')
        assert [next(text), next(text)] == ['{"a":1}\n', '{"error":"cut']
        with pytest.raises(RuntimeError):
            next(text)

    @pytest.mark.postgresql
    @pytest.mark.parametrize("form", TYPES)
    def test_a_list_that_breaks_off_does_not_look_complete(self, new_database: NewDatabase, form: str) -> None:
        url = new_database()
        key = manage("create_api_key", "test", database_url=url).stdout.strip()
        with psycopg.connect(url, autocommit=True) as database:
            database.execute(INSERT_STUDENTS)
            with WebServer(url) as server, ExitStack() as stack:
                address = urlsplit(server.url)
                caller = http.client.HTTPConnection(str(address.hostname), address.port, timeout=PATIENCE)
                stack.callback(caller.close)
                caller.request("GET", f"/api/students?format={form}", headers={"Authorization": f"Api-Key {key}"})
                answer = stack.enter_context(caller.getresponse())
                assert (answer.status, answer.read(1000) != b"") == (200, True)
                database.execute(  # the server has sent what the sockets hold, and waits
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                with pytest.raises(http.client.IncompleteRead) as broken:
                    answer.read()
        last = broken.value.partial.splitlines()[-1].decode()
        assert "cut short" in last
        if form == "ndjson":
            with pytest.raises(ValueError, match="Unterminated"):
                json.loads(last)

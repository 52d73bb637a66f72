"""Files as people have them: what spreadsheets and other programs write, and what becomes of it."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
import zipfile
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.test import Client
from openpyxl import Workbook
from pytest_django import Settings

from enrichment.models import HeldRecord
from ingestion import streams
from ingestion.files import shared_keys
from ingestion.files.formats.local_dates import LocalDates
from ingestion.files.formats.xlsx_reader import read_sheet
from ingestion.files.shared_keys import SharedKeys
from ingestion.models import Delivery, Upload
from tests.api import NDJSON, api, post, refusal
from tests.commands import run
from tests.files import DATE, DATE_AND_TIME, MAIN, csv_of, ndjson_of, read_csv, row, streamed, xlsx_of
from tests.people import browser_of, person
from tests.records import assert_nothing_vanished, send, stored, work_off
from tutoring.tests.factories import session, student, tutor

pytestmark = pytest.mark.django_db

CSV, BYTES = "text/csv", "application/octet-stream"
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
REQUIRED = "tutor_id,name,email,subjects,onboarding_date"


@pytest.fixture
def client() -> Client:
    return api()


def sent(client: Client, stream: str, body: bytes | str, content_type: str = CSV, **query: str) -> Any:
    path = "&".join([f"/api/uploads?stream={stream}", *(f"{name}={value}" for name, value in query.items())])
    return post(client, path, body.encode() if isinstance(body, str) else body, content_type)


def uploaded(client: Client, stream: str, body: bytes | str, content_type: str = CSV, **query: str) -> Any:
    """Uploads it, works it off and returns its progress."""
    response = sent(client, stream, body, content_type, **query)
    assert response.status_code == 201, response.content
    work_off()
    assert_nothing_vanished()
    return client.get(response.json()["uploads"][0]["status_url"]).json()


def previewed(client: Client, stream: str, body: bytes | str, content_type: str = CSV, **query: str) -> Any:
    response = sent(client, stream, body, content_type, dry_run="true", **query)
    assert response.status_code == 200, response.content
    return response.json()["uploads"][0]


def rejected(client: Client, told: Any) -> list[dict[str, str]]:
    return read_csv(streamed(client.get(told["errors_url"])))


# Mistakes about a file as a whole.


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(("name", "content_type"), [("f.ndjson", BYTES), ("f.jsonl.gz", BYTES), ("f", NDJSON)])
def test_a_json_list_is_one_whatever_it_is_called(
    client: Client, indent: int | None, name: str, content_type: str
) -> None:
    body = json.dumps([student(student_id=f"S-{i}") for i in range(4)], indent=indent)
    told = uploaded(client, "students", f"\n {body}", content_type, name=name)
    assert (told["inserted"], told["dead"]) == (4, 0)
    assert Upload.objects.get().format == "json"


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize(("name", "content_type"), [("f.json", BYTES), ("f.jsonl", BYTES), ("f", "application/json")])
def test_an_object_around_the_list_is_refused_by_name(
    client: Client, indent: int | None, name: str, content_type: str
) -> None:
    body = json.dumps({"count": 2, "tutors": [tutor(), tutor(tutor_id="T-2")]}, indent=indent)
    message = refusal(sent(client, "tutors", body, content_type, name=name), 400)["message"]
    assert "“tutors”" in message and "Send the list alone" in message
    assert not Upload.objects.exists()


@pytest.mark.parametrize(("content_type", "write"), [(NDJSON, ndjson_of), ("application/json", json.dumps)])
def test_records_of_another_stream_are_refused_as_a_whole(client: Client, content_type: str, write: Any) -> None:
    sessions = [session(session_id=f"S-{i}") for i in range(3)]
    error = refusal(sent(client, "feedback", write(sessions), content_type), 422)
    assert set(error["fields"]) == {"feedback_id", "overall_rating", "submitted_at"}
    others = [{"film": "Brazil", "year": 1985}]
    message = refusal(sent(client, "students", write(others), content_type), 400)["message"]
    assert "film, year" in message and "student_id" in message
    assert not Upload.objects.exists()


def test_lines_of_json_may_end_with_carriage_returns(client: Client) -> None:
    body = ndjson_of([student(student_id="A"), student(student_id="B", age=1)]).replace(b"\n", b"\r")
    told = uploaded(client, "students", body, NDJSON)
    assert (told["inserted"], told["dead"]) == (1, 1)
    assert [each["row"] for each in rejected(client, told)] == ["2"]


# Encodings, lines and delimiters.

PEOPLE = "student_id;name\r\nA;Zoë Müller\r\nB;François “Frank” Œuvre – 5 €\r\n"


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        (PEOPLE.encode(), "UTF-8"),
        (PEOPLE.encode("utf-8-sig"), "UTF-8"),
        (PEOPLE.encode("utf-16"), "UTF-16"),
        (b"\xfe\xff" + PEOPLE.encode("utf-16-be"), "UTF-16"),
        (PEOPLE.replace(";", "\t").encode("utf-16"), "UTF-16"),
        (PEOPLE.encode("cp1252"), "Windows-1252"),
        (PEOPLE.replace("\r\n", "\r").encode("cp1252"), "Windows-1252"),
        (("sep=;\r\n" + PEOPLE).encode("utf-16"), "UTF-16"),
    ],
)
def test_the_encoding_is_found_and_said(client: Client, body: bytes, encoding: str) -> None:
    preview = previewed(client, "students", body, BYTES)
    told = uploaded(client, "students", body, BYTES)
    assert told["dead"] == 0 and stored("students", "A").name == "Zoë Müller"
    assert preview["encoding"] == told["encoding"] == encoding
    assert any(encoding in note for note in told["file_warnings"]) == (encoding != "UTF-8")
    if told["total"] == 2:
        assert stored("students", "B").name == "François “Frank” Œuvre – 5 €"


@pytest.mark.parametrize("first", ["sep=;\n", "SEP=;\r\n", '\ufeff"sep=;"\r\n'])
def test_the_line_that_names_the_separator_is_no_row(client: Client, first: str) -> None:
    body = first + "student_id;name,age;age\nA;Kim, Lee;7\nB;;7\n"
    told = uploaded(client, "students", body.replace("name,age", "name"))
    assert (told["inserted"], told["dead"]) == (1, 1)
    assert stored("students", "A").name == "Kim, Lee"
    assert [each["row"] for each in rejected(client, told)] == ["3"]


def test_carriage_returns_alone_end_lines(client: Client) -> None:
    told = uploaded(client, "students", b'student_id,name\rA,"Kim\nLee"\r\rB,\rC,Bo\r')
    assert (told["inserted"], told["dead"]) == (2, 1)
    assert stored("students", "A").name == "Kim\nLee"
    assert [each["row"] for each in rejected(client, told)] == ["4"]


def test_a_stray_carriage_return_ends_no_line(client: Client) -> None:
    told = uploaded(client, "students", b"student_id,name\nA,Kim\rLee\nB,Bo\nC,Cy\n")
    assert (told["total"], told["inserted"], told["dead"]) == (3, 2, 1)


SESSION = "session_id;tutor_id;student_id;scheduled_start;duration_minutes;subject;engagement_score\n"


def test_a_decimal_comma_is_read_where_no_comma_separates(client: Client) -> None:
    rows = "S-1;T;S;2025-03-01;60,0;Algebra;0,5\nS-2;T;S;2025-03-01;60;Algebra;0.25\nS-3;T;S;2025-03-01;1.2,5,;a;x\n"
    preview = previewed(client, "sessions", SESSION + rows)
    assert [each["valid"] for each in preview["rows"]] == [True, True, False]
    assert any(note.startswith("engagement_score: decimal commas") for note in preview["file_warnings"])
    tabs = (SESSION + "S-1;T;S;2025-03-01;1,000;Algebra;0,75\n").replace(";", "\t")
    [found] = previewed(client, "sessions", tabs)["rows"]
    assert set(found["errors"]) == {"duration_minutes"}  # a thousand, or one


# Dates.


@pytest.mark.parametrize(
    ("cells", "read"),
    [
        (["31.12.2024", "1.2.2024 9:05"], ["2024-12-31", "2024-02-01T09:05:00"]),
        (["01.05.2024"], ["2024-05-01"]),
        (["12/31/2024", "2/1/2024 3:30 PM"], ["2024-12-31", "2024-02-01T15:30:00"]),
        (["31/12/2024", "1/2/2024"], ["2024-12-31", "2024-02-01"]),
        (["1/2/2024"], ["1/2/2024"]),
        (["1/2/2024", "5/5/2024"], ["1/2/2024", "5/5/2024"]),
        (["5/5/2024"], ["2024-05-05"]),
        (["31/12/2024", "12/31/2024"], ["31/12/2024", "12/31/2024"]),
        (["2024/5/1", "31.2.2024"], ["2024-05-01", "31.2.2024"]),
        (["13/1/2024", "1/1/2024 25:00", "soon"], ["2024-01-13", "1/1/2024 25:00", "soon"]),
        (["31-01-2024 12:00:01 am"], ["2024-01-31T00:00:01"]),
    ],
)
def test_a_local_date_is_read_where_its_column_leaves_one_reading(cells: list[str], read: list[str]) -> None:
    dates = LocalDates()
    for cell in cells:
        dates.see(cell)
    assert [dates.read(cell) for cell in cells] == read


@pytest.mark.parametrize("cell", ["32.13.2024", "31.2.2024", "1/1/2024 25:00"])
def test_a_date_that_there_is_not_decides_nothing(cell: str) -> None:
    dates = LocalDates()
    dates.see(cell)
    assert (dates.note, dates.style, dates.read(cell)) == ("", None, cell)


def test_how_dates_are_read_is_said_and_doubt_is_a_dead_letter(client: Client) -> None:
    body = f"{REQUIRED},created_at\nA,a,a@example.org,Algebra,3/25/2024,4/5/2024\nB,b,b@example.org,Algebra,4/1/2024,\n"
    preview = previewed(client, "tutors", body)
    assert [each["valid"] for each in preview["rows"]] == [False, True]
    assert "onboarding_date: dates are read as MM/DD/YYYY." in preview["file_warnings"]
    assert any(note.startswith("created_at: dates with day and month in doubt") for note in preview["file_warnings"])
    told = uploaded(client, "tutors", body)
    assert (told["inserted"], told["dead"]) == (1, 1)
    assert f"{stored('tutors', 'B').onboarding_date:%Y-%m-%d}" == "2024-04-01"
    assert told["file_warnings"] == preview["file_warnings"]


def test_rejected_rows_that_a_spreadsheet_has_saved_are_stored(client: Client) -> None:
    """As German Excel saves them: semicolons, its own dates, Windows-1252."""
    first = uploaded(client, "tutors", csv_of([tutor(tutor_id="T-1", name="Zoë", location="-5 °C", age=7)]))
    [saved] = rejected(client, first)
    assert saved["location"] == "¬-5 °C"
    saved |= {"age": "27", "created_at": "02.09.2024 09:05", "updated_at": "28.02.2025 18:00"}
    del saved["row"]
    told = uploaded(client, "tutors", csv_of([saved], ";").decode().encode("cp1252"))
    assert (told["inserted"], told["dead"]) == (1, 0)
    assert (stored("tutors", "T-1").location, stored("tutors", "T-1").name) == ("-5 °C", "Zoë")
    assert not HeldRecord.objects.dead().exists()


# Excel.


def test_an_excel_file_is_read(client: Client) -> None:
    header = row(1, *REQUIRED.split(","), "age", "created_at", "location", "Note")
    rows = [
        row(2, 7, "Zoë", "z@example.org", "Algebra, Physics", (45413, DATE), 36, (45413.3784722222, DATE_AND_TIME)),
        row(4, "T-2", "  Bo ", "b@example.org", "Algebra", "2024-05-01", 36.5, None, "=1+1", True),
        row(
            5, "T-3", '<c r="B5" t="str"><f>A1</f><v>Cy</v></c>', "c@example.org", "Algebra", (45413, DATE), 0.3 + 18.7
        ),
        row(6, None, None),
    ]
    body = xlsx_of(People=[header, *rows], Other=[row(1, "x")])
    told = uploaded(client, "tutors", body, EXCEL, name="t.xlsx")
    assert (told["total"], told["inserted"], told["dead"]) == (3, 2, 1)
    assert told["ignored_columns"] == ["Note"] and told["encoding"] == ""
    assert any("“People”" in note and "Other" in note for note in told["file_warnings"])
    first = stored("tutors", "7")
    assert (first.name, first.subjects, first.age) == ("Zoë", ["Algebra", "Physics"], 36)
    assert f"{first.onboarding_date:%Y-%m-%d %H:%M:%S}" == "2024-05-01 00:00:00"
    assert f"{first.created_at:%Y-%m-%d %H:%M:%S}" == "2024-05-01 09:05:00"
    assert (stored("tutors", "T-3").name, stored("tutors", "T-3").age) == ("Cy", 19)
    [wrong] = rejected(client, told)
    assert (wrong["row"], wrong["name"], wrong["age"], wrong["location"], wrong["Note"]) == (
        *("4", "Bo", "36.5", "¬=1+1"),
        "true",
    )
    assert Upload.objects.get().format == "xlsx"


def test_a_sheet_is_chosen_by_its_name(client: Client) -> None:
    people = [row(1, "student_id", "name"), row(2, "S-1", "Kim")]
    body = xlsx_of(Notes=[row(1, "hello")], People=people)
    assert uploaded(client, "students", body, BYTES, sheet="People")["inserted"] == 1
    message = refusal(sent(client, "students", body, BYTES, sheet="Pupils"), 400)["message"]
    assert "Notes, People" in message
    assert "“hello”" in refusal(sent(client, "students", body, BYTES), 400)["message"]
    refusal(sent(client, "students", "student_id,name\nA,b\n", CSV, sheet="People"), 400)


def test_cells_become_what_a_person_would_type() -> None:
    moment = datetime.fromisoformat("2024-05-01T09:05")
    times = moment, moment.date(), moment.time(), timedelta(hours=25, minutes=30)
    book = Workbook()
    book.create_sheet("Hidden", 0).sheet_state = "hidden"
    sheet = book["Sheet"]
    sheet.append([f"column {i}" for i in range(8)])
    sheet.append([])
    sheet.append([*times, True, 1.0, 123456789012345, 0.1 + 0.2])
    sheet.append(["#REF!", "a_x000D_b", "é", None, False, -5, 1e-7])
    book.save(saved := io.BytesIO())
    with ExitStack() as opened:
        read = read_sheet(saved, "", opened)
        read.file.seek(0)
        header, *rows = csv.reader(io.StringIO(read.file.read().decode(), newline=""))
    assert (read.name, read.others, len(header)) == ("Sheet", ["Hidden"], 8)
    assert rows == [
        [],
        [
            *("2024-05-01T09:05:00", "2024-05-01", "09:05:00", "25:30:00"),
            *("true", "1", "123456789012345", "0.3"),
        ],
        ["#REF!", "a\rb", "é", "", "false", "-5", "1e-07", ""],
    ]


def test_a_formula_without_a_value_is_refused_by_its_cell(client: Client) -> None:
    formula = '<c r="B3"><f>A1+1</f></c>'
    body = xlsx_of(People=[row(1, "student_id", "name"), row(2, "S-1", "Kim"), row(3, "S-2", formula)])
    assert "cell B3" in refusal(sent(client, "students", body, EXCEL), 400)["message"]


def _archive(**parts: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(xlsx_of(A=[row(1, "student_id", "name"), row(2, "S", "K")]))) as given:
        files = {name: given.read(name) for name in given.namelist()}
    files |= {name.replace("__", "/").replace("_xml", ".xml"): body for name, body in parts.items()}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in files.items():
            archive.writestr(name, body)
    return out.getvalue()


SHEET = "xl__worksheets__sheet1_xml"


def _sheet(rows: bytes) -> bytes:
    """A workbook whose sheet has these rows."""
    xml = f'<worksheet xmlns="{MAIN}"><sheetData>'.encode() + rows + b"</sheetData></worksheet>"
    return _archive(**{SHEET: xml})


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (_sheet(b" " * 70_000_000), 413, "200 times its size"),
        (_sheet(b"<row>" + b"<c/>" * 20_000 + b"</row>"), 400, "16384 cells"),
        (_sheet(b'<row r="2000000"><c><v>1</v></c></row>'), 400, "row 2000000 comes after row 0"),
        (_sheet(b'<row r="2"/><row r="1"/>'), 400, "row 1 comes after row 2"),
        (_sheet(b"<row><c><v>" + b"1" * 1_100_000 + b"</v></c></row>"), 413, "row 0 of the sheet has more than"),
        (_sheet(b'<row><c r="AAAA1"><v>1</v></c></row>'), 400, "damaged"),
        (_archive(**{SHEET: b'<!DOCTYPE x [<!ENTITY a "b">]><worksheet/>'}), 400, "damaged"),
        (_archive(**{SHEET: b"<worksheet>"}), 400, "damaged"),
        (_archive(xl__workbook_xml=b"<workbook/>"), 400, "no sheet"),
        (_archive(xl__workbook_xml=b" " * 8_000_001), 413, "xl/workbook.xml is too large"),
        (xlsx_of(A=[row(1, "student_id", "name"), '<row r="2"><c t="s"><v>99</v></c></row>']), 400, "damaged"),
        (xlsx_of(A=[row(1, "student_id", "name")])[:-100], 400, "damaged, or protected by a password"),
        (xlsx_of(A=[]), 400, "empty"),
    ],
)
def test_a_workbook_that_is_made_to_hurt_is_refused(client: Client, body: bytes, status: int, says: str) -> None:
    assert says in refusal(sent(client, "students", body, EXCEL), status)["message"]
    assert not Upload.objects.exists()


def test_what_a_workbook_unpacks_to_is_limited(client: Client, settings: Settings) -> None:
    body = xlsx_of(A=[row(1, "student_id", "name"), *(row(i, f"S-{i}", "Kim") for i in range(2, 2000))])
    settings.MAX_UPLOAD_BYTES = 100_000
    assert len(body) < 100_000
    refusal(sent(client, "students", body, EXCEL), 413)


# Cells.


def test_texts_are_tidied_as_identifiers_are(client: Client) -> None:
    rows = [' A1 , "Ada Byron", 12,\u00a05\u200b', "A2,\u00a0,12,5", "A3,Bo,12,NULL", "A4,#NAME?,1,"]
    body = "\n".join(["student_id, name, age, grade_level", *rows])
    told = uploaded(client, "students", body)
    assert (told["inserted"], told["dead"]) == (2, 2)
    assert (stored("students", "A1").name, stored("students", "A1").grade_level) == ("Ada Byron", "5")
    assert stored("students", "A3").grade_level is None
    first, second = rejected(client, told)
    assert "name: " in first["error"] and "name: " in second["error"]
    assert second["name"] == "#NAME?"
    assert uploaded(client, "students", csv_of([second | {"age": "12"}]))["dead"] == 1


@pytest.mark.parametrize(
    ("cell", "subjects"),
    [
        ("Geometry, Calculus,SAT Prep", ["Geometry", "Calculus", "SAT Prep"]),
        ("Geometry\r\nCalculus", ["Geometry", "Calculus"]),
        ("Reading, Writing and Arithmetic", ["Reading, Writing and Arithmetic"]),
        ("Geometry; Knots, Links", ["Geometry", "Knots, Links"]),
    ],
)
def test_a_list_is_split_at_commas_where_each_part_is_known(client: Client, cell: str, subjects: list[str]) -> None:
    uploaded(client, "tutors", csv_of([tutor(subjects=cell)]))
    assert stored("tutors", "T-1001").subjects == subjects


def test_a_list_without_a_catalogue_is_split_at_commas(client: Client) -> None:
    uploaded(client, "students", csv_of([student(student_id="A", subjects_interested="Chess, Go")]))
    assert stored("students", "A").subjects_interested == ["Chess", "Go"]


# Exports that come back.

TEXTS = [
    "=1+1",
    "+49 30 123",
    "-",
    "@x",
    "'=x",
    "¬",
    "¬=1",
    "x;=1",
    "a\n- b",
    " blank ",
    "NULL",
    "＝1",
    "a,\t@b",
    '"=1"',
]


@pytest.mark.parametrize("columns", [None, ("name", "tutor_id", "email", "subjects", "onboarding_date", "location")])
def test_an_export_for_people_that_comes_back_changes_nothing(client: Client, columns: Any) -> None:
    records = [tutor(tutor_id=f"T-{i}", name=text, location=text, subjects=[text, "x"]) for i, text in enumerate(TEXTS)]
    send("tutors", *records)
    before = client.get("/api/tutors").json()["results"]
    body = streamed(browser_of(person("operator")).get("/admin/tutoring/tutor/export/?format=csv"))
    assert body.startswith(b"\xef\xbb\xbf")
    if columns:
        rows = list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline="")))
        body = csv_of([{name: each[name] for name in columns} for each in rows], ";")
    told = uploaded(client, "tutors", body, missing="clear")
    assert told["updated"] == len(TEXTS)
    after = client.get("/api/tutors").json()["results"]
    kept = ("tutor_id", "name", "location", "subjects")
    assert [[each[name] for name in kept] for each in after] == [[each[name] for name in kept] for each in before]


def test_the_api_writes_for_programs_or_for_a_person(client: Client) -> None:
    send("tutors", tutor(name="=1+1"), tutor(tutor_id="T-2", name="¬=1"))
    path = "/api/tutors?format=csv&fields=name&ordering=tutor_id"
    assert streamed(client.get(path)).decode() == "name\r\n=1+1\r\n¬¬=1\r\n"
    assert streamed(browser_of(person("operator")).get(path)).decode() == "\ufeffname\r\n¬=1+1\r\n¬¬=1\r\n"


def test_no_column_of_the_rejected_rows_is_a_formula(client: Client) -> None:
    record = {**tutor(age=7, location="x;=1"), "=cmd|'/C calc'!A0": "=2", "+1": "a\t-b", "x;@y": ""}
    told = uploaded(client, "tutors", csv_of([record]))
    text = streamed(client.get(told["errors_url"])).decode()
    for delimiter in ",;\t":
        for cells in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            assert not [cell for cell in cells if cell[:1] in tuple("=+-@")]
    again = uploaded(client, "tutors", text)
    assert again["ignored_columns"] == told["ignored_columns"] == list(record)[-3:]
    assert json.loads(HeldRecord.objects.latest("pk").payload)["+1"] == "a\t-b"


# Keys that rows share.


@pytest.mark.parametrize("content_type", [CSV, NDJSON])
def test_rows_that_share_a_key_are_reported(client: Client, content_type: str) -> None:
    records = [student(student_id=key, name=str(i)) for i, key in enumerate(["7", "8", "7", "9", "7"])]
    body = csv_of(records) if content_type == CSV else ndjson_of(records)
    assert previewed(client, "students", body, content_type)["shared_keys"] == 3
    told = uploaded(client, "students", body, content_type)
    assert told["shared_keys"] == 3 and any("3 rows share a key" in note for note in told["file_warnings"])


def test_keys_are_counted_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_keys, "MAX_IN_MEMORY", 10_000)
    tracemalloc.start()
    with ExitStack() as opened:
        keys = SharedKeys(opened)
        for number in range(300_000):
            keys.add(f"S-{number % 290_000}")
        assert keys.count() == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


# What stored records would lose.


def stored_session(**changes: Any) -> dict[str, Any]:
    send("tutors", tutor())
    send("students", student())
    record = session(no_show=True, actual_start=None, actual_end=None, session_type="group", **changes)
    send("sessions", record)
    return {name: record[name] for name in ("session_id", *SESSION.strip().split(";")[1:6])}


@pytest.mark.parametrize("content_type", [CSV, NDJSON, "application/json"])
def test_a_file_that_would_clear_fields_is_refused_unless_it_says_so(client: Client, content_type: str) -> None:
    record = stored_session()
    writers: dict[str, Any] = {CSV: csv_of, NDJSON: ndjson_of}
    write = writers.get(content_type, json.dumps)
    body = write([record, record | {"session_id": "new"}])
    error = refusal(sent(client, "sessions", body, content_type), 409)
    assert {"no_show", "session_type"} <= set(error["fields"])
    assert "updated_at" not in error["fields"] and "actual_start" not in error["fields"]
    assert "1 stored record would lose" in error["message"]
    assert stored("sessions", record["session_id"]).no_show
    preview = previewed(client, "sessions", body, content_type)
    assert preview["cleared_records"] == 1 and preview["cleared_fields"]["no_show"] == 1
    assert any("count as newer" in note for note in preview["file_warnings"])
    told = uploaded(client, "sessions", body, content_type, missing="clear")
    assert (told["inserted"], told["updated"]) == (1, 1)
    assert not stored("sessions", record["session_id"]).no_show


def test_a_file_that_clears_nothing_needs_no_choice(client: Client) -> None:
    small = {"student_id": "S-new", "name": "Kim"}
    assert uploaded(client, "students", csv_of([small]))["inserted"] == 1
    assert uploaded(client, "students", csv_of([small | {"name": "Lee"}]))["updated"] == 1
    send("students", student(student_id="S-2"))
    whole = student(student_id="S-2")
    del whole["updated_at"]
    assert uploaded(client, "students", csv_of([whole]))["updated"] == 1


def test_an_interrupted_file_goes_on_without_being_asked_again(client: Client) -> None:
    record = stored_session()
    body = csv_of([record])
    uploaded(client, "sessions", body, missing="clear")
    Upload.objects.update(finished_at=None)
    send("sessions", session(no_show=True, actual_start=None, actual_end=None))
    assert sent(client, "sessions", body).status_code == 201


def test_the_command_and_the_page_offer_the_choice(tmp_path: Path) -> None:
    send("tutors", tutor(age=40, location="Bern"))
    file = tmp_path / "t.csv"
    file.write_text(f"{REQUIRED}\nT-1001,Ada,ada@example.org,Algebra,2024-05-01\n")
    with pytest.raises(CommandError, match=r"1 stored record would lose them\. Use --missing clear"):
        run("ingest_file", str(file), "--stream=tutors")
    operator = browser_of(person("operator"))
    page = "/admin/ingestion/upload/add/"

    def submit(**fields: str) -> Any:
        with open(file, "rb") as content:
            return operator.post(page, {"stream": "tutors", "file": content, **fields})

    assert "1 stored record would lose them" in submit().content.decode()
    assert stored("tutors", "T-1001").age == 40
    assert submit(clear_missing="on").status_code == 302
    assert "Upload" in run("ingest_file", str(file), "--stream=tutors", "--again", "--missing=clear")
    work_off()
    assert stored("tutors", "T-1001").age is None


# Row numbers.


def test_rows_are_numbered_as_a_spreadsheet_does(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ["", "student_id,name", "A,Kim", "", " , ", 'B,"two\nlines"', ",no key", "", "C,", "D,Bo", ""]
    body = "\n".join(rows)
    assert [each["row"] for each in previewed(client, "students", body)["rows"]] == [3, 6, 7, 9, 10]
    told = uploaded(client, "students", body)
    assert [each["row"] for each in rejected(client, told)] == ["7", "9"]
    assert [(each.first_row, json.loads(each.gaps)) for each in Delivery.objects.all()] == [(3, [[1, 2], [3, 1]])]


def test_lines_of_ndjson_are_their_rows(client: Client) -> None:
    body = b"\n" + ndjson_of([student(student_id="A")]) + b"\n\n" + ndjson_of([student(student_id="B", age=1)])
    told = uploaded(client, "students", body, NDJSON)
    assert [each["row"] for each in rejected(client, told)] == ["5"]


@pytest.mark.parametrize("content_type", [CSV, NDJSON, "application/json"])
def test_an_ignored_column_is_named_for_the_file_and_warns_of_no_row(client: Client, content_type: str) -> None:
    """Also not of a row that waited for another record, or was fixed."""
    writers: dict[str, Any] = {CSV: csv_of, NDJSON: ndjson_of}
    write = writers.get(content_type, json.dumps)
    send("tutors", tutor())
    records = [session(session_id=f"S-{i}", Room="B 12", duration_minutes=50 if i == 1 else 60) for i in range(3)]
    preview = previewed(client, "sessions", write(records), content_type)
    warned = [each["row"] for each in preview["rows"] if each["warnings"]]
    told = uploaded(client, "sessions", write(records), content_type)
    assert told["waiting"] == 3 and told["ignored_columns"] == preview["ignored_columns"] == ["Room"]
    send("students", student())
    work_off()
    found = {each.pk: each.warnings for each in stream_rows("sessions")}
    assert [pk for pk, warnings in found.items() if warnings] == ["S-1"] and len(warned) == 1, found
    assert not any("unknown field" in text for warnings in found.values() for text in warnings)


def stream_rows(name: str) -> Any:
    return streams.get(name).model._default_manager.order_by("pk")


def test_unknown_columns_are_named(client: Client) -> None:
    told = uploaded(client, "students", "student_id,name,Grade,Birthday\nA,Kim,5,\n")
    assert told["ignored_columns"] == ["Grade", "Birthday"]
    assert any("Grade (did you mean grade_level?), Birthday" in note for note in told["file_warnings"])
    told = uploaded(client, "students", ndjson_of([student(student_id="B", gradeLevel="5")]), NDJSON)
    assert told["ignored_columns"] == ["gradeLevel"]

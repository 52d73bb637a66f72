"""The rejected rows of a file: corrected in a spreadsheet, which rewrites what it takes for dates and numbers, and
uploaded again.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from django.test import Client

from enrichment.models import HeldRecord
from tests.api import api, post
from tests.files import csv_of, read_csv, row, streamed, xlsx_of
from tests.people import browser_of, person
from tests.records import assert_nothing_vanished, send, stored, work_off
from tutoring.tests.factories import session, student, tutor

pytestmark = pytest.mark.django_db

CSV = "text/csv"
EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.fixture
def client() -> Client:
    return api()


def uploaded(client: Client, stream: str, body: bytes | str, content_type: str = CSV) -> Any:
    data = body.encode() if isinstance(body, str) else body
    response = post(client, f"/api/uploads?stream={stream}&again=true&missing=clear", data, content_type)
    assert response.status_code == 201, response.content
    work_off()
    assert_nothing_vanished()
    return client.get(response.json()["uploads"][0]["status_url"]).json()


def rejected(client: Client, told: Any) -> list[dict[str, str]]:
    return read_csv(streamed(client.get(told["errors_url"])))


def for_people(told: Any) -> str:
    page = browser_of(person("operator")).get(f"/admin/ingestion/upload/{told['id']}/rejected/")
    return streamed(page).decode("utf-8-sig")


def notes(told: Any) -> str:
    return " ".join(told["file_warnings"])


# Dates.


@pytest.mark.parametrize(
    ("saved", "day"),
    [
        ("5/1/2024", "2024-05-01"),
        ("1/5/2024", "2024-05-01"),
        ("05-01-2024", "2024-05-01"),
        ("5/1/2024 0:00", "2024-05-01"),
    ],
)
@pytest.mark.parametrize("left_out", [(), ("row",), ("row", "error")])
def test_one_date_in_doubt_is_read_as_it_was_when_it_was_rejected(
    client: Client, saved: str, day: str, left_out: tuple[str, ...]
) -> None:
    first = uploaded(client, "tutors", csv_of([tutor(age=7, onboarding_date=day)]))
    [back] = rejected(client, first)
    back |= {"age": "27", "onboarding_date": saved}
    told = uploaded(client, "tutors", csv_of([{name: back[name] for name in back if name not in left_out}]))
    assert (told["inserted"], told["dead"]) == (1, 0), rejected(client, told)
    assert f"{stored('tutors', 'T-1001').onboarding_date:%Y-%m-%d}" == day
    assert "onboarding_date: dates are read as" in notes(told)
    assert not HeldRecord.objects.dead().exists()


def test_the_order_of_one_column_holds_for_the_others_and_for_new_dates(client: Client) -> None:
    """The rejected date is corrected to one in doubt: the spreadsheet has written the others, too."""
    records = [
        session(session_id="S-1", scheduled_start="2024-05-01T15:00:00Z", actual_end="2023-01-01"),
        session(
            session_id="S-2", scheduled_start="2024-06-02", actual_start=None, actual_end=None, duration_minutes=400
        ),
    ]
    send("tutors", tutor())
    send("students", student())
    one, two = rejected(client, uploaded(client, "sessions", csv_of(records)))
    one |= {"actual_start": "5/1/2024 3:01 PM", "actual_end": "5/1/2024 4:00 PM"}
    two |= {"scheduled_start": "6/2/2024", "duration_minutes": "60"}
    told = uploaded(client, "sessions", csv_of([one, two]))
    assert told["dead"] == 0, rejected(client, told)
    assert stored("sessions", "S-1").actual_end.isoformat() == "2024-05-01T16:00:00+00:00"
    assert stored("sessions", "S-2").scheduled_start.isoformat() == "2024-06-02T00:00:00+00:00"


def test_a_date_that_no_original_explains_stays_in_doubt(client: Client) -> None:
    first = uploaded(client, "tutors", csv_of([tutor(age=7, onboarding_date="2024-05-01")]))
    [back] = rejected(client, first)
    back |= {"age": "27", "onboarding_date": "6/2/2024"}
    assert uploaded(client, "tutors", csv_of([back]))["dead"] == 1
    back |= {"onboarding_date": "5/1/2024"}
    other = back | {"tutor_id": "T-2", "onboarding_date": "2/1/2024"}
    told = uploaded(client, "tutors", csv_of([back, other]))
    assert (told["inserted"], f"{stored('tutors', 'T-2').onboarding_date:%m-%d}") == (2, "02-01")


# Identifiers and other texts.


@pytest.mark.parametrize(
    ("was", "saved"),
    [
        ("007", "7"),
        ("123456789012345", "1.23457E+14"),
        ("12345678901234567890", "1,23457E+19"),
        ("1.50", "1.5"),
        ("0042.0", "42"),
        ("Łódź-1", "?ód?-1"),
    ],
)
def test_an_id_that_a_spreadsheet_has_changed_is_noticed_by_its_row(client: Client, was: str, saved: str) -> None:
    records = [student(student_id="S-1"), student(student_id=was, age=1), student(student_id="S-3", age=1)]
    back = rejected(client, uploaded(client, "students", csv_of(records)))
    uploaded(client, "students", csv_of([student(student_id="other", age=1)]))  # a newer upload
    back[0] |= {"student_id": saved, "age": "12"}
    told = uploaded(client, "students", csv_of(back))
    assert (told["inserted"], told["dead"]) == (1, 1)
    assert stored("students", was).age == 12
    assert f"“{saved}” is read as “{was}”" in notes(told)


def test_references_and_texts_are_noticed_as_well(client: Client) -> None:
    send("tutors", tutor(tutor_id="007"))
    send("students", student(student_id="0010", grade_level="05"))
    first = uploaded(client, "sessions", csv_of([session(tutor_id="007", student_id="0010", duration_minutes=400)]))
    [back] = rejected(client, first)
    book = xlsx_of(People=[row(1, *back), row(2, *(_typed(name, cell) for name, cell in back.items()))])
    told = uploaded(client, "sessions", book, EXCEL)
    assert (told["inserted"], told["waiting"], told["dead"]) == (1, 0, 0), rejected(client, told)
    assert (stored("sessions", "S-3001").tutor_id, stored("sessions", "S-3001").student_id) == ("007", "0010")


def _typed(name: str, cell: str) -> Any:
    """As Excel takes it: numbers for what looks like one."""
    cell = "60" if name == "duration_minutes" else cell
    return int(cell) if cell.isdecimal() else cell or None


def test_what_was_wrong_or_is_in_doubt_is_not_restored(client: Client) -> None:
    wrong = student(student_id="A", grade_level="0" * 60)
    both = [student(student_id="B", grade_level="07", age=1), student(student_id="C", grade_level="7", age=1)]
    back = rejected(client, uploaded(client, "students", csv_of([wrong, *both])))
    for each in back:
        each |= {"age": "12", "grade_level": each["grade_level"].lstrip("0") or "0"}
    assert uploaded(client, "students", csv_of(back))["inserted"] == 3
    assert [stored("students", key).grade_level for key in "ABC"] == ["0", "7", "7"]


def test_a_file_of_ones_own_is_left_as_it_is(client: Client) -> None:
    """The ID 7 beside a rejected 007: nothing says that the row is that one."""
    uploaded(client, "students", csv_of([student(student_id="007", age=1)]))
    told = uploaded(client, "students", csv_of([student(student_id="7")]))
    assert told["inserted"] == 1 and stored("students", "7") and "is read as" not in notes(told)


# As sent.

LOCAL = (
    "session_id;tutor_id;student_id;scheduled_start;duration_minutes;subject;engagement_score;no_show;actual_start\n"
)


def test_people_get_rejected_rows_as_their_file_has_them(client: Client) -> None:
    rows = [
        "S-1;T-1001;S-1;25.03.2024 09:05;60;Algebra;0,5;nein;",
        "S-2;T-1001;S-1;01.02.2024 15:00;400;Algebra;0,25;no;02.02.2024 15:01:30",
        "S-3;T-1001;S-1;2024-03-01T10:00:00Z;400;Algebra;1;yes;",
    ]
    told = uploaded(client, "sessions", LOCAL + "\n".join(rows))
    first, *found = for_people(told).splitlines()
    assert first == f"row;error;{LOCAL.strip()}"
    assert [each[each.index("S-") :] for each in found] == rows
    assert rejected(client, told)[1]["engagement_score"] == "0.25"


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["31/12/2024", "1/2/2024"], ["31/12/2024", "1/2/2024"]),
        (["12/31/2024 3:00 PM", "01/02/2024 12:30 AM"], ["12/31/2024 3:00 PM", "01/02/2024 12:30 AM"]),
        (["1.2.2024", "10.2.2024"], ["1.2.2024", "10.2.2024"]),
        (["2024/2/1", "2024/2/3"], ["2024-02-01", "2024-02-03"]),
        (["2024-02-01", "32.13.2024", "2024-02-03T10:00:00"], ["2024-02-01", "32.13.2024", "2024-02-03T10:00:00"]),
        (["2024-02-01", "25.3.2024"], ["2024-02-01", "2024-03-25"]),
        (["31/12/2024", "31.12.2024"], ["2024-12-31", "2024-12-31"]),
        (["2024-02-01", "2024-02-03T10:00:00+02:00"], ["2024-02-01", "2024-02-03T10:00:00+02:00"]),
    ],
)
def test_rejected_dates_come_back_as_sent_and_are_read_alike(
    client: Client, cells: list[str], found: list[str]
) -> None:
    records = [tutor(tutor_id=f"T-{i}", age=7, onboarding_date=cell) for i, cell in enumerate(cells)]
    told = uploaded(client, "tutors", csv_of(records))
    back = rejected(client, told)
    assert [each["onboarding_date"] for each in back] == found
    before = payloads()
    for each in back:  # one by one, so that no other row says which is the month
        uploaded(client, "tutors", csv_of([each]))
    assert payloads() == before * 2


def test_without_an_id_a_date_in_doubt_is_written_without_doubt(client: Client) -> None:
    records = [tutor(tutor_id="", onboarding_date="1/2/2024"), tutor(tutor_id="", onboarding_date="31/12/2024")]
    back = rejected(client, uploaded(client, "tutors", csv_of(records)))
    assert [each["onboarding_date"] for each in back] == ["2024-02-01", "31/12/2024"]


def payloads() -> list[Any]:
    return [json.loads(each) for each in HeldRecord.objects.order_by("pk").values_list("payload", flat=True)]


def test_a_text_where_a_date_should_be_is_no_formula(client: Client) -> None:
    told = uploaded(
        client, "tutors", csv_of([tutor(onboarding_date="=1+1"), tutor(onboarding_date="31.12.2024", age=7)])
    )
    assert [each["onboarding_date"] for each in rejected(client, told)] == ["¬=1+1", "31.12.2024"]
    for line in csv.reader(io.StringIO(for_people(told))):
        assert not [cell for cell in line if cell.startswith("=")]

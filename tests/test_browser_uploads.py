"""Uploading in a real browser, with a real web server and cluster: from choosing a file to all of its rows stored."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from openpyxl import Workbook
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.api import ask
from tests.files import csv_of, read_csv
from tests.servers import PATIENCE, Cluster, WebServer
from tests.system import System
from tutoring.tests.factories import tutor

WIDE: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}


@pytest.fixture
def web(new_database: Callable[[], str]) -> Iterator[tuple[System, str]]:
    """Without a cluster at first, so that there is something to wait for."""
    database_url = new_database()
    with WebServer(database_url) as server:
        yield System(server, database_url), database_url


def complaints(page: Page) -> list[str]:
    """What the browser complains of from now on."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def choose(system: System, page: Page, file: Path, button: str = "Preview") -> None:
    page.goto(f"{system.url}/admin/ingestion/upload/add/")
    page.get_by_label("Record type").select_option("tutors")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name=button, exact=True).click()


def assert_fits(page: Page) -> None:
    width = page.evaluate("innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, (page.url, width)


def test_an_operator_uploads_a_file_and_sees_it_go(web: tuple[System, str], page: Page, tmp_path: Path) -> None:
    errors = complaints(page)
    system, database_url = web
    rows = [tutor(tutor_id=f"T-{i}", age=7 if i == 3 else 30) for i in range(1, 41)]
    file = tmp_path / "people.csv"
    file.write_bytes(csv_of(rows))

    system.log_in(page, "operator")
    page.get_by_role("link", name="Uploads").click()
    page.get_by_role("link", name="Upload a file").click()
    choose(system, page, file)
    expect(page.get_by_role("heading", name="Preview of people.csv")).to_be_visible()
    expect(page.get_by_text("No workers running")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^4 T-3 invalid age"))).to_be_visible()

    page.get_by_role("button", name="Upload", exact=True).click()  # without the check
    expect(page.get_by_text("Uploaded people.csv.")).to_be_visible()
    expect(page.get_by_text("processing", exact=True)).to_be_visible()
    with Cluster(database_url):
        expect(page.get_by_text("completed")).to_be_visible()  # nobody reloads
    expect(page.get_by_text("100.0%")).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("link", name="Download the 1 rejected row").click()
    [rejected] = read_csv(download.value.path().read_bytes().removeprefix(b"\xef\xbb\xbf"))
    assert (rejected["row"], rejected["tutor_id"], rejected["age"]) == ("4", "T-3", "7")
    page.get_by_role("link", name="1", exact=True).click()
    expect(page.get_by_role("link", name="T-3")).to_be_visible()

    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        for path in ("", "add/", "1/change/"):
            page.goto(f"{system.url}/admin/ingestion/upload/{path}")
            assert_fits(page)
    assert not errors


# 200 rows as people have them, of which 15 are wrong.

HEADER = ["Tutor ID", "Name", "E-Mail", "Subjects", "Onboarding Date", "Alter"]
Rows = list[list[Any]]


def rows_of(ages: Callable[[int], int]) -> Rows:
    return [
        [f"T-{i:03}", f"Zoë Müller {i}", f"zoe{i}@example.org", "Algebra", date(2024, 5, 1 + i % 28), ages(i)]
        for i in range(200)
    ]


def excel(path: Path) -> Path:
    workbook = Workbook()
    sheet: Any = workbook.active
    for row in [HEADER, *rows_of(lambda i: 7 if i % 13 == 5 else 30)]:
        sheet.append(row)
    workbook.save(path / "tutors.xlsx")
    return path / "tutors.xlsx"


def windows(path: Path) -> Path:
    """As a German Excel saves CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=";")
    writer.writerow(HEADER)
    for row in rows_of(lambda i: 7 if i % 13 == 5 else 30):
        writer.writerow([f"{each:%d.%m.%Y}" if isinstance(each, date) else each for each in row])
    (path / "tutors.csv").write_bytes(text.getvalue().encode("cp1252"))
    return path / "tutors.csv"


def corrected(rejected: bytes, path: Path, encoding: str) -> Path:
    """The rejected rows with the ages corrected, as a spreadsheet saves them."""
    text = rejected.decode("utf-8-sig")
    delimiter = ";" if text.startswith("row;") else ","
    header, *rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    age = header.index("Alter")
    for row in rows:
        assert row[age] == "7"
        row[age] = "27"
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=delimiter).writerows([header, *rows])
    (path / "corrected.csv").write_bytes(out.getvalue().encode(encoding))
    return path / "corrected.csv"


@pytest.mark.parametrize(("kind", "size"), [("excel", PHONE), ("windows", WIDE)])
def test_from_the_chooser_to_all_rows_stored(
    web: tuple[System, str], page: Page, tmp_path: Path, kind: str, size: ViewportSize
) -> None:
    errors = complaints(page)
    system, database_url = web
    write, encoding = {"excel": (excel, "utf-8"), "windows": (windows, "cp1252")}[kind]
    page.set_viewport_size(size)
    system.log_in(page, "operator")
    with Cluster(database_url):
        choose(system, page, write(tmp_path))
        # A column that nobody knows is mapped once; until then it is ignored.
        expect(page.get_by_text("200 will be stored, 0 rejected")).to_be_visible(timeout=PATIENCE * 1000)
        assert_fits(page)
        page.get_by_label("Alter").select_option("age")
        page.get_by_role("button", name="Apply mapping", exact=True).click()

        expect(page.get_by_text("185 will be stored, 15 rejected")).to_be_visible(timeout=PATIENCE * 1000)
        group = page.get_by_role("row", name=re.compile("15 age must be at least 18"))
        expect(group).to_contain_text("row 7: 7")
        assert_fits(page)
        page.get_by_role("button", name="Upload", exact=True).click()
        expect(page.get_by_text("completed, 15 rejected")).to_be_visible(timeout=PATIENCE * 1000)
        assert_fits(page)

        with page.expect_download() as download:
            page.get_by_role("link", name="Download the 15 rejected rows").click()
        file = corrected(download.value.path().read_bytes(), tmp_path, encoding)
        choose(system, page, file)
        # The mapping is remembered, and said.
        expect(page.get_by_text("“Alter” to age")).to_be_visible()
        expect(page.get_by_text("15 will be stored, 0 rejected")).to_be_visible(timeout=PATIENCE * 1000)
        page.get_by_role("button", name="Upload", exact=True).click()
        expect(page.get_by_text("completed", exact=True)).to_be_visible(timeout=PATIENCE * 1000)
    status, _, answer = ask(f"{system.url}/api/tutors?count=true&page_size=200", system.key)
    assert (status, answer["count"]) == (200, 200)
    found = {row["tutor_id"]: row for row in answer["results"]}
    assert found["T-005"]["name"] == "Zoë Müller 5" and found["T-005"]["age"] == 27
    assert found["T-027"]["onboarding_date"].startswith("2024-05-28") and found["T-027"]["age"] == 30
    assert not errors


def test_it_works_without_script(web: tuple[System, str], browser: Browser, tmp_path: Path) -> None:
    """What renews itself with script is there after a reload without."""
    system, database_url = web
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    system.log_in(page, "operator")
    choose(system, page, excel(tmp_path))
    expect(page.get_by_text("0 of 200 rows checked")).to_be_visible()
    with Cluster(database_url):

        def is_checked() -> bool:
            page.reload()
            return page.get_by_text("200 will be stored, 0 rejected").is_visible()

        system.until(is_checked, "all rows are checked")
    page.get_by_label("Alter").select_option("age")
    page.get_by_role("button", name="Apply mapping", exact=True).click()
    expect(page.get_by_text("“Alter” to age")).to_be_visible()
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_text("Uploaded tutors.xlsx.")).to_be_visible()
    context.close()

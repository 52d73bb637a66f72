"""Uploading in a real browser, with a real web server and cluster: form, preview, progress that moves by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.files import csv_of, read_csv
from tests.servers import Cluster, WebServer
from tests.system import System
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.xdist_group("cluster")


@pytest.fixture
def web(new_database: Callable[[], str]) -> Iterator[tuple[System, str]]:
    """Without a cluster at first, so that there is something to wait for."""
    database_url = new_database()
    with WebServer(database_url) as server:
        yield System(server, database_url), database_url


def test_an_operator_previews_and_uploads_a_file_and_sees_it_go(
    web: tuple[System, str], page: Page, tmp_path: Path
) -> None:
    system, database_url = web
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    rows = [tutor(tutor_id=f"T-{i}", age=7 if i == 3 else 30) for i in range(1, 41)]
    file = tmp_path / "people.csv"
    file.write_bytes(csv_of(rows))

    system.log_in(page, "operator")
    page.get_by_role("link", name="Uploads").click()
    page.get_by_role("link", name="Upload a file").click()
    page.get_by_label("Record type").select_option("tutors")
    page.get_by_label("File", exact=True).set_input_files(file)
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("39 valid, 1 invalid")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("^4 T-3 invalid age"))).to_be_visible()
    assert page.url.endswith("/add/")

    page.get_by_role("button", name="Upload", exact=True).click()  # the form still has the file
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
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)
    assert not errors

"""The operator's round in a real browser, with a real web server and cluster: from what failed to what is stored."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.servers import Cluster, WebServer
from tests.system import System
from tutoring.tests.factories import tutor


@pytest.fixture
def system(new_database: Callable[[], str]) -> Iterator[System]:
    database_url = new_database()
    with WebServer(database_url) as web, Cluster(database_url):
        yield System(web, database_url)


@pytest.fixture
def page(page: Page) -> Iterator[Page]:
    """A page that may write nothing into the console: the browser tells there what the policy has forbidden."""
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    yield page
    assert not told


def test_an_operator_fixes_a_dead_letter_and_finds_it_stored(system: System, page: Page) -> None:
    system.post(tutor(tutor_id="T-1"), tutor(tutor_id="T-2", age=7, name="<b>Ada</b>"))
    system.log_in(page, "operator")

    matrix = page.get_by_role("region", name="Dead letters by code")
    matrix.get_by_role("row", name=re.compile("^invalid")).get_by_role("link", name="1", exact=True).first.click()
    page.get_by_role("link", name="T-2").click()
    expect(page.get_by_role("heading", name="Tutor T-2")).to_be_visible()
    expect(page.get_by_text("must be at least 18").first).to_be_visible()

    page.get_by_role("link", name="Fix…").click()
    payload = page.get_by_label("Payload")
    text = payload.input_value()
    assert '"age": 7' in text
    payload.fill(text.replace('"age": 7', '"age": "seven"'))
    page.get_by_role("button", name="Save and reprocess").click()
    expect(page.get_by_text("Not saved")).to_be_visible()
    line = 1 + text[: text.index('"age"')].count("\n")
    page.get_by_role("link", name=f"line {line}").click()
    assert page.evaluate("getSelection().toString()").strip() == '"age": "seven",'
    expect(page.get_by_text("must be a whole number; got 'seven'")).to_be_visible()

    age = page.get_by_label("age", exact=True)
    expect(age).to_have_value("seven")
    age.fill("27")
    age.press("Enter")
    expect(page.get_by_text("Valid – not saved yet.")).to_be_visible()
    expect(page.get_by_role("region", name="Changes").get_by_role("insertion")).to_contain_text('"age": 27,')
    page.get_by_role("button", name="Save and reprocess").click()
    expect(page.get_by_text("Queued for reprocessing: 1 failed record")).to_be_visible()

    system.until(lambda: system.stored("T-2"), "the fixed tutor is stored")
    row = system.stored("T-2")
    assert (row["age"], row["name"]) == (27, "<b>Ada</b>")

    page.get_by_role("link", name=re.compile("^bulk action")).first.click()
    page.reload()
    for told in ("user:operator", "1 inserted"):
        expect(page.get_by_text(told, exact=True)).to_be_visible()

    page.get_by_role("link", name="Dead letters").click()
    expect(page.get_by_text("No dead letters")).to_be_visible()
    page.get_by_role("link", name=re.compile("failed records$", re.IGNORECASE)).first.click()
    page.get_by_role("link", name="T-2").click()
    expect(page.get_by_text("(inserted)")).to_be_visible()
    for told in ("Fixed.", "Reprocessed (bulk action 1)"):
        expect(page.get_by_role("cell", name=told)).to_be_visible()
    page.get_by_role("link", name="T-2", exact=True).click()  # its row
    expect(page.get_by_text("T-2").first).to_be_visible()
    assert "/admin/tutoring/tutor/" in page.url


def test_an_operator_fixes_two_hundred_at_once_and_sees_them_stored(system: System, page: Page) -> None:
    """Also the second thing to do: what is left is reprocessed, failed again, and found from the bulk action's page."""
    right = [tutor(tutor_id=f"T-{number}", status="retired") for number in range(200)]
    system.post(*right, *[tutor(tutor_id=f"B-{number}", status="retired", age=7) for number in range(2)])
    system.log_in(page, "operator")
    page.goto(f"{system.url}/admin/enrichment/deadletter/?stream=tutors&code=invalid")
    page.get_by_role("button", name="Fix all 202…").click()
    expect(page.get_by_label("Old value")).to_be_hidden()  # not asked for to set a field
    page.get_by_label("Replace one value with another").check()
    page.get_by_label("Field", exact=True).select_option("status")
    page.get_by_label("Old value").fill("retired")
    page.get_by_label("New value").fill("inactive")
    page.get_by_role("button", name="Preview").click()
    expect(page.get_by_text("200 of 202 become valid. 2 still invalid.")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile('"retired" "inactive" valid'))).to_have_count(8)
    page.get_by_role("button", name="Fix and reprocess 200").click()
    expect(page.get_by_text("Fixed and queued for reprocessing: 200 failed records")).to_be_visible()
    expect(page.get_by_text('replace status "retired" with "inactive"')).to_be_visible()
    expect(page.get_by_text("200 inserted · 2 unchanged")).to_be_visible()  # without a reload
    expect(page.get_by_text("200 of 200")).to_be_visible()
    assert system.stored("T-199")["status"] == "inactive"

    page.get_by_role("link", name="matching dead letters").click()
    page.get_by_role("button", name="Reprocess all 2…").click()
    page.get_by_role("button", name="Reprocess 2").click()
    expect(page.get_by_text("all 2 failed again")).to_be_visible()
    page.get_by_role("link", name="tutor B-1").click()
    expect(page.get_by_text("must be at least 18").first).to_be_visible()


def test_an_operator_reprocesses_and_discards_all_that_match(system: System, page: Page) -> None:
    system.post(*[tutor(tutor_id=f"T-{number}", age=7) for number in range(120)])
    system.log_in(page, "operator")
    page.goto(f"{system.url}/admin/enrichment/deadletter/?code=invalid")
    page.get_by_role("button", name="Reprocess all 120…").click()
    expect(page.get_by_role("heading", name="Reprocess 120 failed records?")).to_be_visible()
    page.get_by_role("button", name="Reprocess 120").click()
    expect(page.get_by_text("Queued for reprocessing: 120 failed records")).to_be_visible()
    system.until(lambda: not any(system.stats()["queues"].values()), "they are processed")
    page.reload()
    expect(page.get_by_text("all 120 failed again")).to_be_visible()

    page.goto(f"{system.url}/admin/enrichment/deadletter/")
    page.locator("select[name=action]").select_option("discard")
    for box in page.locator("input.action-select").all()[:2]:
        box.check()
    page.get_by_role("button", name="Go").click()
    expect(page.get_by_role("heading", name="Discard 2 failed records?")).to_be_visible()
    page.get_by_label("Reason").fill("made for a test")
    page.get_by_role("button", name="Discard 2").click()
    expect(page.get_by_text("made for a test")).to_be_visible()
    assert system.stats()["dead_letters"] == 118


def test_a_viewer_reads_and_finds_no_button(system: System, page: Page) -> None:
    system.post(tutor(tutor_id="T-1"), tutor(tutor_id="T-2", age=7, name="x" * 200))
    system.log_in(page, "viewer")
    page.get_by_role("link", name="Dead letters").first.click()
    expect(page.get_by_role("button", name=re.compile("Reprocess|Discard|Go"))).to_have_count(0)
    page.get_by_role("link", name="T-2").click()
    expect(page.get_by_text("must be at least 18").first).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("Reprocess|Discard"))).to_have_count(0)
    expect(page.get_by_role("link", name="Fix…")).to_have_count(0)

    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        for path in ("", "enrichment/deadletter/", "enrichment/deadletter/1/change/", "ingestion/delivery/1/change/"):
            page.goto(f"{system.url}/admin/{path}")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, (path, width)

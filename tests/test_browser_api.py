"""The API and its documentation in a browser, under the strict Content-Security-Policy."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import ConsoleMessage, Page, expect

from conftest import NewDatabase
from tests.servers import WebServer, manage
from tutoring.tests.factories import tutor

PASSWORD = "correct horse"


@pytest.fixture
def database(new_database: NewDatabase) -> str:
    return new_database()


@pytest.fixture
def site(database: str) -> Iterator[str]:
    user = ("--noinput", "--username=ada", "--email=ada@example.com")
    manage("createsuperuser", *user, database_url=database, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    with WebServer(database) as server:
        yield server.url


@pytest.fixture
def complaints(page: Page, site: str) -> Iterator[list[str]]:
    """What the console complains of, statuses of answers apart, and hosts that are asked and not ours."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "responded with a status of" not in message.text:
            found.append(message.text)

    def note_host(url: str) -> None:
        if urlsplit(url).scheme in ("http", "https") and not url.startswith(site):
            found.append(url)

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("request", lambda request: note_host(request.url))
    yield found
    assert found == []


def test_a_member_of_staff_posts_a_record_in_the_browser(page: Page, site: str, complaints: list[str]) -> None:
    page.goto(f"{site}/api/tutors")
    expect(page.get_by_text("401 Unauthorized")).to_be_visible()
    page.get_by_role("link", name="log in", exact=True).click()
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("200 OK")).to_be_visible()

    content = page.get_by_role("textbox", name="Content:")  # filled in with an example
    content.fill(content.input_value().replace(str(tutor()["age"]), '"old"'))
    page.get_by_role("button", name="POST").click()
    expect(page.get_by_text("422 Unprocessable Entity")).to_be_visible()
    assert '"old"' in content.input_value()
    content.fill(content.input_value().replace('"old"', "40"))
    page.get_by_role("button", name="POST").click()
    expect(page.get_by_text("202 Accepted")).to_be_visible()

    page.get_by_role("link", name=f"{site}/api/deliveries/1").click()
    expect(page.get_by_text('"count": 1')).to_be_visible()


def test_a_batch_as_lines_is_posted_in_the_browser(page: Page, site: str, complaints: list[str]) -> None:
    page.goto(f"{site}/admin/login/?next=/api/tutors/batch")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("Media type").select_option("application/x-ndjson")
    page.get_by_role("textbox", name="Content:").fill('{"tutor_id": 5}\n{}')
    page.get_by_role("button", name="POST").click()
    expect(page.get_by_text("422 Unprocessable Entity")).to_be_visible()
    expect(page.get_by_text('"index": 1')).to_be_visible()


def test_home_leads_to_the_documentation(page: Page, site: str, complaints: list[str]) -> None:
    page.goto(site)
    page.get_by_role("link", name="API documentation").click()
    expect(page.get_by_text("/api/feedback/batch")).to_be_visible()
    page.goto(site)
    page.get_by_role("link", name="one page").click()
    heading = page.get_by_role("heading", name="Progress and outcomes of one of your deliveries")
    expect(heading).to_be_visible()  # it is a long page
    expect(page.get_by_text("API docs by Redocly")).to_be_visible()
    expect(page.get_by_alt_text("redocly logo")).to_have_count(0)


def test_the_guide_is_found_and_fits_a_telephone(page: Page, site: str, complaints: list[str]) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(f"{site}/docs")
    expect(page.get_by_role("link", name="Client guide")).to_have_attribute("href", "/guide")
    page.goto(site)
    page.get_by_role("link", name="Client guide").click()
    expect(page.get_by_role("heading", name="Client guide")).to_be_visible()
    page.get_by_role("link", name="Retries").first.click()
    expect(page.get_by_role("heading", name="Retries")).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") == 390  # what is wider scrolls inside itself
    wide = page.locator("pre, table").evaluate_all("all => all.filter(one => one.scrollWidth > one.clientWidth).length")
    assert wide > 10


def test_a_request_is_tried_with_an_api_key(page: Page, site: str, database: str, complaints: list[str]) -> None:
    key = manage("create_api_key", "docs", database_url=database).stdout.strip()
    page.goto(f"{site}/docs")
    page.get_by_role("button", name="Authorize").first.click()
    page.get_by_label("Value:").fill(key)  # without the scheme
    page.get_by_role("button", name="Apply credentials").click()
    page.get_by_role("button", name="Close").last.click()
    operation = page.locator("#operations-tutors-post_tutors")
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table").get_by_text('"queued": true')).to_be_visible()

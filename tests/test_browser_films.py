"""A person's films in a real browser, with a real web server and cluster, and a server that stands in for TMDB."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from conftest import NewDatabase
from standins import tmdb
from standins.export import write_export
from standins.films import FILMS
from standins.server import Server, error
from tests.servers import PATIENCE, Cluster, WebServer
from tests.system import System

WIDTHS = (320, 390, 768, 1280)
DONE = "All films looked up"


class Site(NamedTuple):
    system: System
    service: Server
    database_url: str
    environment: dict[str, str]

    def cluster(self) -> Cluster:
        return Cluster(self.database_url, **self.environment)


@pytest.fixture
def site(new_database: NewDatabase) -> Iterator[Site]:
    """Without a cluster at first, so that there is something to wait for."""
    database_url = new_database()
    with tmdb.start(FILMS) as service:
        environment = {"TMDB_URL": service.url, "TMDB_API_KEY": "any", "TMDB_RATE": "50/1", "PUBLIC_UPLOADS": "true"}
        with WebServer(database_url, **environment) as web:
            yield Site(System(web, database_url), service, database_url, environment)


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return write_export(tmp_path / "letterboxd-demo.zip")


@pytest.fixture
def said(page: Page) -> list[str]:
    """What the pages complain of: in the console (as of what their policy forbids), and of their script."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    return said


def upload(page: Page, site: Site, export: Path) -> None:
    """From the file chooser to the page of the films."""
    page.goto(f"{site.system.url}/uploads")
    with page.expect_file_chooser() as chooser:
        page.get_by_label("Export").click()
    chooser.value.set_files(export)
    page.get_by_role("button", name="Upload").click()
    expect(page.get_by_role("heading", name="Your films", exact=True)).to_be_visible()


def number(page: Page, what: str) -> int:
    found = re.search(rf"([\d,]+) {what}", page.locator("#progress").inner_text())
    return int(found[1].replace(",", "")) if found else 0


def faults(page: Page) -> list[str]:
    """What axe-core calls serious or critical, and what makes the page wider than the screen."""
    wrong = [
        f"{found['id']}: {found['nodes'][0]['html'][:200]}"
        for found in Axe().run(page, options={"preload": False}).response["violations"]
        if found["impact"] in ("serious", "critical")
    ]
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        if page.evaluate("document.documentElement.scrollWidth") > width:
            wrong.append(f"wider than {width}")
    return wrong


def test_from_the_file_chooser_to_the_films(site: Site, page: Page, export: Path, said: list[str]) -> None:
    upload(page, site, export)
    link = page.url
    expect(page.locator("#progress")).to_contain_text("0 of 318 lines read")
    assert faults(page) == []
    with site.cluster():
        expect(page.get_by_role("heading", name="Just found")).to_be_visible()  # nobody reloads
        expect(page.get_by_role("heading", name=DONE)).to_be_visible()
    films, found = number(page, "films"), number(page, "found")
    assert films == found + number(page, "unsure") + number(page, "not found")
    assert found > 90
    assert page.get_by_role("progressbar").count() == 0
    for name in ("Release years", "Ratings", "Decades"):
        expect(page.locator("figcaption", has_text=name)).to_be_visible()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert faults(page) == []

    # A bar leads to its films, as does the table below it, and a day of the calendar.
    page.locator("svg a", has=page.locator("title", has_text=re.compile(r"^5 ★: "))).locator("rect").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(re.compile(r"\d+ of \d+"))
    best = page.locator(".film")
    expect(best.first).to_be_visible()
    assert page.locator('.film [aria-label="5 of 5 stars"]').count() == best.count()
    assert faults(page) == []
    page.goto(link)
    page.locator("svg.calendar a").first.locator("rect").click()
    expect(page.locator(".film").first).to_be_visible()
    page.goto(link)
    page.get_by_role("row", name=re.compile("^Akira Kurosawa")).first.get_by_role("link").click()
    expect(page.get_by_role("link", name="Remove Director: Akira Kurosawa")).to_be_visible()
    expect(page.locator(".film", has_text="Akira Kurosawa").first).to_be_visible()

    assert page.request.get(f"{site.system.url}/uploads/deleted").status == 200
    page.get_by_role("link", name="Delete my data").click()
    assert faults(page) == []
    page.get_by_label("Delete everything").check()
    page.get_by_role("button", name="Delete my data").click()
    expect(page.get_by_role("heading", name="Your data has been deleted")).to_be_visible()
    assert page.request.get(link).status == 404
    assert not said


def test_from_an_operators_file_chooser_to_the_persons_page(
    site: Site, page: Page, export: Path, said: list[str]
) -> None:
    site.system.log_in(page, "operator")
    page.get_by_role("link", name="Uploads").click()
    page.get_by_role("link", name="Upload a file").click()
    with page.expect_file_chooser() as chooser:
        page.get_by_label("File", exact=True).click()
    chooser.value.set_files(export)
    page.get_by_label("Library").fill("anna")
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("heading", name="Progress")).to_be_visible()
    with site.cluster():
        expect(page.get_by_text("100.0%")).to_be_visible()  # nobody reloads
    expect(page.locator("dd", has_text=re.compile(r"^112, of these \d+ found"))).to_be_visible()
    page.get_by_role("link", name="Open", exact=True).click()
    expect(page.get_by_role("heading", name=DONE)).to_be_visible()
    expect(page.get_by_text("anna", exact=True)).to_be_visible()
    assert not said


def test_from_several_matches_to_the_chosen_one(site: Site, page: Page, export: Path, said: list[str]) -> None:
    with site.cluster():
        upload(page, site, export)
        link = page.url
        expect(page.get_by_role("heading", name=DONE)).to_be_visible()
        asked = unmatched(page, "ambiguous", "Swan Song")  # two links, and two films of that title and year
        unfold(page, "Unsure match")
        expect(asked.first.locator(".candidates strong", has_text="Swan Song").first).to_be_visible()
        assert asked.count() == 2
        assert page.get_by_role("link", name="Choose in the admin").count() == 0  # not for everybody
        before = number(page, "unsure")

        site.system.log_in(page, "operator")
        page.goto(link)
        unfold(page, "Unsure match")
        asked.first.get_by_role("link", name="Choose in the admin").click()
        page.locator(".card", has_text="Todd Stephens").get_by_role("button", name="Choose").click()
        expect(page.locator(".decided")).to_contain_text("operator")

        site.system.until(
            lambda: "Todd Stephens" in page.request.get(f"{link}/films?q=Swan+Song").text(), "it is known"
        )
        page.goto(link)
        assert number(page, "unsure") == before - 1
        unfold(page, "Unsure match")
        expect(asked).to_have_count(1)
    assert not said


def unfold(page: Page, name: str) -> None:
    part = page.locator(".problems > details", has=page.get_by_role("heading", name=re.compile(f"^{name}")))
    if part.get_attribute("open") is None:
        part.locator("> summary").click()


def unmatched(page: Page, match: str, title: str) -> Locator:
    return page.locator(f"details:has(#{match}) .unmatched > li", has_text=title)


def test_without_script_and_on_a_phone(site: Site, browser: Browser, page: Page, export: Path) -> None:
    with site.cluster():
        upload(page, site, export)
        expect(page.get_by_role("heading", name=DONE)).to_be_visible()
    context = browser.new_context(viewport={"width": 390, "height": 844}, java_script_enabled=False)
    context.set_default_timeout(PATIENCE * 1000)
    phone = context.new_page()
    phone.goto(page.url)
    expect(phone.locator("figcaption", has_text="Ratings")).to_be_visible()
    phone.get_by_role("link", name="All films").click()
    phone.locator("summary", has_text="More filters").click()
    phone.get_by_label("Genre", exact=True).select_option("Animation")
    phone.get_by_label("Sort by", exact=True).select_option("rating")
    phone.get_by_role("button", name="Show").click()
    expect(phone.get_by_role("link", name="Remove Genre: Animation")).to_be_visible()
    expect(phone.get_by_label("Genre", exact=True)).to_be_visible()  # unfolded, as a filter in it is set
    expect(phone.get_by_label("Genre", exact=True)).to_have_value("Animation")
    assert phone.locator(".film").count() > 1
    phone.get_by_role("link", name="Remove Genre: Animation").click()
    expect(phone.get_by_role("heading", level=1)).to_contain_text("All films")
    context.close()


def test_the_page_says_that_tmdb_is_away_and_goes_on_by_itself(site: Site, page: Page, export: Path) -> None:
    site.service.fail(error(503), times=None)
    with site.cluster():
        upload(page, site, export)
        expect(page.get_by_text("TMDB does not answer.")).to_be_visible()
        expect(page.get_by_text("Retrying automatically.")).to_be_visible()
        assert faults(page) == []
        site.service.heal()
        expect(page.get_by_text("TMDB does not answer.")).to_be_hidden()
        expect(page.get_by_role("heading", name="Just found")).to_be_visible()

"""From an ambiguous lookup to the film that was meant: a real browser, web server and cluster, with a stand-in for the
provider."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, Route, expect

from standins.server import Server
from standins.tmdb import Film, start
from tests.api import ask
from tests.servers import Cluster, WebServer
from tests.system import System

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
FILMS = [
    Film(1, "The Promise", "2016-09-11", votes=60, directors=["Terry George"], runtime=133, poster_path="/one.jpg"),
    Film(2, "The Promise", "2016-05-01", votes=50, directors=["Zeljko Mirkovic"], runtime=82),
    Film(3, "Leo", "2023-11-17", votes=60, directors=["Robert Smigel"], runtime=102),
    Film(4, "Leo", "2023-10-19", votes=55, directors=["Lokesh Kanagaraj"], runtime=164),
    Film(5, "The Haunted Castle", "1897-01-01", votes=60, directors=["Georges Méliès"], runtime=1),
    Film(6, "The Haunted Castle", "1897-06-01", votes=60, directors=["George Albert Smith"], runtime=1),
]
ENTRIES = [("The Promise", 2016), ("Leo", 2023), ("The Haunted Castle", 1897)]


@pytest.fixture
def provider() -> Iterator[Server]:
    with start(FILMS, {"secret"}) as server:
        yield server


@pytest.fixture
def system(new_database: Callable[[], str], provider: Server) -> Iterator[System]:
    database_url = new_database()
    known = {"TMDB_URL": provider.url, "TMDB_API_KEY": "secret", "TMDB_RATE": "500/10"}
    with WebServer(database_url, **known) as web, Cluster(database_url, **known):
        yield System(web, database_url)


@pytest.fixture
def page(page: Page) -> Iterator[Page]:
    """A page that may write nothing into the console: the browser tells there what the policy has forbidden."""
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    yield page
    assert not told


def films(system: System, **filters: str) -> dict[str, Any]:
    """title → row."""
    query = "&".join(f"{name}={value}" for name, value in filters.items())
    status, _, answer = ask(f"{system.url}/api/movies?library=ada&{query}", system.key)
    assert status == 200, answer
    return {row["title"]: row for row in answer["results"]}


def send_entries(system: System) -> None:
    entries = [
        {"library": "ada", "kind": "watched", "title": title, "year": year, "letterboxd_uri": f"https://boxd.it/{year}"}
        for title, year in ENTRIES
    ]
    status, _, answer = ask(f"{system.url}/api/entries/batch", system.key, entries)
    assert status == 202, answer


def until_all_are(system: System, match: str) -> None:
    system.until(lambda: len(films(system, match=match)) == len(ENTRIES), f"all films are {match}")


def test_an_operator_decides_what_is_ambiguous(system: System, page: Page) -> None:
    pictures: list[Any] = []

    def answer(route: Route) -> None:
        pictures.append(route.request)
        route.fulfill(body=PIXEL, content_type="image/png")

    page.route("https://image.tmdb.org/**", answer)
    send_entries(system)
    until_all_are(system, "ambiguous")
    system.log_in(page, "operator")
    alarm = page.get_by_role("region", name="Warnings").get_by_text("3 lookups are ambiguous.")
    expect(alarm).to_be_visible()
    page.get_by_role("region", name="Lookups by provider").get_by_role("link", name="3", exact=True).click()
    expect(page.get_by_role("heading", name="Ambiguous lookups")).to_be_visible()
    page.get_by_role("link", name="The Promise (2016)").click()

    cards = page.locator(".card")
    expect(cards).to_have_count(2)
    right = cards.filter(has_text="Terry George")
    expect(right.get_by_text("133 min")).to_be_visible()
    assert right.locator("img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 1
    assert [request.headers.get("referer") for request in pictures] == [None]
    expect(cards.filter(has_text="Zeljko Mirkovic").locator("svg")).to_be_visible()
    expect(page.get_by_role("link", name="https://boxd.it/2016")).to_be_visible()
    right.get_by_role("button", name="Choose").click()

    # The next one comes by itself: of this one the film is pasted, the last one is not there.
    expect(page.get_by_text("chosen: The Promise (2016)")).to_be_visible()
    while not page.get_by_role("heading", name="Leo (2023)").is_visible():
        page.get_by_role("link", name=re.compile("Older|Newer")).first.click()
    address = page.get_by_label("Another one")
    address.fill("https://example.org/movie/4")
    page.get_by_role("button", name="Choose this").click()
    expect(page.get_by_role("alert")).to_contain_text("no address of a film or series at TMDB")
    address.fill("https://www.themoviedb.org/movie/4-leo")
    address.press("Enter")
    expect(page.get_by_role("heading", name="The Haunted Castle (1897)")).to_be_visible()
    page.get_by_role("button", name="Not there").click()
    expect(page.get_by_text("That was the last one in this list.")).to_be_visible()

    system.until(lambda: len(films(system, match="found")) == 2, "what was chosen is described")
    found = films(system)
    assert (found["The Promise"]["tmdb_id"], found["The Promise"]["directors"]) == (1, ["Terry George"])
    assert (found["Leo"]["tmdb_id"], found["Leo"]["runtime"], found["Leo"]["how"]) == (4, 164, "chosen")
    assert found["The Haunted Castle"]["match"] == "not_found"

    # A decision is undone by a person alone.
    page.goto(f"{system.url}/admin/enrichment/lookup/?how=chosen")
    page.get_by_role("link", name="Leo (2023)").click()
    expect(page.get_by_text("Decided by operator")).to_be_visible()
    expect(page.get_by_role("button", name="Ask again…")).to_have_count(0)
    page.get_by_role("button", name="Undo, and ask again").click()
    expect(page.get_by_role("button", name="Ask again…")).to_be_visible()
    expect(page.get_by_text("Decision undone.").last).to_be_visible()
    system.until(lambda: films(system)["Leo"]["match"] == "ambiguous", "it is ambiguous again")


def test_an_operator_pauses_and_resumes_a_provider(system: System, page: Page) -> None:
    system.log_in(page, "operator")
    page.goto(f"{system.url}/admin/enrichment/providerstate/")
    row = page.get_by_role("region", name=re.compile("^TMDB"))
    expect(row).to_contain_text("idle")
    row.get_by_role("link", name="Pause").click()
    page.get_by_label("Reason").fill("their maintenance")
    page.get_by_role("button", name="Pause TMDB").click()
    expect(row).to_contain_text("Paused by operator: their maintenance")
    send_entries(system)
    until_all_are(system, "open")
    page.goto(f"{system.url}/admin/")
    warnings = page.get_by_role("region", name="Warnings")
    expect(warnings.get_by_text("TMDB is paused.")).to_be_visible()
    warnings.get_by_role("link", name="Providers").click()
    row.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("TMDB resumed.", exact=True)).to_be_visible()
    until_all_are(system, "ambiguous")


@pytest.mark.parametrize("width", [390, 1280])
def test_pages_of_lookups_fit_the_screen(system: System, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.route("https://image.tmdb.org/**", lambda route: route.fulfill(body=PIXEL, content_type="image/png"))
    send_entries(system)
    until_all_are(system, "ambiguous")
    system.log_in(page, "viewer")
    for path in ("", "enrichment/lookup/", "enrichment/ambiguouslookup/", "enrichment/providerstate/"):
        page.goto(f"{system.url}/admin/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.goto(f"{system.url}/admin/enrichment/ambiguouslookup/")
    page.get_by_role("link", name="The Promise (2016)").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.get_by_role("button", name=re.compile("Choose|Not there|Undo|Ask"))).to_have_count(0)

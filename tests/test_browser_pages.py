"""Every page of the admin in a real browser, found by following its links: nothing that keeps anybody out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import Resolver404, resolve
from playwright.sync_api import BrowserContext, ConsoleMessage, Page

from tests.api import ask
from tests.files import csv_of
from tests.servers import Cluster, WebServer, manage
from tests.system import System
from tutoring.tests.factories import feedback, session, student, tutor

LOOKS: list[tuple[int, Literal["light", "dark"]]] = [(1360, "light"), (390, "dark")]
LINKS = "links => links.map(link => new URL(link.getAttribute('href'), document.baseURI).href)"
HOSTILE = "<script>alert(1)</script>\u202e\u0000 &amp; " + "long" * 50
ROOT = """
from django.contrib.auth.models import User
User.objects.filter(username="operator").update(is_superuser=True)
"""
MUSIC = """
from datetime import date
from music.tests.factories import album, artist
from music.tests.histories import history
beatles = artist("The Beatles", country_code="GB", continent_code="EU", genres=["rock"], latitude=51.5, longitude=-0.1)
history(beatles, date(2025, 1, 6), date(2025, 2, 4), album=album("Help!", beatles))
history(artist("Faye Wong", country_code="HK", continent_code="AS"), date(2025, 2, 8), hour=3)
"""


@pytest.fixture
def system(new_database: Callable[[], str], tmp_path: Path) -> Iterator[System]:
    """With a little of everything that a page can show."""
    database_url = new_database()
    with WebServer(database_url) as web, Cluster(database_url):
        system = System(web, database_url)
        manage("shell", "-v0", "-c", ROOT + MUSIC, database_url=database_url)
        system.post(tutor(tutor_id="T-1"), tutor(tutor_id="T-2", age=7, name=HOSTILE), {"tutor_id": HOSTILE})
        for stream, record in [
            ("students", student(student_id="S-1")),
            ("sessions", session(session_id="X-1", tutor_id="T-1", student_id="S-1")),
            ("sessions", session(session_id="X-2", tutor_id="T-9", student_id="S-1")),
            ("feedback", feedback(feedback_id="F-1", session_id="X-1", tutor_id="T-1", student_id="S-1")),
        ]:
            assert ask(f"{web.url}/api/{stream}", system.key, record)[0] == 202
        file = tmp_path / "tutors.csv"
        file.write_bytes(csv_of([tutor(tutor_id="T-3", age=7), tutor(tutor_id="T-4")]))
        manage("ingest_file", str(file), "--stream=tutors", database_url=database_url)
        system.until(lambda: not any(system.stats()["queues"].values()), "all is processed")
        manage("reprocess", database_url=database_url)
        system.until(lambda: not any(system.stats()["queues"].values()), "all is processed again")
        yield system


def pages_of(page: Page, start: str) -> Iterator[str]:
    """One address of each kind of page (by the name of its URL) that links lead to, `start` first."""
    origin, seen, ahead = urlsplit(start), set[str](), [start]
    while ahead:
        address = urlsplit(ahead.pop(0))
        try:
            name = str(resolve(address.path).view_name) + ("?" if "_changelist_filters" in address.query else "")
        except Resolver404:
            continue
        if name in seen or name.endswith(("logout", "jsi18n", "rejected", "export", "template")):  # files
            continue
        seen.add(name)
        yield address.geturl()
        links = page.eval_on_selector_all("a[href]", LINKS)  # those of charts have no address as a text
        found = [urlsplit(link)._replace(fragment="").geturl() for link in links]
        ahead += [link for link in found if urlsplit(link).netloc == origin.netloc and "/admin/" in link]


@pytest.fixture
def told(browser_context: BrowserContext) -> list[str]:
    """What pages complain of in the console (as of what the policy has forbidden), and how their scripts fail."""
    told: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            told.append(f"{message.location['url']}: {message.text}")

    browser_context.on("console", hear)
    browser_context.on("weberror", lambda error: told.append(str(error.error)))
    browser_context.on("dialog", lambda dialog: told.append(dialog.message))
    return told


@pytest.mark.longest
def test_every_page_is_open_to_all(system: System, page: Page, told: list[str]) -> None:
    system.log_in(page, "operator")
    wrong: list[str] = []
    pages = 0
    for address in pages_of(page, f"{system.url}/admin/"):
        pages += 1
        answer = page.goto(address)
        assert answer and answer.status == 200, address
        wrong += [f"{address}: {said}" for said in told]
        for width, scheme in LOOKS:
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            wrong += [f"{address} at {width}, {scheme}: {fault}" for fault in faults(page, width)]
        told.clear()  # of what axe-core itself tried
    assert not wrong, "\n".join(wrong)
    assert pages > 40


def faults(page: Page, width: int) -> Iterator[str]:
    """What axe-core calls serious or critical, and what makes the page wider than the screen."""
    for found in Axe().run(page, options={"preload": False}).response["violations"]:
        if found["impact"] in ("serious", "critical"):
            yield f"{found['id']}: {found['nodes'][0]['html'][:200]}"
    if page.evaluate("document.documentElement.scrollWidth") > width:
        yield "wider than the screen"

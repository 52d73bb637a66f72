"""The dashboard as it is kept open all day: it renews itself, disturbs nobody, and rests while nobody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.servers import WebServer, manage

PASSWORD = "a password for tests"
PREPARED = f"""
from django.contrib.auth.models import Group, User
from tests.held import hold
user = User.objects.create_user("viewer", password="{PASSWORD}", is_staff=True)
user.groups.add(Group.objects.get(name="viewer"))
hold(key="T-1")
for key, code in [("T-2", "conflict"), ("T-3", "invalid"), ("T-4", "invalid")]:
    hold(key=key, code=code, status="discarded")
"""
HIDE = """hidden => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""


@pytest.fixture
def die(new_database: Callable[[], str], page: Page) -> Iterator[Callable[[str], object]]:
    """Makes a dead letter of that key, behind a dashboard that is open in a browser."""
    database_url = new_database()
    manage("shell", "-v0", "-c", PREPARED, database_url=database_url)
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text) if message.type in ("error", "warning") else None)
    with WebServer(database_url) as web, psycopg.connect(database_url, autocommit=True) as database:
        page.clock.install()
        page.goto(f"{web.url}/admin/")
        page.get_by_label("Username").fill("viewer")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()
        yield lambda key: database.execute("UPDATE enrichment_heldrecord SET status = 'dead' WHERE key = %s", [key])
    assert not told


def dead_letters(page: Page, number: int) -> None:
    expect(page.locator("#tiles").get_by_text(f"{number} dead letters")).to_be_visible()


def test_it_renews_itself_disturbs_nobody_and_rests_unseen(die: Callable[[str], object], page: Page) -> None:
    expect(page).to_have_title("(1) Dashboard | TutorMax")
    expect(page.get_by_role("status")).to_have_text("1 warning: No workers running.")
    page.get_by_text("By code and stream").click()
    box = page.get_by_label("Find a record")
    box.fill("half a que")
    page.evaluate("window.scrollTo(0, 200)")
    page.evaluate("window.announced = document.getElementById('alarms-summary')")
    die("T-2")
    page.clock.run_for(6000)
    dead_letters(page, 2)
    codes = page.get_by_role("region", name="Dead letters by code")
    expect(codes.get_by_role("rowheader", name="conflict").first).to_be_visible()
    expect(page.get_by_role("region", name="By code and stream")).to_be_visible()  # unfolded still
    expect(box).to_be_focused()
    expect(box).to_have_value("half a que")
    assert page.evaluate("window.scrollY") == 200
    assert page.evaluate("window.announced === document.getElementById('alarms-summary')")

    link = page.locator("#streams tbody").get_by_role("link", name="2", exact=True)
    link.focus()
    die("T-3")
    page.clock.run_for(6000)
    dead_letters(page, 3)
    expect(link).to_be_focused()  # what is in use is left alone until it is not

    page.evaluate(HIDE, True)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    die("T-4")
    page.clock.run_for(60_000)
    assert asked == []
    page.evaluate(HIDE, False)  # looked at again, it is renewed at once
    dead_letters(page, 4)

"""Pages on a narrow screen: menu and filters at once, without script; nothing covers or crosses anything else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from tests.servers import PATIENCE, WebServer, manage

PASSWORD = "a password for tests"
NARROW: ViewportSize = {"width": 390, "height": 844}
PREPARED = f"""
from datetime import timedelta
from django.contrib.auth.models import User
from django.utils import timezone
from enrichment.models import MinuteStat
from tests.held import hold
from tests.records import send
from tutoring.tests.factories import feedback, session, student, tutor
User.objects.create_superuser("root", password="{PASSWORD}")
for number in range(60):
    hold(key=f"T-{{number}}")
send("tutors", tutor(tutor_id="T-1", onboarding_date="2020-01-15"))
send("students", student(student_id="S-1"))
now = timezone.now()
MinuteStat.objects.create(minute=now - timedelta(hours=2), stream="tutors", inserted=5)
of = dict(tutor_id="T-1", student_id="S-1")
for number in range(30):
    start = now - timedelta(days=7 * number % 84 + 1)
    times = dict(scheduled_start=start.isoformat(), actual_start=(start + timedelta(minutes=9)).isoformat())
    send("sessions", session(session_id=f"X-{{number}}", **times, actual_end=None, duration_minutes=60,
         no_show=False, tutor_initiated_reschedule=True, **of))
    send("feedback", feedback(feedback_id=f"F-{{number}}", session_id=f"X-{{number}}",
         submitted_at=(start + timedelta(hours=3)).isoformat(), **of))
"""
CROSSINGS = """() => [...document.querySelectorAll(".chart .ticks")].map(ticks => {
  const boxes = [...ticks.children].map(label => label.getBoundingClientRect()).filter(box => box.width);
  return [boxes.length, boxes.slice(1).filter((box, i) => box.left < boxes[i].right + 4).length];
})"""


@pytest.fixture(scope="module")
def site(shared_database: str) -> Iterator[str]:
    manage("shell", "-v0", "-c", PREPARED, database_url=shared_database)
    with WebServer(shared_database) as web:
        yield web.url


def log_in(page: Page, site: str) -> None:
    page.goto(f"{site}/admin/")
    page.get_by_label("Username").fill("root")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()


@pytest.fixture
def narrow(browser: Browser, site: str) -> Iterator[Page]:
    """A phone that runs no script."""
    context = browser.new_context(viewport=NARROW, java_script_enabled=False)
    context.set_default_timeout(PATIENCE * 1000)
    page = context.new_page()
    log_in(page, site)
    yield page
    context.close()


def test_menu_and_filters_are_reached_at_once(narrow: Page) -> None:
    menu = narrow.get_by_role("navigation", name="Menu")
    expect(menu).to_be_hidden()
    narrow.locator("summary", has_text="Menu").click()
    link = menu.get_by_role("link", name="Streams")
    expect(link).to_be_in_viewport()
    link.click()
    expect(narrow.get_by_role("heading", name="Streams", level=1)).to_be_visible()
    narrow.locator("summary", has_text="Menu").click()
    menu.get_by_role("link", name="Dead letters").click()

    filters = narrow.get_by_role("navigation", name="Filter")
    expect(filters).to_be_hidden()
    unfold = narrow.get_by_text("Filters", exact=True)
    expect(unfold).to_be_in_viewport()
    unfold.click()
    expect(filters.get_by_role("link", name="students")).to_be_visible()
    first_row = narrow.locator("#result_list tbody tr").first.bounding_box()
    box = filters.bounding_box()
    assert first_row and box and box["y"] + box["height"] <= first_row["y"]
    filters.get_by_role("link", name="students").click()
    expect(narrow.get_by_text("Filters (active)")).to_be_visible()
    expect(filters).to_be_hidden()


def test_a_wide_screen_has_its_side_bar_and_filters(page: Page, site: str) -> None:
    log_in(page, site)
    page.goto(f"{site}/admin/enrichment/deadletter/")
    expect(page.get_by_role("navigation", name="Filter")).to_be_visible()
    expect(page.get_by_role("navigation", name="Sidebar")).to_be_visible()
    for hidden in ("summary:has-text('Menu')", ".show-filters", "#show-filters"):
        expect(page.locator(hidden)).to_be_hidden()


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_labels_of_charts_do_not_cross(page: Page, site: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    log_in(page, site)
    charts = 0
    for path in ("", "tutoring/tutor/T-1/change/"):
        page.goto(f"{site}/admin/{path}")
        for labels, crossings in page.evaluate(CROSSINGS):
            charts += 1
            assert labels >= 2
            assert crossings == 0, path
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    assert charts == 8


def test_a_phone_shows_a_short_dashboard(page: Page, site: str) -> None:
    page.set_viewport_size(NARROW)
    log_in(page, site)
    expect(page.locator("#content-main")).to_be_hidden()  # the menu is above
    expect(page.locator("#streams .nil").first).to_be_hidden()
    expect(page.get_by_role("columnheader", name="Cluster")).to_be_hidden()  # folded
    assert page.evaluate("document.documentElement.scrollHeight") < 3600


@pytest.mark.parametrize("width", [390, 1280])
def test_the_title_of_an_api_page_stands_below_its_bar(page: Page, site: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    log_in(page, site)
    page.goto(f"{site}/api/students")
    title, bar = page.get_by_role("heading", level=1).bounding_box(), page.locator(".navbar").bounding_box()
    assert title and bar and bar["y"] + bar["height"] <= title["y"]

"""The lists of the admin in a real browser: whole and true at every width, and what an operator does with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.api import ask
from tests.files import csv_of
from tests.servers import Cluster, WebServer, manage
from tests.system import System
from tutoring.tests.factories import feedback, session, student, tutor

WIDTHS = (1280, 1366, 390)
LONG = "Dr. Wilhelmina-Charlotte Featherstonehaugh-Cholmondeley of Llanfairpwllgwyngyll"
ROOT = """
from django.contrib.auth.models import User
from django.utils import timezone
from django_q.models import Failure, Success
from ingestion.models import ApiKey
User.objects.filter(username="operator").update(is_superuser=True)
for name in ("CRM of the school in Llanfairpwllgwyngyll", "test"):
    ApiKey.objects.create_key(name=name, streams=["tutors", "students", "sessions"], expiry_date=timezone.now())
for model in (Success, Failure):
    now = timezone.now()
    model.objects.create(
        id=model.__name__, name="a-name-of-four-words", func="enrichment.tasks.work", cluster="tutormax", started=now,
        stopped=now, success=model is Success,
    )
"""
CUT = """
() => {
  const cut = [];
  const scrolls = (element) => ["auto", "scroll"].includes(getComputedStyle(element).overflowX);
  for (const element of document.querySelectorAll("#content *")) {
    const style = getComputedStyle(element);
    if (!element.getClientRects().length || style.position === "absolute" || element.matches(".visually-hidden *")) {
      continue;
    }
    if (element.scrollWidth > element.clientWidth + 1 && style.overflowX !== "visible" && element.clientWidth) {
      cut.push(`${element.tagName}.${element.className}: ${element.scrollWidth} in ${element.clientWidth}`);
    }
  }
  for (const cell of document.querySelectorAll("#result_list :is(td, th)")) {
    const box = cell.getBoundingClientRect();
    if (box.width && (box.right > innerWidth + 1 || cell.scrollWidth > cell.clientWidth + 1)) {
      cut.push(`${cell.className} ends at ${Math.round(box.right)}, ${cell.scrollWidth} in ${cell.clientWidth}`);
    }
  }
  if (document.documentElement.scrollWidth > innerWidth) {
    cut.push(`the page: ${document.documentElement.scrollWidth}`);
  }
  return cut;
}
"""
"""What is not seen as a whole: what hides a part of itself, cells beyond the window, a page wider than it."""


@pytest.fixture
def system(new_database: Callable[[], str], tmp_path: Path) -> Iterator[System]:
    database_url = new_database()
    with WebServer(database_url) as web, Cluster(database_url):
        yield System(web, database_url)


def test_every_list_is_whole_at_every_width(system: System, page: Page, tmp_path: Path) -> None:
    fill(system, tmp_path)
    system.log_in(page, "operator")
    links = page.eval_on_selector_all("a[href]", "links => links.map(link => link.getAttribute('href'))")
    lists = sorted({link for link in links if re.fullmatch(r"/admin/\w+/\w+/", link)})
    assert len(lists) > 20
    wrong = []
    for path in lists:
        page.goto(f"{system.url}{path}")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            wrong += [f"{path} at {width}: {cut}" for cut in page.evaluate(CUT)]
    assert not wrong, "\n".join(wrong)


def fill(system: System, directory: Path) -> None:
    """Rows in every list, with the longest that people write."""
    manage("shell", "-v0", "-c", ROOT, database_url=system.database_url)
    warned = tutor(tutor_id="T-00000000001", name=LONG, subjects=["Underwater Basket Weaving"])
    system.post(warned, *(tutor(tutor_id=f"T-0000000000{n}", age=7, name=LONG) for n in range(2, 6)))
    parts = {"tutor_id": "T-00000000001", "student_id": "S-00000000001"}
    for stream, record in [
        ("students", student(student_id="S-00000000001", name=LONG)),
        ("sessions", session(session_id="X-00000000001", actual_start="2025-03-01T15:47:00-05:00", **parts)),
        ("sessions", session(session_id="X-00000000002", **{**parts, "tutor_id": "T-" + "9" * 30})),
        ("feedback", feedback(feedback_id="F-00000000001", session_id="X-00000000001", overall_rating=1, **parts)),
    ]:
        status, _, answer = ask(f"{system.url}/api/{stream}", system.key, record)
        assert status == 202, answer
    file = directory / f"{'tutors of the autumn term ' * 4}.csv"
    file.write_bytes(csv_of([tutor(tutor_id="T-3", age=7), tutor(tutor_id="T-4")]))
    manage("ingest_file", str(file), "--stream=tutors", database_url=system.database_url)
    system.until(lambda: not any(system.stats()["queues"].values()), "all is processed")
    manage("reprocess", database_url=system.database_url)
    manage("prune", database_url=system.database_url)
    system.until(lambda: not any(system.stats()["queues"].values()), "all is processed again")


def test_the_filter_is_kept_from_record_to_record(system: System, page: Page) -> None:
    """Five of seven dead letters are worked through; the others have another error."""
    others = [tutor(tutor_id=f"B-{number}", email="nobody") for number in range(2)]
    system.post(others[0], *(tutor(tutor_id=f"T-{number}", age=7) for number in range(5)), others[1])
    system.log_in(page, "operator")
    page.goto(f"{system.url}/admin/enrichment/deadletter/")
    page.get_by_role("region", name="Top errors in this list").get_by_role("link", name=re.compile("age")).click()
    page.get_by_role("link", name="T-4").click()
    page.get_by_role("link", name="Fix…").click()
    for number in (4, 3, 2, 1):
        expect(page.get_by_role("heading", name=f"Fix tutor T-{number}")).to_be_visible()
        page.get_by_label("age", exact=True).fill("27")
        page.get_by_role("button", name="Save, reprocess & next").click()
    expect(page.get_by_role("heading", name="Fix tutor T-0")).to_be_visible()
    page.get_by_label("age", exact=True).fill("27")
    page.get_by_role("button", name="Save and reprocess").click()
    expect(page.get_by_text("(inserted)")).to_be_visible(timeout=60_000)  # without a reload
    expect(page.get_by_text("Requeued in")).to_be_hidden()
    assert "_changelist_filters=message" in page.url and "/deadletter/" in page.url
    page.get_by_role("navigation", name="Breadcrumbs").get_by_role("link", name="Dead letters").click()
    expect(page.get_by_text("No matches")).to_be_visible()
    assert "message=" in page.url
    assert all(system.stored(f"T-{number}") for number in range(5))


def test_times_are_the_readers_and_ages_grow(system: System, browser: Browser) -> None:
    system.post(tutor(tutor_id="T-1", age=7))
    manage("shell", "-v0", "-c", ROOT, database_url=system.database_url)
    there = browser.new_context(timezone_id="Asia/Kolkata", viewport={"width": 1280, "height": 900})
    page = there.new_page()
    system.log_in(page, "operator")
    page.goto(f"{system.url}/admin/enrichment/deadletter/1/change/")
    failed = page.locator("time[data-show=time]").first
    exact = failed.get_attribute("title") or ""
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+05:30", exact)
    assert failed.inner_text() == exact.removesuffix(" +05:30")
    page.goto(f"{system.url}/admin/auth/user/")
    page.locator("#result_list").get_by_role("link", name="operator", exact=True).click()
    joined = page.locator(".field-date_joined time")  # a page of Django's
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", joined.inner_text())
    assert (joined.get_attribute("title") or "") == f"{joined.inner_text()} +05:30"
    page.goto(f"{system.url}/admin/enrichment/deadletter/1/change/")
    age = page.locator("time[data-show=age]").first
    before = age.inner_text()
    expect(age).not_to_have_text(before, timeout=70_000)
    there.close()

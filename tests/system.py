"""A running TutorMax for browsers, with people who log in to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.api import ask
from tests.elsewhere import new_key, new_person
from tests.servers import WebServer, wait_until

PASSWORD = "a password for tests"


class System:
    """A running TutorMax with an operator and a viewer."""

    def __init__(self, web: WebServer, database_url: str) -> None:
        self.url, self.database_url = web.url, database_url
        for name in ("operator", "viewer"):
            new_person(database_url, name, PASSWORD)
        self.key = new_key(database_url)

    def post(self, *records: Any) -> None:
        """Posts tutors and waits until they are worked off."""
        status, _, answer = ask(f"{self.url}/api/tutors/batch?invalid=dead-letter", self.key, list(records))
        assert status == 202, answer
        self.until(lambda: not any(self.stats()["queues"].values()), "the tutors are processed")

    def stats(self) -> Any:
        return ask(f"{self.url}/api/queue/stats", self.key)[2]

    def stored(self, key: str) -> Any:
        status, _, row = ask(f"{self.url}/api/tutors/{key}", self.key)
        return row if status == 200 else None

    def until(self, condition: Callable[[], Any], what: str) -> None:
        wait_until(condition, what, every=0.2)

    def log_in(self, page: Page, name: str) -> None:
        page.goto(f"{self.url}/admin/")
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()

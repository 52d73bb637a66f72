"""A client that posts to a web server of a test, and what is stored in the end."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import psycopg

from ingestion.payloads import ascii_json
from tests.elsewhere import new_key
from tests.servers import PATIENCE, WebServer


class Client:
    """A client of the API with a key of its own."""

    def __init__(self, web: WebServer, database_url: str) -> None:
        self.url = web.url
        self.key = new_key(database_url)

    def __call__(self, path: str, body: Any = None) -> Any:
        """The answer's JSON; a 503 raises urllib.error.HTTPError, as every other error."""
        data = None if body is None else ascii_json(body).encode()
        headers = {"Authorization": f"Api-Key {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return json.load(response)

    def post(self, stream: str, *records: Any) -> int:
        """The delivery's id; again and again while the database is away, as a client should."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return int(self(f"/api/{stream}/batch", list(records))["delivery"])
            except urllib.error.HTTPError as error:
                with error:
                    if error.code != 503 or time.monotonic() > deadline:
                        raise
                time.sleep(0.2)

    def idle(self) -> bool:
        stats = self("/api/queue/stats")
        return not any(stats["queues"].values())


def stored(url: str) -> dict[str, int]:
    tables = {"tutors": "tutor", "students": "student", "sessions": "tutoringsession", "feedback": "feedback"}
    with psycopg.connect(url) as connection:
        return {
            stream: connection.execute(f"SELECT count(*) FROM tutoring_{table}".encode()).fetchone()[0]  # type: ignore[index]
            for stream, table in tables.items()
        }

"""The client: posts from several threads, tries again what was not answered, and notes every answer."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlsplit

from faults.records import Post

TIMEOUT = 20
"""Seconds for an answer."""
THREADS = 6
UNANSWERED = 0
"""The status of a post whose connection ended, or that took too long."""


@dataclass
class Notes:
    """What a client knows of its posts."""

    client: str
    """As in its deliveries: key:<prefix>."""
    since: int = 0
    """Its deliveries of earlier runs have lower numbers, or this one."""
    posts: list[Post] = field(default_factory=list)
    accepted: dict[int, list[int]] = field(default_factory=dict)
    """Number of a post → the deliveries that it was told of, once for each answer; of a file the upload."""
    attempts: Counter[int] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """Answers that no client should get."""

    def is_settled(self, post: Post) -> bool:
        return post.number in self.accepted or post.expected_status == 422

    @property
    def records(self) -> int:
        """Those that were accepted."""
        return sum(len(post.accepted) for post in self.posts if post.number in self.accepted)


class Client:
    def __init__(self, url: str, key: str, notes: Notes) -> None:
        self.address, self.key, self.notes = urlsplit(url).netloc, key, notes
        self.lock = threading.Lock()

    def ask(self, path: str, post: Post | None = None) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, body); OSError or http.client.HTTPException without an answer."""
        connection = http.client.HTTPConnection(self.address, timeout=TIMEOUT)
        headers = {"Authorization": f"Api-Key {self.key}"}
        if post:
            headers["Content-Type"] = post.content_type
        if post and post.idempotency_key:
            headers["Idempotency-Key"] = post.idempotency_key
        with contextlib.closing(connection):
            connection.request("POST" if post else "GET", path, post.body if post else None, headers)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return response.status, named, response.read()

    def post(self, post: Post) -> bool:
        """One attempt; whether it was answered for good."""
        with self.lock:
            self.notes.attempts[post.number] += 1
        try:
            status, headers, body = self.ask(post.path, post)
        except (OSError, http.client.HTTPException):
            status, headers, body = UNANSWERED, {}, b""
        with self.lock:
            return self._note(post, status, headers, body)

    def _note(self, post: Post, status: int, headers: dict[str, str], body: bytes) -> bool:
        self.notes.statuses[status] += 1
        known_file = post.form == "file" and status == 409 and self.notes.attempts[post.number] > 1
        if status == post.expected_status or known_file:
            if status != 422:
                self.notes.accepted.setdefault(post.number, []).append(0 if known_file else _told_of(json.loads(body)))
            return True
        may_be = status in (UNANSWERED, 503, 429)
        if not may_be or (status != UNANSWERED and not headers.get("retry-after", "").isdigit()):
            self.notes.wrong.append(f"{status} for {post.path}: {body[:300]!r}")
            return True
        return False

    def post_all(self, posts: Sequence[Post], rng: Random, seconds: float) -> None:
        """Posts all of them within about that time; who gets no answer tries again after a while, sometimes at once."""
        self.notes.posts += posts
        started, seeds = time.monotonic(), [rng.random() for _ in posts]

        def send(number: int) -> None:
            time.sleep(max(0.0, started + seconds * number / len(posts) - time.monotonic()))
            post, chance = posts[number], seeds[number]
            for pause in (0.0, 0.2, 1.0):
                time.sleep(pause * chance)
                if self.post(post):
                    return

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(send, range(len(posts))))

    def post_the_rest(self, patience: float) -> list[Post]:
        """Posts again whatever was not answered, until it is; returns what never was."""
        deadline = time.monotonic() + patience
        while (left := [post for post in self.notes.posts if not self.notes.is_settled(post)]) and (
            time.monotonic() < deadline
        ):
            for post in left:
                self.post(post)
            time.sleep(0.2)
        return left

    def get(self, path: str) -> Any:
        """JSON, or text."""
        status, headers, body = self.ask(path)
        assert status == 200, (path, status, body[:300])
        return json.loads(body) if headers["content-type"].startswith("application/json") else body.decode()


def _told_of(answer: dict[str, Any]) -> int:
    """The delivery, or the upload of the only file."""
    return int(answer["delivery"] if "delivery" in answer else answer["uploads"][0]["id"])

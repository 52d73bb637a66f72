"""python -m bench.admin [deliveries]: what each page of the admin asks of a database with a million deliveries.

Pages are found as tests/admin_pages.py does, opened in process, twice; the second time is told: the queries, and how
long the database took for them. Rows are made by SQL, in proportion to the number of deliveries.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from bench.database import database

if TYPE_CHECKING:
    from django.test import Client

    from tests.admin_pages import Page

LIMIT = 300
"""Milliseconds of database time that no page may take."""
TOLD = 150
"""From so many on, a page's slowest statement is told."""
AGAIN = 80
LINKS_OF_A_SHAPE = 3


@dataclass(frozen=True)
class Opened:
    page: Page
    status: int
    queries: int
    ms: float
    """In the database."""
    slowest: tuple[float, str]
    first: float
    """Seconds until the answer began."""
    seconds: float
    """Until its end."""
    size: int
    """Bytes."""
    peak: int
    """Of a file that is streamed: the most memory of the process while it was, in bytes."""


@dataclass
class Queries:
    """An execute wrapper that notes how long each statement took, in milliseconds."""

    took: list[tuple[float, str]] = field(default_factory=list)

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        start = time.perf_counter()
        try:
            return execute(sql, params, many, context)
        finally:
            self.took.append((1000 * (time.perf_counter() - start), _written(context, sql, params)))


def main() -> None:
    deliveries = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    os.environ["LOG_LEVEL"] = "WARNING"
    with database():
        from bench.admin_rows import fill

        fill(deliveries)
        measure()


def measure() -> None:
    for name in ("root", "viewer"):
        print(f"\nAs {name}, with a load of {os.getloadavg()[0]:.1f}:\n", flush=True)
        opened = list(open_all(browser(name)))
        tell(opened)


def browser(name: str) -> Client:
    from django.contrib.auth.models import User
    from django.test import Client

    client = Client(headers={"host": "localhost"}, raise_request_exception=False)
    client.force_login(User.objects.get(username=name), "django.contrib.auth.backends.ModelBackend")
    return client


def open_all(client: Client) -> Iterator[Opened]:
    """Opens every page, then where they link to, as long as it is of a kind that has not been opened often enough."""
    from bench.admin_rows import special_pages
    from tests.admin_pages import links, pages, shape_of

    often, files = Counter[Any](), set[str]()
    found: list[Page] = []
    for page, is_link in _then(pages(client, special_pages()), found):
        shape = shape_of(page.path)
        if is_link and (often[shape] >= LINKS_OF_A_SHAPE or (shape and shape.name in files and often[shape])):
            continue
        often[shape] += 1
        if shape and shape.name in files and shape.query - {"format"}:
            continue  # all rows have been exported: some of them take less
        opened, text = open_warm(client, page)
        if opened.peak and shape:
            files.add(shape.name)
        # Not from a list to itself, which would open all of its filters together.
        found += [link for link in links(page, text) if shape is None or f"{shape.name}," not in f"{link.kind},"]
        yield opened


def _then(first: Iterator[Page], more: list[Page]) -> Iterator[tuple[Page, bool]]:
    yield from ((page, False) for page in dict.fromkeys(first))
    yield from ((page, True) for page in more)  # it grows meanwhile


def open_warm(client: Client, page: Page) -> tuple[Opened, str]:
    """The second of two times, or where that was slow, the fastest of five more; a file that is streamed comes once."""
    opened, text = _open(client, page)
    if not opened.peak:
        opened, text = _open(client, page)
        if opened.ms >= AGAIN:
            opened = min((_open(client, page)[0] for _ in range(5)), key=lambda each: each.ms)
    if opened.ms >= TOLD or opened.status >= 500:
        act = dict(page.posted or ()).get("action", "")
        print(f"{opened.ms:.0f} ms, {opened.status}: {page.kind} {page.path} {act}")
        print(f"    {opened.slowest[0]:.0f} ms: {opened.slowest[1][:1000]}", flush=True)
    return opened, text


def _open(client: Client, page: Page) -> tuple[Opened, str]:
    from django.db import connection

    from tests.admin_pages import fetch

    queries, start = Queries(), time.perf_counter()
    peak = size = 0
    text = ""
    with connection.execute_wrapper(queries):
        response = fetch(client, page)
        first = time.perf_counter() - start
        if response.streaming:
            for chunk in response.streaming_content:
                size, peak = size + len(chunk), max(peak, psutil.Process().memory_info().rss)
        else:
            size = len(response.content)
    if not response.streaming and response.headers.get("Content-Type", "").startswith("text/html"):
        text = response.content.decode()
    return Opened(
        page=page,
        status=response.status_code,
        queries=len(queries.took),
        ms=sum(took for took, _ in queries.took),
        slowest=max(queries.took, default=(0, "")),
        first=first,
        seconds=time.perf_counter() - start,
        size=size,
        peak=peak,
    ), text


def _written(context: Any, sql: str, params: Any) -> str:
    cursor = context["cursor"].cursor
    query = getattr(cursor, "_query", None)
    text = query.query.decode() if query else sql
    return re.sub(r"SELECT .{200,}? FROM ", "SELECT … FROM ", text)


def tell(opened: list[Opened]) -> None:
    """Prints a table of the kinds of pages, the slowest first, and which addresses have not been opened."""
    from tests.admin_pages import NOT_OPENED, addresses, shape_of

    kinds = defaultdict(list)
    for each in opened:
        if each.status < 400 and not each.peak:
            kinds[each.page.kind].append(each)
    print("| pages | how many | queries | ms in the database, median | slowest |\n|---|---|---|---|---|")
    for kind, alike in sorted(kinds.items(), key=lambda item: -max(each.ms for each in item[1])):
        times = sorted(each.ms for each in alike)
        counts = sorted({each.queries for each in alike})
        span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
        mark = " **!**" if times[-1] > LIMIT else ""
        print(f"| {kind} | {len(alike)} | {span} | {times[len(times) // 2]:.0f} | {times[-1]:.0f}{mark} |")
    print("\n| file | MB | s | memory in MB |\n|---|---|---|---|")
    for each in opened:
        if each.peak:
            print(f"| {each.page.path} | {each.size / 1e6:.1f} | {each.seconds:.1f} | {each.peak / 1e6:.0f} |")
    statuses = Counter(each.status for each in opened)
    print(f"\n{len(opened)} pages: {dict(statuses)}")
    names = {shape.name for each in opened if (shape := shape_of(each.page.path))}
    print("Not opened:", ", ".join(sorted(set(addresses()) - names - NOT_OPENED)) or "none")


if __name__ == "__main__":
    main()

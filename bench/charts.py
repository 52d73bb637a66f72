"""python -m bench.charts [PLAYS]: what the pages of music ask of a database with two million plays.

Each page is opened in process, twice; the second time is told: the queries, and how long the database took for them.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

import psutil

from bench.database import database

LIMIT = 300
"""Milliseconds of database time that no page may take."""
PAGES = {
    "listening history, the last year": "listener/ada/change/",
    "listening history, all twelve years": "listener/ada/change/?from=2014-01&to=2025-12",
    "listening history of a lesser listener, all": "listener/listener-3/change/?from=2014-01&to=2025-12",
    "the most played artist": "artist/spotify-0000000000000000000000/change/",
    "an artist": "artist/spotify-0000000000000000000500/change/",
    "listens": "listen/",
    "listens of a month": "listen/?user_id=ada&from=2025-03&to=2025-03&counted=yes",
    "listens by hour and weekday, a year": "listen/?user_id=ada&from=2025-01&to=2025-12&counted=yes&weekday=4&hour=20",
    "listens by country, a year": "listen/?user_id=ada&from=2025-01&to=2025-12&counted=yes&country_code=SE",
    "listens by genre, a year": "listen/?user_id=ada&from=2025-01&to=2025-12&counted=yes&genre=genre+3",
    "listens of an artist": "listen/?artist_key=spotify-0000000000000000000001&counted=yes",
    "artists": "artist/",
    "artists not found": "artist/?match=not_found",
    "listeners": "listener/",
}
DASHBOARD = "the dashboard"
TIMES = 5
PAUSE = 0.5
"""Seconds in which a connection that is closed has ended."""


def main() -> None:
    plays = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    os.environ["LOG_LEVEL"] = "WARNING"
    with database():
        fill(plays)
        measure()


def fill(plays: int) -> None:
    from django.db import connection

    from tests.people import person

    person(superuser=True)
    script = (Path(__file__).parent / "charts.sql").read_text()
    script = re.sub(r"^--.*\n", "", script, flags=re.MULTILINE).replace(":plays", str(plays))
    with connection.cursor() as cursor:
        for statement in script.split(";\n"):
            if statement.strip():
                cursor.execute(statement)


def measure() -> None:
    """Also the processor time of the database, which other work on the machine does not lengthen as much."""
    from django.db import connection

    from bench.admin import browser, open_warm
    from tests.admin_pages import Page, fetch

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        server = psutil.Process(cursor.fetchone()[0]).parent()
    print(f"With a load of {os.getloadavg()[0]:.1f}:\n\n| page | queries | ms | of processor |\n|---|---|---|---|")
    client = browser("root")
    for name, path in [(DASHBOARD, "/admin/"), *((name, f"/admin/music/{path}") for name, path in PAGES.items())]:
        page = Page(name, path)
        opened, _ = open_warm(client, page)
        before = spent_by(server)
        for _ in range(TIMES):
            fetch(client, page)
        spent = (spent_by(server) - before) / TIMES
        mark = " **!**" if spent > LIMIT else ""
        print(f"| {name} | {opened.queries} | {opened.ms:.0f} | {spent:.0f}{mark} |", flush=True)


def spent_by(server: psutil.Process | None) -> float:
    """Milliseconds of processor time of all connections, and of their helpers, that have been closed."""
    from django.db import connection

    connection.close()
    time.sleep(PAUSE)
    times = server.cpu_times() if server else None
    return 1000 * (times.children_user + times.children_system) if times else 0


if __name__ == "__main__":
    main()

"""Takes the screenshots in docs/screenshots (`make screenshots`): a system with a day of synthetic records, each page
in a real browser, light and dark, wide and narrow."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

import django
from playwright.sync_api import Error, Page, sync_playwright

from conftest import find_chromium
from standins import musicbrainz, spotify, tmdb
from standins.export import write_export
from standins.films import FILMS
from standins.listeners import LISTENERS, write_histories
from standins.music import at_musicbrainz, at_spotify
from tests.servers import ROOT, Cluster, PostgreSQL, WebServer, manage, wait_until

TARGET = ROOT / "docs" / "screenshots"
LOOKS: list[tuple[str, int, int, Literal["light", "dark"]]] = [
    ("wide", 1360, 1000, "light"),
    ("wide-dark", 1360, 1000, "dark"),
    ("narrow", 390, 844, "light"),
    ("narrow-dark", 390, 844, "dark"),
]
DEMO = ("generate_data", "--tutors=150", "--students=600", "--days=21", "--seed=7", "--faults")


def path(where: str) -> Callable[[Page, str], None]:
    """Opens a page of the admin."""

    def go(page: Page, url: str) -> None:
        page.goto(f"{url}/admin/{where}")

    return go


def first_of(where: str) -> Callable[[Page, str], None]:
    """Opens the first row of a list."""

    def go(page: Page, url: str) -> None:
        page.goto(f"{url}/admin/{where}")
        page.goto(f"{url}{page.locator('#result_list th a').first.get_attribute('href')}")

    return go


def press(where: str, button: str) -> Callable[[Page, str], None]:
    def go(page: Page, url: str) -> None:
        page.goto(f"{url}/admin/{where}")
        page.get_by_role("button", name=re.compile(button)).first.click()

    return go


def one_of_age(page: Page, url: str) -> None:
    """Opens a tutor whose age is wrong."""
    page.goto(f"{url}/admin/enrichment/deadletter/?code=invalid&stream=tutors")
    row = page.locator("tr", has_text="age: ").first
    page.goto(f"{url}{row.locator('th a').get_attribute('href')}")


def fix(page: Page, url: str) -> None:
    one_of_age(page, url)
    page.get_by_role("link", name="Fix…").click()


def fix_all(page: Page, url: str) -> None:
    press("enrichment/deadletter/?code=invalid&stream=tutors", "^Fix all")(page, url)
    page.get_by_label("Field", exact=True).select_option("age")
    page.get_by_label("New value").fill("30")
    page.get_by_label("JSON").check()
    page.get_by_role("button", name="Preview").click()


def films(where: str, heading: str = "") -> Callable[[Page, str], None]:
    """Opens a page of the library of the demo, at this heading or at its top."""

    def go(page: Page, url: str) -> None:
        uploads = page.request.get(f"{url}/api/uploads").json()["results"]
        page.goto(f"{next(upload['link'] for upload in uploads if upload['link'])}{where}")
        if heading:
            page.get_by_role("heading", name=heading).first.evaluate("heading => heading.scrollIntoView()")

    return go


def listening(heading: str) -> Callable[[Page, str], None]:
    """Opens the history of the demo's first listener, at this heading or at its top."""

    def go(page: Page, url: str) -> None:
        page.goto(f"{url}/admin/music/listener/{LISTENERS[0].name}/change/")
        if heading:
            page.get_by_role("heading", name=heading).first.evaluate("heading => heading.scrollIntoView()")

    return go


def preview(page: Page, url: str) -> None:
    """Of a file with a column that nobody has mapped, and 15 rows that will be rejected."""
    header = "Tutor ID,Name,Email,Subjects,Onboarding Date,Age,Level\r\n"
    rows = [
        f"T-{i:03},Zoë Müller,zoe{i}@example.org,Algebra;Physics,2024-05-01,{7 if i % 13 == 5 else 30},Master\r\n"
        for i in range(200)
    ]
    page.goto(f"{url}/admin/ingestion/upload/add/")
    page.get_by_label("Record type").select_option("tutors")
    file = page.get_by_label("File", exact=True)
    file.set_input_files({"name": "tutors.csv", "mimeType": "text/csv", "buffer": (header + "".join(rows)).encode()})
    page.get_by_role("button", name="Preview", exact=True).click()
    page.get_by_text("185 will be stored, 15 rejected").wait_for()


def namesakes(page: Page, url: str) -> None:
    """Opens a lookup of which there are two candidates."""
    page.goto(f"{url}/admin/enrichment/ambiguouslookup/")
    page.get_by_role("link", name="Leo (2023)").first.click()


PAGES: dict[str, Callable[[Page, str], None]] = {
    "dashboard": path(""),
    "find": path("find/?q=tutor+T7-x0021"),
    "dead-letters": path("enrichment/deadletter/"),
    "dead-letter": one_of_age,
    "fix": fix,
    "bulk-fix": fix_all,
    "confirm": press("enrichment/deadletter/?code=invalid", "^Reprocess all"),
    "bulk-action": first_of("enrichment/bulkaction/"),
    "waiting": path("enrichment/waitingrecord/missing/"),
    "tutors": path("tutoring/tutor/"),
    "tutor": first_of("tutoring/tutor/"),
    "student": first_of("tutoring/student/"),
    "session": first_of("tutoring/tutoringsession/"),
    "deliveries": path("ingestion/delivery/"),
    "uploads": path("ingestion/upload/"),
    "preview": preview,
    "api-keys": path("ingestion/apikey/"),
    "control": path("ingestion/pausedstream/"),
    "retention": path("enrichment/pruning/"),
    "ambiguous": path("enrichment/ambiguouslookup/"),
    "lookup": namesakes,
    "providers": path("enrichment/providerstate/"),
    "films": films(""),
    "films-calendar": films("", "Viewings in"),
    "films-grid": films("/films?sort=rating"),
    "music": listening(""),
    "music-map": listening("Where the artists are from"),
    "artists": path("music/artist/"),
    "artist": first_of("music/artist/?match=found"),
    "areas": path("music/area/"),
    "ambiguous-artist": first_of("enrichment/ambiguouslookup/?provider=musicbrainz"),
}


def take(names: list[str], target: Path = TARGET) -> None:
    from tests.system import System
    from tutormax.runner.music import ANYBODY

    target.mkdir(parents=True, exist_ok=True)
    with PostgreSQL() as server, sync_playwright() as playwright, ExitStack() as stack:
        server.start()
        server.connect().execute("CREATE DATABASE demo")
        database_url = server.url("demo")
        manage("migrate", "--verbosity=0", database_url=database_url)
        films_at = stack.enter_context(tmdb.start(FILMS)).url
        music_at = stack.enter_context(spotify.start(at_spotify())).url
        artists_at = stack.enter_context(musicbrainz.start(at_musicbrainz())).url
        environment = {
            "TMDB_URL": films_at,
            "TMDB_API_KEY": "any",
            "TMDB_RATE": "50/1",
            "SPOTIFY_URL": music_at,
            "SPOTIFY_ACCOUNTS_URL": music_at,
            "MUSICBRAINZ_URL": artists_at,
            "MUSICBRAINZ_RATE": "50/1",
            **ANYBODY,
        }
        with WebServer(database_url, **environment) as web, Cluster(database_url, **environment):
            system = System(web, database_url)
            manage("shell", "-v0", "-c", SUPERUSER, database_url=database_url)
            manage(*DEMO, f"--post={web.url}", f"--key={system.key}", database_url=database_url)
            system.until(lambda: not any(system.stats()["queues"].values()), "the demo data is processed")
            upload_demo(web.url, system.key)
            manage("reprocess", "--stream=sessions", database_url=database_url)
            system.until(lambda: not any(system.stats()["queues"].values()), "what was reprocessed is processed")
            wait_until(
                lambda: all_is_done(web.url, system.key), "films and artists are looked up", timeout=900, every=1
            )
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
            for look, width, height, scheme in LOOKS:
                context = browser.new_context(
                    viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
                )
                page = context.new_page()
                system.log_in(page, "operator")
                for name in names or PAGES:
                    PAGES[name](page, web.url)
                    shoot(page, target / f"{name}-{look}.png")
                context.close()


def upload_demo(url: str, key: str) -> None:
    from tutormax.runner.credentials import Credentials
    from tutormax.runner.stand_ins import upload

    login = Credentials(url=url, api_key=key)
    with tempfile.TemporaryDirectory() as directory:
        upload(login, write_export(Path(directory) / "letterboxd-demo.zip"), "films", library="demo")
        for listener, file in write_histories(Path(directory)):
            upload(login, file, "listening histories", stream="listens", user_id=listener.name)


def all_is_done(url: str, key: str) -> bool:
    from tests.api import ask

    uploads = ask(f"{url}/api/uploads", key)[2]["results"]
    artists = ask(f"{url}/api/artists?match=open", key)[2]["results"]
    areas = ask(f"{url}/api/areas?place=open", key)[2]["results"]
    return all(each["status"] == "completed" for each in uploads) and not artists and not areas


def shoot(page: Page, file: Path) -> None:
    """On a busy machine Chromium now and then fails to draw."""
    for attempt in range(3):
        try:
            page.screenshot(path=file)
            break
        except Error:
            if attempt == 2:
                raise
    print(file.name)


SUPERUSER = """
from django.contrib.auth.models import User
User.objects.filter(username="operator").update(is_superuser=True)
"""

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tutormax.settings")
    django.setup()
    take(sys.argv[1:])

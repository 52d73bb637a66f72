"""The client's guide says what is so: its snippets run, and show what it shows; its tables have what the code has."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.urls import Resolver404, resolve

from conftest import NewDatabase
from enrichment.models import HeldRecord
from enrichment.own_views import MAX_HELD
from enrichment.pagination import MAX_PAGE_SIZE
from ingestion.csv_reader import MAX_ROW
from ingestion.errors import CODES
from ingestion.fields import CLOCK_TOLERANCE
from ingestion.readers import MAX_DEPTH
from ingestion.streams import all_streams
from tests.api import ask
from tests.database import setting_names
from tests.servers import ROOT, Cluster, WebServer, manage, wait_until
from tutoring.schemas import BOOKABLE_AHEAD

GUIDE = (ROOT / "docs" / "client-guide.md").read_text()
MASKED = {"timestamp", "received_at", "processed_at", "stored_at", "tenure_days", "status_url"}
"""What differs from run to run; of it the type is compared."""


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    shown: str | None
    """The output that the guide shows, in the block that follows."""
    line: int


def blocks() -> Iterator[Block]:
    found = list(re.finditer(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL))
    for block, following in zip(found, [*found[1:], None], strict=True):
        if block[1] in ("sh", "python"):
            shown = following[2] if following and following[1] in ("json", "text") else None
            yield Block(block[1], block[2], shown, GUIDE.count("\n", 0, block.start()) + 1)


def test_the_snippets_do_what_is_shown(new_database: NewDatabase, tmp_path: Path) -> None:
    database = new_database()
    key = manage("create_api_key", "guide", database_url=database).stdout.split()[-1]
    shorthand, *rest = blocks()
    others: list[str] = []
    with WebServer(database) as web, Cluster(database):
        for block in rest:
            output = run(block, shorthand.text, tmp_path, {"TUTORMAX_URL": web.url, "TUTORMAX_API_KEY": key})
            if block.shown is not None and comparable(output) != comparable(block.shown):
                others.append(f"Line {block.line}:\n{output}")
            wait_until(lambda: is_idle(web.url, key), f"what line {block.line} sent is stored", timeout=60)
    assert not others, "\n".join(others)
    assert len(rest) > 10


def test_its_client_sends_again_what_it_advises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under one Idempotency-Key, after pauses that grow; what is refused is not sent again."""
    sent: list[tuple[str, bytes]] = []
    pauses: list[float] = []
    answers = [(503, {"Retry-After": "9"}), None, (429, {}), (500, {}), (202, {}), (422, {})]

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append((self.headers["Idempotency-Key"], self.rfile.read(int(self.headers["Content-Length"]))))
            if answer := answers.pop(0):  # else the connection ends without one
                self.send_response(answer[0])
                for name, value in {**answer[1], "Content-Length": "2"}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(b"{}")

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("TUTORMAX_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("TUTORMAX_API_KEY", "key")
        monkeypatch.setattr(time, "sleep", pauses.append)
        [source] = [block.text for block in blocks() if block.text.startswith("# client.py")]
        client: dict[str, Any] = {}
        exec(source, client)
        try:
            statuses = [client["call"]("/api/tutors", {"tutor_id": str(number)})[0] for number in range(2)]
        finally:
            server.shutdown()
    assert statuses == [202, 422]
    assert len(set(sent[:5])) == 1
    assert sent[5][0] != sent[0][0]
    assert len(pauses) == 4
    assert pauses[0] == 9
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses) if n)


def run(block: Block, shorthand: str, directory: Path, environment: dict[str, str]) -> str:
    if block.text.startswith("# client.py"):
        (directory / "client.py").write_text(block.text)
        return ""
    script = directory / f"line-{block.line}"
    script.write_text(shorthand + block.text if block.language == "sh" else block.text)
    command = ["sh", "-eu", str(script)] if block.language == "sh" else [sys.executable, str(script)]
    done = subprocess.run(
        command, cwd=directory, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, ""), f"Line {block.line}: {done.stderr}{done.stdout}"
    return done.stdout


def is_idle(url: str, key: str) -> bool:
    status, _, told = ask(f"{url}/api/queue/stats", key)
    return status == 200 and not any(told["queues"].values()) and not any(told["waiting"].values())


def comparable(text: str) -> Any:
    """The words; or where it is JSON, the values, without what differs from run to run."""
    if not text.startswith('{"'):
        return text.split()
    values, decoder, left = [], json.JSONDecoder(), text.strip()
    while left:
        value, end = decoder.raw_decode(left)
        values.append(masked(value))
        left = left[end:].lstrip()
    return values


def masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: type(each) if name in MASKED else masked(each) for name, each in value.items()}
    return [masked(each) for each in value] if isinstance(value, list) else value


# As a page of the server.


@pytest.mark.parametrize("path", ["/guide", "/guide/"])
def test_it_is_a_page(path: str) -> None:
    page = Client().get(path).content.decode()
    assert page.count("<pre>") == GUIDE.count("```") / 2
    assert page.count("<table>") == len(re.findall(r"^\|[-|]+\|$", GUIDE, re.MULTILINE))
    assert "```" not in page and "**" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)
    ids, targets = (re.findall(rf' {name}="#?([\w-]+)"', page) for name in ("id", "href"))
    assert (
        len(ids)
        == len(set(ids))
        == len(re.findall(r"^#+ ", re.sub("```.*?```", "", GUIDE, flags=re.DOTALL), re.MULTILINE))
    )
    assert {"send-again", "errors"} <= set(targets) <= set(ids)


def test_the_page_is_html_whatever_a_browser_prefers() -> None:
    response = Client().get("/guide", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert "unsafe" not in response["Content-Security-Policy"]


# Its tables.


def table(*head: str) -> list[list[str]]:
    """The cells of the rows of the table with this head."""
    found = re.search(rf"^\| {re.escape(' | '.join(head))} \|\n\|[-|]+\|\n((?:\|.*\n)+)", GUIDE, re.MULTILINE)
    assert found, head
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in found[1].splitlines()]


def names(cells: list[str]) -> set[str]:
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def test_every_error_is_in_the_table() -> None:
    rows = table("status", "`code`", "what it means", "what to do", "try again")
    assert {int(row[0]): row[1].strip("`") for row in rows} == CODES
    assert {row[4] for row in rows} == {"no", "**yes**"}
    again = {int(row[0]) for row in rows if row[4] == "**yes**"}
    advised = re.search(r"^TRY_AGAIN = \{(.*)\}$", GUIDE, re.MULTILINE)
    assert advised
    assert {int(status) for status in advised[1].split(", ")} == again | {502, 504}


def test_every_outcome_and_every_code_of_a_dead_letter_is_in_a_table() -> None:
    assert names([row[0] for row in table("outcome", "means")]) == {
        *("inserted", "updated", "stale"),
        *HeldRecord.Status.values,
    }
    assert names([row[0] for row in table("code", "means", "do")]) == set(HeldRecord.Code.values)


def identifier_length() -> int:
    return max(stream.model._meta.pk.max_length or 0 for stream in all_streams())


LIMITS = {
    "records in a batch": settings.MAX_BATCH_RECORDS,
    "bytes of a body": settings.MAX_BODY_BYTES,
    "bytes of an uploaded file": settings.MAX_UPLOAD_BYTES,
    "bytes of a row": MAX_ROW,
    "records pending": settings.MAX_PENDING_RECORDS,
    "rows of a page": MAX_PAGE_SIZE,
    "held records named": MAX_HELD,
    "characters of an identifier": identifier_length(),
    "characters of an `Idempotency-Key`": 255,  # test_api_repeats.py
    "levels of nesting": MAX_DEPTH,
    "days that a session": BOOKABLE_AHEAD.days,
    "minutes that other times": CLOCK_TOLERANCE.total_seconds() / 60,
}


def test_the_limits_are_the_codes() -> None:
    rows = table("what", "at most", "setting")
    assert len(rows) == len(LIMITS)
    for what, most, setting in rows:
        [limit] = [limit for beginning, limit in LIMITS.items() if what.startswith(beginning)]
        assert most == f"{limit:,.0f}", what
        assert not setting or getattr(settings, setting.strip("`")) == limit


def test_what_it_names_is_there() -> None:
    capitals = set(re.findall(r"`([A-Z][A-Z_]{3,})`", GUIDE)) - {"TUTORMAX_URL", "TUTORMAX_API_KEY"}
    assert capitals
    assert capitals <= set(setting_names())
    browser = GUIDE[GUIDE.index("**From a browser**") : GUIDE.index("Whoever can read the page")]
    assert set(settings.CORS_ALLOW_HEADERS) <= names([browser])


@pytest.mark.parametrize("path", sorted(set(re.findall(r"/(?:api|health|docs|openapi)[\w./{}-]*", GUIDE))))
def test_its_paths_lead_somewhere(path: str) -> None:
    try:
        found = resolve(path.rstrip(".").replace("{stream}", "tutors"))
    except Resolver404:
        pytest.fail(path)
    assert found.func.__name__ != "unknown_path"


def test_its_links_lead_somewhere() -> None:
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^#+ (.*)$", GUIDE, re.MULTILINE)}
    targets = re.findall(r"\]\(([^)]+)\)", GUIDE)
    assert targets
    for target in targets:
        assert target.removeprefix("#") in headings if target.startswith("#") else (ROOT / "docs" / target).exists()

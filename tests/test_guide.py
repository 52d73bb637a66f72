"""The client guide says what is so: its snippets run, and show what it shows; its tables have what the code has."""

import http.client
import json
import os
import re
import shlex
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from subprocess import PIPE
from typing import Any, Self

import pytest
from django.conf import settings
from django.test import Client
from django.urls import Resolver404, resolve

from api.deliveries import MAX_HELD
from api.errors import CODES
from api.pagination import MAX_PAGE_SIZE
from conftest import NewDatabase
from enrichment.models import HeldRecord
from ingestion.fields import CLOCK_TOLERANCE
from ingestion.files.formats.csv_rows import MAX_ROW
from ingestion.payloads import MAX_CONTAINERS, MAX_DEPTH, MAX_VALUES
from ingestion.streams import all_streams
from tests.api import ask
from tests.forks import setting_names
from tests.servers import ROOT, Cluster, WebServer, manage, wait_until
from tutoring.schemas import MAX_BOOKING_LEAD
from tutoring.tests.factories import tutor
from tutormax.runner.credentials import Credentials

GUIDE = (ROOT / "docs" / "client-guide.md").read_text()
MASKED = {"timestamp", "received_at", "processed_at", "stored_at", "tenure_days", "status_url"}
"""What differs from run to run; of it the type is compared."""
END = "-- end of the snippet --"


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


class Shell:
    """One for all snippets, as a reader has it: what one sets, the next ones know."""

    def __init__(self, directory: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TUTORMAX_")}
        self.directory, self.errors = directory, directory / "stderr"
        with self.errors.open("w") as errors:
            self.popen = subprocess.Popen(
                ["sh", "-eu"], cwd=directory, env=environment, text=True, stdin=PIPE, stdout=PIPE, stderr=errors
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.popen.communicate()

    def run(self, block: Block) -> str:
        """What the snippet prints."""
        if block.text.startswith("# client.py"):
            (self.directory / "client.py").write_text(block.text)
            return ""
        (self.directory / "snippet").write_text(block.text)
        command = ". ./snippet" if block.language == "sh" else f"{shlex.quote(sys.executable)} snippet"
        assert self.popen.stdin and self.popen.stdout
        self.popen.stdin.write(f"{command} </dev/null; echo {END}\n")
        self.popen.stdin.flush()
        output = ""
        while not output.endswith(f"{END}\n") and (line := self.popen.stdout.readline()):
            output += line
        errors = self.errors.read_text()
        assert output.endswith(f"{END}\n") and not errors, f"Line {block.line}: {errors}{output}"
        return output.removesuffix(f"{END}\n")


def test_the_snippets_do_what_is_shown(new_database: NewDatabase, tmp_path: Path) -> None:
    """Beside demo data, after which the deliveries are numbered."""
    database = new_database()
    key = manage("create_api_key", "guide", database_url=database).stdout.split()[-1]
    others: list[str] = []
    with WebServer(database) as web:
        small = ("--tutors=5", "--students=9", "--days=3", "--faults")
        manage("generate_data", *small, f"--post={web.url}", f"--key={key}", database_url=database)
        manage("enrich_pending", database_url=database)
        idle = ask(f"{web.url}/api/queue/stats", key)[2]["waiting"]
        before = ask(f"{web.url}/api/tutors", key, tutor())[2]["delivery"]
        (tmp_path / ".run").mkdir()
        Credentials(url=web.url, api_key=key).write(tmp_path / ".run" / "credentials.env")
        with Cluster(database), Shell(tmp_path) as shell:
            for block in blocks():
                output = shell.run(block)
                if block.shown is not None and comparable(output, before) != comparable(block.shown):
                    others.append(f"Line {block.line}:\n{output}")
                wait_until(lambda: is_idle(web.url, key, idle), f"line {block.line} is worked off")
    assert not others, "\n".join(others)
    assert any(idle.values())


class Script(socketserver.ThreadingTCPServer):
    """Answers each request with the next of `answers`, byte by byte as given, and closes the connection."""

    daemon_threads = True

    def __init__(self, *answers: bytes) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, bytes]] = []
        """The Idempotency-Key and the body of each request."""
        super().__init__(("127.0.0.1", 0), ScriptedAnswer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class ScriptedAnswer(socketserver.StreamRequestHandler):
    server: Script

    def handle(self) -> None:
        self.rfile.readline()
        headers = http.client.parse_headers(self.rfile)
        self.server.sent.append((headers["Idempotency-Key"], self.rfile.read(int(headers["Content-Length"]))))
        self.wfile.write(self.server.answers.pop(0))


def answer(status: int, body: bytes = b"{}", **headers: str) -> bytes:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} .\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Those that the client would have made."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    return pauses


def post_to(server: Script, monkeypatch: pytest.MonkeyPatch, *records: Any) -> list[tuple[int, Any]]:
    """What the guide's client answers when it posts these."""
    monkeypatch.setenv("TUTORMAX_URL", server.url)
    monkeypatch.setenv("TUTORMAX_API_KEY", "key")
    [source] = [block.text for block in blocks() if block.text.startswith("# client.py")]
    client: dict[str, Any] = {}
    exec(source, client)
    with server:
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        try:
            return [client["call"]("/api/tutors", record) for record in records]
        finally:
            server.shutdown()


def test_its_client_sends_again_what_it_advises(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    """Under one Idempotency-Key, after pauses that grow; what is refused is not sent again."""
    server = Script(answer(503, Retry_After="9"), b"", answer(429), answer(500), answer(202), answer(422))
    answers = post_to(server, monkeypatch, {"tutor_id": "0"}, {"tutor_id": "1"})
    assert [status for status, _ in answers] == [202, 422]
    assert len(set(server.sent[:5])) == 1
    assert server.sent[5][0] != server.sent[0][0]
    assert len(pauses) == 4
    assert pauses[0] == 9
    assert all(0.5 * 2**n <= pause <= 2**n for n, pause in enumerate(pauses) if n)


def test_its_client_bears_what_breaks_off_and_what_proxies_say(
    monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    page = b"<h1>Bad Gateway</h1>"
    in_an_hour = formatdate(time.time() + 3600, usegmt=True)
    server = Script(
        answer(202, b'{"success": true}')[:-5],  # cut off
        b"no HTTP at all\r\n\r\n",
        answer(502, page),
        answer(503, page, Retry_After=in_an_hour),
        answer(503, page, Retry_After="soon"),
        answer(202, b'{"delivery": 1}'),
        answer(403, page),
    )
    answers = post_to(server, monkeypatch, {"tutor_id": "0"}, {"tutor_id": "1"})
    assert answers == [(202, {"delivery": 1}), (403, {"error": {"message": page.decode()}})]
    assert len(set(server.sent[:6])) == 1
    assert [pause > 3000 for pause in pauses] == [False, False, False, True, False]


def is_idle(url: str, key: str, waiting: dict[str, int]) -> bool:
    """Nothing is pending, and no more waits than did."""
    status, _, told = ask(f"{url}/api/queue/stats", key)
    return status == 200 and not any(told["queues"].values()) and told["waiting"] == waiting


def comparable(text: str, before: int = 0) -> Any:
    """The words; or where it is JSON, the values, without what differs from run to run; deliveries as counted."""
    if not text.startswith('{"'):
        return text.split()
    values, decoder, left = [], json.JSONDecoder(), text.strip()
    while left:
        value, end = decoder.raw_decode(left)
        values.append(masked(value, before))
        left = left[end:].lstrip()
    return values


def masked(value: Any, before: int) -> Any:
    if isinstance(value, dict):
        return {name: type(each) if name in MASKED else masked(each, before) for name, each in value.items()} | {
            name: value[name] - before for name in ("delivery", "id") if isinstance(value.get(name), int)
        }
    return [masked(each, before) for each in value] if isinstance(value, list) else value


# As a page of the server.


@pytest.mark.parametrize("path", ["/guide", "/guide/"])
def test_it_is_a_page(path: str) -> None:
    page = Client().get(path).content.decode()
    assert page.count("<pre>") == GUIDE.count("```") / 2
    assert page.count("<table>") == len(re.findall(r"^\|[-|]+\|$", GUIDE, re.MULTILINE))
    assert "```" not in page and "**" not in re.sub(r"<pre>.*?</pre>", "", page, flags=re.DOTALL)
    ids, targets = (re.findall(rf' {name}="#?([\w-]+)"', page) for name in ("id", "href"))
    assert len(ids) == len(set(ids)) == page.count("<h1") + page.count("<h2")
    assert {"retries", "errors"} <= set(targets) <= set(ids)
    assert ".md" not in page  # what leads from file to file is for readers of the files


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
    rows = table("status", "`code`", "what it means", "what to do", "retry")
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
    "records of a stream pending": settings.MAX_PENDING_RECORDS,
    "of these, records of one client": settings.MAX_CLIENT_PENDING_RECORDS,
    "bytes of one client's pending": settings.MAX_CLIENT_PENDING_BYTES,
    "records of one client and stream that wait": settings.MAX_CLIENT_WAITING_RECORDS,
    "open dead letters of one client": settings.MAX_CLIENT_DEAD_LETTERS,
    "seconds that a processed delivery is kept": settings.RETENTION,
    "rows of a page": MAX_PAGE_SIZE,
    "held records named": MAX_HELD,
    "characters of an identifier": identifier_length(),
    "characters of an `Idempotency-Key`": 255,  # test_api_repeats.py
    "lists and objects": MAX_CONTAINERS,
    "values in a body": MAX_VALUES,
    "levels of nesting": MAX_DEPTH,
    "days that a session": MAX_BOOKING_LEAD.days,
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

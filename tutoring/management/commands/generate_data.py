import http.client
import json
import sys
import time
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from tutoring.synthetic.faults import Fault, in_batches, plant
from tutoring.synthetic.people import Plan
from tutoring.synthetic.regular import Batch, regular

MAX_WAIT = 600
"""Seconds a server may go on asking to wait (429, 503) before we give up."""
RETRY_DELAYS = (0, 0.5, 1, 2)
"""Seconds before a batch is sent again, each time a connection has broken; one more and we give up."""
MIN_DATE = date(1980, 1, 1)
"""Tutors and students are older than their sessions, and times of records must not be before 1970."""
REPORT_INTERVAL = 5
"""Seconds between two lines of progress, where there is no terminal."""


class Command(BaseCommand):
    help = "Generates synthetic, linked, reproducible tutors, students, sessions and feedback, as files or over HTTP."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tutors", type=at_least_one, default=120, metavar="N", help="(120)")
        parser.add_argument("--students", type=at_least_one, default=480, metavar="N", help="(480)")
        parser.add_argument("--days", type=at_least_one, default=14, metavar="D", help="days of sessions (14)")
        parser.add_argument("--seed", type=int, default=1, metavar="S", help="same seed, same records (1)")
        parser.add_argument(
            "--until",
            type=date.fromisoformat,
            metavar="DATE",
            help="all times are before 00:00 UTC of this day (today); same seed and day, same records",
        )
        parser.add_argument("--faults", action="store_true", help="add faulty and late records, and list them")
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("--out", type=Path, metavar="DIR", help="write NDJSON files to this new or empty directory")
        where.add_argument("--post", metavar="URL", help="post to the server at this URL")
        parser.add_argument("--key", metavar="K", help="API key to post with")

    def handle(self, **options: Any) -> None:
        today = datetime.now(UTC).date()
        until = options["until"] or today
        if until > today:
            raise CommandError(f"--until must not be after today ({today}, UTC).")
        if until.toordinal() - options["days"] < MIN_DATE.toordinal():
            raise CommandError(f"--days must not reach back before {MIN_DATE.year}.")
        if not 0 <= options["seed"] < 10**18:
            raise CommandError("--seed must have at most 18 digits and no sign; it is part of every key.")
        if options["post"] and not options["key"]:
            raise CommandError("--post requires --key; create one with manage.py create_api_key.")
        plan = Plan(options["tutors"], options["students"], options["days"], options["seed"], until)
        try:
            faults = plant(plan) if options["faults"] else []
        except ValueError as error:
            raise CommandError(str(error)) from None
        if options["out"]:
            counts, verb = write(plan, faults, options["out"]), "Wrote"
        else:
            batches = progress(chain(regular(plan), in_batches(faults)))
            counts, verb = post(batches, options["post"], options["key"]), "Posted"
        listed = ", ".join(f"{number:,} {stream}" for stream, number in counts.items())
        self.stdout.write(f"{verb} {counts.total():,} records: {listed} (seed {plan.seed}, until {until}).")
        if faults:
            self.stdout.write(table(faults))


def at_least_one(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise ArgumentTypeError(f"must be a whole number, at least 1, not {text}")
    return int(text)


def table(faults: list[Fault]) -> str:
    """The faults by kind, and the totals by expected outcome."""
    rows = [("fault", "stream", "records", "expected")]
    rows += [(fault.kind, fault.stream, str(len(fault.records)), fault.expected) for fault in faults]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        f"{kind:{widths[0]}}  {stream:{widths[1]}}  {n:>{widths[2]}}  {expected}" for kind, stream, n, expected in rows
    ]
    totals = Counter[str]()
    for fault in faults:
        totals[fault.expected] += len(fault.records)
    summary = "; ".join(f"{number} {expected}" for expected, number in totals.items())
    return "\n".join(
        [
            "",
            *lines,
            "",
            f"{totals.total()} are faulty on purpose: {summary}.",
            "(The split between updated and stale depends on the order of processing; their sum does not.)",
        ]
    )


def write(plan: Plan, faults: list[Fault], directory: Path) -> Counter[str]:
    """A numbered NDJSON file for each stream, in the order to post them; then further files of planted records."""
    counts = Counter[str]()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise CommandError(f"{directory} is not empty: choose a new or empty directory.")
        names: dict[str, str] = {}
        for stream, records in regular(plan):
            append(directory / names.setdefault(stream, file_name(len(names) + 1, stream)), records)
            counts[stream] += len(records)
        for number, (stream, records) in enumerate(in_batches(faults), len(names) + 1):
            append(directory / file_name(number, stream), records)
            counts[stream] += len(records)
    except OSError as error:
        raise CommandError(f"Cannot write to {directory}: {error.strerror}.") from None
    return counts


def file_name(number: int, stream: str) -> str:
    return f"{number:02d}-{stream}.ndjson"


def append(path: Path, records: list[Any]) -> None:
    with path.open("a", encoding="ascii", newline="\n") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def progress(batches: Iterable[Batch]) -> Iterator[Batch]:
    """The batches, with a bar on a terminal and now and then a line elsewhere, on standard error."""
    if sys.stderr.isatty():
        with tqdm(unit=" records", unit_scale=True, desc="posted") as bar:
            for stream, records in batches:
                yield stream, records
                bar.update(len(records))
        return
    posted, reported_at = 0, time.monotonic()
    for stream, records in batches:
        yield stream, records
        posted += len(records)
        if time.monotonic() - reported_at >= REPORT_INTERVAL:
            reported_at = time.monotonic()
            print(f"{posted:,} records posted", file=sys.stderr, flush=True)


def post(batches: Iterable[Batch], url: str, key: str) -> Counter[str]:
    """Posts each batch to the server at `url`, in order, over one connection. Returns the records posted, by stream.

    Invalid records become dead letters. CommandError, with a sentence, for what waiting does not fix.
    """
    if not (key.isascii() and key.isprintable()):
        raise CommandError("This is not a key made by create_api_key.")
    connection, path = connect(url)
    headers = {"Authorization": f"Api-Key {key}", "Content-Type": "application/json", "Accept": "application/json"}
    counts = Counter[str]()
    try:
        for stream, records in batches:
            target = f"{path}/api/{stream}/batch?invalid=dead-letter"
            status, body = send_with_retries(connection, target, json.dumps(records).encode(), headers)
            if status != http.HTTPStatus.ACCEPTED:
                raise CommandError(f"The server rejected a batch of {stream} with {status}: {error_message(body)}")
            counts[stream] += len(records)
    finally:
        connection.close()
    return counts


def connect(url: str) -> tuple[http.client.HTTPConnection, str]:
    """A connection, not yet opened, and the path that the server's own paths follow."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise CommandError(f"{url} is not a valid address; use one such as http://localhost:8000.") from None
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if parts.scheme not in kinds or not parts.hostname:
        raise CommandError(f"{url} is not a valid address; use one such as http://localhost:8000.")
    return kinds[parts.scheme](parts.hostname, port, timeout=60), parts.path.rstrip("/")


def send_with_retries(
    connection: http.client.HTTPConnection, target: str, body: bytes, headers: dict[str, str]
) -> tuple[int, bytes]:
    """Status and body of the answer, after waiting as long as the server asks (Retry-After), up to MAX_WAIT."""
    waited = 0
    while True:
        response, answer = send(connection, target, body, headers)
        if response.status not in (http.HTTPStatus.TOO_MANY_REQUESTS, http.HTTPStatus.SERVICE_UNAVAILABLE):
            return response.status, answer
        pause = parse_retry_after(response.headers.get("Retry-After", ""))
        waited += pause
        if waited > MAX_WAIT:
            return response.status, answer
        time.sleep(pause)


def send(
    connection: http.client.HTTPConnection, target: str, body: bytes, headers: dict[str, str]
) -> tuple[http.client.HTTPResponse, bytes]:
    """One answer. Where a connection breaks, the batch is sent again over a new one: no record is stored twice."""
    failure: Exception
    for pause in RETRY_DELAYS:
        try:
            connection.request("POST", target, body, headers)
            response = connection.getresponse()
            return response, response.read()
        except ConnectionError as error:
            failure = error
            connection.close()
            time.sleep(pause)
        except (OSError, http.client.HTTPException, ValueError) as error:
            failure = error
            break
    what = getattr(failure, "strerror", None) or str(failure) or type(failure).__name__
    raise CommandError(f"No answer from {connection.host}:{connection.port}: {what}.")


def parse_retry_after(retry_after: str) -> int:
    """1 to 60."""
    return min(max(int(retry_after), 1), 60) if retry_after.isascii() and retry_after.isdigit() else 1


def error_message(body: bytes) -> str:
    """What the server says in the API's error shape, or the beginning of whatever else it sent."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return " ".join(body[:200].decode("utf-8", "replace").split()) or "no explanation"

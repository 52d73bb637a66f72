"""The ledger of the fault runs (faults/): silent about a sound system, and not about a single thing that is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from pytest_django import Settings

from enrichment.lookups.models import Lookup
from enrichment.models import HeldRecord, MinuteStat
from faults import ledger, report
from faults.client import Notes
from faults.ledger import Ledger
from faults.records import MAX_FILMS, NOBODY, POISON, Fate, Post, Sent, artist_numbers, film_of, posts
from faults.report import Result
from faults.runs import samples
from ingestion.files.sets import Options, SentFile, inspect_sent
from ingestion.files.uploads import ingest_files
from ingestion.models import Delivery, Upload
from ingestion.services import accept
from ingestion.streams import get, names
from movies.models import Entry, Film, LibraryFilm
from music.models import Artist, ArtistMonth, Listen, Listener
from music.tests import service
from standins import musicbrainz, spotify, tmdb
from standins.server import Arrival, Response, Server
from tests.api import api
from tests.records import work_off
from tutoring.models import Feedback, Student, Tutor, TutoringSession

pytestmark = pytest.mark.django_db(transaction=True)

CLIENT = "test"
STATUS = HeldRecord.Status


def take_in(notes: Notes, post: Post) -> None:
    """As the API does; the client is answered."""
    notes.posts.append(post)
    notes.attempts[post.number] += 1
    if post.form == "file":
        with ExitStack() as opened:
            sent = SentFile(file=BytesIO(post.body), name=ledger.upload_name(post), content_type=post.content_type)
            files = inspect_sent([sent], Options(stream=get(post.stream)), opened)
            notes.accepted[post.number] = [ingest_files(files, CLIENT, clear_missing=True)[0].pk]
    elif post.accepted:
        fmt = Delivery.Format.NDJSON if post.form == "ndjson" else Delivery.Format.JSON
        columns: dict[str, Any] = {"idempotency_key": post.idempotency_key} if post.idempotency_key else {}
        payloads = [record.payload for record in post.records]
        taken = accept(
            *(get(post.stream), payloads, post.body), fmt=fmt, client=CLIENT, keep_invalid=post.keep_invalid, **columns
        )
        notes.accepted[post.number] = [taken.delivery.pk]


def poison(number: int) -> Post:
    """A record whose worker has died three times."""
    payload = {**get("tutors").example, "tutor_id": "t-poison", "name": POISON}
    return Post(number, "tutors", [Sent("tutors", payload, Fate.POISON)], "one")


@pytest.fixture
def notes(settings: Settings) -> Notes:
    """Of a client whose records, of all streams, have been processed, and films and artists looked up."""
    notes = Notes(client=CLIENT)
    for number, post in enumerate(posts(Random(11), "r11", 0, 6)):
        take_in(notes, post)
        if number == 20:
            work_off()  # much of it has to wait
    bad = poison(len(notes.posts))
    take_in(notes, bad)
    Delivery.objects.filter(pk=notes.accepted[bad.number][0]).update(part=1, crash_count=3)
    numbers = artist_numbers(0)
    known = [service.band(number, area="") for number in numbers if ledger.is_at_musicbrainz(number)]
    things = [thing for each in numbers for thing in (service.at_spotify(each), service.album_at_spotify(each))]
    with (
        tmdb.start([film_of(0, number) for number in range(MAX_FILMS)]) as films,
        service.services(of_spotify=spotify.Spotify(things), of_musicbrainz=musicbrainz.MusicBrainz(known)),
    ):
        settings.TMDB_URL, settings.TMDB_API_KEY, settings.TMDB_RATE = films.url, "any", (100_000, 1)
        work_off()
        service.look_up()
    Upload.objects.update(settled_at=F("finished_at"))
    return notes


def held(**fields: Any) -> Any:
    return HeldRecord.objects.filter(**fields)


def of_client(**fields: Any) -> Delivery:
    """A delivery of the client's that holds nothing back."""
    return Delivery.objects.filter(client=CLIENT, source=Delivery.Source.CLIENT, held=0, upload=None, **fields)[0]


def copied(delivery: Delivery, **changes: Any) -> None:
    delivery.pk, delivery.idempotency_key = None, None
    for name, value in changes.items():
        setattr(delivery, name, value)
    delivery.save(force_insert=True)


def stored_for_nobody() -> None:
    """A row whose record refers to what never came."""
    row = Feedback.objects.all()[0]
    key = held(stream="feedback", missing_key__endswith=NOBODY, status=STATUS.WAITING)[0].key
    Feedback.objects.filter(pk=key).delete()
    row.pk = key
    row.save(force_insert=True)


def reopen() -> None:
    """A record waits although what it refers to is stored."""
    record = held(status=STATUS.RESOLVED, code="missing_reference", resolved_by__isnull=False)[0]
    held(pk=record.pk).update(status=STATUS.WAITING, resolved_by=None, outcome="")


def vars_of(row: Any) -> dict[str, Any]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if not field.primary_key}


SABOTAGES: dict[str, tuple[str, Callable[[], object]]] = {
    "a delivery is lost": ("kept", lambda: of_client().delete()),
    "its body is another": ("kept", lambda: Delivery.objects.filter(pk=of_client().pk).update(body=b"[]")),
    "a file is lost": ("kept", lambda: Upload.objects.update(name="other")),
    "a file is unfinished": ("kept", lambda: Upload.objects.update(finished_at=None)),
    "a post is kept twice": ("once", lambda: copied(of_client(idempotency_key__isnull=False))),
    "what nobody sent is kept": ("once", lambda: copied(of_client(), body=b'[{"tutor_id": "x"}]')),
    "a delivery is not processed": (
        "outcome",
        lambda: Delivery.objects.filter(pk=of_client().pk).update(processed_at=None),
    ),
    "a claim is left": ("outcome", lambda: Delivery.objects.update(started_at=F("received_at"))),
    "a held record is lost": ("outcome", lambda: held(status=STATUS.DEAD, code="invalid").delete()),
    "a row is lost": ("newest", lambda: Feedback.objects.filter(pk=Feedback.objects.all()[0].pk).delete()),
    "a row is doubled": ("outcome: ", lambda: Feedback(**vars_of(Feedback.objects.all()[0]), pk="other").save()),
    "an older version is stored": (
        "newest",
        lambda: Student.objects.update(version_at=F("version_at") - timedelta(seconds=1)),
    ),
    "an equally old one is stored": ("newest", lambda: Student.objects.update(delivery=F("delivery") - 1)),
    "a play is from nowhere": ("newest", lambda: Listen.objects.update(delivery=0)),
    "a row without its reference is stored": ("newest: ", stored_for_nobody),
    "a field is another": ("fields", lambda: Tutor.objects.update(name="X")),
    "a derived field is wrong": (
        "fields",
        lambda: TutoringSession.objects.update(week_of_year=F("week_of_year") % 52 + 1),
    ),
    "a delay is of an earlier start": ("fields", lambda: Feedback.objects.update(feedback_delay_hours=0.01)),
    "a warning is missing": ("fields", lambda: Tutor.objects.exclude(warnings=[]).update(warnings=[])),
    "a day has passed": ("fields", lambda: Tutor.objects.update(tenure_days=F("tenure_days") - 1)),
    "an entry is another": ("fields", lambda: Entry.objects.update(title="X")),
    "a waiting record is closed": ("held", lambda: held(status=STATUS.WAITING).update(status=STATUS.RESOLVED)),
    "a waiting record is dead": (
        "held",
        lambda: held(status=STATUS.WAITING).update(status=STATUS.DEAD),
    ),
    "an innocent record is dead": (
        "held",
        lambda: held(status=STATUS.RESOLVED).update(status=STATUS.DEAD, code="crashed_worker"),
    ),
    "a poisoned record is not": ("held", lambda: held(code="crashed_worker").update(code="invalid")),
    "a record waits in vain": ("held: ", reopen),
    "a record stays queued": ("held", lambda: held(status=STATUS.WAITING).update(queued_in=1)),
    "the statistics have one more": ("statistics", lambda: MinuteStat.objects.update(updated=F("updated") + 1)),
    "they have one dead less": (
        "statistics",
        lambda: MinuteStat.objects.filter(dead__gt=0).update(dead=F("dead") - 1),
    ),
    "a latency is counted twice": ("statistics", lambda: MinuteStat.objects.update(over_1h=F("over_1h") + 1)),
    "an upload has no outcome": ("uploads", lambda: Upload.objects.update(finished_at=None)),
    "a lookup is open": ("lookups", lambda: Lookup.objects.update(status="open")),
    "a lookup has failed": ("lookups", lambda: Lookup.objects.update(status="failed")),
    "a film is another": ("lookups", lambda: Film.objects.update(tmdb_id=F("tmdb_id") + 1)),
    "a film is not found": ("lookups", lambda: LibraryFilm.objects.update(match="not_found")),
    "an artist is another": ("lookups", lambda: Artist.objects.update(mbid="other")),
    "a play is counted twice": ("statistics", lambda: ArtistMonth.objects.update(plays=F("plays") + 1)),
    "a play is not counted": ("statistics", lambda: Listener.objects.update(plays=F("plays") - 1)),
}


def is_found(kind: str, notes: Notes) -> bool:
    return any(finding.startswith(kind) for finding in Ledger(notes).findings())


def believes_the_client(notes: Notes) -> None:
    """What it sent, and what it was told, is true whatever the database holds."""
    keyed = next(post for post in notes.posts if post.idempotency_key and post.number in notes.accepted)
    others = {number: told for number, told in notes.accepted.items() if number != keyed.number}
    twice = [*notes.accepted[keyed.number], 999_999]
    assert is_found("once", replace(notes, accepted={**others, keyed.number: twice}))
    assert is_found("kept", replace(notes, accepted=others))
    assert is_found("once", replace(notes, posts=[post for post in notes.posts if post is not keyed]))
    assert is_found("answers", replace(notes, wrong=["500 for /api/tutors"]))


def test_the_ledger_is_silent_about_what_is_right_and_names_whatever_is_wrong(notes: Notes) -> None:
    """One world for all of them: each is undone by the end of its transaction."""
    metrics = samples(api().get("/metrics").content.decode())
    totals = api().get("/api/stats").json()
    assert [*Ledger(notes).findings(), *ledger.metrics_add_up(metrics), *ledger.totals_add_up(totals)] == []
    assert {arrival.sent.stream for arrival in Ledger(notes).arrivals} == set(names())
    unnoticed = {}
    for name, (kind, sabotage) in SABOTAGES.items():
        with transaction.atomic():
            sabotage()
            if not is_found(kind, notes):
                unnoticed[name] = list(Ledger(notes).findings())
            transaction.set_rollback(True)
    assert unnoticed == {}
    believes_the_client(notes)
    for name, value in metrics.items():
        if re.match(r"tutormax_(records_total|pending_records|held_records)\{", name):
            assert list(ledger.metrics_add_up({**metrics, name: value + 1})), name
    for stream in totals["streams"].values():
        stream["accepted"] += 1
        assert list(ledger.totals_add_up(totals))
        stream["accepted"] -= 1


def test_it_counts_requests_as_the_provider_sees_them() -> None:
    server = Server(lambda request: Response())
    server.close()
    server.arrivals = [Arrival(number * 0.051, "GET", "/3/movie/1", {}, 200) for number in range(100)]
    assert list(ledger.limits_are_kept({"TMDB": server}, 20, 1)) == []
    server.arrivals.append(Arrival(2.501, "GET", "/3/movie/1", {}, 200))
    assert len(list(ledger.limits_are_kept({"TMDB": server}, 20, 1))) == 1
    server.close()


CHAIN = """\
Traceback (most recent call last):
  File "x.py", line 1, in <module>
    step()
KeyError: 1

During handling of the above exception, another exception occurred:

"""
TRACEBACK = """\
2026-01-01 00:00:00,000 ERROR [-] enrichment.tasks: A step failed.
Traceback (most recent call last):
  File "x.py", line 1, in <module>
    step()
{}: the server closed the connection unexpectedly
2026-01-01 00:00:01,000 INFO [-] enrichment.tasks: Another line.
"""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("django.db.utils.OperationalError", True),
        ("psycopg.errors.AdminShutdown", True),
        ("KeyError", False),
        ("django.core.exceptions.FieldError", False),
    ],
)
def test_it_knows_tracebacks_that_a_database_which_is_away_explains(error: str, expected: bool) -> None:
    traceback = TRACEBACK.format(error)
    assert bool(list(ledger.logs_are_clean({"web": traceback}))) is not expected
    assert bool(list(ledger.logs_are_clean({"web": CHAIN + traceback}))) is not expected


def test_results_are_written_in_place_of_the_last_ones(tmp_path: Path) -> None:
    document = tmp_path / "reliability.md"
    document.write_text(f"# Title\n\n{report.BEGIN}\nold\n{report.END}\n\nThe end.\n")
    result = Result(
        seed=7,
        faults=["cluster killed", "connections cut (9 connections)"],
        records=1234,
        posts=100,
        statuses={202: 90, 503: 8, 0: 2},
        recovery=4.25,
        findings=["newest: tutors t1 is lost", "once: kept 2 times", "fields: wrong", "logs: KeyError"],
    )
    report.write([result], {"disk full": "needs root"}, document)
    text = document.read_text()
    assert "| 7 | cluster killed, connections cut (9 connections) | 1,234 | 1 / 1 / 1 / 1 | 4.2 s |" in text
    assert "10 attempts" in text.replace("\n", " ")
    assert "old" not in text and text.startswith("# Title\n") and text.endswith("\nThe end.\n")

"""Several workers at one library, and killed ones: no film is lost, and none is computed from old entries."""

from __future__ import annotations

import random
import signal
from typing import Any

import pytest

from ingestion.models import Delivery, Upload
from movies.models import Entry, LibraryFilm, UploadFilm
from movies.tests.exports import FIRST, SECOND, archive, film, finish, send, viewing
from tests.records import assert_nothing_vanished, deliver
from tests.servers import wait_until
from tests.workers import run_workers, worker

pytestmark = pytest.mark.django_db(transaction=True)

FILMS = 120


def export(suffix: str = "") -> dict[str, list[dict[str, Any]]]:
    films = [(f"Film {n}{suffix}", 1900 + n, f"f{n}") for n in range(FILMS)]
    return {
        "watched.csv": [film(*each) for each in films],
        "ratings.csv": [film(*each, Rating="3.5") for each in films],
        "likes/films.csv": [film(*each) for each in films[::2]],
        "diary.csv": [viewing(*each[:2], f"v{n}") for n, each in enumerate(films)],
    }


def records_of(n: int) -> list[dict[str, Any]]:
    of_film = {"library": "anna", "title": f"Film {n}", "year": 1900 + n, "letterboxd_uri": f"https://boxd.it/f{n}"}
    liked = [{**of_film, "kind": "likes"}] if n % 2 else []
    line = {**of_film, "kind": "diary", "letterboxd_uri": f"https://boxd.it/v{n}", "watched_on": "2025-01-01"}
    return [{**of_film, "kind": "watched"}, {**of_film, "kind": "ratings", "rating": 3.5}, *liked, line]


def check(suffix: str = "") -> None:
    rows = {row.title: row for row in LibraryFilm.objects.all()}
    assert sorted(rows) == sorted(f"Film {n}{suffix}" for n in range(FILMS))
    assert {(row.rating, row.seen, row.viewings) for row in rows.values()} == {(3.5, True, 1)}
    assert sum(row.liked for row in rows.values()) == FILMS / 2
    assert not Entry.objects.filter(film=None).exists()
    assert_nothing_vanished()


def test_records_of_one_library_by_four_workers() -> None:
    """As clients post them: one by one, of all kinds, in any order."""
    records = [record for n in range(FILMS) for record in records_of(n)]
    random.Random(1).shuffle(records)
    for start in range(0, len(records), 5):
        deliver("entries", *records[start : start + 5])
    run_workers(4, "--records=20")
    finish()
    check()


def test_two_exports_of_one_library_by_four_workers() -> None:
    """All titles have changed between them, and their lines are worked off together."""
    send(archive(export(), FIRST))
    send(archive(export(" (restored)"), SECOND))
    run_workers(4, "--records=30")
    finish()
    check(" (restored)")
    newest = Upload.objects.filter(part_of=None).latest("pk")
    assert UploadFilm.objects.filter(upload=newest).count() == FILMS
    assert not Upload.objects.filter(part_of=None, settled_at=None).exists()


def test_killed_workers_lose_no_film_and_complete_the_upload_once() -> None:
    send(archive(export(), FIRST))
    send(archive(export(" (restored)"), SECOND))
    chance, done = random.Random(2), Delivery.objects.exclude(processed_at=None)
    for _ in range(8):
        target = done.count() + chance.randint(1, 3)
        process = worker("--records=25", CLAIM_LEASE="1")
        wait_until(lambda: done.count() >= target or process.popen.poll() is not None, "it is at work", every=0.01)  # noqa: B023
        process.popen.send_signal(signal.SIGKILL)
        process.popen.wait()
        process.stop()
    run_workers(2, CLAIM_LEASE="1")
    finish()
    check(" (restored)")
    assert not Upload.objects.filter(part_of=None, settled_at=None).exists()

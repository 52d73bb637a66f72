"""P4 of immutable streams: who is stored first stays, and `stored` learns of each row once, whatever crashes."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from django.db import transaction

from enrichment.held import fixing
from enrichment.models import HeldRecord
from enrichment.pipeline import batch
from enrichment.pipeline import upsert as persist
from ingestion import streams
from ingestion.models import Delivery
from ingestion.payloads import ascii_json
from ingestion.streams import Context, StoredRow, Stream, get
from tests.api import api, post
from tests.files import csv_of
from tests.held import reprocess
from tests.people import browser_of, person
from tests.promises.helpers import beside, one_student_of_each, row_of
from tests.records import assert_nothing_vanished, counts, deliver, send, stored, work_off
from tests.servers import PATIENCE, wait_until
from tests.workers import run_workers, worker
from tutoring.admin import TutorAdmin
from tutoring.models import Student, Tutor
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.django_db(transaction=True)

OLDER, NEWER = "2025-03-01T10:00:00Z", "2025-03-01T10:00:01Z"
DEAD = "/admin/enrichment/deadletter/"


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> list[list[StoredRow]]:
    """Tutors are immutable; the rows that `stored` got, call by call."""
    calls: list[list[StoredRow]] = []

    def note(rows: Sequence[StoredRow], context: Context) -> None:
        calls.append(list(rows))

    monkeypatch.setitem(streams._streams, "tutors", replace(get("tutors"), immutable=True, stored=note))
    return calls


def tutors_named(name: str, *numbers: int, **changes: Any) -> list[dict[str, Any]]:
    return [tutor(tutor_id=f"t{number:04}", name=name, **changes) for number in numbers]


@pytest.mark.parametrize("time", [OLDER, NEWER])
def test_a_known_key_is_stale_and_changes_nothing(seen: list[list[StoredRow]], time: str) -> None:
    send("tutors", *tutors_named("first", 1, location="Berlin", updated_at=OLDER))
    before = Tutor.objects.values().get()
    again = send("tutors", *tutors_named("second", 1, 2, updated_at=time))
    assert counts(again) == {"inserted": 1, "stale": 1}
    assert Tutor.objects.filter(pk="t0001").values().get() == before
    assert [[(row.columns["tutor_id"], row.is_new) for row in rows] for rows in seen] == [
        [("t0001", True)],
        [("t0002", True)],
    ]
    assert_nothing_vanished()


@pytest.mark.parametrize("number", [1, 49, 300])
def test_of_one_batch_the_first_arrival_is_inserted(seen: list[list[StoredRow]], number: int) -> None:
    """Whatever their times say, and by arrays as by COPY."""
    first = deliver("tutors", *tutors_named("first", *range(number), updated_at=NEWER))
    second = deliver("tutors", *tutors_named("second", *range(number), updated_at=OLDER))
    third = deliver("tutors", *tutors_named("third", *range(number), *range(number)))
    work_off()
    assert (counts(first), counts(second)) == ({"inserted": number}, {"stale": number})
    assert counts(third) == {"stale": 2 * number}
    assert set(Tutor.objects.values_list("name", "delivery")) == {("first", first.pk)}
    assert len({row.columns["tutor_id"] for rows in seen for row in rows}) == sum(map(len, seen)) == number
    assert_nothing_vanished()


def test_a_batch_of_stale_records_calls_nobody(seen: list[list[StoredRow]]) -> None:
    send("tutors", *tutors_named("first", 1))
    send("tutors", *tutors_named("second", 1))
    assert len(seen) == 1


def test_the_first_that_the_database_takes_is_inserted() -> None:
    """The others of its batch are divided until the bad one is alone."""
    rows = [
        row_of("tutors", tutor(tutor_id=key), position=position)
        for position, key in enumerate(["a", "a", "a", "b", "c"])
    ]
    rows[0]["age"] = 10**30
    with transaction.atomic():
        results = persist.store(get("tutors"), rows)
    assert isinstance(results[0], persist.BadRow)
    assert results[1:] == ["inserted", "stale", "inserted", "inserted"]
    assert stored("tutors", "a").position == 1


def test_a_fixed_record_whose_key_is_stored_meanwhile_is_stale() -> None:
    send("tutors", *tutors_named("bad", 1, email="nobody"), keep_invalid=True)
    dead = HeldRecord.objects.get()
    HeldRecord.objects.update(key="")  # as of a record from which no key can be computed: nothing closes it
    send("tutors", *tutors_named("good", 1))
    fixing.fix(dead, ascii_json(tutors_named("fixed", 1)[0]), dead.payload_version)
    bulk_action = reprocess({}, by="test")
    work_off()
    assert counts(bulk_action.deliveries.get()) == {"stale": 1}
    assert stored("tutors", "t0001").name == "good"
    assert_nothing_vanished()


def test_pages_say_that_a_stored_record_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TutorAdmin, "stream", get("tutors"))
    send("tutors", *tutors_named("good", 1))
    send("tutors", *tutors_named("bad", 1, email="nobody", updated_at=NEWER), keep_invalid=True)
    dead = HeldRecord.objects.get()
    operator = browser_of(person("operator"))
    page = operator.get(f"{DEAD}{dead.pk}/change/").content.decode()
    assert "It is already stored, and is never changed" in page
    fix = operator.get(f"{DEAD}{dead.pk}/fix/").content.decode()
    assert "t0001 is already stored and is never changed; reprocessing will have no effect." in fix
    assert "updated_at</code> is set" not in fix
    row = operator.get("/admin/tutoring/tutor/t0001/change/").content.decode()
    assert "send a newer version" not in row


def test_a_preview_says_what_is_known_already() -> None:
    send("tutors", *tutors_named("first", 1, 2, updated_at=OLDER))
    rows = [
        {name: value for name, value in each.items() if name != "location"}
        for each in tutors_named("second", 1, 2, 3, 3, updated_at=NEWER)
    ]
    told = post(api(), "/api/uploads?stream=tutors&dry_run=true", csv_of(rows), "text/csv").json()["uploads"][0]
    assert {name: told[name] for name in ("checked", "inserted", "updated", "stale")} == {
        "checked": 4,
        "inserted": 1,
        "updated": 0,
        "stale": 3,
    }
    assert told["cleared_records"] == 0
    assert "Of each key, the first row is stored." in str(told)


# Several workers, and crashes: each row makes a student, which only fits once into the table.


def make_students(patch: pytest.MonkeyPatch) -> Stream:
    stream = replace(get("tutors"), immutable=True, stored=one_student_of_each)
    patch.setitem(streams._streams, "tutors", stream)
    return stream


def totals() -> dict[str, int]:
    found: dict[str, int] = {}
    for delivery in Delivery.objects.all():
        for name, number in counts(delivery).items():
            found[name] = found.get(name, 0) + number
    return found


def assert_each_was_inserted_once(rows: int, records: int) -> None:
    assert totals() == {"inserted": rows, "stale": records - rows}
    assert Tutor.objects.count() == Student.objects.count() == rows
    assert not HeldRecord.objects.exists()
    assert_nothing_vanished()


@pytest.mark.postgresql
def test_of_two_workers_at_once_the_second_waits_for_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the statement nor what follows from it sees a row twice."""
    stream = make_students(monkeypatch)
    deliver("tutors", *tutors_named("first", *range(300)))
    deliver("tutors", *tutors_named("second", *reversed(range(300))))
    workers = [beside(lambda: batch.process_batch(stream, records=1)) for _ in range(2)]
    results = [each.result(PATIENCE) for each in workers]
    assert sorted(dict(result.outcomes).popitem() for result in results if result) == [
        ("inserted", 300),
        ("stale", 300),
    ]
    assert_each_was_inserted_once(300, 600)


def test_the_same_records_by_4_workers() -> None:
    for start in range(0, 100, 10):
        deliver("tutors", *tutors_named("some", *range(start, start + 100)))
    run_workers(4, "--immutable", "--records=30")
    assert_each_was_inserted_once(190, 1000)


def test_workers_killed_at_work_count_nothing_twice() -> None:
    for start in range(0, 600, 10):
        deliver("tutors", *tutors_named("some", *range(start, start + 20)))
    done = Delivery.objects.exclude(processed_at=None)
    for _ in range(8):
        target = done.count() + 3
        process = worker("--immutable", "--records=40", CLAIM_LEASE="1")
        wait_until(
            lambda target=target, process=process: done.count() >= target or process.popen.poll() is not None,  # type: ignore[misc]
            "it is at work",
            every=0.01,
        )
        process.popen.send_signal(signal.SIGKILL)
        process.popen.wait()
        process.stop()
    run_workers(2, "--immutable", CLAIM_LEASE="1")
    assert_each_was_inserted_once(610, 1200)

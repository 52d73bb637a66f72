"""How a delivery is kept: with one statement, the body as it is; the rows of files deflated."""

import json
import random
import tracemalloc
import zlib
from typing import Any

import pytest
from django.db import IntegrityError, connection
from django.test import Client

from enrichment.pipeline.batch import process_batch
from ingestion import backlog
from ingestion.models import Delivery
from ingestion.payloads import deflate, inflate
from ingestion.streams import get
from tests.api import api, post
from tests.files import csv_of
from tests.records import assert_nothing_vanished, counts, deliver, work_off
from tutoring.tests.factories import session, student, tutor

pytestmark = pytest.mark.django_db


def test_what_is_kept_is_what_create_would_keep() -> None:
    columns: dict[str, Any] = {
        "stream": "tutors",
        "client": "user:o'neill %s",
        "format": Delivery.Format.NDJSON,
        "body": bytes(range(256)) * 1000,
        "size": 256_000,
        "count": 3,
        "idempotency_key": "1",
    }
    kept = Delivery.objects.insert(**columns)
    created = Delivery.objects.create(**{**columns, "idempotency_key": "2"})
    pair: Any = Delivery.objects.filter(pk__in=[kept.pk, created.pk]).order_by("pk").values()
    ours, theirs = pair
    for own in ("id", "received_at", "idempotency_key"):
        assert ours.pop(own)
        assert theirs.pop(own)
    assert {**ours, "body": bytes(ours["body"])} == {**theirs, "body": bytes(theirs["body"])}


@pytest.mark.django_db(transaction=True)
def test_an_error_of_the_database_is_djangos() -> None:
    with pytest.raises(IntegrityError):
        Delivery.objects.insert(stream=None, client="x", body=b"", count=1)


@pytest.mark.django_db(transaction=True)
def test_accepting_takes_no_other_statement_while_the_bell_is_rung() -> None:
    backlog.find_refusal("tutors", "test")
    deliver("tutors", tutor())
    statements: list[str] = []

    def note(run: Any, sql: str, *rest: Any) -> Any:
        statements.append(sql)
        return run(sql, *rest)

    with connection.execute_wrapper(note):
        deliver("tutors", tutor())
    counting = 'SELECT "ingestion_delivery"."stream"'
    others = [sql for sql in statements if not sql.startswith(("INSERT INTO ingestion_delivery", counting))]
    assert len(others) == 1
    assert "ingestion_doorbell" in others[0]


@pytest.mark.postgresql
def test_bodies_are_packed_by_lz4() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attcompression FROM pg_attribute"
            " WHERE attrelid = 'ingestion_delivery'::regclass AND attname = 'body'"
        )
        assert cursor.fetchone() == ("l",)


# The rows of files.


def upload(stream: str, *records: dict[str, Any], client: Client | None = None) -> Delivery:
    answer = post(client or api(), f"/api/uploads?stream={stream}&name={len(records)}.csv", csv_of(records), "text/csv")
    assert answer.status_code == 201, answer.content
    return Delivery.objects.latest("pk")


def students(number: int) -> list[dict[str, Any]]:
    return [student(student_id=f"S-{count}") for count in range(number)]


def test_rows_of_files_are_kept_deflated_and_read_as_they_were() -> None:
    rows = students(150)
    delivery = upload("students", *rows)
    assert delivery.is_deflated
    assert len(delivery.body) * 8 < delivery.size == len(delivery.content)
    assert [json.loads(line)["student_id"] for line in delivery.content.split(b"\n")] == [
        row["student_id"] for row in rows
    ]
    posted = deliver("students", student(student_id="posted"))
    posted.refresh_from_db()
    assert not posted.is_deflated
    assert posted.content == bytes(posted.body)
    work_off()
    assert (counts(delivery), counts(posted)) == ({"inserted": 150}, {"inserted": 1})
    assert_nothing_vanished()


@pytest.mark.parametrize("body", [b"", b"x", b"{}\n" * 100_000, random.Random(1).randbytes(50_000)])
def test_what_is_inflated_is_what_was_deflated(body: bytes) -> None:
    kept = deflate(body)
    assert inflate(kept, len(body)) == body
    assert Delivery(body=kept[:20_000], is_deflated=True).beginning(kept[:20_000], 100) == body[:100]
    for damaged in (kept[:-1], b"no zlib", b"", kept[:5] + b"\xff" * 5 + kept[10:]):
        with pytest.raises(ValueError, match="unpack"):
            inflate(damaged, len(body))
    for size in {len(body) + 1, max(0, len(body) - 1)} - {len(body)}:
        with pytest.raises(ValueError, match=f"to {size} bytes"):
            inflate(kept, size)


def test_no_more_is_inflated_than_the_delivery_has() -> None:
    bomb = zlib.compress(bytes(200_000_000), 9)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="to 1000 bytes"):
            inflate(bomb, 1000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.django_db(transaction=True)
def test_a_damaged_body_is_an_error_that_people_see_and_no_record_vanishes() -> None:
    delivery = upload("students", *students(3))
    whole = bytes(delivery.body)
    Delivery.objects.filter(pk=delivery.pk).update(body=whole[:-3])
    batch = process_batch(get("students"))
    assert batch is not None
    assert "unpack" in batch.error
    assert counts(delivery) == {"pending": 3}
    assert delivery.last_error.startswith("code: ValueError: The body does not unpack")
    Delivery.objects.filter(pk=delivery.pk).update(body=whole)
    work_off()
    assert counts(delivery) == {"inserted": 3}
    assert_nothing_vanished()


def test_the_page_of_a_delivery_shows_rows_of_files(operator: Client) -> None:
    delivery = upload("students", *students(200))
    page = operator.get(f"/admin/ingestion/delivery/{delivery.pk}/change/").content.decode()
    assert "&quot;student_id&quot;: &quot;S-0&quot;" in page or "&quot;student_id&quot;:&quot;S-0&quot;" in page
    assert f"{delivery.size - 20_000:,} more bytes" in page


def test_a_record_of_a_file_that_is_not_processed_yet_is_found(viewer: Client) -> None:
    delivery = upload("students", *students(50), client=(client := api()))
    page = viewer.get("/admin/find/", {"q": "S-49"}, follow=True).content.decode()
    assert f"ingestion/delivery/{delivery.pk}/change/" in page
    answer = client.get("/api/students/S-49")
    assert (answer.status_code, answer.json()["delivery"]) == (404, delivery.pk)


def test_a_preview_knows_what_is_pending_in_files() -> None:
    upload("students", *students(5))
    sent = csv_of([session(session_id="X", student_id="S-4"), session(session_id="Y", student_id="S-9")])
    told = post(api(), "/api/uploads?stream=sessions&dry_run=true", sent, "text/csv").json()["uploads"][0]
    missing = {sample["value"] for group in told["missing_references"] for sample in group["samples"]}
    assert "S-9" in missing
    assert "S-4" not in missing

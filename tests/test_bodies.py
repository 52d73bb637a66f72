"""How a delivery is kept: with one statement, the body as it is."""

from typing import Any

import pytest
from django.db import IntegrityError, connection

from ingestion import backlog
from ingestion.models import Delivery
from tests.records import deliver
from tutoring.tests.factories import tutor

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
    backlog.is_full("tutors")
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

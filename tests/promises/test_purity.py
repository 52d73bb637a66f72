"""P8: enrichment is pure; derived fields are a function of the record and its context."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.utils import timezone

from ingestion.streams import Context, all_streams
from tests.promises.helpers import record_of

pytestmark = pytest.mark.django_db(transaction=True)


def test_enriching_asks_neither_the_clock_nor_the_database() -> None:
    def forbidden(*args: Any) -> None:
        raise AssertionError("enrich asked the database")

    now = timezone.now()
    row = {"scheduled_start": now, "tutor_id": "T-1001", "student_id": "ST-2001"}
    for stream in all_streams():
        record = record_of(stream.name, dict(stream.example))
        context = Context(now=now, facts=stream.facts(), rows={("sessions", "S-3001"): row})
        expected = stream.enrich(record, context), stream.warn(record, context)
        with time_machine.travel(now + timedelta(days=4000)), connection.execute_wrapper(forbidden):
            assert (stream.enrich(record, context), stream.warn(record, context)) == expected

"""The rows for bench.admin: 50 API keys and two members of staff, all else by admin.sql."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tests.people import person

if TYPE_CHECKING:
    from tests.admin_pages import Page


def fill(deliveries: int) -> None:
    """Makes the rows, in proportion to the number of deliveries."""
    from django.db import connection

    person(superuser=True)
    person("viewer")
    _make_keys()
    script = (Path(__file__).parent / "admin.sql").read_text()
    script = re.sub(r"^--.*\n", "", script, flags=re.MULTILINE).replace(":deliveries", str(deliveries))
    with connection.cursor() as cursor:
        for statement in script.split(";\n"):
            if statement.strip():
                cursor.execute(statement)


def _make_keys() -> None:
    """Of 40 clients; ten of them have a second key."""
    from django.utils import timezone

    from ingestion.models import ApiKey

    now = timezone.now()
    for number in range(40):
        key = ApiKey(name=f"school {number}", expiry_date=now + timedelta(days=number * 3) if number % 5 == 0 else None)
        key.issue()
        if number < 10:
            key.build_replacement(f"school {number}, the new one", None).issue()


QUESTIONS = (
    "s-4711",
    "nowhere to be found",
    "delivery 1000",
    "tutor t-1",
    "st-1",
    "{pending}",
    "where is session 4711?",
)


def special_pages() -> Iterator[Page]:
    """The pages of what is unusually large, which no list shows first, and what has to be asked for."""
    from django.db.models.functions import Length
    from django.urls import reverse

    from enrichment.models import HeldRecord
    from ingestion.models import Delivery
    from tests.admin_pages import Page

    lengths = HeldRecord.objects.dead().annotate(length=Length("payload"))
    newest = Delivery.objects.pending().order_by("stream", "-id")[100]
    for model, pk in [
        ("tutoring_tutor", "t-1"),
        ("tutoring_student", "st-1"),
        ("tutoring_tutoringsession", "s-1"),
        ("enrichment_bulkaction", 500),
        ("enrichment_bulkaction", 450),
        ("enrichment_bulkaction", 7),
        ("ingestion_upload", 1),
        ("ingestion_upload", 2),
        ("ingestion_upload", 3),
        ("ingestion_delivery", 1000),
        ("enrichment_deadletter", lengths.order_by("-length").values_list("pk", flat=True)[0]),
        ("enrichment_heldrecord", 1),
    ]:
        yield Page(f"{model}_change, a large one", reverse(f"admin:{model}_change", args=[pk]))
    for question in QUESTIONS:
        query = urlencode({"q": question.format(pending=f"{newest.stream[0]}-{newest.pk}")})
        yield Page("find, a question", f"{reverse('admin:find')}?{query}")
    yield from _bulk_fixes()


def _bulk_fixes() -> Iterator[Page]:
    """The dry run of a change to 20,000 records, and of one to all sessions that are invalid."""
    from django.urls import reverse

    from tests.admin_pages import Page

    path = reverse("admin:enrichment_deadletter_changelist")
    every = (("action", "fix"), ("index", "0"), ("select_across", "1"), ("_selected_action", "1"))
    change = (("stream", "sessions"), ("operation", "set"), ("field", "duration_minutes"), ("value", "60"))
    for query in ("?upload=2", "?code=invalid", ""):
        yield Page("enrichment_deadletter_changelist, fix: what to change", path + query, (*every, change[0]))
        yield Page("enrichment_deadletter_changelist, fix: dry run", path + query, every + change)

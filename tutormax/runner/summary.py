"""The screen of `manage.py run`: where everything is, and the outcomes of the records posted."""

import json
import shlex
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import Count, Max, Q, Sum

from enrichment.models import HeldRecord
from ingestion.models import PENDING, Delivery
from tutormax.runner.credentials import Credentials

STORED = ("inserted", "updated", "stale")
EXAMPLE = {
    "tutor_id": "T-1",
    "name": "Ada Byron",
    "email": "ada@example.org",
    "subjects": ["Algebra"],
    "onboarding_date": "2026-01-15",
}


def progress() -> tuple[int, int, str]:
    """Records accepted from clients, those not processed yet (waiting and dead ones are), and the last error."""
    accepted = Delivery.objects.filter(source=Delivery.Source.CLIENT).aggregate(sum=Sum("count", default=0))["sum"]
    pending = Delivery.objects.pending().aggregate(records=Sum(PENDING, default=0), last_error=Max("last_error"))
    return accepted, pending["records"], (pending["last_error"] or "")[:80]


@dataclass(kw_only=True)
class Counts:
    """Outcomes of every record posted by clients: `posted` is the sum of the others once nothing is pending."""

    posted: int
    in_files: int
    """Of those posted, the rows of uploads: the films and plays of the demo."""
    inserted: int
    updated: int
    stale: int
    waiting: int = 0
    dead: int = 0
    closed: int = 0
    """Held records that were discarded, or overtaken by a newer record with their key."""
    dead_by_code: dict[str, int] = field(default_factory=dict)


def counts() -> Counts:
    deliveries = Delivery.objects.filter(source=Delivery.Source.CLIENT)
    in_files = Sum("count", filter=Q(upload__isnull=False), default=0)
    sums = deliveries.aggregate(Sum("count", default=0), *(Sum(name, default=0) for name in STORED), in_files=in_files)
    counts = Counts(
        posted=sums["count__sum"], in_files=sums["in_files"], **{name: sums[f"{name}__sum"] for name in STORED}
    )
    held = HeldRecord.objects.values_list("status", "outcome", "code").annotate(Count("pk")).order_by("code")
    for status, outcome, code, number in held:
        where = outcome if outcome in STORED else status if status in HeldRecord.OPEN else "closed"
        setattr(counts, where, getattr(counts, where) + number)
        if status == HeldRecord.Status.DEAD:
            counts.dead_by_code[code] = counts.dead_by_code.get(code, 0) + number
    return counts


def screen(login: Credentials, counts: Counts, films: str, music: str) -> str:
    """`films` is the address of the demo's library, `music` of its listener; empty: there is none."""
    lines = ["", "TutorMax is running.", "", *_places(login, films, music), "", *_table(counts), ""]
    return "\n".join([*lines, "Press Ctrl-C to stop.", ""])


def _places(login: Credentials, films: str, music: str) -> list[str]:
    password = login.admin_password if login.password_is_valid() else "changed by you"
    post = ("curl", "-H", f"Authorization: Api-Key {login.api_key}", "-H", "Content-Type: application/json")
    return [
        f"  Admin     {login.url}/admin/",
        f"            user {login.admin_user}, password {password}",
        f"  API       {login.url}/api/sessions (in a browser: log in to the admin first)",
        f"            key {login.api_key}",
        *([f"  Films     {films}"] if films else []),
        *([f"  Music     {music}"] if music else []),
        f"  Docs      {login.url}/guide, API reference at {login.url}/docs",
        f"  Files     data and logs in {settings.RUN_DIR}: credentials.env, web.log, qcluster.log",
        "",
        "  Post a tutor:",
        f"  {shlex.join([*post, '-d', json.dumps(EXAMPLE), login.url + '/api/tutors'])}",
    ]


def _table(counts: Counts) -> list[str]:
    rows: dict[str, Any] = {name: getattr(counts, name) for name in ("posted", *STORED, "waiting", "dead")}
    if counts.closed:
        rows["closed"] = counts.closed
    width = len(str(counts.posted))
    lines = [f"  {name:9} {number:{width}}" for name, number in rows.items()]
    if counts.in_files:
        lines.append(f"  {counts.in_files} of those posted are rows of uploaded files, such as films and plays")
    by_code = ", ".join(f"{code} {number}" for code, number in counts.dead_by_code.items())
    return ["  Records", *lines, *([f"  dead by code: {by_code}"] if by_code else [])]

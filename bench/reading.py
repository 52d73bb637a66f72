"""python -m bench.reading [rows]: how long lists take beside a million sessions and deliveries, 100,000 held records.

Requests go through the whole of Django, in process; the database is a PostgreSQL of its own, the rows are made by SQL.
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.database import database
from tests.servers import manage

# The asking client has sent half of all deliveries, but of the held records only the 20 oldest: the worst that can be.

FILL = """
INSERT INTO tutoring_tutor (tutor_id, name, email, subjects, onboarding_date, status, tenure_days, is_new_tutor,
    experience_level, subject_count, derived_on, version_at, delivery, position, warnings, stored_at)
SELECT 'T-' || i, 'Tutor ' || i, 't' || i || '@example.com', '["Algebra"]', now() - interval '200 days', 'active', 200,
    false, 'mid', 1, current_date, now(), i, 0, '[]', now()
FROM generate_series(1, 2000) AS i;

INSERT INTO tutoring_student (student_id, name, is_stub, version_at, delivery, position, warnings, stored_at)
SELECT 'ST-' || i, 'Student ' || i, false, now(), i, 0, '[]', now() FROM generate_series(1, 50000) AS i;

INSERT INTO tutoring_tutoringsession (session_id, tutor_id, student_id, scheduled_start, duration_minutes, subject,
    session_number, is_first_session, no_show, actual_start, actual_end, session_type, tutor_initiated_reschedule,
    late_start_minutes, engagement_score, technical_issues, updated_at, scheduled_offset, is_weekend, time_of_day,
    is_late_start, actual_duration_minutes, week_of_year, month_of_year,
    version_at, delivery, position, warnings, stored_at)
SELECT 'S-' || md5(i::text), 'T-' || 1 + i::bigint * 7919 % 2000, 'ST-' || 1 + i::bigint * 104729 % 50000, t, 60,
    (ARRAY['Algebra', 'Physics', 'English', 'SAT Prep', 'French'])[1 + i % 5],
    1 + i % 40, i % 40 = 0, no_show, CASE WHEN NOT no_show THEN t END,
    CASE WHEN NOT no_show THEN t + interval '60 minutes' END, '1-on-1', i % 50 = 0,
    i % 13, CASE WHEN NOT no_show THEN (i % 100) / 100.0 END, i % 30 = 0, t + interval '2 hours', 0,
    extract(isodow FROM t) > 5, (ARRAY['morning', 'afternoon', 'evening', 'night'])[1 + i % 4],
    i % 13 > 11, CASE WHEN NOT no_show THEN 60 END, extract(week FROM t), extract(month FROM t),
    t + interval '2 hours', 1 + i / 500, i % 500,
    CASE WHEN i % 10000 = 0 THEN '["odd"]'::jsonb ELSE '[]'::jsonb END,
    now() - interval '1 day' + i * interval '50 milliseconds'
FROM generate_series(1, {rows}) AS i,
    LATERAL (SELECT now() - interval '700 days' + (i::bigint * 7919 % 1000000) * interval '1 minute' AS t,
        i % 33 = 0 AS no_show) AS made;

INSERT INTO ingestion_delivery (stream, source, client, format, body, size, refused, count, received_at, processed_at,
    position, crash_count, failure_count, last_error, inserted, updated, stale, held, skipped, request_hash, answer)
SELECT CASE WHEN i % 1000 = 0 THEN 'tutors' ELSE 'sessions' END, 2,
    CASE WHEN i % 2 = 0 THEN '{client}' ELSE 'key:others' END, 'json',
    convert_to(repeat('x', 400), 'UTF8'), 400, '[]', 1,
    now() - ({rows} - i) * interval '1 second', CASE WHEN i < {rows} - 100 THEN now() END, 0, 0, 0, '',
    CASE WHEN i < {rows} - 100 AND i % 10 <> 5 THEN 1 ELSE 0 END, 0, 0,
    CASE WHEN i < {rows} - 100 AND i % 10 = 5 THEN 1 ELSE 0 END, 0, '', ''
FROM generate_series(1, {rows}) AS i;

INSERT INTO enrichment_heldrecord (stream, key, client, delivery_id, position, received_at, version_at, payload,
    payload_version, status, stage, code, messages, message, missing_stream, missing_key, held_at, changed_at, attempts,
    outcome, discard_reason)
SELECT 'sessions', 'S-' || id, CASE WHEN id < 2000 AND id % 100 = 5 THEN '{client}' ELSE client END,
    CASE WHEN id < 2000 AND id % 100 = 5 THEN id - 1 ELSE id END, 0,
    received_at, received_at, '{{"session_id": "S"}}', 0,
    (ARRAY['dead', 'dead', 'dead', 'waiting', 'resolved'])[1 + id / 10 % 5], 'validate', 'invalid',
    '{{"duration_minutes": ["is required"]}}', 'is required', '', '', received_at, received_at, 1, '', ''
FROM ingestion_delivery WHERE held > 0 ORDER BY id;
"""
LISTS = [
    ("by key", "/api/sessions"),
    ("by scheduled_start, newest first", "/api/sessions?ordering=-scheduled_start"),
    ("by stored_at", "/api/sessions?ordering=stored_at"),
    ("1,000 rows", "/api/sessions?page_size=1000"),
    ("1,000 rows of three fields", "/api/sessions?page_size=1000&fields=session_id,scheduled_start,is_late_start"),
    ("of a tutor", "/api/sessions?tutor_id=T-77"),
    ("of a tutor, newest first", "/api/sessions?tutor_id=T-77&ordering=-scheduled_start"),
    ("late, newest first", "/api/sessions?is_late_start=true&ordering=-scheduled_start"),
    ("late, by key", "/api/sessions?is_late_start=true"),
    ("no-show, by key", "/api/sessions?no_show=true"),
    ("a month, by key", "/api/sessions?scheduled_start_after={month}&scheduled_start_before={month_end}"),
    ("a day, by key", "/api/sessions?scheduled_start_after={month}&scheduled_start_before={day_end}"),
    (
        "a day and a subject",
        "/api/sessions?scheduled_start_after={month}&scheduled_start_before={day_end}&subject=French",
    ),
    ("subject and hour", "/api/sessions?subject=French&time_of_day=night&is_weekend=true"),
    ("stored in the last hour", "/api/sessions?stored_after={hour_ago}"),
    ("has warnings (1 in 10,000)", "/api/sessions?has_warnings=true"),
    ("a warning (1 in 10,000)", "/api/sessions?warnings=odd"),
    ("nothing fits: a number", "/api/sessions?actual_duration_minutes_min=299"),
    ("nothing fits: two fields", "/api/sessions?no_show=true&actual_start_missing=false"),
    ("nothing fits: a text", "/api/sessions?subject=Latin"),
    ("search: common", "/api/sessions?search=alg"),
    ("search: one row, by key", "/api/sessions?search={one}"),
    ("search: nothing", "/api/sessions?search=zzzz"),
    ("search: nothing, newest first", "/api/sessions?search=zzzz&ordering=-scheduled_start"),
    (
        "search: nothing, within a day",
        "/api/sessions?search=zzzz&scheduled_start_after={month}&scheduled_start_before={day_end}",
    ),
    ("count of all", "/api/sessions?count=true"),
    ("count of late ones", "/api/sessions?count=true&is_late_start=true"),
    ("count by subject", "/api/sessions?count=true&subject=French"),
    ("own deliveries", "/api/deliveries"),
    ("1,000 own deliveries", "/api/deliveries?page_size=1000"),
    ("own deliveries, pending", "/api/deliveries?status=pending"),
    ("own deliveries, since an hour", "/api/deliveries?since={hour_ago}"),
    ("own deliveries of a rare stream", "/api/deliveries?stream=tutors"),
    ("own deliveries of a stream never sent", "/api/deliveries?stream=students"),
    ("count of own deliveries", "/api/deliveries?count=true"),
    ("own dead letters (few of many)", "/api/dead-letters"),
    ("own waiting records", "/api/dead-letters?status=waiting"),
    ("own dead letters, a code that none has", "/api/dead-letters?code=conflict"),
    ("own dead letters since an hour", "/api/dead-letters?since={hour_ago}"),
    ("count of own dead letters", "/api/dead-letters?count=true"),
]
DEEP = ("session_id", "-scheduled_start", "stored_at")


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with database():
        measure(fill(rows))
        export()


def fill(rows: int) -> str:
    """Makes the rows; returns the API key that has sent half of the deliveries."""
    from django.db import connection

    from ingestion.models import ApiKey

    made, key = ApiKey.objects.create_key(name="bench")
    script = FILL.format(rows=rows, client=f"key:{made.prefix}")
    with connection.cursor() as cursor:
        for statement in script.split(";\n"):
            if statement.strip():
                cursor.execute(statement)
        cursor.execute("VACUUM ANALYZE")
    return str(key)


def measure(key: str) -> None:
    """Prints a table of lists: the best of seven requests, in milliseconds, and of them in the database."""
    client, words = _client(key), _words()
    print("| list | rows | ms | of them SQL |\n|---|---|---|---|")
    for name, path in LISTS:
        _show(client, name, path.format(**words))
    for ordering in DEEP:
        _show(client, f"the page in the middle, by {ordering}", _middle(client, ordering))


def _client(key: str) -> Any:
    from django.test import Client

    return Client(headers={"authorization": f"Api-Key {key}", "host": "localhost"})


def _words() -> dict[str, str]:
    from datetime import timedelta

    from django.utils import timezone

    from ingestion.streams import get

    now = timezone.now().replace(microsecond=0)
    start = now - timedelta(days=300)
    some = get("sessions").model._default_manager.order_by("-pk")[1000].pk
    times = {
        "month": start,
        "month_end": start + timedelta(days=30),
        "day_end": start + timedelta(days=1),
        "hour_ago": now - timedelta(hours=1),
    }
    return {"one": some[2:20], **{name: f"{time:%Y-%m-%dT%H:%M:%SZ}" for name, time in times.items()}}


def _show(client: Any, name: str, path: str) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    took, in_sql = [], []
    for _ in range(7):
        with CaptureQueriesContext(connection) as queries:
            start = time.perf_counter()
            response = client.get(path)
            took.append(1000 * (time.perf_counter() - start))
        assert response.status_code == 200, response.content
        in_sql.append(1000 * sum(float(query["time"]) for query in queries))
    rows = len(response.json()["results"])
    print(f"| {name} | {rows} | {min(took):.0f} | {min(in_sql):.0f} |", flush=True)


def _middle(client: Any, ordering: str) -> str:
    """The page that begins in the middle of all rows."""
    from enrichment.rows.ordering import Ordering
    from ingestion.streams import get

    rows = get("sessions").model._default_manager
    order = Ordering(ordering, "session_id")
    row = rows.order_by(*order.columns())[rows.count() // 2]
    return f"/api/sessions?ordering={ordering}&cursor={order.cursor_at(row)}"


def export() -> None:
    """Prints how long export_data takes for all sessions, and the most memory that it has at any time."""
    with tempfile.TemporaryDirectory() as directory:
        for form in ("csv", "ndjson"):
            out, start, before = Path(directory) / "sessions", time.perf_counter(), _of_children()
            options = ("--stream=sessions", f"--format={form}", f"--out={out}")
            manage("export_data", *options, database_url=os.environ["DATABASE_URL"])
            seconds, after = time.perf_counter() - start, _of_children()
            busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(
                f"export_data {form}: {out.stat().st_size / 1e6:.0f} MB in {seconds:.0f} s, {busy:.0f} s of them in"
                f" Python; at most {after.ru_maxrss / 1000:.0f} MB of memory",
                flush=True,
            )


def _of_children() -> resource.struct_rusage:
    return resource.getrusage(resource.RUSAGE_CHILDREN)


if __name__ == "__main__":
    main()

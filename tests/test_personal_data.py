"""What is held about a person is exported whole, and erased until a search of the whole database finds nothing."""

from __future__ import annotations

import io
import json
import threading
import unicodedata
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.management import CommandError
from django.db import connection, transaction
from django.db.models import Sum
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from enrichment.models import BulkAction, Erasure, HeldRecord
from enrichment.pipeline.batch import process_batch
from enrichment.subjects import erasure
from enrichment.subjects.export import archive
from enrichment.subjects.person import Person
from enrichment.subjects.search import search, tables
from ingestion.models import Delivery, ErasureSecret, Suppression, Upload
from ingestion.streams import get
from ingestion.subjects import bodies, suppression
from ingestion.subjects.mentions import HAVE_TWINS, subject_key, unchanging_part
from tests.api import NDJSON, api, post, refusal
from tests.commands import run
from tests.people import person as member_of_staff
from tests.personal import CASES, Case, hold_everything, places, upload
from tests.promises.helpers import beside, elsewhere
from tests.records import assert_nothing_vanished, counts, deliver, send, stored, work_off
from tests.servers import PATIENCE
from tutoring.models import Student
from tutoring.tests.factories import feedback, session, student, tutor

pytestmark = pytest.mark.django_db(transaction=True)

STUDENT, TUTOR, LIBRARY, LISTENER = CASES
every_case = pytest.mark.parametrize("case", CASES, ids=str)


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    """What a process remembers of the secret belongs to another database."""
    suppression.reset_cache()
    yield
    suppression.reset_cache()


@pytest.fixture
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps that do a single thing, and search two tables."""
    searched = [table for table in tables() if table.name in ("ingestion_delivery", "enrichment_heldrecord")]
    monkeypatch.setattr(erasure, "tables", lambda: searched)
    monkeypatch.setattr(erasure, "STEP_SECONDS", 0.0)


def erase(case: Case) -> Erasure:
    done = erasure.run_to_completion(erasure.create(case.person, by="command", reason="asked for it"))
    done.refresh_from_db()
    return done


def numbers() -> dict[str, Any]:
    """What clients are told of deliveries and uploads."""
    columns = ("count", "inserted", "updated", "stale", "held", "skipped")
    return {
        "deliveries": list(Delivery.objects.order_by("pk").values_list("pk", *columns)),
        "uploads": dict(Upload.objects.values_list("pk").annotate(Sum("deliveries__count")).order_by("pk")),
    }


# All of it.


@every_case
def test_a_person_is_exported_and_erased_and_comes_in_no_more(case: Case) -> None:
    hold_everything(case)
    assert_archive_has_all(case)
    assert_search_finds_nobody_afterwards(case)
    assert_refused_at_the_door(case)


def assert_archive_has_all(case: Case) -> None:
    with zipfile.ZipFile(io.BytesIO(b"".join(archive(case.person)))) as zipped:
        assert zipped.testzip() is None
        files = {name: zipped.read(name).decode() for name in zipped.namelist()}
    rows = {name: [json.loads(line) for line in text.splitlines()] for name, text in files.items() if ".nd" in name}
    for stream, record in case.records(case.key).items():
        [row] = rows[f"stored_{stream}.ndjson"]
        assert case.key in map(str, row.values()) and row[get(stream).model._meta.pk.attname], record
    sent = rows["records_in_deliveries.ndjson"]
    assert len(sent) == len(case.records(case.key)) + 6 + bool(case.given)
    assert {row["was_refused"] for row in sent} == {True, False}
    assert sum(row["idempotent_answer"] is not None for row in sent) == 2
    assert all(case.other not in json.dumps(row, ensure_ascii=False) for row in sent)
    [failed] = rows["failed_records.ndjson"]
    assert failed["messages"] and failed["record"]
    assert len(rows.get("uploads.ndjson", [])) == bool(case.given)
    assert {row["column"] for row in rows["history.ndjson"]} >= {"object_repr", "change_message", "filter", "reason"}
    for name, found in rows.items():
        assert f"{name}: {len(found)} " in files["README.txt"]


def assert_search_finds_nobody_afterwards(case: Case) -> None:
    before, told = places(case), numbers()
    assert {"ingestion_delivery.body", "enrichment_heldrecord.payload", "django_admin_log.object_id"} <= before.keys()
    kept = {stream: stored(stream, _key_of(case, case.other, stream)) for stream in case.records(case.other)}
    done = erase(case)
    assert places(case) == {} and done.left == []
    assert done.before == before
    assert (done.key, done.names) == ("", []) and case.key not in str(vars(done))
    for stream, row in kept.items():
        assert vars(stored(stream, row.pk)).items() >= {"version_at": row.version_at}.items()
    left = {pk for pk, *_ in told["deliveries"]} & set(Delivery.objects.values_list("pk", flat=True))
    assert numbers()["deliveries"] == [row for row in told["deliveries"] if row[0] in left]
    assert len(told["deliveries"]) - len(left) == bool(case.given)  # those of the person's own file
    assert_nothing_vanished()
    assert done.erased[erasure.RECORDS] >= 6 and done.erased[erasure.FAILED] == 1
    assert HeldRecord.objects.open().count() == 1  # that of the other one


def assert_refused_at_the_door(case: Case) -> None:
    last, other = case.records(case.key)[case.stream], case.records(case.other)[case.stream]
    error = refusal(post(api(), f"/api/{case.stream}", last), 422)
    [[message]] = error["fields"].values()
    assert "have been erased" in message and case.key not in message
    answer = post(api(), f"/api/{case.stream}/batch?invalid=dead-letter", [last, other]).json()
    assert (answer["count"], [each["index"] for each in answer["errors"]]) == (1, [0])
    work_off()
    assert places(case) == {}


# Exporting.


def test_the_command_writes_the_archive_and_says_what_is_in_it(tmp_path: Any) -> None:
    hold_everything(STUDENT)
    path = tmp_path / "zoë.zip"
    told = json.loads(run("export_subject", "student", STUDENT.key, f"--out={path}", "--json"))
    assert told["held"]["stored feedback"] == 1 and zipfile.is_zipfile(path)
    with pytest.raises(CommandError, match="is empty"):
        run("export_subject", "student", " ", f"--out={path}")


# Erasing.


@pytest.mark.parametrize("case", [STUDENT, LISTENER], ids=str)
def test_the_other_records_of_a_body_stay_as_they_were_sent(case: Case) -> None:
    other = case.records(case.other)[case.stream]
    send("tutors", tutor()), send("students", student())
    for stream, record in case.records(case.key).items():
        send(stream, record, case.records(case.other)[stream])
    delivery = Delivery.objects.order_by("pk").last()
    assert delivery
    erase(case)
    delivery.refresh_from_db()
    assert json.loads(delivery.content) == [{"(erased)": True}, other]
    assert list(bodies.items(delivery.content, ndjson=False)) == json.loads(delivery.content)


def _key_of(case: Case, key: str, stream: str) -> str:
    from ingestion.validation import key_of

    return key_of(get(stream), case.records(key)[stream])


def test_a_file_given_as_an_erased_persons_is_refused_whole() -> None:
    erase(LISTENER)
    body = json.dumps({**LISTENER.records("x")["listens"], "user_id": None}).encode()
    answer = post(api(), f"/api/uploads?stream=listens&user_id={LISTENER.key}", body, "application/x-ndjson")
    assert "have been erased" in refusal(answer, 422)["message"]
    assert not Upload.objects.exists()


@pytest.mark.parametrize("case", [STUDENT, LISTENER], ids=str)
def test_rows_of_a_file_about_an_erased_person_are_discarded_by_the_worker(case: Case) -> None:
    send("tutors", tutor()), send("students", student())
    for stream in case.records(case.other):
        send(stream, case.records(case.other)[stream])
    erase(case)
    last = case.records(case.key)[case.stream]
    sent = upload(case.stream, [last, case.records(case.other)[case.stream]], name="both.ndjson")
    [held] = HeldRecord.objects.all()
    assert (held.code, held.status, held.key, held.payload) == ("erased", "discarded", "", '{"(erased)":true}')
    assert places(case) == {}
    assert_nothing_vanished()
    told = api().get(f"/api/uploads/{sent.pk}")
    assert told.status_code == 404 or told.json()["discarded"] == 1


def test_what_is_pending_is_not_processed_and_adds_up() -> None:
    send("tutors", tutor())
    delivery = deliver("students", student(student_id=STUDENT.key), student(student_id="ST-2"))
    erase(STUDENT)
    work_off()
    assert counts(delivery) == {"inserted": 1, "held": 1}
    assert not stored("students", STUDENT.key) and stored("students", "ST-2")
    assert places(STUDENT) == {}
    assert_nothing_vanished()


def test_a_worker_that_has_read_a_delivery_before_does_not_store_what_is_erased_of_it() -> None:
    """The erasure ends its claim; what was refused, or could not be read, is gone as well."""
    deliver("students", student(student_id=STUDENT.key), student(student_id="ST-2"))
    claimed = Delivery.objects.claim("students", 10)
    erase(STUDENT)
    with transaction.atomic():
        assert Delivery.objects.lock_claimed(claimed)[0] == set()
    work_off()
    assert not stored("students", STUDENT.key) and stored("students", "ST-2")


@pytest.mark.postgresql
def test_an_erasure_waits_for_the_batch_that_a_worker_has_in_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which began before the suppression, so that it stores the student; that is deleted again."""
    deliver("students", student(student_id=STUDENT.key))
    seen: list[bool] = []

    def suppress_meanwhile(*args: Any) -> Any:
        if not seen:
            seen.append(True)
            elsewhere(lambda: erasure.create(STUDENT.person, by="command"))
        return lock(*args)

    from enrichment.pipeline import references

    lock = references.lock
    monkeypatch.setattr(references, "lock", suppress_meanwhile)
    process_batch(get("students"))
    assert stored("students", STUDENT.key) and seen
    erase(STUDENT)
    assert not stored("students", STUDENT.key) and places(STUDENT) == {}


@pytest.mark.postgresql
def test_an_erasure_waits_for_older_transactions_and_deletes_what_they_stored(short_steps: None) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def store() -> None:
        with transaction.atomic():
            version = {"version_at": timezone.now(), "delivery": 1, "position": 0}
            Student.objects.create(student_id=STUDENT.key, **version)
            begun.set()
            may_end.wait(PATIENCE)

    storing = beside(store)
    assert begun.wait(PATIENCE)
    job = erasure.create(STUDENT.person, by="command")
    for _ in range(2 * len(erasure.STAGES)):
        erasure.run_next_step(Erasure.objects.all())
    job.refresh_from_db()
    assert (job.stage, job.finished_at) == ("open batches", None)
    may_end.set()
    storing.result(PATIENCE)
    assert stored("students", STUDENT.key)
    erasure.run_to_completion(job)
    assert not stored("students", STUDENT.key) and places(STUDENT) == {}


def test_a_failed_record_that_waits_or_is_queued_is_not_revived() -> None:
    waiting = send("sessions", session(session_id="X-1", student_id=STUDENT.key))
    [held] = HeldRecord.objects.all()
    assert held.missing_key in (STUDENT.key, "T-1001")
    erase(STUDENT)
    send("tutors", tutor()), send("students", student())
    work_off()
    held.refresh_from_db()
    assert (held.status, held.code, held.queued_in) == ("discarded", "erased", None)
    assert counts(waiting) == {"held": 1} and not stored("sessions", "X-1")
    assert_nothing_vanished()


def test_a_fix_that_makes_a_record_one_about_an_erased_person_is_not_stored() -> None:
    erase(STUDENT)
    send("feedback", {**feedback(), "overall_rating": 9}, keep_invalid=True)
    from enrichment.held import fixing
    from tests.held import reprocess

    [held] = HeldRecord.objects.all()
    payload = feedback(student_id=STUDENT.key)
    with pytest.raises(fixing.StillInvalid) as refused:
        fixing.fix(held, json.dumps(payload), 0)
    assert "have been erased" in refused.value.messages["student_id"][0]
    assert fixing.replace_payloads(get("feedback"), [(held, 0, payload)]) == 1  # as a bulk fix would, or before that
    reprocess({"ids": [held.pk]}, by="command")
    work_off()
    held.refresh_from_db()
    assert (held.status, held.code, held.payload) == ("discarded", "erased", '{"(erased)":true}')
    assert held.original_payload is None and places(STUDENT) == {}
    assert_nothing_vanished()


@pytest.mark.parametrize("case", [STUDENT, LISTENER], ids=str)
def test_an_erasure_killed_anywhere_continues(case: Case, monkeypatch: pytest.MonkeyPatch, short_steps: None) -> None:
    """Each step is tried twice: the first time it dies just before its commit."""
    hold_everything(case)
    job = erasure.create(case.person, by="command")
    step, steps = erasure._step, 0

    def killed(row: Erasure) -> bool:
        step(row)
        raise KeyboardInterrupt

    while job.finished_at is None:
        steps += 1
        monkeypatch.setattr(erasure, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            erasure.run_next_step(Erasure.objects.all())
        monkeypatch.setattr(erasure, "_step", step)
        assert erasure.create(case.person, by="command") == job  # it is started again
        erasure.run_next_step(Erasure.objects.all())
        job.refresh_from_db()
    assert steps > len(erasure.STAGES) and places(case) == {}
    assert_nothing_vanished()


def test_what_others_wrote_stays_and_is_listed() -> None:
    hold_everything(TUTOR)
    text = "Better than IDA RHODES (Ida.Rhodes@Example.com)."
    send("sessions", session(session_id="X-9"))
    send("feedback", feedback(feedback_id="F-9", session_id="X-9", free_text_feedback=text))
    left = {(each["table"], each["row"], each["column"], each["what"]) for each in erase(TUTOR).left}
    sent = Delivery.objects.order_by("-pk").first()
    assert sent
    assert left == {
        ("tutoring_feedback", "F-9", "free_text_feedback", "name"),
        ("ingestion_delivery", str(sent.pk), "body", "name"),
    }
    assert stored("feedback", "F-9").free_text_feedback == text


def test_all_tables_are_searched_but_those_that_came_with_us() -> None:
    theirs = {model._meta.db_table for model in apps.get_models(include_auto_created=True) if model._meta.managed}
    assert theirs - {table.name for table in tables()} == {"music_city", "auth_permission", "django_content_type"}


def test_a_number_for_a_key_is_not_taken_for_other_numbers() -> None:
    """Neither the history of an upload of that number, nor ages and texts are about the student."""
    delivery = send("students", student(student_id="12", name="Zoë Quill"), student(student_id="13", grade_level="12"))
    send("tutors", tutor(name="12 monkeys", location="at 12"))
    about = {"user": member_of_staff("operator"), "object_id": "12", "action_flag": 2}
    upload = LogEntry.objects.create(
        **about, content_type=ContentType.objects.get_for_model(Upload), change_message="12 rows of 12", object_repr="x"
    )
    row = LogEntry.objects.create(
        **about, content_type=ContentType.objects.get_for_model(Student), change_message="Refreshed.", object_repr="12"
    )
    done = erasure.run_to_completion(erasure.create(Person.of("student", "12"), by="command"))
    for each in (upload, row, delivery, done):
        each.refresh_from_db()
    assert (upload.object_id, upload.change_message) == ("12", "12 rows of 12")
    assert (row.object_id, row.object_repr) == ("(erased)", "(erased)")
    assert json.loads(delivery.content) == [{"(erased)": True}, student(student_id="13", grade_level="12")]
    assert {(each["table"], each["column"]) for each in done.left} == {
        ("django_admin_log", "object_id"),
        ("ingestion_delivery", "body"),
        ("tutoring_student", "grade_level"),
    }


def test_it_cannot_be_lifted_before_it_has_ended() -> None:
    """What came in meanwhile would be accepted, stored, and erased."""
    begun = erasure.create(STUDENT.person, by="command")
    with pytest.raises(CommandError, match="still in progress"):
        run("erase_subject", "student", STUDENT.key, "--lift")
    assert Suppression.objects.filter(digest=begun.digest).exists()


def test_all_spellings_of_the_key_are_erased_and_nothing_is_answered_of_them() -> None:
    """Kelvin's K is K, an accent may be a character of its own; the person's name is a word that the history uses."""
    key, sent = "K\u00e9-\u00e8", "\u212ae\u0301-\u00e8"
    last = student(student_id=sent, name="dead")
    for path, record in (("", last), ("?invalid=dead-letter", {**last, "age": 999})):
        body = json.dumps(record, ensure_ascii=False).encode()
        assert post(api(), f"/api/students{path}", body).status_code == 202
    work_off()
    assert stored("students", key) and HeldRecord.objects.get().key == key
    change = {"operation": "set", "field": "name", "value": f'"{key}"'}
    criteria = {"status": "dead", "stream": "students"}
    action = BulkAction.objects.create(kind="fix", by="user:anna", filter=criteria, change=change, reason="of dead")
    done = erasure.run_to_completion(erasure.create(Person.of("student", key), by="command"))
    kept = [item for each in Delivery.objects.all() for item in bodies.items(each.content, ndjson=False)]
    assert kept == [{"(erased)": True}] * 2
    assert HeldRecord.objects.get().payload == '{"(erased)":true}' and not stored("students", key)
    action.refresh_from_db()
    assert (action.filter, action.reason) == (criteria, "of (erased)")
    assert action.change == {**change, "value": '"(erased)"'}
    assert "filter" in {each["column"] for each in done.left}
    both = [student(student_id=key), last, student(student_id="ST-2")]
    answer = post(api(), "/api/students/batch", both, headers={"Idempotency-Key": "1"}).json()
    assert (answer["count"], answer["warnings"]) == (1, []) and key not in Delivery.objects.latest("pk").answer


def elsewhere_in(case: Case) -> list[bytes]:
    """Records with the key elsewhere than in the field for it: nested, unknown, escaped, not to be read."""
    name = get(case.person.stream.name).subject.field  # type: ignore[union-attr]
    escaped = "".join(f"\\u{ord(char):04x}" for char in case.key)
    about_another = case.records(case.other)[case.stream]
    return [
        json.dumps({"about": {name: case.key}}).encode(),
        json.dumps({name: [case.key]}).encode(),
        json.dumps([case.key]).encode(),
        json.dumps({**about_another, "also": [{"id": f" {case.key} "}]}, ensure_ascii=False).encode(),
        json.dumps({**about_another, "text": json.dumps({"of": case.key})}).encode(),
        json.dumps({**about_another, case.key: 1}).encode(),
        b'{"of": {"%s": "%s"}}' % (name.encode(), escaped.encode()),
        b'{"%s": "%s", "na' % (name.encode(), escaped.encode()),
        b'{"%s": "%s", "na' % (name.encode(), case.key.encode()),
    ]


@every_case
def test_a_key_that_stands_elsewhere_is_erased_and_not_let_in_again(case: Case) -> None:
    path, sent = f"/api/{case.stream}?invalid=dead-letter", elsewhere_in(case)
    others = b"\n".join([*sent, json.dumps(case.records(case.other)[case.stream]).encode()])

    def come_in() -> list[int]:
        statuses = [post(api(), path, body).status_code for body in sent]
        assert post(api(), f"/api/uploads?stream={case.stream}&missing=clear", others, NDJSON).status_code == 201
        work_off()
        return statuses

    assert come_in() == [202, 202, 422, 202, 202, 202, 202, 400, 400]
    assert places(case)
    assert not [each for each in erase(case).left if each["what"] == "key"]
    assert places(case) == {}
    assert come_in() == [422] * 7 + [400] * 2
    assert places(case) == {}
    assert_nothing_vanished()


def test_a_key_or_name_that_is_escaped_is_found_in_the_database_and_in_the_history() -> None:
    plain, other = "ST-zo\u00eb and Zo\u00eb Quill", "ST-zo\u00ebra, Z\\u006f\\u00ebs Quill"
    forms = {
        "plain": plain,
        "json": json.dumps(plain),
        "twice": json.dumps(json.dumps(plain)),
        "all": "".join(f"\\u{ord(char):04X}" for char in plain),
        "some": plain.replace("o", "\\u006f"),
        "others": plain.replace("\u00eb", "\\u00EB", 1),
    }
    wanted = STUDENT.person.wanted(STUDENT.names)
    table = next(each for each in tables() if each.name == BulkAction._meta.db_table)
    for name, text in {**forms, "other": other}.items():
        action = BulkAction.objects.create(kind="fix", by="user:anna", reason=text)
        found = {place.what for place in search(table, wanted)[0] if place.row == str(action.pk)}
        assert found == (set() if name == "other" else {"key", "name"}), name
        assert wanted.without(text).count("(erased)") == len(found), name


def test_a_key_is_known_however_it_is_typed() -> None:
    assert {subject_key(each) for each in (" 12 ", 12, 12.0, "\ufeff12", "12\u200b\n")} == {"12"}
    assert {subject_key(each) for each in (None, True, 1.5, ["12"], " ")} == {""}
    assert subject_key("e\u0301") == "\u00e9"
    for key, part in (
        ("ST-2001", "ST-2001"),
        ("K-1", "-1"),
        ("\u00e9a-e\u0301", "a-"),
        ("\u00e8", ""),
        ("a;b`cd", "cd"),
    ):
        assert unchanging_part(key) == part
    wanted = Person.of("student", "\u00e8-12").wanted(["Zo\u00eb"])
    assert wanted.found_in("e\u0300-12 is ZOE\u0308") == wanted.found_in('"\\u00e8-12": "zo\\u00eb"') == {"key", "name"}
    assert wanted.found_in("e\u0300-123, ZOE\u0308S") == set()
    named = Person.of("student", "S-12").wanted(["Will", "Will Byers"])
    text = "She will call Will, Will Byers or WILL BYERS (S-12)."
    assert named.without(text) == "She will call (erased), (erased) or (erased) ((erased))."
    twins = {unicodedata.normalize("NFC", chr(code)) for code in range(128, 0x30000)}
    assert {each for each in twins if each.isascii()} == set(HAVE_TWINS)


def test_an_administrator_may_lift_it() -> None:
    done = erase(STUDENT)
    assert json.loads(run("erase_subject", "student", STUDENT.key, "--lift", "--json")) == {"lifted": True}
    done.refresh_from_db()
    assert done.lifted_at and done.lifted_by == "command" and not Suppression.objects.exists()
    assert counts(send("students", student(student_id=STUDENT.key))) == {"inserted": 1}
    assert "were not refused" in run("erase_subject", "student", STUDENT.key, "--lift")


def test_the_command_erases_and_tells_what_it_found() -> None:
    hold_everything(TUTOR)
    dry = json.loads(run("erase_subject", "tutor", TUTOR.key, "--dry-run", "--json"))
    assert dry["would_erase"]["stored tutors"] == 1 and not Suppression.objects.exists()
    told = json.loads(run("erase_subject", "tutor", TUTOR.key, "--reason=asked", "--json"))
    assert told["before"] == dry["before"] and told["left"] == []
    assert told["erased"]["tutors"] == told["erased"]["sessions"] == told["erased"]["feedback"] == 1


# What it costs.


def test_it_costs_no_statement_while_nobody_is_erased() -> None:
    send("students", student(student_id="S-0"))
    with CaptureQueriesContext(connection) as door:
        deliver("students", student(student_id="S-1"))
    with CaptureQueriesContext(connection) as worker:
        process_batch(get("students"))
    assert not [each for each in door.captured_queries if "erasuresecret" in each["sql"]]
    [asking] = [each["sql"] for each in worker.captured_queries if "erasuresecret" in each["sql"]]
    assert 'FROM "ingestion_delivery" WHERE' in asking  # with the rows of the deliveries
    ErasureSecret.objects.create(pk=1)
    deliver("students", *[student(student_id=f"S-{number}") for number in range(2, 9)])
    with CaptureQueriesContext(connection) as again:
        process_batch(get("students"))
    assert len(again.captured_queries) == len(worker.captured_queries) + 1

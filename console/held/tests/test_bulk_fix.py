"""One change to many held records: tried before it is confirmed, done in steps, guarded as a single fix is."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.utils import timezone

from console.held import actions
from console.held.bulk_fix_form import ChangeForm
from console.held.page import history
from enrichment.held import bulk_actions, bulk_fix, fixing, requeue
from enrichment.held.bulk_fix import FIELD_MISSING, OLD_VALUE_DIFFERS, UNCHANGED, Change
from enrichment.models import BulkAction, HeldRecord
from ingestion import streams
from ingestion.models import Delivery
from ingestion.payloads import ascii_json
from tests.held import discard, hold, reprocess, valid, wait
from tests.held_pages import ALL, DEAD, choose, fields_of
from tests.people import browser_of, person, words_of
from tests.records import stored
from tests.records import work_off as work

pytestmark = pytest.mark.django_db

Kind, Status = BulkAction.Kind, HeldRecord.Status
SET = {"operation": "set", "field": "email", "value": "a@example.com", "written_as": "text"}
TO_ADA = Change(operation="set", field="email", value='"a@example.com"')


def begin(change: Change, *, reprocess: bool = False, **chosen: Any) -> BulkAction:
    kept = change.as_dict() | ({bulk_actions.AND_REPROCESS: True} if reprocess else {})
    return bulk_actions.create(Kind.FIX, chosen or {"status": "dead"}, by="test", change=kept)


def fix(change: Change, **more: Any) -> BulkAction:
    return bulk_actions.run_to_completion(begin(change, **more))


def payload_of(record: HeldRecord) -> Any:
    record.refresh_from_db()
    return json.loads(record.payload)


@pytest.mark.parametrize(
    ("change", "becomes"),
    [
        (Change(operation="set", field="a", value="2"), {"a": 2, "b": None}),
        (Change(operation="set", field="c", value="[1]"), {"a": 1, "b": None, "c": [1]}),
        (Change(operation="set", field="a", value="1"), UNCHANGED),
        (Change(operation="set", field="a", value="1.0"), {"a": 1.0, "b": None}),
        (Change(operation="set", field="a", value="true"), {"a": True, "b": None}),
        (Change(operation="replace", field="a", old="1", value='"one"'), {"a": "one", "b": None}),
        (Change(operation="replace", field="a", old='"1"', value="2"), OLD_VALUE_DIFFERS),
        (Change(operation="replace", field="a", old="true", value="2"), OLD_VALUE_DIFFERS),
        (Change(operation="replace", field="b", old="null", value="2"), {"a": 1, "b": 2}),
        (Change(operation="replace", field="c", old="null", value="2"), OLD_VALUE_DIFFERS),
        (Change(operation="remove", field="b"), {"a": 1}),
        (Change(operation="remove", field="c"), FIELD_MISSING),
    ],
    ids=str,
)
def test_a_change_is_for_records_that_have_exactly_that_value(change: Change, becomes: Any) -> None:
    assert repr(change.apply_to({"a": 1, "b": None})) == repr(becomes)
    assert Change.from_dict(change.as_dict()) == change


def test_those_that_would_pass_are_fixed_and_the_others_left() -> None:
    good = [hold(valid(tutor_id=f"M-{number}", email="none")) for number in range(3)]
    bad = hold(valid(email="none", age=7))
    fine = hold(valid(email="a@example.com", age=7))
    no_object = hold("[1,2]")
    before = good[0].payload
    bulk_action = fix(TO_ADA)
    assert (bulk_action.total, bulk_action.count) == (6, 3)
    left = bulk_action.change[bulk_actions.SKIPPED]
    assert left.pop(UNCHANGED) == left.pop(bulk_fix.NOT_AN_OBJECT) == 1
    [(reason, number)] = left.items()
    assert number == 1
    assert "age" in reason
    for number, record in enumerate(good):
        assert payload_of(record)["email"] == "a@example.com"
        assert (record.key, record.payload_version, record.status) == (f"M-{number}", 1, Status.DEAD)
    assert good[0].original_payload == before
    for record, payload in ((bad, bad.payload), (fine, fine.payload), (no_object, "[1,2]")):
        record.refresh_from_db()
        assert (record.payload, record.payload_version, record.original_payload) == (payload, 0, None)


def test_it_is_fixed_as_a_single_one_is() -> None:
    """The key and the version are those of the fixed payload, the first original stays, and its delivery skips it."""
    record = hold(valid(tutor_id="T-old", email="none", updated_at="2025-01-02T03:04:05Z"))
    record.original_payload = "as it came"
    record.save()
    reprocess({}, by="test")
    fix(Change(operation="replace", field="tutor_id", old='"T-old"', value='"T-new"'))
    assert payload_of(record)["tutor_id"] == "T-old"  # it would not pass
    fix(TO_ADA)
    record.refresh_from_db()
    fix(Change(operation="replace", field="tutor_id", old='"T-old"', value='"T-new"'))
    record.refresh_from_db()
    assert (record.key, record.version_at.isoformat()) == ("T-new", "2025-01-02T03:04:05+00:00")
    assert (record.original_payload, record.payload_version, record.queued_in) == ("as it came", 2, None)
    work()
    assert Delivery.objects.get(format="held").skipped == 1
    record.refresh_from_db()
    assert (record.status, record.attempts) == (Status.DEAD, 1)


def test_those_fixed_are_reprocessed_too_and_the_others_not() -> None:
    good, bad = hold(valid(tutor_id="M-1", email="none")), hold(valid(email="none", age=7))
    bulk_action = fix(TO_ADA, reprocess=True)
    assert bulk_action.deliveries.get().count == 1
    work()
    good.refresh_from_db()
    bad.refresh_from_db()
    assert (good.status, good.outcome) == (Status.RESOLVED, "inserted")
    assert (bad.status, bad.queued_in, bad.attempts) == (Status.DEAD, None, 1)
    assert stored("tutors", "M-1").email == "a@example.com"


def test_what_is_too_large_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = hold(), hold(valid(email="none", name="x" * 200))
    monkeypatch.setattr(fixing, "MAX_EDITABLE", len(large.payload) - 1)
    bulk_action = fix(TO_ADA)
    assert bulk_action.change[bulk_actions.SKIPPED] == {bulk_fix.TOO_LARGE: 1}
    assert (payload_of(small)["email"], payload_of(large)["email"]) == ("a@example.com", "none")
    found = bulk_fix.dry_run(HeldRecord.objects.filter(pk=large.pk), TO_ADA)
    assert found.skipped_because == {bulk_fix.TOO_LARGE: 1}


def test_few_payloads_are_in_memory_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [hold() for _ in range(7)]
    monkeypatch.setattr(bulk_fix, "CHUNK_BYTES", 2 * len(records[0].payload))
    assert fix(TO_ADA).count == 7
    assert {payload_of(record)["email"] for record in records} == {"a@example.com"}


def test_a_step_ends_in_time_with_one_record_done_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_actions, "STEP_SECONDS", 0)
    monkeypatch.setattr(bulk_actions, "STEP", 3)
    records = [hold(), hold(valid(email="none", age=7)), hold("[]"), hold()]
    bulk_action = begin(TO_ADA)
    for count, left, record in zip((1, 1, 1, 2), (0, 1, 2, 2), records, strict=True):
        assert bulk_action.finished_at is None
        assert bulk_actions.run_next_step(BulkAction.objects.all())
        bulk_action.refresh_from_db()
        assert (bulk_action.count, bulk_action.reached) == (count, record.pk)
        assert sum(bulk_action.change[bulk_actions.SKIPPED].values()) == left
    assert bulk_action.finished_at
    assert [payload_of(record)["email"] for record in (records[0], records[3])] == ["a@example.com"] * 2


def test_those_too_large_keep_their_place_in_a_step_that_ends_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_actions, "STEP_SECONDS", 0)
    first, large, last = hold(), hold(valid(email="none", name="x" * 200)), hold()
    monkeypatch.setattr(fixing, "MAX_EDITABLE", len(large.payload) - 1)
    bulk_action = fix(TO_ADA)
    assert (bulk_action.count, bulk_action.change[bulk_actions.SKIPPED]) == (2, {bulk_fix.TOO_LARGE: 1})
    assert {payload_of(record)["email"] for record in (first, last)} == {"a@example.com"}


def test_of_what_the_page_waits_for_there_is_little(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "FIRST_STEP_SECONDS", 0)
    for _ in range(3):
        hold()
    response = confirm(operator, DEAD, **SET)
    bulk_action = BulkAction.objects.get()
    assert (bulk_action.total, bulk_action.count, bulk_action.finished_at) == (3, 1, None)
    assert "Started to fix 3 failed records; this continues in the background" in LogEntry.objects.get().change_message
    assert "1 of 3" in words_of(operator.get(response["Location"]))
    assert bulk_actions.run_to_completion(bulk_action).count == 3


def test_a_change_is_tried_for_a_while_and_the_page_says_so(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_fix, "TRY_SECONDS", 0)
    for _ in range(3):
        hold()
    text = page_of(operator, DEAD, **SET)
    assert "1 of 1 becomes valid." in text
    assert "Checked: the first 1 of 3." in text


def test_a_record_is_written_once_to_be_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large one takes a tenth of a second each time."""
    hold(valid(email="none", name="A very long name"))
    written: list[Any] = []

    def write(value: Any) -> str:
        written.append(value)
        return ascii_json(value)

    for module in (bulk_fix, fixing):
        monkeypatch.setattr(module, "ascii_json", write)
    assert fix(TO_ADA).count == 1
    assert len([each for each in written if isinstance(each, dict)]) == 1


@pytest.mark.parametrize(("deep", "count"), [(99, 1), (100, 0)])
def test_a_value_may_be_as_deep_as_in_a_record_that_is_sent(deep: int, count: int) -> None:
    hold(valid(email="a@example.com", note=1))
    assert fix(Change(operation="set", field="note", value="[" * deep + "]" * deep)).count == count


def test_of_many_reasons_the_first_are_kept() -> None:
    kept = bulk_fix.add_reasons({}, {f"reason {number}": 2 for number in range(100)})
    again = bulk_fix.add_reasons(kept, {"reason 0": 1, "another": 1})
    assert len(again) == bulk_fix.MAX_REASONS + 1
    assert (again["reason 0"], again[bulk_fix.OTHER], sum(again.values())) == (3, 161, 202)


# At once, and after a crash.


def at_once(*acts: Any) -> None:
    def run(action: Any) -> None:
        try:
            action()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        list(pool.map(run, acts))


@pytest.mark.django_db(transaction=True)
def test_two_operators_at_once_and_each_record_is_fixed_once_by_each(small_steps: None) -> None:
    records = [hold() for _ in range(12)]
    one = begin(TO_ADA)
    two = begin(Change(operation="set", field="name", value='"Ada"'), status="dead")
    at_once(
        *[
            lambda which=which: bulk_actions.run_to_completion(BulkAction.objects.get(pk=which.pk))
            for which in (one, two, one, two)
        ]
    )
    one.refresh_from_db()
    two.refresh_from_db()
    assert one.count == 12
    assert {payload_of(record)["email"] for record in records} == {"a@example.com"}
    # "Ada" alone does not pass: only where the address was fixed before
    named = sum(payload_of(record)["name"] == "Ada" for record in records)
    assert two.count == named == sum(payload_of(record) and record.payload_version == 2 for record in records)
    assert sum(two.change[bulk_actions.SKIPPED].values()) + two.count == 12


@pytest.mark.django_db(transaction=True)
def test_fixed_and_reprocessed_at_once_each_record_goes_as_it_was_or_as_it_is(
    small_steps: None,
) -> None:
    for number in range(12):
        hold(valid(tutor_id=f"M-{number}", email="none"), key=f"M-{number}")
    fixing, sending = begin(TO_ADA, reprocess=True), bulk_actions.create(Kind.REPROCESS, {}, by="test")
    at_once(*[lambda which=which: bulk_actions.run_to_completion(which) for which in (fixing, sending)], work, work)
    work()
    fixing.refresh_from_db()
    assert fixing.count == 12
    assert all(stored("tutors", f"M-{number}") for number in range(12))
    assert set(HeldRecord.objects.values_list("status", flat=True)) == {Status.RESOLVED}
    for delivery in Delivery.objects.filter(format="held"):
        assert delivery.pending == 0


def test_a_crash_in_the_middle_of_a_step_leaves_nothing_half_done(
    small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = [hold() for _ in range(5)]
    bulk_action = begin(TO_ADA, reprocess=True)
    bulk_actions.run_next_step(BulkAction.objects.all())
    with monkeypatch.context() as patch:
        patch.setattr(requeue, "queue", lambda *args: 1 / 0)  # after the payloads are written
        with pytest.raises(ZeroDivisionError):
            bulk_actions.run_next_step(BulkAction.objects.all())
    bulk_action.refresh_from_db()
    assert (bulk_action.count, bulk_action.reached) == (2, records[1].pk)
    assert [payload_of(record)["email"] for record in records[2:]] == ["no address"] * 3
    bulk_actions.run_to_completion(bulk_action)
    assert bulk_action.count == 5
    assert set(HeldRecord.objects.values_list("payload_version", flat=True)) == {1}
    assert sum(bulk_action.deliveries.values_list("count", flat=True)) == 5


def test_who_closed_one_meanwhile_was_faster() -> None:
    first, second = hold(), hold()
    bulk_action = begin(TO_ADA)
    discard({"ids": [first.pk]}, by="test", reason="no")
    bulk_actions.run_to_completion(bulk_action)
    first.refresh_from_db()
    assert (first.payload_version, first.status) == (0, Status.DISCARDED)
    assert (bulk_action.total, bulk_action.count, payload_of(second)["email"]) == (2, 1, "a@example.com")


# In the admin.


def page_of(client: Client, page: str, *records: HeldRecord, **fields: Any) -> str:
    return unescape(words_of(client.post(page, choose("fix", *records, **fields))))


def confirm(client: Client, page: str, *records: HeldRecord, button: str = "", **fields: Any) -> Any:
    text = words_of(client.post(page, choose("fix", *records, **fields)))
    asked = fields_of(text[text.index('id="preview"') :] + 'id="content-main"' + text[text.index('id="preview"') :])
    return client.post(page, asked | ({button: "yes"} if button else {}))


def test_it_asks_for_the_change_with_the_fields_of_the_stream(operator: Client) -> None:
    record = hold(key="T-77")
    text = page_of(operator, DEAD, record)
    assert "Fix 1 failed record of tutors" in text
    assert '<option value="email" selected>email</option>' in text  # it is at fault
    assert "value is not a valid email address" in text
    assert 'id="preview"' not in text
    assert "Fix all 1…" in words_of(operator.get(DEAD))


def test_it_tells_what_would_come_of_it_and_does_nothing_yet(operator: Client) -> None:
    for number in range(12):
        hold(key=f"G-{number}")
    hold(valid(email="none", age=7), key="B-1")
    hold(valid(email="a@example.com", age=7))
    text = page_of(operator, DEAD, **SET)
    assert 'Preview: set email to "a@example.com"' in text
    assert "12 of 14 become valid.</strong> 1 still invalid." in text
    assert f"1 unchanged: {UNCHANGED}" in text
    assert text.count('class="before"') == 10
    assert '<code>"no address"</code>' in text and '<code>"a@example.com"</code>' in text
    assert "B-1" in text and "must be at least 18; got 7" in text
    assert "Fix and reprocess 12" in text and "Fix only" in text
    assert not BulkAction.objects.exists()
    assert not HeldRecord.objects.exclude(payload_version=0).exists()


def test_it_is_confirmed_and_done_and_in_the_history(operator: Client) -> None:
    good, bad = hold(), hold(valid(email="none", age=7))
    response = confirm(operator, f"{DEAD}?code=invalid", **SET)
    bulk_action = BulkAction.objects.get()
    assert response["Location"] == f"/admin/enrichment/bulkaction/{bulk_action.pk}/change/"
    assert (bulk_action.kind, bulk_action.by, bulk_action.total, bulk_action.count) == ("fix", "user:operator", 2, 1)
    assert bulk_action.filter == {"status": "dead", "code": "invalid", "stream": "tutors"}
    assert {name: bulk_action.change[name] for name in ("operation", "field", "value")} == TO_ADA.as_dict()
    assert (payload_of(good)["email"], payload_of(bad)["email"]) == ("a@example.com", "none")
    assert not bulk_action.deliveries.exists()
    told = 'Fixed: 1 failed record: set email to "••• hidden". Selection: dead letters of tutors with code invalid.'
    assert LogEntry.objects.get().change_message == told
    text = unescape(words_of(operator.get(response["Location"])))
    assert "1 fixed · 1 unchanged" in text
    assert 'set email to "a@example.com"' in text
    assert "still invalid: age:" in text


def test_fix_and_reprocess_is_one_confirmation(operator: Client) -> None:
    record = hold(valid(tutor_id="M-1", email="none"))
    confirm(operator, DEAD, record, button="reprocess", **SET)
    work()
    record.refresh_from_db()
    assert (record.status, record.outcome) == (Status.RESOLVED, "inserted")
    [entry] = history(record, User.objects.get(username="operator"))
    assert (entry.by, entry.text, entry.bulk_action) == ("operator", "Fixed and reprocessed", BulkAction.objects.get())


def test_records_of_several_streams_are_fixed_one_stream_at_a_time(operator: Client) -> None:
    hold(), hold(), hold(valid("students", age=1), stream="students")
    hold({"id": 1}, stream="planets")
    text = page_of(operator, DEAD)
    assert "Choose one stream" in text
    assert "Fix 2 of tutors…" in text and "Fix 1 of students…" in text
    assert "planets" not in text
    assert "Fix 2 failed records of tutors" in page_of(operator, DEAD, stream="tutors")
    assert "Choose one stream" in page_of(operator, DEAD, stream="planets")
    confirm(operator, DEAD, stream="students", operation="set", field="age", value="10", written_as="json")
    assert BulkAction.objects.get().filter == {"status": "dead", "stream": "students"}
    assert (BulkAction.objects.get().total, BulkAction.objects.get().count) == (1, 1)


def test_of_very_many_the_first_are_tried_and_the_page_says_so(
    operator: Client, small_steps: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_fix, "MAX_RECORDS", 3)
    for _ in range(5):
        hold()
    text = page_of(operator, DEAD, **SET)
    assert "3 of 3 become valid." in text
    assert "Checked: the first 3 of 5." in text
    assert "up to 5" in text
    response = confirm(operator, DEAD, **SET)
    bulk_action = BulkAction.objects.get()
    assert (bulk_action.total, bulk_action.count, bulk_action.finished_at) == (5, 2, None)
    assert LogEntry.objects.get().change_message == (
        "Started to fix 5 failed records; this continues in the background: "
        'set email to "••• hidden". Selection: dead letters of tutors.'
    )
    text = words_of(operator.get(response["Location"]))
    assert 'data-refresh="2"' in text and "2 of 5" in text and "No workers running" in text
    monkeypatch.setattr(bulk_fix, "MAX_BYTES", 1)
    assert "Checked: the first 1 of 5." in page_of(operator, DEAD, **SET)


def test_where_nothing_would_pass_there_is_nothing_to_confirm(operator: Client) -> None:
    hold()
    text = page_of(operator, DEAD, **SET | {"value": "still none"})
    assert "0 of 1 become valid" in text
    assert 'name="confirmed"' not in text


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ({"operation": "destroy"}, "Select a valid choice"),
        ({"operation": ""}, "This field is required."),
        ({"field": "x" * 100_000}, "Choose a field of the stream."),
        ({"field": "a\0b"}, "Choose a field of the stream."),
        ({"field": "<script>alert(1)</script>"}, "Choose a field of the stream."),
        ({"field": "tutor_id"}, "The ID identifies a record"),
        ({"value": "a\0b"}, "Null characters are not allowed"),
        ({"value": "x" * 10_001}, "at most 10000 characters"),
        ({"value": "nope", "written_as": "json"}, "Not JSON"),
        ({"value": "", "written_as": "json"}, "Not JSON"),
        ({"value": "NaN", "written_as": "json"}, "NaN is not valid JSON"),
        ({"value": "9" * 5000, "written_as": "json"}, "too many digits"),
        ({"value": "[" * 5000, "written_as": "json"}, "Nested"),
        ({"value": "[" * 500 + "]" * 500, "written_as": "json"}, "Nested"),
        ({"operation": "replace", "old": "{", "value": "1", "written_as": "json"}, "Not JSON"),
        ({"operation": "replace", "old": "a", "value": "a"}, "The new value is the same as the old value."),
        ({"written_as": "yaml"}, "Select a valid choice"),
    ],
    ids=lambda each: str(each)[:40],
)
def test_an_invalid_change_is_refused_and_nothing_is_tried(operator: Client, typed: dict[str, str], told: str) -> None:
    hold()
    text = words_of(operator.post(DEAD, choose("fix", **SET | typed)))
    assert told in text
    assert 'id="preview"' not in text
    assert "<script>alert" not in text
    assert len(text) < 60_000


@pytest.mark.parametrize("value", [r'"\u0000"', r'"\ud800"', "[" * 99 + "]" * 99, '"\u202e</code><script>"'])
def test_a_value_that_no_database_keeps_is_tried_and_left(operator: Client, value: str) -> None:
    record = hold()
    before = record.payload
    text = words_of(operator.post(DEAD, choose("fix", **SET | {"value": value, "written_as": "json"})))
    assert "0 of 1 become valid" in text
    assert "</code><script>" not in text and "\u202e" not in text.split('id="preview"')[1]
    change = Change(operation="set", field="name", value=ascii_json(json.loads(value)))
    assert fix(change).count == 0
    record.refresh_from_db()
    assert record.payload == before
    assert words_of(operator.get(f"/admin/enrichment/bulkaction/{BulkAction.objects.get().pk}/change/"))


@pytest.mark.parametrize(
    ("typed", "value", "old"),
    [
        ({"field": "email", "value": "27"}, '"27"', ""),
        ({"field": "age", "value": " 27 "}, "27", ""),
        ({"field": "age", "value": "old"}, '"old"', ""),
        ({"field": "age", "value": ""}, '""', ""),
        ({"field": "subjects", "value": "Algebra; Fran\u00e7ais"}, '["Algebra","Fran\\u00e7ais"]', ""),
        ({"field": "subjects", "value": '["Algebra"]'}, '["Algebra"]', ""),
        ({"field": "age", "value": "27", "operation": "replace", "old": '"27"'}, "27", '"27"'),
        ({"field": "age", "value": "27", "operation": "replace", "old": "7"}, "27", "7"),
        ({"field": "age", "value": "27", "operation": "replace", "old": "yes"}, "27", '"yes"'),
        (
            {"field": "email", "value": "a@example.com", "operation": "replace", "old": '"7"'},
            '"a@example.com"',
            r'"\"7\""',
        ),
        ({"field": "age", "value": '"27"', "written_as": "json"}, '"27"', ""),
    ],
    ids=str,
)
def test_what_is_typed_is_read_as_the_field_is(typed: dict[str, str], value: str, old: str) -> None:
    form = ChangeForm(SET | typed, stream=streams.get("tutors"))
    assert form.is_valid(), form.errors
    assert (form.change().value, form.change().old) == (value, old)


def test_truth_is_read_so_and_what_is_no_truth_is_replaced() -> None:
    typed = {"operation": "replace", "field": "no_show", "old": "yes", "value": "yes", "written_as": "text"}
    form = ChangeForm(typed, stream=streams.get("sessions"))
    assert form.is_valid(), form.errors
    assert (form.change().old, form.change().value) == ('"yes"', "true")


def test_a_number_is_set_as_it_is_typed_first(operator: Client) -> None:
    record = hold(valid(age=7))
    assert "1 of 1 becomes valid" in page_of(operator, DEAD, **SET | {"field": "age", "value": "27"})
    confirm(operator, DEAD, **SET | {"field": "age", "value": "27"})
    assert payload_of(record)["age"] == 27


def test_it_says_that_there_are_other_messages(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_fix, "MAX_FAILURES", 1)
    hold(), hold()
    assert "other messages" not in page_of(operator, DEAD)
    hold(messages={"age": ["too young"]}), hold(messages={"age": ["too old"]}), hold(messages={"name": ["too long"]})
    text = page_of(operator, DEAD)
    assert '<tr><th scope="row">3</th><td class="quiet">other errors</td></tr>' in text


def test_what_clients_sent_is_shown_harmless(operator: Client) -> None:
    hold(valid(email="</code><script>alert(1)</script>\u202e" + "y" * 100_000), key="K\u202e<b>")
    text = words_of(operator.post(DEAD, choose("fix", **SET)))
    shown = text.split('id="preview"')[1]
    assert "<script>alert" not in text and "\u202e" not in shown and r"\u202e" in shown
    assert len(text) < 60_000


# Rights.


def test_each_step_wants_the_permission(operator: Client) -> None:
    record = hold()
    asked = fields_of(words_of(operator.post(DEAD, choose("fix", **SET))))
    user = person("viewer")
    user.user_permissions.add(*Permission.objects.filter(codename__in=["reprocess", "discard"]))
    client = browser_of(user)
    assert "is-fix" not in words_of(client.get(DEAD))
    for data in (choose("fix"), choose("fix", record, **SET), asked, asked | {"reprocess": "yes"}):
        for page in (DEAD, ALL):
            assert client.post(page, data).status_code == 403
    assert not BulkAction.objects.exists()


def test_who_may_only_fix_may_not_reprocess(operator: Client) -> None:
    hold()
    user = person("viewer")
    user.user_permissions.set(Permission.objects.filter(codename__in=["fix", "view_personal_data"]))
    client = browser_of(user)
    assert "fix and reprocess" not in page_of(client, DEAD, **SET)
    assert confirm(client, DEAD, button="reprocess", **SET).status_code == 403
    assert not BulkAction.objects.exists()
    assert confirm(client, DEAD, **SET).status_code == 302
    assert BulkAction.objects.get().count == 1


def asked_for(client: Client) -> dict[str, Any]:
    text = words_of(client.post(DEAD, choose("fix", **SET))).split('id="preview"')[1]
    return fields_of('id="content-main"' + text)


def test_a_confirmation_holds_for_its_page_person_action_and_hour(operator: Client) -> None:
    record = hold()
    asked = asked_for(operator)
    [signed] = asked["confirmed"]
    for forged in ("", "yes", signed[:-1], signed + "x", "x" + signed, "\0", "é" * 100, "9" * 100_000):
        text = words_of(operator.post(DEAD, asked | {"confirmed": forged}))
        assert "Nothing was changed" in text, forged
    assert "Nothing was changed" in words_of(operator.post(DEAD, asked | {"action": "discard", "reason": "forged"}))
    other = browser_of(person("operator", "administrator"))
    assert "Nothing was changed" in words_of(other.post(DEAD, asked))
    with time_machine.travel(timezone.now() + timedelta(minutes=61)):
        text = words_of(operator.post(DEAD, asked, follow=True))
    assert not BulkAction.objects.exists()
    assert payload_of(record)["email"] == "no address"


def test_a_confirmation_covers_the_records_of_its_page(operator: Client) -> None:
    first = hold()
    asked = asked_for(operator)
    late = hold()
    operator.post(
        f"{DEAD}?code=conflict", asked | {"select_across": "0", "_selected_action": [late.pk], **SET, "value": "b@b.de"}
    )
    bulk_action = BulkAction.objects.get()
    assert (bulk_action.total, bulk_action.count, bulk_action.up_to) == (1, 1, first.pk)
    assert (payload_of(first)["email"], payload_of(late)["email"]) == ("a@example.com", "no address")


def test_waiting_records_are_fixed_too(operator: Client) -> None:
    record = wait()
    confirm(
        operator, "/admin/enrichment/waitingrecord/", operation="set", field="tutor_id", value="T-5", written_as="text"
    )
    assert payload_of(record)["tutor_id"] == "T-5"
    assert record.status == Status.WAITING

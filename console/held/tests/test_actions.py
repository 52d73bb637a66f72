"""Acts on held records in the admin: asked for, confirmed, permitted, and kept in the history."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.test import Client

from console.held.page import history
from enrichment.models import BulkAction, HeldRecord
from ingestion.models import Delivery
from ingestion.payloads import ascii_json
from tests.held import discard, hold, reprocess, valid, wait
from tests.held_pages import ALL, DEAD, WAITING, choose, confirm, fields_of
from tests.people import browser_of, person, text_of, words_of

pytestmark = pytest.mark.django_db

Status = HeldRecord.Status


def test_nothing_is_done_before_it_is_confirmed(operator: Client) -> None:
    record = hold(key="T-77")
    for action in ("reprocess", "discard"):
        text = text_of(operator.post(DEAD, choose(action, record)))
        assert f"{action.capitalize()} 1 failed record?" in text
        assert "T-77" in text
    record.refresh_from_db()
    assert (record.status, record.queued_in) == (Status.DEAD, None)
    assert not BulkAction.objects.exists()


def test_one_is_reprocessed_from_its_page(operator: Client) -> None:
    record, other = hold(), hold()
    page = f"{DEAD}{record.pk}/change/"
    assert 'value="reprocess"' in text_of(operator.get(page))
    response = confirm(operator, DEAD, choose("reprocess", record, from_page="_changelist_filters=stream%3Dtutors"))
    assert response["Location"] == f"{page}?_changelist_filters=stream%3Dtutors"
    bulk_action = BulkAction.objects.get()
    assert (bulk_action.kind, bulk_action.by, bulk_action.count) == ("reprocess", "user:operator", 1)
    assert bulk_action.filter == {"ids": [record.pk]}
    assert bulk_action.user is not None
    record.refresh_from_db()
    other.refresh_from_db()
    assert record.queued_in == bulk_action.deliveries.get().pk
    assert other.queued_in is None
    text = text_of(operator.get(page))
    assert "Requeued in" in text
    link = f'<a href="/admin/enrichment/bulkaction/{bulk_action.pk}/change/">bulk action {bulk_action.pk}</a>'
    assert f"Reprocessed ({link})" in text  # in its history
    assert 'value="reprocess"' not in text


def test_the_selected_are_reprocessed(operator: Client) -> None:
    first, second, third = hold(), hold(), hold()
    response = confirm(operator, DEAD, choose("reprocess", first, third))
    bulk_action = BulkAction.objects.get()
    assert response["Location"] == f"/admin/enrichment/bulkaction/{bulk_action.pk}/change/"
    assert bulk_action.count == 2
    assert bulk_action.filter == {"ids": [first.pk, third.pk]}
    assert list(HeldRecord.objects.filter(queued_in=None)) == [second]


def test_all_that_match_the_filter_are_reprocessed(operator: Client) -> None:
    for _ in range(3):
        hold(stream="students")
    hold()
    wait()
    page = f"{DEAD}?stream=students&age=24h"
    text = text_of(operator.get(page))
    assert "Reprocess all 3…" in text
    confirm(operator, page, choose("reprocess"))
    bulk_action = BulkAction.objects.get()
    assert bulk_action.count == 3
    held_after = bulk_action.filter.pop("held_after")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", held_after)
    assert bulk_action.filter == {"status": "dead", "stream": "students"}
    assert set(HeldRecord.objects.exclude(queued_in=None).values_list("stream", "status")) == {("students", "dead")}


def test_in_the_list_of_all_actions_are_for_open_records_and_say_so(operator: Client, viewer: Client) -> None:
    record, other = hold(), hold()
    Delivery.objects.filter(pk=record.delivery_id).update(count=2, held=2)
    HeldRecord.objects.filter(pk=other.pk).update(delivery=record.delivery_id, position=1, status=Status.RESOLVED)
    wait()
    page = f"{ALL}?delivery={record.delivery_id}"
    text = text_of(operator.get(page))
    for action in ("Reprocess", "Fix", "Discard"):
        assert f"{action} all 1 open…" in text
    assert "Discard all 2 open…" in text_of(operator.get(ALL))
    assert "Discard all 1…" in text_of(operator.get(DEAD))
    assert "all 1 open" not in text_of(viewer.get(page))
    asked = text_of(operator.post(page, choose("discard")))
    assert "Discard 1 failed record?" in asked and f"open failed records in delivery {record.delivery_id}" in asked
    confirm(operator, page, choose("discard"), reason="a test")
    assert dict(HeldRecord.objects.values_list("pk", "status"))[record.pk] == Status.DISCARDED
    assert (BulkAction.objects.get().count, HeldRecord.objects.open().count()) == (1, 1)
    for closed in (page, f"{ALL}?status=resolved"):
        assert "Discard all" not in text_of(operator.get(closed))


def test_what_came_after_the_page_was_shown_is_not_confirmed(operator: Client) -> None:
    hold()
    asked = fields_of(text_of(operator.post(DEAD, choose("discard"))))
    late = hold()
    operator.post(DEAD, asked | {"reason": "a test"})
    assert BulkAction.objects.get().count == 1
    assert HeldRecord.objects.dead().get() == late


def test_discarding_wants_a_reason(operator: Client) -> None:
    record = hold()
    for reason in ("", "   "):
        text = text_of(confirm(operator, DEAD, choose("discard", record), reason=reason))
        assert "This field is required." in text
    assert not BulkAction.objects.exists()
    confirm(operator, DEAD, choose("discard", record), reason="sent twice by mistake")
    record.refresh_from_db()
    bulk_action = BulkAction.objects.get()
    assert (record.status, record.discard_reason) == (Status.DISCARDED, "sent twice by mistake")
    assert (bulk_action.kind, bulk_action.reason, bulk_action.count) == ("discard", "sent twice by mistake", 1)
    assert "sent twice by mistake" in text_of(operator.get(f"{ALL}{record.pk}/change/"))


def test_waiting_records_can_be_discarded(operator: Client) -> None:
    wait()
    dead = hold()
    confirm(operator, WAITING, choose("discard"), reason="a test")
    assert BulkAction.objects.get().filter == {"status": "waiting"}
    assert HeldRecord.objects.open().get() == dead


def test_every_action_is_in_the_history(operator: Client) -> None:
    first, second = hold(), hold()
    confirm(operator, DEAD, choose("reprocess", first))
    confirm(operator, DEAD, choose("discard", first, second), reason="a test")
    told = list(LogEntry.objects.order_by("pk").values_list("content_type__model", "change_message"))
    assert told == [
        ("bulkaction", f"Reprocessed: 1 failed record. Selection: failed record {first.pk}."),
        ("bulkaction", "Discarded: 2 failed records. Selection: 2 selected failed records."),
    ]
    for record, done in ((first, ["Discarded", "Reprocessed"]), (second, ["Discarded"])):
        entries = history(record, User.objects.get(username="operator"))
        assert [entry.text for entry in entries] == done
        assert {entry.by for entry in entries} == {"operator"}
    latest = BulkAction.objects.latest("pk")
    assert (entries[0].bulk_action, entries[0].reason) == (latest, "a test")
    words = words_of(operator.get(f"{ALL}{second.pk}/change/"))
    link = f'<a href="/admin/enrichment/bulkaction/{latest.pk}/change/">bulk action {latest.pk}</a>'
    assert f"ago by operator ({link}): a test" in words


def test_who_was_faster_wins(operator: Client) -> None:
    record = hold()
    asked = fields_of(text_of(operator.post(DEAD, choose("reprocess", record))))
    discard({"ids": [record.pk]}, by="command", reason="faster")
    text = text_of(operator.post(DEAD, asked, follow=True))
    assert "changed by someone else" in text
    record.refresh_from_db()
    assert (record.status, record.queued_in) == (Status.DISCARDED, None)
    assert not LogEntry.objects.filter(object_id=str(record.pk), content_type__model="heldrecord").exists()


def test_what_is_on_its_way_is_left_out_and_said_to_be(operator: Client) -> None:
    hold()
    reprocess({}, by="command")
    assert "1 is already queued" in words_of(operator.post(DEAD, choose("reprocess")))
    hold()
    text = text_of(operator.post(DEAD, choose("reprocess")))
    assert "Reprocess 1 failed record?" in text
    assert "1 more is already queued" in " ".join(text.split())


def forgeries(record: HeldRecord) -> list[tuple[str, dict[str, Any]]]:
    confirmed = {"confirmed": "yes", "up_to": "1000000", "reason": "forged"}
    fixed = {"payload": ascii_json(valid()), "payload_version": "0"}
    return [
        (DEAD, choose("reprocess", record)),
        (DEAD, choose("reprocess", record, **confirmed)),
        (DEAD, choose("reprocess", **confirmed)),
        (ALL, choose("discard", record, **confirmed)),
        (DEAD, choose("discard", record, index="0", **confirmed)),
        (f"{DEAD}{record.pk}/fix/", fixed | {"_save": "Save"}),
        (f"{ALL}{record.pk}/fix/", fixed | {"_reprocess": "Save and reprocess"}),
        (f"{DEAD}{record.pk}/change/", fixed),
        (f"{DEAD}{record.pk}/delete/", {"post": "yes"}),
        (f"{DEAD}add/", fixed),
    ]


def test_a_viewer_has_no_buttons_and_no_forged_post_does_anything() -> None:
    viewer = browser_of(person("viewer"))
    record = hold()
    for page in (DEAD, f"{DEAD}{record.pk}/change/"):
        text = text_of(viewer.get(page))
        assert 'class="action-button is-' not in text
        assert 'name="action"' not in text
    assert viewer.get(f"{DEAD}{record.pk}/fix/").status_code == 403
    for page, data in forgeries(record):
        assert viewer.post(page, data).status_code == 403, (page, data)
    assert HeldRecord.objects.values("status", "queued_in", "payload_version").get() == {
        "status": "dead",
        "queued_in": None,
        "payload_version": 0,
    }
    assert not BulkAction.objects.exists()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("permitted", ["reprocess", "discard", "fix"])
def test_each_action_has_a_permission_of_its_own(permitted: str) -> None:
    user = person("viewer")
    user.user_permissions.set(Permission.objects.filter(codename__in=[permitted, "view_personal_data"]))
    client = browser_of(user)
    record = hold()
    text = text_of(client.get(f"{DEAD}{record.pk}/change/"))
    assert set(re.findall(r'class="action-button is-(\w+)"', text)) == {permitted}
    for action in ("reprocess", "discard"):
        assert client.post(DEAD, choose(action, record)).status_code == (200 if action == permitted else 403)
    fixing = client.get(f"{DEAD}{record.pk}/fix/")
    assert fixing.status_code == (200 if permitted == "fix" else 403)
    if permitted == "fix":
        assert "_reprocess" not in text_of(fixing)
        data = {"payload": ascii_json(valid()), "payload_version": "0", "_reprocess": "Save and reprocess"}
        assert client.post(f"{DEAD}{record.pk}/fix/", data).status_code == 403
        record.refresh_from_db()
        assert record.payload_version == 0


def test_acts_want_a_csrf_token() -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("operator"))
    record = hold()
    for page, data in forgeries(record):
        assert client.post(page, data).status_code == 403, page
    assert not BulkAction.objects.exists()


@pytest.mark.parametrize("selected", ["x", "1;2", "-1", "9" * 19, "\0"])
def test_a_selection_that_is_no_number_is_refused(operator: Client, selected: str) -> None:
    hold()
    assert operator.post(DEAD, {"action": "reprocess", "_selected_action": selected}).status_code == 400


@pytest.mark.parametrize("up_to", ["", "x", "9" * 30])
def test_a_confirmation_without_its_bound_does_nothing(operator: Client, up_to: str) -> None:
    hold()
    operator.post(DEAD, choose("reprocess", confirmed="yes", up_to=up_to))
    assert not BulkAction.objects.exists()


def fix(client: Client, record: HeldRecord, payload: str, version: object = 0, button: str = "_save") -> Any:
    return client.post(f"{DEAD}{record.pk}/fix/", {"payload": payload, "payload_version": version, button: "x"})


def test_the_fixing_page_shows_the_payload_and_what_is_wrong_beside_it(operator: Client) -> None:
    record = hold(valid(email="no address", name=""))
    text = text_of(operator.get(f"{DEAD}{record.pk}/fix/"))
    assert "&quot;email&quot;: &quot;no address&quot;" in text
    field_errors = re.findall(r'<label for="id_\w+">(\w+)</label>\s+<a href="#id_payload" data-line="(\d+)">', text)
    lines = record_lines(record)
    assert field_errors == [(name, str(lines[name])) for name in ("name", "email")]


def record_lines(record: HeldRecord) -> dict[str, int]:
    return {name: number for number, name in enumerate(valid(email="no address", name=""), start=2)}


def test_fixing_keeps_the_original(operator: Client) -> None:
    record = hold()
    before = record.payload
    response = fix(operator, record, ascii_json(valid(tutor_id="T-5", email="a@example.com")))
    assert response["Location"] == f"{DEAD}{record.pk}/change/"
    record.refresh_from_db()
    assert (record.original_payload, record.payload_version, record.key) == (before, 1, "T-5")
    assert (record.status, record.queued_in) == (Status.DEAD, None)
    assert LogEntry.objects.get().change_message == "Fixed."


def test_fixing_and_reprocessing_is_one_step(operator: Client) -> None:
    record = hold()
    fix(operator, record, ascii_json(valid()), button="_reprocess")
    record.refresh_from_db()
    bulk_action = BulkAction.objects.get()
    assert bulk_action.filter == {"ids": [record.pk]}
    assert record.queued_in == bulk_action.deliveries.get().pk
    assert [entry.text for entry in history(record, User.objects.get(username="operator"))] == ["Reprocessed", "Fixed."]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (ascii_json(valid(email="still none")), "must be a valid e-mail address"),
        ("{", "Not JSON"),
        ("", "Not JSON"),
        ('{"a": NaN}', "NaN is not valid JSON"),
        ("[]", "valid"),
        ("[" * 500 + "]" * 500, "Nested"),
        (ascii_json(valid(name="a\0b")), "NUL"),
    ],
)
def test_a_payload_that_does_not_pass_is_not_saved_and_not_lost(operator: Client, payload: str, message: str) -> None:
    record = hold()
    text = text_of(fix(operator, record, payload, button="_reprocess"))
    assert "Not saved" in text
    assert message in text
    record.refresh_from_db()
    assert (record.payload_version, record.original_payload, record.queued_in) == (0, None, None)
    assert not Delivery.objects.filter(format="held").exists()
    assert not LogEntry.objects.exists()


def test_of_two_who_fix_at_once_the_second_gets_a_warning(operator: Client) -> None:
    record = hold()
    fix(operator, record, ascii_json(valid(name="first")), version=0)
    text = text_of(fix(operator, record, ascii_json(valid(name="second")), version=0, button="_reprocess"))
    assert "Changed by someone else" in text
    assert "&quot;second&quot;" in text  # the text is not lost
    record.refresh_from_db()
    assert '"first"' in record.payload
    assert not BulkAction.objects.exists()


@pytest.mark.parametrize("version", ["", "x", "-1", "9" * 30])
def test_a_forged_version_is_someone_elses(operator: Client, version: str) -> None:
    record = hold()
    assert "Changed by someone else" in text_of(fix(operator, record, ascii_json(valid()), version=version))
    record.refresh_from_db()
    assert record.payload_version == 0


def test_a_closed_record_cannot_be_fixed(operator: Client) -> None:
    record = hold(status=Status.DISCARDED, discard_reason="a test")
    page = f"{ALL}{record.pk}/fix/"
    assert operator.get(page)["Location"] == f"{ALL}{record.pk}/change/"
    data = {"payload": ascii_json(valid()), "payload_version": "0", "_save": "x"}
    assert "Changed by someone else" in text_of(operator.post(page, data))
    record.refresh_from_db()
    assert record.payload_version == 0
    assert "is-fix" not in text_of(operator.get(f"{ALL}{record.pk}/change/"))


def test_a_record_of_a_stream_that_is_gone_can_be_read_and_discarded(operator: Client) -> None:
    record = hold({"id": 1}, stream="planets")
    assert set(re.findall(r'class="action-button is-(\w+)"', text_of(operator.get(f"{DEAD}{record.pk}/change/")))) == {
        "discard"
    }
    for answer in (operator.get(f"{DEAD}{record.pk}/fix/"), fix(operator, record, "{}")):
        assert answer.status_code == 302
    confirm(operator, DEAD, choose("discard", record), reason="a test")
    record.refresh_from_db()
    assert record.status == Status.DISCARDED


def test_what_is_fixed_is_what_was_there(operator: Client) -> None:
    nasty = valid(name="é\u202e\0\ud800 </textarea><script>", email="x")
    record = hold(nasty)
    text = text_of(operator.get(f"{DEAD}{record.pk}/fix/"))
    assert "</textarea><script>" not in text
    assert r"é\u202e\u0000\ud800 &lt;/textarea&gt;&lt;script&gt;" in text

"""The fix page: messages beside the values at fault, a difference before saving, and what would come of it."""

import html
import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from console.held import fix_form
from console.held import page as held_page
from enrichment.models import BulkAction, HeldRecord
from ingestion import streams
from ingestion.cells import readers_of
from ingestion.payloads import ascii_json, parse_json
from ingestion.text import pretty
from tests.held import hold, valid
from tests.held_pages import DEAD
from tests.people import browser_of, person, text_of
from tests.records import send

pytestmark = pytest.mark.django_db


def page_of(record: HeldRecord) -> str:
    return f"{DEAD}{record.pk}/fix/"


def form_of(text: str) -> dict[str, str]:
    """What a browser would send of a fix page, whatever the button."""
    area = re.search(r"<textarea name=\"payload\"[^>]*>\n(.*?)</textarea>", text, re.DOTALL)
    assert area
    inputs = re.findall(r'<input type="(?:hidden|text)" name="([^"]*)"[^>]*? value="([^"]*)"', text)
    return {"payload": html.unescape(area[1])} | {name: html.unescape(value) for name, value in inputs}


def post(client: Client, record: HeldRecord, button: str = "_check", **changes: str) -> Any:
    """Fills in the fix page of the record, as changed, and presses a button."""
    form = form_of(text_of(client.get(page_of(record))))
    typed = {name.replace("__", "."): value for name, value in changes.items()}
    assert set(typed) <= set(form), form
    return client.post(page_of(record), form | typed | {button: "x"})


def test_what_is_typed_beside_a_message_goes_into_the_payload(operator: Client) -> None:
    payload = valid(email="no address", age="27", subjects=[])
    del payload["name"]
    record = hold(payload)
    form = form_of(text_of(operator.get(page_of(record))))
    assert {name: value for name, value in form.items() if name.startswith("field.")} == {
        "field.email": "no address",
        "field.age": '"27"',
        "field.subjects": "",
        "field.name": "",
    }
    response = post(
        operator,
        record,
        "_save",
        field__email="ada@example.org",
        field__age="27",
        field__subjects="Algebra; Physics",
        field__name="Ada",
    )
    assert response.status_code == 302, text_of(response)
    record.refresh_from_db()
    told = {"email": "ada@example.org", "age": 27, "subjects": ["Algebra", "Physics"], "name": "Ada"}
    assert parse_json(record.payload.encode()) == payload | told


def test_an_emptied_line_takes_the_field_away(operator: Client) -> None:
    record = hold(valid(age=7))
    post(operator, record, "_save", field__age="")
    record.refresh_from_db()
    assert "age" not in parse_json(record.payload.encode())


def test_what_was_not_typed_in_leaves_the_payload_to_its_editor(operator: Client) -> None:
    record = hold(valid(age=7))
    post(operator, record, "_save", payload=pretty(valid(age=30)))
    record.refresh_from_db()
    assert parse_json(record.payload.encode())["age"] == 30


def test_a_check_saves_nothing_and_shows_the_difference(operator: Client) -> None:
    record = hold(valid(email="no address"))
    text = text_of(post(operator, record, field__email="ada@example.org"))
    assert "Valid – not saved yet." in text
    assert "Tutor fields and rules" in text
    assert 'class="line removed">−   &quot;email&quot;: &quot;no address&quot;,</del>' in text
    assert 'class="line added">+   &quot;email&quot;: &quot;ada@example.org&quot;,</ins>' in text
    assert "unchanged lines" in text
    assert '"email": "ada@example.org"' in form_of(text)["payload"]
    record.refresh_from_db()
    assert (record.payload_version, record.queued_in) == (0, None)
    assert not LogEntry.objects.exists()
    again = operator.post(page_of(record), form_of(text) | {"_reprocess": "x"})
    assert again.status_code == 302
    assert BulkAction.objects.get().count == 1


def test_a_check_of_what_is_still_wrong_says_so_and_keeps_what_was_typed(operator: Client) -> None:
    record = hold(valid(email="no address"))
    text = text_of(post(operator, record, field__email="still none"))
    assert "Still invalid – not saved." in text
    assert form_of(text)["field.email"] == "still none"
    text = text_of(operator.post(page_of(record), {"payload": "{\n  oops", "payload_version": "0", "_check": "x"}))
    assert form_of(text)["payload"] == "{\n  oops"
    assert 'data-line="2">line 2</a>' in text
    assert '<pre class="payload">oops</pre>' in text


def test_enter_in_a_line_checks(operator: Client) -> None:
    """A browser presses the first button of the form."""
    record = hold()
    text = text_of(operator.get(page_of(record)))
    form = text[text.index('name="payload_version"') :]
    assert re.findall(r'<(?:button|input) type="submit"[^>]* name="(\w+)"', form)[0] == "_check"


def test_who_may_not_fix_may_not_check() -> None:
    record = hold()
    data = {"payload": ascii_json(valid()), "payload_version": "0", "_check": "x"}
    assert browser_of(person("viewer")).post(page_of(record), data).status_code == 403


def test_it_says_what_would_come_of_it(operator: Client) -> None:
    send("tutors", valid(tutor_id="T-1", updated_at="2025-03-01T00:00:00Z"))
    record = hold(valid(tutor_id="T-1", updated_at="2025-02-01T00:00:00Z", age=7), key="T-1")
    told = "A newer version of T-1 is already stored"
    assert told in text_of(operator.get(page_of(record)))
    newer = ascii_json(valid(tutor_id="T-1", updated_at="2025-04-01T00:00:00Z"))
    assert told not in text_of(post(operator, record, payload=newer))
    other = text_of(post(operator, record, payload=ascii_json(valid(tutor_id="T-2"))))
    assert "this will be stored as T-2." in other
    send("tutors", valid(tutor_id="T-2"))
    other = text_of(post(operator, record, payload=ascii_json(valid(tutor_id="T-2"))))
    assert "this will overwrite T-2." in other
    assert "the record has no ID now" in text_of(post(operator, record, payload="{}"))


def test_it_says_which_references_are_missing(operator: Client) -> None:
    send("students", valid("students", student_id="ST-1"))
    dead = hold(key="T-9")
    session = valid("sessions", tutor_id="T-9", student_id="ST-1", session_id="S-1")
    record = hold(session, stream="sessions", key="S-1")
    text = text_of(operator.get(page_of(record)))
    assert "tutor <strong>T-9</strong> is not stored" in text
    assert f'<a href="/admin/enrichment/deadletter/{dead.pk}/change/">dead letter</a>' in text
    assert "student <strong>" not in text
    for nasty in ("\0", "a\ud800", "\u202e", "", "x" * 5000, 7, None, ["T-9"]):
        text_of(post(operator, record, payload=ascii_json({**session, "tutor_id": nasty, "session_id": nasty})))


@pytest.mark.parametrize(
    ("field", "value", "typed"),
    [
        ("age", 7, "7"),
        ("age", "27", '"27"'),
        ("age", "seven", "seven"),
        ("age", True, None),
        ("age", 1.5, "1.5"),
        ("name", None, ""),
        ("name", "", ""),
        ("name", 5, None),
        ("name", "=1", "=1"),
        ("name", "'=1", "'=1"),
        ("name", " a", None),
        ("name", "a\nb", None),
        ("name", "a\u202eb", None),
        ("name", "a\ud800", None),
        ("name", "x" * 201, None),
        ("name", {"first": "Ada"}, None),
        ("subjects", ["a", "b"], "a;b"),
        ("subjects", ["a;b"], '["a;b"]'),
        ("subjects", "Algebra", '"Algebra"'),
        ("subjects", [1, 2], None),
    ],
)
def test_only_what_is_seen_whole_and_read_back_may_be_typed(field: str, value: Any, typed: str | None) -> None:
    read = readers_of(streams.get("tutors").schema)[field]
    assert fix_form.as_input(read, value) == typed


def test_a_long_payload_stays_usable(operator: Client) -> None:
    record = hold(valid(email="no address", notes="x" * 980_000))
    text = text_of(operator.get(page_of(record)))
    assert len(text) < 1_100_000
    checked = text_of(post(operator, record, field__email="ada@example.org"))
    assert "Valid – not" in checked
    assert len(checked) < 1_100_000
    assert post(operator, record, "_save", field__email="ada@example.org").status_code == 302
    record.refresh_from_db()
    assert record.payload_version == 1


def test_a_payload_that_is_mostly_indentation_is_edited_as_it_is(operator: Client) -> None:
    deep: Any = list(range(30_000))
    for _ in range(60):
        deep = [deep]
    record = hold(valid(email="no address", notes=deep))
    assert len(pretty(parse_json(record.payload.encode()))) > held_page.MAX_INPUT
    form = form_of(text_of(operator.get(page_of(record))))
    assert form["payload"] == record.payload
    assert post(operator, record, "_save", field__email="ada@example.org").status_code == 302


def test_a_payload_beyond_that_is_not_offered(operator: Client) -> None:
    record = hold({"name": "x" * 1_000_001})
    assert operator.get(page_of(record)).status_code == 302
    page = text_of(operator.get(f"{DEAD}{record.pk}/change/"))
    assert "Too large to edit here" in page
    assert "is-fix" not in page
    data = {"payload": ascii_json(valid()), "payload_version": "0", "_save": "x"}
    assert operator.post(page_of(record), data).status_code == 302
    record.refresh_from_db()
    assert record.payload_version == 0
    too_long = data | {"payload": "x" * (held_page.MAX_INPUT + 1)}
    assert operator.post(page_of(hold()), too_long).status_code == 400

"""Dead letters by what is wrong with them: what they are grouped by, the groups above their list, those like one."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from console.held.page import MAX_MESSAGES
from enrichment.models import BulkAction, HeldRecord
from enrichment.pipeline.item import MAX_FIRST_MESSAGE, Rejection
from ingestion.messages import Message
from ingestion.models import Delivery
from tests.held import hold, wait
from tests.held_pages import DEAD, WAITING, confirm
from tests.hostile import INVISIBLE, MARKUP, assert_harmless
from tests.people import text_of

pytestmark = pytest.mark.django_db

Status, Stage, Code = HeldRecord.Status, HeldRecord.Stage, HeldRecord.Code
AGE, EMAIL = {"age": ["is 7"]}, {"email": ["is none"]}


def message_counts(viewer: Client, **query: str) -> list[tuple[int, str, str]]:
    """The panel above the list: (records, message, link)."""
    text = text_of(viewer.get(DEAD, query))
    panel = text.partition('<section class="top-errors')[2].partition("</section>")[0]
    found = re.findall(r'<a href="([^"]*)"><strong>([\d,]+)</strong> <span>([^<]*)</span></a>', panel)
    return [(int(number), unescape(message), unescape(link)) for link, number, message in found]


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ({"age": ["is 7", "is odd"], "email": ["is none"]}, "age: is 7"),
        ({"age": [], "record": ["is no object"]}, "is no object"),
        ({"age": [Message("is 7", general="is odd")]}, "age: is odd"),
        ({"subjects.12": ["is 7"], "subjects.3": ["is 8"]}, "subjects: is 7"),
        ({"a\nb": [" c\r\n\td \n"]}, r"a b: c\r \td"),
        ({"<b>\u202e": ["\0\ud800\x1b é 日"]}, r"<b>\u202e: \u0000\ud800\u001b é 日"),
        ({"age": ["x" * 10_240]}, "age: " + "x" * (MAX_FIRST_MESSAGE - 5)),
        ({"age": ["x" * 194 + " y"]}, "age: " + "x" * 194),
        ({"record": ["\n"]}, "invalid"),
        ({}, "invalid"),
    ],
)
def test_a_message_is_a_short_line_that_can_be_seen(messages: Any, message: str) -> None:
    rejection = Rejection(Stage.VALIDATE, Code.INVALID, messages)
    assert rejection.message == message


def test_the_most_frequent_messages_of_what_is_listed_lead_to_exactly_those(viewer: Client) -> None:
    long_ago = timezone.now() - timedelta(days=2)
    for _ in range(3):
        hold(messages=AGE)
    hold(messages=AGE, stream="students", held_at=long_ago)
    hold(messages=EMAIL, client="user:ann", held_at=long_ago)
    hold(messages=EMAIL, code="conflict")
    hold(messages=EMAIL, status=Status.RESOLVED), wait()
    assert [each[:2] for each in message_counts(viewer)] == [(4, "age: is 7"), (2, "email: is none")]
    numbers = []
    for query in ({}, {"stream": "tutors"}, {"code": "conflict"}, {"age": "24h"}, {"client": "user:ann", "p": "1"}):
        for number, message, link in message_counts(viewer, **query):
            assert viewer.get(f"{DEAD}{link}").context["cl"].result_count == number, (query, message)
            numbers.append(number)
    assert numbers == [4, 2, 3, 2, 1, 3, 1, 1]
    assert message_counts(viewer, message="age: is 7") == message_counts(viewer, stream="feedback") == []
    assert "top-errors" not in text_of(viewer.get(WAITING))


def test_ten_messages_take_one_query(viewer: Client) -> None:
    hold()
    with CaptureQueriesContext(connection) as few:
        message_counts(viewer)
    for number in range(MAX_MESSAGES + 3):
        hold(messages={"age": [f"is {number:02}"]})
    hold(messages={"age": ["is 12"]})
    with CaptureQueriesContext(connection) as many:
        found = message_counts(viewer)
    assert len(many) == len(few)
    assert [message for _, message, _ in found] == ["age: is 12", *(f"age: is {n:02}" for n in range(9))]


def test_an_action_on_all_with_a_message_leaves_the_others_of_their_code(operator: Client) -> None:
    meant, other = [hold(messages=AGE) for _ in range(2)], hold(messages=EMAIL)
    ((_, _, link), _) = message_counts(operator, code="invalid")
    action = {"action": "discard", "select_across": "1", "_selected_action": "0"}
    confirm(operator, f"{DEAD}{link}", action, reason="no")
    assert {held.pk for held in HeldRecord.objects.filter(status=Status.DISCARDED)} == {held.pk for held in meant}
    assert HeldRecord.objects.get(pk=other.pk).status == Status.DEAD
    bulk_action = BulkAction.objects.get()
    assert bulk_action.filter == {"status": "dead", "code": "invalid", "message": "age: is 7"}
    text = text_of(operator.get(f"/admin/enrichment/bulkaction/{bulk_action.pk}/change/"))
    assert "dead letters with code invalid with the error “age: is 7”" in text


def test_a_hostile_message_is_shown_harmless_and_found(operator: Client) -> None:
    text = f"{MARKUP}{INVISIBLE}&message=x#"
    records = [hold(messages={text: [text + "x" * 10_240]}) for _ in range(2)]
    ((number, _, link),) = message_counts(operator)
    assert number == 2
    for page in ("/admin/", DEAD, f"{DEAD}{link}", f"{DEAD}{records[0].pk}/change/"):
        assert_harmless(text_of(operator.get(page)))
    assert operator.get(f"{DEAD}{link}").context["cl"].result_count == 2
    asked = operator.post(f"{DEAD}{link}", {"action": "discard", "select_across": "1", "_selected_action": "0"})
    assert "Discard 2 failed records?" in text_of(asked)
    assert_harmless(text_of(asked))


def related_records(client: Client, page: str) -> dict[str, str]:
    """What is said of the others like a record → the link."""
    text = text_of(client.get(page)).partition('<ul class="related">')[2].partition("</ul>")[0]
    return {what: unescape(link) for link, what in re.findall(r'<a href="([^"]*)">([^<]*)</a>', text)}


def test_each_link_to_others_like_it_leads_to_as_many_in_a_list_of_its_status(viewer: Client) -> None:
    dead, waiting = [hold(messages=AGE) for _ in range(3)], [wait(missing_key=key) for key in ("T-1", "T-1", "T-2")]
    resolved = hold(messages=AGE, status=Status.RESOLVED, resolved_by=1)
    hold(messages=EMAIL), hold(messages=AGE, stream="students")
    of_one = Delivery.objects.create(stream="tutors", client="key:abc", body=b"[]", count=9, held=9)
    for position, held in enumerate([*dead, *waiting, resolved]):
        HeldRecord.objects.filter(pk=held.pk).update(delivery=of_one, position=position)
    found = related_records(viewer, f"{DEAD}{dead[0].pk}/change/")
    assert list(found) == [*("same error (2)", "same code (3)", "same source (3)", "same delivery (2)")]
    for what, link in found.items():
        assert link.startswith(DEAD)
        assert viewer.get(link).context["cl"].result_count == int(what.split("(")[1][:-1]) + 1, link
    found = related_records(viewer, f"{WAITING}{waiting[0].pk}/change/")
    assert list(found) == [*("same missing record (1)", "same source (2)", "same delivery (2)")]
    for what, link in found.items():
        assert link.startswith(WAITING)
        assert viewer.get(link).context["cl"].result_count == int(what.split("(")[1][:-1]) + 1, link
    found = related_records(viewer, f"/admin/enrichment/heldrecord/{resolved.pk}/change/")
    assert found == {"same delivery (3)": f"/admin/enrichment/heldrecord/?stream=tutors&delivery={of_one.pk}"}

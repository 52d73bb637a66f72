"""The lists of held records show what their filters choose, and acts on all that match mean exactly the same rows."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client, RequestFactory
from django.utils import timezone

from console import senders
from console.held.admin import HeldPaginator, HeldRecordAdmin
from console.held.selection import filter_of
from enrichment.models import SELECTABLE_BY, DeadLetter, HeldRecord, WaitingRecord
from ingestion.models import Delivery, Upload
from tests.held import hold, key_named, wait
from tests.people import browser_of, person, text_of

pytestmark = pytest.mark.django_db

MODELS = (DeadLetter, WaitingRecord, HeldRecord)
LISTS = {model: f"/admin/enrichment/{model._meta.model_name}/" for model in MODELS}
NOT_OFFERED = {
    "client": ["user:ann", "key:gone"],
    "message": ["email: no", "tutor_id: tutor does not exist (yet)", "<b>'x\" %\\u202e", "email"],
    "missing_stream": ["tutors", "nonsense"],
    "missing_key": ["T-9", "T 'x\" %\u202e", "T"],
    "age": ["2h"],
    "stage": ["'"],
    "status": ["x"],
}
"""What links may set besides what the filters offer; then numbers."""


@pytest.fixture
def records() -> list[HeldRecord]:
    """Records that every filter tells apart."""
    now = timezone.now()
    key = key_named("Northern schools")
    upload = Upload.objects.create(stream="tutors", client="user:ann", name="a.csv", format="csv", size=1, sha256="a")
    found = [hold(key=f"{code}-{stage}", code=code, stage=stage) for code in CODES for stage in STAGES]
    for age in (timedelta(minutes=1), timedelta(hours=2), timedelta(days=2), timedelta(days=8)):
        found += [hold(held_at=now - age), wait(held_at=now - age)]
    for status in ("resolved", "discarded"):
        found.append(hold(status=status, resolved_by=1, stream="students"))
    found += [hold(client=f"key:{key.client}"), wait(client=f"key:{key.client}"), hold(client="user:ann")]
    found += [wait(missing_key="T 'x\" %\u202e"), wait(missing_stream="students", missing_key="T-9", stream="feedback")]
    found.append(hold(code="missing_reference", missing_stream="tutors", missing_key="T-9"))
    found += [hold(messages={"email": ["no"]}), hold(messages={"<b>'x\" %\u202e": []}, message="<b>'x\" %\\u202e")]
    Delivery.objects.filter(pk__in=[found[-1].delivery_id, found[0].delivery_id]).update(upload=upload)
    return found


CODES, STAGES = HeldRecord.Code.values, HeldRecord.Stage.values


def test_acts_on_all_that_match_mean_the_rows_of_the_list(records: list[HeldRecord]) -> None:
    factory, viewer = RequestFactory(), person("viewer")
    seen, chosen = set(), set()
    for model, page in LISTS.items():
        held_admin = admin.site.get_model_admin(model)
        assert isinstance(held_admin, HeldRecordAdmin)
        for query in queries(held_admin, records):
            request = factory.get(page, query)
            request.user = viewer
            changes: Any = held_admin.get_changelist_instance(request)
            listed = set(changes.get_queryset(request).values_list("pk", flat=True))
            meant = HeldRecord.objects.matching(filter_of(request.GET, held_admin.status)) if is_known(query) else None
            assert listed == (set(meant.values_list("pk", flat=True)) if meant is not None else set()), (page, query)
            seen.add(tuple(sorted(query)))
            chosen.add(frozenset(listed))
    others = {"ids", "key", "held_after", "held_before"}
    assert {name for names in seen for name in names} >= {*SELECTABLE_BY} - others | {"age", "q"}
    assert len(chosen) > 30


def is_known(query: dict[str, str]) -> bool:
    return query.get("age") != "2h"  # which an action refuses


def queries(held_admin: HeldRecordAdmin, records: list[HeldRecord]) -> Iterator[dict[str, str]]:
    """No filter, each with each of its values, and some together."""
    request = RequestFactory().get("/")
    values: dict[str, list[str]] = {"q": [records[0].key, " no such key "]}
    for each in held_admin.list_filter:
        name = str(each.parameter_name)  # type: ignore[union-attr]
        offered = each(request, {}, HeldRecord, held_admin).lookup_choices  # type: ignore[operator, union-attr]
        values[name] = [str(value) for value, _ in offered] + NOT_OFFERED.get(name, [])
    values["delivery"] = [str(records[0].delivery_id), "1" * 18]
    values["upload"] = [str(Upload.objects.get().pk), "0"]
    yield {}
    for name, known in values.items():
        yield from ({name: value} for value in known)
    for (one, of_one), (other, of_other) in pairwise(values.items()):
        yield {one: of_one[0], other: of_other[0]}


@pytest.mark.parametrize(
    "query", ["key=a", "ids=1", "held_after=2020-01-01", "client__contains=k", "id=1", "payload=x"]
)
def test_no_other_parameter_is_taken(viewer: Client, query: str) -> None:
    hold()
    for page in LISTS.values():
        assert viewer.get(f"{page}?{query}").status_code == 400
        assert viewer.get(f"{page}export/?{query}").status_code == 400


def test_a_status_is_no_filter_of_a_list_that_has_one(viewer: Client) -> None:
    assert viewer.get("/admin/enrichment/deadletter/?status=waiting").status_code == 400


@pytest.mark.parametrize("query", ["missing_key=%00", "message=%00", "q=%00", "client=a%00b"])
def test_a_nul_is_refused(viewer: Client, query: str) -> None:
    for page in LISTS.values():
        assert viewer.get(f"{page}?{query}").status_code == 400
        assert viewer.get(f"{page}export/?{query}").status_code == 400


def test_senders_are_called_by_the_names_of_their_keys(viewer: Client) -> None:
    key = key_named("Old name")
    hold(key="ours", client=f"key:{key.client}")
    hold(key="anns", client="user:ann")
    key.build_replacement("Northern <b>schools", None).issue()
    text = text_of(viewer.get(LISTS[DeadLetter]))
    assert f'<a href="?client=key%3A{key.client}">Northern &lt;b&gt;schools</a>' in text
    assert '<a href="?client=user%3Aann">user:ann</a>' in text
    assert "Old name" not in text
    only = text_of(viewer.get(LISTS[DeadLetter], {"client": f"key:{key.client}"}))
    assert ">ours</a>" in only
    assert ">anns</a>" not in only


def test_users_whose_records_are_held_are_offered_as_senders(viewer: Client) -> None:
    hold(client="user:ann"), hold(client="user:ann")
    wait(client="user:zo\u00eb"), hold(client="user:bob", status="resolved", resolved_by=1)
    hold(client="key:gone"), hold(client="system")
    expected = [("user:ann", "ann (user:ann)"), ("user:zo\u00eb", "zo\u00eb (user:zo\u00eb)")]
    assert senders.sender_choices() == expected
    text = text_of(viewer.get(LISTS[DeadLetter]))
    assert "ann (user:ann)</a>" in text
    assert [each.key for each in HeldRecord.objects.matching({"client": "user:ann", "status": "dead"})]


def test_of_many_clients_the_newest_are_offered_and_any_other_can_be_linked_to(viewer: Client) -> None:
    first = key_named("First of all")
    for number in range(60):
        key_named(f"School {number}")
    text = text_of(viewer.get(LISTS[DeadLetter]))
    assert text.count("?client=") == 50
    assert "School 59" in text
    assert "First of all" not in text
    assert "First of all" in text_of(viewer.get(LISTS[DeadLetter], {"client": f"key:{first.client}"}))


def test_no_page_is_beyond_the_newest_and_counts_end(viewer: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeldPaginator, "max_rows", 100)
    monkeypatch.setattr(HeldPaginator, "max_counted", 120)
    operator = browser_of(person("operator"))
    for _ in range(119):
        hold()
    text = text_of(operator.get(LISTS[DeadLetter]))
    assert "Only the newest 100 are listed" in text
    assert "Reprocess all 119…" in text
    assert "?p=2" in text
    assert "?p=3" not in text
    for _ in range(2):
        hold()
    text = text_of(operator.get(LISTS[DeadLetter]))
    assert "More than 120 match" in text
    assert "Reprocess all…" in text
    asked = text_of(
        operator.post(LISTS[DeadLetter], {"action": "reprocess", "select_across": "1", "_selected_action": "0"})
    )
    assert "Reprocess 121 failed records?" in asked

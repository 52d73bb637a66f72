"""One lookup: candidates side by side, and what a person decides: stored, locked, undone, and in the history."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from enrichment import lookups
from enrichment.lookups.models import Lookup
from tests.lookups import PAGES, PICTURES, ask, doubt, oracle, person_of, registered
from tests.people import text_of, words_of

pytestmark = pytest.mark.django_db

ALL, AMBIGUOUS = "/admin/enrichment/lookup/", "/admin/enrichment/ambiguouslookup/"


def page_of(lookup: Lookup, of_list: str = AMBIGUOUS, query: str = "") -> str:
    return f"{of_list}{lookup.pk}/change/{query}"


def form_of(text: str, button: str) -> dict[str, str]:
    """The fields of the form with this button."""
    [form] = [each for each in re.findall("<form.*?</form>", text, re.DOTALL) if button in " ".join(each.split())]
    return dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form))


def decide(
    client: Client, lookup: Lookup, button: str, *, of_list: str = AMBIGUOUS, query: str = "", **more: Any
) -> Any:
    fields = form_of(text_of(client.get(page_of(lookup, of_list, query))), button) | more
    return client.post(f"{of_list}{lookup.pk}/choose/{query}", fields)


def choose(client: Client, lookup: Lookup, name: str, **more: Any) -> Any:
    return decide(client, lookup, f'Choose<span class="unseen"> {name}</span>', **more)


def test_candidates_stand_side_by_side_with_their_question(viewer: Client) -> None:
    lookup = doubt(
        person_of(1, picture="1.jpg", city="Paris"),
        person_of(2, name="Ada <b>\u202e"),
        person_of(3, picture="../../evil"),
        question={"name": "Ada", "born": 1815},
    )
    text = words_of(viewer.get(page_of(lookup)))
    for part in (
        "Ada (1815)",
        "https://people.example/1",
        f'<img src="{PICTURES}/1.jpg" alt="" width="200" height="300" loading="lazy" referrerpolicy="no-referrer">',
        "<dt>Lives in</dt><dd>Paris</dd>",
        r"Ada &lt;b&gt;\u202e",
        f"{PAGES}2",
        ">1902</text>",
    ):
        assert part in text, part
    assert text.count('class="card"') == 3 and text.count("0 0 200 300") == 3
    assert "Choose" not in text and "Not there" not in text


def test_only_pages_with_candidates_load_pictures_and_only_from_there(viewer: Client) -> None:
    lookup = doubt(person_of(1, picture="1.jpg"))
    policy = viewer.get(page_of(lookup)).headers["Content-Security-Policy"]
    assert f"img-src 'self' data: {PICTURES}" in policy
    for path in (AMBIGUOUS, ALL, "/admin/"):
        assert PICTURES not in viewer.get(path).headers["Content-Security-Policy"]
    with registered(oracle(picture_hosts=list)):  # as where pictures are switched off
        response = viewer.get(page_of(lookup))
        assert PICTURES not in response.headers["Content-Security-Policy"]
        assert "<img" not in text_of(response) and "<svg" in text_of(response)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "data:text/html,x", "//evil.example"])
def test_what_a_provider_says_is_no_link_unless_it_is_a_page(viewer: Client, link: str) -> None:
    described = lookups.Description(title="x", link=link, picture="http://evil.example/1.jpg", answer=1)
    with registered(oracle(describe=lambda candidate: described)):
        text = text_of(viewer.get(page_of(doubt(person_of(1)))))
    assert link not in text and "evil.example" not in text


def test_a_candidate_is_chosen_and_the_next_one_comes(operator: Client, applied: list[Sequence[Lookup]]) -> None:
    older, lookup, newer, of_city = doubt(), doubt(), doubt(), doubt(kind="city")
    filters = "?_changelist_filters=kind%3Dage"
    response = choose(operator, lookup, "Ada 2 (1902)", query=filters)
    assert response["Location"] == page_of(older, query=filters)
    row = Lookup.objects.get(pk=lookup.pk)
    assert (row.status, row.answer, row.how, row.chosen_by) == ("found", {"id": 2}, "chosen", "user:operator")
    assert row.due_at is None and row.is_chosen
    assert [row.pk for rows in applied for row in rows] == [lookup.pk]
    text = words_of(operator.get(response["Location"]))
    assert f"chosen: Ada 2 (1902), {PAGES}2." in text and page_of(lookup, query=filters) in text

    response = choose(operator, older, "Ada 1 (1901)", query=filters)
    assert response["Location"] == page_of(newer, query=filters)  # the newest of those passed over
    response = choose(operator, newer, "Ada 1 (1901)", query=filters)
    assert response["Location"] == f"{AMBIGUOUS}?kind=age"
    assert "That was the last one in this list." in text_of(operator.get(response["Location"]))
    assert Lookup.objects.get(pk=of_city.pk).status == "ambiguous"


def test_a_decision_is_locked_and_in_the_history_until_a_person_undoes_it(operator: Client, viewer: Client) -> None:
    lookup = doubt()
    choose(operator, lookup, "Ada 2 (1902)")
    assert lookups.ask_again(Lookup.objects.all(), "user:ann") == 0
    text = words_of(viewer.get(page_of(lookup)))
    assert "Decided by operator" in text and "No later run changes that" in text
    assert f"Chosen: Ada 2 (1902), {PAGES}2." in text and '<span class="badge is-processed">chosen</span>' in text
    assert "Undo" not in text

    assert decide(operator, lookup, "Undo", _undo="1")["Location"] == page_of(lookup)
    row = Lookup.objects.get(pk=lookup.pk)
    assert (row.status, row.answer, row.is_chosen) == ("ambiguous", None, False)
    assert row.due_at is not None
    entries = LogEntry.objects.order_by("pk").values_list("user__username", "object_id", "change_message")
    assert list(entries) == [
        ("operator", str(lookup.pk), f"Chosen: Ada 2 (1902), {PAGES}2."),
        ("operator", str(lookup.pk), "Decision undone."),
    ]


def test_not_there(operator: Client, applied: list[Sequence[Lookup]]) -> None:
    lookup = doubt()
    decide(operator, lookup, "Not there", _reject="1")
    row = Lookup.objects.get(pk=lookup.pk)
    assert (row.status, row.answer, row.chosen_by, row.due_at) == ("not_found", None, "user:operator", None)
    assert applied
    text = words_of(operator.get(page_of(lookup)))
    assert "Decided: not there by operator" in text
    assert 'name="_reject"' not in text and 'name="_undo"' in text
    assert "Decided: not there." in text  # the history


@pytest.mark.parametrize("status", ["ambiguous", "found", "not_found", "failed", "open"])
def test_a_pasted_address_decides_whatever_the_provider_had_said(operator: Client, status: str) -> None:
    lookup = ask(status=status, answer={"id": 5} if status == "found" else None)
    response = decide(operator, lookup, "Choose this", of_list=ALL, _paste="1", address=f"  {PAGES}77 ")
    assert response["Location"] == page_of(lookup, ALL)
    row = Lookup.objects.get()
    assert (row.status, row.answer, row.chosen_by) == ("found", {"id": 77}, "user:operator")
    assert f"Chosen: {PAGES}77." in text_of(operator.get(response["Location"]))


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("", "Paste the address first."),
        ("https://elsewhere.example/7", "Paste the address of a person"),
        (f"{PAGES}7<script>", "Paste the address of a person"),
        (f"{PAGES}\0\ud800", "Paste the address of a person"),
    ],
)
def test_an_address_of_something_else_is_refused_and_stays_in_its_field(
    operator: Client, address: str, message: str
) -> None:
    lookup = doubt()
    address = address.encode("utf-8", "replace").decode()
    text = text_of(decide(operator, lookup, "Choose this", _paste="1", address=address))
    assert message in text
    assert "<script>" not in text
    if address.isprintable() and "<" not in address:
        assert f'value="{address}"' in text
    assert Lookup.objects.get().status == "ambiguous"
    assert not LogEntry.objects.exists()


def test_who_is_slower_changes_nothing(operator: Client, administrator: Client) -> None:
    lookup = doubt()
    text = text_of(operator.get(page_of(lookup)))
    choose(administrator, lookup, "Ada 1 (1901)")
    fields = form_of(text, "Ada 2 (1902)")
    text = words_of(operator.post(f"{AMBIGUOUS}{lookup.pk}/choose/", fields))
    assert "Nothing was changed: meanwhile someone else has decided" in text
    assert Lookup.objects.get().answer == {"id": 1}
    undo = form_of(words_of(operator.get(page_of(lookup))), "Undo") | {"_undo": "1"}
    decide(administrator, lookup, "Undo", _undo="1")
    assert "someone else has undone it already" in text_of(operator.post(f"{AMBIGUOUS}{lookup.pk}/choose/", undo))


def test_a_candidate_that_is_no_longer_there_is_not_chosen(operator: Client) -> None:
    lookup = doubt()
    fields = form_of(text_of(operator.get(page_of(lookup))), "Ada 2 (1902)")
    Lookup.objects.update(candidates=[person_of(1), person_of(2, city="Rome")])
    text = text_of(operator.post(f"{AMBIGUOUS}{lookup.pk}/choose/", fields))
    assert "the candidates are others by now" in text
    assert Lookup.objects.get().status == "ambiguous"


@pytest.mark.parametrize("field", ["_reject", "_undo", "candidate"])
def test_a_viewer_decides_nothing(viewer: Client, field: str) -> None:
    lookup = doubt()
    path = f"{AMBIGUOUS}{lookup.pk}/choose/"
    assert viewer.post(path, {field: "1", "state": "ambiguous "}).status_code == 403
    assert viewer.get(path).status_code == 403
    assert Lookup.objects.get().status == "ambiguous"


def test_what_only_the_provider_knows_is_decided_by_nobody(operator: Client) -> None:
    lookup = ask(kind="fact", status="ambiguous", candidates=[person_of(1)])
    text = text_of(operator.get(page_of(lookup)))
    assert "Choose" not in text and "Not there" not in text and "Ask again…" in text
    assert operator.post(f"{AMBIGUOUS}{lookup.pk}/choose/", {"_reject": "1", "state": "ambiguous "}).status_code == 400
    assert "with one candidate" not in text_of(operator.get(AMBIGUOUS))
    assert Lookup.objects.get().status == "ambiguous"


def test_nothing_is_decided_by_a_get(operator: Client) -> None:
    lookup = doubt()
    filters = "_changelist_filters=kind%3Dage"
    response = operator.get(f"{AMBIGUOUS}{lookup.pk}/choose/?_reject=1&{filters}")
    assert (response.status_code, response["Location"]) == (302, page_of(lookup, query=f"?{filters}"))
    assert Lookup.objects.get().status == "ambiguous"
    for pk in ("x", "9" * 30, lookup.pk + 1):
        assert operator.get(f"{AMBIGUOUS}{pk}/change/").status_code == 404


def test_a_page_opens_whatever_is_stored(operator: Client) -> None:
    """What an older version, or another provider of that name, has stored."""
    strange: list[Any] = [7, None, "x", [1], {"id": 1}, {"name": ["\u202e"]}]
    lookup = doubt(*strange, question={"name": {}}, answer=[1])
    text = text_of(operator.get(page_of(lookup)))
    assert text.count('class="card"') == len(strange)


def test_further_candidates_are_counted(operator: Client) -> None:
    text = words_of(operator.get(page_of(doubt(*map(person_of, range(25))))))
    assert text.count('class="card"') == 20 and "5 more are not shown" in text


def test_the_notice_of_the_provider_is_on_the_page(viewer: Client) -> None:
    with registered(oracle(notice=lambda: "The Oracle <is> not us.")):
        assert "The Oracle &lt;is&gt; not us." in text_of(viewer.get(page_of(doubt())))


def test_what_led_to_what_is_linked(viewer: Client) -> None:
    following = ask(kind="fact", key="of 1")
    lookup = ask(status="found", answer=person_of(1), next=following, score=0.875, how="exact")
    text = words_of(viewer.get(page_of(lookup, ALL)))
    assert "fact of 1" in text and page_of(following, ALL) in text and "exact, 0.88" in text
    assert f'<a href="{PAGES}1"' in text  # the answer
    Lookup.objects.filter(pk=following.pk).update(status="found", answer=person_of(1, name="Ada Lovelace"))
    for page in (page_of(lookup, ALL), ALL):
        assert "Ada Lovelace (1901)" in words_of(viewer.get(page))  # what is known of it by now
    assert page_of(lookup, ALL) in text_of(viewer.get(page_of(following, ALL)))

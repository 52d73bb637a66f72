"""The lists of lookups: what they show, by what they are filtered, and their actions on many."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from console.lookups import actions
from console.lookups.actions import Proposal, run
from enrichment.lookups import providers
from enrichment.lookups.models import Lookup, LookupUpload
from ingestion.models import Upload
from tests.held_pages import fields_of
from tests.lookups import PAGES, ask, doubt, person_of
from tests.people import text_of, words_of

pytestmark = pytest.mark.django_db

ALL, AMBIGUOUS = "/admin/enrichment/lookup/", "/admin/enrichment/ambiguouslookup/"


def listed(client: Client, query: str, page: str = ALL) -> set[int]:
    response: Any = client.get(f"{page}?{query}")
    return {row.pk for row in response.context_data["cl"].result_list}


def test_lists_show_questions_status_and_candidates(viewer: Client) -> None:
    doubt(question={"name": "Ada\u202e", "born": 1815})
    ask(status="failed", last_error="The Oracle does not take the question: 422", tries=5)
    text = words_of(viewer.get(ALL))
    for part in (r"Ada\u202e (1815)", "same name", "Ada 1 (1901) · Ada 2 (1902)", "does not take the question", ">5<"):
        assert part in text
    text = words_of(viewer.get(AMBIGUOUS))
    assert "Ada 1 (1901) · Ada 2 (1902)" in text and "does not take" not in text
    for page in (ALL, AMBIGUOUS):
        assert "again…" not in text_of(viewer.get(page)) and "Accept" not in text_of(viewer.get(page))


def test_what_has_the_same_name_is_told_apart(viewer: Client) -> None:
    """By a fact, by the link where all facts are the same."""
    twins = [person_of(1, name="Ada", born=1815), person_of(2, name="Ada", born=1815, city="Rome")]
    doubt(*twins, question={"name": "Leo", "born": 2023})
    doubt(*({**twins[0], "id": number} for number in (7, 8)))
    text = words_of(viewer.get(AMBIGUOUS))
    assert "Ada (1815), London · Ada (1815), Rome" in text
    assert f"Ada (1815), {PAGES}7 · Ada (1815), {PAGES}8" in text
    assert "Leo (2023)" in text and "Leo (2023)," not in text


def test_files_of_the_same_name_are_told_apart(viewer: Client) -> None:
    lookup = doubt()
    common = {"client": "c", "stream": "x", "format": "csv", "size": 1}
    for number, name in enumerate(("a.csv", "b.csv", "a.csv")):
        upload = Upload.objects.create(**common, name=name, sha256=str(number), fingerprint=str(number))
        LookupUpload.objects.create(lookup=lookup, upload=upload)
    first, _, third = Upload.objects.order_by("pk")
    text = text_of(viewer.get(f"{ALL}{lookup.pk}/change/"))
    for expected in (f">a.csv (upload {first.pk})<", ">b.csv<", f">a.csv (upload {third.pk})<"):
        assert expected in text


def test_a_list_without_rows_says_why(viewer: Client) -> None:
    assert "no record has raised a question" in text_of(viewer.get(ALL))
    assert "Nothing to decide" in text_of(viewer.get(AMBIGUOUS))
    ask()
    assert "search needs the exact key" in text_of(viewer.get(f"{ALL}?q=nobody"))


def test_filters(viewer: Client) -> None:
    upload = Upload.objects.create(client="c", stream="x", name="a.csv", format="csv", size=1, sha256="a")
    plain, city, old = ask(), ask(kind="city", tries=3, status="failed"), ask(status="found", how="exact")
    LookupUpload.objects.create(lookup=city, upload=upload)
    Lookup.objects.filter(pk=old.pk).update(created_at=timezone.now() - timedelta(days=2))
    everything = {plain.pk, city.pk, old.pk}
    for query, expected in {
        "": everything,
        "provider=oracle": everything,
        "provider=nobody": set(),
        "kind=city": {city.pk},
        "status=found": {old.pk},
        "status=nonsense": set(),
        "tries=1": {city.pk},
        "tries=5": set(),
        "tries=7": set(),
        "age=24h": {plain.pk, city.pk},
        "age=9y": set(),
        "how=exact": {old.pk},
        f"upload={upload.pk}": {city.pk},
        "upload=x": set(),
        f"q={plain.key}": {plain.pk},
        "q=person": set(),
        "kind=age&status=open": {plain.pk},
    }.items():
        assert listed(viewer, query) == expected, query


@pytest.mark.parametrize("page", [ALL, AMBIGUOUS])
def test_all_that_match_are_asked_again_once_it_is_confirmed(operator: Client, page: str) -> None:
    first, second = doubt(), doubt()
    other, decided = doubt(kind="city"), ask(status="not_found", chosen_at=timezone.now(), chosen_by="user:ann")
    address = f"{page}?kind=age"
    asked = text_of(operator.post(address, {"action": "ask_again", "select_across": "1", "_selected_action": "0"}))
    assert "Ask 2 lookups again?" in asked and "lookups of kind age" in asked
    assert ("1 more is not included" in asked) == (page == ALL)
    assert not Lookup.objects.filter(asked_again=True).exists()
    late = doubt()
    response = operator.post(address, fields_of(asked))
    assert response["Location"] == address
    assert set(Lookup.objects.filter(asked_again=True)) == {first, second}
    assert not {late, other, decided} & set(Lookup.objects.due().filter(asked_again=True))
    [entry] = LogEntry.objects.all()
    assert (entry.object_id, entry.change_message) == (None, "Asked again: 2 lookups.")
    assert entry.object_repr.lower().endswith("lookups of kind age")
    text = words_of(operator.get(page))
    assert "Will be asked again: 2 lookups." in text and "Latest actions on all" in text


def test_the_ticked_are_asked_again_and_each_has_it_in_its_history(operator: Client) -> None:
    first, second, _ = ask(status="failed"), ask(status="found", answer={"id": 1}), ask()
    asked = text_of(operator.post(ALL, {"action": "ask_again", "_selected_action": [first.pk, second.pk]}))
    operator.post(ALL, fields_of(asked))
    assert set(Lookup.objects.filter(asked_again=True)) == {first, second}
    assert Lookup.objects.get(pk=second.pk).answer == {"id": 1}
    entries = LogEntry.objects.order_by("object_id").values_list("object_id", "change_message")
    assert set(entries) == {(str(each.pk), "Asked again.") for each in (first, second)}
    assert "Asked again." in words_of(operator.get(f"{ALL}{first.pk}/change/"))


def test_one_is_asked_again_from_its_page(operator: Client) -> None:
    lookup = ask(status="found", answer={"id": 1})
    page = f"{ALL}{lookup.pk}/change/"
    form = {"action": "ask_again", "_selected_action": lookup.pk, "from_page": "_changelist_filters=kind%3Dage"}
    asked = text_of(operator.post(ALL, form))
    response = operator.post(ALL, fields_of(asked))
    assert response["Location"] == f"{page}?_changelist_filters=kind%3Dage"
    assert Lookup.objects.filter(asked_again=True).get() == lookup


def test_a_confirmation_of_someone_else_or_of_another_action_changes_nothing(operator: Client, viewer: Client) -> None:
    doubt(person_of(1))
    asked = {"action": "ask_again", "select_across": "1", "_selected_action": "0"}
    fields = fields_of(text_of(operator.post(AMBIGUOUS, asked)))
    text = text_of(operator.post(AMBIGUOUS, {**fields, "action": "accept"}))
    assert "has expired or belongs to another page" in text
    assert viewer.post(AMBIGUOUS, fields).status_code == 403
    assert not Lookup.objects.filter(asked_again=True).exists()
    assert Lookup.objects.get().status == "ambiguous"


def test_all_with_one_candidate_are_accepted_together(operator: Client, applied: list[Sequence[Lookup]]) -> None:
    one, other = doubt(person_of(1)), doubt(person_of(2))
    two, of_city = doubt(), doubt(person_of(3), kind="city")
    suggestion = ask(status="not_found", candidates=[person_of(4)])
    address = f"{AMBIGUOUS}?kind=age"
    assert "Accept all 2 with one candidate…" in text_of(operator.get(address))
    asked = text_of(operator.post(address, {"action": "accept", "select_across": "1", "_selected_action": "0"}))
    assert "Accept the only candidate of 2 lookups?" in asked
    assert "https://oracle.example/people/2" in asked and "1 more is not included" in asked
    assert Lookup.objects.filter(status="ambiguous").count() == 4
    operator.post(address, fields_of(asked))
    found = {row.pk: row for row in Lookup.objects.all()}
    for lookup, number in ((one, 1), (other, 2)):
        row = found[lookup.pk]
        assert (row.status, row.answer, row.chosen_by) == ("found", {"id": number}, "user:operator")
        assert row.due_at is None
    for lookup in (two, of_city, suggestion):
        assert found[lookup.pk].status == lookup.status
    assert [row.pk for rows in applied for row in rows] == [one.pk, other.pk]
    assert LogEntry.objects.get().change_message == "Accepted the only candidate: 2 lookups."


def test_an_action_on_many_goes_in_steps(monkeypatch: pytest.MonkeyPatch, applied: list[Sequence[Lookup]]) -> None:
    monkeypatch.setattr(actions, "STEP", 2)
    for number in range(5):
        doubt(person_of(number))
    assert run(Proposal.now("accept", {"status": "ambiguous"}), "user:ann") == (5, True)
    assert [len(rows) for rows in applied] == [2, 2, 1]


def test_an_action_that_takes_too_long_ends_and_says_so(operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    doubt(person_of(1)), doubt(person_of(2))
    asked = text_of(operator.post(AMBIGUOUS, {"action": "accept", "select_across": "1", "_selected_action": "0"}))
    monkeypatch.setattr(actions, "STEP", 1)
    monkeypatch.setattr(actions, "MAX_SECONDS", 0.0)
    text = text_of(operator.post(AMBIGUOUS, fields_of(asked), follow=True))
    assert "Accepted the only candidate of 1 lookup. There are more than one step can do" in text
    assert Lookup.objects.filter(status="ambiguous").count() == 1


def test_questions_to_a_provider_that_is_gone_are_shown_and_left_alone(operator: Client) -> None:
    lookup = doubt(provider="gone")
    assert lookup.provider not in providers.names()
    assert lookup.key in text_of(operator.get(AMBIGUOUS))
    assert "Ask all" not in text_of(operator.get(AMBIGUOUS))
    text = text_of(operator.get(f"{AMBIGUOUS}{lookup.pk}/change/"))
    assert "Choose" not in text and "Ask again" not in text
    assert operator.post(f"{AMBIGUOUS}{lookup.pk}/choose/", {"_reject": "1"}).status_code == 400


@pytest.mark.parametrize("query", ["tries=2", "upload=x", "age=9y", "how=%00"])
def test_no_action_is_for_more_than_the_list_shows(operator: Client, query: str) -> None:
    ask(how="exact")
    form = {"action": "ask_again", "select_across": "1", "_selected_action": "0"}
    assert operator.post(f"{ALL}?{query}", form).status_code == 400

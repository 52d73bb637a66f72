"""A viewer can do nothing, whatever is posted wherever: every page of the admin, with every action's fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client, RequestFactory
from django.urls import reverse

from console.held.proposal import Proposal
from enrichment.models import DataAccess, HeldRecord
from ingestion.payloads import ascii_json
from tests.admin_pages import _name, addresses, reversed_as
from tests.held import valid
from tests.people import browser_of, person
from tests.rights import a_row_of_everything

pytestmark = pytest.mark.django_db(transaction=True)

NOT_ABOUT_OTHERS = {"logout", "password_change"}
FORM = ""
"""The action of a post to a form of its own."""
LISTS = ("deadletter", "waitingrecord", "heldrecord")
EFFECTIVE = [
    *((f"enrichment_{name}_changelist", action) for name in LISTS for action in ("reprocess", "fix", "discard")),
    ("enrichment_lookup_changelist", "ask_again"),
    *(("enrichment_ambiguouslookup_changelist", action) for action in ("ask_again", "accept")),
    ("enrichment_lookup_choose", FORM),
    ("enrichment_ambiguouslookup_choose", FORM),
    ("enrichment_providerstate_pause", FORM),
    ("enrichment_providerstate_resume", FORM),
    ("enrichment_providerstate_run", FORM),
    ("tutoring_subject_changelist", "delete_selected"),
    ("enrichment_deadletter_fix", FORM),
    ("enrichment_heldrecord_fix", FORM),
    ("tutoring_tutor_refresh", FORM),
    ("tutoring_student_refresh", FORM),
    ("tutoring_tutoringsession_refresh", FORM),
    ("tutoring_tutoringsession_delete", FORM),
    ("tutoring_subject_add", FORM),
    ("tutoring_subject_change", FORM),
    ("tutoring_subject_delete", FORM),
    ("retention_now", FORM),
    ("auth_user_add", FORM),
    ("auth_user_password_change", FORM),
]
"""Posts (address, action) that change something where the person may do it."""


def paths(only: str = "") -> list[str]:
    """Every page of the admin, or those with one name; where a page is about a row, about the newest of its model."""
    newest = [(f"{_name(model)}_", model._default_manager.order_by("pk").last()) for model in admin.site._registry]
    found = []
    for name in {only} if only else set(addresses()) - NOT_ABOUT_OTHERS:
        rows = [row for start, row in newest if row and name.startswith(start)]
        tried = (reversed_as(name), *(reversed_as(name, quote(row.pk)) for row in rows))
        found += [path for path in tried if path is not None]
    return found


def posts() -> list[tuple[str, str]]:
    """(path, action) of a form to each page and of each action of each list; and of the action that lists have by
    default, of whose fields other pages may know some.
    """
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    offered = {
        reverse(f"admin:{_name(model)}_changelist"): list(model_admin.get_actions(request))
        for model, model_admin in admin.site._registry.items()
    }
    return [(path, action) for path in paths() for action in {FORM, "delete_selected", *offered.get(path, ())}]


def everything() -> dict[str, list[Any]]:
    """All that is stored, but for what any visit changes."""
    by_visits = ("sessions", "axes", "contenttypes")
    models = [each for each in apps.get_models() if each._meta.app_label not in by_visits and each is not DataAccess]
    return {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in models}


CHANGE = {"operation": "set", "field": "email", "value": '"forged@example.org"'}


def forged(user: User, action: str) -> dict[str, Any]:
    """A post with every field that an action takes. Its proposal is really signed for this person, as for somebody who
    has lost the permission since the page was opened.
    """
    proposal = Proposal(kind=action, filter={}, up_to=10**9, change=CHANGE if action == "fix" else {})
    form = {
        "_save": "1",
        "_reprocess": "1",
        "payload": ascii_json(valid("tutors")),
        "payload_version": "0",
        "name": "forged",
        "username": "forged",
        "password1": "a forged password",
        "password2": "a forged password",
        "_reject": "1",
        "reason": "forged",
        "state": "ambiguous ",
    }
    of_list = {
        "action": action,
        "_selected_action": list(HeldRecord.objects.values_list("pk", flat=True)),
        "select_across": "1",
        "confirmed": proposal.sign(user.pk),
        "reason": "forged",
        "stream": "tutors",
        "operation": "set",
        "field": "name",
        "value": "forged",
    }
    return {"post": "yes", **(of_list if action else form)}  # a list takes no action beside a "_save"


@pytest.fixture
def rows() -> Iterator[None]:
    with a_row_of_everything():
        yield


def test_there_is_a_page_for_every_way_to_change_something(rows: None) -> None:
    found = set(paths())
    assert len(found) > 60
    assert {reverse("admin:enrichment_deadletter_changelist"), reverse("admin:ingestion_apikey_add")} <= found


@pytest.mark.parametrize("who", ["viewer", "nobody"])
def test_whatever_a_viewer_posts_changes_nothing(rows: None, who: str) -> None:
    user = person(*([who] if who == "viewer" else []))
    client = browser_of(user)
    before = everything()
    answers = {(path, action): client.post(path, forged(user, action)).status_code for path, action in posts()}
    assert everything() == before
    assert not {where: status for where, status in answers.items() if status >= 500}


def test_the_same_posts_of_somebody_who_may_do_change_something(rows: None) -> None:
    """So that it is the missing permission that stops a viewer, and not a field that the post lacks."""
    user = person("operator", "administrator")
    no_change = []
    for name, action in EFFECTIVE:
        with transaction.atomic():
            client = browser_of(user)
            before = everything()
            for path in paths(name):
                client.post(path, forged(user, action))
            if everything() == before:
                no_change.append((name, action))
            transaction.set_rollback(True)
    assert not no_change


def test_no_page_takes_a_post_without_its_token(rows: None) -> None:
    client = Client(enforce_csrf_checks=True)
    user = person(superuser=True)
    client.force_login(user)
    before = everything()
    for path in paths():
        assert client.post(path, forged(user, "reprocess")).status_code in (403, 404, 405), path
    assert everything() == before


def test_an_administrator_who_asks_a_page_changes_nothing(rows: None) -> None:
    user = person(superuser=True)
    client = browser_of(user)
    before = everything()
    for path in paths():
        client.get(path, forged(user, "reprocess"))
    assert everything() == before

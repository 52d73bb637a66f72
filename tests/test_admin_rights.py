"""A viewer can do nothing, whatever is posted wherever: every page of the admin, with every action's fields."""

from __future__ import annotations

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.test import Client, RequestFactory
from django.urls import reverse

from enrichment.models import HeldRecord
from enrichment.tests.held import hold, valid, wait
from ingestion.payloads import ascii_json
from tests.admin_pages import _name, addresses, reversed_as
from tests.people import browser_of, person
from tests.records import send, work_off
from tutoring.tests.factories import session, student, tutor

pytestmark = pytest.mark.django_db(transaction=True)

NOT_ABOUT_OTHERS = {"logout", "password_change"}
ACTS = (
    "reprocess",
    "discard",
    "fix",
    "refresh",
    "refresh_selected",
    "delete_selected",
    "pause",
    "resume",
    "run",
    "prune",
)
OF_LOG_INS = "cleanup_expired_attempts"


def paths() -> list[str]:
    """Every page of the admin; where one is about a row, about the newest of its model."""
    newest = [(f"{_name(model)}_", model._default_manager.order_by("pk").last()) for model in admin.site._registry]
    found = []
    for name in set(addresses()) - NOT_ABOUT_OTHERS:
        rows = [row for start, row in newest if row and name.startswith(start)]
        tried = (reversed_as(name), *(reversed_as(name, quote(row.pk)) for row in rows))
        found += [path for path in tried if path is not None]
    return found


def everything() -> dict[str, list[Any]]:
    """All that is stored, but for what any visit changes."""
    models = [model for model in apps.get_models() if model._meta.app_label not in ("sessions", "axes", "contenttypes")]
    return {model._meta.label: list(model._default_manager.order_by("pk").values()) for model in models}


def forged() -> dict[str, Any]:
    """The fields of all acts at once, each as if it had been asked for and confirmed."""
    return {
        "_selected_action": list(HeldRecord.objects.values_list("pk", flat=True)),
        "select_across": "1",
        "confirmed": "yes",
        "up_to": 10**9,
        "reason": "forged",
        "payload": ascii_json(valid("tutors")),
        "payload_version": "0",
        "_reprocess": "1",
        "_save": "1",
        "post": "yes",
        "stream": "tutors",
        "field": "name",
        "kind": "set",
        "value": "forged",
        "name": "forged",
        "username": "forged",
        "password1": "a forged password",
        "password2": "a forged password",
    }


@pytest.fixture
def rows() -> None:
    """A row of everything that a page is about."""
    send("tutors", tutor(tutor_id="T-1"))
    send("students", student(student_id="S-1"))
    send("sessions", session(session_id="X-1", tutor_id="T-1", student_id="S-1"))
    work_off()
    hold(), wait(), hold(valid("tutors"))
    person("administrator")


def test_there_is_a_page_for_every_way_to_change_something(rows: None) -> None:
    found = set(paths())
    assert len(found) > 60
    assert {reverse("admin:enrichment_deadletter_changelist"), reverse("admin:ingestion_apikey_add")} <= found


@pytest.mark.parametrize("who", ["viewer", "nobody"])
def test_whatever_a_viewer_posts_changes_nothing(rows: None, who: str) -> None:
    user = person(*([who] if who == "viewer" else []))
    client = browser_of(user)
    before = everything()
    answers = {}
    for path in paths():
        for action in (*ACTS, OF_LOG_INS):
            answers[path, action] = client.post(path, {**forged(), "action": action}).status_code
    assert everything() == before
    assert not {where: status for where, status in answers.items() if status >= 500}


def test_no_page_takes_a_post_without_its_token(rows: None) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person(superuser=True))
    before = everything()
    for path in paths():
        assert client.post(path, {**forged(), "action": "reprocess"}).status_code in (403, 404, 405), path
    assert everything() == before


def test_an_administrator_who_asks_a_page_changes_nothing(rows: None) -> None:
    client = browser_of(person(superuser=True))
    before = everything()
    for path in paths():
        client.get(path, {**forged(), "action": "reprocess"})
    assert everything() == before


def test_every_action_of_a_list_is_among_those_tried(rows: None) -> None:
    request = RequestFactory().get("/")
    request.user = person(superuser=True)
    offered = {action for each in admin.site._registry.values() for action in each.get_actions(request)}
    assert offered <= {*ACTS, OF_LOG_INS}

"""Whatever is written into the address of a list: never a 500, and no more is found out than the list shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib import admin
from django.db.models import DateField, Model
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils import timezone

from console.base import RestrictedLookupAdmin
from ingestion.models import ApiKey
from tests.admin_pages import _name, reversed_as
from tests.held import hold
from tests.lookups import doubt
from tests.people import browser_of, person
from tests.records import send, work_off
from tutoring.tests.factories import tutor

pytestmark = pytest.mark.django_db(transaction=True)

HUGE = "9" * 20
HOSTILE = ["[", HUGE, "0001-01-01 00:00+14:00", "9999-12-31 23:59-14:00", "\u202e'\"\\"]
"""Values of the parameters there are."""


@pytest.fixture
def root() -> Client:
    """With a row of some things, so that lookups are evaluated."""
    send("tutors", tutor())
    work_off()
    hold()
    doubt()
    ApiKey.objects.create_key(name="platform")
    AccessAttempt.objects.create(username="ada", attempt_time=timezone.now(), failures_since_start=1)
    return browser_of(person(superuser=True))


def lists() -> Iterator[tuple[type[Model], str]]:
    for model in admin.site._registry:
        yield model, reverse(f"admin:{_name(model)}_changelist")
        if export := reversed_as(f"{_name(model)}_export"):
            yield model, export


def parameters(model: type[Model]) -> set[str]:
    its: Any = admin.site._registry[model]
    request = RequestFactory().get("/")
    found: set[str] = its.parameters(request)
    return found


def statuses(client: Client, path: str, query: dict[str, str]) -> dict[str, int]:
    client.raise_request_exception = False
    return {f"{path}?{name}={value}": client.get(path, {name: value}).status_code for name, value in query.items()}


def test_every_list_is_filtered_by_its_own_filters_alone() -> None:
    assert [name for model, name in lists() if not isinstance(admin.site._registry[model], RestrictedLookupAdmin)] == []


def test_no_lookup_is_a_mistake_of_ours(root: Client) -> None:
    seen: dict[str, int] = {}
    for model, path in lists():
        for field in model._meta.concrete_fields:
            is_time = isinstance(field, DateField)
            seen |= statuses(root, path, {f"{field.name}__year": "0"} if is_time else {f"{field.name}__regex": "["})
    assert len(seen) > 100
    assert {where: status for where, status in seen.items() if status >= 500} == {}


def test_no_value_of_a_filter_is_a_mistake_of_ours(root: Client) -> None:
    seen: dict[str, int] = {}
    for model, path in lists():
        for name in parameters(model):
            for value in HOSTILE:
                seen |= statuses(root, path, {name: value})
        for name in ("p", "q", "o", "_to_field"):
            seen |= statuses(root, path, {name: HUGE})
    assert len(seen) > 300
    assert {where: status for where, status in seen.items() if status >= 500} == {}


@pytest.mark.parametrize(
    "address",
    [
        "/admin/ingestion/delivery/?body__contains=x",
        "/admin/ingestion/apikey/?hashed_key__startswith=pbkdf2",
        "/admin/ingestion/apikey/?id__startswith=a",
        "/admin/enrichment/lookup/?answer__contains=x",
        "/admin/auth/user/?password__startswith=pbkdf2",
        "/admin/auth/user/?username__regex=%5B",
        "/admin/tutoring/tutor/?stored_at__year=0",
        "/admin/tutoring/tutor/export/?format=csv&stored_at__year=0",
    ],
)
def test_what_is_no_filter_of_the_list_is_refused(root: Client, address: str) -> None:
    assert root.get(address).status_code == 400


@pytest.mark.parametrize(
    "address",
    [
        "/admin/tutoring/tutor/?status__exact=active",
        "/admin/tutoring/tutor/?is_new_tutor__exact=1&warnings=none",
        "/admin/ingestion/apikey/?status=valid&q=platform",
        "/admin/enrichment/lookup/?provider=oracle&kind=age&tries=1&age=7d&how=x&upload=1",
        "/admin/auth/user/?is_staff__exact=1&groups__id__exact=1",
        "/admin/axes/accessattempt/?attempt_time__gte=2025-01-01+00:00:00%2B00:00",
    ],
)
def test_filters_still_do(root: Client, address: str) -> None:
    assert root.get(address).status_code == 200, root.get(address)

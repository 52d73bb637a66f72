"""Sessions end after idle hours, and outlive a change of the secret key."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.people import browser_of, person

pytestmark = pytest.mark.django_db
PAGE = "/admin/ingestion/delivery/"


def is_logged_in(client: Client, **headers: str) -> bool:
    response: Any = client.get(PAGE, headers=headers)
    assert response.status_code in (200, 302)
    return bool(response.status_code == 200)


def test_who_works_stays_and_who_is_idle_is_logged_out() -> None:
    now = timezone.now()
    client = browser_of(person("viewer"))
    for hours in (11, 22, 33):
        with time_machine.travel(now + timedelta(hours=hours), tick=False):
            assert is_logged_in(client)
    with time_machine.travel(now + timedelta(hours=33 + 12, minutes=1), tick=False):
        assert not is_logged_in(client)


def test_a_page_that_refreshes_itself_keeps_nobody_logged_in() -> None:
    now = timezone.now()
    client = browser_of(person("viewer"))
    for hours in (4, 8, 11):
        with time_machine.travel(now + timedelta(hours=hours), tick=False):
            assert is_logged_in(client, **{"x-refresh": "1"})
    with time_machine.travel(now + timedelta(hours=12, minutes=1), tick=False):
        assert not is_logged_in(client)


def test_the_end_is_moved_now_and_then_and_not_by_each_request() -> None:
    now = timezone.now()
    client = browser_of(person("viewer"))
    ends = []
    for minutes in (0, 1, 2, 20, 21):
        with time_machine.travel(now + timedelta(minutes=minutes), tick=False):
            assert is_logged_in(client)
            ends.append(Session.objects.get().expire_date)
    assert len(set(ends)) == 2
    assert ends[0] < ends[-1]


def test_a_new_secret_key_logs_nobody_out_while_the_old_one_is_a_fallback(settings: Settings) -> None:
    client, old = browser_of(person("viewer")), settings.SECRET_KEY
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a new one", [old]
    assert is_logged_in(client)
    settings.SECRET_KEY_FALLBACKS = []
    assert is_logged_in(client)  # signed anew meanwhile
    settings.SECRET_KEY = "another one"
    assert not is_logged_in(client)

"""The second factor: who has given only the password is nobody, and how one becomes somebody."""

from __future__ import annotations

import io
import re
from base64 import b32decode
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from console.second_factor import devices
from tests.api import api
from tests.people import browser_of, person, text_of, words_of

pytestmark = pytest.mark.django_db

PAGE, VERIFY = "/admin/second-factor/", "/admin/second-factor/verify/"
PASSWORD = "correct horse battery"


@pytest.fixture
def clock() -> Iterator[Any]:
    """Stands still: a code of the app is one of thirty seconds."""
    with time_machine.travel(timezone.now(), tick=False) as traveller:
        yield traveller


@pytest.fixture
def user(clock: Any) -> User:
    return person("viewer")


@pytest.fixture
def required(settings: Settings) -> None:
    settings.SECOND_FACTOR = "required"


@pytest.fixture
def optional(settings: Settings) -> None:
    settings.SECOND_FACTOR = "optional"


def code_of(key: str) -> str:
    return f"{totp(bytes.fromhex(key)):06}"


def next_code(user: User, clock: Any) -> str:
    clock.shift(timedelta(seconds=30))
    return code_of(TOTPDevice.objects.get(user=user).key)


def log_in(user: User) -> Client:
    """With the password alone."""
    return browser_of(user)


def enrolled(user: User) -> tuple[TOTPDevice, list[str]]:
    key = devices.new_key()
    device = devices.enrol(user, key, code_of(key))
    assert device
    return device, devices.new_recovery_codes(user)


def is_somebody(client: Client) -> bool:
    """To the admin, to the API and to what only staff may read alike."""
    answers = {
        client.get("/admin/").status_code == 200,
        client.get("/admin/tutoring/tutor/").status_code == 200,
        client.get("/api/tutors").status_code == 200,
        client.get("/api/deliveries").status_code == 200,
    }
    assert len(answers) == 1
    return answers.pop()


# Who needs it.


def test_without_the_setting_the_password_is_enough(user: User) -> None:
    enrolled(user)
    assert is_somebody(log_in(user))
    assert "turned off" in text_of(log_in(user).get(PAGE))


def test_optional_asks_those_who_have_set_it_up(user: User, optional: None) -> None:
    assert is_somebody(log_in(user))
    enrolled(user)
    client = log_in(user)
    assert not is_somebody(client)
    assert client.get("/admin/", follow=True).redirect_chain[-1][0] == f"{VERIFY}?next=%2Fadmin%2F"


def test_required_lets_nobody_in_who_has_none(user: User, required: None) -> None:
    client = log_in(user)
    assert not is_somebody(client)
    assert client.get("/admin/", follow=True).redirect_chain[-1][0] == f"{PAGE}?next=%2Fadmin%2F"
    assert client.get(VERIFY).headers["Location"] == PAGE


def test_the_login_leads_on(user: User, required: None) -> None:
    user.set_password(PASSWORD)
    user.save()
    client = Client()
    fields = {"username": user.username, "password": PASSWORD, "next": "/admin/tutoring/tutor/"}
    response = client.post("/admin/login/", fields, follow=True)
    assert response.redirect_chain[-1][0] == f"{PAGE}?next=%2Fadmin%2Ftutoring%2Ftutor%2F"
    assert not is_somebody(client)


def test_sessions_of_before_are_not_verified(user: User, settings: Settings) -> None:
    enrolled(user)
    client = log_in(user)
    assert is_somebody(client)
    settings.SECOND_FACTOR = "required"
    assert not is_somebody(client)


def test_keys_are_not_affected(user: User, required: None) -> None:
    assert api().get("/api/tutors").status_code == 200


def test_the_docs_are_closed_as_the_admin_is(user: User, required: None, settings: Settings) -> None:
    settings.DOCS_PUBLIC = False
    client = log_in(user)
    assert client.get("/openapi.json").status_code == 401
    enrol_by_page(client)
    assert client.get("/openapi.json").status_code == 200


# Setting it up.


def enrol_by_page(client: Client) -> list[str]:
    """The recovery codes."""
    page = text_of(client.get(PAGE))
    typed = re.search(r'<code class="secret">([A-Z2-7 ]+)</code>', page)
    assert typed
    key = b32decode(typed[1].replace(" ", "")).hex()
    page = text_of(client.post(PAGE, {"code": code_of(key)}))
    return re.findall(r'<code class="secret">([a-z2-7]{8})</code>', page)


def test_setting_it_up_verifies_and_shows_codes_once(user: User, required: None) -> None:
    client = log_in(user)
    before = client.session.session_key
    codes = enrol_by_page(client)
    assert len(set(codes)) == devices.RECOVERY_CODES
    assert client.session.session_key != before
    assert is_somebody(client)
    assert not any(code in text_of(client.get(PAGE)) for code in codes)
    assert [entry.change_message for entry in LogEntry.objects.all()] == ["Second factor set up."]


def test_the_picture_is_drawn_without_styles_or_scripts(user: User, required: None) -> None:
    response = log_in(user).get(PAGE)
    page = text_of(response)
    picture = page[page.index('class="qr"') : page.index('class="secret"')]
    assert "style" not in picture and "<path" in picture
    assert "no-store" in response.headers["Cache-Control"]


def test_a_wrong_code_sets_nothing_up(user: User, required: None) -> None:
    client = log_in(user)
    client.get(PAGE)
    for code in ("000000", "", "x\0", "٣" * 6, "1" * 30):
        assert client.post(PAGE, {"code": code}).status_code == 200
    assert not TOTPDevice.objects.exists()
    assert not is_somebody(client)


def test_nobody_sets_it_up_over_another_one(user: User, required: None) -> None:
    key = devices.new_key()
    first = log_in(user)
    second = log_in(user)
    second.get(PAGE)
    enrol_by_page(first)
    assert second.get(PAGE).headers["Location"] == VERIFY
    assert second.post(PAGE, {"code": code_of(second.session["second_factor_key"])}).headers["Location"] == VERIFY
    assert devices.enrol(user, key, code_of(key)) is None
    assert not is_somebody(second)


def test_who_is_not_logged_in_sees_none_of_it(required: None) -> None:
    for path in (PAGE, VERIFY):
        for response in (Client().get(path), Client().post(path, {"code": "000000"})):
            assert response.headers["Location"].startswith("/admin/login/")


# After a login.


def test_a_code_of_the_app_lets_in_once(user: User, required: None, clock: Any) -> None:
    enrolled(user)
    client, other = log_in(user), log_in(user)
    code, before = next_code(user, clock), client.session.session_key
    response = client.post(VERIFY, {"code": f"{code[:3]} {code[3:]}", "next": "/admin/tutoring/tutor/"})
    assert response.headers["Location"] == "/admin/tutoring/tutor/"
    assert client.session.session_key != before
    assert is_somebody(client)
    assert "Wrong code" in text_of(other.post(VERIFY, {"code": code}))
    assert not is_somebody(other)


def test_a_recovery_code_lets_in_once(user: User, required: None) -> None:
    _, codes = enrolled(user)
    client, other = log_in(user), log_in(user)
    assert client.post(VERIFY, {"code": codes[0].upper()}).headers["Location"] == "/admin/"
    assert is_somebody(client)
    assert "Wrong code" in text_of(other.post(VERIFY, {"code": codes[0]}))
    assert StaticToken.objects.count() == devices.RECOVERY_CODES - 1


@pytest.mark.parametrize("wrong", ["000000", "aaaaaaaa"])
def test_attempts_become_slower(user: User, required: None, clock: Any, wrong: str) -> None:
    device, codes = enrolled(user)
    right = next_code(user, clock) if wrong.isdigit() else codes[0]
    client = log_in(user)
    for _ in range(8):
        clock.shift(timedelta(minutes=5))
        client.post(VERIFY, {"code": wrong})
    right = code_of(device.key) if wrong.isdigit() else codes[0]
    assert "Try again in 2 min" in text_of(client.post(VERIFY, {"code": right}))
    assert not is_somebody(client)
    clock.shift(timedelta(seconds=129))
    right = code_of(device.key) if wrong.isdigit() else codes[0]
    assert client.post(VERIFY, {"code": right}).status_code == 302
    assert is_somebody(client)


def test_another_site_is_no_way_on(user: User, required: None) -> None:
    _, codes = enrolled(user)
    client = log_in(user)
    assert 'value="/admin/"' in text_of(client.get(VERIFY, {"next": "https://evil.example/"}))
    response = client.post(VERIFY, {"code": codes[0], "next": "//evil.example/"})
    assert response.headers["Location"] == "/admin/"


def test_the_code_of_another_person_is_wrong(user: User, required: None) -> None:
    enrolled(user)
    _, codes = enrolled(person("operator"))
    assert "Wrong code" in text_of(log_in(user).post(VERIFY, {"code": codes[0]}))


def test_cancelling_logs_out(user: User, required: None) -> None:
    enrolled(user)
    client = log_in(user)
    assert client.post(VERIFY, {"_logout": "1"}).headers["Location"] == "/admin/login/"
    assert "_auth_user_id" not in client.session


def test_cancelling_the_set_up_logs_out_where_it_is_required(user: User, required: None) -> None:
    client = log_in(user)
    assert 'name="_logout"' in text_of(client.get(PAGE))
    assert client.post(PAGE, {"_logout": "1"}).headers["Location"] == "/admin/login/"
    assert "_auth_user_id" not in client.session


# Later.


def test_new_codes_take_the_place_of_the_old_ones(user: User, required: None, clock: Any) -> None:
    _, old = enrolled(user)
    client = log_in(user)
    client.post(VERIFY, {"code": next_code(user, clock)})
    assert "10 recovery codes left" in words_of(client.get(PAGE))
    page = text_of(client.post(PAGE, {"code": next_code(user, clock), "_codes": "1"}))
    assert not any(code in page for code in old)
    assert StaticToken.objects.count() == devices.RECOVERY_CODES
    assert is_somebody(client)


def test_turning_it_off_takes_a_code_and_the_setting(user: User, settings: Settings, clock: Any) -> None:
    settings.SECOND_FACTOR = "required"
    enrolled(user)
    client = log_in(user)
    client.post(VERIFY, {"code": next_code(user, clock)})
    client.post(PAGE, {"code": next_code(user, clock), "_remove": "1"})
    assert TOTPDevice.objects.exists()
    settings.SECOND_FACTOR = "optional"
    client.post(PAGE, {"code": "000000", "_remove": "1"})
    assert TOTPDevice.objects.exists()
    clock.shift(timedelta(minutes=1))
    assert client.post(PAGE, {"code": next_code(user, clock), "_remove": "1"}).status_code == 302
    assert not TOTPDevice.objects.exists()
    assert is_somebody(log_in(user))


def test_a_reset_ends_sessions_verified_by_it(user: User, required: None, clock: Any) -> None:
    enrolled(user)
    client = log_in(user)
    client.post(VERIFY, {"code": next_code(user, clock)})
    assert is_somebody(client)
    out = io.StringIO()
    call_command("reset_second_factor", user.username, stdout=out)
    assert "has been removed" in out.getvalue()
    assert not is_somebody(client)
    assert client.get("/admin/", follow=True).redirect_chain[-1][0].startswith(PAGE)
    for name in (user.username, "nobody-of-that-name"):
        with pytest.raises(CommandError):
            call_command("reset_second_factor", name)


def test_no_page_of_the_admin_shows_keys(required: None) -> None:
    from django.contrib import admin

    assert not {model.__name__ for model in admin.site._registry} & {"TOTPDevice", "StaticDevice", "StaticToken"}

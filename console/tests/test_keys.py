"""API keys in the admin."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from ingestion.models import ApiKey
from tests.held import hold
from tests.people import browser_of, person, text_of

pytestmark = pytest.mark.django_db

KEYS = "/admin/ingestion/apikey/"
NO_END = {"expiry_date_0": "", "expiry_date_1": ""}


def make(client: Client, path: str = "add/", **fields: object) -> tuple[ApiKey, str]:
    """The key made on that page, and what is shown of it."""
    data = {"name": "platform", "can_ingest": "on", "can_read": "on", **NO_END}
    response = client.post(KEYS + path, {**data, **fields})
    (shown,) = re.findall(r'<code class="secret">([^<]*)</code>', text_of(response))
    assert "no-store" in response["Cache-Control"]
    assert "messages" not in response.cookies  # neither the browser nor a table keeps it
    return ApiKey.objects.get(prefix=shown.partition(".")[0]), shown


def pages_of(key: ApiKey) -> list[str]:
    own = [f"{KEYS}{key.prefix}/{page}/" for page in ("change", "history", "replace", "revoke")]
    return [KEYS, *own, "/admin/"]


def in_days(days: float) -> dict[str, str]:
    end = timezone.localtime(timezone.now() + timedelta(days=days))
    return {"expiry_date_0": f"{end:%Y-%m-%d}", "expiry_date_1": f"{end:%H:%M:%S}"}


def test_a_key_is_shown_once_and_works(administrator: Client) -> None:
    key, shown = make(administrator, streams=["tutors", "sessions"])
    assert key.is_valid(shown)
    assert key.streams == ["tutors", "sessions"]
    for page in pages_of(key):
        again = text_of(administrator.get(page))
        assert shown.partition(".")[2] not in again
        assert key.hashed_key.rpartition("$")[2] not in again
        assert key.prefix in again
    assert LogEntry.objects.get().object_id == key.prefix


def test_a_page_of_a_key_shows_how_much_of_its_limits_is_used(administrator: Client, settings: Settings) -> None:
    key, _ = make(administrator)
    page = f"{KEYS}{key.prefix}/change/"
    assert "nothing pending, waiting or dead" in text_of(administrator.get(page))
    hold(client=f"key:{key.client}")
    hold()
    settings.MAX_CLIENT_DEAD_LETTERS = 1
    text = text_of(administrator.get(page))
    assert "1 open dead letters (limit: 1, MAX_CLIENT_DEAD_LETTERS)" in text
    assert "reached" in text


def test_a_page_of_a_key_is_found_by_its_prefix_alone(administrator: Client) -> None:
    key, _ = make(administrator)
    for name in (key.pk, key.name, "\0", "x"):
        assert administrator.get(f"{KEYS}{name}/change/").status_code in (302, 404)
        for action in ("replace", "revoke"):
            assert administrator.post(f"{KEYS}{name}/{action}/", {"name": "x", **NO_END}).status_code == 404
    assert not ApiKey.objects.get().revoked


def test_a_key_is_revoked_for_good(administrator: Client) -> None:
    key, _ = make(administrator)
    change, revoke = f"{KEYS}{key.prefix}/change/", f"{KEYS}{key.prefix}/revoke/"
    assert "Never used" in text_of(administrator.get(revoke))
    assert not ApiKey.objects.get().revoked  # nothing was confirmed yet
    assert "revoked." in text_of(administrator.post(revoke, follow=True))
    administrator.post(change, {"name": "other", "can_read": "on", **NO_END})
    administrator.post(revoke)
    key.refresh_from_db()
    assert (key.revoked, key.name) == (True, "platform")
    assert administrator.post(f"{KEYS}{key.prefix}/delete/", {"post": "yes"}).status_code == 403
    listed = text_of(administrator.get(KEYS))
    assert "revoked" in listed
    page = text_of(administrator.get(change))
    assert f'data-show="day" title="{timezone.localtime(key.created):%Y-%m-%d %H:%M:%S +00:00}"' in page
    assert "/replace/" not in text_of(administrator.get(revoke.replace("revoke/", "change/")))
    assert list(LogEntry.objects.values_list("change_message", flat=True)).count("Revoked.") == 1


def test_an_edit_does_not_undo_what_another_has_revoked_meanwhile(
    administrator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = make(administrator)
    clean = ApiKey.full_clean

    def revoked_meanwhile(self: ApiKey, *args: Any, **kwargs: Any) -> None:
        ApiKey.objects.update(revoked=True)
        clean(self, *args, **kwargs)

    monkeypatch.setattr(ApiKey, "full_clean", revoked_meanwhile)
    administrator.post(f"{KEYS}{key.prefix}/change/", {"name": "other", "can_read": "on", **NO_END})
    key.refresh_from_db()
    assert (key.revoked, key.name, key.can_ingest) == (True, "other", False)


def test_a_key_is_replaced_by_one_of_the_same_client(administrator: Client) -> None:
    first, _ = make(administrator, can_ingest="", streams=["tutors"])
    second, shown = make(administrator, f"{first.prefix}/replace/", name="platform 2", **in_days(30))
    assert second.is_valid(shown)
    assert (second.client, second.streams, second.can_ingest, second.can_read) == (
        first.prefix,
        ["tutors"],
        False,
        True,
    )
    assert second.expiry_date and timedelta(29) < second.expiry_date - timezone.now() < timedelta(30)
    third, _ = make(administrator, f"{second.prefix}/replace/")
    assert third.client == first.prefix
    assert ApiKey.objects.filter(revoked=False).count() == 3
    page = text_of(administrator.get(f"{KEYS}{first.prefix}/change/"))
    assert second.prefix in page and third.prefix in page
    told = LogEntry.objects.filter(object_id=second.prefix).values_list("change_message", flat=True)
    assert set(told) == {f"Created to replace {first.prefix}.", f"Rotated: {third.prefix} replaces it."}


def test_what_expires_is_seen_at_a_glance(administrator: Client) -> None:
    now = timezone.now()
    keys: dict[str, dict[str, Any]] = {
        "forever": {},
        "for long": {"expiry_date": now + timedelta(days=8)},
        "not for long": {"expiry_date": now + timedelta(days=6, minutes=1)},
        "gone": {"expiry_date": now - timedelta(days=1)},
        "ended": {"revoked": True, "expiry_date": now + timedelta(days=1)},
    }
    for name, fields in keys.items():
        ApiKey.objects.create_key(name=name, **fields)

    def listed(status: str) -> set[str]:
        text = text_of(administrator.get(KEYS, {"status": status} if status else {}))
        return set(re.findall(r'<th class="field-name"><a [^>]*>([^<]*)</a>', text))

    assert listed("valid") == {"forever", "for long", "not for long"}
    assert listed("soon") == {"not for long"}
    assert listed("expired") == {"gone"}
    assert listed("revoked") == {"ended"}
    assert listed("x") == set()
    text = text_of(administrator.get(KEYS))
    assert text.count("expires in 6 d") == 1
    warning = "This key expires within a week"
    for key in ApiKey.objects.all():
        told = text_of(administrator.get(f"{KEYS}{key.prefix}/change/"))
        assert (warning in told) == (key.name == "not for long")


def test_a_key_that_is_replaced_says_by_which(administrator: Client) -> None:
    old, _ = make(administrator, **in_days(3))
    page = f"{KEYS}{old.prefix}/change/"
    shorter, _ = make(administrator, f"{old.prefix}/replace/", **in_days(2))
    assert "Rotate it" in text_of(administrator.get(page))
    new, _ = make(administrator, f"{old.prefix}/replace/")
    text = text_of(administrator.get(page))
    assert "Rotate it" not in text
    assert f'replaced by <a href="{KEYS}{new.prefix}/change/">{new.prefix}</a>.' in text
    assert f"{shorter.prefix}</a>." not in text
    assert text_of(administrator.get(f"{KEYS}?q={old.client}")).count('class="field-prefix"') == 3
    ApiKey.objects.filter(prefix=new.prefix).update(revoked=True)
    assert "Rotate it" in text_of(administrator.get(page))


def test_a_date_alone_is_its_midnight(administrator: Client) -> None:
    day = timezone.localdate() + timedelta(days=30)
    assert "UTC; date only = 00:00" in text_of(administrator.get(f"{KEYS}add/"))
    key, _ = make(administrator, expiry_date_0=f"{day}", expiry_date_1="")
    assert key.expiry_date and timezone.localtime(key.expiry_date).isoformat() == f"{day}T00:00:00+00:00"
    assert f'title="{day} 00:00:00 +00:00">{day} 00:00</time>' in text_of(administrator.get(KEYS))
    make(administrator, expiry_date_0=f"{day}", expiry_date_1="09:30")
    assert f">{day} 09:30</time>" in text_of(administrator.get(KEYS))
    error = text_of(administrator.post(f"{KEYS}add/", {"name": "x", "expiry_date_0": "", "expiry_date_1": "09:30"}))
    assert "Enter a valid date" in error


@pytest.mark.parametrize("days", [-1, -0.001])
def test_an_end_that_is_past_is_refused(administrator: Client, days: float) -> None:
    key, _ = make(administrator)
    for page in ("add/", f"{key.prefix}/change/", f"{key.prefix}/replace/"):
        data = {"name": "x", "can_read": "on", **in_days(days)}
        assert "in the past" in text_of(administrator.post(KEYS + page, data))
    assert ApiKey.objects.get().expiry_date is None


def test_a_key_that_may_do_nothing_is_refused(administrator: Client) -> None:
    assert "Select at least one" in text_of(administrator.post(f"{KEYS}add/", {"name": "x", **NO_END}))
    assert not ApiKey.objects.exists()


def test_a_stream_that_is_not_registered_is_refused(administrator: Client) -> None:
    data = {"name": "x", "can_read": "on", "streams": ["planets"], **NO_END}
    assert "planets is not one of the available choices" in text_of(administrator.post(f"{KEYS}add/", data))


@pytest.mark.parametrize("group", ["viewer", "operator"])
def test_keys_are_for_administrators(group: str) -> None:
    client = browser_of(person(group))
    key, _ = ApiKey.objects.create_key(name="platform")
    for page in (KEYS, *(f"{KEYS}{key.prefix}/{action}/" for action in ("change", "replace", "revoke")), f"{KEYS}add/"):
        assert client.get(page).status_code == 403
        assert client.post(page, {"name": "mine", "can_ingest": "on", **NO_END}).status_code == 403
    assert not ApiKey.objects.get().revoked

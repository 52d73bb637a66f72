"""The page Providers: who may, what it does, what the history says, and what the page shows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.utils import timezone

from enrichment.lookups import Rate, control, providers
from enrichment.lookups.models import Lookup, LookupMinute, ProviderState
from tests.lookups import ask, doubt, oracle, registered
from tests.people import text_of, words_of

pytestmark = pytest.mark.django_db

PROVIDERS = "/admin/enrichment/providerstate/"
SECRET = "a-very-secret-key"


@pytest.fixture(autouse=True)
def two_providers() -> Iterator[None]:
    with registered(
        oracle(rate=Rate(40, 10), secret=lambda: SECRET),
        oracle(name="sibyl", label="Sibyl", why_off=lambda: "SIBYL_KEY is not set."),
    ):
        yield


def history() -> list[tuple[str, str, str]]:
    found = LogEntry.objects.order_by("pk").values_list("user__username", "object_id", "change_message")
    return [(user, str(name), text) for user, name, text in found]


def test_an_operator_pauses_resumes_and_runs_a_provider(operator: Client) -> None:
    waiting = ask(failures=2, due_at=timezone.now() + timedelta(hours=1))
    assert 'name="reason"' in text_of(operator.get(f"{PROVIDERS}oracle/pause/"))
    assert "This field is required" in text_of(operator.post(f"{PROVIDERS}oracle/pause/", {"reason": " "}))
    operator.post(f"{PROVIDERS}oracle/pause/", {"reason": "a <b>test</b>\u202e"})
    state = ProviderState.objects.get()
    assert (state.provider, state.paused_by, state.paused_reason) == ("oracle", "user:operator", "a <b>test</b>\u202e")
    text = words_of(operator.get(PROVIDERS))
    assert r"Paused by operator: a &lt;b&gt;test&lt;/b&gt;\u202e" in text
    assert f"{PROVIDERS}oracle/resume/" in text and f"{PROVIDERS}oracle/pause/" not in text
    assert "already paused" in text_of(operator.post(f"{PROVIDERS}oracle/pause/", {"reason": "x"}, follow=True))
    operator.post(f"{PROVIDERS}oracle/resume/")
    assert not ProviderState.objects.exclude(paused_at=None).exists()
    assert Lookup.objects.due().get() == waiting
    assert "someone else has resumed it" in text_of(operator.post(f"{PROVIDERS}oracle/resume/", follow=True))
    Lookup.objects.update(due_at=timezone.now() + timedelta(hours=1))
    assert "Retrying 1 lookup at once." in text_of(operator.post(f"{PROVIDERS}oracle/run/", follow=True))
    assert Lookup.objects.due().get() == waiting
    assert history() == [
        ("operator", "oracle", "Paused: a <b>test</b>\u202e"),
        ("operator", "oracle", "Resumed."),
        ("operator", "oracle", "Run now. Retrying 1 lookup at once."),
    ]
    assert "Retrying 1 lookup at once." in text_of(operator.get(PROVIDERS))


def test_a_refused_key_is_told_and_resumed(operator: Client) -> None:
    control.state_of("oracle")
    control.stop(providers.get("oracle"), "The Oracle refuses the key: 401.")
    text = words_of(operator.get(PROVIDERS))
    assert "key refused" in text and "The Oracle refuses the key: 401." in text
    operator.post(f"{PROVIDERS}oracle/resume/")
    assert not ProviderState.objects.exclude(stopped_at=None).exists()


@pytest.mark.parametrize("action", ["pause", "resume", "run"])
def test_a_viewer_sees_no_button_and_a_forged_post_is_refused(viewer: Client, action: str) -> None:
    control.pause("oracle", by="user:ann", reason="x")
    text = text_of(viewer.get(PROVIDERS))
    assert "paused" in text and "formaction" not in text and f"/{action}/" not in text
    for name in ("oracle", "sibyl"):
        assert viewer.get(f"{PROVIDERS}{name}/{action}/").status_code == 403
        assert viewer.post(f"{PROVIDERS}{name}/{action}/", {"reason": "x"}).status_code == 403
    assert [state.provider for state in ProviderState.objects.exclude(paused_at=None)] == ["oracle"]
    assert history() == []


def test_nothing_is_done_by_a_get_and_there_is_no_other_provider(operator: Client) -> None:
    for action in ("resume", "run"):
        assert operator.get(f"{PROVIDERS}oracle/{action}/").status_code == 405
        assert operator.post(f"{PROVIDERS}nonsense/{action}/").status_code == 404
    assert operator.post(f"{PROVIDERS}nonsense/pause/", {"reason": "x"}).status_code == 404
    assert operator.get(f"{PROVIDERS}oracle/change/")["Location"] == PROVIDERS


def test_the_page_shows_numbers_and_no_key(operator: Client) -> None:
    ask(), ask(), doubt(), ask(status="failed")
    now = timezone.now()
    minute = now.replace(second=0, microsecond=0)
    LookupMinute.objects.create(minute=minute, provider="oracle", requests=60, found=7, ambiguous=2)
    LookupMinute.objects.create(minute=minute - timedelta(minutes=1), provider="oracle", found=9)
    LookupMinute.objects.create(minute=minute - timedelta(minutes=30), provider="oracle", throttled=3)
    LookupMinute.objects.create(minute=minute - timedelta(hours=2), provider="oracle", throttled=90)
    ProviderState.objects.create(
        provider="oracle",
        away_since=now - timedelta(minutes=3),
        away_until=now + timedelta(minutes=1),
        last_error="503 Service Unavailable",
        last_error_at=now,
    )
    text = words_of(operator.get(PROVIDERS))
    for part in (
        "The Oracle",
        "503 Service Unavailable",
        "next try",
        'provider=oracle&amp;status=open">2</a>',
        'provider=oracle&amp;status=failed">1</a>',
        'ambiguouslookup/?provider=oracle">1</a>',
        "<dt>Answers/min</dt><dd>9</dd>",
        '<dt>Limit used</dt><dd>25 % <span class="quiet">of 40 in 10 s</span>',
        "<dt>Status 429, last hour</dt><dd>3</dd>",
        "<dt>API key</dt><dd>set</dd>",
        "SIBYL_KEY is not set.",
        "<dt>API key</dt><dd>missing</dd>",
    ):
        assert part in text, part
    assert SECRET not in text
    assert f"{PROVIDERS}sibyl/run/" not in text

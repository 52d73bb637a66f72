from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from enrichment.lookups import control, status, want
from enrichment.lookups.models import Lookup, LookupMinute, ProviderState
from enrichment.lookups.providers import Rate
from enrichment.lookups.tests.conftest import Declare
from tests.api import api

pytestmark = pytest.mark.django_db


def test_the_api_tells_how_each_provider_is_asked(declare: Declare) -> None:
    declare("oracle", rate=Rate(40, 10))
    declare("augur", label="An augur", why_off=lambda: "AUGUR_KEY is not set.")
    want("oracle", "age", ["a", "b", "c"])
    Lookup.objects.filter(key="c").update(status="ambiguous")
    control.pause("oracle", by="user:eva", reason="It costs too much.")
    answer = api().get("/api/worker").json()
    assert answer["paused_providers"] == ["oracle"]
    augur, oracle = answer["providers"]
    assert (augur["name"], augur["on"], augur["why"]) == ("augur", False, "AUGUR_KEY is not set.")
    expected = {
        "name": "oracle",
        "on": True,
        "why": "Paused by eva: It costs too much.",
        "waiting_for": "paused",
        "paused": True,
        "open": 2,
        "found": 0,
        "not_found": 0,
        "ambiguous": 1,
        "failed": 0,
        "asked_last_minute": 0,
        "limit": "40/10",
        "last_error": "",
        "next_run": None,
    }
    assert {name: oracle[name] for name in expected} == expected
    assert oracle["oldest"] is not None
    control.resume("oracle")
    assert api().get("/api/worker").json()["paused_providers"] == []


def test_a_runner_that_looks_for_work_has_a_next_run(declare: Declare) -> None:
    declare()
    ProviderState.objects.create(provider="oracle", last_run_at=timezone.now() - timedelta(seconds=4))
    (found,) = status.provider_statuses()
    assert timedelta(seconds=3) < found["next_run"] - timezone.now() < timedelta(seconds=7)
    ProviderState.objects.update(last_run_at=timezone.now() - timedelta(seconds=60))
    (found,) = status.provider_statuses()
    assert (found["next_run"], found["last_run"] is not None) == (None, True)


def test_the_last_minute_is_made_of_two(declare: Declare) -> None:
    declare()
    now = timezone.now().replace(second=15, microsecond=0)
    LookupMinute.objects.add("oracle", now - timedelta(minutes=1), {"requests": 100})
    LookupMinute.objects.add("oracle", now, {"requests": 10})
    assert status.asked_last_minute(now) == {"oracle": 10 + 75}


def test_metrics_count_what_was_asked_and_answered(declare: Declare) -> None:
    declare()
    want("oracle", "age", ["a"])
    for minutes in (0, 60 * 24 * 5, 60 * 24 * 5 + 1):
        at = timezone.now() - timedelta(minutes=minutes)
        LookupMinute.objects.add("oracle", at, {"requests": 3, "throttled": 1, "errors": 1, "found": 2})
    LookupMinute.objects.merge_days()
    lines = api().get("/metrics").content.decode().splitlines()
    for line in (
        'tutormax_lookups{provider="oracle",status="open"} 1.0',
        'tutormax_provider_asked{provider="oracle"} 1.0',
        'tutormax_lookup_requests_total{provider="oracle"} 9.0',
        'tutormax_lookup_throttled_total{provider="oracle"} 3.0',
        'tutormax_lookup_errors_total{provider="oracle"} 3.0',
        'tutormax_lookup_answers_total{outcome="found",provider="oracle"} 6.0',
    ):
        assert line in lines


def test_run_now_ends_the_pauses_after_errors(declare: Declare) -> None:
    declare()
    want("oracle", "age", ["a", "b"])
    later = Now() + timedelta(minutes=5)
    Lookup.objects.filter(key="a").update(failures=3, due_at=later)
    ProviderState.objects.create(provider="oracle", away_since=Now(), away_until=later)
    assert control.run_now("oracle") == 1
    assert Lookup.objects.due().count() == 2
    assert ProviderState.objects.filter(away_until__lte=Now()).exists()

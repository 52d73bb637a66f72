from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now
from django.utils import timezone

from enrichment.lookups import choose, want
from enrichment.lookups.models import Lookup, ProviderState
from enrichment.lookups.providers import Rate
from enrichment.lookups.tests.conftest import Declare, ask_server
from standins.server import Server, error

pytestmark = pytest.mark.django_db(transaction=True)


def lookups(*args: str) -> Any:
    out = StringIO()
    call_command("lookups", *args, "--json", stdout=out, stderr=StringIO())
    return json.loads(out.getvalue())


def test_run_asks_until_nothing_is_due_and_counts(declare: Declare, server: Server) -> None:
    declare(url=server.url, ask=ask_server, rate=Rate(400, 10))
    want("oracle", "age", ["a", "b", "c"])
    server.fail(error(404), when=lambda request: request.query["q"] == "b")
    counts = {"requests": 3, "throttled": 0, "errors": 1, "found": 2, "not_found": 1, "ambiguous": 0, "failed": 0}
    assert lookups("run") == counts
    assert lookups("run") == dict.fromkeys(counts, 0)
    (status,) = lookups("status")["providers"]
    expected = {"name": "oracle", "on": True, "why": "", "paused": False, "open": 0, "found": 2, "not_found": 1}
    assert {name: status[name] for name in expected} == expected
    assert (status["asked_last_minute"], status["limit"]) == (3, "400/10")
    assert status["last_error"] == ""
    assert status["last_run"] is not None


def test_a_paused_provider_is_not_asked_until_it_is_resumed(declare: Declare, server: Server) -> None:
    declare(url=server.url, ask=ask_server)
    want("oracle", "age", ["a"])
    assert lookups("pause", "--reason", "maintenance") == {"paused": ["oracle"]}
    assert lookups("pause") == {"paused": []}
    lookups("run")
    assert server.arrivals == []
    (status,) = lookups("status")["providers"]
    assert (status["paused"], status["waiting_for"], status["open"]) == (True, "paused", 1)
    assert status["why"] == "Paused by command: maintenance"
    assert lookups("resume", "--provider", "oracle") == {"resumed": ["oracle"]}
    assert lookups("resume") == {"resumed": []}
    assert lookups("run")["found"] == 1


def test_without_its_key_a_provider_is_off_and_says_so(declare: Declare, server: Server) -> None:
    declare(url=server.url, ask=ask_server, why_off=lambda: "ORACLE_KEY is not set.")
    want("oracle", "age", ["a"])
    lookups("run")
    assert server.arrivals == []
    (status,) = lookups("status")["providers"]
    assert (status["on"], status["why"], status["waiting_for"]) == (False, "ORACLE_KEY is not set.", "no_key")


def test_again_has_answered_questions_asked_again_but_no_choices(declare: Declare, server: Server) -> None:
    declare(url=server.url, ask=ask_server)
    found = want("oracle", "age", ["a", "b", "c"])
    lookups("run")
    choose(found["c"], "user:eva", {"age": 3})
    server.forget()
    assert lookups("again", "--status", "not_found") == {"again": 0}
    assert lookups("again", "--provider", "oracle") == {"again": 2}
    assert set(Lookup.objects.values_list("status", flat=True)) == {"found"}  # until it is answered otherwise
    assert lookups("run")["found"] == 2
    assert sorted(arrival.query["q"] for arrival in server.arrivals) == ["a", "b"]
    with pytest.raises(CommandError, match="by --provider, --status or --upload"):
        lookups("again")


def test_a_provider_that_wants_a_day_of_peace_gets_it_and_the_others_go_on(declare: Declare, server: Server) -> None:
    """Nobody sleeps: the run ends, and what the provider asked for is a date that every process sees."""
    two_days = timedelta(days=2).total_seconds()
    declare("greedy", label="Greedy", url=server.url, ask=ask_server, max_retry_after=two_days, threads=2)
    declare("oracle", url=server.url, ask=ask_server)
    server.fail(error(429, Retry_After="86400"), times=None, when=lambda request: request.path == "/album")
    want("greedy", "album", [f"a{n}" for n in range(40)])
    want("oracle", "age", [f"k{n}" for n in range(40)])
    started, errors = time.monotonic(), StringIO()
    call_command("lookups", "run", stdout=StringIO(), stderr=errors)
    assert time.monotonic() - started < 20
    assert set(Lookup.objects.filter(provider="oracle").values_list("status", flat=True)) == {"found"}
    waiting = Lookup.objects.filter(provider="greedy").values_list("status", "claim", "tries", "failures")
    assert set(waiting) == {("open", "", 0, 0)}
    assert "Greedy is away, the rest is asked later: Greedy asks to be left alone until 2" in errors.getvalue()

    greedy, oracle = lookups("status")["providers"]
    until = datetime.fromisoformat(greedy["until"])
    assert timedelta(hours=23, minutes=59) < until - timezone.now() <= timedelta(days=1)
    assert (greedy["waiting_for"], greedy["open"], oracle["until"], oracle["waiting_for"]) == ("away", 40, None, None)
    assert greedy["why"] == f"Greedy asks to be left alone until {timezone.localtime(until):%Y-%m-%d %H:%M:%S %z}."
    assert greedy["last_error"] == "Greedy asked to be left alone for 1 d (Retry-After)."
    assert abs(datetime.fromisoformat(greedy["since"]) - timezone.now()) < timedelta(minutes=1)

    server.forget()
    assert lookups("run")["requests"] == 0  # in another process, too
    assert server.arrivals == []
    server.heal()
    ProviderState.objects.update(blocked_until=Now(), next_slot=0)  # the day has passed
    assert lookups("run")["found"] == 40
    assert lookups("status")["providers"][0]["until"] is None

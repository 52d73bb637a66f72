from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from enrichment.lookups import choose, want
from enrichment.lookups.models import Lookup
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

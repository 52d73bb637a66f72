"""The short form of make faults: one run on the test's own database, in which processes are killed (faults/)."""

from __future__ import annotations

import pytest
from django.db import connection

from faults.kinds import Kind, change_schema, cut_connections, kill_web_worker, kill_worker
from faults.runs import run
from faults.system import QUICK, System
from tests.workers import database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

KINDS = [
    Kind("worker killed", kill_worker),
    Kind("process of the web server killed", kill_web_worker),
    Kind("connections cut", cut_connections),
]


@pytest.mark.parametrize(
    "kinds", [KINDS, [Kind("newer schema", change_schema)]], ids=["three faults", "the schema of a next version"]
)
def test_a_run_loses_doubles_and_changes_nothing(kinds: list[Kind]) -> None:
    connection.close()  # it would be cut
    few = {**QUICK, "WEB_PROCESSES": "1", "WORKERS": "1"}
    with System(database_url(), runs=1, settings=few, clusters=1) as system:
        result = run(system, 1, 0, kinds, len(kinds), seconds=2.5, size=10)
    assert (result.findings, result.failed_faults) == ([], [])
    assert result.records > 50

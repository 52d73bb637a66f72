"""The short form of make faults: one run on the test's own database, in which processes are killed (faults/)."""

from __future__ import annotations

import pytest
from django.db import connection

from faults.kinds import Kind, cut_connections, kill_web_worker, kill_worker
from faults.runs import run
from faults.system import QUICK, System
from tests.workers import database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgresql]

KINDS = [
    Kind("worker killed", kill_worker),
    Kind("process of the web server killed", kill_web_worker),
    Kind("connections cut", cut_connections),
]


def test_a_run_with_three_faults_loses_doubles_and_changes_nothing() -> None:
    connection.close()  # it would be cut
    few = {**QUICK, "WEB_PROCESSES": "1", "WORKERS": "1"}
    with System(database_url(), runs=1, settings=few, clusters=1) as system:
        result = run(system, 1, 0, KINDS, len(KINDS), seconds=2.5, size=10)
    assert (result.findings, result.failed_faults) == ([], [])
    assert result.records > 50

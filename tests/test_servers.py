"""The servers that tests use end when they should, also when nobody ends them."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.servers import PATIENCE, ROOT, PostgreSQL, Process, wait_until

OWNER = """
import os, time
from tests.servers import PostgreSQL, Process, temporary_directory
with temporary_directory() as directory, PostgreSQL() as server, Process(("sleep", "600"), {}) as process:
    server.start()
    print(directory, server.home, (server.data / "postmaster.pid").read_text().split()[0], process.pid, flush=True)
    time.sleep(600)
"""


def _gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_nothing_stays_behind_when_the_run_is_killed(end: signal.Signals) -> None:
    command = [sys.executable, "-c", OWNER]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as owner:
        assert owner.stdout is not None
        directory, home, server, process = owner.stdout.readline().split()
        assert Path(directory).exists()
        assert not _gone(int(server))
        owner.send_signal(end)
        owner.wait(PATIENCE)
    wait_until(lambda: _gone(int(server)) and _gone(int(process)), "server and process end")
    wait_until(lambda: not Path(directory).exists() and not Path(home).exists(), "the directories are deleted")


def test_it_restarts_at_the_same_address_with_its_data(postgres: PostgreSQL) -> None:
    address = postgres.url("postgres")
    with postgres.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
    postgres.restart("immediate")
    assert postgres.url("postgres") == address
    with postgres.connect() as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (1,)


def test_a_process_that_does_not_heed_sigterm_is_killed_with_its_children() -> None:
    script = "trap '' TERM; sleep 600 & echo ready $!; wait; wait"
    with Process(("bash", "-c", script), {}) as process:
        child = int(wait_until(lambda: process.log().split()[1:], "the child runs")[0])
        assert process.stop(timeout=0.5) == -signal.SIGKILL
    wait_until(lambda: _gone(child), "the child is gone")

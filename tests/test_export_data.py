"""manage.py export_data: all that is filtered, in a file that is there only when it is complete."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command

from conftest import NewDatabase
from tests.api import api, text
from tests.commands import run
from tests.records import INSERT_STUDENTS, send
from tests.servers import PATIENCE, ROOT, ProjectProcess, manage, wait_until
from tutoring.tests.factories import tutor


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.mark.django_db
class TestWhatIsWritten:
    @pytest.fixture(autouse=True)
    def rows(self) -> None:
        send("tutors", *(tutor(tutor_id=str(age), age=age, name=f"Zoë {age}") for age in range(30, 35)))

    @pytest.mark.parametrize("form", ["csv", "ndjson"])
    @pytest.mark.parametrize(
        "filters", [(), ("age_min=32", "search=zoë", "ordering=-tutor_id"), ("fields=name,age",), ("age=1",)]
    )
    def test_it_is_what_the_api_answers(self, out: Path, form: str, filters: tuple[str, ...]) -> None:
        options = [f"--filter={each}" for each in filters]
        printed = run("export_data", "--stream=tutors", f"--format={form}", f"--out={out}", *options)
        answer = text(api().get(f"/api/tutors?{'&'.join([f'format={form}', *filters])}"))
        assert out.read_bytes().decode() == answer
        rows = answer.count("\n") - (form == "csv")
        assert printed == f"{out}: {rows} tutors.\n"
        assert [path.name for path in out.parent.iterdir()] == ["file"]

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ("colour=red", "^Unknown parameter colour. Allowed: .*age_min"),
            ("page_size=5", "^Unknown parameter page_size. "),
            ("agemin=5", "^Unknown parameter agemin. Did you mean age_min"),
            ("age=young", "age: Enter a whole number"),
            ("fields=colour", "must be some of"),
            ("status=busy", "must be one of: active"),
            ("age", "NAME=VALUE"),
            ("age=", "with a value"),
            ("name=\udcff", ""),
        ],
    )
    def test_it_refuses_what_the_api_refuses(self, out: Path, option: str, message: str) -> None:
        options = ["export_data", "--stream=tutors", "--format=csv", f"--out={out}", f"--filter={option}"]
        if message:
            with pytest.raises(CommandError, match=message):
                run(*options)
            assert not out.exists()
        else:
            assert ": 0 tutors" in run(*options)

    def test_a_filter_given_twice_is_refused(self, out: Path) -> None:
        with pytest.raises(CommandError, match="once"):
            run("export_data", "--stream=tutors", "--format=csv", f"--out={out}", "--filter=age=1", "--filter=age=2")

    def test_it_takes_the_place_of_an_older_file(self, out: Path, tmp_path: Path) -> None:
        out.write_text("old")
        link = tmp_path / "link"
        link.symlink_to(out)
        run("export_data", "--stream=tutors", "--format=ndjson", f"--out={link}")
        assert link.is_symlink()
        assert len(out.read_text().splitlines()) == 5

    def test_it_refuses_a_place_where_no_file_can_be(self, tmp_path: Path) -> None:
        for place in (tmp_path, tmp_path / "nowhere" / "file", Path(os.devnull)):
            with pytest.raises(CommandError):
                call_command("export_data", "--stream=tutors", "--format=csv", f"--out={place}")
        assert list(tmp_path.iterdir()) == []


class TestProcess:
    @pytest.fixture
    def url(self, new_database: NewDatabase) -> str:
        return new_database()

    def test_standard_output_has_the_rows_alone(self, url: str) -> None:
        done = manage("export_data", "--stream=students", "--format=csv", "--out=-", database_url=url)
        assert done.stdout.startswith("student_id,name,") and done.stdout.count("\n") == 1

    @pytest.mark.postgresql
    def test_who_reads_the_first_lines_may_go(self, url: str) -> None:
        _fill(url)
        command = f"{sys.executable} manage.py export_data --stream students --format ndjson --out - | head -n 2"
        environment = os.environ | {"DATABASE_URL": url}
        done = subprocess.run(
            command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        assert [json.loads(line)["student_id"] for line in done.stdout.splitlines()] == ["s1", "s10"]
        assert done.stderr == ""

    @pytest.mark.postgresql
    @pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, "database"])
    def test_one_that_is_interrupted_leaves_no_file(self, url: str, out: Path, end: signal.Signals | str) -> None:
        _fill(url)
        out.write_text("old")
        arguments = ("export_data", "--stream=students", "--format=csv", f"--out={out}")
        with (
            psycopg.connect(url) as database,
            ProjectProcess("manage.py", *arguments, database_url=url) as process,
        ):
            wait_until(lambda: _size_of_part(out), "the export is under way")
            database.execute("LOCK TABLE tutoring_student")  # it waits for its next rows
            wait_until(lambda: _waits_for_lock(url), "it waits")
            if isinstance(end, signal.Signals):
                process.popen.send_signal(end)
            else:
                _terminate(url, database.info.backend_pid)
            code = process.popen.wait(PATIENCE)
        assert out.read_text() == "old"
        assert code == {signal.SIGINT: 130, "database": 1}.get(end, -int(end) if isinstance(end, int) else 0)
        if end in (signal.SIGINT, "database"):
            assert _size_of_part(out) == 0
            assert "no file was written" in process.log().lower() and "Traceback" not in process.log()


def _fill(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(INSERT_STUDENTS)


def _size_of_part(out: Path) -> int:
    return sum(path.stat().st_size for path in out.parent.glob("*.part"))


def _waits_for_lock(url: str) -> bool:
    with psycopg.connect(url, autocommit=True) as database:
        found = database.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchone()
    return bool(found and found[0])


def _terminate(url: str, spared: int) -> None:
    with psycopg.connect(url, autocommit=True) as database:
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid NOT IN (pg_backend_pid(), %s)",
            [spared],
        )

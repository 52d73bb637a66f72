"""The commands that work records off, send dead letters through again and bring derived fields up to date."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import connection, transaction

from enrichment import tasks
from enrichment.held import bulk_actions
from enrichment.models import BulkAction, HeldRecord
from ingestion.models import Delivery, Upload
from tests.commands import run
from tests.files import csv_of
from tests.people import browser_of, person
from tests.records import counts, deliver, send, stored
from tests.servers import PATIENCE, ProjectProcess, manage, wait_until
from tests.workers import database_url
from tutoring.models import Tutor
from tutoring.tests.factories import student, tutor

pytestmark = pytest.mark.django_db(transaction=True)


class TestEnrichPending:
    def test_it_ends_with_the_counts(self) -> None:
        deliver("tutors", tutor(), tutor(email="nobody"), keep_invalid=True)
        expected = {"processed": 2, "inserted": 1, "updated": 0, "stale": 0, "held": 1, "skipped": 0}
        assert json.loads(run("enrich_pending", "--json")) == expected
        assert run("enrich_pending") == "Processed 0 records: 0 inserted, 0 updated, 0 stale, 0 held, 0 skipped.\n"

    def test_it_works_on_one_stream_and_about_so_many_records(self) -> None:
        for i in range(4):
            deliver("tutors", *(tutor(tutor_id=f"t{i}{j}") for j in range(10)))
        deliver("students", student())
        run("enrich_pending", "--stream", "tutors", "--limit", "15", "--batch-size", "10")
        assert Tutor.objects.count() == 20
        assert not stored("students", student()["student_id"])

    def test_it_does_not_heed_pauses(self) -> None:
        delivery = deliver("tutors", tutor())
        Delivery.objects.update(retry_at="2099-01-01T00:00:00Z")
        run("enrich_pending")
        assert counts(delivery) == {"inserted": 1}

    def test_it_waits_for_what_another_process_has_died_with(self) -> None:
        delivery = deliver("tutors", tutor())
        Delivery.objects.claim("tutors", 1)
        manage("enrich_pending", database_url=database_url(), CLAIM_LEASE="1")
        assert counts(delivery) == {"inserted": 1}

    def test_ctrl_c_ends_it_with_130_and_keeps_the_rest_pending(self) -> None:
        delivery, other = deliver("tutors", tutor()), student()
        (claimed,) = Delivery.objects.claim("tutors", 1)  # in hand elsewhere: it waits
        deliver("students", other)
        with ProjectProcess("manage.py", "enrich_pending", database_url=database_url()) as process:
            wait_until(lambda: stored("students", other["student_id"]), "it works and then waits")
            process.popen.send_signal(signal.SIGINT)
            assert process.popen.wait(PATIENCE) == 130, process.log()
        assert Delivery.objects.release([claimed]) == 1
        assert counts(delivery) == {"pending": 1}

    @pytest.mark.postgresql
    def test_a_second_ctrl_c_ends_it_in_the_middle_of_a_query(self) -> None:
        send("tutors", tutor())
        delivery = deliver("tutors", tutor(name="Newer"))
        with (
            ProjectProcess("manage.py", "enrich_pending", database_url=database_url()) as process,
            transaction.atomic(),
        ):
            Tutor.objects.select_for_update().get()
            wait_until(_somebody_waits_for_a_lock, "it is in the middle of its upsert")
            process.popen.send_signal(signal.SIGINT)
            wait_until(lambda: "Stopping after this round" in process.log(), "it has heard the first")
            process.popen.send_signal(signal.SIGINT)
            assert process.popen.wait(PATIENCE) == 130, process.log()
        delivery.refresh_from_db()
        assert (delivery.started_at, delivery.pending) == (None, 1)

    def test_a_database_that_fails_is_exit_code_1(self) -> None:
        url = "postgres://nobody:x@127.0.0.1:1/none"
        done = manage("enrich_pending", database_url=url, check=False)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
        assert "The database failed" in done.stderr

    @pytest.mark.parametrize("option", ["--limit", "--batch-size"])
    def test_it_refuses_senseless_numbers(self, option: str) -> None:
        with pytest.raises(CommandError, match="at least 1"):
            run("enrich_pending", option, "0")


def _somebody_waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_stat_clear_snapshot(), count(*) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        return bool(cursor.fetchone()[1])


class TestReprocess:
    @pytest.fixture(autouse=True)
    def dead(self) -> None:
        send("tutors", tutor(email="nobody"), keep_invalid=True)
        send("students", student(age=1), keep_invalid=True)

    def test_it_sends_dead_letters_through_again(self) -> None:
        assert "2 dead letters requeued." in run("reprocess")
        assert BulkAction.objects.get().count == 2
        run("enrich_pending")
        assert [held.attempts for held in HeldRecord.objects.all()] == [2, 2]

    @pytest.mark.parametrize(
        ("options", "number"),
        [
            (["--stream", "tutors"], 1),
            (["--code", "invalid"], 2),
            (["--code", "conflict"], 0),
            (["--since", "2020-01-01"], 2),
            (["--since", "2099-01-01T00:00:00Z"], 0),
        ],
    )
    def test_it_chooses(self, options: list[str], number: int) -> None:
        assert run("reprocess", "--dry-run", *options).startswith(f"{number} ")
        assert not BulkAction.objects.exists()

    @pytest.mark.parametrize("since", ["yesterday", "2025-02-30", "2025-13-01T00:00:00"])
    def test_it_refuses_what_is_no_time(self, since: str) -> None:
        with pytest.raises(CommandError, match="ISO 8601"):
            run("reprocess", "--since", since)

    def test_it_says_so_when_nobody_will_work_them_off(self) -> None:
        assert "enrich_pending" in run("reprocess")

    def test_it_tells_how_many_of_what_before_it_begins(self) -> None:
        told = run("reprocess", "--stream", "tutors").splitlines()
        pk = BulkAction.objects.get().pk
        assert told[0] == f"Bulk action {pk}: dead letters of tutors, 1 in total."
        assert told[1] == f"Bulk action {pk}: 1 dead letters requeued."

    def test_ctrl_c_leaves_the_rest_to_the_workers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def press(*args: Any) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(bulk_actions, "run_next_step", press)
            with pytest.raises(CommandError, match="the workers continue bulk action") as stopped:
                run("reprocess")
        assert stopped.value.returncode == 130
        tasks.drain(60)
        assert BulkAction.objects.get().count == 2


class TestIngestFile:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        rows = [tutor(tutor_id="T-1"), tutor(tutor_id="T-2", age=7), tutor(tutor_id="", age=8)]
        path = tmp_path / "t.csv"
        path.write_bytes(csv_of([{**row, "Shoe": 42} for row in rows]))
        return path

    def test_it_ends_with_where_the_upload_is(self, file: Path) -> None:
        printed = run("ingest_file", str(file), "--stream=tutors")
        page = f"/admin/ingestion/upload/{Upload.objects.get().pk}/change/"
        assert "3 rows imported" in printed and page in printed
        assert browser_of(person("viewer")).get(page).status_code == 200

    def test_a_dry_run_is_in_plain_words(self, file: Path) -> None:
        printed = run("ingest_file", str(file), "--stream=tutors", "--dry-run")
        for told in (
            "Column tutor_id → field tutor_id\n",
            "Column Shoe is not mapped\n",
            "Of 3 rows 1 would be stored (1 inserted, 0 updated), ",
            " 2 would be rejected. Nothing was imported.\n",
            "2 × age: must be at least 18: row 3 (7), row 4 (8)\n",
        ):
            assert told in printed
        assert not Upload.objects.exists()

    def test_a_file_that_cannot_be_read_is_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(CommandError, match=r"^File not found: .*none\.csv$"):
            run("ingest_file", str(tmp_path / "none.csv"), "--stream=tutors")
        with pytest.raises(CommandError, match=r" has no files\.$"):
            run("ingest_file", str(tmp_path), "--stream=tutors")


class TestRefreshDerived:
    def test_it_brings_back_what_the_rules_say_now(self) -> None:
        send("tutors", tutor())
        right: Any = stored("tutors", tutor()["tutor_id"])
        Tutor.objects.update(tenure_days=7, experience_level="junior", warnings=["old"])
        assert "tutors: 0 rows" in run("refresh_derived", "--stream", "tutors")
        assert "tutors: 1 rows" in run("refresh_derived", "--stream", "tutors", "--all")
        fresh = stored("tutors", right.pk)
        assert (fresh.tenure_days, fresh.experience_level, fresh.warnings) == (
            right.tenure_days,
            right.experience_level,
            right.warnings,
        )

    def test_help_is_there_for_every_command(self) -> None:
        for command in ("enrich_pending", "reprocess", "refresh_derived", "qcluster"):
            assert command in manage(command, "--help", database_url=database_url()).stdout

"""manage.py enrich_music: one command from plays to places, against the stand-ins."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from django.core.management import CommandError, call_command

from enrichment.lookups.models import Lookup
from ingestion.models import Upload
from music.models import Listen
from music.parquet.plays import SCHEMA
from music.parquet.tables import TABLES
from music.tests.service import (
    AREAS,
    BRISTOL,
    Services,
    album_at_spotify,
    artist,
    at_spotify,
    band,
    play,
    services,
    spotify_id,
)
from standins import spotify
from standins.musicbrainz import MusicBrainz
from standins.server import Fault, error
from tests.records import send
from tests.servers import PATIENCE, ROOT, Process, wait_until
from tests.workers import database_url

pytestmark = pytest.mark.django_db(transaction=True)
OFF: dict[str, Any] = {"SPOTIFY_CLIENT_ID": "", "MUSICBRAINZ_CONTACT": "", "OPENWEATHER_API_KEY": ""}


def enrich(*options: str, code: int = 0) -> dict[str, Any]:
    """The result that the command prints."""
    output, errors = io.StringIO(), io.StringIO()
    returned = 0
    try:
        call_command("enrich_music", *options, "--json", stdout=output, stderr=errors)
    except CommandError as failure:
        returned = failure.returncode
        errors.write(str(failure))
    assert returned == code, errors.getvalue()
    found: dict[str, Any] = json.loads(output.getvalue())
    return found


def known(number: int, area: str = "") -> dict[str, Any]:
    """So many artists, from there, each with an album. (Cities are read from a file, which takes seconds.)"""
    numbers = range(1, number + 1)
    bands = [band(each, area=area) for each in numbers]
    return {
        "of_spotify": spotify.Spotify([*map(at_spotify, numbers), *map(album_at_spotify, numbers)]),
        "of_musicbrainz": MusicBrainz(bands, areas=AREAS),
    }


def tracks_played(folder: Path, *plays: Mapping[str, Any]) -> None:
    """Written as others do: without a word of who wrote it."""
    path = folder / "tracks_played" / "part-0.parquet"
    path.parent.mkdir(parents=True)
    rows = [{name: each.get(name) for name in SCHEMA} for each in plays]
    frame = pl.DataFrame(rows, schema={**SCHEMA, "played_at": pl.String()})
    frame.with_columns(pl.col("played_at").str.to_datetime(time_zone="UTC", time_unit="us")).write_parquet(path)


def of_status(result: Mapping[str, Any]) -> dict[str, str]:
    return {name: each["status"] for name, each in result["processor_results"].items()}


class TestAll:
    def test_one_command_from_plays_to_places_and_tables(self, tmp_path: Path) -> None:
        tracks_played(tmp_path, *(play(number) for number in (1, 2)), play(3, artist_id=None, album_id=None))
        with services(**known(2, BRISTOL)) as there:
            result = enrich(f"--data-path={tmp_path}")
            requests = len(there.paths("musicbrainz"))
            again = enrich(f"--data-path={tmp_path}")
            assert len(there.paths("musicbrainz")) == requests
        assert result["pipeline_info"]["overall_status"] == again["summary"]["status"] == "success"
        assert result["pipeline_info"]["processors_completed"] == ["spotify", "musicbrainz", "geographic"]
        assert result["prerequisites"]["tracks_played_info"] == {"record_count": 3}
        assert (result["summary"]["artists_found"], result["summary"]["artists_with_country"]) == (2, 2)
        assert result["processor_results"]["geographic"]["found"] == len(AREAS)
        assert (Listen.objects.count(), Upload.objects.count()) == (3, 1)
        tables = {table.name: pl.read_parquet(tmp_path / table.name / "*.parquet") for table in TABLES}
        assert [path.name for path in (tmp_path / "tracks_played").iterdir()] == ["part-0.parquet"]
        assert tables["cities_with_lat_long"].rows() == [("Bristol", "ENG", "GB", "Bristol,GB", "51.45523", "-2.59665")]
        assert tables["mbz_artist_info"]["area_id"].to_list() == [BRISTOL, BRISTOL]
        assert tables["spotify_albums"]["album_name"].to_list() == ["Album 1", "Album 2"]
        assert tables["mbz_artist_not_found"]["artist"].to_list() == ["Artist 3"]
        status = enrich("--status-only", f"--data-path={tmp_path}")["tables"]
        assert {name: each["record_count"] for name, each in status.items()} == {
            name: table.height for name, table in tables.items()
        }
        assert enrich("--status-only")["tables"]["mbz_area_hierarchy"]["record_count"] == 3

    def test_without_credentials_and_plays_there_is_nothing_to_do(self, tmp_path: Path) -> None:
        with services(**OFF):
            result = enrich(f"--data-path={tmp_path}")
            assert result["prerequisites"]["tracks_played_exists"] is False
            assert of_status(result) == {"spotify": "skipped", "musicbrainz": "skipped", "geographic": "completed"}
            assert result["processor_results"]["musicbrainz"]["reason"] == "MUSICBRAINZ_CONTACT is not set."
            assert result["summary"]["status"] == "success"
            assert enrich("--processors", "spotify", "musicbrainz")["summary"]["processors_completed"] == 0
            status = enrich("--status-only", f"--data-path={tmp_path}")["tables"]
        assert [name for name, each in status.items() if not each["exists"]] == ["tracks_played"]
        assert {name: each["columns"] for name, each in status.items() if each["exists"]} == {
            table.name: table.schema.names() for table in TABLES[1:]
        }

    def test_a_limit_and_the_processors_wanted(self) -> None:
        with services(**known(3)) as there:
            send("listens", play(1), play(2, 1), play(3, 2), play(3, 3))
            result = enrich("--processors", "musicbrainz", "--limit", "4")
            assert (list(result["processor_results"]), there.paths("spotify")) == (["musicbrainz"], [])
            assert result["processor_results"]["musicbrainz"]["found"] == 4
            assert artist(f"spotify-{spotify_id(3)}").mbid  # the most played first


class TestTrouble:
    def test_a_service_that_wants_a_day_of_peace_is_no_failure(self) -> None:
        with services(**known(2)) as there:
            there.spotify.fail(Fault(spotify.QUOTA_EXCEEDED), times=None, when=lambda request: "/v1/" in request.path)
            send("listens", play(1), play(2, 1))
            result = enrich()
        assert of_status(result) == {"spotify": "waiting", "musicbrainz": "completed", "geographic": "completed"}
        assert result["summary"]["status"] == "partial_success"
        assert result["processor_results"]["spotify"]["paused_until"] > result["pipeline_info"]["end_time"]
        assert result["processor_results"]["spotify"]["waiting"] == 4

    @pytest.mark.parametrize("skip", [False, True])
    def test_a_refused_key_is_a_failure(self, skip: bool) -> None:
        with services(**known(1), SPOTIFY_CLIENT_SECRET="wrong"):
            send("listens", play(1))
            result = enrich(*(["--skip-on-error"] if skip else []), code=0 if skip else 1)
        assert of_status(result) == {"spotify": "failed"} | (
            {"musicbrainz": "completed", "geographic": "completed"} if skip else {}
        )
        assert result["pipeline_info"]["processors_failed"] == ["spotify"]
        assert result["summary"]["status"] == ("partial_success" if skip else "failed")

    def test_a_service_that_stumbles_is_asked_again(self) -> None:
        with services(**known(1)) as there:
            there.musicbrainz.fail(error(503))
            send("listens", play(1))
            result = enrich()
        assert result["summary"]["status"] == "success"
        assert result["processor_results"]["musicbrainz"]["requests"] == 3

    def test_parquet_of_others_is_refused_before_anything_is_asked(self, tmp_path: Path) -> None:
        (tmp_path / "mbz_artist_info").mkdir()
        pl.DataFrame({"id": ["x"]}).write_parquet(tmp_path / "mbz_artist_info" / "x.parquet")
        with services(**known(1)) as there:
            send("listens", play(1))
            result = enrich(f"--data-path={tmp_path}", code=1)
            assert there.paths("musicbrainz") == []
        assert "mbz_artist_info has Parquet of others" in result["summary"]["error"]

    def test_plays_that_were_read_from_there_are_not_overwritten(self, tmp_path: Path) -> None:
        with services(**OFF):
            send("listens", play(1))
            call_command("export_music", f"--data-path={tmp_path}", stdout=io.StringIO())
            assert enrich(f"--data-path={tmp_path}")["summary"]["status"] == "success"
            with pytest.raises(CommandError, match="tracks_played holds the plays that were read"):
                call_command("export_music", f"--data-path={tmp_path}")

    def test_a_file_that_is_no_parquet_is_a_failure(self, tmp_path: Path) -> None:
        (tmp_path / "tracks_played").mkdir()
        (tmp_path / "tracks_played" / "x.parquet").write_bytes(b"PAR1 and no more")
        with services(**OFF):
            result = enrich(f"--data-path={tmp_path}", code=1)
        assert result["summary"]["status"] == "failed"
        assert result["summary"]["error"].startswith("tracks_played/x.parquet: The Parquet file is truncated")

    def test_a_file_with_a_wrong_column_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "tracks_played" / "wrong.parquet"
        path.parent.mkdir()
        pl.DataFrame({"user_id": ["ada"], "nobody_knows": ["x"]}).write_parquet(path)
        with services(**OFF):
            result = enrich(f"--data-path={tmp_path}", code=1)
        error = result["summary"]["error"]
        assert "tracks_played/wrong.parquet" in error and "lacks required columns of listens: played_at" in error

    def test_a_folder_that_is_not_there_is_a_failure(self, tmp_path: Path) -> None:
        folder = tmp_path / "nowhere"
        with services(**OFF):
            result = enrich(f"--data-path={folder}", code=1)
            status = enrich("--status-only", f"--data-path={folder}", code=1)
        assert result["summary"]["status"] == "failed"
        assert result["summary"]["error"] == status["error"] == f"{folder} is not a folder."

    def test_what_has_been_done_already_is_no_advice(self) -> None:
        with services(**known(1), SPOTIFY_CLIENT_SECRET="wrong"):
            send("listens", play(1))
            for options, advice in (([], "A processor failed. (--skip"), (["--skip-on-error"], "A processor failed.")):
                with pytest.raises(CommandError) as failure:
                    call_command("enrich_music", "--processors", "spotify", *options, stdout=io.StringIO())
                assert str(failure.value).startswith(advice)
        assert str(failure.value) == advice


class TestInterruptions:
    @pytest.mark.parametrize("presses", [1, 2])
    def test_stopped_by_ctrl_c_it_says_what_was_done(self, presses: int) -> None:
        """At a terminal: each processor has a bar with the time left, and nothing is red."""
        send("listens", *(play(number, number) for number in range(1, 30)))
        main, side = pty.openpty()
        with services(**known(29), SPOTIFY_CLIENT_ID="") as there, os.fdopen(main, "rb", 0) as terminal:
            process = subprocess.Popen(
                (sys.executable, "manage.py", "enrich_music", "--processors", "spotify", "musicbrainz", "--json"),
                cwd=ROOT,
                env=os.environ | _environment(there) | {"SPOTIFY_CLIENT_ID": ""},
                stdout=subprocess.PIPE,
                stderr=side,
            )
            os.close(side)
            wait_until(lambda: len(there.paths("musicbrainz")) > 9, "it asks MusicBrainz")
            for _ in range(presses):
                process.send_signal(signal.SIGINT)
                time.sleep(0.2)
            output, _ = process.communicate(timeout=PATIENCE)
            shown = terminal.read(100_000).decode()
        assert process.returncode == 2, shown
        result = json.loads(output)
        assert result["pipeline_info"]["overall_status"] == result["summary"]["status"] == "failed"
        assert result["summary"]["plays"] == 29
        assert "spotify: skipped" in shown and "\x1b[31" not in shown.partition("Stopped. All")[0]
        assert re.search(r"musicbrainz: +\d+%.* \d+/\d+ \[\d\d:\d\d<\d\d:\d\d", shown), shown
        if presses == 1:
            assert of_status(result) == {"spotify": "skipped", "musicbrainz": "waiting"}
            assert result["processor_results"]["musicbrainz"]["found"] > 0

    def test_stopped_and_killed_in_the_middle_it_goes_on_and_asks_nothing_twice(self, tmp_path: Path) -> None:
        whole, parts = tmp_path / "whole", tmp_path / "parts"
        for folder in (whole, parts):
            tracks_played(folder, *(play(number, number) for number in range(1, 9)))
        options = ("--processors", "musicbrainz", "--data-path")
        with services(**known(8, BRISTOL), SPOTIFY_CLIENT_ID="") as there:
            enrich(*options, str(whole))
            call_command("flush", interactive=False)
            answered: set[str] = set()
            for number, code in ((signal.SIGINT, 2), (signal.SIGKILL, -signal.SIGKILL), (None, 0)):
                there.musicbrainz.forget()
                command = (sys.executable, "manage.py", "enrich_music", *options, str(parts))
                with Process(command, _environment(there)) as process:
                    if number:
                        wait_until(lambda: len(there.paths("musicbrainz")) > 3, "it asks MusicBrainz")
                        process.popen.send_signal(number)
                    assert process.popen.wait(PATIENCE) == code, process.log()
                assert not answered & set(there.paths("musicbrainz"))
                answered = _answered()
        assert len(answered) == 8 + len(AREAS)
        for table in TABLES:
            left, right = (pl.read_parquet(folder / table.name / "*.parquet") for folder in (whole, parts))
            assert left.drop("last_modified", strict=False).equals(right.drop("last_modified", strict=False)), (
                table.name
            )


def _environment(there: Services) -> dict[str, str]:
    """Slow enough to be interrupted, and with claims that expire soon."""
    return {
        "DATABASE_URL": database_url(),
        "CLAIM_LEASE": "2",
        "MUSICBRAINZ_CONTACT": "music@example.org",
        "MUSICBRAINZ_URL": there.musicbrainz.url,
        "MUSICBRAINZ_RATE": "10/1",
    }


def _answered() -> set[str]:
    """The addresses of the artists and areas that MusicBrainz has been asked for, and whose answers are stored."""
    rows = Lookup.objects.filter(provider="musicbrainz", status="found").exclude(kind="url")
    return {f"/ws/2/{kind}/{key}" for kind, key in rows.values_list("kind", "key")}

"""manage.py export_music: the tables that dbt and DuckDB read, always whole, and nothing of others replaced."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from django.core.management import CommandError

from enrichment.lookups.models import Lookup
from ingestion.models import Upload
from music.models import Album, Area, Artist, City, Listen, Match, MusicBrainzArtist, SpotifyArtist
from music.parquet.export import WrongRows, checked
from music.parquet.tables import Table
from tests.commands import run
from tests.servers import ROOT
from tests.workers import database_url

pytestmark = pytest.mark.django_db(transaction=True)

NOW = datetime(2026, 1, 4, 2, 55, 58, 123000, tzinfo=UTC)
IDS = [f"{name:0<22}" for name in ("one", "two", "various", "lost")]
MBID, NOBODY, OLD = (f"{number}" * 8 + "-0000-0000-0000-000000000000" for number in "123")
BRISTOL, ENGLAND, UK, PORTLAND, NEWPORT, OTHER_NEWPORT = (f"area-{number}" for number in range(6))
LEVELS = ("city", "country", "county", "district", "island", "municipality", "subdivision", "unknown")
COLUMNS = {
    "tracks_played": "user_id track_id track_uri track_isrc track_name album_id album_uri album artist_id artist_mbid"
    " artist duration_ms:i played_at:u popularity:i request_cursor play_source",
    "spotify_artists": "artist_id artist_name artist_mbid artist_popularity:f",
    "spotify_albums": "album_id album_type artist_id artist_name artist_type label album_name release_date"
    " release_date_precision genres:l popularity:i total_tracks:i last_modified:t",
    "spotify_artist_genre": "artist_id artist_name genre",
    "spotify_album_genre": "album_id album_name genre",
    "mbz_artist_info": "id type name sort_name gender country disambiguation area_id area_name area_sort_name"
    " area_disambiguation area_life_span_begin begin_area_id begin_area_name begin_area_sort_name"
    " begin_area_disambiguation begin_area_life_span_begin end_area_id end_area_name end_area_sort_name"
    " end_area_disambiguation life_span_begin life_span_end life_span_ended ipi alias_count release_group_count"
    " tag_list spotify_id source_file",
    "mbz_artist_genre": "artist_mbid artist_spotify_id artist_name mbz_genre count_genre_tags:i",
    "mbz_artist_not_found": "artist_id artist track_isrc reason failed_at",
    "mbz_area_hierarchy": "area_id area_type area_name area_sort_name "
    + " ".join(f"{level}_id {level}_name {level}_sort_name" for level in LEVELS)
    + " continent country_code continent_code state_code params",
    "cities_with_lat_long": "city_name state_code country_code params lat long",
}
TYPES: Mapping[str, Any] = {
    "": pl.String(),
    "i": pl.Int64(),
    "f": pl.Float32(),
    "l": pl.List(pl.String),
    "t": pl.Datetime("us"),
    "u": pl.Datetime("us", "UTC"),
}


def listen(number: int, **fields: Any) -> None:
    played_at = NOW + timedelta(minutes=number)
    values = {
        "listen_id": f"{played_at:%Y%m%dT%H%M%S%f}-{number:016x}",
        "user_id": "ada",
        "played_at": played_at,
        "track_id": f"track{number}",
        "track_name": f"Track {number}",
        "hour": 2,
        "weekday": 6,
        "is_skip": False,
        "track_key": f"{number:016x}",
        "version_at": NOW,
        "delivery": 1,
        "position": number,
        "warnings": [],
    }
    Listen.objects.create(**values | fields)


def area(area_id: str, name: str, type: str, **fields: Any) -> None:
    Area.objects.create(area_id=area_id, name=name, sort_name=name, type=type, kept={}, is_complete=True, **fields)


def level(area_id: str, name: str) -> dict[str, str]:
    return {"id": area_id, "name": name, "sort_name": name}


@pytest.fixture
def known() -> None:
    """Two artists of Spotify who are one at MusicBrainz, one that is nobody, one not found, one without any id."""
    for key, name, fields in (
        (f"spotify-{IDS[0]}", "One", {"spotify_ids": [IDS[0]], "match": Match.FOUND, "mbid": MBID, "plays": 5}),
        (f"spotify-{IDS[1]}", "One!", {"spotify_ids": [IDS[1]], "match": Match.FOUND, "mbid": MBID}),
        (f"spotify-{IDS[2]}", "Various Artists", {"spotify_ids": [IDS[2]], "match": Match.NOBODY}),
        (f"spotify-{IDS[3]}", "Lost", {"spotify_ids": [IDS[3]], "match": Match.NOT_FOUND}),
        (f"mbid-{OLD}", "One", {"given_mbid": OLD, "match": Match.FOUND, "mbid": MBID}),
        ("name-0", "Two of a name", {"match": Match.AMBIGUOUS}),
    ):
        Artist.objects.create(artist_key=key, name=name, **fields)
    SpotifyArtist.objects.create(
        spotify_id=IDS[0], name="One", genres=["trip hop", "trip hop"], popularity=60, fetched_at=NOW
    )
    SpotifyArtist.objects.create(spotify_id=IDS[2], name="Various Artists", popularity=None, fetched_at=NOW)
    SpotifyArtist.objects.create(spotify_id=IDS[3])
    Album.objects.create(
        album_id="album",
        name="An album",
        album_name="An album",
        artist_id=IDS[0],
        release_date="1998-04-20",
        genres=["dub"],
        total_tracks=11,
        fetched_at=NOW,
    )
    Album.objects.create(album_id="not-described", name="Another")
    MusicBrainzArtist.objects.create(
        mbid=MBID,
        name="One",
        sort_name="One",
        country="GB",
        area={**level(UK, "United Kingdom"), "disambiguation": "", "begin": ""},
        begin_area=level(BRISTOL, "Bristol"),
        begin="1988",
        aliases=["Uno"],
        genres=[{"name": "trip hop", "count": 7}],
        tags=[{"name": "trip hop", "count": 7}],
        fetched_at=NOW,
    )
    Lookup.objects.create(
        provider="musicbrainz",
        kind="match",
        key=f"spotify-{IDS[3]}",
        question={"isrcs": ["GBAAA0000001"]},
        status="not_found",
        answered_at=NOW,
    )
    bristol = City.objects.create(
        geoname_id=1,
        name="Bristol",
        folded_name="bristol",
        country_code="GB",
        latitude=51.45523,
        longitude=-2.59665,
        population=617280,
    )
    gb = {"country_code": "GB", "continent_code": "EU", "state_code": "ENG"}
    above = {"country": level(UK, "United Kingdom"), "subdivision": level(ENGLAND, "England")}
    area(UK, "United Kingdom", "Country", levels={"country": above["country"]}, country_code="GB", continent_code="EU")
    area(
        BRISTOL,
        "Bristol",
        "City",
        levels={**above, "city": level(BRISTOL, "Bristol")},
        params="Bristol,GB",
        **gb,
        city=bristol,
        place="found",
        precision="city",
        latitude=51.45523,
        longitude=-2.59665,
    )
    area(
        "district",
        "Clifton",
        "District",
        levels={**above, "city": level(BRISTOL, "Bristol"), "district": level("district", "Clifton")},
        params="Bristol,GB",
        **gb,
        place="found",
        precision="district",
        latitude=51.4,
        longitude=-2.6,
    )
    area(
        PORTLAND,
        "Portland",
        "City",
        levels={"city": level(PORTLAND, "Portland")},
        params="Portland,OR,US",
        country_code="US",
        continent_code="NA",
        state_code="OR",
        place="found",
        precision="city",
        latitude=45.52,
        longitude=-122.68,
    )
    for area_id, state, population, latitude in ((NEWPORT, "WLS", 117326, 51.58), (OTHER_NEWPORT, "ENG", 25496, 50.7)):
        city = City.objects.create(
            geoname_id=population,
            name="Newport",
            folded_name="newport",
            country_code="GB",
            latitude=latitude,
            longitude=-2,
            population=population,
        )
        area(
            area_id,
            "Newport",
            "City",
            levels={"city": level(area_id, "Newport")},
            params="Newport,GB",
            city=city,
            place="found",
            precision="city",
            latitude=latitude,
            longitude=-2.0,
            **gb | {"state_code": state},
        )
    Area.objects.create(area_id="not asked yet")
    listen(0, artist="One", artist_id=IDS[0], artist_key=f"spotify-{IDS[0]}", album_id="album", duration_ms=60_000)
    listen(1, artist="Various Artists", artist_id=IDS[2], artist_mbid=NOBODY, artist_key=f"spotify-{IDS[2]}")
    listen(2, artist="One", artist_mbid=OLD, artist_key=f"mbid-{OLD}", track_id=None)
    listen(3, track_id=None, artist_key="")
    listen(4, artist="One", artist_id=IDS[0], artist_key=f"spotify-{IDS[0]}", duplicate_of="another")


def exported(folder: Path) -> dict[str, pl.DataFrame]:
    run("export_music", f"--data-path={folder}")
    return {name: pl.read_parquet(folder / name / "*.parquet") for name in COLUMNS}


def star(folder: Path) -> duckdb.DuckDBPyConnection:
    database = duckdb.connect()
    script = (Path(__file__).parent / "star.sql").read_text()
    database.execute(script.format(folder=folder))
    return database


class TestTables:
    @pytest.mark.parametrize("is_empty", [True, False])
    def test_all_are_there_with_all_columns(
        self, tmp_path: Path, is_empty: bool, request: pytest.FixtureRequest
    ) -> None:
        if not is_empty:
            request.getfixturevalue("known")
        tables = exported(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(COLUMNS)
        for name, columns in COLUMNS.items():
            expected = {column.partition(":")[0]: TYPES[column.partition(":")[2]] for column in columns.split()}
            assert dict(tables[name].schema) == expected, name
            assert list(tables[name].columns) == list(expected), name
            assert tables[name].is_empty() == is_empty, name
            assert [path.name for path in (tmp_path / name).iterdir()] == [f"{name}.parquet"]

    @pytest.mark.usefixtures("known")
    def test_plays_have_the_mbid_of_who_was_found(self, tmp_path: Path) -> None:
        plays = exported(tmp_path)["tracks_played"]
        assert plays["artist_mbid"].to_list() == [MBID, None, MBID, None]
        assert plays["played_at"][0] == NOW
        assert plays["duration_ms"].to_list() == [60_000, None, None, None]

    @pytest.mark.usefixtures("known")
    def test_an_artist_has_a_row_for_each_id_at_spotify(self, tmp_path: Path) -> None:
        tables = exported(tmp_path)
        info = tables["mbz_artist_info"]
        assert info.select("id", "spotify_id").rows() == [(MBID, IDS[0]), (MBID, IDS[1])]
        assert (
            info.row(0, named=True).items()
            >= {
                "area_id": UK,
                "begin_area_id": BRISTOL,
                "end_area_id": None,
                "life_span_begin": "1988",
                "life_span_ended": "false",
                "alias_count": "1",
                "tag_list": '[{"name": "trip hop", "count": 7}]',
                "gender": None,
            }.items()
        )
        assert tables["mbz_artist_genre"].rows() == [(MBID, IDS[0], "One", "trip hop", 7)]
        assert tables["spotify_artists"].rows() == [
            (IDS[0], "One", MBID, 60.0),
            (IDS[2], "Various Artists", None, None),
        ]
        assert tables["spotify_artist_genre"].rows() == [(IDS[0], "One", "trip hop")]
        assert tables["spotify_albums"].select("album_id", "genres", "last_modified").rows() == [
            ("album", ["dub"], NOW.replace(tzinfo=None))
        ]

    @pytest.mark.usefixtures("known")
    def test_who_was_not_found_is_listed_with_the_reason(self, tmp_path: Path) -> None:
        missing = exported(tmp_path)["mbz_artist_not_found"]
        assert missing.select("artist_id", "artist", "track_isrc").rows() == [
            ("name-0", "Two of a name", ""),
            (IDS[3], "Lost", "GBAAA0000001"),
        ]
        assert missing["failed_at"][1] == NOW.isoformat()

    @pytest.mark.usefixtures("known")
    def test_each_city_is_there_once_and_no_two_share_their_params(self, tmp_path: Path) -> None:
        tables = exported(tmp_path)
        assert tables["cities_with_lat_long"].rows() == [
            ("Bristol", "ENG", "GB", "Bristol,GB", "51.45523", "-2.59665"),
            ("Newport", "ENG", "GB", "Newport,ENG,GB", "50.7", "-2.0"),
            ("Newport", "WLS", "GB", "Newport,GB", "51.58", "-2.0"),
            ("Portland", "OR", "US", "Portland,OR,US", "45.52", "-122.68"),
        ]
        params = dict(tables["mbz_area_hierarchy"].select("area_id", "params").rows())
        assert params == {
            UK: None,
            BRISTOL: "Bristol,GB",
            "district": "Bristol,GB",
            PORTLAND: "Portland,OR,US",
            NEWPORT: "Newport,GB",
            OTHER_NEWPORT: "Newport,ENG,GB",
        }

    def test_the_areas_of_one_city_share_its_params(self, tmp_path: Path) -> None:
        hong_kong, singapore = (
            {"latitude": 22.28, "longitude": 114.17},
            {"latitude": 1.28967, "longitude": 103.9},
        )
        for code, name, point in (("HK", "Hong Kong", hong_kong), ("SG", "Singapore", singapore)):
            country, city = f"1-{code}", f"2-{code}"
            area(country, name, "Country", country_code=code, precision="city state", place="found", **point)
            of_city = {"levels": {"city": level(city, name)}, "params": f"{name},{code}", "country_code": code}
            is_found = point is hong_kong
            area(city, name, "City", **of_city, **(point | {"place": "found", "precision": "city"} if is_found else {}))
            area(f"3-{code}", "A district", "District", **of_city)
        for state, latitude in (("OR", 45.52), ("ME", 43.66)):
            of_us = {"country_code": "US", "state_code": state, "params": f"Portland,{state},US"}
            us_city = {"city": level(state, "Portland")}
            area(state, "Portland", "City", levels=us_city, **of_us, place="found", latitude=latitude, longitude=-100.0)
        tables = exported(tmp_path)
        assert dict(tables["mbz_area_hierarchy"].select("area_id", "params").rows()) == {
            **{f"{number}-HK": "Hong Kong,HK" for number in (1, 2, 3)},
            **{f"{number}-SG": "Singapore,SG" for number in (1, 2, 3)},
            **{state: f"Portland,{state},US" for state in ("OR", "ME")},
        }
        assert tables["cities_with_lat_long"].select("params", "lat").rows() == [
            ("Hong Kong,HK", "22.28"),
            ("Portland,ME,US", "43.66"),
            ("Portland,OR,US", "45.52"),
            ("Singapore,SG", "1.28967"),
        ]
        places = star(tmp_path).sql("SELECT area_id FROM dim_places WHERE latitude IS NULL").fetchall()
        assert places == []

    @pytest.mark.usefixtures("known")
    def test_a_star_schema_has_every_play_once_and_its_place(self, tmp_path: Path) -> None:
        exported(tmp_path)
        database = star(tmp_path)
        places = database.sql(
            "SELECT track, artist, country_code, city, latitude FROM plays ORDER BY played_at"
        ).fetchall()
        assert places == [
            ("Track 0", "One", "GB", None, None),
            ("Track 1", "Various Artists", None, None, None),
            ("Track 2", "One", "GB", None, None),
            ("Track 3", None, None, None, None),
        ]
        bristol = database.sql(
            "SELECT continent, country, subdivision, city, latitude FROM dim_places WHERE area_id = 'area-0'"
        )
        assert bristol.fetchall() == [("Europe", "United Kingdom", "England", "Bristol", 51.45523)]
        assert database.sql("SELECT year FROM plays WHERE album_id = 'album'").fetchall() == [(1998,)]

    def test_a_star_schema_is_made_of_empty_tables(self, tmp_path: Path) -> None:
        exported(tmp_path)
        assert star(tmp_path).sql("SELECT count(*) FROM plays").fetchall() == [(0,)]


class TestRefusals:
    def test_parquet_of_others_stays(self, tmp_path: Path) -> None:
        exported(tmp_path)
        for number in range(3):
            other = tmp_path / "mbz_artist_info" / f"part-{number}.parquet"
            pl.DataFrame({"id": ["x"]}).write_parquet(other)
        before = digests(tmp_path)
        message = "mbz_artist_info has Parquet of others: part-0.parquet and 2 more. Nothing"
        with pytest.raises(CommandError, match=message) as refusal:
            run("export_music", f"--data-path={tmp_path}")
        assert (refusal.value.returncode, digests(tmp_path)) == (1, before)

    def test_a_file_of_the_right_name_may_be_of_others(self, tmp_path: Path) -> None:
        file = tmp_path / "tracks_played" / "tracks_played.parquet"
        file.parent.mkdir()
        pl.DataFrame({"user_id": ["ada"]}).write_parquet(file)
        with pytest.raises(CommandError, match="tracks_played has Parquet of others"):
            run("export_music", f"--data-path={tmp_path}")
        assert sorted(digests(tmp_path)) == [file]

    @pytest.mark.parametrize("path", ["mbz_artist_info", "mbz_artist_info/mbz_artist_info.parquet/x"])
    def test_what_is_in_the_way_is_found_before_any_table_is_replaced(self, tmp_path: Path, path: str) -> None:
        in_the_way = tmp_path / path
        in_the_way.parent.mkdir(parents=True, exist_ok=True)
        in_the_way.touch()
        with pytest.raises(CommandError, match=r"is (not )?a folder. Nothing was written"):
            run("export_music", f"--data-path={tmp_path}")
        assert list(digests(tmp_path)) == [in_the_way]

    def test_nothing_is_written_through_links_of_others(self, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.write_text("precious")
        (tmp_path / ".tracks_played.part").symlink_to(precious)
        exported(tmp_path)
        assert precious.read_text() == "precious"

    @pytest.mark.parametrize("name", ["tracks_played.parquet", "of_others.parquet"])
    def test_plays_that_were_read_from_there_are_not_overwritten(self, tmp_path: Path, name: str) -> None:
        exported(tmp_path)
        file = tmp_path / "tracks_played" / name
        if name != "tracks_played.parquet":
            pl.DataFrame({"user_id": ["ada"]}).write_parquet(file)
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        Upload.objects.create(
            stream="listens", client="command", name="x", format="csv", size=1, sha256=sha256, columns=[]
        )
        with pytest.raises(CommandError, match="tracks_played holds the plays that were read from there"):
            run("export_music", f"--data-path={tmp_path}")

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(CommandError, match=r"all tables are as before: .*/file"):
            run("export_music", f"--data-path={tmp_path / 'file'}")

    @pytest.mark.parametrize(
        ("frames", "reason"),
        [
            ([{"a": [1], "b": ["x"]}], "columns are"),
            ([{"a": ["1", None], "b": ["x", "y"]}], "has no a"),
            ([{"a": ["1"], "b": ["x"]}, {"a": ["1"], "b": ["x"]}], "the same a, b"),
        ],
    )
    def test_rows_are_checked(self, frames: list[dict[str, Any]], reason: str) -> None:
        schema = pl.Schema({"a": pl.String(), "b": pl.String()})
        table = Table("toys", schema, ("a", "b"), lambda: (pl.DataFrame(frame) for frame in frames))
        with pytest.raises(WrongRows, match=reason):
            list(checked(table))


def digests(folder: Path) -> dict[Path, str]:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


class TestCrashes:
    def test_each_table_is_the_old_one_or_the_new_whatever_step_the_process_is_killed_at(self, tmp_path: Path) -> None:
        folder = tmp_path / "tables"
        run("export_music", f"--data-path={folder}")
        old = digests(folder)
        program = (sys.executable, "-m", "music.tests.killed_export", str(folder))
        output = subprocess.run(
            program,
            cwd=ROOT,
            env=os.environ | {"DATABASE_URL": database_url()},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        states = [line.split() for line in output.splitlines()]
        assert len(states) > 12 and all(state == ["whole"] for state in states[:-1]), output
        assert states[-1] == ["completed"]
        assert sorted(digests(folder)) == sorted(old)

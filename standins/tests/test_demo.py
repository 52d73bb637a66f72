"""The demo's films and export: reproducible, and as real ones are written."""

import csv
import io
import subprocess
import sys
import zipfile
from collections import Counter
from datetime import date
from pathlib import Path

from standins.export import make_export, write_export
from standins.films import FILMS
from tests.servers import ROOT

HEADERS = {
    "watched.csv": "Date,Name,Year,Letterboxd URI",
    "watchlist.csv": "Date,Name,Year,Letterboxd URI",
    "likes/films.csv": "Date,Name,Year,Letterboxd URI",
    "ratings.csv": "Date,Name,Year,Letterboxd URI,Rating",
    "diary.csv": "Date,Name,Year,Letterboxd URI,Rating,Rewatch,Tags,Watched Date",
    "reviews.csv": "Date,Name,Year,Letterboxd URI,Rating,Rewatch,Review,Tags,Watched Date",
}


def rows(path: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(make_export()[path].decode(), newline="")))


def test_headers_are_those_of_real_exports() -> None:
    for path, body in make_export().items():
        name = path.rpartition("/")[2]
        if name in HEADERS and path != "likes/reviews.csv":
            assert body.decode().splitlines()[0] == HEADERS[path if path in HEADERS else name]


def test_the_same_seed_makes_the_same_bytes(tmp_path: Path) -> None:
    one, other = write_export(tmp_path / "1.zip"), write_export(tmp_path / "2.zip")
    assert one.read_bytes() == other.read_bytes()
    assert write_export(tmp_path / "3.zip", seed=8).read_bytes() != one.read_bytes()


def test_every_day_is_in_the_past_of_the_export() -> None:
    day = date(2026, 3, 1)
    bodies = make_export(day=day)
    found = [row for path in HEADERS for row in csv.DictReader(io.StringIO(bodies[path].decode(), newline=""))]
    assert max(row["Date"] for row in found) <= day.isoformat()


def test_cases_of_every_kind_are_in_it() -> None:
    watched, diary = rows("watched.csv"), rows("diary.csv")
    assert 80 <= len(watched) <= 110
    twice = [pair for pair, times in Counter((row["Name"], row["Year"]) for row in watched).items() if times > 1]
    assert sorted(twice) == [("Leo", "2023"), ("Swan Song", "2021"), ("The Haunted Castle", "1897")]
    assert len([row for row in diary if row["Rewatch"] == "Yes"]) >= 5
    assert any("\n" in row["Review"] for row in rows("reviews.csv"))
    assert [row["Year"] for row in rows("watchlist.csv")].count("") == 5
    assert {row["Letterboxd URI"] for row in rows("orphaned/diary.csv")} == {""}
    assert len(rows("likes/films.csv")) >= 10 and rows("deleted/diary.csv") and rows("orphaned/reviews.csv")


def test_links_are_those_of_films_or_of_entries() -> None:
    films = {row["Letterboxd URI"]: row["Name"] for row in rows("watched.csv")}
    assert len(films) == len(rows("watched.csv"))
    assert all(
        films[row["Letterboxd URI"]] == row["Name"] for path in ("ratings.csv", "likes/films.csv") for row in rows(path)
    )
    entries = [row["Letterboxd URI"] for row in rows("diary.csv")]
    assert len(set(entries)) == len(entries) and not set(entries) & set(films)
    assert {row["Letterboxd URI"] for row in rows("reviews.csv")} <= set(entries)


def test_ratings_are_halves() -> None:
    assert {row["Rating"] for row in rows("ratings.csv")} <= {f"{halves / 2:g}" for halves in range(1, 11)}


def test_as_a_command(tmp_path: Path) -> None:
    path = tmp_path / "demo.zip"
    command = [sys.executable, "-m", "standins.export", str(path), "--day", "2025-02-01"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.getinfo("watched.csv").date_time == (2025, 2, 1, 8, 30, 0)


def test_films_of_the_demo_are_no_film_at_tmdb() -> None:
    """Or a database of the demo would have other films once it has a key."""
    assert len(FILMS) >= 80
    assert len({film.id for film in FILMS}) == len(FILMS)
    assert min(film.id for film in FILMS) > 900_000_000
    assert not any(film.poster_path or film.overview for film in FILMS)

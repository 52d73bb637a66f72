"""The demo shows every kind of verdict, and no wrong film."""

import csv
import io
from collections import Counter

from movies.matching import Asked, Verdict, match
from movies.tests.service import Service
from movies.titles import fold
from standins.export import OTHER_TITLES, make_export
from standins.films import FILMS


def matched(path: str) -> list[tuple[dict[str, str], Verdict]]:
    rows = csv.DictReader(io.StringIO(make_export()[path].decode(), newline=""))
    orphaned = path.startswith("orphaned")
    return [(row, match(_asked(row, orphaned), Service(FILMS).asking())) for row in rows]


def _asked(row: dict[str, str], orphaned: bool) -> Asked:
    return Asked(row["Name"], int(row["Year"]) if row["Year"] else None, row["Date"], orphaned=orphaned)


def test_films_that_were_seen() -> None:
    verdicts = matched("watched.csv")
    for row, verdict in verdicts:
        if verdict.status == "found":
            assert fold(OTHER_TITLES.get(verdict.film.title, verdict.film.title)) == fold(row["Name"])
    counts = Counter(verdict.status for _, verdict in verdicts)
    assert counts["found"] > 80
    asked = {row["Name"] for row, verdict in verdicts if verdict.status == "ambiguous"}
    assert asked == {"Leo", "Swan Song", "The Haunted Castle"}
    missing = {row["Name"] for row, verdict in verdicts if verdict.status == "not_found"}
    assert missing == {"The Stanley Parable", "Punch-Drunk Venice", "Some Obscure Movie"}
    series = {row["Name"] for row, verdict in verdicts if verdict.status == "found" and verdict.film.kind == "tv"}
    assert series == {"Chernobyl", "Normal People", "Small Axe"}


def test_films_without_year() -> None:
    results = {row["Name"]: verdict.status for row, verdict in matched("watchlist.csv") if not row["Year"]}
    assert results == {
        "Heat 2": "found",
        "Cleopatra": "found",
        "How Do You Live?": "found",
        "American Psycho": "ambiguous",
        "Untitled Heist Film": "not_found",
    }


def test_films_that_were_dropped() -> None:
    found = [verdict for path in ("orphaned/diary.csv", "orphaned/reviews.csv") for _, verdict in matched(path)]
    assert [verdict.status for verdict in found] == ["found", "ambiguous", "ambiguous"]
    assert found[0].film.kind == "tv"

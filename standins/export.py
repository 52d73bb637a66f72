"""A made-up export of Letterboxd for the demo: the same bytes for the same seed and day.

`python -m standins.export demo.zip`. It holds what real exports hold: namesakes, two films of one title and year,
series, films that are not found or have no year, rewatches, likes, reviews, deleted and orphaned rows. The links are of
a form that Letterboxd does not use, so that none is a real film's.
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TypeAlias

from standins.films import FILMS
from standins.tmdb import Film

Row: TypeAlias = Sequence[str]

FILM = ("Date", "Name", "Year", "Letterboxd URI")
RATING = (*FILM, "Rating")
DIARY = (*RATING, "Rewatch", "Tags", "Watched Date")
REVIEWS = (*RATING, "Rewatch", "Review", "Tags", "Watched Date")
COMMENTS = ("Date", "Content", "Comment")
LIKES = ("Date", "Content")
PROFILE = (
    *("Date Joined", "Username", "Given Name", "Family Name", "Email Address", "Location", "Website", "Bio"),
    *("Pronoun", "Favorite Films"),
)
LIST = ("Position", "Name", "Year", "URL", "Description")

DEFAULT_DAY = date(2025, 6, 30)
DEFAULT_SEED = 7
NOT_THERE = (("The Stanley Parable", 2013), ("Punch-Drunk Venice", 2021), ("Some Obscure Movie", 2019))
"""Watched, and gone from TMDB since."""
OTHER_YEARS = {"The Witch": 2015, "Nomadland": 2020, "Brick": 2005, "Frances Ha": 2012, "Ex Machina": 2014}
"""Of the first showing, as Letterboxd has it."""
OTHER_TITLES = {
    "Ring": "Ringu",
    "Pi": "π",
    "Drunken Master II": "The Legend of Drunken Master",
    "The French Dispatch of the Liberty, Kansas Evening Sun": "The French Dispatch",
}
"""As the export still has it."""
WANTED = ("Flow", "Past Lives", "Solaris", "Come and See", "Ran", "Cléo from 5 to 7", "Persona")
"""On the watchlist, not yet seen."""
WITHOUT_YEAR = ("Heat 2", "Cleopatra", "American Psycho", "Untitled Heist Film", "How Do You Live?")
DROPPED = ("The Promised Neverland", "One-Punch Man", "Her Story")
"""Seen, and gone from Letterboxd since."""
TAGS = ("cinema", "with friends", "at home", "festival", "subtitles")
TEXTS = (
    "Better than I remembered.",
    'The last half hour is "worth it", as everybody says.\n\nThe first half hour is not.',
    "<b>Ten times</b> seen, ten times cried.",
    "Nothing happens, beautifully.",
    "I fell asleep twice; it is not the film’s fault.",
    "Saw it with my father, who talked all the time.\nHe was right, mostly.",
)


@dataclass
class Library:
    """What the person of the export has seen and wants to see. Links are numbered in the order they are asked for."""

    chance: random.Random
    day: date
    rows: dict[str, list[Row]] = field(default_factory=dict)
    links: int = 0

    def add(self, path: str, *cells: object) -> None:
        self.rows.setdefault(path, []).append(["" if cell is None else str(cell) for cell in cells])

    def link(self, kind: str) -> str:
        self.links += 1
        return f"https://boxd.it/demo-{kind}-{self.links:03}"

    def day_before(self, least: int, most: int) -> date:
        return self.day - timedelta(days=self.chance.randint(least, most))


def make_export(seed: int = DEFAULT_SEED, day: date = DEFAULT_DAY) -> dict[str, bytes]:
    """The files of the export by their paths. `day` is when it was made, and the last one in it."""
    library = Library(random.Random(seed), day)  # noqa: S311  # made up, not secret
    for film in _seen():
        _watch(library, OTHER_TITLES.get(film.title, film.title), OTHER_YEARS.get(film.title, int(film.date[:4])), film)
    for title, year in NOT_THERE:
        _watch(library, title, year, None)
    _want(library)
    _dropped(library)
    _not_of_films(library)
    return {path: _file(library, path, header) for path, header in _HEADERS.items()}


def _seen() -> list[Film]:
    unseen = (*WANTED, *WITHOUT_YEAR, *DROPPED, "The Boy and the Heron")
    return [film for film in FILMS if film.date and film.title not in unseen]


def _watch(library: Library, title: str, year: int, film: Film | None) -> None:
    chance, link = library.chance, library.link("film")
    added = min(library.day, max(library.day_before(0, 500), date(year, 12, 31)))
    named = (title, year, link)
    library.add("watched.csv", added, *named)
    rating = _rating(chance, film)
    if chance.random() < 0.85:
        library.add("ratings.csv", added, *named, rating)
    if chance.random() < 0.25:
        library.add("likes/films.csv", added, *named)
    if chance.random() < 0.7:
        _log(library, title, year, rating, added)


def _rating(chance: random.Random, film: Film | None) -> str:
    """Near the average of others, in halves from 0.5 to 5."""
    mean = film.vote_average / 2 if film else 3.0
    halves = min(10, max(1, round(2 * chance.gauss(mean + 0.2, 0.9))))
    return f"{halves / 2:g}"


def _log(library: Library, title: str, year: int, rating: str, last: date) -> None:
    """One to three viewings, the oldest without the mark of a rewatch, some with a review."""
    chance = library.chance
    times = chance.choices((1, 2, 3), (80, 15, 5))[0]
    earlier = (last - timedelta(days=chance.randint(0, 40) + 200 * back) for back in range(times))
    days = sorted({min(last, max(day, date(year, 12, 31))) for day in earlier})
    for number, day in enumerate(days):
        link, again = library.link("entry"), "Yes" if number else ""
        tags = ", ".join(sorted(chance.sample(TAGS, chance.choices((0, 1, 2), (60, 30, 10))[0])))
        library.add("diary.csv", day, title, year, link, rating, again, tags, day)
        if chance.random() < 0.15:
            library.add("reviews.csv", day, title, year, link, rating, again, chance.choice(TEXTS), tags, day)


def _want(library: Library) -> None:
    for film in FILMS:
        if film.title in WANTED:
            library.add("watchlist.csv", library.day_before(0, 900), film.title, film.date[:4], library.link("film"))
    for title in WITHOUT_YEAR:
        before = 2_100 if title == "How Do You Live?" else 400
        library.add("watchlist.csv", library.day_before(before - 200, before), title, None, library.link("film"))


def _dropped(library: Library) -> None:
    """Orphaned rows have lost their film, deleted ones were taken back."""
    day = library.day_before(300, 400)
    library.add("orphaned/diary.csv", day, "The Promised Neverland", 2019, None, "4", None, "at home", day)
    library.add("orphaned/diary.csv", day, "One Punch Man", None, None, "4.5", None, None, day)
    library.add("orphaned/reviews.csv", day, "Her Story", 2015, None, None, None, TEXTS[3], None, day)
    library.add("deleted/diary.csv", day, "2012", 2009, library.link("entry"), "2", None, None, day)
    library.add("deleted/reviews.csv", day, "2012", 2009, library.link("entry"), "2", None, TEXTS[4], None, day)


def _not_of_films(library: Library) -> None:
    """What is left aside when the export is read."""
    library.add(
        "profile.csv", library.day_before(900, 900), "demo", "Demo", "Person", "demo@example.org", *([None] * 5)
    )
    library.add("comments.csv", library.day, "https://boxd.it/demo-list-001", "A fine list.")
    library.add("lists/for-winter.csv", 1, "Das Boot", 1981, library.link("film"), None)


_HEADERS: dict[str, Row] = {
    "watched.csv": FILM,
    "ratings.csv": RATING,
    "diary.csv": DIARY,
    "reviews.csv": REVIEWS,
    "watchlist.csv": FILM,
    "comments.csv": COMMENTS,
    "profile.csv": PROFILE,
    "likes/films.csv": FILM,
    "likes/reviews.csv": LIKES,
    "likes/lists.csv": LIKES,
    "lists/for-winter.csv": LIST,
    "deleted/diary.csv": DIARY,
    "deleted/reviews.csv": REVIEWS,
    "deleted/comments.csv": COMMENTS,
    "orphaned/diary.csv": DIARY,
    "orphaned/reviews.csv": REVIEWS,
    "orphaned/comments.csv": COMMENTS,
}


def _file(library: Library, path: str, header: Row) -> bytes:
    rows = sorted(library.rows.get(path, []), key=lambda row: row[0])
    lines: Iterable[Row] = [header, *rows]
    if path.startswith("lists/"):
        about = (library.day.isoformat(), "For winter", "", "https://boxd.it/demo-list-001", "")
        lines = [["Letterboxd list export v7"], ("Date", "Name", "Tags", "URL", "Description"), about, [], *lines]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue().encode()


def name_of_export(day: date = DEFAULT_DAY) -> str:
    return f"letterboxd-demo-{day.isoformat()}-08-30-utc.zip"


def write_export(path: Path, seed: int = DEFAULT_SEED, day: date = DEFAULT_DAY) -> Path:
    """Writes the ZIP file; all its files are of half past eight (UTC) of that day."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in make_export(seed, day).items():
            entry = zipfile.ZipInfo(name, (day.year, day.month, day.day, 8, 30, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, body)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes a made-up export of Letterboxd.")
    parser.add_argument("path", type=Path, nargs="?", help="without one: as Letterboxd names it, in this folder")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--day", type=date.fromisoformat, default=DEFAULT_DAY, help="when it was made, as 2025-06-30")
    options = parser.parse_args()
    print(write_export(options.path or Path(name_of_export(options.day)), options.seed, options.day))


if __name__ == "__main__":
    main()

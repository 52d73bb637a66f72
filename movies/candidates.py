"""TMDB as the rules of matching see it: searches, details, and what these say of a film or series."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from movies.titles import Closeness

Get = Callable[[str, Mapping[str, str]], Any]
"""(path below /3, parameters) → the JSON that TMDB answers, None for 404."""

Kind = Literal["movie", "tv"]

MAX_QUERY = 300
MOVIE_PARTS = "credits,external_ids,alternative_titles,translations,release_dates"
TV_PARTS = "aggregate_credits,external_ids,alternative_titles,translations"
SEARCH_LANGUAGE = "en-US"
"""The exports have English titles."""


MAX_NUMBER = 2**31 - 1
"""What columns of whole numbers take."""


@dataclass(frozen=True)
class Candidate:
    kind: Kind
    id: int
    title: str
    original_title: str = ""
    date: str = ""
    votes: int = 0
    poster_path: str | None = None
    closeness: Closeness = Closeness.IDENTICAL

    @property
    def year(self) -> int | None:
        return int(self.date[:4]) if re.match(r"[0-9]{4}", self.date) else None

    @property
    def titles(self) -> tuple[str, str]:
        return self.title, self.original_title


@dataclass
class Tmdb:
    """TMDB as one question sees it: nothing is asked twice."""

    get: Get
    language: str = SEARCH_LANGUAGE
    """Of details: titles are searched for in English."""
    _answers: dict[tuple[str, tuple[tuple[str, str], ...]], Any] = field(default_factory=dict)

    def ask(self, path: str, **params: str) -> Any:
        asked = (path, tuple(sorted(params.items())))
        if asked not in self._answers:
            self._answers[asked] = self.get(path, params)
        return self._answers[asked]

    def movies(self, title: str, year: int | None = None, page: int = 1) -> tuple[list[Candidate], int]:
        """A page of films, and how many pages there are."""
        params = {} if year is None else {"year": f"{year:04}"}
        return self._search("movie", title, params, page)

    def series(self, title: str, year: int | None = None) -> list[Candidate]:
        params = {} if year is None else {"first_air_date_year": f"{year:04}"}
        return self._search("tv", title, params, 1)[0]

    def _search(self, kind: Kind, title: str, params: dict[str, str], page: int) -> tuple[list[Candidate], int]:
        common = {"query": title[:MAX_QUERY], "include_adult": "false", "language": SEARCH_LANGUAGE, "page": str(page)}
        answer = self.ask(f"/search/{kind}", **common, **params)
        return candidates(kind, answer, "results"), whole(inside(answer, "total_pages")) or 1

    def details(self, kind: Kind, number: int) -> dict[str, Any] | None:
        parts = MOVIE_PARTS if kind == "movie" else TV_PARTS
        found = self.ask(f"/{kind}/{number}", append_to_response=parts, language=self.language)
        return found if isinstance(found, dict) else None

    def asked_details(self, kind: Kind, number: int) -> dict[str, Any] | None:
        """The details, if a rule has needed them."""
        return next((found for (path, _), found in self._answers.items() if path == f"/{kind}/{number}"), None)

    def by_imdb(self, number: str) -> dict[str, Any]:
        found = self.ask(f"/find/{number}", external_source="imdb_id", language=SEARCH_LANGUAGE)
        return found if isinstance(found, dict) else {}


# Answers may lack anything, and have anything in its place: what is not as documented counts as absent.


def inside(answer: Any, *path: str) -> Any:
    """The member at this path; None, if there is none."""
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return answer


def members(answer: Any, *path: str) -> list[dict[str, Any]]:
    """The objects in the list at this path."""
    found = inside(answer, *path)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def whole(value: Any) -> int | None:
    """None, if it is no whole number from 0 on that a column takes."""
    return value if type(value) is int and 0 <= value <= MAX_NUMBER else None


def texts(answer: Any, name: str, *path: str) -> list[str]:
    """Of the objects in the list at this path, the texts of that name, each once."""
    return list(dict.fromkeys(found for each in members(answer, *path) if (found := text(each.get(name)))))


def candidates(kind: Kind, answer: Any, *path: str) -> list[Candidate]:
    """From the results of a search."""
    return [film for result in members(answer, *path) if (film := candidate(kind, result)).id]


def candidate(kind: Kind, result: Mapping[str, Any]) -> Candidate:
    """From a result of a search, or from details."""
    film = kind == "movie"
    return Candidate(
        kind=kind,
        id=whole(result.get("id")) or 0,
        title=text(result.get("title" if film else "name")),
        original_title=text(result.get("original_title" if film else "original_name")),
        date=text(result.get("release_date" if film else "first_air_date")),
        votes=whole(result.get("vote_count")) or 0,
        poster_path=text(result.get("poster_path")) or None,
    )


def other_titles(details: Mapping[str, Any]) -> list[str]:
    """Alternative titles, and those in English."""
    of_film, of_series = (texts(details, "title", "alternative_titles", name) for name in ("titles", "results"))
    return [*of_film, *of_series, *_translations(details, english=True)]


def translated_titles(details: Mapping[str, Any]) -> list[str]:
    """Those in other languages."""
    return _translations(details, english=False)


def _translations(details: Mapping[str, Any], english: bool) -> list[str]:
    there = members(details, "translations", "translations")
    of_language = [inside(each, "data") for each in there if (each.get("iso_639_1") == "en") is english]
    found = [text(inside(data, "title")) or text(inside(data, "name")) for data in of_language]
    return [title for title in found if title]


def directors_of(details: Mapping[str, Any]) -> list[str]:
    """All directors; of a series its creators, else who directed its episodes."""
    if creators := texts(details, "name", "created_by"):
        return creators
    crew = members(details, "credits", "crew") or members(details, "aggregate_credits", "crew")
    directed = [person for person in crew if "Director" in (person.get("job"), *texts(person, "job", "jobs"))]
    return texts({"crew": directed}, "name", "crew")


def release_days(details: Mapping[str, Any]) -> list[str]:
    """Of all releases that TMDB knows, festivals too."""
    countries = members(details, "release_dates", "results")
    days = {day[:10] for country in countries for day in texts(country, "release_date", "release_dates")}
    return sorted(days)

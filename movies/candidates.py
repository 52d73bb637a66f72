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
        answer = self.ask(f"/search/{kind}", **common, **params) or {}
        found = [candidate(kind, result) for result in answer.get("results") or ()]
        return found, whole(answer.get("total_pages")) or 1

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


def candidate(kind: Kind, result: Mapping[str, Any]) -> Candidate:
    """From a result of a search, or from details."""
    film = kind == "movie"
    return Candidate(
        kind=kind,
        id=whole(result.get("id")) or 0,
        title=str(result.get("title" if film else "name") or ""),
        original_title=str(result.get("original_title" if film else "original_name") or ""),
        date=str(result.get("release_date" if film else "first_air_date") or ""),
        votes=whole(result.get("vote_count")) or 0,
        poster_path=result.get("poster_path") or None,
    )


def whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def other_titles(details: Mapping[str, Any]) -> list[str]:
    """Alternative titles, and those in English."""
    alternative = details.get("alternative_titles") or {}
    named = [each.get("title") for each in alternative.get("titles") or alternative.get("results") or ()]
    return [title for title in named if title] + _translations(details, english=True)


def translated_titles(details: Mapping[str, Any]) -> list[str]:
    """Those in other languages."""
    return _translations(details, english=False)


def _translations(details: Mapping[str, Any], english: bool) -> list[str]:
    translations = (details.get("translations") or {}).get("translations") or ()
    data = [each.get("data") or {} for each in translations if (each.get("iso_639_1") == "en") is english]
    return [title for each in data if (title := each.get("title") or each.get("name"))]


def directors_of(details: Mapping[str, Any]) -> list[str]:
    """All directors; of a series its creators, else who directed its episodes."""
    named = [person.get("name") for person in details.get("created_by") or ()]
    if not any(named):
        crew = (details.get("credits") or details.get("aggregate_credits") or {}).get("crew") or ()
        named = [person.get("name") for person in crew if _directed(person)]
    return list(dict.fromkeys(str(name) for name in named if name))


def _directed(person: Mapping[str, Any]) -> bool:
    jobs = [job.get("job") for job in person.get("jobs") or ()]
    return "Director" in (person.get("job"), *jobs)


def release_days(details: Mapping[str, Any]) -> list[str]:
    """Of all releases that TMDB knows, festivals too."""
    countries = (details.get("release_dates") or {}).get("results") or ()
    releases = [release for country in countries for release in country.get("release_dates") or ()]
    return sorted({str(release.get("release_date") or "")[:10] for release in releases} - {""})

"""Rows of exports with what TMDB has of their title, and what is right: movies/tests/cases.json.

Titles and years are facts; numbers of votes are orders of magnitude.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from movies.matching import Verdict
from standins.tmdb import Film

Result: TypeAlias = "int | str"
"""The place of a film in the list, or `ambiguous` or `not_found`."""


@dataclass(frozen=True)
class Case:
    kind: str
    row: dict[str, Any]
    films: list[Film]
    right: Result
    accept: list[Result]
    """Not ideal, but no wrong film."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.row['title']} {self.row['year'] or 'without year'}"

    def result(self, verdict: Verdict) -> Result:
        if verdict.status != "found":
            return verdict.status
        found = (verdict.film.kind, verdict.film.id)
        return next(place for place, film in enumerate(self.films) if (film.kind, film.id) == found)


def all_cases() -> list[Case]:
    given = json.loads((Path(__file__).parent / "cases.json").read_text(encoding="utf-8"))
    return [_case(number, case) for number, case in enumerate(given)]


def _case(number: int, case: dict[str, Any]) -> Case:
    films = [
        Film.of({"id": 1000 * (number + 1) + place, "popularity": film["votes"], **film})
        for place, film in enumerate(case["tmdb"])
    ]
    return Case(case["kind"], case["row"], films, case["right"], case.get("accept", []))

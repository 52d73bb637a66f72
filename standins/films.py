"""The films of the demo, from films.json.

Titles, years, people, countries, languages and runtimes are facts, as Wikidata has them under CC0; numbers of votes and
their averages are made up. Nothing of it is from TMDB, whose terms forbid to pass its content on: so there are neither
posters nor texts, and the numbers are ones that TMDB does not use, so that none is another film there.
"""

import json
from pathlib import Path
from typing import Any

from standins.tmdb import Film


def _film(given: dict[str, Any]) -> Film:
    """Where only the year is known, TMDB has its first day."""
    day = f"{given['year']}-01-01" if given["year"] else ""
    released = [f"{year}-01-01" for year in given.get("released", ())]
    return Film.of({**given, "date": day, "released": released, "popularity": given["votes"] / 100})


_GIVEN = json.loads(Path(__file__).with_name("films.json").read_text(encoding="utf-8"))
FILMS: tuple[Film, ...] = tuple(_film(given) for given in _GIVEN)

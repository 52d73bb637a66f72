"""Cities and countries of GeoNames (CC BY 4.0), and which of them an area is.

The files in data/ are made by make_places.py: cities of 15,000 inhabitants and more, capitals, and countries.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from music.names import fold

DATA = Path(__file__).parent / "data"
MIN_POPULATION = 15_000
"""Of the cities in the files, capitals aside."""
FAR_LARGER = 3
"""Of several cities of a name, one is meant if it has so many times the inhabitants of the next."""
SETTLEMENTS = frozenset({"City", "Municipality"})
WITHIN_CITIES = frozenset({"District"})
STATES = frozenset({"US", "GB"})
"""The countries whose subdivisions GeoNames names by their codes of ISO 3166-2."""


class Country(NamedTuple):
    code: str
    name: str
    continent: str
    capital: str


class City(NamedTuple):
    id: int
    name: str
    country: str
    state: str
    """As GeoNames numbers subdivisions: letters in the US and the United Kingdom, elsewhere mostly digits."""
    latitude: float
    longitude: float
    population: int
    names: frozenset[str]
    """Other names, folded."""


class Named(NamedTuple):
    """An area, or one above it, as far as it matters here."""

    name: str
    type: str
    geonames: Sequence[int] = ()


@dataclass(frozen=True)
class Place:
    """`no_city`: the area is a region. `not_found`: a city that is not in the files."""

    status: Literal["found", "ambiguous", "not_found", "no_city"]
    city: City | None = None
    how: Literal["link", "name", ""] = ""
    precision: Literal["city", "district", "city state", ""] = ""
    candidates: Sequence[City] = ()
    """Those of the name, the largest first."""


def locate(chain: Sequence[Named], country: str | None, subdivision: str | None) -> Place:
    """The place of the first area in the chain, which those above it follow; `subdivision` is a code of ISO 3166-2."""
    if not chain:
        return Place("no_city")
    first = chain[0]
    if country and first.type not in SETTLEMENTS | WITHIN_CITIES:
        return _city_state(first, country)
    if first.type in WITHIN_CITIES and (linked := _linked(first)):
        return Place("found", linked, "link", "district", (linked,))
    city = next((area for area in chain if area.type in SETTLEMENTS), None)
    if first.type not in SETTLEMENTS | WITHIN_CITIES or city is None:
        return Place("no_city")
    if linked := _linked(city):
        return Place("found", linked, "link", "city", (linked,))
    return _by_name(city.name, country, subdivision) if country else Place("not_found")


def without_type(name: str) -> str:
    """`Copenhagen Municipality` as `Copenhagen`."""
    return name.removeprefix("Municipality of ").removesuffix(" Municipality") or name


def by_id(number: int) -> City | None:
    country = _countries_of_ids().get(number)
    return next((city for city in cities_of(country) if city.id == number), None) if country else None


def cities_of(country: str) -> Sequence[City]:
    """All of a country, by its code of ISO 3166-1."""
    return _cities(country) if country in COUNTRIES else ()


def named(name: str, country: str, state: str = "") -> list[City]:
    """Those of the name, the largest first; only if there is none, those of which it is another name."""
    wanted = fold(name)
    there = [city for city in cities_of(country) if not state or city.state == state]
    found = [city for city in there if fold(city.name) == wanted] or [city for city in there if wanted in city.names]
    return sorted(found, key=lambda city: -city.population)


def _city_state(area: Named, country: str) -> Place:
    """The point of the capital, if the area is a country that has its name."""
    known = COUNTRIES.get(country)
    names = (area.name, known.name) if known else ()
    if not known or area.type not in ("Country", "Island") or any(fold(name) != fold(known.capital) for name in names):
        return Place("no_city")
    found = named(known.capital, country)
    return Place("found", found[0], "name", "city state", found) if found else Place("not_found")


def _linked(area: Named) -> City | None:
    return next((city for number in area.geonames if (city := by_id(number))), None)


def _by_name(name: str, country: str, subdivision: str | None) -> Place:
    state = (subdivision or "").partition("-")[2] if country in STATES else ""
    found = named(name, country, state) or named(without_type(name), country, state)
    if not found:
        return Place("not_found")
    if len(found) > 1 and found[0].population < FAR_LARGER * max(1, found[1].population):
        return Place("ambiguous", candidates=found)
    return Place("found", found[0], "name", "city", found)


def _read_countries() -> dict[str, Country]:
    lines = (DATA / "countries.tsv").read_text(encoding="utf-8").splitlines()
    return {country.code: country for country in (Country(*line.split("\t")) for line in lines)}


COUNTRIES = _read_countries()
"""By code of ISO 3166-1."""


@cache
def _lines() -> dict[str, list[str]]:
    """country → its lines in the file, which are read as cities when they are needed."""
    found: dict[str, list[str]] = {}
    with gzip.open(DATA / "cities.tsv.gz", "rt", encoding="utf-8") as file:
        for line in file:
            found.setdefault(line.partition("\t")[0], []).append(line.rstrip("\n"))
    return found


@cache
def _countries_of_ids() -> dict[int, str]:
    return {int(line.split("\t", 3)[2]): country for country, lines in _lines().items() for line in lines}


@cache
def _cities(country: str) -> tuple[City, ...]:
    return tuple(_city(line) for line in _lines().get(country, ()))


def _city(line: str) -> City:
    country, state, number, name, latitude, longitude, population, others = line.split("\t")
    names = frozenset(others.split("|")) - {""}
    return City(int(number), name, country, state, float(latitude), float(longitude), int(population), names)


def lines_of(cities: Iterable[City]) -> list[str]:
    """As in the file, by country."""
    return [
        "\t".join(
            [
                *(city.country, city.state, str(city.id), city.name, f"{city.latitude:.5f}", f"{city.longitude:.5f}"),
                *(str(city.population), "|".join(sorted(city.names))),
            ]
        )
        for city in sorted(cities, key=lambda city: (city.country, city.id))
    ]

"""Where an area of MusicBrainz lies: its country, subdivision and city, and the continent.

An area is known by its parents, the areas that it is part of now. Codes of ISO 3166 say which country it is,
never names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from music.geography.places import COUNTRIES, without_type

TYPES = ("city", "country", "county", "district", "island", "municipality", "subdivision")
"""Whatever is of another type, or of none, is `unknown`."""
HISTORICAL = frozenset({"SU", "YU", "XC", "XG", "CS", "AN"})
CONTINENTS = {"SU": "EU", "YU": "EU", "XC": "EU", "XG": "EU", "XE": "EU"}
"""By the codes of MusicBrainz that GeoNames does not know."""
NO_COUNTRIES = frozenset({"XE", "XW"})
"""[Europe] and [Worldwide]."""
NATIONS = frozenset({"GB-ENG", "GB-NIR", "GB-SCT", "GB-WLS"})
"""GeoNames divides the United Kingdom into these."""
MAX_AREAS = 50
"""A chain of more areas than this is not followed."""


@dataclass(frozen=True)
class Area:
    id: str
    name: str
    type: str = ""
    sort_name: str = ""
    ended: bool = False
    countries: Sequence[str] = ()
    """Its codes of ISO 3166-1, and of MusicBrainz' own."""
    subdivisions: Sequence[str] = ()
    """Its codes of ISO 3166-2."""
    parents: Sequence[str] = ()
    """The areas that it is part of, by their ids; former ones left out."""
    geonames: Sequence[int] = ()
    """Its numbers at GeoNames."""

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Area:
        """From what is kept of MusicBrainz' answer."""
        return cls(
            id=kept["id"],
            name=kept["name"],
            type=kept["type"],
            sort_name=kept["sort_name"],
            ended=kept["ended"],
            countries=tuple(kept["countries"]),
            subdivisions=tuple(kept["subdivisions"]),
            parents=tuple(parent["id"] for parent in kept["parents"]),
            geonames=tuple(kept["geonames"]),
        )

    @property
    def level(self) -> str:
        return self.type.lower() if self.type.lower() in TYPES else "unknown"


@dataclass(frozen=True)
class Hierarchy:
    chain: Sequence[Area]
    """The area and those above it, the nearest ones first."""
    levels: Mapping[str, Area] = field(default_factory=dict)
    """`city`, `county` … and `unknown` → the nearest area of that type; `country` is the nearest one with a code."""
    country_code: str | None = None
    continent_code: str | None = None
    subdivision_code: str | None = None
    """Of ISO 3166-2; in the United Kingdom that of the nation."""
    historical: bool = False
    """The country is no more."""

    @property
    def state_code(self) -> str | None:
        """The code of the subdivision within its country."""
        return self.subdivision_code.partition("-")[2] if self.subdivision_code else None

    @property
    def params(self) -> str | None:
        """`City,CC`, in the United States `City,ST,CC`; None without a city or country."""
        city = self.levels.get("city") or self.levels.get("municipality")
        if not city or not self.country_code:
            return None
        name = city.name if city.level == "city" else without_type(city.name)
        state = self.state_code if self.country_code == "US" else None
        return ",".join(part for part in (name, state, self.country_code) if part)


def missing(area_id: str, areas: Mapping[str, Area]) -> list[str]:
    """The areas of the chain that have to be asked for before it is complete, itself included."""
    return [wanted for wanted in _chain(area_id, areas) if wanted not in areas]


def locate(area_id: str, areas: Mapping[str, Area]) -> Hierarchy:
    """Where it lies, as far as its chain is known."""
    chain = [areas[each] for each in _chain(area_id, areas) if each in areas]
    levels: dict[str, Area] = {}
    for area in chain:
        levels.setdefault(area.level, area)
    levels.pop("country", None)
    country = next((area for area in chain if area.countries), None)
    code = country.countries[0] if country else ""
    continent = CONTINENTS.get(code) or (COUNTRIES[code].continent if code in COUNTRIES else None)
    if not country or code in NO_COUNTRIES:
        return Hierarchy(chain, levels, continent_code=continent)
    return Hierarchy(
        chain,
        {**levels, "country": country},
        country_code=code,
        continent_code=continent,
        subdivision_code=_subdivision(chain, code),
        historical=country.ended or code in HISTORICAL,
    )


def _chain(area_id: str, areas: Mapping[str, Area]) -> Iterator[str]:
    """Ids of the area and of those above it, by distance; each once, so that circles end."""
    seen = {area_id: None}
    level = [area_id]
    while level:
        yield from level
        above = [parent for each in level if each in areas for parent in areas[each].parents]
        level = [parent for parent in dict.fromkeys(above) if parent not in seen][: MAX_AREAS - len(seen)]
        seen |= dict.fromkeys(level)


def _subdivision(chain: Sequence[Area], country: str) -> str | None:
    codes = [code for area in chain for code in area.subdivisions if code.startswith(f"{country}-")]
    nation = next((code for code in codes if code in NATIONS), None)
    return nation or next(iter(codes), None)

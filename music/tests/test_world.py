"""The map of the world: its file, what is drawn of it, and how the file is made."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from music.geography.make_world import lines
from music.geography.places import COUNTRIES, DATA, cities_of
from music.geography.projection import HEIGHT, WIDTH, project
from music.pages.world import LEVELS, Mark, Place, bounds, legend, level_of, place_map, shapes, world_map

UNINHABITED_OR_GONE = {"AN", "AQ", "BV", "CS", "HM", "IO", "TK", "UM"}
MAX_SIZE = 51_000


def points(path: str) -> list[tuple[int, int]]:
    """The corners of a path that starts anew with each M, and goes by differences."""
    found = []
    for part in path.split("M")[1:]:
        numbers = [int(number) for number in re.findall(r"-?\d+", part)]
        x = y = 0
        for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
            x, y = x + dx, y + dy
            found.append((x, y))
    return found


def drawn(html: str) -> ET.Element:
    return ET.fromstring(html[: html.index("</svg>") + len("</svg>")])


def test_every_country_is_on_the_map() -> None:
    paths, dots, _ = shapes()
    assert set(COUNTRIES) - {*paths, *dots} == UNINHABITED_OR_GONE
    assert not set(paths) & set(dots)
    assert {"HK", "SG", "MT", "JE", "GI", "BM", "FO"} <= set(dots)
    assert {"XK", "US", "RU", "FJ"} <= set(paths)


def test_the_file_is_small_and_nothing_lies_beside_the_map() -> None:
    assert (DATA / "world.tsv").stat().st_size < MAX_SIZE
    paths, dots, land = shapes()
    for x, y in [*dots.values(), *(point for path in (*paths.values(), land) for point in points(path))]:
        assert 0 <= x <= WIDTH
        assert 0 <= y <= HEIGHT


def test_cities_lie_in_their_country() -> None:
    """As near as the scale allows: within the frame around its shape."""
    paths = shapes().paths
    for code in ("BR", "DE", "IN", "ZA", "AU", "RU"):
        corners = points(paths[code])
        city = max(cities_of(code), key=lambda city: city.population)
        x, y = project(city.latitude, city.longitude)
        assert min(x for x, _ in corners) - 5 <= x <= max(x for x, _ in corners) + 5
        assert min(y for _, y in corners) - 5 <= y <= max(y for _, y in corners) + 5


def test_a_shape_across_the_edge_of_the_map_is_cut() -> None:
    square = {"type": "Polygon", "arcs": [[0]], "id": "242", "properties": {"name": "Fiji"}}
    topology = {
        "transform": {"scale": [1, 1], "translate": [0, 0]},
        "arcs": [[[170, 0], [10, 0], [-350, 0], [0, 10], [350, 0], [-10, 0], [0, -10]]],
        "objects": {"countries": {"geometries": [square]}},
    }
    found = [line.split("\t") for line in lines(topology, {242: "FJ"})]
    path = next(rest[0] for code, *rest in found if code == "FJ")
    west, east = ([x for x, _ in points(f"M{part}")] for part in sorted(path.split("M")[1:], reverse=True))
    assert min(west) > WIDTH * 0.9
    assert max(east) < WIDTH * 0.1
    assert max(west) <= WIDTH
    assert min(east) >= 0


@given(st.integers(1, 10**9), st.data())
def test_levels_rise_with_the_numbers(most: int, data: st.DataObject) -> None:
    highest = bounds(most)
    less = data.draw(st.integers(1, most))
    more = data.draw(st.integers(less, most))
    assert 1 <= level_of(less, highest) <= level_of(more, highest) <= level_of(most, highest) == LEVELS
    assert len({level for level, _ in legend(highest)}) == len(highest)


def test_the_legend_says_which_numbers_have_a_colour() -> None:
    assert legend(bounds(1)) == [(5, "1")]
    assert legend(bounds(100_000)) == [
        (1, "1–10"), (2, "11–100"), (3, "101–1,000"), (4, "1,001–10,000"), (5, "10,001–100,000"),
    ]  # fmt: skip


def test_marks_are_links_and_the_rest_is_land() -> None:
    html = world_map([Mark("GB", 12, "/gb/"), Mark("SG", 1, "/sg/"), Mark("AQ", 3, "/aq/")], title="Origins")
    found = {link.get("href"): next(iter(link)) for link in drawn(html).iter("a")}
    assert set(found) == {"/gb/", "/sg/"}  # what has no place on the map is in the table
    assert found["/gb/"].get("class") == "level-5"
    assert found["/sg/"].tag == "circle"
    land = next(path for path in drawn(html).iter("path") if path.get("class") == "land")
    assert shapes().paths["GB"] not in (land.get("d") or "")
    assert shapes().paths["FR"] in (land.get("d") or "")


@pytest.mark.parametrize("name", ["<b>Nowhere</b>", "Reykjavík"])
def test_a_place_is_a_point_with_the_land_around_it(name: str) -> None:
    html = place_map("IS", Place(name, 64.15, -21.94), title="Origin")
    circle = next(drawn(html).iter("circle"))
    left, top, width, height = map(float, (drawn(html).get("viewBox") or "").split())
    assert left <= float(circle.get("cx") or 0) <= left + width
    assert top <= float(circle.get("cy") or 0) <= top + height
    assert next(circle.iter("title")).text == name


def test_a_country_without_a_place_is_on_the_whole_map() -> None:
    for code in ("IS", "SG", "XX"):
        assert drawn(place_map(code, None, title="Origin")).get("viewBox") == f"0 0 {WIDTH} {HEIGHT}"

"""Charts: what is drawn, what is said, and that nothing in them is trusted."""

import re
import xml.etree.ElementTree as ET

import pytest

from console.charts import HEIGHT, MIN_HEIGHT, WIDTH, Series, bars, line, number, stacked_bars, ticks

OUTCOMES = ("inserted", "updated", "stale", "waiting", "dead")


def drawn(html: str) -> ET.Element:
    """The chart as XML, which is stricter than a browser."""
    return ET.fromstring(html)


def tooltips(html: str) -> list[str]:
    return [str(each.text) for each in drawn(html).iter("title")]


def table(html: str) -> list[list[str]]:
    return [[str(cell.text) for cell in row] for row in drawn(html).iter("tr")]


def heights(html: str, kind: str) -> list[float]:
    """Of the parts of bars that a series has."""
    path = next(each for each in drawn(html).iter("path") if each.get("class") == f"is-{kind}")
    return [float(height) for height in re.findall(r"v([\d.]+)", path.get("d", ""))]


def test_a_bar_is_stacked_of_its_series() -> None:
    html = stacked_bars(
        ["10:00", "10:01"],
        [Series("inserted", "inserted", [30, 0]), Series("dead", "dead", [10, 20])],
        title="Throughput",
    )
    assert heights(html, "inserted") == [75]
    assert heights(html, "dead") == [25, 50]
    assert tooltips(html) == ["10:00: 30 inserted, 10 dead", "10:01: 20 dead"]
    assert table(html) == [["Time", "inserted", "dead"], ["10:00", "30", "10"], ["10:01", "0", "20"]]
    assert [item.text for item in drawn(html).iter("li")] == ["inserted", "dead"]
    assert "Throughput, 10:00 to 10:01: inserted between 0 and 30; dead between 10 and 20." in html


def test_what_is_rare_can_be_seen() -> None:
    html = stacked_bars(["a"], [Series("in", "inserted", [9999]), Series("dead", "dead", [1])], title="Rare")
    assert heights(html, "dead")[0] == pytest.approx(MIN_HEIGHT, abs=0.1)
    assert sum(heights(html, "dead") + heights(html, "inserted")) <= HEIGHT + 0.1


@pytest.mark.parametrize("values", [[], [0], [0, 0, 0], [None, None], [None, 0]])
def test_nothing_is_an_empty_state(values: list[float | None]) -> None:
    html = bars([str(i) for i in range(len(values))], values, title="Hours", empty="No session yet.")
    assert "No session yet." in html
    assert "<svg" not in html


def test_a_line_of_zeros_is_no_empty_state() -> None:
    assert f"M{WIDTH // 4} {HEIGHT}L" in line(["a", "b"], [Series("late", "bad", [0, 0])], title="Late")
    assert "<svg" not in line(["a", "b"], [Series("late", "bad", [None, None])], title="Late")
    assert "<svg" not in line([], [], title="Late")


def test_one_value() -> None:
    html = bars(["now"], [7], title="Sessions")
    assert heights(html, "plain") == [pytest.approx(87.5)]
    assert tooltips(html) == ["now: 7"]
    assert "<li" not in html


def test_a_line_is_broken_where_nothing_is_known() -> None:
    html = line(
        list("abcde"), [Series("rating", "good", [1, 3, None, 5, None])], title="Rating", minimum=1, maximum=5, unit="★"
    )
    path = next(each for each in drawn(html).iter("path") if each.get("class") == "line is-good")
    assert path.get("d") == "M100 100L300 50M660 0L740 0"
    assert table(html)[3] == ["c", "–"]
    assert table(html)[1] == ["a", "1★"]
    axis = next(each for each in drawn(html).iter("div") if each.get("class") == "axis")
    assert [each.text for each in axis] == ["5★", "3★", "1★"]


def test_what_lies_outside_is_drawn_at_the_edge() -> None:
    assert "M300 0L700 0" in line(["a"], [Series("x", "plain", [200])], title="x", maximum=100)
    assert "M300 100L700 100" in line(["a"], [Series("x", "plain", [-5])], title="x", maximum=100)
    assert heights(bars(["a", "b"], [200, -5], title="x", maximum=100), "plain") == [100]


@pytest.mark.parametrize(
    ("values", "top"),
    [
        *[([1], "2"), ([2], "2"), ([3], "4"), ([7], "8"), ([10], "10"), ([11], "20"), ([101], "200")],
        *[([41_000], "60,000"), ([0.07], "0.08"), ([0.6], "0.6"), ([1e9], "1,000,000,000")],
    ],
)
def test_the_axis_ends_at_a_round_number(values: list[float], top: str) -> None:
    axis = next(each for each in drawn(bars(["a"], values, title="x")).iter("div") if each.get("class") == "axis")
    assert axis[0].text == top


def test_everything_is_escaped() -> None:
    evil = "<script>alert('\"&')</script>"
    for html in (
        stacked_bars([evil], [Series(evil, evil, [1]), Series("b", "b", [1])], title=evil, note=evil, unit=evil),
        line([evil], [Series(evil, evil, [1])], title=evil, unit=evil),
        bars([], [], title=evil, empty=evil),
    ):
        assert "<script" not in html
        assert evil in [text for each in drawn(html).iter() for text in (each.text, each.get("aria-label"))] or (
            "&lt;script&gt;" in html
        )


def test_nothing_needs_a_style_attribute_or_script() -> None:
    html = stacked_bars(["a"], [Series("x", "dead", [1]), Series("y", "stale", [2])], title="x")
    assert not re.search(r"\s(style|on\w+)=", html)


def test_an_hour_and_a_day_are_small() -> None:
    for count in (60, 144):
        series = [Series(name, name, [1234.0 + i for i in range(count)]) for name in OUTCOMES]
        html = stacked_bars([f"{i:02}:00" for i in range(count)], series, title="Throughput")
        svg = html[html.index("<svg") : html.index("</svg>")]
        assert len(svg) < 60_000
        assert svg.count("<path") == 1 + len(OUTCOMES)


def test_a_series_must_have_a_value_for_each_label() -> None:
    with pytest.raises(ValueError, match="shorter"):
        bars(["a", "b"], [1], title="x")
    with pytest.raises(ValueError, match="longer"):
        line(["a"], [Series("x", "plain", [1, 2])], title="x")


@pytest.mark.parametrize(
    ("count", "found"),
    [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (5, [0, 1, 2, 3, 4]), (26, [0, 12, 25]), (61, [0, 15, 30, 45, 60])],
)
def test_a_few_labels_stand_below(count: int, found: list[int]) -> None:
    assert ticks([str(i) for i in range(count)]) == [str(i) for i in found]


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0, "0"), (1234, "1,234"), (2.5, "2.5"), (1 / 3, "0.33"), (100.0, "100")]
)
def test_a_number_for_a_person(value: float | None, text: str) -> None:
    assert number(value) == text


def test_a_number_with_its_unit() -> None:
    assert number(12, " %") == "12 %"


def test_bars_and_rows_lead_where_they_say() -> None:
    html = bars(["1999", "2000"], [3, 0], title="Years", heading="Year", links=["?year=1999&x=<", "?year=2000"])
    in_table = [link.get("href") for rows in drawn(html).iter("table") for link in rows.iter("a")]
    assert in_table == ["?year=1999&x=<", "?year=2000"]
    in_drawing = [link for svg in drawn(html).iter("svg") for link in svg.iter("a")]
    assert [each.get("href") for each in in_drawing] == ["?year=1999&x=<"]  # nothing is to be seen of 2000
    assert [[each.tag for each in link] for link in in_drawing] == [["rect"]]
    assert next(drawn(html).iter("svg")).get("role") == "group"
    assert next(each for each in drawn(html).iter("th")).text == "Year"

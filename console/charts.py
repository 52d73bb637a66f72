"""Small charts as SVG, drawn on the server: no script, no style attributes, the same numbers as a table below.

The drawing stretches to the width there is; texts stand around it as HTML, so that they keep their size on a phone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import floor, log10
from typing import Any

from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

WIDTH, HEIGHT = 1000, 100
MIN_HEIGHT = 2.0
"""Of HEIGHT: a value above 0 can be seen, however small it is."""
MAX_TICKS = 5
EMPTY = "No data for this period."
TIME = "Time"


@dataclass(frozen=True, kw_only=True)
class Texts:
    """What stands around a drawing."""

    title: str
    note: str = ""
    unit: str = ""
    heading: str = TIME
    """What the labels are, as the first column of the table is called."""
    links: Sequence[str] = ()


@dataclass(frozen=True)
class Series:
    """A row of numbers, one for each label; None where there is none. `kind` names its colour: an outcome, or "plain",
    "good", "bad" and the like (charts.css: `.chart .is-…`).
    """

    name: str
    kind: str
    values: Sequence[float | None]

    @property
    def known(self) -> list[float]:
        return [value for value in self.values if value is not None]


def stacked_bars(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    title: str,
    note: str = "",
    unit: str = "",
    maximum: float | None = None,
    empty: str = EMPTY,
    heading: str = TIME,
    links: Sequence[str] = (),
) -> SafeString:
    """A bar for each label (up to about 150), the first series at its foot. `note` follows the title; `links`, one for
    each label if any, are where the bars and the rows of the table lead to.
    """
    sums = [sum(value or 0 for value in column) for column in _columns(labels, series)]
    if not any(sums):
        return _empty_figure(title, empty)
    top = maximum or _ceiling(sums)
    drawing = mark_safe("".join(_stack(series, top)))  # noqa: S308 (made of numbers and escaped kinds)
    texts = Texts(title=title, note=note, unit=unit, heading=heading, links=links)
    return _figure(labels, series, drawing, texts, minimum=0, maximum=top)


def bars(
    labels: Sequence[str],
    values: Sequence[float | None],
    *,
    title: str,
    kind: str = "plain",
    note: str = "",
    unit: str = "",
    maximum: float | None = None,
    empty: str = EMPTY,
    heading: str = TIME,
    links: Sequence[str] = (),
) -> SafeString:
    """One bar for each label."""
    texts: dict[str, Any] = {"title": title, "note": note, "unit": unit, "heading": heading, "links": links}
    return stacked_bars(labels, [Series(title, kind, values)], maximum=maximum, empty=empty, **texts)


def line(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    title: str,
    note: str = "",
    unit: str = "",
    minimum: float = 0,
    maximum: float | None = None,
    empty: str = EMPTY,
) -> SafeString:
    """A line for each series, between `minimum` and `maximum`; it is broken where a value is None."""
    known = [value for each in series for value in each.known]
    if not known:
        return _empty_figure(title, empty)
    top = maximum or _ceiling(known)
    drawing = format_html_join(
        "",
        '<path class="line is-{}" d="{}"/>',
        ((each.kind, _line(each.values, minimum, top)) for each in series),
    )
    return _figure(labels, series, drawing, Texts(title=title, note=note, unit=unit), minimum=minimum, maximum=top)


def number(value: float | None, unit: str = "") -> str:
    """With at maximum two decimals; – where there is none."""
    if value is None:
        return "–"
    text = f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{text}{unit}"


# Drawing.


def _columns(labels: Sequence[str], series: Sequence[Series]) -> Iterator[tuple[float | None, ...]]:
    """The values of each label. Raises ValueError where a series has more or fewer than there are labels."""
    for _, *column in zip(labels, *(each.values for each in series), strict=True):
        yield tuple(column)


def _stack(series: Sequence[Series], maximum: float) -> Iterator[str]:
    """One path for each series: five elements in all, not five for each bar."""
    count = len(series[0].values)
    step = WIDTH / count
    gap = step * 0.15
    feet = [float(HEIGHT)] * count
    for each, heights in zip(series, _heights(series, maximum), strict=True):
        path = []
        for i, height in enumerate(heights):
            if height:
                feet[i] -= height
                path.append(f"M{_round(i * step + gap)} {_round(feet[i])}h{_round(step - 2 * gap)}v{_round(height)}")
                path.append(f"h-{_round(step - 2 * gap)}z")
        if path:
            yield format_html('<path class="is-{}" d="{}"/>', each.kind, "".join(path))


def _heights(series: Sequence[Series], maximum: float) -> list[list[float]]:
    """Of each series, the height of its part of each bar."""

    def height(value: float | None) -> float:
        return max(min(value, maximum) / maximum * HEIGHT, MIN_HEIGHT) if value and value > 0 else 0.0

    heights = [[height(value) for value in each.values] for each in series]
    for i, total in enumerate(map(sum, zip(*heights, strict=True))):
        if total > HEIGHT:
            for row in heights:
                row[i] *= HEIGHT / total
    return heights


def _line(values: Sequence[float | None], minimum: float, maximum: float) -> str:
    step = WIDTH / len(values)
    span = (maximum - minimum) or 1

    def at(i: float, value: float) -> str:
        within = min(max((value - minimum) / span, 0), 1)
        return f"{_round((i + 0.5) * step)} {_round(HEIGHT - within * HEIGHT)}"

    path = []
    for is_known, points in groupby(enumerate(values), key=lambda point: point[1] is not None):
        if is_known:
            run = [(float(i), value) for i, value in points if value is not None]
            if len(run) == 1:  # a single point would be invisible
                run = [(run[0][0] + aside, run[0][1]) for aside in (-0.2, 0.2)]
            path.append(f"M{'L'.join(at(i, value) for i, value in run)}")
    return "".join(path)


def _round(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _ceiling(values: Iterable[float]) -> float:
    """A round number that no value exceeds, and whose half is one as well."""
    maximum = max(values)
    if maximum <= 0:
        return 1
    if maximum <= 2 and float(maximum).is_integer():
        return 2
    power: float = 10.0 ** floor(log10(maximum))
    return next(float(f"{step * power:.12g}") for step in (1, 2, 4, 6, 8, 10) if step * power >= maximum * (1 - 1e-9))


# Around the drawing.


def _empty_figure(title: str, empty: str) -> SafeString:
    return render_to_string("admin/charts/empty.html", {"title": title, "empty": empty})


def _figure(
    labels: Sequence[str],
    series: Sequence[Series],
    drawing: SafeString,
    texts: Texts,
    *,
    minimum: float,
    maximum: float,
) -> SafeString:
    columns, unit = list(_columns(labels, series)), texts.unit
    links = texts.links or [""] * len(labels)
    context = {
        "title": texts.title,
        "note": texts.note,
        "heading": texts.heading,
        "links": texts.links,
        "legend": series if len(series) > 1 else (),
        "axis": [number(value, unit) for value in (maximum, (maximum + minimum) / 2, minimum)],
        "view_box": f"0 0 {WIDTH} {HEIGHT}",
        "summary": _summary(labels, series, texts.title, unit),
        "grid": "".join(f"M0 {height}h{WIDTH}" for height in (0, HEIGHT // 2, HEIGHT)),
        "drawing": drawing,
        "tooltips": list(_tooltips(labels, series, columns, texts)),
        "ticks": ticks(labels),
        "columns": [each.name for each in series],
        "rows": [
            (label, [number(value, unit) for value in column], link)
            for label, column, link in zip(labels, columns, links, strict=True)
        ],
    }
    return render_to_string("admin/charts/figure.html", context)


def ticks(labels: Sequence[str]) -> list[str]:
    """The labels that stand below the axis: the first, the last, and some between at equal distances."""
    last = len(labels) - 1
    parts = next((parts for parts in range(MAX_TICKS - 1, 1, -1) if last % parts == 0), 2)
    return [labels[i] for i in dict.fromkeys(round(last * part / parts) for part in range(parts + 1))]


def _summary(labels: Sequence[str], series: Sequence[Series], title: str, unit: str) -> str:
    """For screen readers; the table has the details."""
    parts = [
        f"{each.name} between {number(min(each.known), unit)} and {number(max(each.known), unit)}"
        for each in series
        if each.known
    ]
    return f"{title}, {labels[0]} to {labels[-1]}: {'; '.join(parts)}."


def _tooltips(
    labels: Sequence[str], series: Sequence[Series], columns: Sequence[Sequence[float | None]], texts: Texts
) -> Iterator[dict[str, str]]:
    """An invisible bar over the whole height of each label, so that a small one is as easily found."""
    step = WIDTH / len(labels)
    for i, (label, column) in enumerate(zip(labels, columns, strict=True)):
        text = f"{label}: {_tooltip_text(series, column, texts.unit)}"
        link = texts.links[i] if texts.links and any(column) else ""
        yield {"x": _round(i * step), "width": _round(step), "height": str(HEIGHT), "text": text, "link": link}


def _tooltip_text(series: Sequence[Series], column: Sequence[float | None], unit: str) -> str:
    if len(series) == 1:
        return number(column[0], unit)
    parts = [f"{number(value, unit)} {each.name}" for each, value in zip(series, column, strict=True) if value]
    return ", ".join(parts) or "none"

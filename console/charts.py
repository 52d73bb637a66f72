"""Small charts as SVG, drawn on the server: no script, no style attributes, the same numbers as a table below.

The drawing stretches to the width there is; texts stand around it as HTML, so that they keep their size on a phone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import floor, log10

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

WIDTH, HEIGHT = 1000, 100
LEAST = 2.0
"""Of HEIGHT: what is not 0 can be seen, however small it is."""
MOST_TICKS = 5
EMPTY = "Nothing in this time."


@dataclass(frozen=True)
class Series:
    """A row of numbers, one for each label; None where there is none. `kind` names its colour: an outcome, or "plain",
    "good", "bad" and the like (admin.css: `.chart .is-…`).
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
    told: str = "",
    unit: str = "",
    most: float | None = None,
    empty: str = EMPTY,
) -> SafeString:
    """A bar for each label (at most some 150), the first series at its foot. `told` stands beside the title."""
    sums = [sum(value or 0 for value in column) for column in _columns(labels, series)]
    if not any(sums):
        return _nothing(title, empty)
    top = most or _ceiling(sums)
    drawn = mark_safe("".join(_stack(series, top)))  # noqa: S308 (made of numbers and escaped kinds)
    return _figure(labels, series, drawn, title=title, told=told, unit=unit, least=0, most=top)


def bars(
    labels: Sequence[str],
    values: Sequence[float | None],
    *,
    title: str,
    kind: str = "plain",
    told: str = "",
    unit: str = "",
    most: float | None = None,
    empty: str = EMPTY,
) -> SafeString:
    """One bar for each label."""
    series = [Series(title, kind, values)]
    return stacked_bars(labels, series, title=title, told=told, unit=unit, most=most, empty=empty)


def line(
    labels: Sequence[str],
    series: Sequence[Series],
    *,
    title: str,
    told: str = "",
    unit: str = "",
    least: float = 0,
    most: float | None = None,
    empty: str = EMPTY,
) -> SafeString:
    """A line for each series, between `least` and `most`; it is broken where a value is None."""
    known = [value for each in series for value in each.known]
    if not known:
        return _nothing(title, empty)
    top = most or _ceiling(known)
    drawn = format_html_join(
        "",
        '<path class="line is-{}" d="{}"/>',
        ((each.kind, _line(each.values, least, top)) for each in series),
    )
    return _figure(labels, series, drawn, title=title, told=told, unit=unit, least=least, most=top)


def sparkline(values: Sequence[float | None], *, title: str, kind: str = "plain") -> SafeString:
    """A line without axes or table, to stand beside the number that it explains; empty without values."""
    known = Series(title, kind, values).known
    if not known:
        return mark_safe("")
    return format_html(
        '<svg class="sparkline" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path class="line is-{}" d="{}"/></svg>',
        WIDTH,
        HEIGHT,
        f"{title}: {number(known[0])} to {number(known[-1])}",
        kind,
        _line(values, min(0, *known), max(known) or 1),
    )


def number(value: float | None, unit: str = "") -> str:
    """With at most two decimals; – where there is none."""
    if value is None:
        return "–"
    text = f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"{text}{unit}"


# Drawing.


def _columns(labels: Sequence[str], series: Sequence[Series]) -> Iterator[tuple[float | None, ...]]:
    """The values of each label. Raises ValueError where a series has more or fewer than there are labels."""
    for _, *column in zip(labels, *(each.values for each in series), strict=True):
        yield tuple(column)


def _stack(series: Sequence[Series], most: float) -> Iterator[str]:
    """One path a series: what is drawn is five elements, not five for each bar."""
    count = len(series[0].values)
    step = WIDTH / count
    gap = step * 0.15
    feet = [float(HEIGHT)] * count
    for each, heights in zip(series, _heights(series, most), strict=True):
        path = []
        for i, height in enumerate(heights):
            if height:
                feet[i] -= height
                path.append(f"M{_round(i * step + gap)} {_round(feet[i])}h{_round(step - 2 * gap)}v{_round(height)}")
                path.append(f"h-{_round(step - 2 * gap)}z")
        if path:
            yield format_html('<path class="is-{}" d="{}"/>', each.kind, "".join(path))


def _heights(series: Sequence[Series], most: float) -> list[list[float]]:
    """Of each series, the height of its part of each bar."""
    heights = [
        [max(min(value, most) / most * HEIGHT, LEAST) if value and value > 0 else 0.0 for value in each.values]
        for each in series
    ]
    for i, total in enumerate(map(sum, zip(*heights, strict=True))):
        if total > HEIGHT:
            for row in heights:
                row[i] *= HEIGHT / total
    return heights


def _line(values: Sequence[float | None], least: float, most: float) -> str:
    step = WIDTH / len(values)
    span = (most - least) or 1

    def at(i: float, value: float) -> str:
        within = min(max((value - least) / span, 0), 1)
        return f"{_round((i + 0.5) * step)} {_round(HEIGHT - within * HEIGHT)}"

    path = []
    for is_known, points in groupby(enumerate(values), key=lambda point: point[1] is not None):
        if is_known:
            run = [(float(i), value) for i, value in points if value is not None]
            if len(run) == 1:  # a point of its own would not be seen
                run = [(run[0][0] + aside, run[0][1]) for aside in (-0.2, 0.2)]
            path.append(f"M{'L'.join(at(i, value) for i, value in run)}")
    return "".join(path)


def _round(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _ceiling(values: Iterable[float]) -> float:
    """A round number that no value exceeds, and whose half is one as well."""
    most = max(values)
    if most <= 0:
        return 1
    if most <= 2 and float(most).is_integer():
        return 2
    power: float = 10.0 ** floor(log10(most))
    return next(float(f"{step * power:.12g}") for step in (1, 2, 4, 6, 8, 10) if step * power >= most * (1 - 1e-9))


# Around it.


def _nothing(title: str, empty: str) -> SafeString:
    return format_html(
        '<figure class="chart"><figcaption>{}</figcaption><p class="empty">{}</p></figure>', title, empty
    )


def _figure(
    labels: Sequence[str],
    series: Sequence[Series],
    drawn: SafeString,
    *,
    title: str,
    told: str,
    unit: str,
    least: float,
    most: float,
) -> SafeString:
    axis = [most, (most + least) / 2, least]
    return format_html(
        '<figure class="chart"><figcaption>{}{}</figcaption>{}'
        '<div class="plot"><div class="axis" aria-hidden="true">{}</div>'
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">'
        '<path class="grid" d="M0 0h{}M0 {}h{}M0 {}h{}"/>{}{}</svg>'
        '<div class="ticks" aria-hidden="true">{}</div></div>{}</figure>',
        title,
        format_html(' <span class="quiet">{}</span>', told) if told else "",
        _legend(series) if len(series) > 1 else "",
        format_html_join("", "<span>{}</span>", ((number(value, unit),) for value in axis)),
        WIDTH,
        HEIGHT,
        _summary(labels, series, title, unit),
        WIDTH,
        HEIGHT // 2,
        WIDTH,
        HEIGHT,
        WIDTH,
        drawn,
        _tooltips(labels, series, unit),
        format_html_join("", "<span>{}</span>", ((label,) for label in ticks(labels))),
        _table(labels, series, title, unit),
    )


def ticks(labels: Sequence[str]) -> list[str]:
    """The labels that stand below the axis: the first, the last, and some between at equal distances."""
    last = len(labels) - 1
    parts = next((parts for parts in range(MOST_TICKS - 1, 1, -1) if last % parts == 0), 2)
    return [labels[i] for i in dict.fromkeys(round(last * part / parts) for part in range(parts + 1))]


def _legend(series: Sequence[Series]) -> SafeString:
    names = format_html_join("", '<li class="is-{}">{}</li>', ((each.kind, each.name) for each in series))
    return format_html('<ul class="legend">{}</ul>', names)


def _summary(labels: Sequence[str], series: Sequence[Series], title: str, unit: str) -> str:
    """What a screen reader says: the table tells the rest."""
    parts = [
        f"{each.name} between {number(min(each.known), unit)} and {number(max(each.known), unit)}"
        for each in series
        if each.known
    ]
    return f"{title}, {labels[0]} to {labels[-1]}: {'; '.join(parts)}."


def _tooltips(labels: Sequence[str], series: Sequence[Series], unit: str) -> SafeString:
    """An unseen bar over the whole height of each label, so that a small one is as easily found."""
    step = WIDTH / len(labels)
    return format_html_join(
        "",
        '<rect class="hit" x="{}" width="{}" height="{}"><title>{}</title></rect>',
        (
            (_round(i * step), _round(step), HEIGHT, f"{label}: {_told(series, column, unit)}")
            for i, (label, column) in enumerate(zip(labels, _columns(labels, series), strict=True))
        ),
    )


def _told(series: Sequence[Series], column: Sequence[float | None], unit: str) -> str:
    if len(series) == 1:
        return number(column[0], unit)
    parts = [f"{number(value, unit)} {each.name}" for each, value in zip(series, column, strict=True) if value]
    return ", ".join(parts) or "none"


def _table(labels: Sequence[str], series: Sequence[Series], title: str, unit: str) -> SafeString:
    rows = (
        (label, format_html_join("", "<td>{}</td>", ((number(value, unit),) for value in column)))
        for label, column in zip(labels, _columns(labels, series), strict=True)
    )
    return format_html(
        '<details><summary>As a table</summary><div class="scrolled" tabindex="0" role="region" aria-label="{}">'
        '<table class="numbers"><thead><tr><th scope="col">When</th>{}</tr></thead><tbody>{}</tbody></table>'
        "</div></details>",
        f"{title}, as a table",
        format_html_join("", '<th scope="col">{}</th>', ((each.name,) for each in series)),
        format_html_join("", '<tr><th scope="row">{}</th>{}</tr>', rows),
    )

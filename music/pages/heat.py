"""The hours of a week by plays, as a heat map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from ingestion.text import thousands
from music.pages.links import Link
from music.pages.rankings import plays

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOURS = range(24)
LEVELS = 5
WIDTH, HEIGHT = 40, 24
"""Of a cell, with the gap to the next one."""
GAP = 3


@dataclass(frozen=True)
class Cell:
    number: int
    link: str


def heat_map(numbers: Mapping[tuple[int, int], int], link: Link) -> SafeString:
    """`numbers`: (weekday, hour) → plays."""
    most = max(numbers.values(), default=0)
    rows = [
        (f"{hour:02}:00", [_cell(numbers, weekday, hour, link) for weekday in range(len(WEEKDAYS))]) for hour in HOURS
    ]
    context = {
        "view_box": f"0 0 {len(HOURS) * WIDTH} {len(WEEKDAYS) * HEIGHT}",
        "drawing": format_html_join("", "{}", ((cell,) for cell in _cells(numbers, most, link))),
        "summary": _summary(numbers),
        "weekdays": WEEKDAYS,
        "ticks": ("0", "6", "12", "18", "23"),
        "levels": range(1, LEVELS + 1),
        "most": thousands(most),
        "rows": rows,
    }
    return render_to_string("admin/music/heat.html", context)


def _cell(numbers: Mapping[tuple[int, int], int], weekday: int, hour: int, link: Link) -> Cell:
    number = numbers.get((weekday, hour), 0)
    return Cell(number, link(weekday=weekday, hour=hour) if number else "")


def _cells(numbers: Mapping[tuple[int, int], int], most: int, link: Link) -> Iterator[SafeString]:
    for weekday, name in enumerate(WEEKDAYS):
        for hour in HOURS:
            cell = _cell(numbers, weekday, hour, link)
            level = -(-LEVELS * cell.number // most) if most else 0
            text = f"{name}, {hour:02}:00 to {hour:02}:59: {plays(cell.number)}"
            drawn = format_html(
                '<rect class="level-{}" x="{}" y="{}" width="{}" height="{}"><title>{}</title></rect>',
                *(level, hour * WIDTH, weekday * HEIGHT, WIDTH - GAP, HEIGHT - GAP, text),
            )
            yield _linked(cell.link, text, drawn)


def _linked(page: str, text: str, drawn: SafeString) -> SafeString:
    if not page:
        return drawn
    return format_html('<a href="{}" aria-label="{}" tabindex="-1">{}</a>', page, text, drawn)


def _summary(numbers: Mapping[tuple[int, int], int]) -> str:
    """For screen readers."""
    if not any(numbers.values()):
        return "No plays."
    (weekday, hour), most = max(numbers.items(), key=lambda item: item[1])
    return f"Plays by weekday and hour; most on {WEEKDAYS[weekday]} at {hour:02}:00: {plays(most)}."

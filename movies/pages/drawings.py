"""Drawings of a library that no other page has: the calendar of a year, and tiles for films without a poster."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from datetime import date, timedelta
from zlib import crc32

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from movies.pages.statistics import Calendar, Day

CELL, SIZE = 12, 10
"""Of a day: the distance to the next one, and its width."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
WEEKDAYS = ((0, "Mon"), (2, "Wed"), (4, "Fri"))
LEFT, TOP = 26, 14
LEVELS = 4
TILE_WIDTH, TILE_HEIGHT = 120, 180
LINE = 12
"""Characters in a line of a tile."""
MAX_LINES = 6
SHADES = 6


def calendar(year: Calendar, link_of: Callable[[date], str]) -> SafeString:
    """A column for each week; days with viewings lead to their films."""
    first = date(year.year, 1, 1)
    last = date(year.year, 12, 31)
    weeks = (first.weekday() + (last - first).days) // 7 + 1
    empty = "".join(_square(first + timedelta(days=number), first) for number in range((last - first).days + 1))
    return format_html(
        '<svg class="calendar" viewBox="0 0 {} {}" role="group" aria-label="{}">{}{}'
        '<path class="empty" d="{}"/>{}</svg>',
        LEFT + weeks * CELL,
        TOP + 7 * CELL,
        f"Viewings in {year.year} by day",
        format_html_join(
            "",
            '<text x="{}" y="10">{}</text>',
            ((_place(date(year.year, month, 1), first)[0], name) for month, name in enumerate(MONTHS, 1)),
        ),
        format_html_join("", '<text x="0" y="{}">{}</text>', ((TOP + row * CELL + 9, name) for row, name in WEEKDAYS)),
        empty,
        format_html_join("", "{}", ((_day(day, first, link_of),) for day in year.days)),
    )


def _day(day: Day, first: date, link_of: Callable[[date], str]) -> SafeString:
    x, y = _place(day.day, first)
    text = f"{day.day.isoformat()}: {', '.join(day.titles)}"
    return format_html(
        '<a href="{}" aria-label="{}" tabindex="-1"><rect class="level-{}" x="{}" y="{}" width="{}" height="{}" rx="2">'
        "<title>{}</title></rect></a>",
        *(link_of(day.day), text, min(day.viewings, LEVELS), x, y, SIZE, SIZE, text),
    )


def _place(day: date, first: date) -> tuple[int, int]:
    column = (first.weekday() + (day - first).days) // 7
    return LEFT + column * CELL, TOP + day.weekday() * CELL


def _square(day: date, first: date) -> str:
    x, y = _place(day, first)
    return f"M{x} {y}h{SIZE}v{SIZE}h-{SIZE}z"


def tile(title: str, year: int | None) -> SafeString:
    """In place of a poster. Its shade is always the same for a title."""
    lines = textwrap.wrap(title, LINE, break_long_words=True) or ["?"]
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], textwrap.shorten(lines[MAX_LINES - 1] + " …", LINE, placeholder="…")]
    top = TILE_HEIGHT / 2 - (len(lines) - 1) * 8
    return format_html(
        '<svg class="tile shade-{}" viewBox="0 0 {} {}" aria-hidden="true"><rect width="{}" height="{}"/>{}'
        '<text class="year" x="60" y="166">{}</text></svg>',
        *(crc32(title.encode("utf-8", "replace")) % SHADES, TILE_WIDTH, TILE_HEIGHT, TILE_WIDTH, TILE_HEIGHT),
        format_html_join(
            "", '<text x="60" y="{}">{}</text>', ((f"{top + 16 * i:g}", line) for i, line in enumerate(lines))
        ),
        year or "",
    )

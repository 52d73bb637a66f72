"""Formats times and numbers for a person, in templates and in the lists of the admin."""

from datetime import datetime

from django import template
from django.core.paginator import Paginator
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ingestion.text import duration, plain, thousands

register = template.Library()


def _time(at: datetime, show: str, text: str) -> SafeString:
    """`text`, until times.js shows it by the reader's clock; the exact time with its offset is in the title."""
    local = timezone.localtime(at)
    return format_html(
        '<time datetime="{}" data-show="{}" title="{}">{}</time>', local.isoformat(), show, with_offset(at), text
    )


def with_offset(at: datetime) -> str:
    text = timezone.localtime(at).isoformat(sep=" ", timespec="seconds")
    return f"{text[:19]} {text[19:]}"


@register.filter
def age(moment: datetime | None) -> SafeString | str:
    """How long ago, in one unit."""
    return _time(moment, "age", duration((timezone.now() - moment).total_seconds())) if moment else "–"


@register.filter
def moment(at: datetime | None) -> SafeString | str:
    """The time with its offset, and how long ago."""
    if at is None:
        return "–"
    return format_html('{} <span class="quiet">{} ago</span>', _time(at, "time", with_offset(at)), age(at))


@register.filter
def clock(at: datetime) -> SafeString:
    """The time with its offset; the date where it is not today's."""
    is_today = timezone.localtime(at).date() == timezone.localdate()
    return _time(at, "clock", with_offset(at)[11 if is_today else 0 :])


@register.filter
def at_time(at: datetime | None) -> SafeString | str:
    """The time alone, for columns of lists."""
    return _time(at, "time", with_offset(at)[:19]) if at else "–"


@register.filter
def at_minute(at: datetime | None) -> SafeString | str:
    return _time(at, "minute", with_offset(at)[:16]) if at else "–"


@register.filter
def on_day(at: datetime | None) -> SafeString | str:
    return _time(at, "day", with_offset(at)[:10]) if at else "–"


@register.filter
def rate(number: float) -> str:
    """Of which there are few, with a decimal."""
    return f"{number:,.1f}".removesuffix(".0") if number < 10 else f"{number:,.0f}"


@register.filter
def seconds(number: float) -> str:
    """A short time, to two digits."""
    return f"{number:.2g} s" if number < 10 else duration(number)


@register.filter
def counted(paginator: Paginator) -> str:  # type: ignore[type-arg]
    """How many rows a list has; "more than" so many where it does not count them all."""
    number = thousands(paginator.count)
    return f"more than {number}" if getattr(paginator, "has_more", False) else number


def badge(kind: str, text: str) -> SafeString:
    return format_html('<span class="badge is-{}">{}</span>', kind, text)


for each in (thousands, duration, plain):
    register.filter(each.__name__, each)

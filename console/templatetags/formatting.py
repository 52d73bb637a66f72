"""Formats times and numbers for a person, in templates and in the lists of the admin."""

import re
from datetime import datetime

from django import template
from django.core.paginator import Paginator
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from ingestion.text import duration, plain, thousands

register = template.Library()


@register.filter
def age(moment: datetime | None) -> SafeString | str:
    """How long ago, in one unit, with the exact time as a tooltip."""
    if moment is None:
        return "–"
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        local.isoformat(),
        local.strftime("%Y-%m-%d %H:%M:%S %z"),
        duration((timezone.now() - moment).total_seconds()),
    )


@register.filter
def moment(at: datetime | None) -> SafeString | str:
    """The time with its offset, and how long ago."""
    if at is None:
        return "–"
    local = timezone.localtime(at)
    ago = duration((timezone.now() - at).total_seconds())
    offset = re.sub(r"(..)$", r":\1", local.strftime("%z"))
    return format_html(
        '<time datetime="{}">{}</time> <span class="quiet">{} ago</span>',
        local.isoformat(),
        f"{local:%Y-%m-%d %H:%M:%S} {offset}",
        ago,
    )


@register.filter
def clock(at: datetime) -> SafeString:
    """The time with its offset; the date where it is not today's."""
    local = timezone.localtime(at)
    form = "%H:%M:%S" if local.date() == timezone.localdate() else "%Y-%m-%d %H:%M:%S"
    offset = re.sub(r"(..)$", r":\1", local.strftime("%z"))
    return format_html('<time datetime="{}">{} {}</time>', local.isoformat(), local.strftime(form), offset)


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

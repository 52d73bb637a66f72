"""How things are shown to a person, in templates and in the lists of the admin."""

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()

MOST_SHOWN = 20_000
"""Characters of a body or payload that a page shows."""

_UNITS = [(86_400, "d"), (3_600, "h"), (60, "min")]
_NOT_PLAIN = re.compile(r"[^ -~\n]")


def thousands(number: int) -> str:
    return f"{number:,}"


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


def duration(seconds: float) -> str:
    """In its largest unit; the database's clock is another, so that a negative one is 0 s."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size:,.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def badge(kind: str, text: str) -> SafeString:
    return format_html('<span class="badge is-{}">{}</span>', kind, text)


def plain(text: str) -> str:
    r"""`text` with what would not be seen, or would turn the text around it, as \uXXXX: still the same JSON."""
    return _NOT_PLAIN.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    if unicodedata.category(character)[0] not in "CZ" or character == "\u3000":
        return character
    return json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def first_message(messages: Mapping[str, list[str]]) -> str:
    """Of messages by field: in one line, for lists; "record" stands for the whole."""
    for field, found in messages.items():
        if found:
            return plain(found[0] if field == "record" else f"{field}: {found[0]}")
    return ""


def pretty(value: Any) -> str:
    """JSON for a person to read and edit; parsed again it is the same value."""
    return plain(json.dumps(value, indent=2, ensure_ascii=False))


def cut(text: str, most: int = MOST_SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} more characters"


for each in (thousands, duration, plain):
    register.filter(each.__name__, each)

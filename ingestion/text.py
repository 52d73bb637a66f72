"""Text for people: numbers, durations and JSON in plain characters; and text that every database takes."""

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

MAX_DISPLAYED = 20_000
"""Characters of a body or payload that a page shows."""
_UNITS = [(86_400, "d"), (3_600, "h"), (60, "min")]
_NOT_PLAIN = re.compile(r"[^ -~\n]")


def thousands(number: int) -> str:
    return f"{number:,}"


def duration(seconds: float) -> str:
    """In its largest unit; the database's clock is another, so that a negative one is 0 s."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds // size:,.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


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


def cut(text: str, most: int = MAX_DISPLAYED) -> str:
    return text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} more characters"


def cut_short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def strip_unstorable(text: str, length: int | None = None) -> str:
    """`text` without NUL and lone surrogates, cut to `length`, for a column or a message."""
    return text.replace("\0", "�").encode("utf-8", "replace").decode("utf-8")[:length]


def spellings(key: str) -> list[str]:
    """As it is typed, in capitals, in small letters, and with one capital: each is looked up along an index."""
    return list(dict.fromkeys([key, key.upper(), key.lower(), key.capitalize()]))

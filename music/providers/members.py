"""Members of services' answers, as far as they are kept: they may lack anything, and have anything in its place, of any
type and length. What is not as documented counts as absent, and what is too long for its column is cut.
"""

from __future__ import annotations

import math
import re
from typing import Any

MAX_TEXT = 1000
"""Characters of a name."""
MAX_GENRE = 200
"""Of a genre or tag."""
MAX_ITEMS = 200
"""Of a list."""
MAX_WHOLE = 2**31 - 1
_identifier = re.compile("[0-9A-Za-z-]{1,36}")


def text(value: Any, most: int = MAX_TEXT) -> str:
    return value.strip()[:most].rstrip() if isinstance(value, str) else ""


def texts(value: Any, most: int = MAX_TEXT) -> list[str]:
    """Each once."""
    if not isinstance(value, list):
        return []
    return list(dict.fromkeys(found for each in value if (found := text(each, most))))[:MAX_ITEMS]


def whole(value: Any, most: int = MAX_WHOLE) -> int | None:
    """From 0 on."""
    return value if type(value) is int and 0 <= value <= most else None


def number(value: Any) -> float:
    """Also from text, as searches have answered it; 0 for what is none."""
    try:
        found = float(value) if isinstance(value, int | float | str) else 0.0
    except (ValueError, OverflowError):
        return 0.0
    return found if math.isfinite(found) else 0.0


def mbid_of(value: Any) -> str:
    """An ID of MusicBrainz."""
    found = text(value)
    return found if _identifier.fullmatch(found) else ""


def member(found: Any, name: str) -> dict[str, Any]:
    value = found.get(name) if isinstance(found, dict) else None
    return value if isinstance(value, dict) else {}


def members(found: Any, name: str) -> list[dict[str, Any]]:
    """The objects in a list."""
    value = found.get(name) if isinstance(found, dict) else None
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []

"""When two names of artists are equal. A name is never split: "Above & Beyond" is one artist."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from enum import IntEnum

MAX_NAME = 1000
"""Characters. What is longer is no name or title, and is compared as it is: of a long run of accents or brackets the
time to normalize it grows with the square.
"""
_ACCENTS = re.compile("[\u0300-\u036f]")
"""Marks of Latin, Greek and Cyrillic letters alone: the voicing mark of kana makes another letter."""
_JOINED = re.compile("['’‘‛ʼʻ′`´＇.．]")
"""Signs within a word; others part words."""
_AND = re.compile("[&＆]")
_ASCII = {
    **{code: " " for code in range(128) if not chr(code).isalnum()},
    **{ord(sign): "" for sign in "'`."},
    ord("&"): " and ",
}
"""Letters and digits stay."""
_BRACKETS = re.compile(r"\s*(\([^()]*\)|\[[^\[\]]*\])")
_VERSION = re.compile(
    r"\s+-\s+[^-]*\b(remaster(ed)?|version|edit|mix|mono|stereo|live|bonus track|feat\.?|demo)\b[^-]*$", re.IGNORECASE
)


class Equality(IntEnum):
    """How a name is equal to the one asked for; less is closer."""

    WRITTEN = 0
    FOLDED = 1
    WITHOUT_THE = 2


def tidy(name: str) -> str:
    """Composed (NFC), with single spaces."""
    if len(name) > MAX_NAME:
        return name.strip()
    return unicodedata.normalize("NFC", " ".join(name.split()))


def fold(name: str) -> str:
    """Equal for spellings of one name: without accents, case and punctuation, `&` as *and*.

    A name of symbols alone, such as "!!!", would fold to nothing, and equal all others: it stays as it is.
    """
    if len(name) > MAX_NAME:
        return tidy(name)
    if name.isascii():  # nearly all are, and it is ten times as fast
        return " ".join(name.lower().translate(_ASCII).split()) or tidy(name)
    text = _ACCENTS.sub("", unicodedata.normalize("NFKD", name).casefold())
    text = _AND.sub(" and ", _JOINED.sub("", unicodedata.normalize("NFC", text)))
    text = "".join(sign if unicodedata.category(sign)[0] in "LNM" else " " for sign in text)
    return " ".join(text.split()) or tidy(name)


def without_the(name: str) -> str:
    """`fold`, without The at its beginning; "The The" keeps both."""
    folded = fold(name)
    rest = folded.removeprefix("the ")
    return folded if rest == "the" else rest


def equality(asked: str, names: Iterable[str]) -> Equality | None:
    """How the closest of these names equals the one asked for; None: none does."""
    there = [name for name in names if tidy(name)]
    if not tidy(asked):
        return None
    if any(tidy(name) == tidy(asked) for name in there):
        return Equality.WRITTEN
    if any(fold(name) == fold(asked) for name in there):
        return Equality.FOLDED
    if any(without_the(name) == without_the(asked) for name in there):
        return Equality.WITHOUT_THE
    return None


def plain_title(title: str) -> str:
    """Without what stands in brackets, or behind a dash for the version: "Time (feat. X)", "Time - 2011 Remaster"."""
    if len(title) > MAX_NAME:
        return tidy(title)
    text = title
    while "(" in text or "[" in text:
        if (shorter := _BRACKETS.sub(" ", text)) == text:
            break
        text = shorter
    return tidy(_VERSION.sub("", text) if "-" in text else text) or tidy(title)


def same_title(asked: str, title: str) -> bool:
    return bool(tidy(asked)) and fold(asked) == fold(title)


def same_plain_title(asked: str, title: str) -> bool:
    return bool(tidy(asked)) and fold(plain_title(asked)) == fold(plain_title(title))


def written_out(credit: Sequence[tuple[str, str]]) -> str:
    """A credit of names, each with the words that join it to the next one: "A feat. B"."""
    return "".join(name + joined for name, joined in credit)

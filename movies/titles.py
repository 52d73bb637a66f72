"""When two titles are the same: without case, marks and punctuation, and how close they are."""

import html
import re
import unicodedata
from collections.abc import Iterable
from enum import IntEnum


class Closeness(IntEnum):
    """How a title of a film is equal to the title asked for; less is closer."""

    IDENTICAL = 0
    SAME_WORDS = 1
    SAME_LETTERS = 2
    OTHER_TITLE = 3
    """The title asked for is an alternative or English title of the film."""
    TRANSLATED = 4
    """It is the film's title in a language that exports do not have."""
    WITHOUT_ARTICLE = 5


_ARTICLES = ("the", "a", "an", "le", "la", "les", "el", "los", "las", "il", "der", "das")
_MOVED_ARTICLE = re.compile(rf"(?P<rest>.+), (?P<article>{'|'.join((*_ARTICLES, 'die'))})", re.IGNORECASE)
_APOSTROPHES = re.compile("['’‘‛ʼʻʹ′`´＇]")
_AND = re.compile("[&+＆＋]")
_MARKS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
"""The marks of Latin, Greek and Cyrillic letters; in other scripts a mark makes another letter."""

_LETTERS = str.maketrans(  # what Unicode does not decompose
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "ı": "i",
        "þ": "th",
        "æ": "ae",
        "œ": "oe",
        "\N{FRACTION SLASH}": "",
    }
)


MAX_TITLE = 1000
"""Characters."""
_TYPED = str.maketrans({"’": "'", "‘": "'", "`": "'", "“": '"', "”": '"', "–": "-", "—": "-", "‑": "-", "…": "..."})
_RAISED = re.compile("[⁰¹²³⁴-⁹₀-₉]+")


def tidy(title: str) -> str:
    """Composed (NFC), without HTML's entities, and with single spaces: as searches want it. No title is longer than
    MAX_TITLE: of a long run of accents the time to compose them grows with the square.
    """
    title = title[:MAX_TITLE]
    return unicodedata.normalize("NFC", " ".join(html.unescape(title).split()))


def spaced(title: str) -> str:
    """The words of a title without case, marks and punctuation; a title of symbols alone is left as it is."""
    text = _AND.sub(" and ", _APOSTROPHES.sub("", tidy(title)))
    text = _MARKS.sub("", unicodedata.normalize("NFKD", text).casefold()).translate(_LETTERS)
    text = unicodedata.normalize("NFC", text)
    kept = "".join(sign if unicodedata.category(sign)[0] in "LNM" else " " for sign in text)
    words = " ".join(kept.split())
    return words or "".join(unicodedata.normalize("NFKD", tidy(title)).casefold().split())


def fold(title: str) -> str:
    """Equal for titles that are the same film's: `WALL·E`, `Wall-E`."""
    return spaced(title).replace(" ", "")


def without_article(title: str) -> str:
    """`spaced`, without the article at its beginning."""
    first, _, rest = spaced(title).partition(" ")
    return rest if rest and first in _ARTICLES else spaced(title)


def moved_article(title: str) -> str:
    """`Matrix, The` as `The Matrix`; other titles as they are."""
    found = _MOVED_ARTICLE.fullmatch(tidy(title))
    return f"{found['article']} {found['rest']}" if found else tidy(title)


def closeness(asked: str, titles: Iterable[str]) -> Closeness | None:
    """How the closest of these titles of a film equals the one asked for; None: no title does."""
    forms = {asked, moved_article(asked)}
    levels = [level for form in forms for title in titles if (level := _closeness(form, title)) is not None]
    return min(levels, default=None)


def _closeness(asked: str, title: str) -> Closeness | None:
    if not tidy(title):
        return None
    if tidy(asked).casefold() == tidy(title).casefold():
        return Closeness.IDENTICAL
    if spaced(asked) == spaced(title):
        return Closeness.SAME_WORDS
    return Closeness.SAME_LETTERS if fold(asked) == fold(title) else None


def equal_without_article(asked: str, titles: Iterable[str]) -> bool:
    wanted = without_article(moved_article(asked)).replace(" ", "")
    return any(without_article(title).replace(" ", "") == wanted for title in titles if tidy(title))


def spellings(title: str) -> list[str]:
    """How a search may spell the title: as it is, with `&` for `and` or the other way round, as it is typed."""
    swapped = re.sub(r"\band\b", "&", title) if re.search(r"\band\b", title) else re.sub(r"\s*[&+]\s*", " and ", title)
    typed = _RAISED.sub(lambda digits: f" {unicodedata.normalize('NFKC', digits[0])}", title.translate(_TYPED))
    return list(dict.fromkeys(spelling.strip() for spelling in (title, swapped, typed)))

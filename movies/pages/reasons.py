"""Why a film was not found, in words for the person whose film it is."""

from __future__ import annotations

from enrichment.lookups.choices import CHOSEN
from movies.models import Match

UNKNOWN = "It is not clear which film you saw."
FAILED = "TMDB returned errors several times. An operator can retry."
AMBIGUOUS = {
    "namesakes": "Several films have this title, and your export does not say which one you saw.",
    "namesake a year away": "A film of this title, a year earlier or later, may be meant.",
    "other director": "None of these films is known to be by the director in your export.",
    "film or series": "The number in your export is that of a film and of a series, and neither has this title.",
    "number": "The number in your export leads to several films.",
    "episode": "The number in your export leads to several series.",
}
"""Rule that was unsure → what it was unsure about; the others depend on how many candidates there are."""


def why_ambiguous(how: str, candidates: int) -> str:
    if how == "other year":
        those = (
            "only candidate is of another year or title"
            if candidates == 1
            else "candidates are of other years or titles"
        )
        return f"TMDB has no film of this title and year. The {those}."
    if how == "no year":
        doubt = "whether it is this film" if candidates == 1 else "which of these films it is"
        return f"Your export gives no year for it, so it is not clear {doubt}."
    return AMBIGUOUS.get(how, UNKNOWN)


def why_failed(how: str, film_key: str, *, is_unknown: bool) -> str:
    """`film_key` is of the film that the lookup led to; TMDB may have answered that it does not know that."""
    if not is_unknown:
        return FAILED
    name = film_key.replace("-", " ")
    if how == CHOSEN:
        return f"TMDB does not know the film that was chosen ({name}). An operator can choose another one."
    return f"TMDB does not know the film that was found ({name}) any more. It is looked up again."


def why(match: str, how: str, candidates: int, film_key: str, *, is_unknown: bool) -> str:
    """Empty where nothing more is known than that it was not found."""
    if match == Match.AMBIGUOUS:
        return why_ambiguous(how, candidates)
    return why_failed(how, film_key, is_unknown=is_unknown) if match == Match.FAILED else ""

"""Which film of a library an entry is about.

Entries with the link of a film are about that film, whatever they call it: titles and years change between exports.
Those of a diary and of reviews have the link of the viewing, and join the film of their title and year, as the same
export has them; without such a film they make one of their own. Where two films fit, the entry stays without one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from movies.identity import film_of_link, film_of_title, has_film_link
from movies.models import Entry

UNCLEAR = "title and year are those of several films of the library: it is not known which of them is meant"


class Joined(NamedTuple):
    film: str | None
    """None: not known (yet)."""
    is_unclear: bool = False
    """Several fit."""


def film_of(entry: Any) -> str | None:
    """The film that the entry's link names; None where it has to be joined by title and year."""
    link = entry.letterboxd_uri
    return film_of_link(entry.library, link) if has_film_link(entry.kind, link) else None


def join(entries: Iterable[Entry], linked: Sequence[Entry], undecided: Collection[str]) -> dict[str, Joined]:
    """Entry → film, of entries without the link of a film.

    `linked` are those with one that count and that have a title of these entries, or are of a film that one of these
    has been about so far. The `undecided` wait where they would make a film of their own: more may still come.
    """
    by_title: dict[tuple[str, int | None], list[Entry]] = defaultdict(list)
    by_film: dict[str, list[Entry]] = defaultdict(list)
    for each in linked:
        by_title[each.title, each.year].append(each)
        by_film[str(each.film_id)].append(each)
    return {
        entry.pk: _join(entry, by_title[entry.title, entry.year], by_film, is_undecided=entry.pk in undecided)
        for entry in entries
    }


def _join(
    entry: Entry, called_so: Sequence[Entry], by_film: Mapping[str, Sequence[Entry]], *, is_undecided: bool
) -> Joined:
    same_export = {each.film_id for each in called_so if each.exported_on == entry.exported_on}
    found = same_export or {each.film_id for each in called_so}
    if found:
        return Joined(found.pop()) if len(found) == 1 else Joined(None, is_unclear=True)
    if entry.film_id and any(_since(each) > _since(entry) for each in by_film.get(entry.film_id, ())):
        return Joined(entry.film_id)  # which is called otherwise since then
    if is_undecided:
        return Joined(None)
    return Joined(film_of_title(entry.library, entry.title, entry.year, entry.tmdb_id, entry.imdb_id))


def _since(entry: Entry) -> datetime:
    return entry.exported_on or entry.version_at

"""Which film of TMDB is it? Asked once for everybody who asks the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from enrichment import lookups
from enrichment.lookups.models import MAX_KEY, Lookup
from enrichment.statements import batched
from movies import tmdb
from movies.identity import digest, folded, link_key
from movies.models import Entry, LibraryFilm


class Asked(NamedTuple):
    key: str
    question: dict[str, Any]
    upload: int | None
    """That takes turns with others."""


def question_of(row: LibraryFilm, entries: Sequence[Entry]) -> tuple[str, dict[str, Any]]:
    """(key, question): the key is the film's link; else its number, or its title and year."""
    numbers = {name: value for name in ("tmdb_id", "imdb_id") if (value := _first(entries, name))}
    added = [entry.added_on for entry in entries if entry.added_on]
    question = {
        "title": row.title,
        "year": row.year,
        "date": max(added).isoformat() if added else None,
        "seen": row.seen,
        "orphaned": any(entry.orphaned for entry in entries),
        "directors": _first(entries, "directors") or [],
        "letterboxd_uri": row.letterboxd_uri,
        **numbers,
    }
    return _bounded(_key_of(row, numbers)), question


def _key_of(row: LibraryFilm, numbers: Mapping[str, Any]) -> str:
    if row.letterboxd_uri:
        return link_key(row.letterboxd_uri)
    if numbers:
        return " ".join(f"{name}:{value}" for name, value in numbers.items())
    return f"{folded(row.title)} {row.year or ''}".strip() or f"film {row.film_id}"  # of viewings without a title


def _bounded(key: str) -> str:
    """Without case a text may be three times as long."""
    return key if len(key) <= MAX_KEY else f"{key[:400]} {digest(key)}"


def _first(entries: Sequence[Entry], name: str) -> Any:
    return next((value for entry in entries if (value := getattr(entry, name))), None)


def substance(question: Mapping[str, Any]) -> tuple[Any, ...]:
    """What the answer depends on. Only those who agree in it share an answer: a link alone says nothing, since anybody
    may send any title with it, and would decide what the film of somebody else is.
    """
    says = [folded(str(question.get("title") or "")), question.get("year")]
    says += [question.get("tmdb_id"), question.get("imdb_id"), tuple(sorted(question.get("directors") or ()))]
    if question.get("year") is None:
        says += [question.get(name) for name in ("date", "seen", "orphaned")]
    return tuple(says)


def ask(films: Mapping[str, Asked]) -> dict[str, Lookup]:
    """Film of a library → its lookup, locked; created where nobody has asked the same before. A person's choice stays
    with the film for which it was made, whatever an export calls it later.
    """
    chosen = _chosen(films)
    keyed = {film: asked for film, asked in films.items() if film not in chosen}
    first_askers = {lookup.key: lookup.question for lookup in _lookups(asked.key for asked in keyed.values())}
    mine = {film: chosen.get(film) or _key(asked, first_askers) for film, asked in films.items()}
    found = _want(films, mine)
    # Somebody else may have asked something else by the same key in this very moment.
    late = {
        film: _own_key(films[film])
        for film, key in mine.items()
        if film not in chosen and substance(found[key].question) != substance(films[film].question)
    }
    found |= _want(films, late)
    return {film: found[late.get(film, key)] for film, key in mine.items()}


def _chosen(films: Iterable[str]) -> dict[str, str]:
    """Film → the key of its lookup, where a person has decided that."""
    decided = LibraryFilm.objects.filter(lookup__chosen_at__isnull=False)
    return {
        film: key
        for some in batched(sorted(films))
        for film, key in decided.filter(pk__in=some).values_list("pk", "lookup__key")
    }


def _lookups(keys: Iterable[str]) -> Iterable[Lookup]:
    of_kind = Lookup.objects.filter(provider=tmdb.NAME, kind=tmdb.MATCH).only("key", "question")
    return (lookup for some in batched(sorted(set(keys))) for lookup in of_kind.filter(key__in=some))


def _key(asked: Asked, first_askers: dict[str, Mapping[str, Any]]) -> str:
    """That of the link, for who asks first or the same; else one of its own."""
    first = first_askers.setdefault(asked.key, asked.question)
    return asked.key if substance(first) == substance(asked.question) else _own_key(asked)


def _own_key(asked: Asked) -> str:
    return f"{asked.key[:400]} {digest(*map(str, substance(asked.question)))}"


def _want(films: Mapping[str, Asked], keys: Mapping[str, str]) -> dict[str, Lookup]:
    by_upload: dict[int | None, dict[str, Mapping[str, Any]]] = defaultdict(dict)
    for film, key in keys.items():
        by_upload[films[film].upload][key] = films[film].question
    found: dict[str, Lookup] = {}
    for upload, questions in sorted(by_upload.items(), key=lambda pair: pair[0] or 0):
        found |= lookups.want(tmdb.NAME, tmdb.MATCH, questions, upload=upload)
    return found

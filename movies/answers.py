"""What follows from TMDB's answers: films, and which of them the films of libraries are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.utils import timezone

from enrichment import lookups
from enrichment.lookups import Want
from enrichment.lookups.models import Lookup
from enrichment.statements import database_now, lock
from movies import tmdb
from movies.models import Film, LibraryFilm, Match

DESCRIBED = [
    *("kind", "tmdb_id", "imdb_id", "title", "original_title", "release_date", "runtime", "genres", "directors"),
    *("cast", "characters", "countries", "languages", "budget", "revenue", "popularity", "vote_average", "vote_count"),
    "poster_path",
]
"""Columns of a film that TMDB's answer has, by the same names."""


def apply(answered: Sequence[Lookup]) -> list[Want]:
    """In the transaction that stores the answers, with the lookups locked: films first, then the films of libraries."""
    matches = [lookup for lookup in answered if lookup.kind == tmdb.MATCH]
    _describe([lookup for lookup in answered if lookup.kind != tmdb.MATCH])
    return list(_match(matches)) if matches else []


def state_of(lookup: Lookup, film: Film | None) -> dict[str, Any]:
    """Columns of a library's film, by its lookup; it is settled once the film that was found is described too."""
    match: str = lookup.status
    if lookup.status == Lookup.Status.FOUND:
        match = Match.FAILED if film and film.has_failed else Match.OPEN
        match = Match.FOUND if film and film.fetched_at else match
    return {"tmdb_film_id": film and film.pk, "match": str(match), "how": lookup.how, "score": lookup.score}


def lookup_film(lookup: Lookup) -> str:
    """The key of the film that was found; empty if none was."""
    answer: Any = lookup.answer
    return f"{answer['kind']}-{answer['id']}" if lookup.status == Lookup.Status.FOUND else ""


def lock_films(keys: Collection[str]) -> dict[str, Film]:
    """These films, in order; what is known of them does not change until the end of the transaction."""
    return {film.pk: film for film in lock(Film, keys)}


# Which film it is.


def _match(matches: Sequence[Lookup]) -> Iterable[Want]:
    found: dict[str, Any] = {key: lookup.answer for lookup in matches if (key := lookup_film(lookup))}
    new = [Film(film_key=key, kind=each["kind"], tmdb_id=each["id"]) for key, each in sorted(found.items())]
    Film.objects.bulk_create(new, ignore_conflicts=True)
    films = lock_films(found)
    lock_library_films(lookup__in=matches)
    for lookup in matches:
        state = state_of(lookup, films.get(lookup_film(lookup)))
        LibraryFilm.objects.filter(lookup=lookup).update(**state, stored_at=database_now())
    for lookup in matches:
        if key := lookup_film(lookup):
            yield Want(tmdb.NAME, found[key]["kind"], str(found[key]["id"]), {}, after=lookup)


def lock_library_films(**which: Any) -> None:
    list(LibraryFilm.objects.filter(**which).order_by("pk").select_for_update(no_key=True).values_list("pk"))


# What is known of a film.


def _describe(details: Sequence[Lookup]) -> None:
    by_film = {f"{lookup.kind}-{lookup.key}": lookup for lookup in details}
    _create(by_film)
    films = Film.objects.filter(pk__in=by_film).order_by("pk").select_for_update(no_key=True)
    changed = []
    for film in films:
        _describe_one(film, by_film[film.pk])
        changed.append(film)
    if not changed:
        return
    Film.objects.bulk_update(changed, [*DESCRIBED, "fetched_at", "has_failed", "gone_at"])
    lock_library_films(tmdb_film__in=changed)
    for film in changed:
        match = Match.FOUND if film.fetched_at else Match.FAILED if film.has_failed else Match.OPEN
        of_film = LibraryFilm.objects.filter(tmdb_film=film).exclude(match=match)
        of_film.update(match=match, stored_at=database_now())
    gone = [by_film[film.pk].pk for film in changed if film.gone_at]
    lookups.ask_again(Lookup.objects.filter(kind=tmdb.MATCH, next__in=gone, chosen_at=None), tmdb.NAME)


def _create(by_film: dict[str, Lookup]) -> None:
    """Of films that nobody's answer has named yet: details may come before the match that they came with."""
    new = [Film(film_key=key, kind=of.kind, tmdb_id=int(of.key)) for key, of in sorted(by_film.items())]
    Film.objects.bulk_create(new, ignore_conflicts=True)


def _describe_one(film: Film, lookup: Lookup) -> None:
    """What is known stays when TMDB does not know the film any more."""
    if lookup.gone_at or lookup.status == Lookup.Status.NOT_FOUND:
        film.gone_at = film.gone_at or timezone.now()
        film.has_failed = film.fetched_at is None
    elif lookup.status == Lookup.Status.FOUND:
        answer: Any = lookup.answer
        for name in DESCRIBED:
            if name in answer:
                setattr(film, name, answer[name])
        film.fetched_at, film.gone_at, film.has_failed = timezone.now(), None, False
    elif lookup.status == Lookup.Status.FAILED:
        film.has_failed = film.fetched_at is None

"""The films of a library, computed from its entries; always under the lock of the library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Q, QuerySet

from enrichment.pipeline import upsert
from enrichment.statements import batched, database_now
from ingestion import streams
from ingestion.models import Delivery
from movies import joining, questions
from movies.answers import lock_films, lookup_film, state_of
from movies.identity import link_key
from movies.joining import Joined
from movies.models import Entry, Kind, Library, LibraryFilm, UploadFilm

SEEN_BY = {Kind.WATCHED, Kind.RATINGS, Kind.DIARY, Kind.REVIEWS, Kind.IMPORT}
COMPUTED = [
    *("title", "year", "letterboxd_uri", "rating", "seen", "liked", "watchlist", "viewings", "rewatches", "has_review"),
    *("first_watched_on", "last_watched_on", "tags"),
]
MATCHED = ["lookup_id", "tmdb_film_id", "match", "how", "score"]


@dataclass
class Changes:
    """What of a library has to be computed again."""

    titles: set[str] = field(default_factory=set)
    """Of entries that have changed, or ceased to count."""
    films: set[str] = field(default_factory=set)
    """That such entries were about."""
    asked_by: Mapping[str, int] = field(default_factory=dict)
    """Entry → the upload that has brought it now."""
    completing: int | None = None
    """The upload of which no more entries will come."""


def compute(library: Library, changes: Changes) -> set[str]:
    """Brings the library's films up to date with its entries, and asks which films of TMDB they are.

    Returns the films computed; those without entries are deleted.
    """
    affected = list(_affected_entries(library, changes))
    linked = [entry for entry in affected if joining.film_of(entry)]
    others = [entry for entry in affected if not joining.film_of(entry)]
    besides = _linked_besides(library, linked, others)
    films = changes.films | {str(entry.film_id) for entry in affected if entry.film_id}
    _write_joined(linked, {entry.pk: Joined(joining.film_of(entry)) for entry in linked})
    joined = joining.join(others, [*linked, *besides], _undecided(others, changes))
    _write_joined(others, joined)
    films |= {str(entry.film_id) for entry in affected if entry.film_id}
    _compute(library, sorted(films), changes.asked_by)
    return films


def counting(library: str) -> QuerySet[Entry]:
    return Entry.objects.filter(library=library, deleted=False, gone=False)


def _affected_entries(library: Library, changes: Changes) -> Iterator[Entry]:
    """Those that count and that have one of the titles, or are about one of the films."""
    rows = counting(library.name).defer("review")
    found: dict[str, Entry] = {}
    for titles in batched(sorted(changes.titles)):
        found |= {entry.pk: entry for entry in rows.filter(title__in=titles)}
    for films in batched(sorted(changes.films)):
        found |= {entry.pk: entry for entry in rows.filter(film__in=films)}
    return iter(found.values())


def _linked_besides(library: Library, linked: Iterable[Entry], others: Iterable[Entry]) -> list[Entry]:
    """Of other entries those that the others may join."""
    known = {entry.pk for entry in linked}
    titles, films = {entry.title for entry in others}, {entry.film_id for entry in others if entry.film_id}
    rows = counting(library.name).filter(_has_film_link()).defer("review")
    found: dict[str, Entry] = {}
    for some in batched(sorted(titles)):
        found |= {entry.pk: entry for entry in rows.filter(title__in=some)}
    for some in batched(sorted(films)):
        found |= {entry.pk: entry for entry in rows.filter(film__in=some)}
    return [entry for entry in found.values() if entry.pk not in known]


def _has_film_link() -> Q:
    return Q(letterboxd_uri__isnull=False) & ~Q(letterboxd_uri="") & ~Q(kind__in=(Kind.DIARY, Kind.REVIEWS))


def _undecided(entries: Iterable[Entry], changes: Changes) -> set[str]:
    """The entries of uploads that are not complete yet: what they may join may still come."""
    of_delivery = defaultdict(set)
    for entry in entries:
        of_delivery[entry.delivery].add(entry.pk)
    incomplete: set[int] = set()
    for some in batched(sorted(of_delivery)):
        for delivery, (upload, settled_at) in whole_uploads(some).items():
            if settled_at is None and upload != changes.completing:
                incomplete.add(delivery)
    return {pk for delivery in incomplete for pk in of_delivery[delivery]}


def whole_uploads(deliveries: Collection[int]) -> dict[int, tuple[int, datetime | None]]:
    """delivery → (its upload, of a set the whole, when that was completed); of deliveries of uploads."""
    names = ("pk", "upload", "upload__settled_at", "upload__part_of", "upload__part_of__settled_at")
    of_uploads = Delivery.objects.filter(pk__in=deliveries, upload__isnull=False)
    return {
        pk: (whole, whole_settled_at) if whole else (upload, settled_at)
        for pk, upload, settled_at, whole, whole_settled_at in of_uploads.values_list(*names)
    }


def _write_joined(entries: Iterable[Entry], joined: Mapping[str, Joined]) -> None:
    changed = []
    for entry in entries:
        film, is_unclear = joined[entry.pk]
        warnings = [text for text in entry.warnings if text != joining.UNCLEAR] + [joining.UNCLEAR] * is_unclear
        if film != entry.film_id or warnings != entry.warnings:
            entry.film_id, entry.warnings = film, warnings
            changed.append({"entry_id": entry.pk, "film_id": film, "warnings": warnings})
    for some in batched(changed):
        upsert.update(streams.get("entries"), some, ["film_id", "warnings"])


def _compute(library: Library, films: Sequence[str], asked_by: Mapping[str, int]) -> None:
    entries: dict[str, list[Entry]] = defaultdict(list)
    for some in batched(films):
        for entry in counting(library.name).filter(film__in=some):
            entries[str(entry.film_id)].append(entry)
    rows = {film: _row(library, film, entries[film]) for film in films if film in entries}
    uploads = {film: upload for film in rows if (upload := _asking(entries[film], asked_by))}
    _match(rows, entries, uploads)
    for some in batched(films):
        _write(some, {film: rows[film] for film in some if film in rows})
    links = [UploadFilm(upload_id=upload, film_id=film) for film, upload in sorted(uploads.items())]
    UploadFilm.objects.bulk_create(links, ignore_conflicts=True)


def _asking(entries: Iterable[Entry], asked_by: Mapping[str, int]) -> int | None:
    return max((asked_by[entry.pk] for entry in entries if entry.pk in asked_by), default=None)


# From the entries.


def _row(library: Library, film: str, entries: Sequence[Entry]) -> LibraryFilm:
    """What these entries, which are all about one film, say of it."""
    ordered = sorted(entries, key=lambda entry: entry.version)
    named_by = [entry for entry in ordered if joining.film_of(entry)] or ordered
    newest = next((entry for entry in reversed(named_by) if entry.title), named_by[-1])
    viewings = list(_viewings(ordered))
    days = [entry.watched_on for entry in viewings if entry.watched_on]
    kinds = {entry.kind for entry in entries}
    return LibraryFilm(
        film_id=film,
        library=library.name,
        title=newest.title,
        year=newest.year,
        letterboxd_uri=newest.letterboxd_uri if joining.film_of(newest) else None,
        rating=_rating(library, ordered),
        seen=bool(kinds & SEEN_BY),
        liked=Kind.LIKES in kinds,
        watchlist=Kind.WATCHLIST in kinds,
        viewings=len(viewings),
        rewatches=sum(entry.rewatch for entry in viewings),
        has_review=any(entry.review for entry in entries),
        first_watched_on=min(days, default=None),
        last_watched_on=max(days, default=None),
        tags=list(dict.fromkeys(tag for entry in ordered for tag in entry.tags or ())),
    )


def _viewings(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Lines of the diary, and of imports those with a day; of a review with a day its viewing, if no line has it."""
    lines = [entry for entry in entries if entry.kind == Kind.DIARY]
    yield from lines
    yield from (entry for entry in entries if entry.kind == Kind.IMPORT and entry.watched_on)
    links = {link_key(entry.letterboxd_uri) for entry in lines if entry.letterboxd_uri}
    days = {entry.watched_on for entry in lines}
    for entry in entries:
        if entry.kind == Kind.REVIEWS and entry.watched_on:
            has_line = link_key(entry.letterboxd_uri) in links if entry.letterboxd_uri else entry.watched_on in days
            if not has_line:
                yield entry


def _rating(library: Library, entries: Sequence[Entry]) -> float | None:
    """That of the file of ratings; else of an import; in a library without such a file that of the last viewing."""
    for kind in (Kind.RATINGS, Kind.IMPORT):
        rated = [entry.rating for entry in entries if entry.kind == kind and entry.rating is not None]
        if rated:
            return rated[-1]
    if Kind.RATINGS in library.newest:
        return None
    viewed = [entry for entry in entries if entry.kind in (Kind.DIARY, Kind.REVIEWS) and entry.rating is not None]
    return max(viewed, key=lambda entry: (str(entry.watched_on or ""), entry.version)).rating if viewed else None


# What it is in TMDB.


def _match(rows: Mapping[str, LibraryFilm], entries: Mapping[str, Sequence[Entry]], uploads: Mapping[str, int]) -> None:
    """Asks for each film, and fills in what is known of the answer already. Locks the lookups and films it reads."""
    only = next(iter(uploads.values())) if len(set(uploads.values())) == 1 else None
    asked = {
        film: questions.Asked(*questions.question_of(row, entries[film]), uploads.get(film, only))
        for film, row in rows.items()
    }
    found = questions.ask(asked)
    known = lock_films({lookup_film(lookup) for lookup in found.values()} - {""})
    for film, row in rows.items():
        lookup = found[film]
        row.lookup_id = lookup.pk
        for name, value in state_of(lookup, known.get(lookup_film(lookup))).items():
            setattr(row, name, value)


# Into the table.


def _write(films: Sequence[str], rows: Mapping[str, LibraryFilm]) -> None:
    """Writes, in order of key, what has changed."""
    locked = LibraryFilm.objects.filter(pk__in=films).order_by("pk").select_for_update(no_key=True)
    stored = {row.pk: row for row in locked}
    names = [*COMPUTED, *MATCHED]
    changed = [
        row
        for key, row in sorted(rows.items())
        if key not in stored or any(getattr(row, name) != getattr(stored[key], name) for name in names)
    ]
    for row in changed:
        row.stored_at = database_now()
    fields = [name.removesuffix("_id") if name in MATCHED else name for name in names]
    LibraryFilm.objects.bulk_create(
        changed, update_conflicts=True, unique_fields=["film_id"], update_fields=[*fields, "stored_at"]
    )
    if without := sorted(stored.keys() - rows.keys()):
        LibraryFilm.objects.filter(pk__in=without).delete()

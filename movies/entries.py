"""What follows from entries that have been stored: which of them count, films of libraries, questions, progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from enrichment.models import HeldRecord
from enrichment.statements import batched, database_now
from ingestion.models import Delivery, Upload
from ingestion.streams import Context, StoredRow
from movies import libraries
from movies.library_films import Changes, compute, counting, whole_uploads
from movies.models import Entry, Kind, Library, LibraryFilm, Match, UploadFilm
from movies.schemas import EntryRecord

RECENT = timedelta(minutes=1)
CLOCKS_DIFFER = timedelta(minutes=5)


def enrich(entry: EntryRecord, context: Context) -> dict[str, Any]:
    return {"rating": entry.rating or (entry.rating10 and entry.rating10 / 2)}


def stored(rows: Sequence[StoredRow], context: Context) -> None:
    """Computes the films that these entries are about, and were about before."""
    by_library: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_library.setdefault(row.columns["library"], []).append(row.columns)
    uploads = whole_uploads({row.columns["delivery"] for row in rows})
    for name, entries in sorted(by_library.items()):
        library = Library.objects.get(pk=name)
        keys = [entry["entry_id"] for entry in entries]
        of_uploads = [entry for entry in entries if entry["delivery"] in uploads]
        asked_by = {entry["entry_id"]: uploads[entry["delivery"]][0] for entry in of_uploads}
        late = [entry["entry_id"] for entry in entries if _is_late(library, entry)]
        _mark_gone(late)
        titles = {entry["title"] for entry in entries}
        compute(library, Changes(titles=titles, films=films_of(keys), asked_by=asked_by))


def delete(keys: Sequence[str]) -> None:
    """Of libraries that are locked. Their films are computed again without these entries."""
    gone = list(Entry.objects.filter(pk__in=keys).only("library", "title", "film"))
    Entry.objects.filter(pk__in=keys).delete()
    for name in sorted({entry.library for entry in gone}):
        titles = {entry.title for entry in gone if entry.library == name}
        films = {str(entry.film_id) for entry in gone if entry.library == name and entry.film_id}
        compute(Library.objects.get(pk=name), Changes(titles=titles, films=films))


def films_of(entries: Sequence[str]) -> set[str]:
    """The films that these entries have been about so far."""
    return {
        film
        for some in batched(entries)
        for film in Entry.objects.filter(pk__in=some, film__isnull=False).values_list("film", flat=True)
    }


def _is_late(library: Library, entry: Mapping[str, Any]) -> bool:
    """Whether the library's newest export of this kind, which has been stored completely, is newer."""
    newest = library.newest.get(entry["kind"])
    return bool(newest and entry["exported_on"]) and entry["exported_on"] < datetime.fromisoformat(newest)


def _mark_gone(entries: Sequence[str]) -> None:
    for some in batched(entries):
        Entry.objects.filter(pk__in=some).update(gone=True, stored_at=database_now())


# A whole export.


def file_completed(upload: Upload) -> None:
    """What the export lacks counts no more; entries that were left without a film get one; its films are counted."""
    for library in libraries.lock(_libraries_of(upload)):
        _complete(library, upload)
        libraries.seen(library)


def _libraries_of(upload: Upload) -> set[str]:
    if library := libraries.of_upload(upload):
        return {library.name}
    rows = Entry.objects.filter(stored_at__gte=upload.created_at - CLOCKS_DIFFER, delivery__in=_deliveries(upload))
    return set(rows.order_by().values_list("library", flat=True).distinct())


def _deliveries(upload: Upload) -> QuerySet[Delivery, Any]:
    return Delivery.objects.filter(Q(upload=upload) | Q(upload__part_of=upload)).values("pk")


def _complete(library: Library, upload: Upload) -> None:
    changes = Changes(completing=upload.pk)
    had_ratings = Kind.RATINGS in library.newest
    for kind, exported_on in _complete_kinds(upload):
        _note_export(library, kind, exported_on, upload, changes)
    of_it = Entry.objects.filter(library=library.name, delivery__in=_deliveries(upload))
    changes.asked_by = dict.fromkeys(of_it.values_list("pk", flat=True), upload.pk)
    changes.titles |= set(counting(library.name).filter(film=None).values_list("title", flat=True))
    if Kind.RATINGS in library.newest and not had_ratings:
        changes.films |= set(LibraryFilm.objects.filter(library=library.name).values_list("pk", flat=True))
    compute(library, changes)
    _link(library, upload)


def _complete_kinds(upload: Upload) -> Iterator[tuple[str, datetime]]:
    """(kind, time of the export) of the files that hold all entries of their kind: not those of deleted or orphaned
    lines, nor imports, which are no export.
    """
    for part in [upload, *upload.parts.order_by("pk")]:
        kind, exported_on = part.given.get("kind"), part.given.get("exported_on")
        is_part = part.given.get("deleted") or part.given.get("orphaned")
        if kind in Kind.values and kind != Kind.IMPORT and exported_on and not is_part:
            yield kind, datetime.fromisoformat(exported_on)


def _note_export(library: Library, kind: str, exported_on: datetime, upload: Upload, changes: Changes) -> None:
    """Entries of older exports count no more, except those of which this one has a line that is not stored yet."""
    if kind not in library.newest or datetime.fromisoformat(library.newest[kind]) < exported_on:
        library.newest[kind] = exported_on.isoformat()
        library.save(update_fields=["newest"])
    newest = datetime.fromisoformat(library.newest[kind])
    held = HeldRecord.objects.open().filter(delivery__in=_deliveries(upload)).exclude(key="").values("key")
    older = Entry.objects.filter(library=library.name, kind=kind, exported_on__lt=newest, gone=False)
    lacking = list(older.exclude(pk__in=held).values_list("pk", "title", "film"))
    changes.titles |= {title for _, title, _ in lacking}
    changes.films |= {film for _, _, film in lacking if film}
    _mark_gone([pk for pk, _, _ in lacking])


def _link(library: Library, upload: Upload) -> None:
    """The films of which the upload had entries, and no others."""
    of_it = counting(library.name).filter(delivery__in=_deliveries(upload), film__isnull=False)
    films = set(of_it.values_list("film", flat=True))
    linked = UploadFilm.objects.filter(upload=upload, film__library=library.name)
    known = dict(linked.values_list("film", "pk"))
    UploadFilm.objects.bulk_create(
        [UploadFilm(upload=upload, film_id=film) for film in sorted(films - known.keys())], ignore_conflicts=True
    )
    for some in batched([pk for film, pk in known.items() if film not in films]):
        UploadFilm.objects.filter(pk__in=some).delete()


# Progress.


def progress(uploads: Sequence[Upload]) -> dict[int, dict[str, dict[str, int]]]:
    """upload → {"films": numbers}."""
    recent = Q(film__lookup__answered_at__gte=timezone.now() - RECENT) & ~Q(film__match=Match.OPEN)
    of_uploads = UploadFilm.objects.filter(upload__in=[upload.pk for upload in uploads])
    rows = of_uploads.values("upload", "film__match").annotate(films=Count("pk"), recent=Count("pk", filter=recent))
    found = {upload.pk: dict.fromkeys(("total", "recent", *Match.values), 0) for upload in uploads}
    for upload, match, films, settled in rows.values_list("upload", "film__match", "films", "recent"):
        found[upload][match] += films
        found[upload]["total"] += films
        found[upload]["recent"] += settled
    return {upload: {"films": numbers} for upload, numbers in found.items()}

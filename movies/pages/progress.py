"""How far a library is: its uploads, its films, and why they stand still, in a handful of queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, QuerySet

from enrichment.lookups import control, providers
from enrichment.lookups.control import Obstacle
from enrichment.uploads import Progress, progress_of
from ingestion.models import Upload
from movies import tmdb
from movies.models import Library, LibraryFilm, Match
from movies.pages.reasons import why
from movies.pages.rows import COLUMNS, film_row
from movies.pages.statistics import FilmRow

STREAM = "entries"
RECENT_UPLOADS = 5
RECENT_FILMS = 12
MAX_UNMATCHED = 50
"""Of each kind on the overview; the grid has the others."""


@dataclass(frozen=True, kw_only=True)
class Stand:
    uploads: Sequence[Progress] = ()
    """The latest ones, newest first, without those that are older than what is shown."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Match → films."""
    older: Sequence[Progress] = ()
    """The latest one, where what it holds is older than what is shown."""
    obstacle: Obstacle | None = None
    """Why open films are not being looked up."""

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def open(self) -> int:
        return self.counts.get(Match.OPEN, 0)

    @property
    def settled(self) -> int:
        return self.total - self.open

    @property
    def running(self) -> list[Progress]:
        return [progress for progress in self.uploads if progress.status != "completed"]

    @property
    def is_done(self) -> bool:
        """Nothing will change by itself: an upload that broke off does not go on."""
        return not self.open and all(progress.status == "failed" for progress in self.running)

    @property
    def percent(self) -> float:
        """Of the upload that is farthest behind."""
        films = 100 * self.settled / self.total if self.total else 0.0
        return min((progress.percent for progress in self.running), default=films)


def uploads_of(library: Library) -> QuerySet[Upload]:
    """Those that somebody sent: of a set the whole."""
    return Upload.objects.filter(stream=STREAM, part_of=None, given__library=library.name).order_by("-pk")


def stand_of(library: Library) -> Stand:
    uploads = list(uploads_of(library)[:RECENT_UPLOADS])
    progress = progress_of(uploads)
    found = [progress[upload.pk] for upload in uploads]
    films = LibraryFilm.objects.filter(library=library.name).order_by().values_list("match")
    counts = dict(films.annotate(number=Count("pk")))
    asks = counts.get(Match.OPEN, 0) > 0
    return Stand(
        uploads=[each for each in found if not is_older(library, each)],
        older=[each for each in found[:1] if is_older(library, each)],
        counts=counts,
        obstacle=obstacle() if asks else None,
    )


def is_older(library: Library, progress: Progress) -> bool:
    """Whether newer exports of all that it holds have been stored already: it changes nothing."""
    files = [part.upload for part in progress.parts] or [progress.upload]
    return all(is_late(library, file.given.get("kind"), file.given.get("exported_on")) for file in files)


def is_late(library: Library, kind: str | None, exported_on: str | None) -> bool:
    newest = library.newest.get(kind)
    return bool(newest and exported_on) and datetime.fromisoformat(exported_on or "") < datetime.fromisoformat(newest)


def obstacle() -> Obstacle | None:
    """Why TMDB is not being asked."""
    return control.obstacle(providers.get(tmdb.NAME), control.state_of(tmdb.NAME))


def latest_films(library: Library) -> list[FilmRow]:
    """Found last."""
    rows = LibraryFilm.objects.filter(library=library.name, match=Match.FOUND, tmdb_film__isnull=False)
    found = rows.order_by("-stored_at", "film_id").values_list(*COLUMNS.values())[:RECENT_FILMS]
    return [film_row(dict(zip(COLUMNS, values, strict=True))) for values in found]


@dataclass(frozen=True)
class Unmatched:
    film: FilmRow
    lookup: int | None
    candidates: Sequence[Mapping[str, Any]]
    why: str


@dataclass(frozen=True)
class Problem:
    """Films of one verdict that a person can do something about."""

    match: str
    number: int
    films: Sequence[Unmatched]

    @property
    def hidden(self) -> int:
        return self.number - len(self.films)


def problems_of(library: Library, counts: Mapping[str, int]) -> list[Problem]:
    verdicts = [match for match in (Match.AMBIGUOUS, Match.NOT_FOUND, Match.FAILED) if counts.get(match)]
    return [Problem(match.value, counts[match], unmatched(library, match)) for match in verdicts]


def unmatched(library: Library, match: Match) -> list[Unmatched]:
    rows = LibraryFilm.objects.filter(library=library.name, match=match).order_by("title", "year", "film_id")
    names = ("how", "lookup", "lookup__candidates", "tmdb_film", "tmdb_film__gone_at")
    return [_unmatched(values) for values in rows.values(*COLUMNS.values(), *names)[:MAX_UNMATCHED]]


def _unmatched(values: Mapping[str, Any]) -> Unmatched:
    film = film_row({name: values[column] for name, column in COLUMNS.items()})
    candidates = values["lookup__candidates"] or []
    is_unknown = values["tmdb_film__gone_at"] is not None
    reason = why(film.match, values["how"], len(candidates), values["tmdb_film"] or "", is_unknown=is_unknown)
    return Unmatched(film, values["lookup"], candidates, reason)

"""Which film or series of TMDB a row of an export means: the rules, in order.

The worst result is a wrong film that looks right, so whatever is unsure is ambiguous, and a person chooses. The rules
are pure except for `Tmdb`, which asks.

Years: a row's year is that of the first showing. TMDB's primary date is the first in cinemas, so it may be later, and
a film whose primary date is earlier was only shown again in that year.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Any, Literal

from movies.candidates import (
    Candidate,
    Kind,
    Tmdb,
    candidate,
    candidates,
    directors_of,
    members,
    other_titles,
    release_days,
    translated_titles,
    whole,
)
from movies.titles import (
    Closeness,
    closeness,
    equal_without_article,
    fold,
    moved_article,
    spaced,
    spellings,
    without_article,
)

KNOWN_VOTES = 100
"""With as many votes, a film is known; with fewer, a series of that title and year may be meant."""
HARDLY_KNOWN_VOTES = 20
"""With fewer, a famous film of that title, a year away, may be meant."""
FAR_BETTER_KNOWN = 20
FAMOUS_BESIDE = 100
"""Times the votes: as much better known is a film that casts doubt on one that hardly anyone knows."""
LONG_TITLE = 12
"""Letters: a title as long is hardly that of two films."""
MAX_YEARS_AWAY = 3
MAX_YEARS_AHEAD = 5
MAX_YEARS_AHEAD_OF_NAMESAKES = 2
"""Between a row without a year and the release of its film: with namesakes, it may be one that was never made."""
MAX_PAGES = 3
MAX_CANDIDATES = 8
MAX_DETAILED = 4
MIN_LIKENESS = 0.6


@dataclass(frozen=True)
class Asked:
    """What the row says of its film."""

    title: str = ""
    year: int | None = None
    date: str = ""
    """The day of the row, in ISO form."""
    seen: bool = False
    orphaned: bool = False
    """The film is no longer at Letterboxd, which may be why the row has no year."""
    directors: tuple[str, ...] = ()
    tmdb_id: int | None = None
    imdb_id: str = ""

    @classmethod
    def of(cls, question: Mapping[str, Any]) -> Asked:
        """From the JSON of the question: members as here, absent or null where the row says nothing."""
        directors = question.get("directors") or ()
        names = directors.split(",") if isinstance(directors, str) else directors
        year, number = question.get("year"), question.get("tmdb_id")
        return cls(
            title=str(question.get("title") or ""),
            year=whole(year) or None,
            date=str(question.get("date") or ""),
            seen=bool(question.get("seen")),
            orphaned=bool(question.get("orphaned")),
            directors=tuple(name.strip() for name in names if name.strip()),
            tmdb_id=whole(number) or None,
            imdb_id=str(question.get("imdb_id") or ""),
        )


@dataclass(frozen=True)
class Verdict:
    status: Literal["found", "ambiguous", "not_found"]
    how: str = ""
    candidates: tuple[Candidate, ...] = ()
    """The one that was found; those to choose from; what comes near."""

    @property
    def film(self) -> Candidate:
        return self.candidates[0]


SCORES = {
    "number": 1.0,
    "title and year": 1.0,
    "director": 1.0,
    "series": 0.95,
    "episode": 0.9,
    "far better known": 0.9,
    "other title": 0.9,
    "without article": 0.8,
    "a year away": 0.8,
    "only film of the title": 0.7,
    "no date yet": 0.7,
}
"""Rule by which something is found → how sure it is."""


def match(asked: Asked, tmdb: Tmdb) -> Verdict:
    """The rules in order; the first that says something decides."""
    verdict = _by_number(asked, tmdb)
    if verdict is None and spaced(asked.title):
        verdict = _without_year(asked, tmdb) if asked.year is None else _by_title_and_year(asked, asked.year, tmdb)
    if verdict is None:
        verdict = Verdict("not_found", "no title")
    return replace(verdict, candidates=verdict.candidates[:MAX_CANDIDATES])


# Numbers that the row gives.


def _by_number(asked: Asked, tmdb: Tmdb) -> Verdict | None:
    verdict = _by_tmdb_number(asked, asked.tmdb_id, tmdb) if asked.tmdb_id else None
    return verdict or (_by_imdb_number(asked, tmdb) if re.fullmatch(r"tt[0-9]{1,12}", asked.imdb_id) else None)


def _by_tmdb_number(asked: Asked, number: int, tmdb: Tmdb) -> Verdict | None:
    """Films and series have numbers of their own, so the title says which is meant; the film, if neither has it."""
    film = _numbered("movie", number, asked, tmdb)
    if film and (not asked.title or _has_title(film, asked, tmdb)):
        return Verdict("found", "number", (film,))
    series = _numbered("tv", number, asked, tmdb)
    if series and ((not asked.title and not film) or _has_title(series, asked, tmdb)):
        return Verdict("found", "number", (series,))
    if film and series and not _near(film, asked.year, 1):
        return Verdict("ambiguous", "film or series", (film, series))
    return Verdict("found", "number", (film,)) if film else None


def _numbered(kind: Kind, number: int, asked: Asked, tmdb: Tmdb) -> Candidate | None:
    details = tmdb.details(kind, number)
    return None if details is None else candidate(kind, details)


def _has_title(film: Candidate, asked: Asked, tmdb: Tmdb) -> bool:
    details = tmdb.details(film.kind, film.id) or {}
    titles = [*film.titles, *other_titles(details), *translated_titles(details)]
    return closeness(asked.title, titles) is not None or equal_without_article(asked.title, titles)


def _by_imdb_number(asked: Asked, tmdb: Tmdb) -> Verdict | None:
    answer = tmdb.by_imdb(asked.imdb_id)
    found = [*candidates("movie", answer, "movie_results"), *candidates("tv", answer, "tv_results")]
    how = "number"
    if not found:
        how = "episode"
        shows = {whole(episode.get("show_id")) for episode in members(answer, "tv_episode_results")}
        found = [series for show in shows if show and (series := _numbered("tv", show, asked, tmdb))]
    if len(found) > 1:
        found = [film for film in found if closeness(asked.title, film.titles) is not None] or found
    if not found:
        return None
    return Verdict("found" if len(found) == 1 else "ambiguous", how, tuple(found))


# Title and year.


def _by_title_and_year(asked: Asked, year: int, tmdb: Tmdb) -> Verdict:
    hits = _hits_of_year(asked, year, tmdb)
    films = _equal(asked, hits)
    if films and max(film.votes for film in films) >= KNOWN_VOTES:
        return _decide(asked, films, tmdb)
    others = _of_other_title(asked, _beside(films, hits), tmdb)
    series = _equal(asked, _series_of_year(asked, year, tmdb))
    if not (films or others or series):
        series = _of_other_title(asked, _series_of_year(asked, year, tmdb)[:1], tmdb)
    candidates = films + others + series or _equal_without_article(asked, year, hits, tmdb)
    if candidates:
        return _doubt(asked, year, _decide(asked, candidates, tmdb), tmdb)
    return _of_other_years(asked, year, tmdb)


def _hits_of_year(asked: Asked, year: int, tmdb: Tmdb) -> list[Candidate]:
    """Found for title and year, without what was only shown again then."""
    return [film for film in _hits(asked, year, tmdb) if film.year is not None and film.year >= year]


def _hits(asked: Asked, year: int | None, tmdb: Tmdb) -> list[Candidate]:
    """Further pages until a title is equal; the title spelled otherwise, if nothing is found at all."""
    hits: list[Candidate] = []
    for query in spellings(_query(asked)):
        for page in range(1, MAX_PAGES + 1):
            found, pages = tmdb.movies(query, year, page)
            hits += found
            if page >= pages or any(year is None or (film.year or 0) >= year for film in _equal(asked, hits)):
                break
        if hits:
            break
    return hits


def _series_of_year(asked: Asked, year: int, tmdb: Tmdb) -> list[Candidate]:
    return [series for series in tmdb.series(_query(asked), year) if series.year == year]


def _beside(films: Sequence[Candidate], hits: Sequence[Candidate]) -> Sequence[Candidate]:
    """Which films are worth a look whether the title asked for is another one of theirs: the first two, if none has it;
    famous ones, if only films have it that hardly anyone knows.
    """
    if not films:
        return hits[:2]
    most = max(film.votes for film in films)
    if most >= HARDLY_KNOWN_VOTES:
        return ()
    famous = [hit for hit in hits if hit not in films and hit.votes >= FAMOUS_BESIDE * max(most, 1)]
    return sorted(famous, key=lambda hit: -hit.votes)[:2]


def _of_other_title(asked: Asked, hits: Iterable[Candidate], tmdb: Tmdb) -> list[Candidate]:
    """Those that have the title asked for among their alternative or translated ones."""
    found = []
    for hit in hits:
        details = tmdb.details(hit.kind, hit.id) or {}
        if closeness(asked.title, other_titles(details)) is not None:
            found.append(replace(hit, closeness=Closeness.OTHER_TITLE))
        elif closeness(asked.title, translated_titles(details)) is not None:
            found.append(replace(hit, closeness=Closeness.TRANSLATED))
    return found


def _equal_without_article(asked: Asked, year: int, hits: Sequence[Candidate], tmdb: Tmdb) -> list[Candidate]:
    found = _same_but_article(asked, hits)
    bare = without_article(_query(asked))
    if not found and bare != spaced(_query(asked)):
        more, _ = tmdb.movies(bare, year)
        found = _same_but_article(asked, [film for film in more if film.year is not None and film.year >= year])
    return found


def _same_but_article(asked: Asked, hits: Iterable[Candidate]) -> list[Candidate]:
    same = [hit for hit in hits if equal_without_article(asked.title, hit.titles)]
    return [replace(hit, closeness=Closeness.WITHOUT_ARTICLE) for hit in same]


def _doubt(asked: Asked, year: int, verdict: Verdict, tmdb: Tmdb) -> Verdict:
    """Asks, if a film of the very title, a year away, may be meant instead of what was found."""
    if verdict.status != "found" or verdict.how == "director":
        return verdict
    found = verdict.film
    exact = found.closeness < Closeness.OTHER_TITLE
    if exact and found.kind == "movie" and found.votes >= HARDLY_KNOWN_VOTES:
        return verdict
    least = _votes_of_a_rival(found, exact)
    namesakes = [film for film in _equal(asked, _hits(asked, None, tmdb)) if _near(film, year, 1)]
    rivals = [film for film in namesakes if film.votes >= least and (film.kind, film.id) != (found.kind, found.id)]
    return Verdict("ambiguous", "namesake a year away", (found, *rivals)) if rivals else verdict


def _votes_of_a_rival(found: Candidate, exact: bool) -> float:
    """How well a namesake must be known to cast doubt: the less sure what was found is, the less."""
    if found.closeness is Closeness.TRANSLATED:
        return 0
    if exact and found.kind == "movie":
        return FAMOUS_BESIDE * max(found.votes, 1)
    if exact and found.votes < KNOWN_VOTES:
        return found.votes / FAR_BETTER_KNOWN
    return found.votes


# The title alone, for a row whose year leads nowhere.


def _of_other_years(asked: Asked, year: int, tmdb: Tmdb) -> Verdict:
    hits = _hits(asked, None, tmdb)
    films = _equal(asked, hits)
    near = [film for film in films if _near(film, year, 1)]
    if near:
        return _a_year_away(asked, near, films, tmdb)
    if len(films) == 1 and (how := _how_alone(asked, year, films[0])):
        return _decide(asked, films, tmdb, how)
    if films:
        return Verdict("ambiguous", "other year", tuple(films))
    series = _equal(asked, tmdb.series(_query(asked)))
    if len(series) == 1 and _near(series[0], year, 1):
        return _decide(asked, series, tmdb, "a year away")
    renamed = _of_other_title(asked, [hit for hit in hits if _near(hit, year, 1)][:2], tmdb)
    if unsure := series or renamed or _same_but_article(asked, hits):
        return Verdict("ambiguous", "other year", tuple(unsure))
    return _nothing(asked, [*_hits_of_year(asked, year, tmdb), *hits])


def _a_year_away(asked: Asked, near: list[Candidate], films: list[Candidate], tmdb: Tmdb) -> Verdict:
    verdict = _decide(asked, near, tmdb, "a year away")
    if verdict.status != "found" or verdict.film.votes >= HARDLY_KNOWN_VOTES:
        return verdict
    rivals = [film for film in films if film.votes >= FAMOUS_BESIDE * max(verdict.film.votes, 1)]
    return Verdict("ambiguous", "other year", (verdict.film, *rivals)) if rivals else verdict


def _how_alone(asked: Asked, year: int, film: Candidate) -> str:
    """Why the only film of the title is the one that is meant; empty, if that is unsure."""
    if film.year is None:
        logged = int(asked.date[:4]) if re.match(r"[0-9]{4}", asked.date) else year
        return "no date yet" if year >= logged - 1 else ""
    return (
        "only film of the title" if len(fold(asked.title)) >= LONG_TITLE and _near(film, year, MAX_YEARS_AWAY) else ""
    )


# No year: the film had no date when the row was made, so nothing can be meant that was released before.


def _without_year(asked: Asked, tmdb: Tmdb) -> Verdict:
    hits = _hits(asked, None, tmdb)
    films = _equal(asked, hits)
    possible = [film for film in films if _had_no_date(asked, film)]
    if not possible:
        open_hits = [hit for hit in hits if hit not in films and _had_no_date(asked, hit)]
        possible = _of_other_title(asked, open_hits[:2], tmdb)
    series = [] if possible else _equal(asked, tmdb.series(_query(asked)))
    possible += [show for show in series if _had_no_date(asked, show)]
    if len(possible) == 1 and _is_sure(asked, possible[0], [*films, *series], tmdb):
        return _decide(asked, possible, tmdb, "no date yet")
    others = [film for film in (*films, *series) if film not in possible]
    if unsure := (*possible, *others, *([] if films else _same_but_article(asked, hits))):
        return Verdict("ambiguous", "no year", unsure)
    return _nothing(asked, hits)


def _had_no_date(asked: Asked, film: Candidate) -> bool:
    if not film.date or not asked.date:
        return not film.date
    only_the_year = film.date.endswith("-01-01")
    return film.date[:4] >= asked.date[:4] if only_the_year else film.date >= asked.date


def _is_sure(asked: Asked, film: Candidate, exact: Sequence[Candidate], tmdb: Tmdb) -> bool:
    """Whether the only possible film is the one that is meant; `exact` are all that have the title."""
    if asked.orphaned or (asked.seen and film.date):
        return False
    namesakes = [other for other in exact if (other.kind, other.id) != (film.kind, film.id)]
    if not asked.date:
        return not namesakes
    if film.year is not None:
        ahead = MAX_YEARS_AHEAD_OF_NAMESAKES if namesakes else MAX_YEARS_AHEAD
        if film.year > int(asked.date[:4]) + ahead:
            return False
    return all(day >= asked.date for day in release_days(tmdb.details(film.kind, film.id) or {}) if day != film.date)


# What the rules have in common.


def _decide(asked: Asked, candidates: list[Candidate], tmdb: Tmdb, how: str = "") -> Verdict:
    """The one that is meant, of films of the title: the only one, that of the director, or the far better known."""
    if asked.directors and (verdict := _by_director(asked, candidates, tmdb)):
        return verdict
    best, *others = sorted(candidates, key=lambda film: -film.votes)
    if not others:
        return Verdict("found", how or _how(best), (best,))
    far_better = best.votes >= KNOWN_VOTES and all(best.votes >= FAR_BETTER_KNOWN * film.votes for film in others)
    if far_better and all(best.closeness <= film.closeness for film in others):
        return Verdict("found", "far better known", (best,))
    return Verdict("ambiguous", "namesakes", (best, *others))


def _how(film: Candidate) -> str:
    if film.closeness in (Closeness.OTHER_TITLE, Closeness.TRANSLATED):
        return "other title"
    if film.closeness is Closeness.WITHOUT_ARTICLE:
        return "without article"
    return "series" if film.kind == "tv" else "title and year"


def _by_director(asked: Asked, candidates: Sequence[Candidate], tmdb: Tmdb) -> Verdict | None:
    """None, where the directors that the row names decide nothing: TMDB does not know those of the film."""
    wanted = [_name(name) for name in asked.directors]
    directors = {
        film: [_name(name) for name in directors_of(tmdb.details(film.kind, film.id) or {})]
        for film in candidates[:MAX_CANDIDATES]
    }
    same = [film for film, names in directors.items() if any(_same_person(a, b) for a in names for b in wanted)]
    if len(same) == 1:
        return Verdict("found", "director", (same[0],))
    known = [film for film, names in directors.items() if names and film.kind == "movie"]
    if same or not known:
        return None
    return Verdict("ambiguous", "other director", tuple(candidates))


def _name(name: str) -> frozenset[str]:
    return frozenset(spaced(name).split())


def _same_person(one: frozenset[str], other: frozenset[str]) -> bool:
    """Words in any order, and one of the names may have more: Bong Joon Ho, Joon-ho Bong; Alejandro G. Iñárritu."""
    return (
        one == other
        or (len(one & other) >= 2 and (one < other or other < one))
        or "".join(sorted(one)) == "".join(sorted(other))
    )


def _equal(asked: Asked, hits: Iterable[Candidate]) -> list[Candidate]:
    """Each once."""
    found: dict[tuple[str, int], Candidate] = {}
    for hit in hits:
        if (level := closeness(asked.title, hit.titles)) is not None:
            found[hit.kind, hit.id] = replace(hit, closeness=level)
    return list(found.values())


def _near(film: Candidate, year: int | None, years: int) -> bool:
    return film.year is not None and year is not None and abs(film.year - year) <= years


def _query(asked: Asked) -> str:
    return moved_article(asked.title)


def _nothing(asked: Asked, hits: Iterable[Candidate]) -> Verdict:
    """Not found; what comes near is kept for people, and decides nothing."""
    wanted = fold(asked.title)
    near = {
        (hit.kind, hit.id): (likeness, hit)
        for hit in hits
        if (likeness := SequenceMatcher(None, wanted, fold(hit.title)).ratio()) >= MIN_LIKENESS
    }
    ranked = sorted(near.values(), key=lambda pair: (-pair[0], -pair[1].votes))
    return Verdict("not_found", "", tuple(hit for _, hit in ranked[:MAX_CANDIDATES]))

"""Rules that no verdict breaks, whatever rows and films there are."""

import itertools
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from movies.candidates import Kind, Tmdb
from movies.matching import FAR_BETTER_KNOWN, MAX_YEARS_AWAY, Asked, match
from movies.tests.service import Service
from movies.titles import closeness, equal_without_article, fold
from movies.tmdb import reduce_details
from standins.tmdb import Film

EXAMPLES = int(os.environ.get("EXAMPLES", "200"))
TITLES = ["Leo", "Léo", "Leo!", "The Leo", "Leo Two", "Leo & Co", "Leo and Co", "Leo, The", "★", "A Rather Long Title"]
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)
YEARS = st.integers(2015, 2021)
DAYS = st.builds("{:04}-{:02}-15".format, YEARS, st.integers(1, 12))
VOTES = st.sampled_from([0, 1, 3, 15, 19, 20, 60, 99, 100, 400, 2000, 9000])


@st.composite
def films(draw: st.DrawFn) -> list[Film]:
    found = []
    for number in range(1, draw(st.integers(0, 6)) + 1):
        date = draw(st.one_of(st.just(""), DAYS, DAYS, DAYS))
        later = [day for day in draw(st.lists(DAYS, max_size=2)) if date]
        film = Film(
            number,
            draw(st.sampled_from(TITLES)),
            date,
            kind=draw(st.sampled_from(["movie", "movie", "movie", "tv"])),
            original_title=draw(st.sampled_from(["", *TITLES])),
            released=later,
            votes=draw(VOTES),
            popularity=draw(st.sampled_from([1.0, 5.0, 9.0])),
            also=draw(st.lists(st.sampled_from(TITLES), max_size=1)),
            translated={"fr": draw(st.sampled_from(TITLES))} if draw(st.booleans()) else {},
        )
        found.append(film)
    return found


ROWS = st.builds(
    Asked,
    title=st.sampled_from(TITLES),
    year=st.one_of(st.none(), YEARS, YEARS),
    date=st.one_of(st.just(""), DAYS),
    seen=st.booleans(),
    orphaned=st.booleans(),
)


def year_of(film: Film) -> int | None:
    return int(film.date[:4]) if film.date else None


@settings(max_examples=EXAMPLES, deadline=None)
@given(ROWS, films())
def test_a_film_that_is_found_has_the_title(asked: Asked, there: list[Film]) -> None:
    verdict = match(asked, Service(there).asking())
    assert len(verdict.candidates) == 1 or verdict.status != "found"
    if verdict.status == "found":
        film = next(film for film in there if (film.kind, film.id) == (verdict.film.kind, verdict.film.id))
        assert closeness(asked.title, film.titles) is not None or equal_without_article(asked.title, film.titles[:2])


@settings(max_examples=EXAMPLES, deadline=None)
@given(ROWS, films())
def test_a_film_that_is_found_fits_the_year(asked: Asked, there: list[Film]) -> None:
    verdict = match(asked, Service(there).asking())
    if verdict.status != "found":
        return
    film = next(film for film in there if (film.kind, film.id) == (verdict.film.kind, verdict.film.id))
    year = year_of(film)
    if asked.year is None:
        assert not asked.orphaned
        assert year is None or (asked.date and film.date >= asked.date and not asked.seen)
    elif year is None:
        assert verdict.how == "no date yet"
    elif str(asked.year) in film.release_years and film.kind == "movie":
        assert year >= asked.year - (1 if verdict.how == "a year away" else MAX_YEARS_AWAY)
    else:
        alone = verdict.how == "only film of the title" and len(fold(asked.title)) >= 12
        assert abs(year - asked.year) <= (MAX_YEARS_AWAY if alone else 1)


@settings(max_examples=EXAMPLES, deadline=None)
@given(ROWS, films(), VOTES)
def test_two_that_nothing_tells_apart_are_ambiguous(asked: Asked, there: list[Film], votes: int) -> None:
    """The same film once more, about as well known: whoever finds the one guesses.

    By another title only the first two results are looked at, so the second film may be overlooked.
    """
    verdict = match(asked, Service(there).asking())
    if verdict.status != "found" or verdict.how == "other title":
        return
    twin = next(film for film in there if (film.kind, film.id) == (verdict.film.kind, verdict.film.id))
    if votes * FAR_BETTER_KNOWN <= twin.votes or twin.votes * FAR_BETTER_KNOWN <= votes:
        votes = twin.votes
    if not twin.votes == votes == 0 and (votes == 0 or twin.votes == 0):
        votes = twin.votes
    other = Film(**{**vars(twin), "id": 77, "votes": votes})
    assert match(asked, Service([*there, other]).asking()).status == "ambiguous"


@settings(max_examples=EXAMPLES, deadline=None)
@given(ROWS, films(), st.randoms(use_true_random=False))
def test_the_order_of_results_decides_nothing(asked: Asked, there: list[Film], random: object) -> None:
    """Of films with one title each, so that none has to be looked at closely."""
    plain = [Film(**{**vars(film), "also": (), "translated": {}}) for film in there]
    turned = [Film(**{**vars(film), "popularity": 10 - film.popularity}) for film in plain]
    one, other = match(asked, Service(plain).asking()), match(asked, Service(turned[::-1]).asking())
    assert (one.status, one.how) == (other.status, other.how)
    if one.status == "found":
        assert (one.film.kind, one.film.id) == (other.film.kind, other.film.id)


NAMES = [
    *("id", "title", "name", "original_title", "release_date", "first_air_date", "vote_count", "vote_average"),
    *(
        "runtime",
        "genres",
        "credits",
        "aggregate_credits",
        "cast",
        "crew",
        "job",
        "jobs",
        "roles",
        "character",
        "order",
    ),
    *("results", "alternative_titles", "titles", "translations", "data", "iso_639_1", "release_dates"),
    *(
        "external_ids",
        "imdb_id",
        "created_by",
        "episode_run_time",
        "spoken_languages",
        "poster_path",
        "budget",
        "popularity",
    ),
    *("total_pages", "movie_results", "tv_results", "tv_episode_results", "show_id"),
]
ODD = st.recursive(
    st.one_of(JSON, st.sampled_from(TITLES), DAYS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=9)),
    max_leaves=15,
)
ANSWERS = st.dictionaries(st.sampled_from(NAMES), ODD)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.sampled_from(["movie", "tv"]), ANSWERS)
def test_details_may_be_anything(kind: Kind, answer: dict[str, Any]) -> None:
    assert set(reduce_details(kind, answer)) == set(reduce_details("movie", {}))


@settings(max_examples=EXAMPLES, deadline=None)
@given(ROWS, st.lists(ANSWERS, min_size=1, max_size=3))
def test_answers_may_be_anything(asked: Asked, answers: list[dict[str, Any]]) -> None:
    coming = itertools.cycle(answers)
    verdict = match(asked, Tmdb(lambda path, params: next(coming)))
    assert verdict.status in ("found", "ambiguous", "not_found")

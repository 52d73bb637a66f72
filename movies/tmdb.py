"""TMDB: which film a row means, and what is known of that film.

Questions of the kind `match` are of a film of a library; their answers are {"kind": "movie" or "tv", "id": number}.
Those of the kinds `movie` and `tv` have that number as their key; their answers are what is kept of the details.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from enrichment.lookups import Answer, Description, Provider, Question, Rate, http
from enrichment.lookups.providers import Apply
from movies import matching
from movies.candidates import Candidate, Kind, Tmdb, candidate, directors_of, inside, members, text, texts, whole
from movies.matching import Asked, Verdict

PAGES = "https://www.themoviedb.org"
PICTURES = "https://image.tmdb.org"
NAME = "tmdb"
MATCH = "match"
VERSION = "/3"
MAX_CAST = 10
MAX_TITLE = 500
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def provider(apply: Apply) -> Provider:
    return Provider(
        name=NAME,
        label="TMDB",
        rate=lambda: Rate(*settings.TMDB_RATE),
        url=lambda: str(settings.TMDB_URL),
        ask=ask,
        apply=apply,
        expiry=expiry,
        why_off=why_off,
        secret=lambda: str(settings.TMDB_API_KEY),
        kinds=(MATCH, "movie", "tv"),
        decided_kinds=(MATCH,),
        describe=describe,
        describe_question=describe_question,
        parse_choice=parse_choice,
        choice_help=f"Address of a film or series at TMDB, such as {PAGES}/movie/603-the-matrix",
        picture_hosts=lambda: (PICTURES,) if settings.POSTERS else (),
        stand_in=stand_in,
        notice=notice,
    )


def expiry(kind: str) -> timedelta | None:
    """Data expire; which film is meant stays, unless TMDB takes its number away."""
    return None if kind == MATCH else timedelta(seconds=settings.TMDB_EXPIRY)


def why_off() -> str:
    return "" if settings.TMDB_API_KEY else "TMDB_API_KEY is not set."


def is_demo() -> bool:
    """Whether this machine stands in for TMDB: what it says of films is no data of TMDB's."""
    return urlsplit(settings.TMDB_URL).hostname in THIS_MACHINE


def stand_in() -> str:
    return "TMDB_API_KEY is not set; a server on this machine stands in for TMDB." if is_demo() else ""


def page_of(kind: str, number: int | None) -> str:
    """The address of a film or series at TMDB; empty in the demo, whose numbers are made up."""
    return f"{PAGES}/{kind}/{number}" if number and not is_demo() else ""


def notice() -> str:
    """As TMDB's terms want it."""
    return (
        "Demo data, not from TMDB."
        if is_demo()
        else "This product uses the TMDB API but is not endorsed or certified by TMDB."
    )


def ask(questions: Sequence[Question]) -> dict[str, Answer]:
    return {question.key: _answer(question) for question in questions}


def _answer(question: Question) -> Answer:
    tmdb = Tmdb(get, settings.TMDB_LANGUAGE)
    if question.kind == MATCH:
        return match_answer(matching.match(Asked.of(question.data), tmdb), tmdb)
    kind: Kind = "tv" if question.kind == "tv" else "movie"
    details = tmdb.details(kind, int(question.key))
    return Answer(status="found", data=reduce_details(kind, details)) if details else Answer(status="not_found")


def get(path: str, params: Mapping[str, str]) -> Any:
    """TMDB's answer to one request, None for a film or series that it does not have (any more)."""
    is_search = path.startswith("/search/")
    try:
        answer = http.get_json(NAME, VERSION + path, {**params, **_key_parameter()}, _key_header())
    except http.QuestionError as error:
        if error.status != 404:
            raise
        if is_search:
            raise http.ProviderUnavailable("TMDB_URL has no search: it is not that of TMDB.") from error
        return None
    if not isinstance(answer, dict) or (is_search and not isinstance(answer.get("results"), list)):
        raise http.ProviderUnavailable("TMDB answered with something else than it documents.")
    return answer


def _is_v3(key: str) -> bool:
    return re.fullmatch("[0-9a-fA-F]{32}", key) is not None


def _key_parameter() -> dict[str, str]:
    """An older key is a parameter; TMDB does not take it as a token."""
    return {"api_key": settings.TMDB_API_KEY} if _is_v3(settings.TMDB_API_KEY) else {}


def _key_header() -> dict[str, str]:
    return {} if _is_v3(settings.TMDB_API_KEY) else {"Authorization": f"Bearer {settings.TMDB_API_KEY}"}


def match_answer(verdict: Verdict, tmdb: Tmdb) -> Answer:
    """With the details of the film, if a rule has needed them; of those to choose from, what a person goes by."""
    if verdict.status == "found":
        film = verdict.film
        details = tmdb.asked_details(film.kind, film.id)
        also: dict[tuple[str, str], Any] = {}
        if details:
            also[film.kind, str(film.id)] = reduce_details(film.kind, details)
        data = {"kind": film.kind, "id": film.id}
        return Answer(status="found", data=data, also=also, score=matching.SCORES[verdict.how], how=verdict.how)
    detailed = matching.MAX_DETAILED if verdict.status == "ambiguous" else 0
    candidates = [
        to_choose(film, tmdb.details(film.kind, film.id) if place < detailed else None)
        for place, film in enumerate(verdict.candidates)
    ]
    return Answer(status=verdict.status, candidates=candidates, how=verdict.how)


def to_choose(film: Candidate, details: Mapping[str, Any] | None) -> dict[str, Any]:
    """A candidate as it is stored; without details neither directors nor runtime are known."""
    return {
        "kind": film.kind,
        "id": film.id,
        "title": film.title,
        "original_title": film.original_title,
        "date": film.date,
        "votes": film.votes,
        "poster_path": _poster(film.poster_path),
        "directors": directors_of(details or {}),
        "runtime": _runtime(details or {}),
    }


def describe(stored: Any) -> Description:
    """A candidate, what was found, or what is kept of a film."""
    kind, number = stored.get("kind"), stored.get("tmdb_id") or stored.get("id")
    date, original = stored.get("date") or stored.get("release_date") or "", stored.get("original_title")
    title = stored.get("title") or original or f"{kind} {number}"
    facts = {
        "Original title": original if original != title else "",
        "Kind": "Series" if kind == "tv" else "Film",
        "Director": ", ".join(stored.get("directors") or ()),
        "Runtime": f"{stored['runtime']} min" if stored.get("runtime") else "",
        "Votes": f"{stored['votes']:,}" if stored.get("votes") else "",
    }
    poster = stored.get("poster_path")
    return Description(
        title=title,
        year=date[:4],
        facts={name: fact for name, fact in facts.items() if fact},
        picture=f"{PICTURES}/t/p/w185{poster}" if poster and settings.POSTERS else "",
        link=page_of(str(kind), number),
        answer={"kind": kind, "id": number},
    )


def describe_question(question: Question) -> Description:
    asked = Asked.of(question.data)
    link = str(question.data.get("letterboxd_uri") or "")
    facts = {"Director": ", ".join(asked.directors), "Added": asked.date, "IMDb": asked.imdb_id}
    return Description(
        title=asked.title or f"{question.kind} {question.key}",
        year=str(asked.year or ""),
        facts={name: fact for name, fact in facts.items() if fact},
        link=link if link.startswith("https://") else "",
    )


def parse_choice(pasted: str) -> dict[str, Any]:
    """ValueError, unless it is the address of a film or series at TMDB, or the end of one: movie/603."""
    address = r"\s*(?:(?:https?://)?(?:www\.)?themoviedb\.org/)?(movie|tv)/([1-9][0-9]{0,8})(?:[-/?#]\S*)?\s*"
    found = re.fullmatch(address, pasted, re.ASCII)
    if not found:
        raise ValueError(f"This is no address of a film or series at TMDB, such as {PAGES}/movie/603-the-matrix.")
    return {"kind": found[1], "id": int(found[2])}


def reduce_details(kind: Kind, details: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a film or series. Numbers that TMDB does not know are 0 there, and None here."""
    cast = _cast(details)
    film = candidate(kind, details)
    return {
        "kind": kind,
        "tmdb_id": film.id,
        "imdb_id": _imdb_id(details),
        "title": film.title[:MAX_TITLE],
        "original_title": film.original_title[:MAX_TITLE],
        "release_date": _day(film.date),
        "runtime": _runtime(details),
        "genres": texts(details, "name", "genres"),
        "directors": directors_of(details),
        "cast": [person["name"] for person in cast],
        "characters": [_character(person) for person in cast],
        "countries": texts(details, "name", "production_countries"),
        "languages": texts(details, "english_name", "spoken_languages"),
        "budget": _known(details.get("budget")),
        "revenue": _known(details.get("revenue")),
        "popularity": _number(details.get("popularity")),
        "vote_average": _number(details.get("vote_average")) if film.votes else None,
        "vote_count": film.votes,
        "poster_path": _poster(film.poster_path),
    }


def _cast(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    people = members(details, "aggregate_credits", "cast") or members(details, "credits", "cast")
    named = [person for person in people if text(person.get("name"))]
    return sorted(named, key=lambda person: whole(person.get("order")) or 0)[:MAX_CAST]


def _character(person: Mapping[str, Any]) -> str:
    return next((name for name in (text(person.get("character")), *texts(person, "character", "roles")) if name), "")


def _imdb_id(details: Mapping[str, Any]) -> str | None:
    found = text(details.get("imdb_id")) or text(inside(details, "external_ids", "imdb_id"))
    return found if re.fullmatch("tt[0-9]{1,12}", found) else None


def _poster(path: str | None) -> str | None:
    """Part of an address on our pages: nothing but a file name."""
    return path if path and re.fullmatch(r"/[\w-]{1,80}\.\w{1,5}", path, re.ASCII) else None


def _runtime(details: Mapping[str, Any]) -> int | None:
    """Minutes; of a series those of an episode."""
    of_episodes = details.get("episode_run_time")
    first = of_episodes[0] if isinstance(of_episodes, list) and of_episodes else None
    return whole(details.get("runtime")) or whole(first) or None


def _known(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 2**63 else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < 1e15 else None


def _day(text: str) -> str | None:
    try:
        return date.fromisoformat(text[:10]).isoformat()
    except ValueError:
        return None

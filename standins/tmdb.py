"""Stands in for TMDB: its documented protocol, version 3, over a list of films.

As a child process: `python -m standins.tmdb --port 9000`, with the films of the demo; any key will do.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from standins.server import Request, Response, Server, child_options, serve_child

PAGE_SIZE = 20
MAX_PAGES = 500
MAX_APPENDED = 20
ERRORS = {
    5: (422, "Invalid parameters: Your request parameters are incorrect."),
    6: (404, "Invalid id: The pre-requisite id is invalid or not found."),
    7: (401, "Invalid API key: You must be granted a valid key."),
    9: (503, "Service offline: This service is temporarily offline, try again later."),
    11: (500, "Internal error: Something went wrong, contact TMDB."),
    20: (422, "Invalid date range: Should be a range no longer than 14 days."),
    22: (400, "Invalid page: Pages start at 1 and max at 500. They are expected to be an integer."),
    24: (504, "Your request to the backend server timed out. Try again."),
    25: (429, "Your request count (41) is over the allowed limit of 40."),
    27: (400, "Too many append to response objects: The maximum number of remote calls is 20."),
    34: (404, "The resource you requested could not be found."),
    43: (502, "Couldn't connect to the backend server."),
    45: (403, "This user has been suspended."),
    46: (503, "The API is undergoing maintenance. Try again later."),
    47: (400, "The input is not valid."),
}


@dataclass(frozen=True)
class Film:
    """A film or series. Dates are ISO texts: the primary one, "" if unknown, and those of all releases."""

    id: int
    title: str
    date: str = ""
    kind: str = "movie"
    original_title: str = ""
    released: Sequence[str] = ()
    votes: int = 0
    vote_average: float = 0.0
    popularity: float = 0.0
    also: Sequence[str] = ()
    """Alternative titles."""
    translated: Mapping[str, str] | None = None
    """Titles by language (ISO 639-1)."""
    directors: Sequence[str] = ()
    cast: Sequence[tuple[str, str]] = ()
    """Names and characters, in the order of the credits."""
    runtime: int = 0
    genres: Sequence[str] = ()
    countries: Mapping[str, str] | None = None
    """Names by code (ISO 3166-1)."""
    languages: Mapping[str, str] | None = None
    """English names by code; the first one is the original language."""
    budget: int = 0
    revenue: int = 0
    poster_path: str | None = None
    imdb_id: str | None = None
    episodes: Sequence[str] = ()
    """Of a series: the numbers of its episodes at IMDb."""
    overview: str = ""

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Film:
        """A film from JSON; `year` and years in `released` stand for dates in them; other members are ignored."""
        named = {name: given[name] for name in (field.name for field in fields(cls)) if name in given}
        named.setdefault("date", _day(given["year"]) if given.get("year") else "")
        named["released"] = [_day(day) for day in given.get("released", ())]
        return cls(**named)

    @property
    def release_years(self) -> set[str]:
        return {day[:4] for day in (self.date, *self.released) if day}

    @property
    def titles(self) -> list[str]:
        return [self.title, self.original_title or self.title, *self.also, *(self.translated or {}).values()]


def _day(given: int | str) -> str:
    return given if isinstance(given, str) else f"{given:04}-07-01"


class Tmdb:
    """The protocol; `keys` are the keys that are accepted, None: any."""

    def __init__(self, films: Iterable[Film], keys: set[str] | None = None) -> None:
        self.films = list(films)
        self.keys = keys
        self._by_id = {(film.kind, film.id): film for film in self.films}
        self._words = {id(film): [set(words(title)) for title in film.titles] for film in self.films}

    def __call__(self, request: Request) -> Response:
        if not self._may(request):
            return failure(7)
        if request.method != "GET":
            return failure(34)
        for pattern, handle in _ROUTES:
            if found := re.fullmatch(pattern, request.path):
                return handle(self, request.query, *found.groups())
        return failure(34)

    def remove(self, kind: str, number: int) -> None:
        """As TMDB does with numbers that were deleted or merged: 404 from now on."""
        film = self._by_id.pop((kind, number))
        self.films = [other for other in self.films if other is not film]

    def _may(self, request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = request.query.get("api_key") or (token if scheme.lower() == "bearer" else "")
        return bool(key) and (self.keys is None or key in self.keys)

    def search_movie(self, query: Mapping[str, str]) -> Response:
        """`year` fits any release, `primary_release_year` the first date alone."""
        found = self._search("movie", query)
        if year := query.get("year"):
            found = [film for film in found if year in film.release_years]
        if year := query.get("primary_release_year"):
            found = [film for film in found if film.date[:4] == year]
        return _page(found, query)

    def search_tv(self, query: Mapping[str, str]) -> Response:
        found = self._search("tv", query)
        if year := query.get("first_air_date_year"):
            found = [film for film in found if film.date[:4] == year]
        if year := query.get("year"):
            found = [film for film in found if year in film.release_years]
        return _page(found, query)

    def _search(self, kind: str, query: Mapping[str, str]) -> list[Film]:
        """Films with a title that has all words asked for, best known first; nothing for text that is not NFC."""
        text = query.get("query", "")
        asked = set(words(text))
        if not asked or not unicodedata.is_normalized("NFC", text):
            return []
        of_kind = [film for film in self.films if film.kind == kind]
        found = [film for film in of_kind if any(asked <= title for title in self._words[id(film)])]
        return sorted(found, key=lambda film: (-film.popularity, -film.votes, film.id))

    def movie(self, query: Mapping[str, str], number: str) -> Response:
        return self._details("movie", number, query)

    def tv(self, query: Mapping[str, str], number: str) -> Response:
        return self._details("tv", number, query)

    def _details(self, kind: str, number: str, query: Mapping[str, str]) -> Response:
        film = self._by_id.get((kind, int(number)))
        if film is None:
            return failure(34)
        appended = [name for name in query.get("append_to_response", "").split(",") if name]
        if len(appended) > MAX_APPENDED:
            return failure(27)
        parts = _MOVIE_PARTS if kind == "movie" else _TV_PARTS
        details = movie_details(film) if kind == "movie" else tv_details(film)
        return Response(200, details | {name: parts[name](film) for name in appended if name in parts})

    def find(self, query: Mapping[str, str], number: str) -> Response:
        if query.get("external_source") != "imdb_id":
            return failure(5)
        movies = [search_result(film) for film in self.films if film.kind == "movie" and film.imdb_id == number]
        series = [search_result(film) for film in self.films if film.kind == "tv" and film.imdb_id == number]
        episodes = [_episode(film) for film in self.films if number in film.episodes]
        empty: dict[str, list[Any]] = {"person_results": [], "tv_season_results": []}
        found = {"movie_results": movies, "tv_results": series, "tv_episode_results": episodes}
        return Response(200, found | empty)

    def configuration(self, query: Mapping[str, str]) -> Response:
        images = {
            "base_url": "http://image.tmdb.org/t/p/",
            "secure_base_url": "https://image.tmdb.org/t/p/",
            "poster_sizes": ["w92", "w154", "w185", "w342", "w500", "w780", "original"],
        }
        return Response(200, {"images": images, "change_keys": []})


_ROUTES = (
    (r"/3/search/movie", Tmdb.search_movie),
    (r"/3/search/tv", Tmdb.search_tv),
    (r"/3/movie/([0-9]{1,18})", Tmdb.movie),
    (r"/3/tv/([0-9]{1,18})", Tmdb.tv),
    (r"/3/find/(\w+)", Tmdb.find),
    (r"/3/configuration", Tmdb.configuration),
)


def failure(code: int) -> Response:
    """An error as TMDB words it, by its own number (`status_code`)."""
    status, message = ERRORS[code]
    return Response(status, {"success": False, "status_code": code, "status_message": message})


_LETTERS = str.maketrans({"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d"})


def words(text: str) -> list[str]:
    """Words without case and marks, in ASCII where there is such a letter; text of symbols alone is one word."""
    text = text.casefold().translate(_LETTERS)
    bare = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return re.findall(r"\w+", re.sub("['’ʼ`]", "", bare)) or [sign for sign in ["".join(bare.split())] if sign]


def _page(found: list[Film], query: Mapping[str, str]) -> Response:
    asked = query.get("page", "1")
    if not (asked.isascii() and asked.isdigit() and 1 <= int(asked) <= MAX_PAGES):
        return failure(22)
    page = int(asked)
    results = [search_result(film) for film in found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]]
    pages = max(1, -(-len(found) // PAGE_SIZE))
    return Response(200, {"page": page, "results": results, "total_pages": pages, "total_results": len(found)})


def search_result(film: Film) -> dict[str, Any]:
    """A film as in the results of a search: no genres by name, no people, no runtime."""
    common: dict[str, Any] = {
        "adult": False,
        "backdrop_path": None,
        "genre_ids": [],
        "id": film.id,
        "original_language": next(iter(film.languages or {}), "en"),
        "overview": film.overview,
        "popularity": film.popularity,
        "poster_path": film.poster_path,
        "vote_average": film.vote_average,
        "vote_count": film.votes,
    }
    original = film.original_title or film.title
    if film.kind == "movie":
        return common | {"title": film.title, "original_title": original, "release_date": film.date, "video": False}
    names = {"name": film.title, "original_name": original, "first_air_date": film.date}
    return common | names | {"origin_country": list(film.countries or {})}


def _common_details(film: Film) -> dict[str, Any]:
    return {
        "homepage": "",
        "status": "Released",
        "tagline": "",
        "genres": [{"id": number, "name": name} for number, name in enumerate(film.genres, 1)],
        "origin_country": list(film.countries or {}),
        "production_companies": [],
        "production_countries": [{"iso_3166_1": code, "name": name} for code, name in (film.countries or {}).items()],
        "spoken_languages": [
            {"english_name": name, "iso_639_1": code, "name": name} for code, name in (film.languages or {}).items()
        ],
    }


def movie_details(film: Film) -> dict[str, Any]:
    own = {
        "belongs_to_collection": None,
        "budget": film.budget,
        "imdb_id": film.imdb_id,
        "revenue": film.revenue,
        "runtime": film.runtime,
    }
    return search_result(film) | _common_details(film) | own


def tv_details(film: Film) -> dict[str, Any]:
    own = {
        "created_by": [
            {"id": number, "credit_id": str(number), "name": name} for number, name in enumerate(film.directors, 1)
        ],
        "episode_run_time": [film.runtime] if film.runtime else [],
        "in_production": False,
        "languages": list(film.languages or {}),
        "networks": [],
        "number_of_episodes": len(film.episodes),
        "number_of_seasons": 1,
        "seasons": [],
        "type": "Scripted",
    }
    return search_result(film) | _common_details(film) | own


def _episode(film: Film) -> dict[str, Any]:
    return {"id": film.id * 1000, "show_id": film.id, "name": "", "season_number": 1, "episode_number": 1}


def _credits(film: Film) -> dict[str, Any]:
    cast = [
        {"id": order + 1, "name": name, "character": character, "order": order, "known_for_department": "Acting"}
        for order, (name, character) in enumerate(film.cast)
    ]
    crew = [
        {"id": number, "name": name, "job": "Director", "department": "Directing"}
        for number, name in enumerate(film.directors, 1)
        if film.kind == "movie"
    ]
    return {"cast": cast, "crew": crew}


def _aggregate_credits(film: Film) -> dict[str, Any]:
    cast = [
        {"id": order + 1, "name": name, "order": order, "roles": [{"character": character, "episode_count": 1}]}
        for order, (name, character) in enumerate(film.cast)
    ]
    return {"cast": cast, "crew": []}


def _alternative_titles(film: Film) -> dict[str, Any]:
    titles = [{"iso_3166_1": "US", "title": title, "type": ""} for title in film.also]
    return {"titles" if film.kind == "movie" else "results": titles}


def _translations(film: Film) -> dict[str, Any]:
    name = "title" if film.kind == "movie" else "name"
    translations = [
        {"iso_3166_1": "", "iso_639_1": code, "name": code, "english_name": code, "data": {name: title, "overview": ""}}
        for code, title in (film.translated or {}).items()
    ]
    return {"translations": translations}


def _release_dates(film: Film) -> dict[str, Any]:
    days = sorted({day for day in (film.date, *film.released) if day})
    dates = [{"certification": "", "type": 3, "release_date": f"{day}T00:00:00.000Z"} for day in days]
    return {"results": [{"iso_3166_1": "US", "release_dates": dates}] if dates else []}


def _external_ids(film: Film) -> dict[str, Any]:
    return {"imdb_id": film.imdb_id, "wikidata_id": None}


_MOVIE_PARTS = {
    "credits": _credits,
    "external_ids": _external_ids,
    "alternative_titles": _alternative_titles,
    "translations": _translations,
    "release_dates": _release_dates,
}
_TV_PARTS = {
    "aggregate_credits": _aggregate_credits,
    "credits": _credits,
    "external_ids": _external_ids,
    "alternative_titles": _alternative_titles,
    "translations": _translations,
}


def start(films: Iterable[Film], keys: set[str] | None = None) -> Server:
    """A stand-in in threads of this process, to be used as a context manager."""
    return Server(Tmdb(films, keys))


if __name__ == "__main__":
    from standins.films import FILMS

    serve_child(Tmdb(FILMS), child_options(__doc__).parse_args())

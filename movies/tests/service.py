"""TMDB for tests of the rules: the stand-in's protocol, called without a network."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from movies.candidates import Tmdb as Asking
from standins.server import Request, Response
from standins.tmdb import Film, Tmdb


class Service:
    """The stand-in over these films; `paths` are those asked for, in order."""

    def __init__(self, films: Iterable[Film], answer: Callable[[Request], Response] | None = None) -> None:
        self._answer = answer or Tmdb(films)
        self.paths: list[str] = []

    def get(self, path: str, params: Mapping[str, str]) -> Any:
        self.paths.append(path)
        response = self._answer(Request("GET", f"/3{path}", {**params, "api_key": "k"}, {}))
        assert response.status in (200, 404), response.body
        return response.body if response.status == 200 else None

    def asking(self) -> Asking:
        return Asking(self.get)

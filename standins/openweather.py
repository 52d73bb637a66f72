"""Stands in for OpenWeather's geocoding: where a city is, by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from standins.server import Request, Response, Server

MAX_PLACES = 5


@dataclass(frozen=True)
class Place:
    name: str
    country: str
    latitude: float
    longitude: float
    state: str = ""
    """In words, as in answers."""
    state_code: str = ""
    """As questions name the states of the US."""
    local_names: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> dict[str, Any]:
        named: dict[str, Any] = {"name": self.name}
        if self.local_names:
            named["local_names"] = dict(self.local_names)
        place = {"lat": self.latitude, "lon": self.longitude, "country": self.country}
        return named | place | ({"state": self.state} if self.state else {})


class OpenWeather:
    """The protocol; `keys` are the keys that are accepted."""

    def __init__(self, places: Iterable[Place] = (), keys: Iterable[str] = ("k",)) -> None:
        self.places, self.keys = list(places), set(keys)

    def __call__(self, request: Request) -> Response:
        if request.query.get("appid") not in self.keys:
            return failure(401, "Invalid API key.")
        if request.path != "/geo/1.0/direct":
            return failure("404", "Internal error")
        asked = request.query.get("q", "").strip()
        if not asked:
            return failure("400", "Nothing to geocode")
        return Response(body=[place.json() for place in self._found(asked)][: self._limit(request)])

    def _found(self, asked: str) -> list[Place]:
        """`City,CC` or, in the US alone, `City,ST,CC`."""
        name, *codes = (part.strip().casefold() for part in asked.split(","))
        country = codes[-1] if codes else ""
        state = codes[0] if len(codes) > 1 and country == "us" else ""
        return [
            place
            for place in self.places
            if name in {each.casefold() for each in (place.name, *place.local_names.values())}
            and country in ("", place.country.casefold())
            and state in ("", place.state_code.casefold())
        ]

    def _limit(self, request: Request) -> int:
        given = request.query.get("limit", "")
        return min(MAX_PLACES, int(given)) if given.isdecimal() else 1


def failure(code: int | str, message: str) -> Response:
    """The code is a number in some answers and a text in others."""
    return Response(int(code), {"cod": code, "message": message})


BLOCKED = failure(
    429,
    "Your account is temporary blocked due to exceeding of requests limitation of your subscription type.",
)


def start(places: Iterable[Place] = (), keys: Iterable[str] = ("k",)) -> Server:
    """A stand-in in threads of this process, to be used as a context manager."""
    return Server(OpenWeather(places, keys))

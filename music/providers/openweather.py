"""OpenWeather: where cities are that GeoNames' file does not have.

Questions of the kind `geocode` have `City,CC` as their key, in the United States `City,ST,CC`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import cos, hypot, radians
from typing import Any

from enrichment.lookups import Answer, Description, Provider, Question, Rate, http
from enrichment.lookups.providers import Apply
from music.names import fold
from music.providers.members import text

NAME, GEOCODE = "openweather", "geocode"
MAX_PLACES = 5
MAX_READ = 50
"""Places, should more be answered than were asked for."""
SAME_PLACE_KM = 20
"""What is nearer is one city, listed twice."""


@dataclass(frozen=True)
class OpenWeather:
    """The service, as it is asked."""

    key: str
    url: str = "https://api.openweathermap.org"
    rate: Rate = Rate(60, 60)  # noqa: RUF009 (a tuple)

    def provider(self, apply: Apply) -> Provider:
        return Provider(
            name=NAME,
            label="OpenWeather",
            rate=self.rate,
            url=self.url,
            ask=self.ask,
            apply=apply,
            expiry=lambda kind: None,
            why_off=lambda: "" if self.key else "OPENWEATHER_API_KEY is not set.",
            secret=lambda: self.key,
            kinds=(GEOCODE,),
            decided_kinds=(GEOCODE,),
            describe=describe,
        )

    def ask(self, questions: Sequence[Question]) -> dict[str, Answer]:
        return {question.key: self._geocode(question.key) for question in questions}

    def _geocode(self, params: str) -> Answer:
        found = http.get_json(NAME, "/geo/1.0/direct", {"q": params, "limit": MAX_PLACES, "appid": self.key})
        if not isinstance(found, list):
            raise http.ProviderUnavailable("OpenWeather answered with something else than it documents.")
        return answer_of(params, [each for each in found[:MAX_READ] if isinstance(each, dict)])


def answer_of(params: str, found: Sequence[Mapping[str, Any]]) -> Answer:
    """Of the places of that name in that country: one, else a person chooses."""
    name, country = params.partition(",")[0], params.rpartition(",")[2]
    meant: list[dict[str, Any]] = []
    for each in found:
        place = reduce_place(each)
        if place and _is_meant(each, name, country) and not any(_are_near(place, other) for other in meant):
            meant.append(place)
    if len(meant) == 1:
        return Answer(status="found", data=meant[0], how="name")
    return Answer(status="ambiguous" if meant else "not_found", candidates=meant, how="name" if meant else "")


def reduce_place(found: Mapping[str, Any]) -> dict[str, Any] | None:
    """What is kept; None without a point on earth."""
    latitude, longitude = found.get("lat"), found.get("lon")
    if not isinstance(latitude, int | float) or not isinstance(longitude, int | float):
        return None
    if abs(latitude) > 90 or abs(longitude) > 180:
        return None
    texts = {name: text(found.get(name)) for name in ("name", "country", "state")}
    return {**texts, "latitude": float(latitude), "longitude": float(longitude)}


def describe(stored: Any) -> Description:
    facts = {name.capitalize(): str(stored.get(name) or "") for name in ("country", "state", "latitude", "longitude")}
    return Description(
        title=str(stored.get("name") or ""),
        facts={heading: fact for heading, fact in facts.items() if fact},
        link=f"https://www.openstreetmap.org/?mlat={stored.get('latitude')}&mlon={stored.get('longitude')}&zoom=10",
        answer=stored,
    )


def _is_meant(found: Mapping[str, Any], name: str, country: str) -> bool:
    others = found.get("local_names")
    names = [found.get("name"), *(others.values() if isinstance(others, dict) else ())]
    return found.get("country") == country and fold(name) in {fold(each) for each in names if isinstance(each, str)}


def _are_near(place: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    north = place["latitude"] - other["latitude"]
    east = (place["longitude"] - other["longitude"]) * cos(radians(place["latitude"]))
    return hypot(north, east) * 111 < SAME_PLACE_KM

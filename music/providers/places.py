"""GeoNames: which city an area is. Its cities are in a file here: nobody is asked, and nothing sent.

Questions of the kind `city` have the id of an area as their key. They are answered from the file, not from the table of
cities: `ask` runs in threads that make no queries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from enrichment.lookups import Answer, Description, Provider, Question, Rate
from enrichment.lookups.providers import Apply
from music.geography import places
from music.geography.places import City, Named, Place

NAME, CITY = "places", "city"
PAGES = "https://www.geonames.org"
EXAMPLE = f"{PAGES}/2654675"
MAX_CANDIDATES = 10
RULES = {"link": "MusicBrainz’ link to GeoNames", "name": "name"}
"""How a city was found, for people."""


def provider(apply: Apply) -> Provider:
    return Provider(
        name=NAME,
        label="GeoNames",
        rate=Rate(1000, 1),
        ask=ask,
        apply=apply,
        threads=1,
        expiry=lambda kind: None,
        kinds=(CITY,),
        decided_kinds=(CITY,),
        describe=describe,
        describe_question=describe_question,
        parse_choice=parse_choice,
        rules=RULES,
        choice_help=f"Address of a city at GeoNames, such as {EXAMPLE}",
    )


def ask(questions: Sequence[Question]) -> dict[str, Answer]:
    return {question.key: answer_of(_located(question.data)) for question in questions}


def question_of(chain: Sequence[Named], country: str | None, subdivision: str | None) -> dict[str, Any]:
    """The area and those above it, the nearest first."""
    return {
        "chain": [{"name": each.name, "type": each.type, "geonames": list(each.geonames)} for each in chain],
        "country": country,
        "subdivision": subdivision,
    }


def _located(question: Mapping[str, Any]) -> Place:
    chain = [Named(each["name"], each["type"], tuple(each["geonames"])) for each in question.get("chain") or ()]
    return places.locate(chain, question.get("country"), question.get("subdivision"))


def answer_of(place: Place) -> Answer:
    """{"geoname_id": …}, null for a region."""
    if place.status == "no_city":
        return Answer(status="found", data={"geoname_id": None}, how="no city")
    candidates = [to_choose(city) for city in place.candidates[:MAX_CANDIDATES]]
    if place.status == "found" and place.city:
        data = {**to_choose(place.city), "how": place.how, "precision": place.precision}
        return Answer(status="found", data=data, candidates=candidates, how=place.how)
    status: Any = "ambiguous" if place.status == "ambiguous" else "not_found"
    return Answer(status=status, candidates=candidates, how="name" if candidates else "")


def to_choose(city: City) -> dict[str, Any]:
    return {
        "geoname_id": city.id,
        "name": city.name,
        "country": city.country,
        "state": city.state,
        "latitude": city.latitude,
        "longitude": city.longitude,
        "population": city.population,
    }


def describe(stored: Any) -> Description:
    """A city to choose, or the one that was found."""
    number = stored.get("geoname_id")
    if number is None:
        return Description(title="No city", answer={"geoname_id": None})
    facts = {
        "Country": stored.get("country") or "",
        "State": stored.get("state") or "",
        "Inhabitants": f"{stored['population']:,}" if stored.get("population") else "",
        "Latitude": str(stored.get("latitude")),
        "Longitude": str(stored.get("longitude")),
    }
    return Description(
        title=str(stored.get("name") or number),
        facts={heading: fact for heading, fact in facts.items() if fact},
        link=f"{PAGES}/{number}",
        answer={**stored, "how": "", "precision": "city"},
    )


def describe_question(question: Question) -> Description:
    chain = question.data.get("chain") or ()
    names = [str(each.get("name") or "") for each in chain]
    return Description(
        title=names[0] if names else question.key,
        facts={"Within": ", ".join(names[1:])} if names[1:] else {},
        link=f"https://musicbrainz.org/area/{question.key}",
    )


def parse_choice(pasted: str) -> dict[str, Any]:
    """ValueError, unless it is the address of a city at GeoNames, or its number."""
    address = r"\s*(?:(?:https?://)?(?:www\.|sws\.)?geonames\.org/)?([1-9][0-9]{0,9})(?:[/?#]\S*)?\s*"
    found = re.fullmatch(address, pasted, re.ASCII)
    city = places.by_id(int(found[1])) if found else None
    if not city:
        raise ValueError(
            f"This is no address of a city of GeoNames in the file of this installation, such as {EXAMPLE}."
        )
    return {**to_choose(city), "how": "", "precision": "city"}

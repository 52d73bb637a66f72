"""The difficult cases, by the real client against the stand-in, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from enrichment.lookups import Answer, Question, Rate, providers
from music import matching
from music.geography import areas, places
from music.geography.areas import Area
from music.geography.places import Named
from music.matching import Artist, Asked, Verdict
from music.providers import musicbrainz
from music.providers.musicbrainz import MusicBrainz
from music.tests.cases import Case, Map, Service, cases
from standins import musicbrainz as stand_in
from standins.server import Server

pytestmark = pytest.mark.django_db
Ask = Callable[[str, str, Any], Answer | None]


@contextmanager
def client(protocol: stand_in.MusicBrainz) -> Iterator[tuple[Ask, Server]]:
    """Asks one question of the real client."""
    with stand_in.start(protocol) as server:
        service = MusicBrainz("music@example.org", "0", server.url, Rate(100_000, 1))
        providers.register(service.provider(lambda lookups: None))

        def ask(kind: str, key: str, data: Any = None) -> Answer | None:
            return service.ask([Question(musicbrainz.NAME, kind, key, data or {})]).get(key)

        yield ask, server


@pytest.fixture(autouse=True)
def no_other_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "_registered", {})


def whose(play: dict[str, Any], ask: Ask) -> tuple[Verdict | Answer, str | None]:
    """The steps in their order: what came with the play, its page, then the evidence; and the id in the end."""
    asked = Asked.of({**play, "name": play.get("artist"), "mbid": play.get("artist_mbid")})
    if verdict := matching.given(asked):
        found = ask("artist", asked.mbid, None) if verdict.status == "found" else None
        return verdict, found.data["mbid"] if found and found.data else verdict.mbid
    among: list[str] = []
    if play.get("artist_id") and (page := ask("url", play["artist_id"], None)):
        verdict = matching.by_url(asked.name, musicbrainz.artists_of(page.data))
        if verdict.status in ("found", "special"):
            return verdict, verdict.mbid
        among = [artist.id for artist in verdict.candidates]
    question = {"name": asked.name, "titles": asked.titles, "isrcs": asked.isrcs, "among": among}
    answer = ask("match", "key", question)
    assert answer is not None
    return answer, answer.data["mbid"] if answer.data else None


@pytest.mark.parametrize("case", [case for case in cases("artist") if "play" in case.input], ids=str)
def test_whose_artist(case: Case) -> None:
    play, right = case.input["play"], case.right
    with client(Service(case.input["answers"], play["artist_id"])) as (ask, _):
        result, mbid = whose(play, ask)
    special = result.status == "special" or result.how == "special"
    assert ("special" if special else result.status) == right["state"]
    assert mbid == right.get("mbid")
    if "by" in right:
        assert result.how == right["by"]
    if right["state"] in ("ambiguous", "not_found") and "candidates" in right:
        shown = [each.id if isinstance(each, Artist) else each["mbid"] for each in result.candidates]
        assert sorted(shown) == sorted(right["candidates"])


def test_two_pages_of_one_artist() -> None:
    (case,) = (case for case in cases("artist") if "plays" in case.input)
    with client(Service(case.input["answers"], None)) as (ask, server):
        found = {whose(play, ask)[1] for play in case.input["plays"]}
        assert found == {case.right["mbid"]}
        assert [arrival.path for arrival in server.arrivals] == ["/ws/2/url"] * 2


def chain_of(area_id: str, ask: Ask) -> dict[str, Area]:
    """Asks for areas until the chain is complete."""
    known: dict[str, Area] = {}
    while wanted := areas.missing(area_id, known):
        for each in wanted:
            answer = ask("area", each, None)
            assert answer is not None and answer.status == "found"
            known[each] = Area.of(answer.data)
    return known


@pytest.mark.parametrize("case", cases("area"), ids=str)
def test_where_an_area_lies(case: Case) -> None:
    with client(Map(case.input["areas"])) as (ask, server):
        known = chain_of(case.input["area"], ask)
        assert len(server.arrivals) == len({arrival.path for arrival in server.arrivals}) == len(known)
    found = areas.locate(case.input["area"], known)
    there: dict[str, Any] = {
        **{name: area.name for name, area in found.levels.items()},
        "country_code": found.country_code,
        "continent_code": found.continent_code,
        "state_code": found.state_code,
        "params": found.params,
        "requests": len(known),
    }
    if case.right.get("historical"):
        assert found.historical
    right = {name: value for name, value in case.right.items() if name != "historical"}
    assert {name: there.get(name) for name in right} == right


@pytest.mark.parametrize("case", cases("place"), ids=str)
def test_where_a_place_is(case: Case) -> None:
    given, right = case.input, case.right
    link = [int(given["geonames_link"].rstrip("/").rpartition("/")[2])] if given["geonames_link"] else []
    chain = [Named(given["area"], given["type"], link)]
    chain += [Named(each["name"], each["type"]) for each in given.get("ancestors", ())]
    found = places.locate(chain, given["country_code"], given["subdivision"])
    assert found.status == {"none": "not_found"}.get(right["state"], right["state"])
    if right["state"] == "found":
        assert found.city is not None and found.city.id == right["geonameid"]
        assert (found.city.latitude, found.city.longitude) == (right["latitude"], right["longitude"])
        assert found.how == right["by"]
        assert found.precision == right.get("precision", "city")
    if isinstance(right.get("candidates"), int):
        assert len(found.candidates) == right["candidates"]
    if isinstance(right.get("candidates"), list):
        assert len(found.candidates) == len(right["candidates"])


def test_all_cases_are_tried() -> None:
    assert [len(cases(kind)) for kind in ("artist", "area", "place")] == [36, 25, 27]

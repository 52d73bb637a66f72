"""MusicBrainz as it is asked: through the runner, against the stand-in, over HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from enrichment.lookups import Question, Rate, providers, want
from enrichment.lookups.models import Lookup
from enrichment.lookups.runner import Runner
from music.matching import Artist, Verdict
from music.providers import musicbrainz
from music.providers.musicbrainz import MusicBrainz, describe, describe_question, match_answer, parse_choice, quoted
from standins import musicbrainz as stand_in
from standins import server as faults
from standins.musicbrainz import Area, Credited, Recording
from standins.server import Server

pytestmark = pytest.mark.django_db(transaction=True)
Start = Callable[..., Server]
FAST = Rate(10_000, 1)
CITY, COUNTRY, MERCIA = (f"00000000-0000-4000-8000-00000000000{number}" for number in (1, 2, 3))
BAND = "00000000-0000-4000-8000-000000000202"
MERGED = "00000000-0000-4000-8000-000000000203"


def mbid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


def page(number: int) -> str:
    return f"SPOTIFY{number:015}"


AREAS = [
    Area(CITY, "Bristol", "City", part_of=[(COUNTRY, False), (MERCIA, True)], geonames=2654675),
    Area(COUNTRY, "United Kingdom", "Country", countries=("GB",)),
    Area(MERCIA, "Mercia", ended=True),
]
TRIP_HOP = stand_in.Artist(
    BAND,
    "Trip Hop",
    ("T.H.",),
    "Group",
    "GB",
    area=COUNTRY,
    begin_area=CITY,
    begin="1988",
    genres={"downtempo": 2, "trip hop": 15, "disputed": 0},
    tags={"trip hop": 15, "seen live": -1},
    pages=(musicbrainz.SPOTIFY_ARTIST + page(0), "https://example.org/"),
)


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    monkeypatch.setattr(providers, "_registered", {})
    running: list[Server] = []

    def start(protocol: stand_in.MusicBrainz, rate: Rate = FAST, contact: str = "me@example.org") -> Server:
        server = stand_in.start(protocol).__enter__()
        running.append(server)
        providers.register(MusicBrainz(contact, "1.0", server.url, rate).provider(lambda lookups: None))
        return server

    yield start
    for server in running:
        server.__exit__()


def ask(kind: str, key: str, **question: Any) -> Lookup:
    want(musicbrainz.NAME, kind, {key: question})
    Runner().run(until_idle=True)
    return Lookup.objects.get(kind=kind, key=key)


def test_a_hundred_pages_in_a_request(start: Start) -> None:
    """Also the one that is left over, which is answered in another shape."""
    artists = [
        stand_in.Artist(mbid(number), f"Artist {number}", pages=(musicbrainz.SPOTIFY_ARTIST + page(number),))
        for number in range(0, 201, 2)
    ]
    server = start(stand_in.MusicBrainz(artists))
    want(musicbrainz.NAME, "url", [page(number) for number in range(201)])
    Runner().run(until_idle=True)
    assert len(server.arrivals) == 3
    assert Lookup.objects.filter(status="not_found").count() == 100
    found: Any = Lookup.objects.get(key=page(200)).answer
    assert [artist["mbid"] for artist in found["artists"]] == [mbid(200)]


@pytest.mark.parametrize("number", [0, 1])
def test_a_page_alone(start: Start, number: int) -> None:
    start(stand_in.MusicBrainz([TRIP_HOP], areas=AREAS))
    assert ask("url", page(number)).status == ("not_found" if number else "found")


def test_several_artists_of_one_page_stay_several(start: Start) -> None:
    other = stand_in.Artist(mbid(7), "Trip", pages=TRIP_HOP.pages[:1])
    start(stand_in.MusicBrainz([TRIP_HOP, other], areas=AREAS))
    found: Any = ask("url", page(0)).answer
    assert [artist["name"] for artist in found["artists"]] == ["Trip Hop", "Trip"]


def test_what_is_kept_of_an_artist(start: Start) -> None:
    server = start(stand_in.MusicBrainz([TRIP_HOP], areas=AREAS, merged={MERGED: BAND}))
    kept = ask("artist", MERGED).answer
    assert kept == {
        "mbid": BAND,
        "name": "Trip Hop",
        "sort_name": "Trip Hop",
        "type": "Group",
        "gender": "",
        "country": "GB",
        "disambiguation": "",
        "area": {
            "id": COUNTRY,
            "name": "United Kingdom",
            "sort_name": "United Kingdom",
            "disambiguation": "",
            "begin": "",
        },
        "begin_area": {"id": CITY, "name": "Bristol", "sort_name": "Bristol", "disambiguation": "", "begin": ""},
        "end_area": None,
        "begin": "1988",
        "end": "",
        "ended": False,
        "ipis": [],
        "aliases": ["T.H."],
        "genres": [{"name": "trip hop", "count": 15}, {"name": "downtempo", "count": 2}],
        "tags": [{"name": "trip hop", "count": 15}],
        "spotify_ids": [page(0)],
    }
    assert ask("artist", mbid(9)).status == "not_found"
    assert ask("artist", "nonsense").status == "not_found"
    assert [arrival.query["inc"] for arrival in server.arrivals] == ["genres tags aliases url-rels"] * 3


def test_what_is_kept_of_an_area(start: Start) -> None:
    start(stand_in.MusicBrainz(areas=AREAS))
    kept: Any = ask("area", CITY).answer
    assert kept["parents"] == [{"id": COUNTRY, "name": "United Kingdom", "type": "Country"}]
    assert (kept["type"], kept["geonames"], kept["countries"]) == ("City", [2654675], [])
    country: Any = ask("area", COUNTRY).answer
    former: Any = ask("area", MERCIA).answer
    assert (country["parents"], country["countries"], former["ended"]) == ([], ["GB"], True)


@pytest.mark.parametrize(
    ("name", "title"),
    [("-tarrot-", "nirv*"), ("(hed) p.e.", 'Say "Hello"'), ("AC/DC", "What\\"), ("a AND b", "x: y"), ("?~^", "!")],
)
def test_names_and_titles_are_quoted(start: Start, name: str, title: str) -> None:
    """What is no query, the stand-in refuses."""
    artist = stand_in.Artist(BAND, name)
    protocol = stand_in.MusicBrainz([artist], [Recording(title, [Credited(artist)])])
    server = start(protocol)
    found = ask("match", "key", name=name, titles=[title])
    assert (found.status, found.how, found.answer) == ("found", "titles", {"mbid": BAND, "name": name})
    assert ask("match", "other", name=name).how == "name"
    assert [arrival.path for arrival in server.arrivals] == ["/ws/2/recording", "/ws/2/artist"]


def test_a_phrase_ends_where_it_should() -> None:
    assert quoted('Say  "Hello"\\') == r'"Say \"Hello\"\\"'


def test_three_codes_and_one_search_for_titles(start: Start) -> None:
    server = start(stand_in.MusicBrainz([TRIP_HOP], areas=AREAS))
    codes = [f"GBFX0910000{number}" for number in range(5)]
    found = ask("match", "key", name="Nobody", titles=["A", "B (live)", "C", "D"], isrcs=codes)
    assert found.status == "not_found"
    assert [arrival.path.removeprefix("/ws/2/") for arrival in server.arrivals] == [
        *(f"isrc/{code}" for code in codes[:3]),
        "recording",
        "artist",
    ]
    titles = re.findall('recording:"([^"]*)"', server.arrivals[3].query["query"])
    assert titles == ["A", "B (live)", "B", "C"]


def test_who_asks_is_said_and_nobody_is_asked_without_it(start: Start) -> None:
    server = start(stand_in.MusicBrainz([TRIP_HOP], areas=AREAS), contact="")
    assert providers.get("musicbrainz").why_off() == "MUSICBRAINZ_CONTACT is not set."
    assert ask("artist", BAND).status == "open"
    assert server.arrivals == []


def test_503_slows_down_and_loses_nothing(start: Start) -> None:
    server = start(stand_in.MusicBrainz([TRIP_HOP], areas=AREAS))
    server.fail(stand_in.too_fast(2))
    found = ask("artist", BAND)
    assert (found.status, found.tries) == ("found", 0)
    first, second = (arrival.at for arrival in server.arrivals)
    assert second - first >= 2


@pytest.mark.parametrize("fault", [faults.broken_json(), faults.not_json(), faults.cut(), faults.error(200, [])])
def test_nonsense_is_no_answer(start: Start, fault: faults.Fault) -> None:
    server = start(stand_in.MusicBrainz([TRIP_HOP], areas=AREAS))
    server.fail(fault)
    assert ask("artist", BAND).status == "found"
    assert len(server.arrivals) == 2


def test_a_search_without_results_is_no_answer_either(start: Start) -> None:
    """When the service of searches changes, nobody becomes unknown by that."""
    server = start(stand_in.MusicBrainz([stand_in.Artist(BAND, "Bo")]))
    server.fail(faults.error(200, {"docs": []}))
    assert ask("match", "key", name="Bo").status == "found"


def test_scores_may_be_text(start: Start) -> None:
    server = start(stand_in.MusicBrainz())
    artists = [
        {"id": BAND, "name": "Bo", "score": "100", "aliases": None},
        {"id": mbid(1), "name": "bo"},
        {"name": "Bo"},
    ]
    server.fail(faults.error(200, {"artists": artists}))
    assert ask("match", "key", name="bo").answer == {"mbid": BAND, "name": "Bo"}


def test_not_more_than_a_request_a_second(start: Start) -> None:
    artists = [stand_in.Artist(mbid(number), f"Artist {number}") for number in range(4)]
    server = start(stand_in.MusicBrainz(artists), Rate(1, 1))
    want(musicbrainz.NAME, "artist", [artist.id for artist in artists])
    Runner().run(until_idle=True)
    assert faults.busiest([arrival.at for arrival in server.arrivals], 1.0) == 1
    assert len(server.arrivals) == 4


def test_what_people_see_and_choose() -> None:
    candidate = match_answer(Verdict("ambiguous", "name", candidates=[Artist(BAND, "Bo", disambiguation="UK band")]))
    (shown,) = (describe(each) for each in candidate.candidates)
    assert (shown.title, shown.facts, shown.answer) == (
        "Bo",
        {"Disambiguation": "UK band"},
        {"mbid": BAND, "name": "Bo"},
    )
    assert shown.link == f"https://musicbrainz.org/artist/{BAND}"
    assert (
        parse_choice(shown.link + "/releases?page=2") == parse_choice(f" {BAND.upper()} ") == {"mbid": BAND, "name": ""}
    )
    question = Question("musicbrainz", "match", "bo", {"name": "Bo", "titles": ["A", "B"]})
    assert describe_question(question).facts == {"Titles": "A, B"}
    special = match_answer(Verdict("special", "url", Artist("89ad4ac3-39f7-470e-963a-56509c546377", "Various Artists")))
    assert (special.data, describe(special.data).title) == (
        {"mbid": None, "name": "Various Artists"},
        "Various Artists",
    )
    with pytest.raises(ValueError, match="no address of an artist"):
        parse_choice("https://musicbrainz.org/release/5b11f4ce-a62d-471e-81fc-a69a8278c7da")

"""From plays to genres, countries and cities: the real providers by the runner, against the stand-ins, over HTTP."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from enrichment import lookups
from enrichment.lookups import providers
from enrichment.lookups.models import Lookup
from music import questions
from music.coverage import coverage
from music.models import Album, Area, Artist, ArtistGenre, City, MusicBrainzArtist, SpotifyArtist
from music.parquet import rows
from music.tests.cases import Case, Service, cases
from music.tests.service import (
    AREAS,
    BRISTOL,
    UNITED_KINGDOM,
    album_at_spotify,
    artist,
    at_spotify,
    band,
    look_up,
    mbid,
    play,
    services,
    spotify_id,
)
from standins import musicbrainz, openweather, server, spotify
from standins.musicbrainz import Credited, MusicBrainz, Recording
from standins.server import Request, Response
from tests.api import api
from tests.records import send

pytestmark = pytest.mark.django_db(transaction=True)
PAGE = "https://open.spotify.com/artist/"
VARIOUS = "89ad4ac3-39f7-470e-963a-56509c546377"
FIRST = f"spotify-{spotify_id(1)}"


def test_all_is_found() -> None:
    one = band(1, genres={"trip hop": 15, "dub": 2}, type="Group")
    of_spotify = spotify.Spotify([at_spotify(1), album_at_spotify(1)])
    with services(of_spotify=of_spotify, of_musicbrainz=MusicBrainz([one], areas=AREAS)) as there:
        send("listens", *(play(1, minute) for minute in range(3)))
        look_up()
        found = artist(FIRST)
        assert (found.match, found.how, found.mbid) == ("found", "url", mbid(1))
        assert (found.country_code, found.continent_code, found.area_id, found.city) == ("GB", "EU", BRISTOL, "Bristol")
        assert (found.latitude, found.longitude) == (51.45523, -2.59665)
        assert found.genres == ["trip hop", "dub"]
        assert set(ArtistGenre.objects.values_list("source", "genre", "count")) == {
            ("musicbrainz", "trip hop", 15),
            ("musicbrainz", "dub", 2),
            ("spotify", "trip hop", 0),
        }
        album = Album.objects.get()
        assert (album.album_name, album.label, album.artist_id) == ("Album 1", "A Label", spotify_id(1))
        assert SpotifyArtist.objects.get().popularity == 50
        area = Area.objects.get(pk=BRISTOL)
        assert (area.params, area.state_code, area.place, area.place_how) == ("Bristol,GB", "ENG", "found", "link")
        assert area.levels["subdivision"]["name"] == "England"
        assert area.city is not None and area.city.name == "Bristol"
        assert City.objects.count() == 34_006
        assert Area.objects.get(pk=UNITED_KINGDOM).place == "no_city"
        assert there.paths("musicbrainz")[0] == "/ws/2/url"
        assert sorted(there.paths("musicbrainz")) == sorted(
            ["/ws/2/url", f"/ws/2/artist/{mbid(1)}", *(f"/ws/2/area/{each.id}" for each in AREAS)]
        )
        assert sorted(there.paths("spotify")) == sorted(
            [f"/v1/artists/{spotify_id(1)}", f"/v1/albums/{spotify_id(1, 'L')}"]
        )
        assert there.paths("openweather") == []
        numbers = coverage()
        assert (numbers.plays, numbers.matched_plays, numbers.country_plays, numbers.city_plays) == (3, 3, 3, 3)
        assert {each.name: (each.on, each.waiting, each.plays) for each in numbers.providers} == {
            "spotify": (True, 0, 3),
            "musicbrainz": (True, 0, 3),
            "places": (True, 0, 3),
            "openweather": (True, 0, 0),
        }


def test_nobody_is_asked_twice() -> None:
    """However many share an MBID or an area, and whatever comes again."""
    shared = musicbrainz.Artist(
        mbid(1),
        "Artist 1",
        area=BRISTOL,
        pages=tuple(f"https://open.spotify.com/artist/{spotify_id(n)}" for n in (1, 2)),
    )
    with services(of_musicbrainz=MusicBrainz([shared, band(3)], areas=AREAS), SPOTIFY_CLIENT_ID="") as there:
        send("listens", play(1), play(2, artist="Other name"), play(3))
        look_up()
        send("listens", play(4, artist_id=None, artist_mbid=mbid(1), album_id=None), play(1, 5))
        look_up()
        assert set(Counter(there.paths("musicbrainz")).values()) == {1}
        rows = Artist.objects.values_list("mbid", "city", "match").order_by("pk")
        assert list(rows) == [(mbid(1), "Bristol", "found")] * 3 + [(mbid(3), "Bristol", "found")]
        assert MusicBrainzArtist.objects.count() == 2
        assert there.paths("spotify") == []


def test_a_cold_start_asks_as_many_at_once_as_services_take() -> None:
    artists, albums = range(1, 1001), range(1, 801)
    of_spotify = spotify.Spotify([*map(at_spotify, artists), *map(album_at_spotify, albums)])
    nobody = musicbrainz.Artist(VARIOUS, "Various Artists", pages=[PAGE + spotify_id(number) for number in artists])
    with services(of_spotify=of_spotify, of_musicbrainz=MusicBrainz([nobody])) as there:
        send("listens", *(play(n, n, album_id=spotify_id(n, "L") if n in albums else None) for n in artists))
        look_up()
        paths = Counter(there.paths("spotify"))
        assert paths == {"/v1/artists": 20, "/v1/albums": 40}
        assert there.paths("musicbrainz") == ["/ws/2/url"] * 10
        assert Artist.objects.filter(match="nobody").count() == 1000
        assert SpotifyArtist.objects.count() == 1000
        assert Album.objects.filter(fetched_at__isnull=False).count() == 800


def test_a_history_without_ids() -> None:
    """Spotify knows the track, and so the artist of that name; what it does not know is looked for by its titles."""
    track = spotify.Track(spotify_id(1, "T"), "Song 1", [at_spotify(1), at_spotify(2)])
    songs = [Recording("Song 3", [Credited(band(3))])]
    no_ids: dict[str, Any] = {"artist_id": None, "album_id": None}
    of_musicbrainz = MusicBrainz([band(1), band(3)], songs, areas=AREAS)
    with services(of_spotify=spotify.Spotify([track, at_spotify(1)]), of_musicbrainz=of_musicbrainz) as there:
        send("listens", play(1, **no_ids), play(3, **no_ids))
        look_up()
        rows = {row.name: row for row in Artist.objects.all()}
        assert (rows["Artist 1"].how, rows["Artist 1"].spotify_ids) == ("url", [spotify_id(1)])
        assert (rows["Artist 3"].how, rows["Artist 3"].mbid, rows["Artist 3"].city) == ("titles", mbid(3), "Bristol")
        assert there.paths("spotify")[0] == "/v1/tracks"


def test_a_provider_that_is_switched_on_later() -> None:
    track = spotify.Track(spotify_id(1, "T"), "Song 1", [at_spotify(1)])
    no_ids: dict[str, Any] = {"artist_id": None, "album_id": None}
    with services(SPOTIFY_CLIENT_ID="", MUSICBRAINZ_CONTACT="", OPENWEATHER_API_KEY="") as there:
        send("listens", play(1, **no_ids), play(2))
        questions.plan()
        look_up()
        assert there.paths("musicbrainz") == there.paths("spotify") == []
        off = {each.name: (each.on, each.seconds_left) for each in coverage().providers}
        assert off == {
            "spotify": (False, None),
            "musicbrainz": (False, None),
            "places": (True, 0),
            "openweather": (False, None),
        }
    of_spotify = spotify.Spotify([track, at_spotify(1), at_spotify(2)])
    with services(of_spotify=of_spotify, of_musicbrainz=MusicBrainz([band(1), band(2)], areas=AREAS)):
        questions.plan()
        look_up()
        assert set(Artist.objects.values_list("match", "mbid")) == {("found", mbid(1)), ("found", mbid(2))}
        assert sorted(row.spotify_ids for row in Artist.objects.all()) == [[spotify_id(1)], [spotify_id(2)]]


def test_a_wrong_mbid_came_with_the_play() -> None:
    with services(of_musicbrainz=MusicBrainz([band(1)], areas=AREAS)):
        send("listens", play(1, artist_mbid=mbid(9)))
        look_up()
        assert (artist(FIRST).how, artist(FIRST).mbid, artist(FIRST).city) == ("url", mbid(1), "Bristol")
        send("listens", play(1, 3, artist_mbid=mbid(9)))
        look_up()
        assert artist(FIRST).mbid == mbid(1)


def test_a_merged_artist_is_known_under_both_ids() -> None:
    with services(of_musicbrainz=MusicBrainz([band(1)], areas=AREAS, merged={mbid(7): mbid(1)})) as there:
        send("listens", play(1, artist_mbid=mbid(7)), play(2, artist_id=None, artist_mbid=mbid(1)))
        look_up()
        assert set(Artist.objects.values_list("mbid", "match", "city")) == {(mbid(1), "found", "Bristol")}
        assert MusicBrainzArtist.objects.get().merged_mbids == [mbid(7)]
        assert len(there.paths("musicbrainz")) == 2 + len(AREAS)


def known_of(key: str) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    """All of an artist; `how` is that of the lookup, which is asked again after a choice was undone."""
    columns = {name: value for name, value in vars(artist(key)).items() if name not in ("_state", "stored_at", "how")}
    return columns, set(ArtistGenre.objects.filter(artist=key).values_list("source", "genre"))


def test_who_is_ambiguous_is_chosen_by_a_person() -> None:
    twins = [
        musicbrainz.Artist(mbid(number), "Artist 1", disambiguation=text, area=BRISTOL, genres={"dub": 3})
        for number, text in ((1, "one"), (2, "other"))
    ]
    of_spotify = spotify.Spotify([at_spotify(1), album_at_spotify(1)])
    with services(of_spotify=of_spotify, of_musicbrainz=MusicBrainz(twins, areas=AREAS)):
        send("listens", play(1))
        look_up()
        assert (artist(FIRST).match, artist(FIRST).mbid) == ("ambiguous", None)
        before = known_of(FIRST)
        lookup = Lookup.objects.get(kind="match")
        assert lookup.kind in providers.get(lookup.provider).decided_kinds
        assert (lookup.question["titles"], {each["mbid"] for each in lookup.candidates}) == (
            ["Song 1"],
            {mbid(1), mbid(2)},
        )
        lookups.choose(lookup, "user:ada", {"mbid": mbid(2), "name": "Artist 1"})
        look_up()
        assert (artist(FIRST).match, artist(FIRST).how, artist(FIRST).city) == ("found", "chosen", "Bristol")
        assert artist(FIRST).genres == ["dub", "trip hop"]
        lookups.undo_choice(lookup, "user:ada")
        assert known_of(FIRST) == before
        lookups.reject_all(lookup, "user:ada")
        assert (artist(FIRST).match, artist(FIRST).how) == ("not_found", "chosen")


class Described(Service):
    """The service of a case, with a description of everybody."""

    def __call__(self, request: Request) -> Response:
        found, (path, _, id_) = super().__call__(request), request.path.rpartition("/")
        if path != "/ws/2/artist" or found.status == 200:
            return found
        return Response(body={"id": self.merged.get(id_, id_), "name": "Somebody"})


OF_EACH_DIFFICULTY = {case.difficulty: case for case in cases("artist") if "play" in case.input}.values()


@pytest.mark.parametrize("case", OF_EACH_DIFFICULTY, ids=str)
def test_the_difficult_cases(case: Case) -> None:
    given, right = case.input["play"], case.right
    with services(of_musicbrainz=Described(case.input["answers"], given["artist_id"]), SPOTIFY_CLIENT_ID=""):
        members = {name: given.get(name) for name in ("artist", "artist_id", "artist_mbid")}
        titles, codes = given.get("titles") or ["A Song"], given.get("isrcs") or []
        rows = [
            play(1, 10 * n + again, **members, album_id=None, track_id=None, track_name=title, track_isrc=code)
            for n, (title, code) in enumerate(zip([*titles, *titles], [*codes, *[None] * 9], strict=False))
            for again in range(max(1, 5 - n))
        ]
        send("listens", *rows)
        look_up()
        found = Artist.objects.first()
    if found is None:
        assert right["state"] == "none"
        return
    assert {"nobody": "special"}.get(found.match, found.match) == right["state"]
    assert found.mbid == right.get("mbid")
    if "by" in right:
        assert found.how == right["by"]


def test_what_spotify_does_not_have() -> None:
    """Null in a list; gone later, when its answers have expired."""
    of_spotify = spotify.Spotify([at_spotify(1), album_at_spotify(1)])
    with services(of_spotify=of_spotify, MUSICBRAINZ_CONTACT=""):
        send("listens", play(1), play(2))
        look_up()
        assert dict(SpotifyArtist.objects.values_list("pk", "name")) == {spotify_id(1): "Artist 1", spotify_id(2): ""}
        due = Lookup.objects.get(key=spotify_id(1), kind="artist").due_at
        assert due is not None and timedelta(days=26) < due - timezone.now() <= timedelta(days=30)
        of_spotify.__init__()  # type: ignore[misc]  # has nothing any more
        Lookup.objects.update(due_at=timezone.now())
        look_up()
        row = SpotifyArtist.objects.get(pk=spotify_id(1))
        assert row.gone_at is not None and row.name == "Artist 1"
        assert Album.objects.get(pk=spotify_id(1, "L")).gone_at is not None


def test_development_mode_and_the_quota_of_a_day() -> None:
    things = [at_spotify(number) for number in range(1, 31)]
    with services(of_spotify=spotify.Spotify(things, development=True, quota=20), MUSICBRAINZ_CONTACT="") as there:
        send("listens", *(play(number, number, album_id=None) for number in range(1, 31)))
        look_up()
        assert SpotifyArtist.objects.count() == Lookup.objects.filter(status="found").count() > 10
        (numbers,) = (each for each in coverage().providers if each.name == "spotify")
        assert numbers.waiting + numbers.known == 30
        assert numbers.paused_until is not None and numbers.paused_until > timezone.now() + timedelta(hours=23)
        before = len(there.paths("spotify"))
        look_up()
        assert len(there.paths("spotify")) == before


def test_trouble_at_musicbrainz_loses_nothing() -> None:
    faults = [musicbrainz.too_fast(1), server.broken_json(), server.cut(), server.error(500)]
    with services(of_musicbrainz=MusicBrainz([band(1)], areas=AREAS), SPOTIFY_CLIENT_ID="") as there:
        for fault in faults:
            there.musicbrainz.fail(fault)
        send("listens", play(1))
        look_up()
        assert artist(FIRST).city == "Bristol"
        assert [arrival.status for arrival in there.musicbrainz.arrivals].count(200) >= 2 + len(AREAS)


SMALLVILLE = musicbrainz.Area(mbid(50), "Smallville", "City", part_of=[(UNITED_KINGDOM, False)])


def test_a_city_that_is_in_no_file() -> None:
    place = openweather.Place("Smallville", "GB", 50.5, -3.5)
    of_musicbrainz = MusicBrainz([band(1, area=SMALLVILLE.id), band(2, area=SMALLVILLE.id)], areas=[*AREAS, SMALLVILLE])
    with services(of_musicbrainz=of_musicbrainz, OPENWEATHER_API_KEY=""):
        send("listens", play(1), play(2))
        look_up()
        assert Area.objects.get(pk=SMALLVILLE.id).place == "not_found"
        assert (artist(FIRST).country_code, artist(FIRST).city, artist(FIRST).latitude) == ("GB", "Smallville", None)
    with services(of_musicbrainz=of_musicbrainz, cities=[place]) as there:
        questions.plan()
        look_up()
        area = Area.objects.get(pk=SMALLVILLE.id)
        assert (area.place, area.place_source, area.latitude) == ("found", "openweather", 50.5)
        assert set(Artist.objects.values_list("latitude", "longitude")) == {(50.5, -3.5)}
        assert there.paths("openweather") == ["/geo/1.0/direct"]


def test_a_city_that_is_ambiguous() -> None:
    """Two of that name, none of them far larger: a person decides."""
    states = musicbrainz.Area(mbid(61), "United States", "Country", countries=("US",))
    springfield = musicbrainz.Area(mbid(60), "Springfield", "City", part_of=[(states.id, False)])
    with services(of_musicbrainz=MusicBrainz([band(1, area=springfield.id)], areas=[states, springfield])):
        send("listens", play(1))
        look_up()
        lookup = Lookup.objects.get(kind="city", key=springfield.id)
        assert (lookup.status, Area.objects.get(pk=springfield.id).place) == ("ambiguous", "ambiguous")
        chosen = lookup.candidates[-1]
        lookups.choose(lookup, "user:ada", {**chosen, "how": "", "precision": "city"})
        area = Area.objects.get(pk=springfield.id)
        assert (area.place, area.place_source, area.city_id) == ("found", "person", chosen["geoname_id"])
        assert artist(FIRST).latitude == chosen["latitude"]


def test_areas_that_musicbrainz_does_not_have() -> None:
    with services(of_musicbrainz=MusicBrainz([band(1)], areas=AREAS)) as there:
        there.musicbrainz.fail(server.error(404), when=lambda request: UNITED_KINGDOM in request.path)
        send("listens", play(1))
        look_up()
        area = Area.objects.get(pk=BRISTOL)
        assert (area.is_complete, area.subdivision_code, area.country_code, area.place) == (True, None, None, "found")
        assert artist(FIRST).city == "Bristol"


def test_a_country_that_is_a_city_is_joined_to_its_place() -> None:
    country, city = (mbid(number) for number in (7, 8))
    of_hong_kong = (
        musicbrainz.Area(city, "Hong Kong", "City", part_of=[(country, False)]),
        musicbrainz.Area(country, "Hong Kong", "Country", countries=("HK",)),
    )
    bands = [band(1, area=city), band(2, area=country)]
    with services(of_musicbrainz=MusicBrainz(bands, areas=of_hong_kong), SPOTIFY_CLIENT_ID=""):
        send("listens", play(1), play(2))
        look_up()
        look_up()
    listed = api().get("/api/areas?fields=area_id,params").json()["results"]
    assert {row["area_id"]: row["params"] for row in listed} == dict.fromkeys((country, city), "Hong Kong,HK")
    exported = {row[0]: row[-1] for row in rows.areas()}
    assert exported == dict.fromkeys((country, city), "Hong Kong,HK")
    assert [row[3] for row in rows.cities()] == ["Hong Kong,HK"]

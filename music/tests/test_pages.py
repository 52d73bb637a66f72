"""The pages of listeners and artists: what they show, that marks lead to the plays that they count, and their cost."""

from __future__ import annotations

import re
from datetime import date, timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from enrichment.lookups.models import Lookup
from music.models import Album, Artist, ArtistGenre, Listen, Listener, Match, MusicBrainzArtist, SpotifyArtist
from music.pages.demo import CONTACT
from music.tests.factories import album, area, artist, listener, play
from music.tests.histories import history
from tests.hostile import assert_harmless
from tests.people import browser_of, person, text_of, words_of
from tests.records import send

pytestmark = pytest.mark.django_db

HOSTILE = '"><script>alert(1)</script>\u202e{{ 7 }}'
IN_GB = {"country_code": "GB", "continent_code": "EU", "genres": ["rock", "folk"]}
SPOTIFY_ID = "4uLU6hMCjMI75M1A2tKUQC"
MONDAY = date(2025, 1, 6)


@pytest.fixture
def client() -> Client:
    return browser_of(person(superuser=True))


@pytest.fixture
def ada() -> Listener:
    """Plays of 13 months: 3 of an artist in London, 2 of one in Hong Kong, 1 each of one not found and of nobody."""
    beatles = artist("The Beatles", **IN_GB, plays=0, city="London", latitude=51.5, longitude=-0.12)
    of_genre(beatles)
    help_ = album("Help!", beatles, album_id=SPOTIFY_ID, plays=0)
    history(beatles, MONDAY, date(2025, 2, 4), date(2025, 2, 4), album=help_)
    faye = artist("Faye Wong", country_code="HK", continent_code="AS", genres=["pop"])
    of_genre(faye)
    history(faye, date(2025, 2, 8), date(2026, 1, 1), hour=3, album=album("Di-Dar", faye))
    history(artist("Linkin Park · Meteora", match=Match.NOT_FOUND), date(2025, 3, 1))
    history(Artist(artist_key="", name=""), date(2025, 3, 2))
    return listener("ada")


def of_genre(of: Artist) -> None:
    rows = [ArtistGenre(artist=of, source="musicbrainz", genre=genre, count=2) for genre in of.genres]
    ArtistGenre.objects.bulk_create(rows)


def page(client: Client, row: Any, **query: str) -> Any:
    path = reverse(f"admin:music_{row._meta.model_name}_change", args=[quote(row.pk)])
    return client.get(f"{path}?{urlencode(query)}")


ALL = {"from": "2025-01", "to": "2026-01"}


def links(html: str) -> list[str]:
    return [unescape(link) for link in re.findall(r'href="([^"#]+)', html)]


def numbers_linked(html: str) -> dict[str, int]:
    """Address of a list of plays → the number of plays that its mark or row tells."""
    counts = re.findall(r'<a href="(/admin/music/listen/[^"]+)"[^>]*aria-label="[^"]*?: ([\d,]+)(?: plays?)?"', html)
    counts += re.findall(r'<td[^>]*><a href="(/admin/music/listen/[^"]+)">([\d,]+)</a></td>', html)
    return {unescape(link): int(number.replace(",", "")) for link, number in counts}


def listed(client: Client, link: str) -> int:
    """How many rows a list has."""
    response: Any = client.get(link)
    assert response.status_code == 200, link
    number: int = response.context_data["cl"].result_count
    return number


# The listening page.


def test_it_shows_the_last_year_unless_asked_for_more(client: Client, ada: Listener) -> None:
    assert "<strong>6</strong> plays" in words_of(page(client, ada))
    assert "<strong>7</strong> plays" in words_of(page(client, ada, **ALL))
    assert "<strong>1</strong> play<" in words_of(page(client, ada, **{"from": "2026-01", "to": "2026-01"}))


def test_a_range_that_is_none_is_refused(client: Client, ada: Listener) -> None:
    assert "is no month. Write it as 2025-04." in words_of(page(client, ada, **{"from": "2025-13"}), 400)
    assert page(client, ada, to="last year").status_code == 400
    assert "<strong>7</strong> plays" in words_of(page(client, ada, **{"from": "1999-01", "to": "2999-12"}))


def test_a_range_beyond_the_plays_is_empty(client: Client, ada: Listener) -> None:
    for query in ({"from": "2027-01"}, {"from": "2027-01", "to": "2027-03"}, {"to": "2024-01"}):
        html = words_of(page(client, ada, **query))
        assert "No plays in 20" in html and "The plays are from 2025-01 to 2026-01." in html
        assert "Top artists" not in html and 'aria-current="true"' not in html.split('class="range"')[1]


def test_at_most_one_preset_is_highlighted(client: Client) -> None:
    history(artist("Prince"), MONDAY)
    html = words_of(page(client, listener("ada")))
    assert html.split('class="range"')[1].count('aria-current="true"') == 1
    assert 'title="2025-01, up to the last play" aria-current="true">Last 12 months' in html


def test_a_map_without_countries_has_no_legend(client: Client) -> None:
    history(artist("Nord", match=Match.OPEN), MONDAY)
    html = text_of(page(client, listener("ada")))
    assert 'aria-label="Plays"' not in html
    assert "<strong>1</strong> play<" in html and "<strong>0</strong> hours" in html


def test_duplicates_are_counted_and_listed(client: Client, ada: Listener) -> None:
    first, second, *_ = Listen.objects.order_by("played_at")
    Listen.objects.filter(pk=second.pk).update(duplicate_of=first.pk)
    assert "left out" not in words_of(page(client, ada, **ALL))
    Listener.objects.update(sources=["lastfm", "spotify"])
    found = re.search(r'<a href="([^"]+)">1 duplicate</a> of plays', words_of(page(client, ada, **ALL)))
    assert found and listed(client, unescape(found[1])) == 1
    assert "duplicate</a> of plays" not in words_of(page(client, ada, **{"from": "2026-01"}))
    assert listed(client, "/admin/music/listen/?copies=perhaps") == 0


def test_a_listener_without_plays_has_a_page(client: Client) -> None:
    assert "No plays yet." in words_of(page(client, listener("bob")))
    assert client.get(reverse("admin:music_listener_change", args=["nobody"])).status_code == 302


def test_every_mark_leads_to_as_many_plays(client: Client, ada: Listener) -> None:
    found = numbers_linked(text_of(page(client, ada, **ALL)))
    kinds = {name for link in found for name in re.findall(r"[?&]([a-z_]+)=", link)}
    assert kinds >= {"weekday", "hour", "country_code", "continent_code", "mbid", "artist_key", "album_key", "genre"}
    for link, number in found.items():
        assert listed(client, link) == number, link


def test_all_other_links_of_the_page_open(client: Client, ada: Listener) -> None:
    html = text_of(page(client, ada, **ALL))
    shapes = {
        re.sub("=[^&]*|/[^/]*/change", "", link): link for link in links(html) if link.startswith("/admin/music/")
    }
    for link in shapes.values():
        assert client.get(link).status_code == 200, link
    assert f"https://open.spotify.com/album/{SPOTIFY_ID}" in links(html)


def test_plays_are_counted_as_they_are_stored(client: Client) -> None:
    play = {"user_id": "ada", "artist": "The Beatles", "album": "Help!", "ms_played": 140_000}
    times = ("2025-01-06T20:15:00Z", "2025-01-06T20:18:00Z", "2025-02-01T03:00:00Z", "1970-01-01T00:00:00Z")
    send("listens", *(play | {"track_name": f"Song {time}", "played_at": time} for time in times))
    found = numbers_linked(text_of(page(client, Listener.objects.get(pk="ada"))))
    assert {"weekday", "artist_key", "album_key"} <= {name for link in found for name in re.findall(r"&(\w+)=", link)}
    for link, number in found.items():
        assert listed(client, link) == number, link
    assert "<strong>3</strong> plays" in words_of(page(client, Artist.objects.get()))
    assert Listener.objects.get().plays == 3


def test_an_artist_under_two_names_is_one(client: Client) -> None:
    one = artist("Prince", plays=0)
    history(one, MONDAY, date(2025, 1, 7))
    history(artist("The Artist", mbid=one.mbid, plays=0), date(2025, 1, 8))
    html = words_of(page(client, listener("ada")))
    assert re.findall(r'<th scope="row"><a href="/admin/music/artist/[^>]*>([^<]+)</a>', html) == ["Prince"]
    plays = f"/admin/music/listen/?user_id=ada&from=2025-01&to=2025-01&counted=yes&mbid={one.mbid}"
    assert numbers_linked(html)[plays] == 3


def test_what_has_no_country_is_said_with_its_reasons(client: Client, ada: Listener) -> None:
    html = words_of(page(client, ada, **ALL))
    assert "29 % of plays have no country: 14 % <a href=" in html
    reasons = re.findall(r'<a href="([^"]*without_country=[^"]*)">([^<]+)</a>', text_of(page(client, ada, **ALL)))
    assert [why for _, why in reasons] == ["artist not found", "no artist"]
    for link, _ in reasons:
        assert listed(client, unescape(link)) == 1, link
    assert listed(client, "/admin/music/listen/?without_country=found") == 0
    assert listed(client, "/admin/music/listen/?without_country=anything") == 0


def test_small_countries_are_dots(client: Client, ada: Listener) -> None:
    html = text_of(page(client, ada, **ALL))
    assert "United Kingdom: 3 plays</title></path>" in html
    assert "Hong Kong: 2 plays</title></circle>" in html


def test_shares_of_genres_are_by_the_first_one(client: Client, ada: Listener) -> None:
    html = words_of(page(client, ada, **ALL))
    assert (
        "2025-02</a></th><td>66.7 %</td><td>33.3 %</td><td>0 %</td><td>0 %</td>" in html
    )  # rock, pop, others, unknown
    assert "folk</a>" in html  # a second genre has its place in the ranking


def test_it_is_made_of_roll_ups_alone_in_as_many_queries(client: Client, ada: Listener) -> None:
    with CaptureQueriesContext(
        connection,
    ) as few:
        page(client, ada, **ALL)
    for number in range(30):
        more = artist(f"Artist {number}", country_code="FR", continent_code="EU", genres=[f"genre {number}"])
        history(more, MONDAY + timedelta(days=number), album=album(f"Album {number}", more))
    with CaptureQueriesContext(connection) as many:
        page(client, ada, **ALL)
    assert len(many) == len(few) == 11
    assert not any('"music_listen"' in query["sql"] for query in many)


def test_names_are_not_trusted(client: Client) -> None:
    hostile = artist(HOSTILE, genres=[HOSTILE], country_code="GB", continent_code="EU")
    of_genre(hostile)
    history(hostile, MONDAY, album=album(HOSTILE, hostile), user_id="eve")
    for html in (text_of(page(client, listener("eve"))), text_of(page(client, hostile))):
        assert "<script>alert" not in html
        assert "\u202e" not in html
    hostile_play = play(hostile, HOSTILE)
    plays = reverse("admin:music_listen_changelist"), reverse("admin:music_listen_delete", args=[hostile_play.pk])
    for where in plays:
        assert_harmless(text_of(client.get(where)))


def test_who_may_not_see_plays_gets_no_links_to_them(ada: Listener) -> None:
    user = person()
    user.user_permissions.add(Permission.objects.get(codename="view_listener"))
    html = text_of(page(browser_of(user), ada, **ALL))
    assert not [link for link in links(html) if link.startswith(("/admin/music/listen/", "/admin/music/artist/"))]
    assert "<strong>7</strong> plays" in " ".join(html.split())


def test_credits_are_on_the_pages(client: Client, ada: Listener) -> None:
    for row in (ada, Artist.objects.get(name="The Beatles")):
        html = words_of(page(client, row))
        for credit in ("GeoNames", "CC BY 4.0", "MusicBrainz", "CC0", "CC BY-NC-SA 3.0", "Natural Earth", "Spotify"):
            assert credit in html


def test_the_demo_says_so(client: Client, ada: Listener, settings: Settings) -> None:
    said = "stands in for MusicBrainz and Spotify"
    assert said not in words_of(page(client, ada))
    settings.MUSICBRAINZ_URL = "http://127.0.0.1:8765"
    assert said not in words_of(page(client, ada))  # a mirror, for all that is known
    settings.MUSICBRAINZ_CONTACT = CONTACT
    html = text_of(page(client, ada, **ALL))
    assert said in html
    assert not [link for link in links(html) if "open.spotify.com/album" in link]


# The page of an artist.


def test_an_artist_has_plays_titles_and_an_origin(client: Client, ada: Listener) -> None:
    beatles = Artist.objects.get(name="The Beatles")
    html = words_of(page(client, beatles))
    assert "<strong>3</strong> plays" in html
    assert "Song of 06 20:00" in html
    assert "From London, United Kingdom" in html
    assert "It is credited for titles that were played." in html
    assert f"https://musicbrainz.org/artist/{beatles.mbid}" in html
    for link, number in numbers_linked(html).items():
        assert listed(client, link) == number, link


def test_an_artist_is_described_as_services_do(client: Client) -> None:
    beatles = artist("The Beatles", spotify_id=SPOTIFY_ID)
    MusicBrainzArtist.objects.create(mbid=str(beatles.mbid), name="The Beatles", type="Group", begin="1960")
    SpotifyArtist.objects.create(spotify_id=SPOTIFY_ID, name="The Beatles", followers=1_234_567)
    html = words_of(page(client, beatles))
    assert "<dd>Group</dd>" in html
    assert "1,234,567" in html
    assert f"https://open.spotify.com/artist/{SPOTIFY_ID}" in html


def test_an_ambiguous_artist_shows_who_it_may_be(client: Client) -> None:
    placebo = artist("Placebo", match=Match.AMBIGUOUS, how="")
    candidates = [
        {"mbid": f"0000000{n}", "name": "Placebo", "disambiguation": text, "country": "GB"}
        for n, text in enumerate("ab")
    ]
    lookup = Lookup.objects.create(
        provider="musicbrainz", kind="match", key=placebo.pk, status="ambiguous", candidates=candidates
    )
    html = words_of(page(client, placebo))
    assert reverse("admin:enrichment_lookup_change", args=[lookup.pk]) in html
    assert html.count("<li>", html.index("Candidates")) >= 2
    assert html.count("· United Kingdom</span>") == 2
    user = person()
    user.user_permissions.add(Permission.objects.get(codename="view_artist"))
    assert "Candidates" not in words_of(page(browser_of(user), placebo))


def test_the_evidence_is_said_as_it_is(client: Client) -> None:
    nord = artist("Nord", match=Match.AMBIGUOUS, how="name")
    lookup = Lookup.objects.create(provider="musicbrainz", kind="match", key=nord.pk, status="ambiguous")
    html = words_of(page(client, nord))
    assert "MusicBrainz has several artists of this name." in html and "the only artist" not in html
    decision: dict[str, Any] = {"how": "chosen", "chosen_by": "user:eva", "chosen_at": timezone.now()}
    Lookup.objects.filter(pk=lookup.pk).update(status="found", answer={"mbid": "0"}, **decision)
    Artist.objects.filter(pk=nord.pk).update(match=Match.FOUND, how="chosen", mbid="0")
    assert "Chosen by eva." in words_of(page(client, nord))
    viewer = person()
    viewer.user_permissions.add(Permission.objects.get(codename="view_artist"))
    assert "Chosen by a person." in words_of(page(browser_of(viewer), nord))
    Artist.objects.filter(pk=nord.pk).update(match=Match.NOT_FOUND, mbid=None)
    assert "All candidates rejected by eva." in words_of(page(client, nord))


def test_the_same_artist_under_another_name_is_named(client: Client) -> None:
    one = artist("Prince")
    other = artist("The Artist", mbid=one.mbid)
    history(other, MONDAY)
    html = words_of(page(client, one))
    assert reverse("admin:music_artist_change", args=[quote(other.pk)]) in html
    assert "Song of 06 20:00" in html


def test_lookups_are_called_by_the_name_of_what_they_are_about(client: Client) -> None:
    london = area("London", country_code="GB")
    beatles = artist("The Beatles", area_id=london.pk)
    for kind, key in (("area", london.pk), ("artist", str(beatles.mbid))):
        Lookup.objects.create(provider="musicbrainz", kind=kind, key=key, status="found", how="given")
    for row, name in ((beatles, "The Beatles"), (london, "London")):
        address = reverse(f"admin:music_{row._meta.model_name}_change", args=[quote(row.pk)])
        html = words_of(client.get(address))
        table = html[html.index('id="lookups"') :]
        assert f">{name}</a>" in table and "MusicBrainz" in table and "ID in the play" in table
        assert str(london.pk) not in table and str(beatles.mbid) not in table


def test_an_area_counts_the_entries_of_one_artist_together(client: Client) -> None:
    hull = area("Hull", country_code="GB")
    one = artist("Rui", area_id=hull.pk, plays=5)
    artist("Rui Eriksund", area_id=hull.pk, plays=3, mbid=one.mbid)
    artist("Ada", area_id=hull.pk, plays=7)
    html = words_of(client.get(reverse("admin:music_area_change", args=[hull.pk])))
    ranking = html[html.index('id="artists"') : html.index("</section>", html.index('id="artists"'))]
    assert ranking.index(">Rui</a>") < ranking.index(">Ada</a>") and "Rui Eriksund" not in ranking
    assert f'mbid={one.mbid}&amp;counted=yes">8</a>' in ranking


def test_titles_of_an_artist_are_of_plays_that_charts_count(client: Client, ada: Listener) -> None:
    first, second, third = Listen.objects.filter(artist="The Beatles")
    Listen.objects.filter(pk=first.pk).update(played_at="1970-01-01T00:00:00Z")
    Listen.objects.filter(pk=second.pk).update(duplicate_of=third.pk)
    html = words_of(page(client, Artist.objects.get(name="The Beatles")))
    titles = html[html.index('<h2 id="titles">') :]
    assert titles[: titles.index("</section>")].count('<tr><th scope="row">') == 1


def test_a_genre_of_two_sources_is_one_badge(client: Client) -> None:
    one = artist("Prince", genres=["funk"])
    for source in ("musicbrainz", "spotify"):
        ArtistGenre.objects.create(artist=one, source=source, genre="funk", count=1)
    assert text_of(page(client, one)).count('<span class="badge">funk</span>') == 1


def test_without_links_to_spotify_there_is_no_column_for_them(client: Client, ada: Listener) -> None:
    assert 'class="away"' in text_of(page(client, ada, **{"from": "2025-01", "to": "2025-01"}))
    assert 'class="away"' not in text_of(page(client, ada, **{"from": "2026-01", "to": "2026-01"}))


# The page of a play.


def test_a_play_leads_to_its_artist_listener_and_copies(client: Client, ada: Listener) -> None:
    kept, copy, *_ = Listen.objects.filter(artist="The Beatles").order_by("-played_at")
    Listen.objects.filter(pk=copy.pk).update(duplicate_of=kept.pk)
    copy.refresh_from_db()
    pages = links(text_of(page(client, kept)))
    assert reverse("admin:music_artist_change", args=[quote(kept.artist_key)]) in pages
    assert reverse("admin:music_listener_change", args=["ada"]) in pages
    assert reverse("admin:music_listen_change", args=[quote(copy.pk)]) in pages
    assert reverse("admin:music_listen_change", args=[quote(kept.pk)]) in links(text_of(page(client, copy)))


# The lists that links lead to.


@pytest.mark.parametrize("query", ["from=2025-13", "from=x", "to=2025", "hour=noon", "weekday=-1", "counted=perhaps"])
def test_a_filter_by_what_is_no_value_lists_nothing(client: Client, ada: Listener, query: str) -> None:
    assert listed(client, f"/admin/music/listen/?{query}") == 0


def test_plays_that_charts_leave_out_are_listed_apart(client: Client, ada: Listener) -> None:
    first, second, *_ = Listen.objects.order_by("pk")
    Listen.objects.filter(pk=first.pk).update(duplicate_of=second.pk)
    assert [listed(client, f"/admin/music/listen/?counted={word}") for word in ("yes", "no")] == [6, 1]


def test_albums_and_plays_are_named(client: Client, ada: Listener) -> None:
    Album.objects.filter(name="Di-Dar").update(artist_name=None)
    row = words_of(client.get("/admin/music/album/?q=Di-Dar"))
    assert '<td class="field-artist_">Faye Wong</td>' in row
    play = Listen.objects.filter(artist="Faye Wong").first()
    assert play and f"<title>{play.track_name} – Faye Wong |" in words_of(
        client.get(reverse("admin:music_listen_change", args=[play.pk]))
    )


def test_albums_without_an_id_are_found_by_name(client: Client, ada: Listener) -> None:
    unnamed = Album.objects.get(name="Di-Dar")
    assert listed(client, f"/admin/music/listen/?album_key={unnamed.pk}") == 2

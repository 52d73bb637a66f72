"""The lists of artists, albums and areas, and the pages of albums and areas."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from enrichment.lookups.models import Lookup
from music.models import Area, Artist, City, Listen, Listener, Match, Placed
from music.pages.demo import CONTACT
from music.tests.factories import album, area, artist
from music.tests.histories import history
from tests.people import browser_of, person, text_of

pytestmark = pytest.mark.django_db

HOSTILE = '"><script>alert(1)</script>\u202e{{ 7 }}'
SPOTIFY_ID = "6N9PS4QXF1D0OWPk0Sxtb4"


@pytest.fixture
def client() -> Client:
    return browser_of(person(superuser=True))


def page(client: Client, row: Any) -> str:
    path = reverse(f"admin:music_{row._meta.model_name}_change", args=[quote(row.pk)])
    return text_of(client.get(path))


def listed(client: Client, kind: str, **query: str) -> list[str]:
    """The names of the rows, in order."""
    text = text_of(client.get(f"{reverse(f'admin:music_{kind}_changelist')}?{urlencode(query)}"))
    return re.findall(r'<th class="field-name_"><a [^>]*>([^<]*)</a>', text)


def test_artists_most_played_first_by_what_they_are(client: Client) -> None:
    artist("Portishead", plays=3, country_code="GB", continent_code="EU", genres=["trip hop"])
    artist("Faye Wong", plays=9, country_code="HK", continent_code="AS")
    artist("Nord", plays=5, match=Match.AMBIGUOUS)
    assert listed(client, "artist") == ["Faye Wong", "Nord", "Portishead"]
    assert listed(client, "artist", match="ambiguous") == ["Nord"]
    assert listed(client, "artist", continent_code="EU") == ["Portishead"]
    assert listed(client, "artist", q="wong") == ["Faye Wong"]
    words = text_of(client.get(reverse("admin:music_artist_changelist")))
    assert "United Kingdom" in words and "trip hop" in words


def test_listeners_with_the_most_plays_first(client: Client) -> None:
    history(artist("Nord"), date(2025, 1, 6), user_id="Anna Lena")
    history(artist("Portishead"), date(2024, 3, 6), date(2025, 2, 6), user_id="ben")
    text = " ".join(text_of(client.get(reverse("admin:music_listener_changelist"))).split())
    assert text.index("ben") < text.index("Anna Lena")
    assert '<a href="/admin/music/listen/?user_id=ben&amp;counted=yes">2</a>' in text
    assert '<td class="field-first">2024-03</td><td class="field-last">2025-02</td>' in text
    found = text_of(client.get(f"{reverse('admin:music_listener_changelist')}?q=lena"))
    assert "Anna Lena" in found and "user_id=ben" not in found


def test_albums_by_year_and_by_what_is_known(client: Client) -> None:
    portishead = artist("Portishead")
    now = timezone.now()
    album("Dummy", portishead, plays=9, release_date="1994-08-22", fetched_at=now, total_tracks=11)
    album("Third", portishead, plays=5, release_date="2008", fetched_at=now, gone_at=now)
    album("Roseland", artist("Others"), plays=7)
    assert listed(client, "album") == ["Dummy", "Roseland", "Third"]
    assert listed(client, "album", year="1994") == ["Dummy"]
    assert listed(client, "album", artist_key=portishead.pk) == ["Dummy", "Third"]
    assert listed(client, "album", described="no") == ["Roseland"]
    assert listed(client, "album", described="gone") == ["Third"]
    assert listed(client, "album", described="anything") == []


def test_lists_offer_the_most_frequent_values_to_choose_from(client: Client) -> None:
    artist("Portishead", plays=1234, how="url", country_code="GB", genres=["trip hop"])
    history(artist("Nord", country_code="NO"), date(2024, 6, 3), date(2025, 1, 6))
    row = Listen.objects.order_by("played_at")[0]
    Listener.objects.update(sources=["spotify"])
    artists = text_of(client.get(reverse("admin:music_artist_changelist")))
    for shown in ("?country_code=GB", "?genre=trip+hop", "?continent_code=EU", "?match=ambiguous", "Spotify page"):
        assert shown in artists, shown
    assert "1,234" in artists
    plays = text_of(client.get(reverse("admin:music_listen_changelist")))
    for shown in ("?user_id=ada", "?month=2025-01", "?month=2024-02", "?play_source=spotify", "?hour=23", "?weekday=0"):
        assert shown in plays, shown
    assert "?month=2024-01" not in plays
    assert "?artist_key=" in text_of(client.get(reverse("admin:music_album_changelist")))
    assert found(client, month="2024-06") == found(client, month="2024-06", user_id="ada") == [row.pk]
    assert found(client, month="anything") == found(client, copies="yes") == found(client, hour="24") == []


def test_plays_are_found_by_their_artist_and_listed_newest_first(client: Client) -> None:
    history(artist("Portishead"), *(date(2025, 1, day) for day in (6, 8, 7)))
    plays = list(Listen.objects.order_by("-played_at"))
    history(artist("Nord"), date(2025, 1, 9))
    newest_first = [play.pk for play in plays]
    assert found(client, q="PORTIS", user_id="ada") == newest_first
    assert sorted(found(client, q="PORTIS")) == sorted(newest_first)
    assert found(client, q=plays[0].pk[:12]) == [plays[0].pk]
    assert len(found(client, q="ada")) == 4
    assert found(client, q="nobody") == []


def found(client: Client, **query: str) -> list[str]:
    """The IDs of plays, in order."""
    response: Any = client.get(f"{reverse('admin:music_listen_changelist')}?{urlencode(query)}")
    return [row.pk for row in response.context_data["cl"].result_list]


def test_the_header_finds_artists_albums_and_plays_by_name_and_key(client: Client) -> None:
    portishead = artist("Portishead")
    dummy = album("Dummy", portishead)
    history(portishead, date(2025, 1, 6))

    def find(text: str) -> str:
        return text_of(client.get(reverse("admin:find"), {"q": text}))

    of_artist, of_album = f"/admin/music/artist/{portishead.pk}/", f"/admin/music/album/{dummy.pk}/"
    assert of_artist in find("PORTIS") and of_artist in find(portishead.pk) and of_artist in find("artist portishead")
    assert of_album in find("dummy") and of_album not in find("artist dummy")
    play = Listen.objects.get()
    assert str(play) in find(play.pk)


def test_areas_by_how_they_were_placed(client: Client) -> None:
    area("Bristol", country_code="GB", continent_code="EU", place=Placed.FOUND, place_source="geonames")
    area("Springfield", country_code="US", place=Placed.AMBIGUOUS)
    assert listed(client, "area", place="ambiguous") == ["Springfield"]
    assert listed(client, "area", country_code="GB") == ["Bristol"]
    assert listed(client, "area", place="anywhere") == []


def test_the_page_of_an_album(client: Client) -> None:
    portishead = artist("Portishead")
    dummy = album(
        "Dummy", portishead, album_id=SPOTIFY_ID, plays=0, label="Go! Beat", release_date="1994-08-22",
        fetched_at=timezone.now(),
    )  # fmt: skip
    history(portishead, *(date(2025, 1, 6) + timedelta(days=40 * number) for number in range(3)), album=dummy)
    Lookup.objects.create(provider="spotify", kind="album", key=SPOTIFY_ID, status=Lookup.Status.FOUND, answer={})
    text = page(client, dummy)
    for shown in ("Portishead", "Go! Beat", "1994-08-22", f"https://open.spotify.com/album/{SPOTIFY_ID}", "Song of 06"):
        assert shown in text, shown
    found = re.search(rf'href="(/admin/music/listen/\?album_key={SPOTIFY_ID}[^"]*)"', text)
    assert found
    assert text_of(client.get(found[1].replace("&amp;", "&"))).count(">Song of") == 3
    assert reverse("admin:enrichment_lookup_change", args=[Lookup.objects.get().pk]) in text


def test_the_page_of_an_album_without_anything(client: Client) -> None:
    empty = album("Third", artist("Portishead"), artist_key="name-0", plays=0)
    words = page(client, empty)
    assert "Nothing known." in words
    assert "open.spotify.com/album" not in words


def test_the_page_of_an_area(client: Client) -> None:
    country = area("United Kingdom", type="Country", country_code="GB", continent_code="EU", place=Placed.NO_CITY)
    city = City.objects.create(
        geoname_id=2654675, name="Bristol", folded_name="bristol", country_code="GB", latitude=51.45, longitude=-2.59
    )
    levels = {"country": {"id": country.pk, "name": country.name}, "subdivision": {"id": "unknown", "name": "England"}}
    bristol = area(
        "Bristol", country_code="GB", continent_code="EU", levels=levels, params="Bristol,GB", city=city,
        place=Placed.FOUND, place_source="geonames", place_how="link", latitude=51.45, longitude=-2.59,
    )  # fmt: skip
    artist("Portishead", area_id=bristol.pk, country_code="GB")
    artist("The Beatles", country_code="GB")
    text = page(client, bristol)
    for shown in ("https://www.geonames.org/2654675", "Bristol,GB", "<svg", f"/admin/music/area/{quote(country.pk)}/"):
        assert shown in text, shown
    assert "Portishead" in text and "The Beatles" not in text
    assert "The Beatles" in page(client, country)
    assert "None known from there." in page(client, area("Nowhere"))


def test_texts_do_no_harm_and_lookups_are_for_who_may_see_them() -> None:
    viewer = person()
    viewer.user_permissions.set(Permission.objects.filter(codename__in=["view_album", "view_area"]))
    client = browser_of(viewer)
    of_artist = artist(HOSTILE)
    rows = [
        album(HOSTILE, of_artist, album_id=SPOTIFY_ID, label=HOSTILE, fetched_at=timezone.now()),
        area(HOSTILE, type=HOSTILE, params=HOSTILE, levels={"city": {"id": "x", "name": HOSTILE}}),
    ]
    Lookup.objects.create(provider="spotify", kind="album", key=SPOTIFY_ID)
    for row in rows:
        text = page(client, row)
        assert "<script>alert" not in text and "\u202e" not in text
        assert "/admin/enrichment/lookup/" not in text and "/admin/music/artist/" not in text
    assert Area.objects.count() == 1


def test_an_ambiguous_artist_is_chosen_among_the_candidates() -> None:
    client = browser_of(person(superuser=True))
    nord = artist("Nord", match=Match.AMBIGUOUS)
    candidates = [
        {"mbid": f"20000000-0000-4000-8000-00000000000{number}", "name": "Nord", "country": country, "type": "Group"}
        for number, country in enumerate(("NO", "DE"))
    ]
    lookup = Lookup.objects.create(
        provider="musicbrainz", kind="match", key=nord.pk, status=Lookup.Status.AMBIGUOUS, how="name",
        candidates=candidates, question={"name": "Nord", "titles": ["Another Rain"], "isrcs": []},
    )  # fmt: skip
    path = reverse("admin:enrichment_ambiguouslookup_change", args=[lookup.pk])
    text = text_of(client.get(path))
    assert "Another Rain" in text and ">Germany<" in text
    assert "<dt>Name</dt>" in text and '<svg viewBox="0 0 200 300"' not in text
    assert "<dt>Rule</dt><dd>name</dd>" in text and f'href="/admin/music/artist/{nord.pk}/change/"' in text
    names = ("state", "candidate")
    state, chosen = (re.findall(rf'name="{name}" value="([^"]+)"', text)[1] for name in names)
    page_of_choice = reverse("admin:enrichment_ambiguouslookup_choose", args=[lookup.pk])
    client.post(page_of_choice, {"state": state, "candidate": chosen})
    nord.refresh_from_db()
    assert (nord.match, nord.mbid) == (Match.FOUND, candidates[1]["mbid"])


def test_a_choice_is_made_for_all_rows_of_an_artist_and_undone_for_all() -> None:
    client = browser_of(person(superuser=True))
    mbid = "20000000-0000-4000-8000-000000000001"
    keys = {"name-1": SPOTIFY_ID, "spotify-1": SPOTIFY_ID, "spotify-2": "another"}
    for key, spotify_id in keys.items():
        artist("Nord", artist_key=key, spotify_id=spotify_id, match=Match.AMBIGUOUS)
        Lookup.objects.create(
            provider="musicbrainz", kind="match", key=key, status=Lookup.Status.AMBIGUOUS, how="name",
            candidates=[{"mbid": mbid, "name": "Nord"}], question={"name": "Nord"},
        )  # fmt: skip
    lookup = Lookup.objects.get(key="name-1")
    path = reverse("admin:enrichment_lookup_change", args=[lookup.pk])

    def decide(**more: str) -> str:
        fields = dict(
            re.findall(r'<input type="hidden" name="(state|candidate)" value="([^"]*)"', text_of(client.get(path)))
        )
        response = client.post(reverse("admin:enrichment_lookup_choose", args=[lookup.pk]), fields | more, follow=True)
        return text_of(response)

    text = decide()
    assert "Also for 1 more of the same." in text and "Next ambiguous lookup" in text
    found, open_ = Artist.objects.filter(match=Match.FOUND, mbid=mbid), Lookup.objects.filter(status="ambiguous")
    assert sorted(found.values_list("pk", flat=True)) == ["name-1", "spotify-1"]
    assert list(open_.values_list("key", flat=True)) == ["spotify-2"]
    decide(_undo="1")
    assert not found.exists() and open_.count() == 3
    assert Artist.objects.filter(match=Match.AMBIGUOUS).count() == 3


def test_the_demo_names_the_settings_that_are_missing(client: Client, settings: Settings) -> None:
    page_of_providers = reverse("admin:enrichment_providerstate_changelist")
    assert "stands in for Spotify" not in text_of(client.get(page_of_providers))
    settings.MUSICBRAINZ_URL, settings.MUSICBRAINZ_CONTACT = "http://127.0.0.1:8765", CONTACT
    text = text_of(client.get(page_of_providers))
    assert "MUSICBRAINZ_CONTACT is not set; a server on this machine stands in for MusicBrainz." in text
    assert "SPOTIFY_CLIENT_ID is not set; a server on this machine stands in for Spotify." in text

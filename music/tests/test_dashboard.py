"""The panel on the dashboard: what is known of the plays, by provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from enrichment.lookups.models import Lookup
from music.models import Match
from music.providers.musicbrainz import MusicBrainz
from music.tests.factories import artist, listener
from tests.lookups import registered
from tests.people import browser_of, person, words_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def client() -> Client:
    return browser_of(person(superuser=True))


@pytest.fixture(params=["me@example.org"])
def musicbrainz(request: Any) -> Iterator[None]:
    """With this contact."""
    with registered(MusicBrainz(request.param, "0.1").provider(lambda lookups: [])):
        yield


def panel(client: Client) -> str:
    html = words_of(client.get("/admin/"))
    start = html.find('id="music"')
    return html[start : html.index("</section>", start)] if start >= 0 else ""


def plays(number: int, **columns: Any) -> None:
    artist(f"Artist {number}", plays=number, **columns)


def lookup(status: str, key: str, kind: str = "artist") -> None:
    Lookup.objects.create(provider="musicbrainz", kind=kind, key=key, status=status)


def test_without_plays_there_is_none(client: Client) -> None:
    assert panel(client) == ""


def test_coverage_is_by_plays(client: Client) -> None:
    listener("ada")
    plays(70, country_code="GB", latitude=51.5, longitude=-0.1)
    plays(20, country_code="JP")
    plays(10, match=Match.NOT_FOUND)
    html = panel(client)
    assert "<dt>Artist known</dt><dd>90 %" in html
    assert "<dt>Country known</dt><dd>90 %" in html
    assert "<dt>City known</dt><dd>70 %" in html
    assert "100, of <a" in html
    assert '<a href="/admin/music/listener/ada/change/">ada</a>' in html
    assert '<a href="/admin/music/listener/">All listeners</a>' in html


def test_a_provider_has_its_numbers_and_the_time_left(client: Client, musicbrainz: None) -> None:
    listener("ada")
    plays(10)
    for number, status in enumerate(("found", "found", "not_found", "ambiguous")):
        lookup(status, f"{number}")
    for number in range(180):
        lookup("open", f"open {number}")
    html = panel(client)
    assert "on, asking" in html
    assert 'provider=musicbrainz&amp;status=found">2</a>' in html
    assert 'provider=musicbrainz&amp;status=open">180</a>' in html
    assert '<td data-label="time left">3 min</td>' in html


@pytest.mark.parametrize("musicbrainz", [""], indirect=True)
def test_a_provider_that_is_off_says_which_setting_is_missing(client: Client, musicbrainz: None) -> None:
    listener("ada")
    html = panel(client)
    assert '<span class="badge is-discarded">off</span>' in html
    assert "MUSICBRAINZ_CONTACT is not set." in html


def test_who_may_not_see_artists_sees_none(client: Client) -> None:
    listener("ada")
    assert panel(browser_of(person("viewer")))
    user = person()
    from django.contrib.auth.models import Permission

    codes = ("view_delivery", "view_heldrecord", "view_lookup")
    user.user_permissions.add(*Permission.objects.filter(codename__in=codes))
    assert panel(browser_of(user)) == ""

"""What follows from plays as they are stored: duplicates, roll-ups, artists and albums, questions in order of plays."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.db.models import Sum

from enrichment.lookups.models import Lookup
from music.models import Album, Artist, ArtistMonth, HourMonth, Listen, Listener
from music.tests.service import HISTORY, at, mbid, play, spotify_id, totals
from tests.records import counts, send
from tests.workers import run_workers

pytestmark = pytest.mark.django_db(transaction=True)


def months() -> dict[str, tuple[int, int]]:
    rows = ArtistMonth.objects.values_list("artist_key").annotate(plays=Sum("plays"), ms=Sum("ms"))
    return {key: (plays, ms) for key, plays, ms in rows}


def test_a_play_is_counted_once() -> None:
    delivery = send("listens", play(1), play(1, 10, ms_played=20_000), play(2, 20), play(1))
    assert counts(delivery) == {"inserted": 3, "stale": 1}
    assert counts(send("listens", play(1, ms_played=1), play(2, 20))) == {"stale": 2}
    one, two = f"spotify-{spotify_id(1)}", f"spotify-{spotify_id(2)}"
    assert months() == {one: (2, 70_000), two: (1, 50_000)}
    assert set(totals().values()) == {3}
    assert dict(Artist.objects.values_list("pk", "name")) == {one: "Artist 1", two: "Artist 2"}
    assert Artist.objects.get(pk=one).spotify_ids == [spotify_id(1)]
    album = Album.objects.get(pk=spotify_id(1, "L"))
    assert (album.name, album.plays, album.artist_key) == ("Album 1", 2, one)
    hours = HourMonth.objects.values_list("user_id", "month", "weekday", "hour", "plays")
    assert list(hours) == [("ada", date(2025, 1, 1), 2, 0, 3)]
    listener = Listener.objects.get()
    assert (listener.pk, listener.client, listener.sources) == ("ada", "test", ["spotify"])


def test_what_is_before_2000_is_kept_but_not_counted() -> None:
    send("listens", play(1, played_at="1970-01-01T00:00:00Z"))
    assert Listen.objects.get().warnings
    assert set(totals().values()) == {0}
    assert Artist.objects.get().plays == 0


def test_months_are_those_of_the_time_zone(settings: Any) -> None:
    settings.TIME_ZONE = "Pacific/Auckland"
    send("listens", play(1, played_at="2025-01-31T12:30:00Z"))
    assert ArtistMonth.objects.get().month == date(2025, 2, 1)
    row = HourMonth.objects.get()
    assert (row.month, row.weekday, row.hour) == (date(2025, 2, 1), 5, 1)


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        # The times of Spotify's history are those of the end.
        (at("12:03:20", **HISTORY), at("12:00:02", play_source="lastfm"), True),
        (at("12:00:02", play_source="lastfm"), at("12:03:20", **HISTORY), True),
        (at("12:03:20", **HISTORY), at("12:03:25", play_source="lastfm"), False),
        (at("12:03:20", **HISTORY), at("11:56:00", play_source="lastfm"), False),
        # Account data have the minute alone.
        (at("12:00:00", play_source="lastfm"), at("12:03:00", play_source="spotify-account", ms_played=230_000), True),
        # A skipped track, and its length.
        (
            at("12:00:10", **{**HISTORY, "ms_played": 10_000}),
            at("12:00:01", play_source="lb", duration_ms=200_000),
            True,
        ),
        # Nobody knows the length.
        (at("12:00:00", play_source="lb"), at("12:02:00", play_source="lastfm"), True),
        (at("12:00:00", play_source="lb"), at("12:09:00", play_source="lastfm"), False),
        # One source, another track, another listener.
        (at("12:00:00", play_source="lb"), at("12:00:01", play_source="lb"), False),
        (at("12:00:00", play_source="spotify:playlist:1"), at("12:00:01", play_source="spotify"), False),
        (at("12:00:00", play_source="lb"), at("12:00:01", 2, play_source="lastfm"), False),
        (at("12:00:00", play_source="lb"), at("12:00:01", play_source="lastfm", user_id="ben"), False),
        # The same title in other words.
        (
            at("12:00:00", play_source="lb"),
            at("12:00:01", play_source="lastfm", track_name="SONG 1 (2011 Remaster)"),
            True,
        ),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_one_play_of_two_sources(first: dict[str, Any], second: dict[str, Any], is_one: bool, together: bool) -> None:
    if together:
        send("listens", first, second)
    else:
        send("listens", first)
        send("listens", second)
    marked = list(Listen.objects.exclude(duplicate_of=None))
    assert [listen.play_source for listen in marked] == ([second["play_source"]] if is_one else [])
    assert totals()["hours"] == totals()["of artists"] == (1 if is_one else 2)
    for listen in marked:
        assert Listen.objects.get(pk=listen.duplicate_of).play_source == first["play_source"]


def test_a_track_played_again_is_another_play() -> None:
    send("listens", *(at(time, **HISTORY) for time in ("12:03:20", "12:06:40", "12:10:00")))
    send("listens", *(at(time, play_source="lastfm") for time in ("11:59:59", "12:03:18", "12:06:39")))
    assert Listen.objects.exclude(duplicate_of=None).values("duplicate_of").distinct().count() == 3
    assert totals()["of artists"] == 3
    send("listens", at("12:09:59", play_source="lastfm"))
    assert totals()["of artists"] == 4


def asked() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for lookup in Lookup.objects.order_by("turn", "key"):
        found.setdefault(f"{lookup.provider} {lookup.kind}", []).append(lookup.key)
    return found


def test_what_is_asked() -> None:
    """By the MBID that came, else by the page at Spotify, else by the name; the most played first."""
    send(
        "listens",
        *(play(1, minute) for minute in range(3)),
        *(play(2, minute) for minute in range(5)),
        play(3, artist_mbid=mbid(3).upper()),
        *(play(4, minute, artist_id=None, track_id=None, album_id=None) for minute in range(2)),
        play(5, artist_id=None, artist=None, album_id=None),
    )
    found = asked()
    (name,) = found.pop("musicbrainz match")
    assert Artist.objects.get(pk=name).name == "Artist 4"
    assert found == {
        "musicbrainz artist": [mbid(3)],
        "musicbrainz url": [spotify_id(2), spotify_id(1)],
        "spotify album": [spotify_id(2, "L"), spotify_id(1, "L"), spotify_id(3, "L")],
        "spotify artist": [spotify_id(2), spotify_id(1), spotify_id(3)],
    }
    send("listens", *(play(1, minute) for minute in range(10, 30)))
    assert asked()["musicbrainz url"] == [spotify_id(1), spotify_id(2)]


def test_who_is_nobody_is_not_asked_for() -> None:
    various = "89ad4ac3-39f7-470e-963a-56509c546377"
    send("listens", play(1, artist_mbid=various, artist_id=None, artist="Various Artists", album_id=None))
    artist = Artist.objects.get()
    assert (artist.match, artist.how, artist.mbid) == ("nobody", "given", None)
    assert asked() == {}


def test_a_later_play_may_tell_more() -> None:
    send("listens", play(1, artist=None))
    send("listens", play(1, 1, artist_mbid=mbid(1)))
    send("listens", play(1, 2, artist_mbid=mbid(2), artist="Another Name"))
    artist = Artist.objects.get()
    assert (artist.name, artist.given_mbid, artist.plays) == ("Artist 1", mbid(1), 3)
    assert asked()["musicbrainz artist"] == [mbid(1)]


def test_several_workers_count_every_play() -> None:
    from tests.records import deliver

    for start in range(0, 300, 10):
        of_both = [
            play(n % 7, n, user_id=user, album_id=None) for n in range(start, start + 10) for user in ("ada", "ben")
        ]
        deliver("listens", *of_both)
    run_workers(3, "--records=25")
    assert Listen.objects.count() == 600
    assert set(totals().values()) == {600}

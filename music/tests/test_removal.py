"""Plays and listeners deleted: what charts count is what is left."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from django.urls import reverse

from enrichment import retention
from enrichment.models import HeldRecord, RetentionRule
from enrichment.rows.deletion import delete_rows
from ingestion.models import Delivery, Upload
from ingestion.streams import get
from ingestion.validation import key_of
from music.counting import removal
from music.models import Album, AlbumMonth, Artist, ArtistMonth, HourMonth, Listen, Listener
from music.tests.service import HISTORY, at, play, spotify_id, totals
from tests.people import browser_of, person, words_of
from tests.records import send

pytestmark = pytest.mark.django_db(transaction=True)
MODELS: tuple[Any, ...] = (ArtistMonth, AlbumMonth, HourMonth)


def counted() -> dict[str, list[Any]]:
    """All that is counted, but which artists and albums nobody plays."""
    found = {model.__name__: sorted(model.objects.values_list(*model.KEY, "plays", "ms")) for model in MODELS}
    for name, model in (("artists", Artist), ("albums", Album)):
        found[name] = sorted(model._default_manager.exclude(plays=0).values_list("pk", "plays"))
    found["listeners"] = sorted(Listener.objects.exclude(plays=0).values_list("pk", "plays"))
    return found


def delete(*listens: Listen) -> None:
    client = browser_of(person("administrator"))
    for listen in listens:
        page = reverse("admin:music_listen_delete", args=[listen.pk])
        assert client.post(page, {"post": "yes"}).status_code == 302


def test_a_deleted_play_is_counted_no_longer() -> None:
    send("listens", play(1), play(2, 10), play(2, 10, user_id="ben"))
    before = counted()
    send("listens", play(1, 20), play(3, 40_000))
    delete(*Listen.objects.exclude(delivery=Delivery.objects.order_by("pk")[0].pk))
    assert counted() == before
    assert Listen.objects.count() == 3 and set(totals().values()) == {3}
    assert Artist.objects.get(pk=f"spotify-{spotify_id(3)}").plays == 0


def test_the_first_duplicate_of_a_deleted_play_takes_its_place() -> None:
    lists = [("lb", "12:00:01"), ("lastfm", "12:00:02")]
    records = [at(time, play_source=source, album="An Album") for source, time in lists]
    send("listens", at("12:03:20", **HISTORY))
    for record in records:
        send("listens", record)
    original = Listen.objects.get(duplicate_of=None)
    assert Listen.objects.filter(duplicate_of=original.pk).count() == 2
    delete(original)
    left = Listen.objects.get(duplicate_of=None)
    assert left.play_source == "lb"
    assert Listen.objects.get(duplicate_of=left.pk).play_source == "lastfm"
    found = counted()
    for model in (Listen, Listener, Artist, Album, *MODELS):
        model.objects.all().delete()
    for record in records:
        send("listens", record)
    assert counted() == found


def test_a_duplicate_and_a_play_before_2000_are_deleted_from_no_chart() -> None:
    send("listens", at("12:03:20", **HISTORY))
    send("listens", at("12:00:01", play_source="lb"), play(1, played_at="1970-01-01T00:00:00Z"))
    before = counted()
    for listen in Listen.objects.exclude(play_source="spotify-history"):
        assert delete_rows(get("listens"), [listen.pk]) == [listen.pk]
    assert Listen.objects.count() == 1 and counted() == before


def test_plays_that_retention_deletes_are_counted_no_longer() -> None:
    records = [*(play(number % 4, 3 * number) for number in range(12)), at("12:03:20", **HISTORY)]
    records += [at("12:00:01", play_source="lb", album="An Album"), play(9, 10, user_id="ben")]
    for record in records:
        send("listens", record)
    old = {*Listen.objects.order_by("pk").values_list("pk", flat=True)[::2]}
    old |= {Listen.objects.get(play_source="spotify-history").pk}
    Listen.objects.filter(pk__in=old).update(version_at="2020-01-01T00:00:00Z")
    RetentionRule.objects.create(stream="listens", stored_days=30)
    run = retention.run_to_completion(retention.create_run(by="test"))
    assert run.deleted["stored listens"] == len(old)
    found = counted()
    for model in (Listen, Listener, Artist, Album, *MODELS):
        model.objects.all().delete()
    for record in records:
        if key_of(get("listens"), record) not in old:
            send("listens", record)
    assert counted() == found and Listen.objects.count() == len(records) - len(old)


def test_an_administrator_deletes_a_listener_and_nothing_else_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "STEP", 3)
    send("listens", *(play(n % 3, n, user_id="ben") for n in range(4)))
    before, of_ben = counted(), set(Listen.objects.values_list("pk", flat=True))
    invalid = play(1, played_at="yesterday")
    of_ada = [play(n % 4, n % 20, track_id=f"T{n}") for n in range(40)]
    delivery = send("listens", *of_ada, play(1, played_at="1970-01-01T00:00:00Z"), invalid, keep_invalid=True)
    upload = Upload.objects.create(
        stream="listens", client="test", name="a.json", format="json", size=1, sha256="0", given={"user_id": "ada"}
    )
    Delivery.objects.filter(pk=delivery.pk).update(upload=upload)
    assert HeldRecord.objects.exists()
    page = reverse("admin:music_listener_delete", args=["ada"])
    assert browser_of(person("operator")).get(page).status_code == 403
    client = browser_of(person("administrator"))
    assert page in client.get(reverse("admin:music_listener_change", args=["ada"])).content.decode()
    assert "Listener ada, with 41 plays" in words_of(client.get(page))
    answer: Any = client.post(page, {"post": "yes"})
    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:music_listener_changelist"))
    assert counted() == before
    assert set(Listen.objects.values_list("pk", flat=True)) == of_ben
    assert [listener.pk for listener in Listener.objects.all()] == ["ben"]
    assert not Upload.objects.exists() and not HeldRecord.objects.exists()
    assert Delivery.objects.count() == 1
    send("listens", of_ada[0])
    assert Listen.objects.filter(user_id="ada").count() == 1
    assert ArtistMonth.objects.get(user_id="ada").month == date(2025, 1, 1)

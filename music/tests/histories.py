"""Plays of a listener, with the roll-ups that storing them would have made."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from music import identity
from music.models import Album, AlbumMonth, Artist, ArtistMonth, HourMonth, Listen, Listener
from music.tests.factories import listener


def history(of: Artist, *days: date, hour: int = 20, user_id: str = "ada", album: Album | None = None) -> None:
    """A play of three minutes at each of these days and this hour, each of a title of its own."""
    listener(user_id)
    for day in days:
        _play(of, datetime(day.year, day.month, day.day, hour, tzinfo=timezone.get_current_timezone()), user_id, album)


def _play(of: Artist, played_at: datetime, user_id: str, album: Album | None) -> None:
    while Listen.objects.filter(played_at=played_at).exists():
        played_at += timedelta(minutes=1)
    title = f"Song of {played_at:%d %H:%M}"
    local = timezone.localtime(played_at)
    of_artist = {"artist": of.name, "artist_key": of.pk} if of.pk else {"artist_key": ""}
    of_album = {"album": album.name, "album_id": None if album.pk.startswith("name-") else album.pk} if album else {}
    Listen.objects.create(
        listen_id=identity.listen_id(user_id, played_at, track_name=title, artist=of.name),
        user_id=user_id,
        played_at=played_at,
        track_name=title,
        track_key=identity.track_key(title, of.name, None),
        ms_played=180_000,
        hour=local.hour,
        weekday=local.weekday(),
        is_skip=False,
        version_at=played_at,
        delivery=0,
        position=0,
        **of_artist,
        **of_album,
    )
    when = {"user_id": user_id, "month": date(local.year, local.month, 1)}
    _count(HourMonth, when | {"weekday": local.weekday(), "hour": local.hour})
    Listener.objects.filter(pk=user_id).update(plays=F("plays") + 1)
    if of.pk:
        _count(ArtistMonth, when | {"artist_key": of.pk})
        of.plays += 1
        of.save()
    if album:
        _count(AlbumMonth, when | {"album_id": album.pk})
        album.plays += 1
        album.save()


def _count(model: Any, key: dict[str, Any]) -> None:
    row, _ = model.objects.get_or_create(**key, defaults={"plays": 0, "ms": 0})
    model.objects.filter(pk=row.pk).update(plays=row.plays + 1, ms=row.ms + 180_000)

"""Plays taken back: one of them, or a listener with all; what charts have counted is subtracted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet, Sum

from enrichment.models import HeldRecord
from enrichment.pipeline.patience import lock_timeout
from enrichment.statements import batched, database_now, lock
from ingestion.models import Delivery, Upload
from music import identity
from music.counting import rollups
from music.counting.duplicates import LONGEST, UNKNOWN_LENGTH
from music.counting.rollups import FIRST_BELIEVED, PATIENCE
from music.models import Album, AlbumMonth, Artist, ArtistMonth, HourMonth, Listen, Listener

STEP = 20_000
"""Plays deleted by one statement."""
APART = LONGEST + UNKNOWN_LENGTH
"""Two plays that are one are not further apart."""


def delete_plays(listen_ids: Sequence[str]) -> None:
    """Of listeners that are locked, so that nobody else marks the plays. Where one was the original of duplicates, the
    first of them to arrive is the original from now on, and counted.
    """
    plays = list(Listen.objects.filter(pk__in=listen_ids).order_by("pk"))
    Listen.objects.filter(pk__in=listen_ids).delete()
    originals = [play for play in plays if play.duplicate_of is None]
    _recount(originals, [instead for play in originals if (instead := _next_original(play))])


def rows_of(user_id: str) -> dict[str, QuerySet[Any]]:
    """What is stored of a listener besides the plays."""
    return {
        "listeners": Listener.objects.filter(pk=user_id),
        "artists by month": ArtistMonth.objects.filter(user_id=user_id),
        "albums by month": AlbumMonth.objects.filter(user_id=user_id),
        "hours by month": HourMonth.objects.filter(user_id=user_id),
    }


def delete_listener(user_id: str) -> dict[str, int]:
    """With all plays, and all that was uploaded as theirs; kind of row → how many.

    Artists and albums are shared, and stay: with fewer plays, or none. They are locked last, and briefly.
    """
    with transaction.atomic():
        _delete_uploads(user_id)
        _lock_listener(user_id)
        plays = _delete_plays(Listen.objects.filter(user_id=user_id))
        artists = _plays_by(ArtistMonth.objects.filter(user_id=user_id), "artist_key")
        albums = _plays_by(AlbumMonth.objects.filter(user_id=user_id), "album_id")
        for month in (ArtistMonth, AlbumMonth, HourMonth):
            month._default_manager.filter(user_id=user_id).delete()
        deleted, _ = Listener.objects.filter(pk=user_id).delete()
        _change_plays(Artist, artists)
        _change_plays(Album, albums)
    return {"listeners": deleted, "plays": plays}


def _lock_listener(user_id: str) -> None:
    with lock_timeout(PATIENCE):
        Listener.objects.filter(pk=user_id).select_for_update(no_key=True).first()


# One play.


def _next_original(play: Listen) -> Listen | None:
    near = Listen.objects.filter(
        user_id=play.user_id, played_at__range=(play.played_at - APART, play.played_at + APART)
    )
    duplicates = near.filter(duplicate_of=play.pk).order_by("delivery", "position")
    first = duplicates.first()
    if first:
        duplicates.update(duplicate_of=first.pk)
        Listen.objects.filter(pk=first.pk).update(duplicate_of=None)
    return first


def _recount(gone: Sequence[Listen], instead: Sequence[Listen]) -> None:
    """Charts have these other plays in place of those."""
    artists: Counter[str] = Counter()
    albums: Counter[str] = Counter()
    for plays, change in ((gone, -1), (instead, 1)):
        counted = [play for play in plays if play.played_at >= FIRST_BELIEVED]
        album_of = {play.pk: identity.album_key(play.album_id, play.album, play.artist) for play in counted}
        rollups.add(map(vars, counted), album_of, change)
        for play in counted:
            artists[play.artist_key] += change
            albums[album_of[play.pk]] += change
    for user_id in sorted({play.user_id for play in gone}):
        rollups.remove_empty(user_id)
    _change_plays(Artist, artists)
    _change_plays(Album, albums)


# A listener.


def _delete_uploads(user_id: str) -> None:
    """Those that have the listener's plays alone, with what failed in them; locked before the listener, as by who
    stores what is pending.
    """
    whole = list(Upload.objects.filter(stream="listens", given__user_id=user_id).values_list("pk", flat=True))
    uploads = Upload.objects.filter(Q(pk__in=whole) | Q(part_of__in=whole))
    of_these = Delivery.objects.filter(upload__in=uploads.values("pk")).order_by("pk")
    for deliveries in batched(list(of_these.select_for_update().values_list("pk", flat=True))):
        HeldRecord.objects.filter(delivery__in=deliveries).only("pk").delete()
        Delivery.objects.filter(pk__in=deliveries).only("pk").delete()
    Upload.objects.filter(part_of__in=whole).only("pk").delete()
    Upload.objects.filter(pk__in=whole).only("pk").delete()


def _delete_plays(plays: QuerySet[Listen]) -> int:
    """In steps, from the oldest on."""
    deleted = 0
    left = plays.order_by("played_at")
    while last := next(iter(left.values_list("played_at", flat=True)[STEP - 1 : STEP]), None):
        deleted += left.order_by().filter(played_at__lte=last).delete()[0]
        left = plays.order_by("played_at").filter(played_at__gt=last)  # not once more over those deleted
    return deleted + left.order_by().delete()[0]


def _plays_by(rows: QuerySet[ArtistMonth] | QuerySet[AlbumMonth], key: str) -> dict[str, int]:
    """Key → its plays, negative."""
    return {each: -plays for each, plays in rows.order_by().values_list(key).annotate(plays=Sum("plays"))}


def _change_plays(model: type[Artist | Album], changes: Mapping[str, int]) -> None:
    """Key → how many more plays."""
    of_change: dict[int, list[str]] = {}
    for key, change in changes.items():
        if key and change:
            of_change.setdefault(change, []).append(key)
    rows = model._default_manager.order_by()
    lock(model, (key for keys in of_change.values() for key in keys), read=False)
    for change, keys in of_change.items():
        for some in batched(keys):
            rows.filter(pk__in=some).update(plays=F("plays") + change, stored_at=database_now())

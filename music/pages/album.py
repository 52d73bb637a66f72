"""What the page of an album shows: plays over time, titles, its artist, what Spotify knows of it, and its lookup."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.db.models import Count, Max, QuerySet, Sum
from django.http import HttpRequest

from console.stored.page import Tile, list_page, page_of
from ingestion.text import plain, thousands
from music.models import Album, AlbumMonth, Artist, Listen
from music.pages import links
from music.pages.artist import NEVER, facts
from music.pages.demo import is_demo
from music.pages.filters import COUNTED
from music.pages.lookups import asked_about
from music.pages.months import Range
from music.pages.over_time import plays_over_time
from music.pages.rankings import MAX_ROWS, Ranking, Row, noun, with_bars

FACTS = ("album_type", "release_date", "total_tracks", "label", "popularity", "genres", "fetched_at", "gone_at")
MAX_READ = 20_000
"""Plays, the newest, from which the titles are counted."""


class AlbumPage:
    def __init__(self, request: HttpRequest, album: Album) -> None:
        self.request, self.album = request, album

    def context(self) -> dict[str, Any]:
        album = self.album
        artist = Artist.objects.filter(pk=album.artist_key).first() if album.artist_key else None
        return {
            "is_demo": is_demo(),
            "name": plain(album.name) or album.pk,
            "artist": plain(artist.name if artist else album.artist_name or ""),
            "artist_page": page_of(self.request, Artist, artist.pk) if artist else "",
            "tiles": [Tile(thousands(album.plays), noun("play", album.plays), self.link(), "of all listeners")],
            "by_month": self.by_month(),
            "titles": self.titles(),
            "facts": facts(album, FACTS),
            "spotify_link": links.at_spotify("album", album.pk),
            "questions": asked_about(self.request, plain(album.name) or album.pk, {"spotify": [album.pk]}, ["album"]),
        }

    def link(self, months: Range | None = None, **filters: Any) -> str:
        """Its plays that charts count."""
        query = months.query if months else {}
        return list_page(self.request, Listen, album_key=self.album.pk, **query, counted="yes", **filters)

    def by_month(self) -> Any:
        rows = AlbumMonth.objects.filter(album_id=self.album.pk).order_by()
        found: dict[date, int] = dict(rows.values_list("month").annotate(number=Sum("plays")))
        shown = Range(min(found), max(found)) if found else Range(NEVER, NEVER)
        return plays_over_time(found, shown, self.link)

    def titles(self) -> Ranking:
        newest = self._plays().order_by("-played_at").values("pk")[:MAX_READ]
        rows = Listen.objects.filter(pk__in=newest).order_by().values("track_key")
        counted = rows.annotate(name=Max("track_name"), number=Count("pk")).order_by("-number", "track_key")
        found = [
            Row(plain(row["name"] or "") or "–", row["number"], link=self.link(track_key=row["track_key"]))
            for row in counted[:MAX_ROWS]
        ]
        return Ranking("Titles", "Title", with_bars(found))

    def _plays(self) -> QuerySet[Listen]:
        """By the artist, whose plays have an index: those of the album by others, as of a compilation, are left out."""
        plays = Listen.objects.filter(artist_key=self.album.artist_key, **COUNTED)
        if self.album.pk.startswith("name-"):
            return plays.filter(album=self.album.name)
        return plays.filter(album_id=self.album.pk)

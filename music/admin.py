"""The lists and pages of plays, and of the artists, albums and areas in them."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from console.filters import FieldFilter, HiddenFilter, WarningsFilter, flag_filter
from console.stored.admin import StoredRecordAdmin, badges, column
from console.stored.rows import RowAdmin
from console.templatetags.formatting import age, badge
from ingestion.streams import Readable
from ingestion.text import plain
from music.models import Album, Area, Artist, Listen, Match
from music.streams import ALBUMS, AREAS, ARTISTS, LISTENS

BADGES = {
    Match.OPEN: "pending",
    Match.FOUND: "processed",
    Match.NOT_FOUND: "discarded",
    Match.AMBIGUOUS: "waiting",
    Match.FAILED: "dead",
    Match.NOBODY: "stale",
}


class ListenerFilter(HiddenFilter):
    title = "listener"
    parameter_name = "user_id"


class ArtistFilter(HiddenFilter):
    title = "artist"
    parameter_name = "artist_key"


class AlbumFilter(HiddenFilter):
    title = parameter_name = "album"


class CountryFilter(HiddenFilter):
    title = "country"
    parameter_name = "country_code"


class ContinentFilter(HiddenFilter):
    title = "continent"
    parameter_name = "continent_code"


class MatchFilter(FieldFilter):
    title = parameter_name = "match"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in Match.choices]


@admin.register(Listen)
class ListenAdmin(StoredRecordAdmin):
    stream = LISTENS
    ordering = ["-listen_id"]
    search_lookups = ("user_id__exact",)
    search_help_text = "ID or its beginning, or the listener"
    list_display = ("listen_id", column("user_id", "listener"), "played_at", "track", "artist_", "notes")
    list_filter = (ListenerFilter, ArtistFilter, AlbumFilter, flag_filter("is_skip", "skipped"), WarningsFilter)

    @admin.display(description="track")
    def track(self, listen: Listen) -> str:
        return plain(listen.track_name or listen.track_id or "")

    @admin.display(description="artist", empty_value="")
    def artist_(self, listen: Listen) -> str:
        return plain(listen.artist or "")

    @admin.display(description="notes", empty_value="")
    def notes(self, listen: Listen) -> SafeString:
        return badges(
            listen, (listen.is_skip, "stale", "skipped"), (bool(listen.duplicate_of), "discarded", "duplicate")
        )


class StoredAtAdmin(RowAdmin):
    @admin.display(description="stored")
    def stored(self, row: Artist | Album | Area) -> SafeString | str:
        return age(row.stored_at)


@admin.register(Artist)
class ArtistAdmin(StoredAtAdmin):
    ordering = ["-plays", "-artist_key"]
    search_lookups = ("name__contains_any_case",)
    search_help_text = "Key or its beginning, or part of the name"
    list_display = ("name_", "plays", "match_", "how", "country_code", "city", "stored")
    list_filter = (MatchFilter, CountryFilter, ContinentFilter)

    def get_readable(self) -> Readable:
        return ARTISTS

    @admin.display(description="name")
    def name_(self, artist: Artist) -> str:
        return plain(artist.name) or artist.pk

    @admin.display(description="match")
    def match_(self, artist: Artist) -> SafeString:
        return badge(BADGES[Match(artist.match)], str(Match(artist.match).label))


@admin.register(Album)
class AlbumAdmin(StoredAtAdmin):
    ordering = ["-plays", "-album_id"]
    search_lookups = ("name__contains_any_case",)
    search_help_text = "ID or its beginning, or part of the name"
    list_display = ("name_", "plays", "artist_name", "release_date", "stored")
    list_filter = (ArtistFilter,)

    def get_readable(self) -> Readable:
        return ALBUMS

    @admin.display(description="name")
    def name_(self, album: Album) -> str:
        return plain(album.name) or album.pk


@admin.register(Area)
class AreaAdmin(StoredAtAdmin):
    ordering = ["-stored_at", "-area_id"]
    search_lookups = ("name__contains_any_case",)
    search_help_text = "ID or its beginning, or part of the name"
    list_display = ("name_", "type", "country_code", "params", "place", "stored")
    list_filter = (CountryFilter, ContinentFilter)

    def get_readable(self) -> Readable:
        return AREAS

    @admin.display(description="name")
    def name_(self, area: Area) -> str:
        return plain(area.name) or area.pk

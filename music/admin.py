"""The lists and pages of plays, and of the artists, albums and areas in them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console.base import NewestPaginator, ReadOnlyAdmin
from console.filters import FieldFilter, HiddenFilter, WarningsFilter, flag_filter
from console.stored.admin import StoredRecordAdmin, badges, column
from console.stored.rows import RowAdmin
from console.templatetags.formatting import age, badge
from ingestion.streams import Readable
from ingestion.text import plain, strip_unstorable
from music.models import Album, Area, Artist, Listen, Listener, Match
from music.pages.artist import ArtistPage
from music.pages.filters import (
    AlbumFilter,
    ArtistFilter,
    ContinentOfArtistFilter,
    CountedFilter,
    CountryOfArtistFilter,
    FromFilter,
    GenreFilter,
    HourFilter,
    ListenerFilter,
    MbidFilter,
    ToFilter,
    TrackFilter,
    WeekdayFilter,
)
from music.pages.listener import ListenerPage
from music.streams import ALBUMS, AREAS, ARTISTS, LISTENS

BADGES = {
    Match.OPEN: "pending",
    Match.FOUND: "processed",
    Match.NOT_FOUND: "discarded",
    Match.AMBIGUOUS: "waiting",
    Match.FAILED: "dead",
    Match.NOBODY: "stale",
}


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
    list_filter = (
        *(ListenerFilter, ArtistFilter, MbidFilter, AlbumFilter, TrackFilter, GenreFilter),
        *(CountryOfArtistFilter, ContinentOfArtistFilter, FromFilter, ToFilter, HourFilter, WeekdayFilter),
        flag_filter("is_skip", "skipped"),
        CountedFilter,
        WarningsFilter,
    )

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


@admin.register(Listener)
class ListenerAdmin(ReadOnlyAdmin):
    """The page of one has the charts of a listening history."""

    ordering = ["user_id"]
    paginator = NewestPaginator
    search_fields = ["user_id__startswith"]
    search_help_text = "Listener, or the beginning of the name"
    list_display = ("user_id", "client_", "created_at", "plays")

    @admin.display(description="from")
    def client_(self, listener: Listener) -> str:
        return plain(listener.client)

    @admin.display(description="plays")
    def plays(self, listener: Listener) -> SafeString:
        page = f"{reverse('admin:music_listen_changelist')}?{urlencode({'user_id': listener.pk})}"
        return format_html('<a href="{}">plays</a>', page)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_safe_method(request)
        listener = self.get_object(request, strip_unstorable(unquote(object_id)))
        if listener is None or not self.has_view_permission(request):
            return super().change_view(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Listening history of {plain(listener.pk)}",
            "opts": self.opts,
            "row": listener,
            "list_page": reverse("admin:music_listener_changelist"),
            **ListenerPage(request, listener).context(),
        }
        return TemplateResponse(request, "admin/music/listener.html", context)


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
    list_filter = (MatchFilter, CountryFilter, ContinentFilter, GenreFilter)

    def get_readable(self) -> Readable:
        return ARTISTS

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_safe_method(request)
        artist = self.find(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": plain(str(artist)),
            "opts": self.opts,
            "row": artist,
            "badge": self.match_(artist),
            "list_page": self.page("changelist", query=request.GET.get("_changelist_filters", "")),
            **ArtistPage(request, artist).context(),
        }
        return TemplateResponse(request, "admin/music/artist.html", context)

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

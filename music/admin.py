"""The lists and pages of plays, and of the artists, albums and areas in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.views.main import ChangeList
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from console import senders
from console.base import NewestPaginator, ReadOnlyAdmin
from console.filters import FieldFilter, HiddenFilter, WarningsFilter, flag_filter
from console.stored import page as record_page
from console.stored.admin import StoredRecordAdmin, badges, column
from console.stored.rows import RowAdmin
from console.templatetags.formatting import age, badge
from ingestion.streams import Readable
from ingestion.text import plain, strip_unstorable, thousands
from music.counting import removal
from music.models import Album, Area, Artist, HourMonth, Listen, Listener, Match, Placed
from music.pages.album import AlbumPage
from music.pages.area import AreaPage, found_by
from music.pages.artist import ArtistPage
from music.pages.filters import (
    AlbumFilter,
    ArtistFilter,
    ArtistOfAlbumFilter,
    ContinentFilter,
    ContinentOfArtistFilter,
    CopiesFilter,
    CountedFilter,
    CountryFilter,
    CountryOfArtistFilter,
    FromFilter,
    GenreFilter,
    HourFilter,
    ListenerFilter,
    MbidFilter,
    MonthFilter,
    OriginFilter,
    SourceFilter,
    ToFilter,
    TrackFilter,
    WeekdayFilter,
    WithoutCountryFilter,
)
from music.pages.listen import with_links
from music.pages.listener import ListenerPage
from music.pages.months import label
from music.pages.world import country_name
from music.providers.musicbrainz import RULES
from music.streams import ALBUMS, AREAS, ARTISTS, LISTENS

MAX_NAMED = 100
"""Artists, the most played, whose plays a search finds by their names."""
BADGES = {
    Match.OPEN: "pending",
    Match.FOUND: "processed",
    Match.NOT_FOUND: "discarded",
    Match.AMBIGUOUS: "waiting",
    Match.FAILED: "dead",
    Match.NOBODY: "discarded",
}

BADGES_OF_PLACES = {
    Placed.OPEN: "pending",
    Placed.FOUND: "processed",
    Placed.NOT_FOUND: "discarded",
    Placed.AMBIGUOUS: "waiting",
    Placed.FAILED: "dead",
    Placed.NO_CITY: "discarded",
}


class MatchFilter(FieldFilter):
    title = parameter_name = "match"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in Match.choices]


class PlaceFilter(FieldFilter):
    title = parameter_name = "place"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in Placed.choices]


class YearFilter(HiddenFilter):
    """Of the release."""

    title = parameter_name = "year"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(release_date__startswith=self.value()) if self.value() else queryset


class DescribedFilter(FieldFilter):
    title = "at Spotify"
    parameter_name = "described"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "described"), ("no", "not described"), ("gone", "gone")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.filter(fetched_at__isnull=False)
            case "no":
                return queryset.filter(fetched_at=None)
            case "gone":
                return queryset.filter(gone_at__isnull=False)
            case unknown:
                return queryset.none() if unknown else queryset


@admin.register(Listen)
class ListenAdmin(StoredRecordAdmin):
    stream = LISTENS
    ordering = ["-listen_id"]
    search_lookups = ("user_id__exact",)
    search_help_text = "Part of the artist’s name, the listener, or an ID or its beginning"
    list_display = ("track", "artist_", "played_at", column("user_id", "listener"), "notes", "listen_id")
    list_filter = (
        *(ListenerFilter, MonthFilter, FromFilter, ToFilter, ArtistFilter, MbidFilter, AlbumFilter, TrackFilter),
        *(CountryOfArtistFilter, ContinentOfArtistFilter, WithoutCountryFilter, GenreFilter, SourceFilter),
        *(flag_filter("is_skip", "skipped"), CopiesFilter, CountedFilter, WeekdayFilter, HourFilter),
        WarningsFilter,
    )

    def more(self, request: HttpRequest, row: Listen) -> Mapping[str, Any]:
        names = [plain(name) for name in (row.track_name, row.artist) if name]
        title = {"title": " – ".join(names)} if names else {}
        return {**title, **with_links(request, row, *record_page.fields(request, self.stream, row))}

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By artists whose name has the text, which are fewer than the plays."""
        text = search_term.strip()
        if not text:
            return queryset, False
        named = Artist.objects.filter(name__contains_any_case=text).order_by("-plays", "artist_key")
        keys = list(named.values_list("pk", flat=True)[:MAX_NAMED])
        matching = Q(artist_key__in=keys) | Q(user_id=text) | Q(listen_id__startswith=text)
        return queryset.filter(matching), False

    @admin.display(description="track")
    def track(self, listen: Listen) -> str:
        return plain(listen.track_name or listen.track_id or "") or "–"

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

    ordering = ["-plays", "user_id"]
    paginator = NewestPaginator
    search_fields = ["user_id__contains_any_case"]
    search_help_text = "Part of the name"
    list_display = (column("user_id", "listener"), "plays_", "first", "last", "client_", "created_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Listener]:
        months = HourMonth.objects.filter(user_id=OuterRef("pk"))
        first, last = (Subquery(months.order_by(order).values("month")[:1]) for order in ("month", "-month"))
        listeners: QuerySet[Listener] = super().get_queryset(request)
        return listeners.annotate(first_month=first, last_month=last)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        names = senders.key_names(listener.client for listener in changes.result_list)
        for listener in changes.result_list:
            listener.sent_by = senders.display_name(listener.client, names)
        return changes

    @admin.display(description="sent by")
    def client_(self, listener: Any) -> str:
        return str(listener.sent_by)

    @admin.display(description="first play", empty_value="")
    def first(self, listener: Any) -> str:
        return _month(listener.first_month)

    @admin.display(description="last play", empty_value="")
    def last(self, listener: Any) -> str:
        return _month(listener.last_month)

    @admin.display(description="plays")
    def plays_(self, listener: Listener) -> SafeString:
        query = urlencode({"user_id": listener.pk, "counted": "yes"})
        page = f"{reverse('admin:music_listen_changelist')}?{query}"
        return format_html('<a href="{}">{}</a>', page, thousands(listener.plays))

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
            "delete_page": self.has_delete_permission(request, listener)
            and reverse("admin:music_listener_delete", args=[quote(listener.pk)]),
            **ListenerPage(request, listener).context(),
        }
        return TemplateResponse(request, "admin/music/listener.html", context)

    def has_delete_permission(self, request: HttpRequest, obj: Listener | None = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without Django's deletion of many."""
        return {}

    def delete_model(self, request: HttpRequest, obj: Listener) -> None:
        removal.delete_listener(obj.pk)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """(what, how many by kind, missing permissions, what protects it)."""
        plays = {obj.pk: Listen.objects.filter(user_id=obj.pk).count() for obj in objs}
        what = [
            f"Listener {plain(name)}, with {thousands(number)} play{'' if number == 1 else 's'}"
            " and the files that were uploaded for this listener alone"
            for name, number in plays.items()
        ]
        return what, {"listeners": len(plays), "plays": thousands(sum(plays.values()))}, set(), []


def _month(month: date | None) -> str:
    return label(month) if month else ""


class StoredAtAdmin(RowAdmin):
    page_template: str

    @admin.display(description="plays")
    def plays_(self, row: Artist | Album) -> str:
        return thousands(row.plays)

    @admin.display(description="stored")
    def stored(self, row: Artist | Album | Area) -> SafeString | str:
        return age(row.stored_at)

    def context_of(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """What the page of one shows."""
        raise NotImplementedError

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_safe_method(request)
        row = self.find(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": plain(str(row)),
            "opts": self.opts,
            "row": row,
            "list_page": self.page("changelist", query=request.GET.get("_changelist_filters", "")),
            **self.context_of(request, row),
        }
        return TemplateResponse(request, self.page_template, context)


@admin.register(Artist)
class ArtistAdmin(StoredAtAdmin):
    page_template = "admin/music/artist.html"
    ordering = ["-plays", "-artist_key"]
    search_lookups = ("name__contains_any_case",)
    search_help_text = "Key or its beginning, or part of the name"
    list_display = ("name_", "plays_", "match_", "how_", "country", "city_", "genres_", "stored")
    list_filter = (MatchFilter, CountryFilter, ContinentFilter, GenreFilter, OriginFilter)

    def get_readable(self) -> Readable:
        return ARTISTS

    def context_of(self, request: HttpRequest, row: Artist) -> dict[str, Any]:
        return {"badge": self.match_(row), **ArtistPage(request, row).context()}

    @admin.display(description="name")
    def name_(self, artist: Artist) -> str:
        return plain(artist.name) or artist.pk

    @admin.display(description="country", empty_value="")
    def country(self, artist: Artist) -> str:
        return country_name(artist.country_code) if artist.country_code else ""

    @admin.display(description="city", empty_value="")
    def city_(self, artist: Artist) -> str:
        return plain(artist.city or "")

    @admin.display(description="genres", empty_value="")
    def genres_(self, artist: Artist) -> str:
        return plain(", ".join(artist.genres[:3]))

    @admin.display(description="match")
    def match_(self, artist: Artist) -> SafeString:
        return badge(BADGES[Match(artist.match)], str(Match(artist.match).label))

    @admin.display(description="found by", empty_value="")
    def how_(self, artist: Artist) -> str:
        return RULES.get(artist.how, plain(artist.how))


@admin.register(Album)
class AlbumAdmin(StoredAtAdmin):
    page_template = "admin/music/album.html"
    ordering = ["-plays", "-album_id"]
    search_lookups = ("name__contains_any_case",)
    search_help_text = "ID or its beginning, or part of the name"
    list_display = ("name_", "plays_", "artist_", "released", "type_", "tracks", "described", "stored")
    list_filter = (ArtistOfAlbumFilter, YearFilter, DescribedFilter)

    def get_readable(self) -> Readable:
        return ALBUMS

    def context_of(self, request: HttpRequest, row: Album) -> dict[str, Any]:
        return AlbumPage(request, row).context()

    @admin.display(description="name")
    def name_(self, album: Album) -> str:
        return plain(album.name) or album.pk

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """With the names of artists, also of albums that Spotify has not described."""
        changes = super().get_changelist_instance(request)
        changes.result_list = list(changes.result_list)
        keys = {album.artist_key for album in changes.result_list if album.artist_key}
        names = dict(Artist.objects.filter(pk__in=keys).values_list("pk", "name"))
        for album in changes.result_list:
            album.by = album.artist_name or names.get(album.artist_key) or ""
        return changes

    @admin.display(description="artist", empty_value="")
    def artist_(self, album: Any) -> str:
        return plain(album.by)

    @admin.display(description="released", empty_value="")
    def released(self, album: Album) -> str:
        return plain(album.release_date or "")

    @admin.display(description="type", empty_value="")
    def type_(self, album: Album) -> str:
        return plain(album.album_type or "")

    @admin.display(description="tracks", empty_value="")
    def tracks(self, album: Album) -> str:
        return "" if album.total_tracks is None else thousands(album.total_tracks)

    @admin.display(description="at Spotify", empty_value="")
    def described(self, album: Album) -> SafeString | str:
        if album.gone_at:
            return badge("stale", "gone")
        return badge("processed", "described") if album.fetched_at else ""


@admin.register(Area)
class AreaAdmin(StoredAtAdmin):
    page_template = "admin/music/area.html"
    ordering = ["-stored_at", "-area_id"]
    search_lookups = ("name__contains_any_case",)
    search_help_text = "ID or its beginning, or part of the name"
    list_display = ("name_", "type_", "country", "params_", "place_", "source", "stored")
    list_filter = (PlaceFilter, CountryFilter, ContinentFilter)

    def get_readable(self) -> Readable:
        return AREAS

    def context_of(self, request: HttpRequest, row: Area) -> dict[str, Any]:
        return {"badge": self.place_(row), **AreaPage(request, row).context()}

    @admin.display(description="name")
    def name_(self, area: Area) -> str:
        return plain(area.name) or area.pk

    @admin.display(description="type", empty_value="")
    def type_(self, area: Area) -> str:
        return plain(area.type)

    @admin.display(description="country", empty_value="")
    def country(self, area: Area) -> str:
        return country_name(area.country_code) if area.country_code else ""

    @admin.display(description="city", empty_value="")
    def params_(self, area: Area) -> str:
        return plain(area.params or "")

    @admin.display(description="place")
    def place_(self, area: Area) -> SafeString:
        return badge(BADGES_OF_PLACES[Placed(area.place)], str(Placed(area.place).label))

    @admin.display(description="found by", empty_value="")
    def source(self, area: Area) -> str:
        return found_by(area)

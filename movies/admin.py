"""The lists and pages of libraries, their entries and films, and of films as TMDB describes them."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst

from console.base import NewestPaginator, ReadOnlyAdmin
from console.filters import FieldFilter, HiddenFilter, UploadFilter, WarningsFilter, flag_filter
from console.personal import for_user
from console.stored.admin import StoredRecordAdmin, badges, column
from console.stored.page import FieldDisplay, display_value, history, link_to, list_page
from console.stored.rows import RowAdmin
from console.templatetags.formatting import age, badge
from enrichment.lookups.models import Lookup
from ingestion.streams import Readable
from ingestion.text import plain
from movies import libraries
from movies.models import Entry, Film, FilmKind, Library, LibraryFilm, Match
from movies.streams import ENTRIES, MOVIES

MAX_ENTRIES = 200
"""Of a film, on its page."""
MAX_LIBRARIES = 20
BADGES = {"open": "pending", "found": "processed", "not_found": "discarded", "ambiguous": "waiting", "failed": "dead"}


class LibraryFilter(HiddenFilter):
    title = parameter_name = "library"


class OfUploadFilter(UploadFilter):
    field = "uploads__upload"


class KindFilter(FieldFilter):
    title = "kind"
    parameter_name = "tmdb_film__kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in FilmKind.choices]


class MatchFilter(FieldFilter):
    title = parameter_name = "match"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(str(value), str(label)) for value, label in Match.choices]


class HowFilter(HiddenFilter):
    title = "rule"
    parameter_name = "how"


class FilmFilter(HiddenFilter):
    title = "film"
    parameter_name = "tmdb_film"


class EntriesOfFilmFilter(HiddenFilter):
    title = "library film"
    parameter_name = "film"


class DescribedFilter(FieldFilter):
    title = "description"
    parameter_name = "described"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "known"), ("no", "not known"), ("gone", "gone from TMDB")]

    def queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> models.QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.filter(fetched_at__isnull=False)
            case "no":
                return queryset.filter(fetched_at=None)
            case "gone":
                return queryset.filter(gone_at__isnull=False)
            case unknown:
                return queryset.none() if unknown else queryset


def match_badge(film: LibraryFilm) -> SafeString:
    return badge(BADGES[film.match], str(Match(film.match).label))


@admin.register(Entry)
class EntryAdmin(StoredRecordAdmin):
    stream = ENTRIES
    ordering = ["-stored_at", "-entry_id"]
    search_lookups = ("library__exact", "title__contains_any_case")
    search_help_text = "ID or its beginning, library, or part of the title"
    list_display = (
        *("entry_id", column("library", "library"), "kind", "title_", "year"),
        *(column("watched_on", "watched"), "rating", "notes", "stored"),
    )
    list_filter = (
        LibraryFilter,
        EntriesOfFilmFilter,
        "kind",
        flag_filter("gone", "gone"),
        flag_filter("orphaned", "orphaned"),
        flag_filter("deleted", "deleted"),
        WarningsFilter,
    )

    @admin.display(description="title")
    def title_(self, entry: Entry) -> str:
        return plain(entry.title)

    @admin.display(description="notes", empty_value="")
    def notes(self, entry: Entry) -> SafeString:
        return badges(
            entry,
            (entry.deleted, "discarded", "deleted"),
            (entry.gone, "stale", "gone"),
            (entry.orphaned, "stale", "orphaned"),
        )


@admin.register(LibraryFilm)
class LibraryFilmAdmin(RowAdmin):
    ordering = ["-stored_at", "-film_id"]
    search_lookups = ("library__exact", "title__contains_any_case")
    search_help_text = "ID or its beginning, library, or part of the title"
    list_display = (
        *("title_", "year", column("library", "library"), "match_", "how_", "in_tmdb", "rating", "notes", "stored"),
    )
    list_filter = (
        LibraryFilter,
        OfUploadFilter,
        FilmFilter,
        MatchFilter,
        HowFilter,
        KindFilter,
        flag_filter("seen", "seen"),
        flag_filter("liked", "liked"),
        flag_filter("watchlist", "on the watchlist"),
    )
    list_select_related = ("tmdb_film",)

    def get_readable(self) -> Readable:
        return MOVIES

    @admin.display(description="title")
    def title_(self, film: LibraryFilm) -> str:
        return plain(film.title) or film.pk

    @admin.display(description="match")
    def match_(self, film: LibraryFilm) -> SafeString:
        return match_badge(film)

    @admin.display(description="rule", empty_value="")
    def how_(self, film: LibraryFilm) -> str:
        return plain(film.how)

    @admin.display(description="in TMDB", empty_value="")
    def in_tmdb(self, film: LibraryFilm) -> str:
        return plain(str(film.tmdb_film)) if film.tmdb_film else ""

    @admin.display(description="notes", empty_value="")
    def notes(self, film: LibraryFilm) -> SafeString:
        watched = f"{film.viewings} viewing{'' if film.viewings == 1 else 's'}" if film.viewings else "seen"
        found = [(film.seen, "processed", watched), (film.liked, "resolved", "liked")]
        shown = [badge(kind, text) for holds, kind, text in (*found, (film.watchlist, "pending", "watchlist")) if holds]
        return format_html(" ".join(["{}"] * len(shown)), *shown)

    @admin.display(description="stored")
    def stored(self, film: LibraryFilm) -> SafeString | str:
        return age(film.stored_at)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_safe_method(request)
        film = self.find(request, object_id)
        film = self.get_queryset(request).select_related("tmdb_film", "lookup").get(pk=film.pk)
        entries = list(
            for_user(request.user, film.entries.defer("review")).order_by("kind", "watched_on", "pk")[: MAX_ENTRIES + 1]
        )
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(plain(str(film))),
            "opts": self.opts,
            "row": film,
            "badge": match_badge(film),
            "own": facts(film, "library", "title", "year", "letterboxd_uri", *PERSONAL),
            "tmdb": facts(film.tmdb_film, *OF_TMDB) if film.tmdb_film else [],
            "film_link": film.tmdb_film and link_to(request, Film, film.tmdb_film_id, str(film.tmdb_film)),
            "lookup_link": film.lookup and link_to(request, Lookup, film.lookup_id, str(film.lookup)),
            "entries": [(entry, link_to(request, Entry, entry.pk)) for entry in entries[:MAX_ENTRIES]],
            "entries_page": list_page(request, Entry, film=film.pk) if len(entries) > MAX_ENTRIES else "",
            "history": history(film.lookup) if film.lookup else [],
            "list_page": self.page("changelist", query=request.GET.get("_changelist_filters", "")),
        }
        return TemplateResponse(request, "admin/movies/library_film.html", context)


PERSONAL = (
    *("rating", "seen", "liked", "watchlist", "viewings", "rewatches", "has_review", "first_watched_on"),
    *("last_watched_on", "tags"),
)
OF_TMDB = (
    *("kind", "tmdb_id", "imdb_id", "title", "original_title", "release_date", "runtime", "genres", "directors"),
    *("cast", "countries", "languages", "vote_average", "vote_count", "budget", "revenue", "popularity", "poster_path"),
)


def facts(row: models.Model, *names: str) -> list[FieldDisplay]:
    """These columns, for people."""
    fields = {field.attname: field for field in row._meta.concrete_fields}
    return [_fact(fields[name], name, getattr(row, name)) for name in names]


def _fact(field: models.Field[Any, Any], name: str, value: Any) -> FieldDisplay:
    text = str(value) if name in ("year", "tmdb_id") and value is not None else display_value(field, value)
    return FieldDisplay(name, name.replace("_", " "), text, str(field.help_text))


@admin.register(Film)
class FilmAdmin(ReadOnlyAdmin):
    ordering = ["film_key"]
    paginator = NewestPaginator
    search_fields = ["film_key__exact", "imdb_id__exact", "title__startswith"]
    search_help_text = "Kind and number (movie-603), number at IMDb, or the beginning of the title"
    list_display = ("film_key", "title_", "release_date", "directors_", "runtime", "votes", "notes")
    list_filter = ("kind", DescribedFilter)

    @admin.display(description="title")
    def title_(self, film: Film) -> str:
        return plain(film.title) or "–"

    @admin.display(description="directors")
    def directors_(self, film: Film) -> str:
        return plain(", ".join(film.directors))

    @admin.display(description="votes")
    def votes(self, film: Film) -> str:
        return f"{film.vote_count:,}" if film.vote_count is not None else "–"

    @admin.display(description="notes", empty_value="")
    def notes(self, film: Film) -> SafeString | str:
        if film.gone_at:
            return badge("stale", "gone from TMDB")
        if film.fetched_at:
            return ""
        return badge("dead", "no description") if film.has_failed else badge("pending", "being described")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.require_safe_method(request)
        film = self.get_object(request, object_id)
        if film is None or not self.has_view_permission(request):
            return super().change_view(request, object_id)
        details = Lookup.objects.filter(provider="tmdb", kind=film.kind, key=str(film.tmdb_id)).first()
        of_libraries = for_user(request.user, film.library_films).order_by("pk")[: MAX_LIBRARIES + 1]
        context = {
            **self.admin_site.each_context(request),
            "title": capfirst(plain(str(film))),
            "opts": self.opts,
            "row": film,
            "tmdb": facts(film, *OF_TMDB),
            "characters": list(zip(film.cast, film.characters, strict=False)),
            "lookup_link": details and link_to(request, Lookup, details.pk, str(details)),
            "library_films": [(row, link_to(request, LibraryFilm, row.pk, str(row))) for row in of_libraries],
            "library_films_page": list_page(request, LibraryFilm, tmdb_film=film.pk),
        }
        return TemplateResponse(request, "admin/movies/film.html", context)


@admin.register(Library)
class LibraryAdmin(ReadOnlyAdmin):
    ordering = ["-created_at", "-name"]
    paginator = NewestPaginator
    search_fields = ["name__startswith", "client__exact"]
    search_help_text = "Name or its beginning, or who sent its first record"
    list_display = ("name", "client_", "created_at", "films", "expiry")
    readonly_fields = ("expiry", "films")
    fields = ("name", "client", "created_at", "last_seen_at", "expiry", "films")

    @admin.display(description="from")
    def client_(self, library: Library) -> str:
        return plain(library.client)

    @admin.display(description="films")
    def films(self, library: Library) -> SafeString:
        page = f"{reverse('admin:movies_libraryfilm_changelist')}?{urlencode({'library': library.pk})}"
        return format_html('<a href="{}">films</a>', page)

    @admin.display(description="expires")
    def expiry(self, library: Library) -> str:
        if library.linked_at is None:
            return "never"
        return f"{libraries.DAYS_KEPT} days after the last look at it"

    def has_delete_permission(self, request: HttpRequest, obj: Library | None = None) -> bool:
        return admin.ModelAdmin.has_delete_permission(self, request, obj)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without Django's deletion of many."""
        return {}

    def delete_model(self, request: HttpRequest, obj: Library) -> None:
        libraries.delete(obj.pk)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """(what, how many by kind, missing permissions, what protects it)."""
        names = [obj.pk for obj in objs]
        counts = {
            "entries": Entry.objects.filter(library__in=names).count(),
            "library films": LibraryFilm.objects.filter(library__in=names).count(),
        }
        return [f"Library {plain(name)}, with all that was sent for it" for name in names], counts, set(), []

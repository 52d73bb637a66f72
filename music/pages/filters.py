"""Filters of the lists of plays and artists; most are set by links from charts."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from console.filters import FieldFilter, HiddenFilter, HiddenNumberFilter
from ingestion.text import plain
from music.counting.rollups import FIRST_BELIEVED
from music.models import Album, ArtistGenre, Match
from music.pages.heat import HOURS, WEEKDAYS
from music.pages.months import MONTH, add

COUNTED: dict[str, Any] = {"duplicate_of": None, "played_at__gte": FIRST_BELIEVED}
"""Of plays that charts count."""


class ListenerFilter(HiddenFilter):
    title = "listener"
    parameter_name = "user_id"


class ArtistFilter(HiddenFilter):
    title = "artist"
    parameter_name = "artist_key"


class ArtistRelatedFilter(HiddenFilter):
    """Of plays: by a column of their artist."""

    field: str

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{f"artist_row__{self.field}": self.value()}) if self.value() else queryset


class MbidFilter(ArtistRelatedFilter):
    title = "artist at MusicBrainz"
    parameter_name = field = "mbid"


class CountryOfArtistFilter(ArtistRelatedFilter):
    title = "country"
    parameter_name = field = "country_code"


class ContinentOfArtistFilter(ArtistRelatedFilter):
    title = "continent"
    parameter_name = field = "continent_code"


NO_ARTIST = "no_artist"
"""Why a play has no country, beside the states of its artist's match."""
REASONS = {
    Match.FOUND.value: "MusicBrainz names no country of the artist",
    Match.NOT_FOUND.value: "artist not found",
    Match.AMBIGUOUS.value: "artist ambiguous",
    Match.OPEN.value: "artist not looked up yet",
    Match.FAILED.value: "lookup failed",
    Match.NOBODY.value: "nobody in particular, such as “Various Artists”",
    NO_ARTIST: "no artist",
}


class WithoutCountryFilter(FieldFilter):
    """Plays without a country, by the reason; shown only where a link has set it."""

    title = "without a country"
    parameter_name = "without_country"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = request.GET.get("without_country", "")
        return [(value, REASONS.get(value, plain(value[:20])))] if value else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        if value == NO_ARTIST:
            return queryset.filter(artist_key="")
        if value not in REASONS:
            return queryset.none()
        return queryset.filter(artist_row__match=value, artist_row__country_code=None)


class GenreFilter(HiddenFilter):
    """Of plays and of artists, which both have the artist's key."""

    title = parameter_name = "genre"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.filter(artist_key__in=ArtistGenre.objects.filter(genre=self.value()).values("artist"))


class AlbumFilter(HiddenFilter):
    """By its ID at Spotify; of an album without one, by its name and artist."""

    title = "album"
    parameter_name = "album_key"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        key = self.value() or ""
        if not key.startswith("name-"):
            return queryset.filter(album_id=key) if key else queryset
        album = Album.objects.filter(pk=key).first()
        return queryset.filter(album=album.name, artist_key=album.artist_key) if album else queryset.none()


class TrackFilter(HiddenFilter):
    title = "track"
    parameter_name = "track_key"


class HourFilter(HiddenNumberFilter):
    title = parameter_name = "hour"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = request.GET.get("hour", "")
        text = f"{int(value):02}:00 to {int(value):02}:59" if value in map(str, HOURS) else plain(value[:20])
        return [(value, text)] if value else []


class WeekdayFilter(HiddenNumberFilter):
    title = parameter_name = "weekday"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        value = request.GET.get("weekday", "")
        text = WEEKDAYS[int(value)] if value in map(str, range(len(WEEKDAYS))) else plain(value[:20])
        return [(value, text)] if value else []


class OriginFilter(FieldFilter):
    title = "origin"
    parameter_name = "origin"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("known", "country known"), ("unknown", "country not known")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "known":
                return queryset.filter(country_code__isnull=False)
            case "unknown":
                return queryset.filter(country_code=None)
            case other:
                return queryset.none() if other else queryset


class MonthFilter(HiddenFilter):
    """By months of TIME_ZONE; anything but a month matches nothing."""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        if not value:
            return queryset
        return (
            self.limit(queryset, date.fromisoformat(f"{value}-01")) if re.fullmatch(MONTH, value) else queryset.none()
        )

    def limit(self, queryset: QuerySet[Any], month: date) -> QuerySet[Any]:
        raise NotImplementedError


class FromFilter(MonthFilter):
    title = "first month"
    parameter_name = "from"

    def limit(self, queryset: QuerySet[Any], month: date) -> QuerySet[Any]:
        return queryset.filter(played_at__gte=midnight(month))


class ToFilter(MonthFilter):
    title = "last month"
    parameter_name = "to"

    def limit(self, queryset: QuerySet[Any], month: date) -> QuerySet[Any]:
        return queryset.filter(played_at__lt=midnight(add(month, 1)))


class CopiesFilter(FieldFilter):
    """Plays that another source has told of before."""

    title = "duplicate"
    parameter_name = "copies"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "yes")] if request.GET.get("copies") else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        return queryset.filter(duplicate_of__isnull=False) if self.value() == "yes" else queryset.none()


class CountedFilter(FieldFilter):
    """Charts leave out duplicates, and plays before 2000."""

    title = "in charts"
    parameter_name = "counted"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "yes"), ("no", "no")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        match self.value():
            case "yes":
                return queryset.filter(**COUNTED)
            case "no":
                return queryset.exclude(**COUNTED)
            case unknown:
                return queryset.none() if unknown else queryset


def midnight(day: date) -> datetime:
    return timezone.make_aware(datetime(day.year, day.month, day.day))  # noqa: DTZ001 (made aware here)

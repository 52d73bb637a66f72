"""Filters of the lists of plays and artists; most are set by links from charts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone

from console.filters import FieldFilter, HiddenFilter, HiddenNumberFilter
from ingestion.text import plain
from music.counting.rollups import FIRST_BELIEVED
from music.models import Album, Area, Artist, ArtistGenre, HourMonth, Listener, Match
from music.pages.heat import HOURS, WEEKDAYS
from music.pages.months import MONTH, YEAR, add, label
from music.pages.world import CONTINENTS, continent_name, country_name

MAX_CHOICES = 20
"""Of a filter: the most frequent ones. Links and searches lead to others."""
MAX_ARTISTS = 1000
"""The most played, of which countries and genres are counted."""
MAX_LISTENERS = 100
"""Whose months and sources are offered."""
Choices = list[tuple[str, str]]

COUNTED: dict[str, Any] = {"duplicate_of": None, "played_at__gte": FIRST_BELIEVED}
"""Of plays that charts count."""


@dataclass(frozen=True)
class Artists:
    """What the most played artists have most frequently."""

    countries: Sequence[str]
    genres: Sequence[str]

    @classmethod
    def of(cls, request: HttpRequest) -> Artists:
        """Read once for all filters of a list."""
        known: Artists | None = request.META.get("tutormax.artists")
        if known is None:
            most_played = Artist.objects.order_by("-plays", "artist_key").values_list("country_code", "genres")
            rows = list(most_played[:MAX_ARTISTS])
            countries = Counter(code for code, _ in rows if code)
            genres = Counter(genre for _, genres in rows for genre in genres)
            known = request.META["tutormax.artists"] = cls(*map(_most_frequent, (countries, genres)))
        return known


@dataclass(frozen=True)
class Listeners:
    """Listeners with their sources and last months, from roll-ups: the plays themselves are too many to look for it."""

    rows: Sequence[Listener]

    @classmethod
    def of(cls, request: HttpRequest) -> Listeners:
        """Read once for all filters of a list."""
        known: Listeners | None = request.META.get("tutormax.listeners")
        if known is None:
            last = HourMonth.objects.filter(user_id=OuterRef("pk")).order_by("-month").values("month")[:1]
            rows = Listener.objects.annotate(last=Subquery(last)).order_by("-plays", "pk")
            known = request.META["tutormax.listeners"] = cls(list(rows[:MAX_LISTENERS]))
        return known

    @property
    def months(self) -> Choices:
        """The last year of whoever listened last."""
        last: date | None = max((row.last for row in self.rows if row.last), default=None)  # type: ignore[attr-defined]
        return [(label(month),) * 2 for month in (add(last, -n) for n in range(YEAR))] if last else []

    @property
    def sources(self) -> Choices:
        found = dict.fromkeys(source for row in self.rows for source in row.sources)
        return [(source, plain(source)) for source in sorted(found)[:MAX_CHOICES]]


def _most_frequent(counted: Counter[str]) -> list[str]:
    return [text for text, _ in sorted(counted.items(), key=lambda each: (-each[1], each[0]))[:MAX_CHOICES]]


class ChosenFilter(HiddenFilter):
    """A text: some to choose from, and whatever a link has set."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        choices = self.choices_of(request, model_admin)
        return [*choices, *(each for each in super().lookups(request, model_admin) if each[0] not in dict(choices))]

    def choices_of(self, request: HttpRequest, model_admin: Any) -> Choices:
        raise NotImplementedError


class CountryFilter(ChosenFilter):
    title = "country"
    parameter_name = "country_code"

    def choices_of(self, request: HttpRequest, model_admin: Any) -> Choices:
        if model_admin.model is not Area:
            codes = Artists.of(request).countries
        else:
            newest = Area.objects.filter(country_code__isnull=False).order_by("-stored_at")
            codes = _most_frequent(Counter(map(str, newest.values_list("country_code", flat=True)[:MAX_ARTISTS])))
        return sorted(((code, country_name(code)) for code in codes), key=lambda each: each[1])


class ContinentFilter(ChosenFilter):
    title = "continent"
    parameter_name = "continent_code"

    def choices_of(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(code, continent_name(code)) for code in CONTINENTS]


class ListenerFilter(ChosenFilter):
    title = "listener"
    parameter_name = "user_id"

    def choices_of(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(row.pk, plain(row.pk)) for row in Listeners.of(request).rows[:MAX_CHOICES]]


class SourceFilter(ChosenFilter):
    title = "service"
    parameter_name = "play_source"

    def choices_of(self, request: HttpRequest, model_admin: Any) -> Choices:
        return Listeners.of(request).sources


class ArtistFilter(HiddenFilter):
    title = "artist"
    parameter_name = "artist_key"


class ArtistOfAlbumFilter(ChosenFilter):
    """The most played ones to choose from."""

    title = "artist"
    parameter_name = "artist_key"

    def choices_of(self, request: HttpRequest, model_admin: Any) -> Choices:
        most_played = Artist.objects.order_by("-plays", "artist_key").values_list("artist_key", "name")
        return [(key, plain(name) or key) for key, name in most_played[:MAX_CHOICES]]


class OfArtist(HiddenFilter):
    """Of plays: by a column of their artist."""

    field: str

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{f"artist_row__{self.field}": self.value()}) if self.value() else queryset


class MbidFilter(OfArtist):
    title = "artist at MusicBrainz"
    parameter_name = field = "mbid"


class CountryOfArtistFilter(OfArtist, CountryFilter):
    field = "country_code"


class ContinentOfArtistFilter(OfArtist, ContinentFilter):
    field = "continent_code"


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


class GenreFilter(ChosenFilter):
    """Of plays and of artists, which both have the artist's key."""

    title = parameter_name = "genre"

    def choices_of(self, request: HttpRequest, model_admin: Any) -> Choices:
        return [(genre, plain(genre)) for genre in sorted(Artists.of(request).genres)]

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


class NumberFilter(HiddenNumberFilter):
    """A number of a few; any other one matches nothing."""

    choices_: ClassVar[Choices]

    def lookups(self, request: HttpRequest, model_admin: Any) -> Choices:
        known = dict(self.choices_)
        return [*self.choices_, *(each for each in super().lookups(request, model_admin) if each[0] not in known)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return super().queryset(request, queryset) if self.value() else queryset


class HourFilter(NumberFilter):
    title = parameter_name = "hour"
    choices_: ClassVar[Choices] = [(str(hour), f"{hour:02}:00 to {hour:02}:59") for hour in HOURS]


class WeekdayFilter(NumberFilter):
    title = parameter_name = "weekday"
    choices_: ClassVar[Choices] = [(str(number), name) for number, name in enumerate(WEEKDAYS)]


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


class LimitedByMonth(HiddenFilter):
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


class MonthFilter(LimitedByMonth, ChosenFilter):
    title = parameter_name = "month"

    def choices_of(self, request: HttpRequest, model_admin: Any) -> Choices:
        return Listeners.of(request).months

    def limit(self, queryset: QuerySet[Any], month: date) -> QuerySet[Any]:
        """By the ID, which begins with the time: it has an index over all listeners."""
        first, end = (f"{midnight(day).astimezone(UTC):%Y%m%dT%H%M%S}" for day in (month, add(month, 1)))
        return queryset.filter(listen_id__gte=first, listen_id__lt=end)


class FromFilter(LimitedByMonth):
    title = "first month"
    parameter_name = "from"

    def limit(self, queryset: QuerySet[Any], month: date) -> QuerySet[Any]:
        return queryset.filter(played_at__gte=midnight(month))


class ToFilter(LimitedByMonth):
    title = "last month"
    parameter_name = "to"

    def limit(self, queryset: QuerySet[Any], month: date) -> QuerySet[Any]:
        return queryset.filter(played_at__lt=midnight(add(month, 1)))


class CopiesFilter(FieldFilter):
    """Plays that another source has told of before."""

    title = "duplicate"
    parameter_name = "copies"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("yes", "yes"), ("no", "no")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() not in (None, "", "yes", "no"):
            return queryset.none()
        return queryset.filter(duplicate_of__isnull=self.value() == "no") if self.value() else queryset


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

"""What the page of a listener shows: figures, charts and rankings of a range of months, each leading to its plays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils.safestring import SafeString

from console.charts import Series, stacked_bars
from console.stored.page import Tile, list_page, page_of
from ingestion.text import plain, thousands
from music.models import Album, Artist, Listen, Listener
from music.pages import links, world
from music.pages.demo import is_demo
from music.pages.filters import REASONS, midnight
from music.pages.heat import heat_map
from music.pages.months import Range, add, presets
from music.pages.over_time import plays_over_time
from music.pages.rankings import MAX_ROWS, Ranking, Row, noun, percent, with_bars
from music.pages.statistics import WITHOUT_GENRE, known_months, statistics_of

MAX_STEPS = 24
"""Bars of the genres' shares."""
MAX_GENRES = 7
"""With a colour of their own."""
MAX_COUNTRIES = 250
MS_OF_HOUR = 3_600_000


class ListenerPage:
    """Of one listener, in the range that is asked for."""

    def __init__(self, request: HttpRequest, listener: Listener) -> None:
        self.request, self.listener = request, listener
        self.known = known_months(listener.pk)
        if self.known:
            asked = Range.of(request.GET.dict(), self.known)
            self.is_outside = not asked.overlaps(self.known)
            self.shown = asked if self.is_outside else asked.within(self.known)
            self.link = links.plays_of(request, listener.pk, self.shown)
            if not self.is_outside:
                self.numbers = statistics_of(listener.pk, self.shown, MAX_STEPS)

    def context(self) -> dict[str, Any]:
        if not self.known:
            return {"known": None}
        range_ = {
            "is_demo": is_demo(),
            "known": self.known.query,
            "known_months": self.known,
            "shown": self.shown,
            "range": self.shown.query,
            "presets": self.presets(self.known),
            "is_outside": self.is_outside,
        }
        if self.is_outside:
            return range_
        return range_ | {
            "tiles": self.tiles(),
            "duplicates": self.duplicates(),
            "by_month": self.by_month(),
            "artists": self.artists(),
            "albums": self.albums(),
            "genres": self.genres(),
            "heat": heat_map(self.numbers.by_hour, self.link),
            "genre_share": self.genre_share(),
            "world": self.world(),
            "continents": self.continents(),
            "countries": self.countries(),
            "without_country": percent(sum(self.numbers.without_country.values()), self.numbers.plays),
            "reasons": self.reasons(),
        }

    def presets(self, known: Range) -> list[tuple[str, str, str, bool]]:
        """(title, query, its months, whether it is what is shown: at most one is)."""
        offered = [(title, months.query, months.within(known)) for title, months in presets(known)]
        shown = next((title for title, _, months in offered if months == self.shown), "")
        return [(title, f"?{urlencode(query)}", str(months), title == shown) for title, query, months in offered]

    def tiles(self) -> list[Tile]:
        numbers = self.numbers
        hours, artists, countries = numbers.ms // MS_OF_HOUR, len(numbers.artists), len(numbers.countries)
        most = numbers.countries[0] if numbers.countries else None
        return [
            Tile(thousands(numbers.plays), noun("play", numbers.plays), self.link()),
            Tile(thousands(hours), noun("hour", hours), self.link(), "of plays whose length is known"),
            Tile(thousands(artists), noun("artist", artists), "#top-artists"),
            Tile(
                thousands(countries),
                "country" if countries == 1 else "countries",
                "#countries",
                f"most plays: {world.country_name(most[0])}" if most else "",
            ),
        ]

    def duplicates(self) -> tuple[int, str] | None:
        """How many, from an index of them alone, and their list."""
        if len(self.listener.sources) < 2:
            return None
        first, end = (midnight(month) for month in (self.shown.first, add(self.shown.last, 1)))
        marked = Listen.objects.filter(user_id=self.listener.pk, duplicate_of__isnull=False)
        number = marked.filter(played_at__gte=first, played_at__lt=end).count()
        page = list_page(self.request, Listen, user_id=self.listener.pk, **self.shown.query, copies="yes")
        return (number, page) if number else None

    def by_month(self) -> SafeString:
        return plays_over_time(self.numbers.by_month, self.shown, self.link)

    # Rankings.

    def artists(self) -> Ranking:
        rows = [
            Row(
                name=plain(artist.name) or artist.key,
                plays=artist.plays,
                page=page_of(self.request, Artist, artist.key),
                link=self.link(mbid=artist.mbid) if artist.mbid else self.link(artist_key=artist.key),
                detail=world.country_name(artist.country) if artist.country else "",
            )
            for artist in self.numbers.artists[:MAX_ROWS]
        ]
        return Ranking("Top artists", "Artist", with_bars(rows))

    def albums(self) -> Ranking:
        rows = [
            Row(
                name=plain(each.album.name) or each.album.pk,
                plays=each.plays,
                page=page_of(self.request, Album, each.album.pk),
                link=self.link(album_key=each.album.pk),
                detail=plain(each.artist),
                away=links.at_spotify("album", each.album.pk),
            )
            for each in self.numbers.albums
        ]
        return Ranking("Top albums", "Album", with_bars(rows), away="Spotify")

    def genres(self) -> Ranking:
        rows = [
            Row(name=plain(genre), plays=plays, link=self.link(genre=genre)) for genre, plays in self.numbers.genres
        ]
        return Ranking("Top genres", "Genre", with_bars(rows), note="of all genres that an artist has")

    def genre_share(self) -> SafeString:
        """A play counts for the first genre of its artist."""
        steps, found = self.numbers.steps, self.numbers.genres_by_step
        total = sum(found, Counter[str]())
        total.pop(WITHOUT_GENRE, None)
        most = [genre for genre, _ in sorted(total.items(), key=lambda item: (-item[1], item[0]))[:MAX_GENRES]]
        series = [
            Series(plain(genre), f"genre-{number}", [_share(step, step[genre]) for step in found])
            for number, genre in enumerate(most, 1)
        ]
        others = [_share(step, sum(step.values()) - sum(step[genre] for genre in (*most, ""))) for step in found]
        unknown = [_share(step, step[WITHOUT_GENRE]) for step in found]
        return stacked_bars(
            [step.title(self.shown.step_length(MAX_STEPS)) for step in steps],
            [*series, Series("others", "genre-others", others), Series("unknown", "genre-unknown", unknown)],
            title="Genres over time",
            note="% of plays, each by the first genre of its artist",
            unit=" %",
            maximum=100,
            links=[self.link(step) for step in steps] if self.link() else (),
        )

    # Where artists are from.

    def world(self) -> SafeString:
        marks = [world.Mark(code, number, self.link(country_code=code)) for code, number, _ in self.numbers.countries]
        return world.world_map(marks, title="Where the artists are from")

    def countries(self) -> Ranking:
        rows = self._origins(self.numbers.countries, world.country_name, "country_code")
        return Ranking("Countries", "Country", with_bars(rows, MAX_COUNTRIES), ("Share", "Artists"))

    def continents(self) -> Ranking:
        rows = self._origins(self.numbers.continents, world.continent_name, "continent_code")
        return Ranking("Continents", "Continent", with_bars(rows), ("Share", "Artists"))

    def _origins(self, found: Sequence[tuple[str, int, int]], name_of: Any, parameter: str) -> list[Row]:
        return [
            Row(
                name=name_of(code),
                plays=number,
                link=self.link(**{parameter: code}),
                cells=(percent(number, self.numbers.plays), thousands(artists)),
            )
            for code, number, artists in found
        ]

    def reasons(self) -> list[tuple[str, str, str]]:
        """Of plays without a country: (share, why, those plays)."""
        return [
            (percent(number, self.numbers.plays), REASONS[why], self.link(without_country=why))
            for why, number in self.numbers.without_country.items()
        ]


def _share(counter: Counter[str], number: int) -> float:
    return round(100 * number / counter.total(), 1) if counter.total() else 0

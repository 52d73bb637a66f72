"""What the page of an area shows: what it is part of, its city on the map, artists from there, and its lookups."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db.models import Q, Sum
from django.http import HttpRequest
from django.utils.safestring import SafeString

from console.stored.page import list_page, page_of
from ingestion.text import plain
from music.located import PERSON
from music.models import Area, Artist, Listen
from music.pages import links, world
from music.pages.artist import facts
from music.pages.demo import is_demo
from music.pages.lookups import asked_about
from music.pages.rankings import MAX_ROWS, Ranking, Row, with_bars
from music.providers.places import RULES

FACTS = (
    *("type", "sort_name", "subdivision_code", "params", "precision"),
    *("latitude", "longitude", "stored_at"),
)
TITLES = {"params": "city and country", "stored_at": "stored"}
SOURCES = {"geonames": "GeoNames", "openweather": "OpenWeather", PERSON: "a person"}
ORDER = ("district", "island", "city", "municipality", "county", "subdivision", "country")
"""Of levels, from the nearest to the farthest; others come first."""


class AreaPage:
    def __init__(self, request: HttpRequest, area: Area) -> None:
        self.request, self.area = request, area

    def context(self) -> dict[str, Any]:
        area = self.area
        return {
            "is_demo": is_demo(),
            "name": plain(area.name) or area.pk,
            "facts": [replace(each, title=TITLES.get(each.column, each.title)) for each in facts(area, FACTS)],
            "found_by": found_by(area),
            "above": self.above(),
            "map": self.map(),
            "geonames_link": f"https://www.geonames.org/{area.city_id}" if area.city_id else "",
            "musicbrainz_link": links.at_musicbrainz("area", area.pk),
            "artists": self.artists(),
            "candidates": [plain(str(each)) for each in area.candidates],
            "questions": asked_about(
                self.request,
                plain(area.name) or area.pk,
                {"musicbrainz": [area.pk], "places": [area.pk]},
                ["area", "city"],
            ),
        }

    def above(self) -> list[tuple[str, str, str]]:
        """(level, name, page): what it is part of, then country and continent by their codes."""
        area = self.area
        levels = sorted(area.levels.items(), key=lambda each: ORDER.index(each[0]) if each[0] in ORDER else -1)
        known = set(Area.objects.filter(pk__in=[each["id"] for _, each in levels]).values_list("pk", flat=True))
        found = [
            (level, plain(str(each.get("name", ""))), page_of(self.request, Area, each["id"]))
            for level, each in levels
            if each["id"] in known and each["id"] != area.pk
        ]
        if code := area.country_code:
            page = links.artists_page(self.request, country_code=code)
            found.append(("artists of the country", world.country_name(code), page))
        if code := area.continent_code:
            page = links.artists_page(self.request, continent_code=code)
            found.append(("artists of the continent", world.continent_name(code), page))
        return found

    def map(self) -> SafeString | str:
        area = self.area
        if not area.country_code:
            return ""
        is_placed = area.latitude is not None and area.longitude is not None
        place = world.Place(plain(area.name), area.latitude or 0, area.longitude or 0) if is_placed else None
        return world.place_map(area.country_code, place, title=f"{plain(area.name)} on the map")

    def artists(self) -> Ranking:
        """From there; of a country all from within it. Entries of one artist count together, as on its page."""
        of_area = Q(area_id=self.area.pk)
        if self.area.type == "Country" and self.area.country_code:
            of_area |= Q(country_code=self.area.country_code)
        most = Artist.objects.filter(of_area).order_by("-plays", "artist_key")[:MAX_ROWS]
        artists: dict[str, Artist] = {}
        for each in most:
            artists.setdefault(each.mbid or each.pk, each)
        entries = Artist.objects.filter(mbid__in=[each.mbid for each in artists.values() if each.mbid]).order_by()
        plays = dict(entries.values_list("mbid").annotate(number=Sum("plays")))
        rows = [self._artist(each, plays.get(each.mbid, each.plays)) for each in artists.values()]
        rows.sort(key=lambda row: -row.plays)
        return Ranking("Artists", "Artist", with_bars(rows), empty="None known from there.")

    def _artist(self, artist: Artist, plays: int) -> Row:
        of_artist = {"mbid": artist.mbid} if artist.mbid else {"artist_key": artist.pk}
        return Row(
            name=plain(artist.name) or artist.pk,
            plays=plays,
            page=page_of(self.request, Artist, artist.pk),
            link=list_page(self.request, Listen, **of_artist, counted="yes"),
        )


def found_by(area: Area) -> str:
    """What knew its place, and how that was found."""
    source, how = SOURCES.get(area.place_source, area.place_source), RULES.get(area.place_how, area.place_how)
    return plain(", ".join(part for part in (source, how) if part))

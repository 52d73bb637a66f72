"""What the page of an artist shows: plays over time, titles, albums, genres, origin, and how it was matched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from django.db.models import Count, Max, Q, QuerySet, Sum
from django.http import HttpRequest
from django.utils.safestring import SafeString

from console.lookups.page import Card, cards
from console.stored.page import FieldDisplay, Tile, display_value, list_page, page_of
from enrichment.lookups.choices import CHOSEN
from enrichment.lookups.models import Lookup
from ingestion.text import plain, thousands
from music.models import (
    Album,
    Area,
    Artist,
    ArtistGenre,
    ArtistMonth,
    Listen,
    Listener,
    Match,
    MusicBrainzArtist,
    SpotifyArtist,
)
from music.pages import links, world
from music.pages.demo import is_demo
from music.pages.filters import COUNTED
from music.pages.lookups import MAX_LOOKUPS, Question, question
from music.pages.months import Range
from music.pages.over_time import plays_over_time
from music.pages.rankings import Ranking, Row, noun, with_bars

NEVER = date(2000, 1, 1)
MAX_ALIKE = 20
"""Other rows of one artist."""
MAX_LISTENERS = 20
MAX_READ = 20_000
"""Plays, the newest, from which the titles are counted."""
HOW = {
    "given": "Its ID at MusicBrainz came with a play.",
    "url": "MusicBrainz links it to its page at Spotify.",
    "isrc": "It is credited for a recording that was played, by the recording’s ISRC.",
    "titles": "It is credited for titles that were played.",
    "name": "It is the only artist of this name in a search.",
    "special": "The name stands for no single artist, so it is not looked up.",
}
SEVERAL = {
    "url": "MusicBrainz links several artists to its page at Spotify.",
    "isrc": "Several artists of this name are credited for recordings that were played.",
    "titles": "Several artists of this name are credited for titles that were played.",
    "name": "MusicBrainz has several artists of this name.",
}
"""Of one that is ambiguous."""
MUSICBRAINZ_FACTS = ("type", "disambiguation", "gender", "begin", "end", "sort_name", "fetched_at", "gone_at")
SPOTIFY_FACTS = ("popularity", "followers", "fetched_at", "gone_at")


class ArtistPage:
    def __init__(self, request: HttpRequest, artist: Artist) -> None:
        self.request, self.artist = request, artist
        others = Artist.objects.filter(mbid=artist.mbid).exclude(pk=artist.pk) if artist.mbid else Artist.objects.none()
        self.others = list(others.order_by("-plays", "artist_key")[:MAX_ALIKE])
        self.alike = [artist, *self.others]
        self.keys = [each.pk for each in self.alike]
        of_all = (id_ for each in self.alike for id_ in (each.spotify_id, *each.spotify_ids) if id_)
        self.spotify_ids = list(dict.fromkeys(of_all))

    def context(self) -> dict[str, Any]:
        artist = self.artist
        known = self.musicbrainz()
        questions = self.questions()
        return {
            "is_demo": is_demo(),
            "name": plain(artist.name) or artist.pk,
            "tiles": self.tiles(),
            "by_month": self.by_month(),
            "rankings": [self.titles(), self.albums(), self.listeners()],
            "genres": (genres := self.genres()),
            "first_genres": list(dict.fromkeys(genre for genre, *_ in genres))[:3],
            "map": self.map(),
            "origin": self.origin(),
            "how": self.how(questions),
            "questions": questions,
            "candidates": self.candidates(questions),
            "musicbrainz": facts(known, MUSICBRAINZ_FACTS) if known else [],
            "musicbrainz_link": links.at_musicbrainz("artist", artist.mbid),
            "spotify": self.spotify(),
            "others": [(each, page_of(self.request, Artist, each.pk)) for each in self.others],
        }

    def link(self, months: Range | None = None, **filters: Any) -> str:
        """Its plays that charts count."""
        of_artist = {"mbid": self.artist.mbid} if self.artist.mbid else {"artist_key": self.artist.pk}
        return list_page(
            self.request, Listen, **of_artist, **(months.query if months else {}), counted="yes", **filters
        )

    def rows(self) -> QuerySet[ArtistMonth]:
        return ArtistMonth.objects.filter(artist_key__in=self.keys).order_by()

    def tiles(self) -> list[Tile]:
        artist, plays = self.artist, sum(each.plays for each in self.alike)
        return [
            Tile(thousands(plays), noun("play", plays), self.link(), "of all listeners"),
            Tile(
                world.country_name(artist.country_code) if artist.country_code else "–",
                "country",
                links.artists_page(self.request, country_code=artist.country_code) if artist.country_code else "",
                plain(artist.city or ""),
            ),
        ]

    def by_month(self) -> SafeString:
        found: dict[date, int] = dict(self.rows().values_list("month").annotate(number=Sum("plays")))
        shown = Range(min(found), max(found)) if found else Range(NEVER, NEVER)
        return plays_over_time(found, shown, self.link)

    # Rankings.

    def titles(self) -> Ranking:
        rows = self._newest().values("track_key").annotate(name=Max("track_name"), number=Count("pk"))
        found = [
            Row(plain(row["name"] or "") or "–", row["number"], link=self.link(track_key=row["track_key"]))
            for row in rows.order_by("-number", "track_key")[:50]
        ]
        return Ranking("Titles", "Title", with_bars(found), note=self.note)

    def _newest(self) -> QuerySet[Listen]:
        counted = Listen.objects.filter(artist_key__in=self.keys, **COUNTED).order_by("-played_at")
        first = next(iter(counted.values_list("played_at", flat=True)[MAX_READ : MAX_READ + 1]), None)
        self.note = f"of the last {thousands(MAX_READ)} plays" if first else ""
        return counted.filter(played_at__gt=first).order_by() if first else counted.order_by()

    def albums(self) -> Ranking:
        found = Album.objects.filter(artist_key__in=self.keys).order_by("-plays", "album_id")[:50]
        rows = [
            Row(
                name=plain(album.name) or album.pk,
                plays=album.plays,
                page=page_of(self.request, Album, album.pk),
                link=self.link(album_key=album.pk),
                detail=plain((album.release_date or "")[:4]),
                away=links.at_spotify("album", album.pk),
            )
            for album in found
        ]
        return Ranking("Albums", "Album", with_bars(rows), away="Spotify")

    def listeners(self) -> Ranking:
        found = self.rows().values_list("user_id").annotate(number=Sum("plays")).order_by("-number", "user_id")
        rows = [
            Row(
                name=plain(user_id),
                plays=number,
                page=page_of(self.request, Listener, user_id),
                link=self.link(user_id=user_id),
            )
            for user_id, number in found[:MAX_LISTENERS]
        ]
        return Ranking("Listeners", "Listener", with_bars(rows))

    # What is known of it.

    def genres(self) -> list[tuple[str, str, str, int]]:
        """(genre, artists of it, source, how many people at MusicBrainz agree)."""
        rows = ArtistGenre.objects.filter(artist_id=self.artist.pk).order_by("-count", "genre", "source")
        return [
            (
                plain(row.genre),
                links.artists_page(self.request, genre=row.genre),
                SOURCES.get(row.source, ""),
                row.count,
            )
            for row in rows
        ]

    def map(self) -> SafeString | str:
        artist = self.artist
        if not artist.country_code:
            return ""
        name = ", ".join(plain(part) for part in (artist.city, world.country_name(artist.country_code)) if part)
        is_placed = artist.latitude is not None and artist.longitude is not None
        place = world.Place(name, artist.latitude or 0, artist.longitude or 0) if is_placed else None
        return world.place_map(artist.country_code, place, title=f"From {name}")

    def origin(self) -> list[tuple[str, str, str]]:
        """(what, which, its page): from the area up to the continent."""
        artist = self.artist
        area = Area.objects.filter(pk=artist.area_id).first() if artist.area_id else None
        found = []
        if area:
            found.append(("Area", plain(str(area)), page_of(self.request, Area, area.pk)))
        if artist.city:
            found.append(("City", plain(artist.city), ""))
        if code := artist.country_code:
            found.append(("Country", world.country_name(code), links.artists_page(self.request, country_code=code)))
        if code := artist.continent_code:
            page = links.artists_page(self.request, continent_code=code)
            found.append(("Continent", world.continent_name(code), page))
        return found

    def musicbrainz(self) -> MusicBrainzArtist | None:
        return MusicBrainzArtist.objects.filter(pk=self.artist.mbid).first() if self.artist.mbid else None

    def spotify(self) -> list[tuple[str, str, list[FieldDisplay]]]:
        """(name, address, facts) of its pages there."""
        known = SpotifyArtist.objects.in_bulk(self.spotify_ids)
        return [
            (
                plain(known[id_].name if id_ in known else "") or id_,
                links.at_spotify("artist", id_),
                facts(known[id_], SPOTIFY_FACTS) if id_ in known else [],
            )
            for id_ in self.spotify_ids
        ]

    # How it was matched.

    def how(self, questions: Sequence[Question]) -> str:
        artist = self.artist
        if artist.how == CHOSEN:
            own = (each.lookup for each in questions if each.lookup.kind == "match" and each.lookup.key == artist.pk)
            by = next((lookup.chosen_by.removeprefix("user:") for lookup in own), "")
            verb = "All candidates rejected" if artist.match == Match.NOT_FOUND else "Chosen"
            return f"{verb} by {plain(by) or 'a person'}."
        if artist.match == Match.AMBIGUOUS:
            return SEVERAL.get(artist.how, SEVERAL["name"])
        return HOW.get(artist.how, f"By {plain(artist.how)}." if artist.how else "")

    def questions(self) -> list[Question]:
        """What providers were asked about it, the match first; none for who may not see lookups."""
        if not self.request.user.has_perm("enrichment.view_lookup"):
            return []
        asked = Q(kind="match", key__in=self.keys) | Q(kind__in=("url", "artist"), key__in=self._ids())
        asked |= Q(kind="track", key__in=[each.track_id for each in self.alike if each.track_id])
        found = Lookup.objects.filter(asked, provider__in=("musicbrainz", "spotify")).select_related("next")
        rows = sorted(found[:MAX_LOOKUPS], key=lambda lookup: (KINDS.index(lookup.kind), lookup.pk))
        return [question(self.request, lookup, plain(self.artist.name) or self.artist.pk) for lookup in rows]

    def candidates(self, questions: Sequence[Question]) -> tuple[Sequence[Card], str] | None:
        """Those of an ambiguous question, and the page on which to choose."""
        ambiguous = (each for each in questions if each.lookup.status == Lookup.Status.AMBIGUOUS)
        return next(((shown, each.page) for each in ambiguous if (shown := cards(each.lookup))), None)

    def _ids(self) -> list[str]:
        mbids = (mbid for each in self.alike for mbid in (each.mbid, each.given_mbid))
        return [*self.spotify_ids, *filter(None, dict.fromkeys(mbids))]


KINDS = ("match", "url", "track", "artist")
SOURCES = {"musicbrainz": "MusicBrainz", "spotify": "Spotify"}


def facts(row: Any, names: Iterable[str]) -> list[FieldDisplay]:
    """These columns that have a value, for people."""
    fields: Mapping[str, Any] = {field.attname: field for field in row._meta.concrete_fields}
    return [
        FieldDisplay(name, name.replace("_", " "), display_value(fields[name], getattr(row, name)), "")
        for name in names
        if getattr(row, name) not in (None, "", [])
    ]

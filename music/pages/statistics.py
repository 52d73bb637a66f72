"""What a listener played in a range of months: from the roll-ups alone, in as many queries however many plays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from django.db.models import Max, Min, Q, QuerySet, Sum

from enrichment.statements import batched
from music.models import Album, AlbumMonth, Artist, ArtistMonth, HourMonth, Match
from music.pages.filters import NO_ARTIST
from music.pages.months import Range

MAX_ALBUMS = 50
WITHOUT_GENRE = ""
KEYS_AT_ONCE = 10_000

Plays = dict[str, list[int]]
"""Key of an artist → plays in each step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtistPlays:
    """An artist, in all the rows that MusicBrainz takes for one."""

    key: str
    """Of the row with the most plays, as is the name."""
    name: str
    plays: int
    mbid: str = ""
    """Empty while it is not known; then it is a row of its own."""
    match: str = Match.OPEN
    country: str = ""
    continent: str = ""
    genres: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class AlbumPlays:
    album: Album
    artist: str
    plays: int


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """`steps` are the bars of what is shown over time."""

    by_month: Mapping[date, int]
    by_hour: Mapping[tuple[int, int], int]
    """(weekday, hour) → plays."""
    ms: int
    artists: Sequence[ArtistPlays]
    """All, the most played first."""
    albums: Sequence[AlbumPlays]
    steps: Sequence[Range]
    genres_by_step: Sequence[Counter[str]]
    """Of each step: first genre of the artist → plays."""

    @property
    def plays(self) -> int:
        return sum(self.by_month.values())

    @property
    def genres(self) -> list[tuple[str, int]]:
        """Plays of the artists of each genre, of which an artist may have several; the most played first."""
        found = Counter[str]()
        for artist in self.artists:
            for genre in artist.genres:
                found[genre] += artist.plays
        return found.most_common()

    @property
    def countries(self) -> list[tuple[str, int, int]]:
        """(code, plays, artists), the most played first."""
        return _by(self.artists, lambda artist: artist.country)

    @property
    def continents(self) -> list[tuple[str, int, int]]:
        return _by(self.artists, lambda artist: artist.continent)

    @property
    def without_country(self) -> dict[str, int]:
        """Why (a state of the match, or NO_ARTIST) → plays; the most frequent first."""
        found = Counter[str]()
        for artist in self.artists:
            if not artist.country:
                found[artist.match] += artist.plays
        found[NO_ARTIST] = self.plays - sum(artist.plays for artist in self.artists)
        return {why: plays for why, plays in found.most_common() if plays > 0}


def _by(artists: Iterable[ArtistPlays], name_of: Any) -> list[tuple[str, int, int]]:
    plays, numbers = Counter[str](), Counter[str]()
    for artist in artists:
        if name := name_of(artist):
            plays[name] += artist.plays
            numbers[name] += 1
    return [(name, number, numbers[name]) for name, number in plays.most_common()]


def known_months(user_id: str) -> Range | None:
    """From the first month with a play to the last; None before any."""
    found = HourMonth.objects.filter(user_id=user_id).aggregate(first=Min("month"), last=Max("month"))
    return Range(found["first"], found["last"]) if found["first"] else None


def statistics_of(user_id: str, months: Range, most_steps: int) -> Statistics:
    def of(model: Any) -> QuerySet[Any]:
        return model.objects.filter(user_id=user_id, month__range=(months.first, months.last)).order_by()  # type: ignore[no-any-return]

    by_month = list(of(HourMonth).values_list("month").annotate(Sum("plays"), Sum("ms")))
    by_hour = of(HourMonth).values_list("weekday", "hour").annotate(number=Sum("plays"))
    steps = months.steps(most_steps)
    plays = plays_by_step(of(ArtistMonth), steps)
    known = known_artists(plays)
    return Statistics(
        by_month={month: plays for month, plays, _ in by_month},
        by_hour={(weekday, hour): plays for weekday, hour, plays in by_hour},
        ms=sum(ms for *_, ms in by_month),
        artists=merged_artists(known, plays),
        albums=albums_of(of(AlbumMonth)),
        steps=steps,
        genres_by_step=genres_by_step(known, plays, len(steps)),
    )


def plays_by_step(rows: QuerySet[ArtistMonth], steps: Sequence[Range]) -> Plays:
    """One pass over the rows tells both which artists, and when: that is most of the page's time in the database."""
    sums = {
        f"step_{place}": Sum("plays", filter=Q(month__range=(step.first, step.last)))
        for place, step in enumerate(steps)
    }
    found = rows.values_list("artist_key").annotate(**sums)
    return {key: [number or 0 for number in numbers] for key, *numbers in found}


def known_artists(keys: Iterable[str]) -> dict[str, ArtistPlays]:
    columns = ("artist_key", "name", "mbid", "match", "country_code", "continent_code", "genres")
    found = {}
    for some in batched(keys, KEYS_AT_ONCE):
        for key, name, mbid, match, country, continent, genres in Artist.objects.filter(pk__in=some).values_list(
            *columns
        ):
            found[key] = ArtistPlays(
                key=key,
                name=name,
                plays=0,
                mbid=mbid or "",
                match=match,
                country=country or "",
                continent=continent or "",
                genres=genres or (),
            )
    return found


def merged_artists(known: Mapping[str, ArtistPlays], plays: Plays) -> list[ArtistPlays]:
    """Those that MusicBrainz takes for one are one; in order of plays."""
    numbers = {key: sum(plays[key]) for key in known}
    merged: dict[str, list[str]] = {}
    for key in sorted(known, key=lambda key: (-numbers[key], key)):
        merged.setdefault(known[key].mbid or key, []).append(key)
    found = [replace(known[keys[0]], plays=sum(numbers[key] for key in keys)) for keys in merged.values()]
    return sorted(found, key=lambda artist: (-artist.plays, artist.key))


def genres_by_step(known: Mapping[str, ArtistPlays], plays: Plays, steps: int) -> list[Counter[str]]:
    """A play counts for the first genre of its artist."""
    found = [Counter[str]() for _ in range(steps)]
    for key, numbers in plays.items():
        genres = known[key].genres if key in known else ()
        genre = genres[0] if genres else WITHOUT_GENRE
        for step, number in zip(found, numbers, strict=True):
            step[genre] += number
    return found


def albums_of(rows: QuerySet[AlbumMonth]) -> list[AlbumPlays]:
    """The most played."""
    plays = rows.values_list("album_id").annotate(number=Sum("plays")).order_by("-number", "album_id")[:MAX_ALBUMS]
    numbers = dict(plays)
    albums = Album.objects.in_bulk(list(numbers))
    keys = {album.artist_key for album in albums.values()}
    names = dict(Artist.objects.filter(pk__in=keys).values_list("artist_key", "name"))
    return [
        AlbumPlays(album, album.artist_name or names.get(album.artist_key, ""), number)
        for key, number in numbers.items()
        if (album := albums.get(key))
    ]

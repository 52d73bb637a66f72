"""Asking about artists and albums, in order of plays; and what is asked for, as it is when it is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Count, Model, Q

from enrichment import lookups
from enrichment.lookups import Question, Want
from enrichment.lookups.choices import CHOSEN
from enrichment.lookups.models import Lookup
from enrichment.statements import batched
from music import answers, located, matching
from music.identity import is_spotify_album
from music.matching import MAX_CODES, MAX_TITLES
from music.models import Album, Area, Artist, Listen, Match, Placed
from music.providers import musicbrainz, openweather, places, spotify
from music.steps import FIELDS, Ask, Known, can_ask_by_track, first_asks, openweather_is_on

MAX_ASKED_BY = 5
MAX_ALIKE = 100
PLAYS_READ = 5_000
"""Of an artist, to see which titles are played most."""


def answered(rows: Sequence[Lookup]) -> list[Want]:
    """The providers' `apply`: what follows from answers, and from answers that there are already to what they raise."""
    asks = answers.follow(rows)
    ask(asks)
    return [each.as_want() for each in asks if each.after]


def ask(asks: Iterable[Ask]) -> None:
    """In a transaction. What has been answered already has its consequences at once."""
    follow_up(want(asks))


def follow_up(settled: Sequence[Lookup]) -> None:
    while settled:
        settled = want(answers.follow(settled))


def want(asks: Iterable[Ask]) -> list[Lookup]:
    """Asks, in order of provider and kind; returns the lookups that have their answers already."""
    kinds: dict[tuple[str, str], dict[str, Ask]] = {}
    for each in asks:
        of_kind = kinds.setdefault((each.provider, each.kind), {})
        if each.key not in of_kind or each.turn < of_kind[each.key].turn:
            of_kind[each.key] = each
    settled = []
    for (provider, kind), of_kind in sorted(kinds.items()):
        questions = {key: each.question for key, each in of_kind.items()}
        turns = {key: each.turn for key, each in of_kind.items()}
        settled += lookups.ask(provider, kind, questions, turns)
    return settled


def plan(artist_keys: Iterable[str] | None = None) -> None:
    """Asks what is to be asked of these artists (None: of all), of albums and areas; whatever has been asked before is
    asked in its turn, by the plays of now. So a provider that is on for the first time gets its questions.
    """
    unsettled = Artist.objects.filter(match=Match.OPEN) | Artist.objects.filter(_by_track())
    keys = unsettled.order_by("pk").values_list("pk", flat=True) if artist_keys is None else sorted(set(artist_keys))
    for some in batched(list(keys)):
        with transaction.atomic():
            ask(each for artist in known(some).values() for each in _asks_of(artist))
    if artist_keys is None:
        _plan_albums()
        _plan_places()


def known(keys: Sequence[str]) -> dict[str, Known]:
    rows = Artist.objects.filter(pk__in=keys).order_by().values_list(*FIELDS)
    return {row[0]: Known(*row) for row in rows}


def _by_track() -> Q:
    return Q(match=Match.NOT_FOUND, spotify_id=None, track_id__isnull=False) & ~Q(how=CHOSEN)


def _asks_of(artist: Known) -> list[Ask]:
    if artist.match == Match.OPEN:
        return first_asks(artist)
    if can_ask_by_track(artist):
        return [Ask(spotify.NAME, spotify.TRACK, str(artist.track_id), -artist.plays)]
    return []


def album_ask(album_id: str, plays: int) -> Ask | None:
    return Ask(spotify.NAME, spotify.ALBUM, album_id, -plays) if is_spotify_album(album_id) else None


def _plan_albums() -> None:
    rows = Album.objects.filter(fetched_at=None, gone_at=None).exclude(pk__startswith="name-")
    for some in batched(list(rows.order_by("pk").values_list("pk", "plays"))):
        with transaction.atomic():
            ask(each for album in some if (each := album_ask(*album)))


def _plan_places() -> None:
    """Cities that are in no file are asked for elsewhere, once there is a key for it."""
    if openweather_is_on():
        areas = Area.objects.filter(place=Placed.NOT_FOUND, params__isnull=False)
        for some in batched(list(areas.order_by("pk").values_list("params", flat=True))):
            with transaction.atomic():
                ask(Ask(openweather.NAME, openweather.GEOCODE, str(params), 0) for params in some)


# Whom a question is about.


def asked_by(question: Question) -> Sequence[Model]:
    """Artists, an album or an area: the most played ones, if they are several."""
    columns: Mapping[tuple[str, str], tuple[type[Artist | Album | Area], str]] = {
        (musicbrainz.NAME, musicbrainz.MATCH): (Artist, "pk"),
        (musicbrainz.NAME, musicbrainz.URL): (Artist, "spotify_id"),
        (musicbrainz.NAME, musicbrainz.ARTIST): (Artist, "mbid"),
        (musicbrainz.NAME, musicbrainz.AREA): (Area, "pk"),
        (spotify.NAME, spotify.ARTIST): (Artist, "spotify_id"),
        (spotify.NAME, spotify.TRACK): (Artist, "track_id"),
        (spotify.NAME, spotify.ALBUM): (Album, "pk"),
    }
    model, column = columns.get((question.provider, question.kind), (Area, "pk"))
    rows = model._default_manager.filter(**{column: question.key})
    return list(rows.order_by(*(["pk"] if column == "pk" else ["-plays", "pk"]))[:MAX_ASKED_BY])


def of_same_artist(question: Question) -> list[str]:
    """The keys of other artists that have the same page at Spotify: some plays name its ID, others do not."""
    if question.kind != musicbrainz.MATCH:
        return []
    pages = Artist.objects.filter(pk=question.key, spotify_id__isnull=False).values("spotify_id")
    others = Artist.objects.filter(spotify_id__in=pages).exclude(pk=question.key).order_by("pk")
    return list(others.values_list("pk", flat=True)[:MAX_ALIKE])


# What is asked, as it is now.


def prepare(rows: Sequence[Lookup]) -> None:
    """Of MusicBrainz: the name with the titles and codes most played, and whom the artist's page leaves to choose."""
    matches = [row for row in rows if row.kind == musicbrainz.MATCH]
    artists = Artist.objects.in_bulk([row.key for row in matches])
    for row in matches:
        if artist := artists.get(row.key):
            row.question = question_of(artist)


def question_of(artist: Artist) -> dict[str, Any]:
    titles, codes = _most_played(artist.pk)
    return {
        "name": artist.name,
        "titles": titles,
        "isrcs": list(dict.fromkeys([*codes, *_code_of_track(artist)]))[:MAX_CODES],
        "among": _among(artist),
    }


def _most_played(artist_key: str) -> tuple[list[str], list[str]]:
    """(titles, codes), of the latest plays."""
    plays = Listen.objects.filter(artist_key=artist_key).order_by("-played_at")
    rows = Listen.objects.filter(pk__in=plays.values("pk")[:PLAYS_READ]).order_by()
    titles = rows.exclude(track_name=None).values("track_name").annotate(plays=Count("pk"))
    codes = rows.exclude(track_isrc=None).values("track_isrc").annotate(plays=Count("pk"))
    return (
        [
            str(title)
            for title, _ in titles.order_by("-plays", "track_name").values_list("track_name", "plays")[:MAX_TITLES]
        ],
        [
            str(code)
            for code, _ in codes.order_by("-plays", "track_isrc").values_list("track_isrc", "plays")[:MAX_CODES]
        ],
    )


def _code_of_track(artist: Artist) -> list[str]:
    of_track = Lookup.objects.filter(provider=spotify.NAME, kind=spotify.TRACK, key=artist.track_id or "")
    answer: Any = of_track.values_list("answer", flat=True).first()
    return [answer["isrc"]] if answer and answer.get("isrc") else []


def _among(artist: Artist) -> list[str]:
    """Those to whom the page at Spotify is linked, if they are several."""
    of_page = Lookup.objects.filter(provider=musicbrainz.NAME, kind=musicbrainz.URL, key=artist.spotify_id or "")
    answer: Any = of_page.values_list("answer", flat=True).first()
    if not answer:
        return []
    verdict = matching.by_url(artist.name, musicbrainz.artists_of(answer))
    return [each.id for each in verdict.candidates]


def prepare_places(rows: Sequence[Lookup]) -> None:
    """Of GeoNames: the area and those that it is part of."""
    areas: Mapping[str, Area] = Area.objects.in_bulk([row.key for row in rows])
    for row in rows:
        if area := areas.get(row.key):
            row.question = places.question_of(located.chain_of(area), area.country_code, area.subdivision_code)

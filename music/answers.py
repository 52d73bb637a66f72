"""What follows from answers about artists, albums and tracks: `follow` is repeatable; it returns what is asked next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.utils import timezone

from enrichment.lookups.choices import CHOSEN
from enrichment.lookups.models import Lookup
from enrichment.statements import AT_ONCE, database_now, lock
from music import located, matching, names
from music.matching import SPECIAL
from music.models import Album, Area, Artist, ArtistGenre, Match, MusicBrainzArtist, SpotifyArtist
from music.providers import musicbrainz, spotify
from music.steps import FIELDS, Ask, Known, next_step

MATCHED = ("match", "how", "mbid", "area_id", "country_code", "continent_code", "city", "latitude", "longitude")
"""Columns of an artist that follow from whom it is found to be."""
OF_ALBUM = (
    *("album_type", "artist_id", "artist_name", "artist_type", "label", "genres", "popularity", "release_date"),
    *("release_date_precision", "total_tracks"),
)
DESCRIBED = (
    *("name", "sort_name", "type", "gender", "country", "disambiguation", "area", "begin_area", "end_area", "begin"),
    *("end", "ended", "ipis", "aliases", "genres", "tags", "spotify_ids"),
)
"""Columns of a MusicBrainz artist that its answer has, by the same names."""
GIVEN, URL = "given", "url"
Handler = Callable[[Sequence[Lookup]], list[Ask]]


def follow(answered: Sequence[Lookup]) -> list[Ask]:
    """In a transaction in which the lookups are locked."""
    by_kind: dict[tuple[str, str], list[Lookup]] = {}
    for lookup in answered:
        by_kind.setdefault((lookup.provider, lookup.kind), []).append(lookup)
    asks: list[Ask] = []
    for which in sorted(by_kind):
        asks += HANDLERS[which](by_kind[which])
    return asks


def _known(artist: Artist) -> Known:
    return Known(*(getattr(artist, name) for name in FIELDS))


def _step(artist: Artist, tried: Iterable[str], after: Lookup) -> list[Ask]:
    step = next_step(_known(artist), tuple(tried), after)
    return [step] if step else []


# Spotify.


def _spotify_artists(answered: Sequence[Lookup]) -> list[Ask]:
    found = [lookup for lookup in answered if lookup.status == Lookup.Status.FOUND and not lookup.gone_at]
    gone = [lookup.key for lookup in answered if lookup.gone_at or lookup.status == Lookup.Status.NOT_FOUND]
    rows = [_spotify_artist(lookup) for lookup in sorted(found, key=lambda lookup: lookup.key)]
    changed = ["name", "genres", "popularity", "followers", "fetched_at", "gone_at"]
    SpotifyArtist.objects.bulk_create(
        rows, batch_size=AT_ONCE, update_conflicts=True, unique_fields=["spotify_id"], update_fields=changed
    )
    SpotifyArtist.objects.bulk_create(
        [SpotifyArtist(spotify_id=key, gone_at=timezone.now()) for key in sorted(gone)], ignore_conflicts=True
    )
    SpotifyArtist.objects.filter(pk__in=gone, gone_at=None).update(gone_at=timezone.now())
    return _described_by_spotify({row.pk: row for row in rows}, {lookup.key: lookup for lookup in found})


def _spotify_artist(lookup: Lookup) -> SpotifyArtist:
    answer: Any = lookup.answer
    return SpotifyArtist(
        spotify_id=lookup.key,
        name=(answer["name"] or "")[:1000],
        genres=answer["genres"],
        popularity=answer["popularity"],
        followers=answer["followers"],
        fetched_at=timezone.now(),
    )


def _described_by_spotify(rows: Mapping[str, SpotifyArtist], lookups: Mapping[str, Lookup]) -> list[Ask]:
    """Genres; and a name, where plays have none, by which it may be found after all."""
    artists = _lock_artists(spotify_id__in=list(rows))
    of_spotify = {artist.pk: dict.fromkeys(rows[str(artist.spotify_id)].genres, 0) for artist in artists}
    _set_genres(artists, spotify.NAME, of_spotify)
    asks: list[Ask] = []
    for artist in artists:
        key = str(artist.spotify_id)
        if not artist.name and rows[key].name:
            artist.name = rows[key].name
            if artist.match == Match.NOT_FOUND and artist.how != CHOSEN:
                artist.match = Match.OPEN
                asks += _step(artist, [musicbrainz.URL], lookups[key])
    _save(artists, ["name", "match", "genres"])
    return asks


def _spotify_albums(answered: Sequence[Lookup]) -> list[Ask]:
    by_key = {lookup.key: lookup for lookup in answered}
    albums = lock(Album, by_key)
    for album in albums:
        lookup = by_key[album.pk]
        answer: Any = lookup.answer
        if lookup.gone_at or lookup.status == Lookup.Status.NOT_FOUND:
            album.gone_at = album.gone_at or timezone.now()
        elif lookup.status == Lookup.Status.FOUND:
            album.album_name, album.name = answer["name"], album.name or answer["name"] or ""
            for name in OF_ALBUM:
                setattr(album, name, answer[name])
            album.fetched_at, album.gone_at = timezone.now(), None
    _save(albums, ["name", "album_name", *OF_ALBUM, "fetched_at", "gone_at"])
    return []


def _spotify_tracks(answered: Sequence[Lookup]) -> list[Ask]:
    """Of artists whose plays name none at Spotify: the one of the track that has the name."""
    by_key = {lookup.key: lookup for lookup in answered}
    artists = _lock_artists(track_id__in=list(by_key), spotify_id=None)
    asks: list[Ask] = []
    for artist in artists:
        lookup = by_key[str(artist.track_id)]
        if artist.spotify_id:
            continue
        artist.spotify_id = artist_of_track(artist.name, lookup.answer) if lookup.answer else None
        if artist.spotify_id:
            artist.spotify_ids = [artist.spotify_id]
            asks.append(Ask(spotify.NAME, spotify.ARTIST, artist.spotify_id, -artist.plays, after=lookup))
        if artist.match in (Match.OPEN, Match.NOT_FOUND) and artist.how != CHOSEN:
            asks += _step(artist, [spotify.TRACK], lookup)
    _save(artists, ["spotify_id", "spotify_ids"])
    return asks


def artist_of_track(name: str, track: Mapping[str, Any]) -> str | None:
    """The id of who is called so; or of the first one, if it is the name of all of them."""
    credited = [each for each in track.get("artists") or () if each["id"] and each["name"]]
    levels = {each["id"]: level for each in credited if (level := names.equality(name, [each["name"]])) is not None}
    if levels:
        return str(min(levels, key=lambda each: levels[each]))
    together = [" ".join(each["name"] for each in credited)]
    return str(credited[0]["id"]) if len(credited) > 1 and names.equality(name, together) is not None else None


# MusicBrainz: who it is.


def _urls(answered: Sequence[Lookup]) -> list[Ask]:
    """Of the artists whose page it is, except where a play or a person has said who it is."""
    by_key = {lookup.key: lookup for lookup in answered}
    artists = [artist for artist in _lock_artists(spotify_id__in=list(by_key)) if artist.how not in (GIVEN, CHOSEN)]
    before = {artist.pk: artist.mbid for artist in artists}
    asks: list[Ask] = []
    for artist in artists:
        lookup = by_key[str(artist.spotify_id)]
        answer: Any = lookup.answer if lookup.status == Lookup.Status.FOUND else None
        verdict = matching.by_url(artist.name, musicbrainz.artists_of(answer)) if answer else None
        if verdict and verdict.status in ("found", "special"):
            _decide(artist, URL, verdict.mbid)
            asks += _step(artist, [], lookup)
        elif artist.how != URL:
            asks += (steps := _step(artist, [musicbrainz.URL, spotify.TRACK], lookup))
            if not steps and artist.match == Match.OPEN:
                artist.match = Match.NOT_FOUND
    _save_matched(artists, before)
    return asks


def _matches(answered: Sequence[Lookup]) -> list[Ask]:
    """By titles and names, or a person's choice, which goes before all else."""
    by_key = {lookup.key: lookup for lookup in answered}
    artists = lock(Artist, by_key)
    before = {artist.pk: artist.mbid for artist in artists}
    asks: list[Ask] = []
    for artist in artists:
        lookup = by_key[artist.pk]
        if artist.how in (GIVEN, URL) and artist.match != Match.OPEN and not lookup.is_chosen:
            continue
        answer: Any = lookup.answer
        if lookup.status == Lookup.Status.FOUND:
            _decide(artist, lookup.how, answer["mbid"])
            asks += _step(artist, [], lookup)
        else:
            _forget(artist, Match(lookup.status), lookup.how)
    _save_matched(artists, before)
    return asks


def _decide(artist: Artist, how: str, mbid: str | None) -> None:
    """Who it is; None: nobody in particular. What is known of that artist follows, as its own question is answered."""
    if mbid is None or mbid != artist.mbid:
        _forget(artist, Match.FOUND if mbid else Match.NOBODY, how)
    artist.match, artist.how, artist.mbid = Match.FOUND if mbid else Match.NOBODY, how, mbid


def _forget(artist: Artist, match: Match, how: str = "") -> None:
    for name in MATCHED:
        setattr(artist, name, None)
    artist.match, artist.how = match, how


# MusicBrainz: what is known of an artist.


def _artists(answered: Sequence[Lookup]) -> list[Ask]:
    """Of all whom plays name so, under whatever ids at Spotify; one that was merged has another id from now on."""
    found = [lookup for lookup in answered if lookup.status == Lookup.Status.FOUND and not lookup.gone_at]
    unknown = [lookup for lookup in answered if lookup not in found]
    asks = _unknown(unknown) if unknown else []
    return asks + (_described(found) if found else [])


def _described(found: Sequence[Lookup]) -> list[Ask]:
    by_mbid: dict[str, Lookup] = {lookup.key: lookup for lookup in found}
    by_mbid |= {_mbid_of(lookup): lookup for lookup in found}
    rows = _store_described(found)
    artists = [artist for artist in _lock_artists(mbid__in=list(by_mbid)) if artist.match != Match.NOBODY]
    areas = Area.objects.select_related("city").in_bulk({row.place_id for row in rows.values()} - {""})
    genres: dict[str, dict[str, int]] = {}
    for artist in artists:
        row = rows[_mbid_of(by_mbid[str(artist.mbid)])]
        _decide(artist, artist.how or GIVEN, None if row.mbid in SPECIAL else row.mbid)
        if artist.mbid:
            artist.area_id = row.place_id or None
            for name, value in located.place_of(areas.get(row.place_id)).items():
                setattr(artist, name, value)
        genres[artist.pk] = {each["name"]: each["count"] for each in row.genres} if artist.mbid else {}
    _set_genres(artists, musicbrainz.NAME, genres)
    _save(artists, [*MATCHED, "genres"])
    missing = {row.place_id for row in rows.values()} - {"", *(key for key, area in areas.items() if area.is_complete)}
    turns = {rows[_mbid_of(lookup)].place_id: lookup for lookup in sorted(found, key=lambda lookup: -lookup.turn)}
    return [
        Ask(musicbrainz.NAME, musicbrainz.AREA, area_id, turns[area_id].turn, after=turns[area_id])
        for area_id in sorted(missing)
    ]


def _mbid_of(lookup: Lookup) -> str:
    answer: Any = lookup.answer
    return str(answer["mbid"] or lookup.key)


def _store_described(found: Sequence[Lookup]) -> dict[str, MusicBrainzArtist]:
    """By the ids of now; a row under a former id is merged into that of now."""
    former: dict[str, set[str]] = {}
    for lookup in found:
        former.setdefault(_mbid_of(lookup), set()).update({lookup.key} - {_mbid_of(lookup)})
    for row in lock(MusicBrainzArtist, [*former, *(old for merged in former.values() for old in merged)]):
        for mbid, merged in former.items():
            if row.mbid == mbid or row.mbid in merged:
                merged.update(set(row.merged_mbids) - {mbid})
    rows = {}
    for lookup in found:
        answer: Any = lookup.answer
        mbid = _mbid_of(lookup)
        described = {name: answer[name] for name in DESCRIBED}
        rows[mbid] = MusicBrainzArtist(
            mbid=mbid, merged_mbids=sorted(former[mbid]), fetched_at=timezone.now(), **described
        )
    MusicBrainzArtist.objects.bulk_create(
        [rows[mbid] for mbid in sorted(rows)],
        batch_size=AT_ONCE,
        update_conflicts=True,
        unique_fields=["mbid"],
        update_fields=[*DESCRIBED, "merged_mbids", "fetched_at", "gone_at"],
    )
    MusicBrainzArtist.objects.filter(pk__in=[old for merged in former.values() for old in merged]).delete()
    return rows


def _unknown(answered: Sequence[Lookup]) -> list[Ask]:
    """MusicBrainz does not have them, or no longer: what it has said before stays. An id that came with a play is wrong
    then, and the artist is looked for like any other.
    """
    by_key = {lookup.key: lookup for lookup in answered}
    absent = [key for key, lookup in sorted(by_key.items()) if lookup.gone_at or _is(lookup, "NOT_FOUND")]
    MusicBrainzArtist.objects.bulk_create(
        [MusicBrainzArtist(mbid=key, gone_at=timezone.now()) for key in absent], ignore_conflicts=True
    )
    MusicBrainzArtist.objects.filter(pk__in=absent, gone_at=None).update(gone_at=timezone.now())
    never = [key for key, lookup in by_key.items() if lookup.status != Lookup.Status.FOUND]
    artists = _lock_artists(mbid__in=never)
    asks: list[Ask] = []
    for artist in artists:
        lookup, is_given = by_key[str(artist.mbid)], artist.how == GIVEN
        if artist.match == Match.OPEN or artist.how == CHOSEN:  # else MusicBrainz itself has named it
            artist.match = Match.FAILED
        if is_given and _is(lookup, "NOT_FOUND"):
            _forget(artist, Match.OPEN)
            asks += (steps := _step(artist, [], lookup))
            artist.match = Match.OPEN if steps else Match.NOT_FOUND
    _save(artists, MATCHED)
    return asks


def _is(lookup: Lookup, status: str) -> bool:
    return lookup.status == Lookup.Status[status]


# Rows.


def _lock_artists(**which: Any) -> list[Artist]:
    return lock(Artist, Artist.objects.filter(**which).values_list("pk", flat=True))


def _save(rows: Sequence[Artist] | Sequence[Album], names_: Iterable[str]) -> None:
    for row in rows:
        row.stored_at = database_now()
    if rows:
        type(rows[0])._default_manager.bulk_update(rows, [*names_, "stored_at"], batch_size=100)  # type: ignore[arg-type]


def _save_matched(artists: Sequence[Artist], before: Mapping[str, str | None]) -> None:
    """`before`: whom each was found to be. The genres of who it is no longer go; those of Spotify stay."""
    others = [artist for artist in artists if before[artist.pk] not in (None, artist.mbid)]
    if others:
        _set_genres(others, musicbrainz.NAME, {})
    _save(artists, [*MATCHED, "genres"] if others else MATCHED)


def _set_genres(artists: Sequence[Artist], source: str, of: Mapping[str, Mapping[str, int]]) -> None:
    """The genres of these artists by this source, and those of both, the most agreed ones first (unsaved)."""
    rows = [
        ArtistGenre(artist_id=artist.pk, source=source, genre=genre, count=count)
        for artist in artists
        for genre, count in of.get(artist.pk, {}).items()
    ]
    of_these = ArtistGenre.objects.filter(artist__in=[artist.pk for artist in artists])
    of_these.filter(source=source).delete()
    ArtistGenre.objects.bulk_create(rows, batch_size=AT_ONCE)
    counted: dict[str, dict[str, int]] = {}
    for pk, by, genre, count in of_these.values_list("artist", "source", "genre", "count"):
        counts = counted.setdefault(pk, {})
        counts[genre] = counts.get(genre, 0) + count + (by == spotify.NAME)
    for artist in artists:
        counts = counted.get(artist.pk, {})
        artist.genres = sorted(counts, key=lambda genre: (-counts[genre], genre))


HANDLERS: Mapping[tuple[str, str], Handler] = {
    (spotify.NAME, spotify.ARTIST): _spotify_artists,
    (spotify.NAME, spotify.ALBUM): _spotify_albums,
    (spotify.NAME, spotify.TRACK): _spotify_tracks,
    (musicbrainz.NAME, musicbrainz.URL): _urls,
    (musicbrainz.NAME, musicbrainz.MATCH): _matches,
    (musicbrainz.NAME, musicbrainz.ARTIST): _artists,
    **located.HANDLERS,
}

"""Plays, and what is known of the artists, albums, areas and cities in them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from enrichment.models import StoredRecord
from ingestion.text import plain


class Match(models.TextChoices):
    """How far the search for an artist in MusicBrainz is; all but open are settled."""

    OPEN = "open", "open"
    FOUND = "found", "found"
    NOT_FOUND = "not_found", "not found"
    AMBIGUOUS = "ambiguous", "ambiguous"
    FAILED = "failed", "failed"
    NOBODY = "nobody", "nobody in particular"


class Placed(models.TextChoices):
    """How far the search for an area's city is; all but open are settled."""

    OPEN = "open", "open"
    FOUND = "found", "found"
    NOT_FOUND = "not_found", "not found"
    AMBIGUOUS = "ambiguous", "ambiguous"
    FAILED = "failed", "failed"
    NO_CITY = "no_city", "no city"


class Listener(models.Model):
    """Whose plays they are. Who stores plays of a listener holds the lock on this row."""

    user_id = models.CharField(max_length=64, primary_key=True, help_text="As records name it.")
    client = models.CharField(max_length=200, help_text="Who sent the first record: key:<prefix>, user:<name> …")
    plays = models.BigIntegerField(default=0, help_text="Those that charts count.")
    sources = models.JSONField(default=list, help_text="Where the plays are from: only of several can two be one play.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        default_permissions = ("view", "delete")

    def __str__(self) -> str:
        return self.user_id


class MusicBrainzArtist(models.Model):
    """An artist as MusicBrainz describes it, once for all who mean it."""

    mbid = models.CharField(max_length=36, primary_key=True, help_text="ID at MusicBrainz.")
    merged_mbids = models.JSONField(default=list, blank=True, help_text="Former IDs, of artists merged into this one.")
    name = models.CharField(max_length=1000, blank=True)
    sort_name = models.CharField(max_length=1000, blank=True)
    type = models.CharField(max_length=100, blank=True, help_text="Person, Group, Orchestra …")
    gender = models.CharField(max_length=100, blank=True)
    country = models.CharField(max_length=10, blank=True, help_text="ISO 3166-1 code, by MusicBrainz.")
    disambiguation = models.CharField(max_length=1000, blank=True)
    area = models.JSONField(null=True, blank=True, help_text="id, name, sort_name, disambiguation, begin.")
    begin_area = models.JSONField(null=True, blank=True)
    end_area = models.JSONField(null=True, blank=True)
    begin = models.CharField(max_length=20, blank=True, help_text="Born or founded: year, month or day.")
    end = models.CharField(max_length=20, blank=True)
    ended = models.BooleanField(default=False)
    ipis = models.JSONField(default=list, blank=True)
    aliases = models.JSONField(default=list, blank=True)
    genres = models.JSONField(default=list, blank=True, help_text="name and count, the most agreed ones first.")
    tags = models.JSONField(default=list, blank=True, help_text="name and count, the most agreed ones first.")
    spotify_ids = models.JSONField(default=list, blank=True, help_text="Of the pages that MusicBrainz links to.")
    fetched_at = models.DateTimeField(null=True, help_text="When MusicBrainz last described it; null: not yet.")
    gone_at = models.DateTimeField(null=True, help_text="Since when MusicBrainz does not know it any more.")

    class Meta:
        verbose_name = "MusicBrainz artist"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return plain(self.name or self.mbid)

    @property
    def place_id(self) -> str:
        """The area that it is from, by its id; empty: unknown."""
        return next((str(area["id"]) for area in (self.area, self.end_area, self.begin_area) if area), "")


class Area(models.Model):
    """An area of MusicBrainz: a country, a city, a district … and where it lies."""

    area_id = models.CharField(max_length=36, primary_key=True, help_text="ID at MusicBrainz.")
    name = models.CharField(max_length=1000, blank=True, help_text="At MusicBrainz.")
    sort_name = models.CharField(max_length=1000, blank=True, help_text="By which lists are sorted.")
    type = models.CharField(max_length=100, blank=True, help_text="Country, Subdivision, City, District …")
    ended = models.BooleanField(default=False, help_text="The area is no more.")
    kept = models.JSONField(null=True, help_text="What is kept of MusicBrainz’ answer; null: not asked yet.")
    is_complete = models.BooleanField(default=False, help_text="All areas that it is part of are known.")
    levels = models.JSONField(
        default=dict, blank=True, help_text="city, country, subdivision … → id, name and sort_name of the nearest one."
    )
    country_code = models.CharField(max_length=2, null=True, blank=True, help_text="ISO 3166-1.")
    continent_code = models.CharField(max_length=2, null=True, blank=True, help_text="AF, AN, AS, EU, NA, OC or SA.")
    subdivision_code = models.CharField(max_length=10, null=True, blank=True, help_text="ISO 3166-2.")
    state_code = models.CharField(max_length=8, null=True, blank=True, help_text="The part behind its hyphen.")
    historical = models.BooleanField(default=False, help_text="The country is no more.")
    params = models.CharField(max_length=1000, null=True, blank=True, help_text="City,CC; in the US City,ST,CC.")
    city = models.ForeignKey("City", models.SET_NULL, null=True, blank=True, related_name="areas")
    place = models.CharField(
        max_length=10, choices=Placed, default=Placed.OPEN, help_text="Whether its city has been found; open: not yet."
    )
    place_source = models.CharField(max_length=20, blank=True, help_text="geonames, openweather or a person.")
    place_how = models.CharField(max_length=20, blank=True, help_text="link or name.")
    precision = models.CharField(max_length=20, blank=True, help_text="city, district or city state.")
    candidates = models.JSONField(default=list, blank=True, help_text="Cities of that name.")
    latitude = models.FloatField(null=True, blank=True, help_text="Of its city.")
    longitude = models.FloatField(null=True, blank=True, help_text="Of its city.")
    stored_at = models.DateTimeField(
        default=timezone.now, db_index=True, editable=False, help_text="When the row last changed."
    )

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["country_code"], name="area_country"),
        ]

    def __str__(self) -> str:
        return plain(self.name or self.area_id)


class City(models.Model):
    """A city of GeoNames (CC BY 4.0), as the data file has it."""

    came_with_us: ClassVar = True
    """Nothing that was sent is in it: it is not searched for people."""

    geoname_id = models.IntegerField(primary_key=True)
    name = models.CharField(max_length=200, help_text="At GeoNames.")
    folded_name = models.CharField(max_length=200)
    country_code = models.CharField(max_length=2)
    state_code = models.CharField(max_length=20, blank=True, help_text="As GeoNames numbers subdivisions.")
    latitude = models.FloatField()
    longitude = models.FloatField()
    population = models.IntegerField(default=0)
    other_names = models.TextField(blank=True, help_text="Folded, each between two |.")

    class Meta:
        verbose_name_plural = "cities"
        default_permissions = ("view",)
        indexes = [models.Index(fields=["country_code", "folded_name"], name="city_country_name")]

    def __str__(self) -> str:
        return f"{self.name}, {self.country_code}"


class Artist(models.Model):
    """An artist as plays name it, with what is known of it (copies, so that lists need one table)."""

    artist_key = models.CharField(max_length=64, primary_key=True, help_text="spotify-<id>, mbid-<id> or name-<hash>.")
    name = models.CharField(max_length=1000, blank=True, help_text="As the first play has it.")
    plays = models.BigIntegerField(default=0, help_text="Those that charts count, of all listeners.")
    given_mbid = models.CharField(max_length=36, null=True, blank=True, help_text="ID at MusicBrainz, from a play.")
    track_id = models.CharField(max_length=64, null=True, blank=True, help_text="A track by which Spotify knows it.")
    spotify_id = models.CharField(max_length=64, null=True, blank=True, help_text="Of the page asked for at Spotify.")
    spotify_ids = models.JSONField(default=list, blank=True, help_text="IDs at Spotify.")

    match = models.CharField(max_length=10, choices=Match, default=Match.OPEN, help_text="Whether MusicBrainz has it.")
    how = models.CharField(max_length=64, blank=True, help_text="given, url, isrc, titles, name or a person.")
    mbid = models.CharField(max_length=36, null=True, blank=True, help_text="ID at MusicBrainz.")
    country_code = models.CharField(max_length=2, null=True, blank=True, help_text="ISO 3166-1.")
    continent_code = models.CharField(max_length=2, null=True, blank=True, help_text="AF, AN, AS, EU, NA, OC or SA.")
    area_id = models.CharField(max_length=36, null=True, blank=True, help_text="The area it is from, at MusicBrainz.")
    city = models.CharField(max_length=1000, null=True, blank=True, help_text="The city it is from.")
    latitude = models.FloatField(null=True, blank=True, help_text="Of its city.")
    longitude = models.FloatField(null=True, blank=True, help_text="Of its city.")
    genres = models.JSONField(default=list, blank=True, help_text="Of MusicBrainz and Spotify, the most agreed first.")
    stored_at = models.DateTimeField(
        default=timezone.now, db_index=True, editable=False, help_text="When the row last changed."
    )

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["-plays", "artist_key"], name="artist_plays"),
            models.Index(fields=["mbid"], name="artist_mbid", condition=Q(mbid__isnull=False)),
            models.Index(fields=["area_id"], name="artist_area", condition=Q(area_id__isnull=False)),
            models.Index(fields=["spotify_id"], name="artist_spotify"),
            models.Index(fields=["track_id"], name="artist_track", condition=Q(spotify_id=None)),
            models.Index(fields=["country_code"], name="artist_country", condition=Q(country_code__isnull=False)),
            models.Index(fields=["match"], name="artist_unmatched", condition=~Q(match="found")),
        ]

    def __str__(self) -> str:
        return plain(self.name or self.artist_key)


class ArtistGenre(models.Model):
    """A genre of an artist, by one source."""

    artist = models.ForeignKey(Artist, models.CASCADE, related_name="genre_rows", db_index=False)
    source = models.CharField(max_length=20, help_text="musicbrainz or spotify.")
    genre = models.CharField(max_length=200)
    count = models.IntegerField(default=0, help_text="How many people at MusicBrainz agree.")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["artist", "source", "genre"], name="artist_genre_once")]
        indexes = [models.Index(fields=["genre"], name="artist_genre")]

    def __str__(self) -> str:
        return f"{self.genre} ({self.source})"


class SpotifyArtist(models.Model):
    """An artist as Spotify describes it. Its terms want that to be asked for again, or deleted."""

    spotify_id = models.CharField(max_length=64, primary_key=True)
    name = models.CharField(max_length=1000, blank=True)
    genres = models.JSONField(default=list, blank=True)
    popularity = models.IntegerField(null=True, blank=True, help_text="0 to 100.")
    followers = models.BigIntegerField(null=True, blank=True)
    fetched_at = models.DateTimeField(null=True, help_text="When Spotify last described it; null: not yet.")
    gone_at = models.DateTimeField(null=True, help_text="Since when Spotify does not know it any more.")

    class Meta:
        verbose_name = "Spotify artist"
        default_permissions = ("view",)

    def __str__(self) -> str:
        return plain(self.name or self.spotify_id)


class Album(models.Model):
    """An album as plays name it, with what Spotify knows of it."""

    album_id = models.CharField(max_length=64, primary_key=True, help_text="ID at Spotify, else name-<hash>.")
    name = models.CharField(max_length=1000, blank=True, help_text="As the first play has it.")
    artist_key = models.CharField(max_length=64, blank=True, help_text="Of the artist in the first play.")
    plays = models.BigIntegerField(default=0, help_text="Those that charts count, of all listeners.")
    album_name = models.CharField(max_length=1000, null=True, blank=True, help_text="At Spotify.")
    album_type = models.CharField(max_length=50, null=True, blank=True, help_text="album, single, compilation …")
    artist_id = models.CharField(max_length=64, null=True, blank=True, help_text="Of its first artist at Spotify.")
    artist_name = models.CharField(max_length=1000, null=True, blank=True, help_text="Its first artist at Spotify.")
    artist_type = models.CharField(max_length=50, null=True, blank=True, help_text="artist.")
    label = models.CharField(max_length=1000, null=True, blank=True, help_text="The company that published it.")
    genres = models.JSONField(default=list, blank=True, help_text="At Spotify.")
    popularity = models.IntegerField(null=True, blank=True, help_text="At Spotify, 0 to 100.")
    release_date = models.CharField(max_length=10, null=True, blank=True, help_text="A year, month or day.")
    release_date_precision = models.CharField(max_length=10, null=True, blank=True, help_text="year, month or day.")
    total_tracks = models.IntegerField(null=True, blank=True, help_text="How many tracks it has.")
    fetched_at = models.DateTimeField(null=True, blank=True, help_text="When Spotify last described it.")
    gone_at = models.DateTimeField(null=True, blank=True, help_text="Since when Spotify does not know it any more.")
    stored_at = models.DateTimeField(
        default=timezone.now, db_index=True, editable=False, help_text="When the row last changed."
    )

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["-plays", "album_id"], name="album_plays"),
            models.Index(fields=["artist_key"], name="album_artist"),
        ]

    def __str__(self) -> str:
        return plain(self.name or self.album_id)


class Listen(StoredRecord):
    """A play: who listened to what, and when."""

    listen_id = models.CharField(
        max_length=64, primary_key=True, help_text="ID, computed from the time, the listener and the track."
    )
    user_id = models.CharField(max_length=64, help_text="Whose play it is.")
    played_at = models.DateTimeField()
    track_id = models.CharField(max_length=64, null=True, blank=True)
    track_uri = models.CharField(max_length=200, null=True, blank=True)
    track_isrc = models.CharField(max_length=20, null=True, blank=True)
    track_name = models.CharField(max_length=1000, null=True, blank=True)
    album_id = models.CharField(max_length=64, null=True, blank=True)
    album_uri = models.CharField(max_length=200, null=True, blank=True)
    album = models.CharField(max_length=1000, null=True, blank=True)
    artist_id = models.CharField(max_length=64, null=True, blank=True)
    artist_mbid = models.CharField(max_length=36, null=True, blank=True)
    artist = models.CharField(max_length=1000, null=True, blank=True)
    duration_ms = models.BigIntegerField(null=True, blank=True)
    ms_played = models.BigIntegerField(null=True, blank=True)
    popularity = models.IntegerField(null=True, blank=True)
    request_cursor = models.CharField(max_length=200, null=True, blank=True)
    play_source = models.CharField(max_length=200, null=True, blank=True)

    artist_key = models.CharField(max_length=64, blank=True, editable=False, help_text="Its artist; empty: unknown.")
    hour = models.SmallIntegerField(editable=False, help_text="0 to 23, in the time zone of the installation.")
    weekday = models.SmallIntegerField(editable=False, help_text="0 is Monday.")
    is_skip = models.BooleanField(editable=False, help_text="Played for less than 30 seconds.")
    track_key = models.CharField(max_length=16, editable=False, help_text="Equal for one track of all sources.")
    duplicate_of = models.CharField(
        max_length=64, null=True, blank=True, editable=False, help_text="The same play, from another source."
    )

    artist_row = models.ForeignObject(
        Artist,
        models.DO_NOTHING,
        from_fields=["artist_key"],
        to_fields=["artist_key"],
        related_name="listens",
        null=True,  # of plays whose artist is unknown: lists would leave them out
    )

    class Meta:
        indexes = [
            models.Index(fields=["user_id", "played_at"], name="listen_user_time"),
            models.Index(fields=["artist_key", "played_at"], name="listen_artist_time"),
            models.Index(
                fields=["user_id", "played_at"], name="listen_duplicates", condition=Q(duplicate_of__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return plain(f"{self.track_name or self.track_id} ({self.played_at:%Y-%m-%d %H:%M})")


class Plays(models.Model):
    """Base of the roll-ups: plays of a listener in a month, without duplicates and those before 2000."""

    user_id = models.CharField(max_length=64)
    month = models.DateField(help_text="Its first day, in the time zone of the installation.")
    plays = models.IntegerField()
    ms = models.BigIntegerField(help_text="Milliseconds played, as far as known.")

    KEY: ClassVar[tuple[str, ...]] = ()

    class Meta:
        abstract = True


class ArtistMonth(Plays):
    artist_key = models.CharField(max_length=64)

    KEY = ("user_id", "month", "artist_key")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["user_id", "month", "artist_key"], name="artist_month_once")]
        indexes = [models.Index(fields=["artist_key", "month"], name="artist_month_artist")]

    def __str__(self) -> str:
        return f"{self.plays} plays of {self.artist_key}"


class AlbumMonth(Plays):
    album_id = models.CharField(max_length=64)

    KEY = ("user_id", "month", "album_id")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["user_id", "month", "album_id"], name="album_month_once")]

    def __str__(self) -> str:
        return f"{self.plays} plays of {self.album_id}"


class HourMonth(Plays):
    weekday = models.SmallIntegerField(help_text="0 is Monday.")
    hour = models.SmallIntegerField()

    KEY = ("user_id", "month", "weekday", "hour")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["user_id", "month", "weekday", "hour"], name="hour_month_once")]

    def __str__(self) -> str:
        return f"{self.plays} plays on weekday {self.weekday} at {self.hour}"

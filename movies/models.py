"""Libraries of films: the lines of exports, the films of a library computed from them, and films as TMDB knows them."""

from __future__ import annotations

import secrets

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from enrichment.lookups.models import Lookup
from enrichment.models import StoredRecord
from ingestion.models import Upload
from ingestion.text import plain


class Kind(models.TextChoices):
    """The files of an export, and the format of imports."""

    WATCHED = "watched", "watched"
    RATINGS = "ratings", "ratings"
    DIARY = "diary", "diary"
    REVIEWS = "reviews", "reviews"
    LIKES = "likes", "likes"
    WATCHLIST = "watchlist", "watchlist"
    IMPORT = "import", "import"


class FilmKind(models.TextChoices):
    MOVIE = "movie", "film"
    TV = "tv", "series"


class Match(models.TextChoices):
    """How far the search for a library's film in TMDB is; all but open are settled."""

    OPEN = "open", "open"
    FOUND = "found", "found"
    NOT_FOUND = "not_found", "not found"
    AMBIGUOUS = "ambiguous", "ambiguous"
    FAILED = "failed", "failed"


def new_token() -> str:
    return secrets.token_urlsafe(24)


class Library(models.Model):
    """One person's films. Who changes its films holds the lock on this row."""

    name = models.CharField(max_length=64, primary_key=True, help_text="As records name it.")
    client = models.CharField(max_length=200, help_text="Who sent its first record: key:<prefix>, user:<name> …")
    token = models.CharField(max_length=64, unique=True, default=new_token, help_text="In the address of its page.")
    newest = models.JSONField(default=dict, help_text="Kind of entries → time of the newest export that holds them.")
    created_at = models.DateTimeField(db_default=Now())
    linked_at = models.DateTimeField(
        null=True, help_text="When somebody was first given the address; then the library expires."
    )
    last_seen_at = models.DateTimeField(db_default=Now(), help_text="When its page, or an upload, was last looked at.")

    class Meta:
        verbose_name_plural = "libraries"
        default_permissions = ("view", "delete")
        indexes = [models.Index(fields=["last_seen_at"], name="library_seen", condition=Q(linked_at__isnull=False))]

    def __str__(self) -> str:
        return self.name


class Film(models.Model):
    """A film or series as TMDB describes it, shared by all libraries."""

    film_key = models.CharField(max_length=32, primary_key=True, help_text="Kind and number, such as movie-603.")
    kind = models.CharField(max_length=5, choices=FilmKind, help_text="Film or series.")
    tmdb_id = models.PositiveIntegerField(help_text="Number at TMDB, of a film or of a series: both may have it.")
    imdb_id = models.CharField(max_length=20, null=True, blank=True, help_text="Number at IMDb, such as tt0133093.")
    title = models.CharField(max_length=500, blank=True, help_text="Title at TMDB.")
    original_title = models.CharField(max_length=500, blank=True, help_text="Title in the original language.")
    release_date = models.DateField(null=True, blank=True, help_text="First release, or first broadcast.")
    runtime = models.PositiveIntegerField(null=True, blank=True, help_text="Minutes; of a series those of an episode.")
    genres = models.JSONField(default=list, blank=True, help_text="Genres.")
    directors = models.JSONField(default=list, blank=True, help_text="Directors; of a series those who created it.")
    cast = models.JSONField(default=list, blank=True, help_text="Actors, the most important first.")
    characters = models.JSONField(default=list, blank=True, help_text="Who they play, in the same order.")
    countries = models.JSONField(default=list, blank=True, help_text="Countries of production.")
    languages = models.JSONField(default=list, blank=True, help_text="Languages spoken.")
    budget = models.BigIntegerField(null=True, blank=True, help_text="In US dollars.")
    revenue = models.BigIntegerField(null=True, blank=True, help_text="In US dollars.")
    popularity = models.FloatField(null=True, blank=True, help_text="By TMDB's measure.")
    vote_average = models.FloatField(null=True, blank=True, help_text="Mean of TMDB's users, 0 to 10.")
    vote_count = models.PositiveIntegerField(null=True, blank=True, help_text="How many of TMDB's users rated it.")
    poster_path = models.CharField(max_length=100, null=True, blank=True, help_text="Path of the poster at TMDB.")

    fetched_at = models.DateTimeField(null=True, help_text="When TMDB last described it; null: not yet.")
    has_failed = models.BooleanField(default=False, help_text="TMDB was asked for the description, in vain.")
    gone_at = models.DateTimeField(null=True, help_text="Since when TMDB does not know it any more.")

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["title"], name="film_title")]

    def __str__(self) -> str:
        year = f" ({self.release_date.year})" if self.release_date else ""
        return plain(f"{self.title or self.film_key}{year}")


class LibraryFilm(models.Model):
    """A film of a library, computed from the entries that are about it."""

    film_id = models.CharField(max_length=32, primary_key=True, help_text="ID of the film within the library.")
    library = models.CharField(max_length=64, help_text="The library it belongs to.")
    title = models.CharField(max_length=255, blank=True, help_text="As the newest export has it.")
    year = models.PositiveIntegerField(null=True, blank=True, help_text="Year of the first showing, by the export.")
    letterboxd_uri = models.CharField(max_length=500, null=True, blank=True, help_text="The film’s link.")

    lookup = models.ForeignKey(Lookup, models.SET_NULL, null=True, related_name="library_films", db_index=False)
    tmdb_film = models.ForeignKey(Film, models.SET_NULL, null=True, related_name="library_films", db_index=False)
    match = models.CharField(
        max_length=10,
        choices=Match,
        default=Match.OPEN,
        help_text="Whether TMDB has it; open: being looked up.",
    )
    how = models.CharField(max_length=64, blank=True, help_text="The rule that found it.")
    score = models.FloatField(null=True, blank=True, help_text="How sure that is, 0 to 1.")

    rating = models.FloatField(null=True, blank=True, help_text="Present rating, 0.5 to 5.")
    seen = models.BooleanField(default=False, help_text="Whether it has been seen.")
    liked = models.BooleanField(default=False, help_text="Whether it is liked.")
    watchlist = models.BooleanField(default=False, help_text="Whether it is on the watchlist.")
    viewings = models.PositiveIntegerField(default=0, help_text="Viewings in the diary.")
    rewatches = models.PositiveIntegerField(default=0, help_text="Viewings marked as rewatch.")
    has_review = models.BooleanField(default=False, help_text="Whether there is a review of it.")
    first_watched_on = models.DateField(null=True, blank=True, help_text="First day in the diary.")
    last_watched_on = models.DateField(null=True, blank=True, help_text="Last day in the diary.")
    tags = models.JSONField(default=list, blank=True, help_text="Tags of its viewings and reviews.")
    stored_at = models.DateTimeField(
        default=timezone.now, db_index=True, editable=False, help_text="When the row last changed."
    )

    class Meta:
        verbose_name = "library film"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["library", "title"], name="library_film_title"),
            models.Index(fields=["lookup"], name="library_film_lookup"),
            models.Index(fields=["tmdb_film"], name="library_film_tmdb"),
            models.Index(fields=["match", "library"], name="library_film_match", condition=~Q(match="found")),
        ]

    def __str__(self) -> str:
        return plain(f"{self.title or self.film_id} ({self.year})" if self.year else self.title or self.film_id)


class UploadFilm(models.Model):
    """A film that an upload (of a set: the whole) had entries of."""

    upload = models.ForeignKey(Upload, models.CASCADE, related_name="films", db_index=False)
    film = models.ForeignKey(LibraryFilm, models.CASCADE, related_name="uploads")

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["upload", "film"], name="upload_film_once")]

    def __str__(self) -> str:
        return f"film {self.film_id} of upload {self.upload_id}"


class Entry(StoredRecord):
    """One line of an export."""

    entry_id = models.CharField(
        max_length=32, primary_key=True, help_text="ID, computed from library, kind, and link or title, year and day."
    )
    library = models.CharField(max_length=64)
    kind = models.CharField(max_length=10, choices=Kind)
    title = models.CharField(max_length=255, blank=True)
    year = models.PositiveIntegerField(null=True, blank=True)
    letterboxd_uri = models.CharField(max_length=500, null=True, blank=True)
    tmdb_id = models.PositiveIntegerField(null=True, blank=True)
    imdb_id = models.CharField(max_length=20, null=True, blank=True)
    directors = models.JSONField(null=True, blank=True)
    rating = models.FloatField(null=True, blank=True)
    rating10 = models.PositiveSmallIntegerField(null=True, blank=True)
    rewatch = models.BooleanField(default=False)
    tags = models.JSONField(null=True, blank=True)
    review = models.TextField(null=True, blank=True)
    watched_on = models.DateField(null=True, blank=True)
    added_on = models.DateField(null=True, blank=True)
    exported_on = models.DateTimeField(null=True, blank=True)
    orphaned = models.BooleanField(default=False)
    deleted = models.BooleanField(default=False)
    updated_at = models.DateTimeField(null=True, blank=True)

    film = models.ForeignKey(
        LibraryFilm,
        models.DO_NOTHING,
        null=True,
        blank=True,
        editable=False,
        related_name="entries",
        db_constraint=False,
        db_index=False,
        help_text="The library’s film that it is about; null: not known yet, or two films of that title and year.",
    )
    gone = models.BooleanField(
        default=False, editable=False, help_text="The library’s newest export of that kind lacks it: it is not counted."
    )

    class Meta:
        verbose_name_plural = "entries"
        indexes = [
            models.Index(fields=["library", "title"], name="entry_library_title"),
            models.Index(fields=["film"], name="entry_film"),
        ]

    def __str__(self) -> str:
        return plain(f"{self.title or self.entry_id} ({self.kind})")

"""The stream of entries, the list of the films computed from them, and the provider that says what films they are."""

from enrichment.lookups import register as register_provider
from ingestion.streams import Readable, Stream, register, register_list
from movies import answers, entries, libraries, tmdb
from movies.identity import entry_key
from movies.layouts import LAYOUTS
from movies.models import Entry, LibraryFilm
from movies.schemas import EntryRecord

register_provider(tmdb.provider(answers.apply))

ENTRIES = Stream(
    name="entries",
    schema=EntryRecord,
    model=Entry,
    key="entry_id",
    key_of=entry_key,
    enrich=entries.enrich,
    lock=libraries.lock_for_rows,
    kept=("film_id",),
    stored=entries.stored,
    delete=entries.delete,
    file_completed=entries.file_completed,
    progress=entries.progress,
    counts=("films",),
    providers=(tmdb.NAME,),
    upload_link=libraries.link_of,
    expires_at=libraries.expires_at,
    exporters=("Letterboxd",),
    upload_fields={"library": libraries.new_name},
    layouts=LAYOUTS,
    search=("entry_id", "title", "letterboxd_uri", "review"),
    listed=lambda rows: rows.filter(deleted=False),
    example={
        "library": "anna",
        "kind": "diary",
        "title": "The Matrix",
        "year": 1999,
        "letterboxd_uri": "https://boxd.it/4Xyz01",
        "rating": 4.5,
        "rewatch": True,
        "tags": ["cinema", "with friends"],
        "watched_on": "2025-02-14",
        "added_on": "2025-02-15",
        "exported_on": "2025-02-28T18:00:00Z",
        "updated_at": "2025-02-28T18:00:00Z",
    },
)
MOVIES = Readable(
    name="movies",
    model=LibraryFilm,
    key="film_id",
    description="The films of libraries, computed from their entries, with what TMDB knows of them.",
    related={
        "kind": "tmdb_film__kind",
        "tmdb_id": "tmdb_film__tmdb_id",
        "imdb_id": "tmdb_film__imdb_id",
        "tmdb_title": "tmdb_film__title",
        "original_title": "tmdb_film__original_title",
        "release_date": "tmdb_film__release_date",
        "runtime": "tmdb_film__runtime",
        "genres": "tmdb_film__genres",
        "directors": "tmdb_film__directors",
        "cast": "tmdb_film__cast",
        "countries": "tmdb_film__countries",
        "languages": "tmdb_film__languages",
        "vote_average": "tmdb_film__vote_average",
        "vote_count": "tmdb_film__vote_count",
        "poster_path": "tmdb_film__poster_path",
    },
    filtered_by={"upload": "uploads__upload"},
    search=("film_id", "title", "tmdb_title", "original_title"),
    hidden=("lookup_id", "tmdb_film_id"),
    example={
        "film_id": "8f14e45fceea167a5a36dedd4bea2543",
        "library": "anna",
        "title": "The Matrix",
        "year": 1999,
        "letterboxd_uri": "https://boxd.it/2a1m",
        "match": "found",
        "how": "title and year",
        "score": 1.0,
        "rating": 4.5,
        "seen": True,
        "liked": True,
        "watchlist": False,
        "viewings": 2,
        "rewatches": 1,
        "has_review": False,
        "first_watched_on": "2024-05-01",
        "last_watched_on": "2025-02-14",
        "tags": ["cinema", "with friends"],
        "kind": "movie",
        "tmdb_id": 603,
        "imdb_id": "tt0133093",
        "tmdb_title": "The Matrix",
        "original_title": "The Matrix",
        "release_date": "1999-03-31",
        "runtime": 136,
        "genres": ["Action", "Science Fiction"],
        "directors": ["Lana Wachowski", "Lilly Wachowski"],
        "cast": ["Keanu Reeves", "Laurence Fishburne", "Carrie-Anne Moss"],
        "countries": ["United States of America"],
        "languages": ["English"],
        "vote_average": 8.2,
        "vote_count": 26000,
        "poster_path": "/f89U3ADr1oiB1s9GkdPOEpXUk5H.jpg",
        "stored_at": "2025-03-01T22:10:05Z",
    },
)

register(ENTRIES)
register_list(MOVIES)

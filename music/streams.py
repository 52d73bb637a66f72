"""The stream of plays, and the lists of what is known of the artists, albums and areas in them."""

from ingestion.streams import Readable, Stream, register, register_list
from music import configured, identity, listens
from music.layouts import LAYOUTS
from music.models import Album, Area, Artist, Listen
from music.schemas import ListenRecord

configured.register_all()

LISTENS = Stream(
    name="listens",
    schema=ListenRecord,
    model=Listen,
    key="listen_id",
    key_of=identity.key_of,
    version_field=None,
    enrich=listens.enrich,
    facts=listens.facts,
    warn=listens.warn,
    lock=listens.lock,
    stored=listens.stored,
    immutable=True,
    kept=("duplicate_of",),
    upload_fields={"user_id": None},
    layouts=LAYOUTS,
    search=("listen_id", "user_id", "track_name", "artist", "album"),
    hidden=("track_key",),
    related={
        "country_code": "artist_row__country_code",
        "continent_code": "artist_row__continent_code",
        "genres": "artist_row__genres",
    },
    example={
        "user_id": "ada",
        "played_at": "2025-01-04T02:55:58.123Z",
        "track_id": "4uLU6hMCjMI75M1A2tKUQC",
        "track_uri": "spotify:track:4uLU6hMCjMI75M1A2tKUQC",
        "track_isrc": "GBARL9300135",
        "track_name": "Never Gonna Give You Up",
        "album_id": "6N9PS4QXF1D0OWPk0Sxtb4",
        "album_uri": "spotify:album:6N9PS4QXF1D0OWPk0Sxtb4",
        "album": "Whenever You Need Somebody",
        "artist_id": "0gxyHStUsqpMadRV0Di1Qt",
        "artist_mbid": "db92a151-1ac2-438b-bc43-b82e149ddd50",
        "artist": "Rick Astley",
        "duration_ms": 213_573,
        "ms_played": 213_573,
        "popularity": 75,
        "request_cursor": "1735959358123",
        "play_source": "spotify",
    },
)
ARTISTS = Readable(
    name="artists",
    model=Artist,
    key="artist_key",
    description="The artists in plays, with what MusicBrainz and Spotify know of them.",
    search=("artist_key", "name"),
    hidden=("given_mbid", "track_id", "spotify_id"),
    example={
        "artist_key": "spotify-0gxyHStUsqpMadRV0Di1Qt",
        "name": "Rick Astley",
        "plays": 12,
        "spotify_ids": ["0gxyHStUsqpMadRV0Di1Qt"],
        "match": "found",
        "how": "url",
        "mbid": "db92a151-1ac2-438b-bc43-b82e149ddd50",
        "country_code": "GB",
        "continent_code": "EU",
        "area_id": "2e6ee1d8-38f7-4d61-a1a6-c8cd0dcb5b43",
        "city": "Newton-le-Willows",
        "latitude": 53.45,
        "longitude": -2.6,
        "genres": ["dance-pop", "pop"],
        "stored_at": "2025-01-04T03:00:00Z",
    },
)
ALBUMS = Readable(
    name="albums",
    model=Album,
    key="album_id",
    description="The albums in plays, with what Spotify knows of them.",
    search=("album_id", "name", "artist_name"),
    hidden=("gone_at",),
    example={
        "album_id": "6N9PS4QXF1D0OWPk0Sxtb4",
        "name": "Whenever You Need Somebody",
        "artist_key": "spotify-0gxyHStUsqpMadRV0Di1Qt",
        "plays": 12,
        "album_name": "Whenever You Need Somebody",
        "album_type": "album",
        "artist_id": "0gxyHStUsqpMadRV0Di1Qt",
        "artist_name": "Rick Astley",
        "artist_type": "artist",
        "label": "RCA",
        "genres": [],
        "popularity": 60,
        "release_date": "1987-11-12",
        "release_date_precision": "day",
        "total_tracks": 10,
        "fetched_at": "2025-01-04T03:00:00Z",
        "stored_at": "2025-01-04T03:00:00Z",
    },
)
AREAS = Readable(
    name="areas",
    model=Area,
    key="area_id",
    description="Where artists are from, by MusicBrainz, with the countries and cities that these areas are in.",
    search=("area_id", "name"),
    related={"city": "city__name"},
    hidden=("kept", "is_complete", "levels", "candidates", "city_id"),
    example={
        "area_id": "2e6ee1d8-38f7-4d61-a1a6-c8cd0dcb5b43",
        "name": "Newton-le-Willows",
        "sort_name": "Newton-le-Willows",
        "type": "City",
        "ended": False,
        "country_code": "GB",
        "continent_code": "EU",
        "subdivision_code": "GB-ENG",
        "state_code": "ENG",
        "historical": False,
        "params": "Newton-le-Willows,GB",
        "place": "found",
        "place_source": "geonames",
        "place_how": "name",
        "precision": "city",
        "latitude": 53.45,
        "longitude": -2.6,
        "city": "Newton-le-Willows",
        "stored_at": "2025-01-04T03:00:00Z",
    },
)

register(LISTENS)
register_list(ARTISTS)
register_list(ALBUMS)
register_list(AREAS)
